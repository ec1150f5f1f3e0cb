//! Container registries: what tags a repository has, and what is known of each (image-updates.md §9, §10).
//!
//! [`Registries`] is the door: pick the [`Endpoint`] of an image, list its tags, describe the few that matter.
//! Deliberately not here: when to poll and for whom (the poller), which tag is wanted (`core/image`), where
//! credentials are kept (the caller brings them), the file that keeps [`Metadata`] over a restart (the store).

mod challenge;
mod credentials;
mod describe;
mod endpoint;
mod error;
mod exchange;
mod limiter;
mod listing;
mod manifest;
mod metadata;
#[cfg(test)]
mod tests;

pub use challenge::{Challenge, parse as challenge};
pub use credentials::{Credential, Identity};
pub use describe::{Behind, Described, Question};
pub use endpoint::{Counts, Endpoint, Kind};
pub use error::Error;
pub use listing::Listing;
pub use manifest::{Built, Child, Configuration, Manifest, read as manifest, read_configuration as configuration};
pub use metadata::{Metadata, Row};

use crate::adapters::http::{Http, Limits, Method};
use crate::config::registries as conf;
use crate::core::image::{Candidate, Detail, ImageRef, Platform};
use describe::Look;
use endpoint::locked;
use exchange::{Ask, exchange};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

/// One request, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Host and port of the registry; for a token too, whoever gives it out.
    pub registry: &'a str,
    /// From sending to the last byte of the answer; waits before it are not counted.
    pub took: Duration,
    /// Answered with a status below 500.
    pub answered: bool,
    /// Answered with 429 or 503.
    pub throttled: bool,
}

/// Is told of every request.
pub type Observe = Arc<dyn Fn(&Observed<'_>) + Send + Sync>;

/// What the operator may set beyond registries.conf.
#[derive(Clone)]
pub struct Options {
    /// `--registry-realm <registry>=<realm-host>`, split (REG-14).
    pub realms: Vec<(String, String)>,
    /// A registry's silence up to this long is waited for within a question; longer ones end it with
    /// [`Error::RateLimited`].
    pub patience: Duration,
    /// Most facts and most tags remembered (REG-10).
    pub most_remembered: usize,
    /// For metrics.
    pub observe: Option<Observe>,
}

impl Default for Options {
    fn default() -> Self {
        Options { realms: Vec::new(), patience: Duration::from_secs(10), most_remembered: 200_000, observe: None }
    }
}

/// On whose behalf something is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access<'a> {
    /// Sent when the registry asks for it, and only where it may go.
    pub credential: Option<&'a Credential>,
    /// A webhook's or a desired tag's request: goes out although the registry's budget runs low (REG-11).
    pub urgent: bool,
}

impl<'a> From<Option<&'a Credential>> for Access<'a> {
    fn from(credential: Option<&'a Credential>) -> Self {
        Access { credential, urgent: false }
    }
}

/// All registries. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Registries(Arc<Inner>);

struct Inner {
    http: Http,
    options: Options,
    conf: RwLock<Arc<conf::Registries>>,
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
    metadata: Metadata,
}

/// Inferred endpoints are forgotten beyond this many; tenants name the hosts.
const MOST_ENDPOINTS: usize = 2_000;

impl Registries {
    /// Registries as `conf` has them.
    pub fn new(http: Http, conf: conf::Registries, options: Options) -> Self {
        let metadata = Metadata::new(options.most_remembered);
        let conf = RwLock::new(Arc::new(conf));
        Registries(Arc::new(Inner { http, options, conf, endpoints: Mutex::default(), metadata }))
    }

    /// Takes a new registries.conf over. Endpoints whose entry stays the same keep their pace, tokens and counters.
    pub fn reload(&self, conf: conf::Registries) {
        locked(&self.0.endpoints).retain(|_, known| known.entry.implied || conf.entries().contains(&known.entry));
        *self.0.conf.write().unwrap_or_else(|e| e.into_inner()) = Arc::new(conf);
    }

    /// The configuration in use.
    pub fn conf(&self) -> Arc<conf::Registries> {
        self.0.conf.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// The endpoint that serves an image (REG-1, REG-2).
    pub fn endpoint_of(&self, image: &ImageRef) -> Arc<Endpoint> {
        self.endpoint(self.conf().endpoint(image.registry.as_deref(), &image.name))
    }

    /// The endpoint of an entry of the configuration.
    pub fn endpoint(&self, entry: Arc<conf::Entry>) -> Arc<Endpoint> {
        let mut endpoints = locked(&self.0.endpoints);
        let key = format!("{} {}", entry.prefix, entry.api_url);
        if let Some(known) = endpoints.get(&key).filter(|known| known.entry == entry) {
            return known.clone();
        }
        if endpoints.len() >= MOST_ENDPOINTS {
            endpoints.retain(|_, endpoint| !endpoint.entry.implied || Arc::strong_count(endpoint) > 1);
        }
        let endpoint = Arc::new(Endpoint::new(entry));
        endpoints.insert(key, endpoint.clone());
        endpoint
    }

    /// The endpoints used so far.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        locked(&self.0.endpoints).values().cloned().collect()
    }

    /// The repository's name at its endpoint, with `defaultns` where it applies.
    pub fn repository_of(&self, image: &ImageRef) -> String {
        self.endpoint_of(image).entry.repository(&image.name)
    }

    /// All tags of a repository, complete or not at all (REG-6).
    ///
    /// # Errors
    /// See [`Error`]. After [`Error::Auth`] a caller whose credential may have changed fetches it anew and asks once
    /// more (REG-13); the token that failed is already forgotten.
    pub async fn tags(&self, endpoint: &Endpoint, repository: &str, access: Access<'_>) -> Result<Listing, Error> {
        listing::list(&self.0.http, &self.0.options, endpoint, repository, &access).await
    }

    /// What some tags name, in the question's order. A tag with a defect of its own comes back with a note; a failure
    /// that may hit any tag (network, throttling, authentication) fails the whole question, because an answer without
    /// the newest tags would look like one with older ones (INV-4).
    ///
    /// # Errors
    /// See [`Error`] and [`Registries::tags`].
    pub async fn describe(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        question: Question<'_>,
        access: Access<'_>,
    ) -> Result<Vec<Described>, Error> {
        self.look(endpoint, repository, access).describe(question).await
    }

    /// [`Registries::describe`] for one user of an image: candidates ready for a strategy.
    ///
    /// # Errors
    /// As [`Registries::describe`].
    pub async fn candidates(
        &self,
        image: &ImageRef,
        tags: &[String],
        detail: Detail,
        platforms: &[Platform],
        access: Access<'_>,
    ) -> Result<Vec<Candidate>, Error> {
        let endpoint = self.endpoint_of(image);
        let question = Question { tags, detail, platforms, ..Question::default() };
        let repository = endpoint.entry.repository(&image.name);
        let described = self.describe(&endpoint, &repository, question, access).await?;
        Ok(described.iter().map(|tag| tag.candidate(platforms)).collect())
    }

    /// The digest a tag has now: one HEAD (REG-7).
    ///
    /// # Errors
    /// See [`Error`]; [`Error::NotFound`] if there is no such tag.
    pub async fn digest(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        tag: &str,
        access: Access<'_>,
    ) -> Result<String, Error> {
        self.look(endpoint, repository, access).digest(tag).await
    }

    /// Whether the registry answers and accepts the credential: one request for the API's root, plus what its
    /// challenge asks for (`check --connect`).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ping(&self, endpoint: &Endpoint, access: Access<'_>) -> Result<(), Error> {
        let mut url = endpoint.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v2").push("");
        }
        let limits = Limits::answer(64 << 10);
        let ask = Ask { kind: Kind::Tags, method: Method::GET, url, repository: "", accept: "*/*", etag: None, limits };
        let spent = &mut Duration::default();
        let reply = exchange(&self.0.http, &self.0.options, endpoint, &access, &ask, spent).await?;
        match reply.status {
            200..300 => Ok(()),
            _ => Err(Error::Refused { registry: endpoint.host(), why: reply.refusal() }),
        }
    }

    /// Names a repository as a credential sees it, for keeping its list over a restart.
    pub fn listing_key(&self, endpoint: &Endpoint, repository: &str, access: Access<'_>) -> [u8; 16] {
        let identity = access.credential.map(Credential::identity).unwrap_or_default();
        metadata::listing_key(&endpoint.host(), repository, &identity.bytes())
    }

    /// What is remembered of images; the door for keeping it over a restart.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    fn look<'a>(&'a self, endpoint: &'a Endpoint, repository: &'a str, access: Access<'a>) -> Look<'a> {
        let Inner { http, options, metadata, .. } = &*self.0;
        Look { http, options, metadata, endpoint, repository, access, mute: false }
    }
}
