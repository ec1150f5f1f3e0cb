//! Whether a service could be used, tried without sending anything: `check --connect`.

use super::super::http::Url;
use super::{Class, SendError, Service, email, healable, slack, smtp};
use crate::config::services::Body;

impl Service {
    /// Logs in at a mail server, asks Slack whose token it is, opens a connection to a webhook's host. What was found,
    /// in words.
    ///
    /// # Errors
    /// What would fail a delivery as well.
    pub async fn probe(&self) -> Result<String, SendError> {
        let result = match &self.config().body {
            Body::Slack(slack) => slack::probe(self, slack).await,
            Body::Email(mail) => email::probe(self, mail).await,
            Body::Webhook(hook) => {
                let url = hook.url.expose_text().ok().and_then(|text| Url::parse(text).ok());
                let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
                match url {
                    Some(url) => self.reach(&url).await,
                    None => Err(healable("the URL is none of http or https")),
                }
            }
            Body::Undelivered(kind) => Err(healable(&format!("services of type `{kind}` are not delivered to yet"))),
        };
        result.map_err(|error| SendError { text: self.inner.cleaner.clean(&error.text), ..error })
    }

    /// Connects to the host, with its certificate where there is one; no request is made.
    async fn reach(&self, url: &Url) -> Result<String, SendError> {
        let place = &self.inner.endpoint.place;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(SendError::new(Class::RejectedHealable, "the URL names no host"));
        };
        let connect = self.config().delivery.connect_timeout;
        let tls = url.scheme() == "https";
        smtp::reach(&self.inner.http, host, port, tls, &self.trust(), place, connect).await?;
        Ok(format!("{place} answers; nothing was sent"))
    }
}
