//! An API server on loopback for the kinds Lynceus uses: list in pages, watch with versions and bookmarks, get, create,
//! two kinds of patch with preconditions, access reviews. Objects are kept in memory; everybody may do everything but
//! what a test forbids. Not here: admission, schemas, managed fields, update by PUT.

mod answer;
mod patch;
mod store;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use store::Store;

/// How long a watch without news waits before a bookmark.
const BOOKMARK: Duration = Duration::from_secs(5);

/// A kind the server knows.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    /// `v1`, `argoproj.io/v1alpha1`.
    api: &'static str,
    plural: &'static str,
    name: &'static str,
}

/// Every kind; anything else is answered with 404, as by a server without that custom resource.
const KINDS: [Kind; 5] = [
    Kind { api: "v1", plural: "configmaps", name: "ConfigMap" },
    Kind { api: "v1", plural: "secrets", name: "Secret" },
    Kind { api: "v1", plural: "events", name: "Event" },
    Kind { api: "argoproj.io/v1alpha1", plural: "applications", name: "Application" },
    Kind { api: "argoproj.io/v1alpha1", plural: "appprojects", name: "AppProject" },
];

/// What the tasks share.
struct Shared {
    store: Mutex<Store>,
    /// Verb and plural that are answered with 403.
    forbidden: Mutex<Vec<(String, String)>>,
    /// The newest version; watches wake up by it.
    version: tokio::sync::watch::Sender<u64>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forbids(&self, verb: &str, plural: &str) -> bool {
        let forbidden = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
        forbidden.iter().any(|(v, p)| v == verb && p == plural)
    }

    /// Tells the watches what is the newest version now.
    fn woke(&self, version: u64) {
        self.version.send_if_modified(|known| std::mem::replace(known, version.max(*known)) < version);
    }
}

/// The running server, and the view of it that somebody with full rights has. Clones share it; it ends with the last.
#[derive(Clone)]
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _serving: Arc<Serving>,
}

struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ApiServer {
    /// Starts on a free loopback port, speaking plain HTTP.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start() -> io::Result<ApiServer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let store = Store::default();
        let version = tokio::sync::watch::channel(store.version()).0;
        let shared = Arc::new(Shared { store: Mutex::new(store), forbidden: Mutex::default(), version });
        let router = answer::router(shared.clone());
        let serving = tokio::spawn(async move {
            // Ends only with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(ApiServer { address, shared, _serving: Arc::new(Serving(serving.abort_handle())) })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig for this server whose own namespace is `namespace`.
    pub fn kubeconfig(&self, namespace: &str) -> String {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stage",
            "clusters": [{"name": "stage", "cluster": {"server": self.url()}}],
            "users": [{"name": "stage", "user": {}}],
            "contexts": [{"name": "stage", "context": {"cluster": "stage", "user": "stage", "namespace": namespace}}],
        });
        // JSON is YAML as well.
        config.to_string()
    }

    /// Makes an object or replaces the one of the same name; its uid stays. `stringData` of a Secret becomes `data`.
    ///
    /// # Errors
    /// If it is of no known kind, or has no name or namespace.
    pub fn apply(&self, object: Value) -> Result<(), String> {
        let (api, name) = (text(&object["apiVersion"]), text(&object["kind"]));
        let kind = KINDS.iter().find(|kind| kind.api == api && kind.name == name);
        let kind = kind.ok_or_else(|| format!("{api} {name} is no kind of this server"))?;
        let version = self.shared.store().apply(kind, object)?;
        self.shared.woke(version);
        Ok(())
    }

    /// An object as it is now.
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.shared.store().get(kind_of(plural)?, namespace, name).cloned()
    }

    /// Every object of a kind, by namespace and name.
    pub fn objects(&self, plural: &str) -> Vec<Value> {
        let Some(kind) = kind_of(plural) else { return Vec::new() };
        self.shared.store().all(kind, None).cloned().collect()
    }

    /// Changes an object in place; `false` if there is none. A change that changes nothing makes no version.
    pub fn change(&self, plural: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) -> bool {
        let Some(kind) = kind_of(plural) else { return false };
        let mut store = self.shared.store();
        let Some(mut object) = store.get(kind, namespace, name).cloned() else { return false };
        change(&mut object);
        let version = store.replace(kind, namespace, name, object);
        drop(store);
        self.shared.woke(version);
        true
    }

    /// Removes an object; `false` if there is none.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let Some(kind) = kind_of(plural) else { return false };
        let removed = self.shared.store().remove(kind, namespace, name);
        removed.is_some_and(|version| {
            self.shared.woke(version);
            true
        })
    }

    /// Forgets what happened so far, as etcd does now and then: who comes with an earlier version is answered 410.
    pub fn compact(&self) {
        self.shared.store().compact();
        self.shared.version.send_modify(|_| {});
    }

    /// Answers this verb on this kind with 403 from now on: `forbid("patch", "applications")`.
    pub fn forbid(&self, verb: &str, plural: &str) {
        let mut forbidden = self.shared.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
        forbidden.push((verb.to_owned(), plural.to_owned()));
    }

    /// Ends the prohibitions.
    pub fn allow_all(&self) {
        self.shared.forbidden.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Wakes up with every new version.
    pub fn versions(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.version.subscribe()
    }
}

fn kind_of(plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.plural == plural)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
