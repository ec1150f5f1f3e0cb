//! One request to a registry with everything that belongs to it: pace, silence, authentication, retries
//! (REG-5, REG-11 to REG-14, REG-16).

use super::challenge::{self, Challenge, RealmRule, realm_rule};
use super::credentials::{Credential, Identity};
use super::endpoint::{Endpoint, Kind, Token, locked};
use super::error::Error;
use super::{Access, Observed, Options};
use crate::adapters::http::{self, Http, Limits, Method, Redirects, Reply, Url};
use crate::config::secret::Secret;
use crate::core::retry::{Backoff, Retry};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// Token replies are small (§25).
const TOKEN_BYTES: usize = 64 << 10;
/// Network errors and 5xx answers are tried so often again within one poll (REG-12).
const RETRIES: u32 = 2;
/// Between those tries.
const BETWEEN: Backoff =
    Backoff { first: Duration::from_millis(500), cap: Duration::from_secs(2), least: Duration::from_millis(50) };
/// A token is renewed so long before it expires, and trusted so long at least (REG-5).
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
const TOKEN_LEAST: Duration = Duration::from_secs(60);

/// A request to be made.
pub(super) struct Ask<'a> {
    pub(super) kind: Kind,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) repository: &'a str,
    pub(super) accept: &'a str,
    pub(super) etag: Option<&'a str>,
    pub(super) limits: Limits,
}

enum Authorization {
    None,
    Basic,
    Bearer(Secret),
}

/// Sends `ask` until there is an answer that is neither throttling nor a challenge nor a passing failure. `spent`
/// grows by the time the registry took, waits of ours not counted.
pub(super) async fn exchange(
    http: &Http,
    options: &Options,
    endpoint: &Endpoint,
    access: &Access<'_>,
    ask: &Ask<'_>,
    spent: &mut Duration,
) -> Result<Reply, Error> {
    if let Some(fault) = &endpoint.fault {
        return Err(Error::Config(fault.clone()));
    }
    let mut call = Call { http, options, endpoint, access, failures: 0, waited: Duration::ZERO };
    let mut challenged = false;
    loop {
        let authorization = call.authorization(ask.repository).await?;
        let mut request = http.request(ask.method.clone(), ask.url.clone()).limits(ask.limits).trust(&endpoint.trust);
        request = request.header("accept", ask.accept).redirects(Redirects::Anywhere(5));
        if let Some(etag) = ask.etag {
            request = request.header("if-none-match", etag);
        }
        request = match (&authorization, access.credential) {
            (Authorization::Basic, Some(credential)) => request.basic_auth(&credential.user, &credential.password),
            (Authorization::Bearer(token), _) => request.bearer(token),
            _ => request,
        };
        let Some(reply) = call.send(ask.kind, request, spent).await? else { continue };
        match reply.status {
            401 | 403 if !challenged => {
                challenged = true;
                let used = match &authorization {
                    Authorization::Bearer(token) => Some(token),
                    _ => None,
                };
                call.learn(&reply, ask.repository, used).await?;
            }
            401 | 403 => return Err(call.denied(&reply)),
            _ => return Ok(reply),
        }
    }
}

/// The state of one exchange over its attempts.
struct Call<'a> {
    http: &'a Http,
    options: &'a Options,
    endpoint: &'a Endpoint,
    access: &'a Access<'a>,
    failures: u32,
    waited: Duration,
}

impl Call<'_> {
    fn identity(&self) -> Identity {
        self.access.credential.map(Credential::identity).unwrap_or_default()
    }

    fn auth_error(&self, why: impl Into<String>) -> Error {
        Error::Auth { registry: self.endpoint.host(), why: why.into() }
    }

    /// One attempt, in its turn. `None`: try again (the wait is already over or will be observed next time).
    async fn send(&mut self, kind: Kind, request: http::Request, spent: &mut Duration) -> Result<Option<Reply>, Error> {
        self.observe_silence().await?;
        self.endpoint.limiter.turn().await;
        self.endpoint.counters.sent(kind);
        let begun = Instant::now();
        let outcome = request.send().await;
        *spent += begun.elapsed();
        if let Some(observe) = &self.options.observe {
            let status = outcome.as_ref().map_or(0, |reply| reply.status);
            observe(&Observed {
                registry: &self.endpoint.host(),
                took: begun.elapsed(),
                answered: (1..500).contains(&status),
                throttled: matches!(status, 429 | 503),
            });
        }
        let reply = match outcome {
            Ok(reply) => reply,
            Err(e) => {
                self.endpoint.counters.failed();
                return self.failed(e).await;
            }
        };
        if self.endpoint.base.scheme() == "https" && reply.url.scheme() != "https" {
            let why = "it redirects from https to http".to_owned();
            let why = http::Error::Redirect { place: format!("https://{}", self.endpoint.host()), why };
            return Err(Error::Refused { registry: self.endpoint.host(), why });
        }
        match reply.status {
            429 | 503 => {
                self.throttled(&reply);
                // An outage answers 503 without a time; it has the retries of any 5xx answer.
                if reply.status == 503 && reply.retry_after(std::time::SystemTime::now()).is_none() {
                    self.count_failure(reply.refusal())?;
                }
                Ok(None)
            }
            500.. => {
                self.endpoint.counters.failed();
                self.failed(reply.refusal()).await
            }
            _ => {
                let mut patience = locked(&self.endpoint.patience);
                patience.entry(self.identity()).or_default().answered(&reply.headers, Instant::now());
                Ok(Some(reply))
            }
        }
    }

    /// Waits while the registry wants silence, if the wait is short; else says how long it will be.
    async fn observe_silence(&mut self) -> Result<(), Error> {
        loop {
            let silence = locked(&self.endpoint.patience)
                .entry(self.identity())
                .or_default()
                .silence(self.access.urgent, Instant::now());
            let Some(silence) = silence else { return Ok(()) };
            if self.waited + silence > self.options.patience {
                return Err(Error::RateLimited { registry: self.endpoint.host(), after: silence });
            }
            self.waited += silence;
            tokio::time::sleep(silence).await;
        }
    }

    fn throttled(&self, reply: &Reply) {
        self.endpoint.counters.throttled();
        let asked = reply.retry_after(std::time::SystemTime::now());
        let mut patience = locked(&self.endpoint.patience);
        if patience.entry(self.identity()).or_default().throttled(asked, fastrand::f64(), Instant::now()) {
            self.endpoint.limiter.throttled();
        }
    }

    fn count_failure(&mut self, why: http::Error) -> Result<(), Error> {
        self.failures += 1;
        // What drips will drip again; it has cost its seconds already.
        let hopeless = why.retry() == Retry::Never || matches!(why, http::Error::TooSlow { .. });
        if self.failures > RETRIES || hopeless {
            return Err(Error::Unreachable { registry: self.endpoint.host(), why });
        }
        Ok(())
    }

    async fn failed(&mut self, why: http::Error) -> Result<Option<Reply>, Error> {
        self.count_failure(why)?;
        tokio::time::sleep(BETWEEN.wait(self.failures, fastrand::f64())).await;
        Ok(None)
    }

    /// What to send along, from what is known of the registry. Nothing at first: the challenge of the real request
    /// teaches it.
    async fn authorization(&mut self, repository: &str) -> Result<Authorization, Error> {
        let scheme = self.endpoint.scheme.read().unwrap_or_else(|e| e.into_inner()).clone();
        match scheme {
            None => Ok(Authorization::None),
            Some(Challenge::Basic) => Ok(Authorization::Basic),
            Some(Challenge::Bearer { realm, service }) => {
                let token = self.token(&realm, service.as_deref(), repository).await?;
                Ok(token.map_or(Authorization::None, Authorization::Bearer))
            }
        }
    }

    /// After a first 401 or 403: takes the challenge over and forgets the token that did not help (REG-13).
    async fn learn(&mut self, reply: &Reply, repository: &str, used: Option<&Secret>) -> Result<(), Error> {
        let headers = reply.headers.get_all("www-authenticate");
        let challenge = challenge::parse(headers.iter().filter_map(|value| value.to_str().ok()));
        match challenge {
            Some(Challenge::Basic) if self.access.credential.is_none() => {
                return Err(self.auth_error("it wants a user and a password, and none are configured"));
            }
            Some(challenge) => {
                *self.endpoint.scheme.write().unwrap_or_else(|e| e.into_inner()) = Some(challenge);
            }
            None if used.is_none() => return Err(self.denied(reply)),
            None => {}
        }
        let slot = self.endpoint.tokens.slot(&self.scope(repository), self.identity());
        let mut slot = slot.lock().await;
        // Somebody else may have renewed it meanwhile.
        if slot.as_ref().map(|token| &token.text) == used {
            *slot = None;
        }
        Ok(())
    }

    fn denied(&self, reply: &Reply) -> Error {
        let with = match self.access.credential {
            Some(credential) => format!("as user {:?}", credential.user),
            None => "without credentials".to_owned(),
        };
        let said = reply.excerpt();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let realm = match &*self.endpoint.scheme.read().unwrap_or_else(|e| e.into_inner()) {
            Some(Challenge::Bearer { realm, .. }) if self.realm_rule(realm) == RealmRule::AnonymousOnly => {
                format!("; its token service {} receives no credentials", realm.host_str().unwrap_or_default())
            }
            _ => String::new(),
        };
        self.auth_error(format!("access denied {with} (status {}){said}{realm}", reply.status))
    }

    /// REG-5.
    fn scope(&self, repository: &str) -> String {
        if repository.is_empty() {
            return String::new();
        }
        let azure = self.endpoint.base.host_str().is_some_and(|host| host.ends_with(".azurecr.io"));
        let more = if azure { format!(" repository:{repository}:metadata_read,content_read") } else { String::new() };
        format!("repository:{repository}:pull{more}")
    }

    fn realm_rule(&self, realm: &Url) -> RealmRule {
        realm_rule(&self.endpoint.base, realm, &self.options.realms)
    }

    /// A token from the cache, or a new one.
    async fn token(&mut self, realm: &Url, service: Option<&str>, repository: &str) -> Result<Option<Secret>, Error> {
        let scope = self.scope(repository);
        let slot = self.endpoint.tokens.slot(&scope, self.identity());
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref().filter(|token| token.expires > Instant::now()) {
            return Ok(Some(token.text.clone()));
        }
        let credential = match self.realm_rule(realm) {
            RealmRule::Nothing(why) => {
                let host = realm.host_str().unwrap_or_default();
                return Err(self.auth_error(format!("its token service {host} is not asked: {why}")));
            }
            RealmRule::AnonymousOnly => {
                self.note_foreign_realm(realm);
                None
            }
            RealmRule::Credential => self.access.credential,
        };
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
                query.append_pair("scope", scope);
            }
        }
        let token = self.fetch_token(url, credential).await?;
        *slot = Some(token.clone());
        Ok(Some(token.text))
    }

    async fn fetch_token(&mut self, url: Url, credential: Option<&Credential>) -> Result<Token, Error> {
        let same_host = url.host_str() == self.endpoint.base.host_str();
        // `insecure` holds for this entry's own host; whoever vouches for a token is verified.
        let trust = http::Trust { insecure: self.endpoint.trust.insecure && same_host, ..self.endpoint.trust.clone() };
        loop {
            let request = self.http.request(Method::GET, url.clone()).trust(&trust).limits(Limits::answer(TOKEN_BYTES));
            let request = match credential {
                Some(credential) => request.basic_auth(&credential.user, &credential.password),
                None => request,
            };
            let sent = self.send(Kind::Token, request, &mut Duration::default()).await;
            let Some(reply) = sent.map_err(|e| self.about_token(e))? else { continue };
            if !(200..300).contains(&reply.status) {
                let host = url.host_str().unwrap_or_default();
                let who = if credential.is_some() { "the credentials" } else { "an anonymous request" };
                return Err(self.auth_error(format!(
                    "its token service {host} refused {who} (status {}): {}",
                    reply.status,
                    reply.excerpt()
                )));
            }
            return read_token(&reply).map_err(|why| self.auth_error(why));
        }
    }

    /// A token service's failure, told so that it is not taken for one of the listing it was needed for.
    fn about_token(&self, error: Error) -> Error {
        match error {
            Error::Unreachable { why, .. } if why.retry() == Retry::Never => {
                self.auth_error(format!("its token service: {why}"))
            }
            Error::Unreachable { registry, why: http::Error::Cut { place, detail } } => {
                Error::Unreachable { registry, why: http::Error::Unknown { place, detail } }
            }
            Error::Unreachable { registry, why: http::Error::TooSlow { place } } => Error::Unreachable {
                registry,
                why: http::Error::Unknown { place, detail: "it came too slowly".into() },
            },
            other => other,
        }
    }

    fn note_foreign_realm(&self, realm: &Url) {
        if self.access.credential.is_none() {
            return;
        }
        let (host, registry) = (realm.host_str().unwrap_or_default(), self.endpoint.host());
        let text = format!("registry {registry} names the token service {host}, which receives no credentials");
        let hint = format!("if it belongs to the registry, allow it with --registry-realm {registry}={host}");
        let problem = crate::core::problem::Problem::warning("registry-auth", text).hint(hint);
        locked(&self.endpoint.notices).insert(problem);
    }
}

#[derive(Deserialize)]
struct TokenReply {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

fn read_token(reply: &Reply) -> Result<Token, String> {
    let read: TokenReply = reply.json().map_err(|e| format!("its token service: {e}"))?;
    let text = read.token.filter(|t| !t.is_empty()).or(read.access_token).filter(|t| !t.is_empty());
    let text = text.ok_or("its token service sent no token")?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("its token service sent a token no header may hold".into());
    }
    let lifetime = read.expires_in.filter(|s| s.is_finite() && *s > 0.0).unwrap_or(0.0).min(86_400.0);
    let lifetime = Duration::from_secs_f64(lifetime).max(TOKEN_LEAST);
    Ok(Token { text: Secret::new(text), expires: Instant::now() + (lifetime - TOKEN_MARGIN) })
}
