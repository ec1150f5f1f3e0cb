//! The Kubernetes API: Applications and documents as streams of changes, single reads, narrow writes with a
//! precondition. Objects are decoded one by one, so that a broken one hides nobody else's. Not here: what any of it
//! means (core, config), and who waits for what (daemon).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::client::{Body, ClientBuilder};
use kube::core::ApiResource;
use kube::{Api, Client};
use tower::util::MapRequestLayer;

use crate::config::settings::ClusterAccess;

mod access;
mod application;
mod connection;
mod documents;
mod error;
mod event;
mod follow;
mod lease;
mod object;
mod patch;

pub use access::Access;
pub use application::AppEvent;
pub use documents::{ConfigMap, Document, DocumentEvent, ImageUpdater, Project, SecretObject, UpdaterEvent};
pub use error::{Call, Error};
pub use event::{Note, NoteKind};
pub use lease::{Claim, Lease};
pub use patch::{Edit, Refresh};

use object::Object;

/// Every call that is no watch ends within this time, answered or not.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection to one cluster. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    own_namespace: Arc<str>,
    counters: Arc<Counters>,
}

/// Which namespaces' Applications are watched (image-updates.md SRC-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Only this one: the namespace Lynceus runs in.
    Own(String),
    /// Every one.
    All,
    /// These, at least one, each once, in the order written.
    List(Vec<String>),
}

impl Namespaces {
    /// Reads `--watch-namespaces`: empty is the own namespace, `*` all, else a comma list.
    ///
    /// # Errors
    /// If the list names nothing.
    pub fn parse(text: &str, own: &str) -> Result<Namespaces, String> {
        match text.trim() {
            "" if text.is_empty() => return Ok(Namespaces::Own(own.to_owned())),
            "*" => return Ok(Namespaces::All),
            _ => {}
        }
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            if !names.iter().any(|n| n == name) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            return Err(format!("\"{text}\" names no namespace: leave it empty for \"{own}\", or write * for all"));
        }
        Ok(Namespaces::List(names))
    }

    /// The places to watch; `None` is the whole cluster.
    fn places(&self) -> Vec<Option<String>> {
        match self {
            Namespaces::Own(name) => vec![Some(name.clone())],
            Namespaces::All => vec![None],
            Namespaces::List(names) => names.iter().cloned().map(Some).collect(),
        }
    }
}

#[derive(Default)]
struct Counters {
    reads: AtomicU64,
    watches: AtomicU64,
    writes: AtomicU64,
}

/// How many requests have been sent since the connection was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Gets and lists.
    pub reads: u64,
    /// Watches begun; each is renewed about every five minutes.
    pub watches: u64,
    /// Everything else: patches, creations, access reviews.
    pub writes: u64,
}

impl Cluster {
    /// Connects by a kubeconfig file, or as the place Lynceus runs in suggests (`KUBECONFIG`, `~/.kube/config`, the
    /// pod's ServiceAccount). Nothing is sent yet.
    ///
    /// # Errors
    /// If there is no usable configuration; the text says which file and why.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Cluster, Error> {
        Cluster::connect_with(kubeconfig, &ClusterAccess::default()).await
    }

    /// The same with kubectl's connection flags, which win over the kubeconfig.
    ///
    /// # Errors
    /// As [`Cluster::connect`], and if a flag's value cannot be used.
    pub async fn connect_with(kubeconfig: Option<&Path>, access: &ClusterAccess) -> Result<Cluster, Error> {
        // kube takes the process's TLS provider; a second installation is refused and changes nothing.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut config = connection::config(kubeconfig, access).await?;
        // Repeating is the callers' matter: they know a deadline and what else could be done meanwhile.
        config.default_retry = false;
        let own_namespace: Arc<str> = config.default_namespace.as_str().into();
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        let count = MapRequestLayer::new(move |request: axum::http::Request<Body>| {
            let watch = request.uri().query().is_some_and(|q| q.split('&').any(|p| p == "watch=true"));
            let counter = match (request.method() == axum::http::Method::GET, watch) {
                (true, true) => &counted.watches,
                (true, false) => &counted.reads,
                _ => &counted.writes,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            request
        });
        let builder = ClientBuilder::try_from(config).map_err(|e| Error::Config(format!("no cluster: {e}")))?;
        let client = builder.with_layer(&count).build();
        Ok(Cluster { client, own_namespace, counters })
    }

    /// The namespace Lynceus runs in, or the kubeconfig's.
    pub fn own_namespace(&self) -> &str {
        &self.own_namespace
    }

    /// The requests sent so far. Nothing else is: a test asserts by it that nothing happens when nothing changes.
    pub fn requests(&self) -> Requests {
        Requests {
            reads: self.counters.reads.load(Ordering::Relaxed),
            watches: self.counters.watches.load(Ordering::Relaxed),
            writes: self.counters.writes.load(Ordering::Relaxed),
        }
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<Object> {
        match namespace {
            Some(name) => Api::namespaced_with(self.client.clone(), name, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    /// Reads one object; `None` if it is not there.
    async fn read(&self, resource: &ApiResource, namespace: &str, name: &str) -> Result<Option<Object>, Error> {
        let call = Call::one("get", resource, Some(namespace), name);
        within(call, self.api(resource, Some(namespace)).get_opt(name)).await
    }
}

/// Waits for an answer, but not longer than [`DEADLINE`], and gives what went wrong the name of the call.
async fn within<T>(call: Call, answer: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(Error::of(call, e)),
        Err(_) => Err(Error::unavailable(call, format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

#[cfg(test)]
mod tests;
