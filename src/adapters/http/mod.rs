//! The only outbound HTTP client: registries, webhooks, Slack, forges and Git's https transport go through it.
//! It bounds time and size, follows redirects itself so that every hop is checked, pools connections per trust
//! settings, and refuses addresses nobody configures on purpose (SEC-05).
//!
//! Deliberately not here: retries, rate limits, caches, tokens. Those belong to the room that knows the peer.

mod address;
mod body;
mod error;
mod pool;
mod request;
#[cfg(test)]
mod tests;
mod trust;

pub use address::{Gate, denied};
pub use body::{Limits, Overflow};
pub use error::{Cause, Error, retry_after};
pub use request::{Redirects, Reply, Request};
pub use reqwest::Method;
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use trust::{ClientIdentity, Proxy, Roots, Trust, check_roots};
pub use url::Url;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// The outbound client. Cloning is cheap; all clones share connections, host roots and the address gate.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    user_agent: String,
    gate: Gate,
    /// PEMs per host that replace every other root there (HTTP-02).
    hosts: RwLock<Arc<BTreeMap<String, Vec<Arc<str>>>>>,
    pool: pool::Pool,
}

impl Http {
    /// A client that calls itself `Lynceus/<version>` (HTTP-05) and lets `gate` decide about addresses.
    pub fn new(gate: Gate) -> Self {
        Http(Arc::new(Inner {
            user_agent: concat!("Lynceus/", env!("CARGO_PKG_VERSION")).to_owned(),
            gate,
            hosts: RwLock::default(),
            pool: pool::Pool::default(),
        }))
    }

    /// Starts a request; nothing is sent before [`Request::send`].
    pub fn request(&self, method: Method, url: Url) -> Request {
        Request::new(self.clone(), method, url)
    }

    /// Replaces the private roots per host, port stripped, as `argocd-tls-certs-cm` names them. From now on the PEMs
    /// of a host are the only roots trusted there (HTTP-02); connections made before stay open until idle.
    pub fn set_host_roots(&self, roots: BTreeMap<String, Vec<Arc<str>>>) {
        let roots = roots.into_iter().map(|(host, pems)| (host.to_ascii_lowercase(), pems)).collect();
        *self.0.hosts.write().unwrap_or_else(|e| e.into_inner()) = Arc::new(roots);
    }

    /// The only PEMs trusted for `host` by [`Http::set_host_roots`]; none means the usual roots. For TLS clients that
    /// are not HTTP (mail).
    pub fn host_roots(&self, host: &str) -> Option<Vec<Arc<str>>> {
        let hosts = self.0.hosts.read().unwrap_or_else(|e| e.into_inner()).clone();
        hosts.get(&host.to_ascii_lowercase()).cloned()
    }

    /// The addresses of `host`, each checked by the gate; for clients that open their own connections (mail, ssh).
    ///
    /// # Errors
    /// [`Error::NotSent`] if the name has no address, [`Error::Forbidden`] if any address is refused.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        address::resolve(&self.0.gate, host, port).await
    }

    /// A TLS configuration for `host` under `trust`, host roots applied; for TLS clients that are not HTTP.
    ///
    /// # Errors
    /// [`Error::BadTrust`] if a PEM cannot be read.
    pub fn tls(&self, host: &str, trust: &Trust) -> Result<rustls::ClientConfig, Error> {
        trust::tls_config(&self.effective(host, trust))
    }

    /// A blocking client for `url` under `trust`, for threads where waiting is allowed (Git's transport): same trust,
    /// proxy, address gate and User-Agent, pooled alike. It follows no redirects and inflates nothing; reads block
    /// without limit except for `idle` per read, so the caller keeps a deadline and a size of his own.
    ///
    /// Turn its errors into [`Error`] with [`Error::from_reqwest`]. Must not be called on a runtime's worker thread,
    /// only inside `spawn_blocking` or on a thread of one's own.
    ///
    /// # Errors
    /// [`Error::BadUrl`], [`Error::Forbidden`] for a refused literal address, [`Error::BadTrust`].
    pub fn blocking(&self, url: &Url, trust: &Trust, idle: Duration) -> Result<reqwest::blocking::Client, Error> {
        let host = address::check_url(&self.0.gate, url)?;
        self.0.pool.blocking(&self.0, &self.effective(&host, trust), idle)
    }

    /// How many pooled clients there are; stays flat over any number of requests (HTTP-01).
    pub fn clients(&self) -> usize {
        self.0.pool.len()
    }

    /// `trust` as it holds at `host`: its private roots replace the system's, and join those of trust settings that
    /// add to the system's (registries: `/app/config/tls/<host>` is extra trust, image-updates.md §9).
    fn effective(&self, host: &str, trust: &Trust) -> Trust {
        let Some(pems) = self.host_roots(host).filter(|_| !trust.insecure) else { return trust.clone() };
        let roots = match &trust.roots {
            Roots::System => Roots::Only(pems),
            Roots::Also(more) => Roots::Also(more.iter().cloned().chain(pems).collect()),
            Roots::Only(own) => Roots::Only(own.clone()),
        };
        Trust { roots, ..trust.clone() }
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("user_agent", &self.0.user_agent).field("clients", &self.clients()).finish()
    }
}
