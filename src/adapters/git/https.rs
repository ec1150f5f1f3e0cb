//! The smart http transport over the daemon's one HTTP client (GIT-16): per-remote roots, proxies, client
//! certificates and the address gate are those of every other request.

use super::Context;
use super::address::Address;
use super::credentials::Login;
use super::error::{Error, clean};
use super::remote::Remote;
use super::settings::Deadline;
use super::wire::{Failure, Service};
use crate::adapters::http;
use crate::core::retry::Retry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use std::io::{self, Read};
use std::time::SystemTime;
use url::Url;

/// Redirects of the first request that are followed; hosts send one when a repository was renamed or lacks `.git`.
const MOST_REDIRECTS: usize = 3;

/// Bytes of an answer whose status is not success that are read for their words.
const MOST_WORDS: u64 = 1 << 10;

pub(super) struct HttpWire {
    remote: Remote,
    client: Client,
    base: Url,
    service: Service,
    deadline: Deadline,
}

impl HttpWire {
    /// Asks for the refs; the reader gives the advertisement.
    pub(super) fn open(remote: &Remote, service: Service, context: &Context) -> Result<(HttpWire, HttpBody), Error> {
        let Address::Http(base) = remote.address() else {
            return Err(Error::nonsense(remote.shown(), "not an http remote"));
        };
        let mut wire = HttpWire::again(remote, service, context, base.clone())?;
        for _ in 0..=MOST_REDIRECTS {
            let response = wire.ask_for_refs()?;
            if response.status().is_redirection() {
                wire.base = wire.redirected(&response)?;
                continue;
            }
            wire.must_be(&response, "advertisement")?;
            let body = wire.body(response);
            return Ok((wire, body));
        }
        Err(wire.config("redirects in a circle"))
    }

    /// A conversation whose advertisement was read a moment ago; this is where it was read.
    pub(super) fn again(remote: &Remote, service: Service, context: &Context, base: Url) -> Result<HttpWire, Error> {
        let trust = remote.credentials().trust();
        let client = context.http.blocking(&base, &trust, context.settings.request_timeout);
        let client = client.map_err(|error| unreachable(remote, error))?;
        Ok(HttpWire { remote: remote.clone(), client, base, service, deadline: context.deadline })
    }

    /// Where it goes, redirects followed.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    fn ask_for_refs(&self) -> Result<Response, Error> {
        let mut url = self.endpoint("info/refs");
        url.set_query(Some(&format!("service={}", self.service.name())));
        let request = self.authorised(self.client.get(url.clone()))?.timeout(self.step()?);
        let response = request.send().map_err(|error| self.no_answer(&url, &error))?;
        match response.status() {
            status if status.is_success() || status.is_redirection() => Ok(response),
            _ => Err(self.refusal(response).error),
        }
    }

    /// Sends one request of the service; the reader gives the answer.
    pub(super) fn ask(&self, body: Vec<u8>) -> Result<HttpBody, Failure> {
        let url = self.endpoint(self.service.name());
        let content = format!("application/x-{}-request", self.service.name());
        // A push may wait long for the remote's hooks before the first byte comes.
        let patience = match self.service {
            Service::Upload => self.step(),
            Service::Receive => self.deadline.left().ok_or_else(|| self.late()),
        };
        let request = patience
            .and_then(|patience| Ok(self.authorised(self.client.post(url.clone()))?.timeout(patience)))
            .map_err(Failure::before)?
            .header(CONTENT_TYPE, content)
            .body(body);
        let response = request.send().map_err(|error| {
            let error_is_before = http::Error::from_reqwest(&url, &error);
            match error_is_before.outcome_unknown() {
                true => Failure::after(self.no_answer(&url, &error)),
                false => Failure::before(self.no_answer(&url, &error)),
            }
        })?;
        if !response.status().is_success() {
            return Err(self.refusal(response));
        }
        self.must_be(&response, "result").map_err(Failure::after)?;
        Ok(self.body(response))
    }

    fn endpoint(&self, what: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{what}", self.base.path().trim_end_matches('/')));
        url
    }

    fn authorised(
        &self,
        request: reqwest::blocking::RequestBuilder,
    ) -> Result<reqwest::blocking::RequestBuilder, Error> {
        // Some hosts speak the smart protocol only to clients that call themselves git.
        let agent = concat!("git/2.0 (Lynceus/", env!("CARGO_PKG_VERSION"), ")");
        let request = request.header(USER_AGENT, agent);
        if !self.remote.may_show_credentials_to(self.base.as_str()) {
            return Ok(request);
        }
        let value = match &self.remote.credentials().login {
            Login::Anonymous => return Ok(request),
            Login::SshKey(_) => return Err(self.config("the credentials are an ssh key, but the URL is https")),
            Login::Basic { user, password } => {
                let mut plain = user.as_bytes().to_vec();
                plain.push(b':');
                plain.extend_from_slice(password.expose());
                format!("Basic {}", STANDARD.encode(plain))
            }
            Login::Bearer(token) => {
                format!("Bearer {}", token.expose_text().map_err(|_| self.config("the token is no text"))?)
            }
        };
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| self.config("the credentials hold characters that no header may hold"))?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }

    /// The new base, if it is on the same host.
    fn redirected(&self, response: &Response) -> Result<Url, Error> {
        let target = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| response.url().join(value).ok());
        let Some(mut target) = target else { return Err(self.config("redirects to nowhere")) };
        if target.origin() != self.base.origin() {
            let to = target.host_str().unwrap_or("nowhere");
            return Err(self.config(&format!("redirects to another host ({to}); write that URL if it is meant")));
        }
        let Some(path) = target.path().strip_suffix("/info/refs").map(str::to_owned) else {
            return Err(self.config("redirects to something that is no repository (a login page?)"));
        };
        target.set_path(&path);
        target.set_query(None);
        target.set_fragment(None);
        Ok(target)
    }

    fn must_be(&self, response: &Response, what: &str) -> Result<(), Error> {
        let wanted = format!("application/x-{}-{what}", self.service.name());
        let found = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
        let found = found.split(';').next().unwrap_or_default().trim();
        match found.eq_ignore_ascii_case(&wanted) {
            true => Ok(()),
            false => {
                let text = format!("no Git server answers there (it sent {})", clean(found.as_bytes(), 60));
                Err(Error::Unreachable { remote: self.remote.shown().to_owned(), text, retry: Retry::Backoff })
            }
        }
    }

    fn body(&self, response: Response) -> HttpBody {
        HttpBody { remote: self.remote.shown().to_owned(), deadline: self.deadline, response }
    }

    /// What an answer without success means. Only 5xx leaves open whether a push was carried out: a proxy may have
    /// given up waiting.
    fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| http::retry_after(value, SystemTime::now()));
        let words = self.words(response);
        let remote = self.remote.shown().to_owned();
        let with = |text: &str| if words.is_empty() { text.to_owned() } else { format!("{text}: {words}") };
        let elsewhere = match self.remote.may_show_credentials_to(self.base.as_str()) {
            true => String::new(),
            false => format!("; it redirects to {}, which the credentials were not stored for", self.base),
        };
        match status {
            StatusCode::UNAUTHORIZED => {
                let text = match self.remote.credentials().login {
                    Login::Anonymous => "needs credentials and has none",
                    _ => "does not accept the credentials",
                };
                Failure::before(Error::Auth { remote, text: with(text) + &elsewhere })
            }
            StatusCode::FORBIDDEN if self.service == Service::Receive => {
                Failure::refused(Error::Auth { remote, text: with("may not be written to") }, &with("forbidden"))
            }
            StatusCode::FORBIDDEN => Failure::before(Error::Auth { remote, text: with("may not be read") }),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let text = "no such repository, or the credentials may not see it".to_owned() + &elsewhere;
                Failure::before(Error::Auth { remote, text })
            }
            StatusCode::PAYLOAD_TOO_LARGE if self.service == Service::Receive => {
                let error = Error::TooLarge { remote, text: with("the push is larger than the server takes") };
                Failure::refused(error, &with("the push is larger than the server takes"))
            }
            status => {
                let text = with(&format!("answers with status {}", status.as_u16()));
                let retry = match wait {
                    Some(wait) => Retry::After(wait),
                    None if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => Retry::Never,
                    None => Retry::Backoff,
                };
                let error = Error::Unreachable { remote, text, retry };
                if status.is_client_error() { Failure::before(error) } else { Failure::after(error) }
            }
        }
    }

    /// A short text, if the server sent one for people.
    fn words(&self, response: Response) -> String {
        let plain = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.to_str().is_ok_and(|value| value.starts_with("text/plain")));
        let mut words = Vec::new();
        if plain {
            // Words that do not come are no reason to fail otherwise.
            let _ = self.body(response).take(MOST_WORDS).read_to_end(&mut words);
        }
        let words = clean(&words, 300);
        if self.remote.leaks(&words) { String::new() } else { words }
    }

    fn no_answer(&self, url: &Url, error: &reqwest::Error) -> Error {
        if self.deadline.left().is_none() {
            return self.late();
        }
        unreachable(&self.remote, http::Error::from_reqwest(url, error))
    }

    fn step(&self) -> Result<std::time::Duration, Error> {
        self.deadline.step().ok_or_else(|| self.late())
    }

    fn late(&self) -> Error {
        Error::unreachable(self.remote.shown(), "not done in time")
    }

    fn config(&self, text: &str) -> Error {
        Error::Config { remote: self.remote.shown().to_owned(), text: text.to_owned() }
    }
}

/// Certificates and proxies are told apart in the text; all of them mean that the remote is not reached.
fn unreachable(remote: &Remote, error: http::Error) -> Error {
    let retry = error.retry();
    let text = match error {
        http::Error::UntrustedCertificate { why, .. } => {
            let host = match remote.address() {
                Address::Http(url) => url.host_str().unwrap_or_default().to_owned(),
                _ => String::new(),
            };
            format!("certificate not trusted: {why}; add the authority's certificate for {host} to argocd-tls-certs-cm")
        }
        http::Error::BadTrust { what, why } => {
            let text = format!("unusable {what}: {why}");
            return Error::Config { remote: remote.shown().to_owned(), text };
        }
        http::Error::NotSent { cause, detail, .. } => format!("{cause}: {}", clean(detail.as_bytes(), 200)),
        http::Error::Unknown { detail, .. } => format!("no answer: {}", clean(detail.as_bytes(), 200)),
        other => clean(other.to_string().as_bytes(), 300),
    };
    let text = if remote.leaks(&text) { "no connection".to_owned() } else { text };
    Error::Unreachable { remote: remote.shown().to_owned(), text, retry }
}

/// An answer's bytes. Every read is bounded by the client's idle time, all of them by the deadline.
pub(super) struct HttpBody {
    remote: String,
    deadline: Deadline,
    response: Response,
}

impl Read for HttpBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.deadline.left().is_none() {
            return Err(Error::unreachable(&self.remote, "not done in time").into());
        }
        self.response
            .read(buffer)
            .map_err(|_| Error::unreachable(&self.remote, "the answer broke off or fell silent").into())
    }
}
