//! An OCI registry on loopback: repositories, tags, multi-arch indexes, tokens, paging, and whatever a bad registry
//! does, on request. It keeps a log of requests, so that a test can say what was asked and what was sent along.

mod faults;
mod images;
mod serve;

pub use faults::{Fault, On};
pub use images::digest_of;

use images::Store;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running registry; it stops when dropped.
pub struct Registry {
    address: SocketAddr,
    shared: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

/// Who may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Everybody.
    #[default]
    Open,
    /// Whoever knows this user and password.
    Basic(String, String),
    /// Whoever brings a token. With a user and password tokens are given to those who know them, without to anybody
    /// (as GHCR does for public images).
    Token(Option<(String, String)>),
}

/// How the registry behaves while nothing is scripted.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Who may read.
    pub auth: Auth,
    /// The token service's address in the challenge; `None`: the registry itself.
    pub realm: Option<String>,
    /// Path of the token service at the registry itself: `/token`; Harbor's is `/service/token`.
    pub token_path: String,
    /// Lifetime of tokens in seconds; `None`: not said.
    pub expires_in: Option<u64>,
    /// Most tags on a page, whatever `n` says.
    pub page: usize,
    /// Answer 400 when `n` is sent.
    pub rejects_n: bool,
    /// Send ETags with listings, and 304 when they match.
    pub etags: bool,
    /// Send `Docker-Content-Digest`.
    pub digest_header: bool,
    /// Answer HEAD with 405.
    pub rejects_head: bool,
    /// Links to next pages are absolute with this in front, as a registry behind a proxy writes them; `None`: relative.
    pub link_origin: Option<String>,
    /// `RateLimit-Limit` and `-Remaining`, sent with manifests; remaining counts down with each GET of one.
    pub budget: Option<(u64, u64)>,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            auth: Auth::Open,
            realm: None,
            token_path: "/token".into(),
            expires_in: Some(300),
            page: 1_000,
            rejects_n: false,
            etags: false,
            digest_header: true,
            rejects_head: false,
            link_origin: None,
            budget: None,
        }
    }
}

/// A request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `HEAD`.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query, empty if there was none.
    pub query: String,
    /// The Authorization header.
    pub authorization: Option<String>,
    /// If-None-Match.
    pub if_none_match: Option<String>,
    /// User-Agent.
    pub user_agent: String,
    /// The Host header.
    pub host: String,
    /// Status of the answer.
    pub status: u16,
    /// When it arrived.
    pub at: std::time::Instant,
}

struct State {
    habits: Habits,
    store: Store,
    script: VecDeque<(On, Fault)>,
    log: Vec<Seen>,
    tokens: Vec<(String, String)>,
    issued: usize,
    poured: Arc<AtomicU64>,
    /// Requests being answered now, and the most so far.
    at_once: (usize, usize),
}

impl Registry {
    /// Starts on a free port of 127.0.0.1, speaking plain HTTP.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start() -> std::io::Result<Registry> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(State {
            habits: Habits::default(),
            store: Store::default(),
            script: VecDeque::new(),
            log: Vec::new(),
            tokens: Vec::new(),
            issued: 0,
            poured: Arc::default(),
            at_once: (0, 0),
        }));
        let app = serve::router(shared.clone(), address);
        let server = tokio::spawn(async move {
            // It ends with the process or with an abort; there is nobody to tell.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Registry { address, shared, server })
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A registries.conf entry for it: images `<host>/…` are asked here.
    pub fn entry(&self) -> String {
        format!("- name: stage\n  prefix: {}\n  api_url: {}\n", self.host(), self.url())
    }

    /// Changes how it behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.state().habits);
    }

    /// Pushes an image: one platform gives a manifest, several an index. `created` is the RFC 3339 text of its
    /// configurations. Returns the digest the tag now names.
    pub fn push(&self, repository: &str, tag: &str, created: &str, platforms: &[&str]) -> String {
        self.state().store.push(repository, tag, created, platforms)
    }

    /// Pushes many tags that share one image, cheaply.
    pub fn push_tags<'a>(&self, repository: &str, created: &str, tags: impl IntoIterator<Item = &'a str>) {
        self.state().store.push_tags(repository, created, tags);
    }

    /// Makes a tag name these bytes, whatever they are, as a manifest of this type.
    pub fn push_manifest(&self, repository: &str, tag: &str, media_type: &str, body: impl Into<Vec<u8>>) -> String {
        self.state().store.put_manifest(repository, Some(tag), media_type, body.into())
    }

    /// Stores these bytes as a blob; gives their digest.
    pub fn push_blob(&self, repository: &str, body: impl Into<Vec<u8>>) -> String {
        self.state().store.put_blob(repository, body.into())
    }

    /// Stores bytes as a manifest without a tag; gives their digest.
    pub fn push_untagged(&self, repository: &str, media_type: &str, body: impl Into<Vec<u8>>) -> String {
        self.state().store.put_manifest(repository, None, media_type, body.into())
    }

    /// Adds a name to the listing that names nothing, valid or not.
    pub fn list_name(&self, repository: &str, name: &str) {
        self.state().store.list_name(repository, name);
    }

    /// Removes a tag.
    pub fn untag(&self, repository: &str, tag: &str) {
        self.state().store.untag(repository, tag);
    }

    /// Scripts the answer to the next request of this kind that has no scripted answer yet.
    pub fn script(&self, on: On, fault: Fault) {
        self.state().script.push_back((on, fault));
    }

    /// The same, `times` times.
    pub fn script_times(&self, times: usize, on: On, fault: &Fault) {
        for _ in 0..times {
            self.script(on, fault.clone());
        }
    }

    /// Scripted answers nobody has asked for.
    pub fn unplayed(&self) -> usize {
        self.state().script.len()
    }

    /// Makes every token given so far invalid.
    pub fn revoke_tokens(&self) {
        self.state().tokens.clear();
    }

    /// The requests so far.
    pub fn log(&self) -> Vec<Seen> {
        self.state().log.clone()
    }

    /// Bytes of scripted bodies that were handed to connections piece by piece ([`Fault::Huge`], [`Fault::Drip`]).
    pub fn poured(&self) -> u64 {
        self.state().poured.load(Ordering::Relaxed)
    }

    /// The most requests that were being answered at the same time.
    pub fn most_at_once(&self) -> usize {
        self.state().at_once.1
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}
