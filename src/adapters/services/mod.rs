//! Services that messages are sent to; one file each, all alike (notifications.md §13). A service makes one attempt and
//! says what became of it; when and whether to try again is the delivery's business (`daemon/delivery.rs`).

mod clean;
mod email;
mod probe;
mod slack;
mod smtp;
mod webhook;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::http::{self, Http, Limits, Trust};
use super::redact;
use crate::config::secret::Secret;
use crate::config::services::{Body, ServiceConfig};
use crate::core::notify::message::{Message, Part, Thread};
use crate::core::retry::{Retry, retry_after};
use crate::core::value::{Map, MapKind, Value};
use clean::Cleaner;
use smtp::healable;

/// A configured service, ready to send. Cloning is cheap.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    config: ServiceConfig,
    http: Http,
    cleaner: Cleaner,
    endpoint: Endpoint,
}

/// What a circuit breaker guards: scheme, host, port and credential (LAN-05).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// `scheme://host:port`, for people and metrics.
    pub place: String,
    /// Tells credentials apart; says nothing about them.
    mark: [u8; 8],
}

/// What an attempt needs besides recipient and message.
#[derive(Clone, Debug)]
pub struct SendContext {
    /// `evt_…`.
    pub event_id: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// A copy may have arrived already.
    pub possible_repeat: bool,
    /// When the event was seen, if that is long ago (LAN-07).
    pub delayed: Option<Timestamp>,
    /// What people read where the message cannot be shown: `Trigger <t> fired for <namespace>/<app>` (TPL-07).
    pub default_text: String,
    /// The thread of the message's group, if one is known.
    pub thread: Option<Thread>,
    /// Calls of this delivery that are finished (OUT-05).
    pub steps: Vec<String>,
    /// The time, for the date of a mail.
    pub now: Timestamp,
}

/// The receiver accepted a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The name of this step if more calls are to come: record it, then send again.
    pub more_after: Option<&'static str>,
    /// What is now known about the thread.
    pub thread: Option<ThreadNews>,
    /// Something a person may want to know although it worked; empty if nothing.
    pub note: String,
}

/// What a call taught about the message's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadNews {
    /// This is the thread, used just now.
    Is(Thread),
    /// It is gone.
    Gone,
}

/// What became of an attempt that was not accepted (§12.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing left, or the receiver asked for patience.
    NotSent,
    /// It will never be accepted.
    RejectedFinal,
    /// It will be accepted once somebody changes something.
    RejectedHealable,
    /// The receiver has trouble of its own.
    Transient,
    /// It may have been accepted.
    Unknown,
}

impl Class {
    /// The word in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Class::NotSent => "not_sent",
            Class::RejectedFinal => "rejected_final",
            Class::RejectedHealable => "rejected_healable",
            Class::Transient => "transient",
            Class::Unknown => "unknown",
        }
    }
}

/// What a throttling answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// This destination.
    Lane,
    /// The credential, and with it every destination of the service.
    Service,
}

/// A failed attempt. The text holds no secret, no request and at most 512 characters of the reply (HTTP-04).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SendError {
    /// What it means.
    pub class: Class,
    /// The earliest moment the receiver named, as a wait; at most an hour (OUT-07).
    pub retry_after: Option<Duration>,
    /// The receiver asks to be left alone for a while: says nothing about its health (LAN-04).
    pub throttled: Option<Throttle>,
    /// Counts towards opening the breaker (LAN-05).
    pub ill: bool,
    /// The receiver is gone for good: opens the breaker for an hour (410).
    pub gone: bool,
    /// May be followed by one of the service's own quick retries (WH-05).
    pub quick: bool,
    /// What is now known about the thread.
    pub thread: Option<ThreadNews>,
    /// For people.
    pub text: String,
}

impl SendError {
    fn new(class: Class, text: impl Into<String>) -> Self {
        SendError {
            class,
            retry_after: None,
            throttled: None,
            ill: matches!(class, Class::NotSent | Class::Unknown),
            gone: false,
            quick: matches!(class, Class::NotSent | Class::Unknown),
            thread: None,
            text: text.into(),
        }
    }

    /// When the same attempt may succeed.
    pub fn retry(&self) -> Retry {
        match (self.class, self.retry_after) {
            (Class::RejectedFinal, _) => Retry::Never,
            (_, Some(wait)) => Retry::After(wait),
            _ => Retry::Backoff,
        }
    }
}

/// How much a lane of a service carries (LAN-01, LAN-04).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneLimits {
    /// Calls at once.
    pub concurrency: u32,
    /// Messages per second and how many may come at once; `None` is no limit.
    pub rate: Option<(f64, u32)>,
}

/// The Secret's values as conditions and templates see them: `secrets`, a map of bytes (notifications.md §5.1).
pub fn template_secrets(secrets: &BTreeMap<String, Secret>) -> Map {
    secrets.values().for_each(redact::know);
    let entries = secrets.iter().map(|(key, value)| (Arc::from(key.as_str()), Value::Bytes(value.expose().into())));
    Map::from_entries(MapKind::Bytes, entries.collect())
}

impl Service {
    /// A service as configured, sending through this client.
    pub fn new(config: ServiceConfig, http: Http) -> Service {
        let (place, credential) = match &config.body {
            Body::Webhook(hook) => webhook::endpoint(hook),
            Body::Slack(slack) => slack::endpoint(slack),
            Body::Email(mail) => email::endpoint(mail),
            Body::Undelivered(kind) => (kind.clone(), Vec::new()),
        };
        let mut mark = [0; 8];
        mark.copy_from_slice(&Sha256::digest(&credential)[..8]);
        // Also those that were written into the ConfigMap itself.
        let inline: Vec<&Secret> = match &config.body {
            Body::Webhook(hook) => webhook::credentials(hook),
            Body::Slack(slack) => vec![&slack.token],
            Body::Email(mail) => vec![&mail.password],
            Body::Undelivered(_) => Vec::new(),
        };
        let cleaner = Cleaner::new(config.secrets.iter().chain(inline));
        let place = cleaner.clean(&place);
        Service { inner: Arc::new(Inner { config, http, cleaner, endpoint: Endpoint { place, mark } }) }
    }

    /// Its configuration.
    pub fn config(&self) -> &ServiceConfig {
        &self.inner.config
    }

    /// What its breaker guards.
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// What one of its lanes carries.
    pub fn lane_limits(&self) -> LaneLimits {
        let (concurrency, rate) = match &self.config().body {
            Body::Webhook(_) => (4, None),
            Body::Slack(_) => (1, Some((1.0, 3))),
            Body::Email(_) | Body::Undelivered(_) => (2, None),
        };
        let delivery = &self.config().delivery;
        LaneLimits {
            concurrency: delivery.concurrency.unwrap_or(concurrency),
            rate: delivery.rate_per_second.map(|rate| (rate, rate.ceil().max(1.0) as u32)).or(rate),
        }
    }

    /// The wait before a quick retry after failure number `failures` (1-based); `None` where the general back-off
    /// applies. Only webhooks have quick retries (WH-05).
    pub fn quick_wait(&self, error: &SendError, failures: u32) -> Option<Duration> {
        match &self.config().body {
            Body::Webhook(hook) if error.quick => webhook::quick_wait(hook, failures),
            _ => None,
        }
    }

    /// How many failures the quick retries take, so that the general back-off counts from its own first.
    pub fn quick_retries(&self) -> u32 {
        match &self.config().body {
            Body::Webhook(hook) => hook.retry_max,
            _ => 0,
        }
    }

    /// Makes one call. Where the answer says that more are to come, the caller records the step and calls again.
    ///
    /// # Errors
    /// What §12.2 makes of it.
    pub async fn send(&self, recipient: &str, message: &Message, context: &SendContext) -> Result<Sent, SendError> {
        let marked =
            if self.config().is_program() || !self.config().delivery.marks { None } else { marked(message, context) };
        let message = marked.as_ref().unwrap_or(message);
        let result = match &self.config().body {
            Body::Webhook(hook) => webhook::send(self, hook, message, context).await,
            Body::Slack(slack) => slack::send(self, slack, recipient, message, context).await,
            Body::Email(mail) => email::send(self, mail, recipient, message, context).await,
            Body::Undelivered(kind) => {
                let text = format!("services of type `{kind}` are not delivered to yet");
                Err(SendError { ill: false, quick: false, ..SendError::new(Class::RejectedHealable, text) })
            }
        };
        result.map_err(|error| SendError { text: self.inner.cleaner.clean(&error.text), ..error })
    }

    fn trust(&self) -> Trust {
        Trust { insecure: self.config().insecure, ..Trust::default() }
    }

    fn limits(&self) -> Limits {
        let delivery = &self.config().delivery;
        let idle = self.config().idle;
        Limits { connect: delivery.connect_timeout, total: delivery.timeout, idle, ..Limits::MESSAGE }
    }
}

/// The message with the marks of LAN-07, if any applies: behind the subject of a mail that has one, else behind the
/// text.
fn marked(message: &Message, context: &SendContext) -> Option<Message> {
    let mut mark = String::new();
    if context.possible_repeat {
        mark.push_str(" (possible repeat)");
    }
    if let Some(at) = context.delayed {
        let _ = write!(mark, " (delayed, event at {})", at.strftime("%Y-%m-%dT%H:%M:%SZ"));
    }
    if mark.is_empty() {
        return None;
    }
    let mut message = message.clone();
    match &mut message.part {
        Part::Email(mail) if !mail.subject.is_empty() => mail.subject.push_str(&mark),
        Part::Email(mail) if !mail.body.is_empty() => mail.body.push_str(&mark),
        _ => message.text.push_str(&mark),
    }
    Some(message)
}

/// What an exchange over HTTP that was not answered with success means (§12.2).
fn http_error(error: http::Error) -> SendError {
    use http::Error as E;
    let text = error.to_string();
    match error {
        E::NotSent { .. } => SendError::new(Class::NotSent, text),
        E::Unknown { .. } | E::TooSlow { .. } | E::Cut { .. } | E::BadReply { .. } | E::TooLarge { .. } => {
            SendError::new(Class::Unknown, text)
        }
        E::Status { code, retry_after, .. } => status_error(code, retry_after, text),
        E::BadUrl { .. }
        | E::BadRequest { .. }
        | E::Forbidden { .. }
        | E::BadTrust { .. }
        | E::UntrustedCertificate { .. }
        | E::Redirect { .. } => SendError::new(Class::RejectedHealable, text),
    }
}

fn status_error(code: u16, asked: Option<Duration>, text: String) -> SendError {
    let class = match code {
        429 => Class::NotSent,
        401..=405 | 407 => Class::RejectedHealable,
        408 | 409 | 421 | 425 => Class::Transient,
        502 | 504 => Class::Unknown,
        501 => Class::RejectedFinal,
        500..=599 => Class::Transient,
        // A redirect that is not followed: somebody must correct the URL.
        300..=399 => Class::RejectedHealable,
        _ => Class::RejectedFinal,
    };
    SendError {
        retry_after: asked.map(retry_after).filter(|_| matches!(code, 429 | 503)),
        // One URL and one credential serve all destinations of a webhook; who knows better says so.
        throttled: (code == 429).then_some(Throttle::Service),
        ill: code >= 500,
        gone: code == 410,
        quick: code == 429 || (code >= 500 && code != 501),
        ..SendError::new(class, text)
    }
}

#[cfg(test)]
mod tests;
