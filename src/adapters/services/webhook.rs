//! Webhooks (notifications.md §13.2): one request per attempt.

use std::time::Duration;

use super::super::http::{Method, Redirects, Url};
use super::{Class, SendContext, SendError, Sent, Service, http_error};
use crate::config::secret::Secret;
use crate::config::services::Webhook;
use crate::core::notify::message::{Message, Part};

const MOST_REDIRECTS: u8 = 10;

/// Scheme, host and port; and what tells two credentials apart.
pub(super) fn endpoint(hook: &Webhook) -> (String, Vec<u8>) {
    let place = match hook.url.expose_text().map(Url::parse) {
        Ok(Ok(url)) => url.origin().ascii_serialization(),
        _ => "webhook".into(),
    };
    let mut credential = Vec::new();
    if let Some((user, password)) = &hook.basic_auth {
        credential.extend_from_slice(user.as_bytes());
        credential.push(0);
        credential.extend_from_slice(password.expose());
    }
    for (name, value) in &hook.headers {
        if name.eq_ignore_ascii_case("authorization") {
            credential.extend_from_slice(value.expose());
        }
    }
    (place, credential)
}

/// Values that are secret wherever they were written.
pub(super) fn credentials(hook: &Webhook) -> Vec<&Secret> {
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["authorization", "token", "key", "secret", "password", "cookie"].iter().any(|word| name.contains(word))
    };
    let headers = hook.headers.iter().filter(|(name, _)| secret(name)).map(|(_, value)| value);
    headers.chain(hook.basic_auth.as_ref().map(|(_, password)| password)).collect()
}

/// `retryWaitMin · 2^(n-1)`, capped, for the first `retryMax` failures.
pub(super) fn quick_wait(hook: &Webhook, failures: u32) -> Option<Duration> {
    if failures == 0 || failures > hook.retry_max {
        return None;
    }
    Some(hook.retry_wait_min.saturating_mul(1 << (failures - 1).min(31)).min(hook.retry_wait_max))
}

pub(super) async fn send(
    service: &Service,
    hook: &Webhook,
    message: &Message,
    context: &SendContext,
) -> Result<Sent, SendError> {
    let healable = |text: &str| SendError::new(Class::RejectedHealable, text);
    let base = hook.url.expose_text().map_err(|_| healable("the URL is not text"))?;
    let (method, address, body) = match &message.part {
        Part::Webhook(part) => {
            (if part.method.is_empty() { "GET" } else { &part.method }, joined(base, &part.path), part.body.clone())
        }
        _ => ("GET", base.to_owned(), message.text.clone()),
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| healable("the template's method is none"))?;
    let url = Url::parse(&address).map_err(|_| healable("URL and path together are no URL"))?;
    let mut request = service.inner.http.request(method, url).trust(&service.trust()).limits(service.limits());
    for (name, value) in &hook.headers {
        request = request.secret_header(name, value);
    }
    if let Some((user, password)) = &hook.basic_auth {
        request = request.basic_auth(user, password);
    }
    if hook.attempt_headers {
        request = request.header("lynceus-attempt", &context.attempt.to_string());
        if context.possible_repeat {
            request = request.header("lynceus-possible-repeat", "true");
        }
    }
    let redirects = if hook.follow_redirects { Redirects::Anywhere(MOST_REDIRECTS) } else { Redirects::Refuse };
    let reply = request.body(body).redirects(redirects).send().await.map_err(http_error)?;
    reply.ok().map_err(http_error)?;
    Ok(Sent::default())
}

/// The block's path behind the URL's, before its query (WH-02).
pub(super) fn joined(base: &str, path: &str) -> String {
    if path.is_empty() {
        return base.to_owned();
    }
    let (base, query) = base.split_once('?').map_or((base, None), |(base, query)| (base, Some(query)));
    let mut address = format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'));
    if let Some(query) = query {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str(query);
    }
    address
}
