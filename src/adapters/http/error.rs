//! What can go wrong on the way out, told apart by what it means for the request: never sent, perhaps arrived,
//! answered. Texts name scheme, host and port; never a path (tokens live there), a query, a header or a body.

use crate::core::retry::{Retry, retry_after as capped};
use std::error::Error as StdError;
use std::time::{Duration, SystemTime};
use url::Url;

/// A failed exchange. `place` is `scheme://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// The URL cannot be used.
    #[error("{place}: unusable URL: {why}")]
    BadUrl { place: String, why: String },
    /// The request cannot be written down: a header with control characters.
    #[error("{place}: unusable request: {why}")]
    BadRequest { place: String, why: String },
    /// The address gate refuses the target (SEC-05).
    #[error("{place}: {address} serves cloud metadata and is never contacted")]
    Forbidden { place: String, address: String },
    /// Certificates, keys or the proxy setting cannot be read.
    #[error("unusable {what}: {why}")]
    BadTrust { what: String, why: String },
    /// No byte of the request left.
    #[error("{place}: {cause}: {detail}")]
    NotSent { place: String, cause: Cause, detail: String },
    /// The peer's certificate is not believed; nothing was sent.
    #[error("{place}: certificate not trusted: {why}")]
    UntrustedCertificate { place: String, why: String },
    /// The request left, at least in part, and no answer came: it may have been carried out.
    #[error("{place}: no answer: {detail}")]
    Unknown { place: String, detail: String },
    /// Answered, but not with success. `reply` is at most 512 characters, secrets of the request masked.
    #[error("{place}: status {code}{}{reply}", if reply.is_empty() { "" } else { ": " })]
    Status { place: String, code: u16, reply: String, retry_after: Option<Duration> },
    /// The answer is larger than `limit` bytes, or inflates more than a hundredfold.
    #[error("{place}: the answer is larger than {limit} bytes or inflates too far")]
    TooLarge { place: String, limit: usize },
    /// The answer began but came slower than the minimum throughput or past the deadline.
    #[error("{place}: the answer came too slowly")]
    TooSlow { place: String },
    /// The answer began and ended early.
    #[error("{place}: the answer was cut short: {detail}")]
    Cut { place: String, detail: String },
    /// A redirect that is not followed.
    #[error("{place}: redirect not followed: {why}")]
    Redirect { place: String, why: String },
    /// The answer is not what was asked for.
    #[error("{place}: unusable answer: {why}")]
    BadReply { place: String, why: String },
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// No address for the name.
    #[error("name not found")]
    Name,
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// The handshake failed for another reason than the certificate.
    #[error("TLS handshake failed")]
    Tls,
    /// No connection in time.
    #[error("no connection in time")]
    Timeout,
    /// Anything else before the first byte.
    #[error("no connection")]
    Other,
}

impl Error {
    /// Whether trying again may help without anybody changing anything.
    pub fn retry(&self) -> Retry {
        match self {
            Error::NotSent { .. } | Error::Unknown { .. } | Error::TooSlow { .. } | Error::Cut { .. } => Retry::Backoff,
            Error::Status { code: 429 | 503, retry_after: Some(asked), .. } => Retry::After(capped(*asked)),
            Error::Status { code: 408 | 409 | 421 | 425 | 429, .. } => Retry::Backoff,
            Error::Status { code, .. } if *code >= 500 && *code != 501 => Retry::Backoff,
            _ => Retry::Never,
        }
    }

    /// Whether the peer may have carried the request out although no answer says so.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Error::Unknown { .. } | Error::Status { code: 502 | 504, .. })
    }

    /// Classifies an error of a client from [`super::Http::blocking`] that happened while talking to `url`.
    pub fn from_reqwest(url: &Url, error: &reqwest::Error) -> Error {
        let place = place(url);
        if let Some(own) = find::<Error>(error) {
            return match own {
                Error::Forbidden { address, .. } => Error::Forbidden { place, address: address.clone() },
                Error::NotSent { cause, detail, .. } => Error::NotSent { place, cause: *cause, detail: detail.clone() },
                other => other.clone(),
            };
        }
        let detail = innermost(error);
        if let Some(tls) = find::<rustls::Error>(error) {
            return from_tls(place, tls, error.is_connect(), detail);
        }
        if error.is_connect() {
            let io = find::<std::io::Error>(error).map(std::io::Error::kind);
            let cause = match io {
                _ if error.is_timeout() => Cause::Timeout,
                Some(std::io::ErrorKind::ConnectionRefused) => Cause::Refused,
                _ => Cause::Other,
            };
            return Error::NotSent { place, cause, detail };
        }
        if error.is_builder() {
            return Error::BadRequest { place, why: detail };
        }
        if error.is_body() || error.is_decode() {
            return Error::Cut { place, detail };
        }
        Error::Unknown { place, detail }
    }
}

fn from_tls(place: String, tls: &rustls::Error, connecting: bool, detail: String) -> Error {
    match tls {
        rustls::Error::InvalidCertificate(why) => {
            let mut why = match why {
                rustls::CertificateError::Other(other) => format!("{:?}", other.0),
                known => known.to_string(),
            };
            if why.contains("CaUsedAsEndEntity") {
                why = "the server shows an authority's certificate; add exactly this certificate as a root".into();
            }
            Error::UntrustedCertificate { place, why }
        }
        // TLS 1.3 servers refuse a client certificate only after the client believes itself connected. They have not
        // read a request then.
        rustls::Error::AlertReceived(_) => Error::NotSent { place, cause: Cause::Tls, detail },
        _ if connecting => Error::NotSent { place, cause: Cause::Tls, detail },
        _ => Error::Unknown { place, detail },
    }
}

/// Looks through a chain of sources, also inside I/O errors, whose `source` skips what they carry.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = inside.and_then(|inner| find::<T>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The text at the bottom of the chain. The top of it would be reqwest's, which prints the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut text = None;
    let mut next = error.source();
    while let Some(error) = next {
        if error.downcast_ref::<reqwest::Error>().is_none() {
            text = Some(error.to_string());
        }
        next = error.source();
    }
    text.unwrap_or_else(|| if error.is_timeout() { "timed out".into() } else { "the exchange failed".into() })
}

/// How a URL is named in texts: scheme, host and port.
pub(super) fn place(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
        (Some(host), None) => format!("{}://{host}", url.scheme()),
        (None, _) => format!("{}:", url.scheme()),
    }
}

/// `Retry-After` as a wait from `now`: seconds, or an HTTP date (a past one means no wait). Anything else is no
/// answer. Not capped; that is [`crate::core::retry::retry_after`]'s business.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX / 4)));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(SystemTime::from(at).duration_since(now).unwrap_or_default())
}
