//! One exchange: built, sent, redirected, read.

use super::address::check_url;
use super::body::{Limits, read};
use super::error::{Error, place, retry_after};
use super::{Http, Trust};
use crate::config::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};
use url::Url;

/// Which redirects are followed. Every hop passes the address gate; when scheme, host or port changes, all
/// configured headers stay behind (SEC-07, WH-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// None: the 3xx answer is the answer.
    Refuse,
    /// At most so many, on the same scheme, host and port only.
    SameHost(u8),
    /// At most so many, anywhere.
    Anywhere(u8),
}

/// A request being put together. Faults of its parts come out of [`Request::send`].
pub struct Request {
    http: Http,
    method: Method,
    url: Url,
    headers: HeaderMap,
    masked: Vec<String>,
    body: Option<Bytes>,
    trust: Trust,
    limits: Limits,
    redirects: Redirects,
    fault: Option<String>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body as far as the limits let it in, inflated.
    pub body: Bytes,
    /// Whether that is all of it.
    pub complete: bool,
    /// Where it came from, after redirects.
    pub url: Url,
    masked: Vec<String>,
}

impl Request {
    pub(super) fn new(http: Http, method: Method, url: Url) -> Self {
        Request {
            http,
            method,
            url,
            headers: HeaderMap::new(),
            masked: Vec::new(),
            body: None,
            trust: Trust::default(),
            limits: Limits::MESSAGE,
            redirects: Redirects::Refuse,
            fault: None,
        }
    }

    /// Sets a header; a later one of the same name replaces it (WH-04). Control characters are a fault (SEC-06).
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.put(name, value, false);
        self
    }

    /// Sets a header whose value must not be seen.
    pub fn secret_header(mut self, name: &str, value: &Secret) -> Self {
        match value.expose_text() {
            Ok(text) => {
                self.put(name, text, true);
                self.mask(text);
            }
            Err(_) => self.fault = Some(format!("the value of header {} is not text", printable(name))),
        }
        self
    }

    /// `Authorization: Basic`.
    pub fn basic_auth(mut self, user: &str, password: &Secret) -> Self {
        let mut plain = user.as_bytes().to_vec();
        plain.push(b':');
        plain.extend_from_slice(password.expose());
        let coded = STANDARD.encode(&plain);
        self.put(AUTHORIZATION.as_str(), &format!("Basic {coded}"), true);
        self.mask(&coded);
        if let Ok(text) = password.expose_text() {
            self.mask(text);
        }
        self
    }

    /// `Authorization: Bearer`.
    pub fn bearer(mut self, token: &Secret) -> Self {
        match token.expose_text() {
            Ok(text) => {
                self.put(AUTHORIZATION.as_str(), &format!("Bearer {text}"), true);
                self.mask(text);
            }
            Err(_) => self.fault = Some("the token is not text".into()),
        }
        self
    }

    /// The body. Content-Type is the caller's business.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Trust settings; default: system roots, proxy from the environment.
    pub fn trust(mut self, trust: &Trust) -> Self {
        self.trust = trust.clone();
        self
    }

    /// Limits; default [`Limits::MESSAGE`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Redirects; default none.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Sends and reads. Any status is an answer; see [`Reply::ok`].
    ///
    /// # Errors
    /// Every variant of [`Error`] but `Status`.
    pub async fn send(mut self) -> Result<Reply, Error> {
        if let Some(why) = self.fault.take() {
            return Err(Error::BadRequest { place: place(&self.url), why });
        }
        let deadline = Instant::now() + self.limits.total;
        let mut hops = 0u8;
        loop {
            let mut response = self.exchange(deadline).await?;
            let target = match self.next_hop(&response, hops)? {
                Some(target) => target,
                None => {
                    let (body, complete) = read(&self.url, &mut response, &self.limits, deadline).await?;
                    return Ok(Reply {
                        status: response.status().as_u16(),
                        headers: std::mem::take(response.headers_mut()),
                        body: body.into(),
                        complete,
                        url: self.url,
                        masked: self.masked,
                    });
                }
            };
            self.turn_to(target, response.status().as_u16());
            hops += 1;
        }
    }

    async fn exchange(&self, deadline: Instant) -> Result<reqwest::Response, Error> {
        let host = check_url(&self.http.0.gate, &self.url)?;
        let trust = self.http.effective(&host, &self.trust);
        let connect = self.limits.connect.min(self.limits.total);
        let client = self.http.0.pool.client(&self.http.0, &trust, connect, self.limits.idle)?;
        let mut request = client.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        if self.method != Method::HEAD && !self.headers.contains_key(ACCEPT_ENCODING) {
            request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) => Err(Error::from_reqwest(&self.url, &e)),
            Err(_) => Err(Error::Unknown { place: place(&self.url), detail: "the deadline passed".into() }),
        }
    }

    /// The target of a redirect that is to be followed; `None` if the response is final.
    fn next_hop(&self, response: &reqwest::Response, hops: u8) -> Result<Option<Url>, Error> {
        let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let refuse = |why: &str| Error::Redirect { place: place(&self.url), why: why.to_owned() };
        let most = match self.redirects {
            Redirects::Refuse => return Ok(None),
            Redirects::SameHost(most) | Redirects::Anywhere(most) => most,
        };
        if hops >= most {
            return Err(refuse("too many of them"));
        }
        let target = location.to_str().ok().and_then(|text| self.url.join(text).ok());
        let Some(mut target) = target else { return Err(refuse("its target is no URL")) };
        if !matches!(target.scheme(), "http" | "https") {
            return Err(refuse("its target is neither http nor https"));
        }
        // A user and password the other side invents are not ours to send.
        let _ = target.set_username("");
        let _ = target.set_password(None);
        if matches!(self.redirects, Redirects::SameHost(_)) && target.origin() != self.url.origin() {
            return Err(Error::Redirect {
                place: place(&self.url),
                why: format!("it leads elsewhere, to {}", place(&target)),
            });
        }
        Ok(Some(target))
    }

    fn turn_to(&mut self, mut target: Url, status: u16) {
        if target.origin() != self.url.origin() {
            self.headers.clear();
            self.trust.identity = None;
        } else {
            let _ = target.set_username(self.url.username());
            let _ = target.set_password(self.url.password());
        }
        if matches!(status, 301..=303) && !matches!(self.method, Method::GET | Method::HEAD) {
            self.method = Method::GET;
            self.body = None;
        }
        self.url = target;
    }

    fn put(&mut self, name: &str, value: &str, secret: bool) {
        let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::from_str(value).ok());
        match parsed {
            Some((name, mut value)) => {
                value.set_sensitive(secret);
                self.headers.insert(name, value);
            }
            None => self.fault = Some(format!("header {} holds characters no header may hold", printable(name))),
        }
    }

    fn mask(&mut self, text: &str) {
        // Shorter ones would mask ordinary words (SEC-01 names the same bound).
        if text.len() >= 6 {
            self.masked.push(text.to_owned());
        }
    }
}

impl Reply {
    /// Itself if the status is 2xx.
    ///
    /// # Errors
    /// [`Error::Status`] with at most 512 characters of the answer, the request's secrets masked.
    pub fn ok(self) -> Result<Reply, Error> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.refusal()) }
    }

    /// The answer as an error, whatever its status.
    pub fn refusal(&self) -> Error {
        Error::Status {
            place: place(&self.url),
            code: self.status,
            reply: self.excerpt(),
            retry_after: self.retry_after(SystemTime::now()),
        }
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The wait the peer asks for.
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        self.header(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, now))
    }

    /// The beginning of the body for an error text: at most 512 characters, one line, secrets masked (HTTP-04).
    pub fn excerpt(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.body[..self.body.len().min(8 << 10)]).into_owned();
        for secret in &self.masked {
            text = text.replace(secret.as_str(), "***");
        }
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(512).collect();
        line.trim().to_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::BadReply`]; the text names a position, not the content.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| Error::BadReply {
            place: place(&self.url),
            why: format!("not the JSON expected (line {}, column {})", e.line(), e.column()),
        })
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, place(&self.url))
    }
}

fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}
