//! One endpoint: its address and trust, its pace, its tokens, its counters. Lives as long as its entry in
//! registries.conf stays the same.

use super::challenge::Challenge;
use super::credentials::Identity;
use super::limiter::{Limiter, Patience};
use super::listing::Listings;
use crate::adapters::http::{Roots, Trust, Url};
use crate::config::registries::{Entry, TagSort};
use crate::config::secret::Secret;
use crate::core::problem::Problem;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// A registry as it is spoken to. Shared by all images it serves.
pub struct Endpoint {
    /// What registries.conf, the built-in table or inference says.
    pub entry: Arc<Entry>,
    pub(super) base: Url,
    pub(super) trust: Trust,
    pub(super) fault: Option<Problem>,
    pub(super) limiter: Limiter,
    pub(super) patience: Mutex<HashMap<Identity, Patience>>,
    pub(super) scheme: RwLock<Option<Challenge>>,
    pub(super) tokens: Tokens,
    pub(super) listings: Mutex<Listings>,
    /// It rejected `n` once; do not send it again.
    pub(super) no_page_size: AtomicBool,
    pub(super) counters: Counters,
    pub(super) notices: Mutex<BTreeSet<Problem>>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A page of the listing.
    Tags,
    /// The digest of a tag.
    Head,
    /// A manifest or index.
    Manifest,
    /// An image configuration.
    Blob,
    /// A token.
    Token,
}

/// Requests sent so far, by kind, and how they fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub tags: u64,
    pub heads: u64,
    pub manifests: u64,
    pub blobs: u64,
    pub tokens: u64,
    /// Requests without answer or with a 5xx one.
    pub failed: u64,
    /// Answers 429 and 503.
    pub throttled: u64,
}

impl Counts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.tags + self.heads + self.manifests + self.blobs + self.tokens
    }
}

#[derive(Default)]
pub(super) struct Counters {
    kinds: [AtomicU64; 5],
    failed: AtomicU64,
    throttled: AtomicU64,
}

impl Counters {
    pub(super) fn sent(&self, kind: Kind) {
        self.kinds[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }
}

/// Bearer tokens by scope and credential. The lock of a slot is held while its token is fetched, so that it is
/// fetched once.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<(String, Identity), TokenSlot>>);

pub(super) type TokenSlot = Arc<tokio::sync::Mutex<Option<Token>>>;

#[derive(Clone)]
pub(super) struct Token {
    pub(super) text: Secret,
    pub(super) expires: Instant,
}

impl Tokens {
    pub(super) fn slot(&self, scope: &str, identity: Identity) -> TokenSlot {
        let mut slots = locked(&self.0);
        if slots.len() > 4096 {
            let now = Instant::now();
            slots.retain(|_, slot| slot.try_lock().is_ok_and(|token| token.as_ref().is_some_and(|t| t.expires > now)));
        }
        slots.entry((scope.to_owned(), identity)).or_default().clone()
    }
}

impl Endpoint {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        let mut fault = entry.fault.clone();
        let mut pems: Vec<Arc<str>> = entry.ca_data.as_deref().map(Arc::from).into_iter().collect();
        if let Some(file) = &entry.ca_file {
            match std::fs::read_to_string(file) {
                Ok(pem) => pems.push(pem.into()),
                Err(e) => {
                    let text = format!("registry {:?}: `ca_file` {file}: {e}", entry.name);
                    fault.get_or_insert(Problem::error("config-invalid", text).at_key("ca_file"));
                }
            }
        }
        let base = Url::parse(&entry.api_url).unwrap_or_else(|e| {
            let text = format!("registry {:?}: unusable address: {e}", entry.name);
            fault.get_or_insert(Problem::error("config-invalid", text).at_key("api_url"));
            nowhere()
        });
        Endpoint {
            base,
            trust: Trust { roots: Roots::Also(pems), insecure: entry.insecure, ..Trust::default() },
            fault,
            limiter: Limiter::new(entry.limit),
            patience: Mutex::default(),
            scheme: RwLock::default(),
            tokens: Tokens::default(),
            listings: Mutex::default(),
            no_page_size: AtomicBool::new(false),
            counters: Counters::default(),
            notices: Mutex::default(),
            entry,
        }
    }

    /// Host and port as shown in texts and metrics.
    pub fn host(&self) -> String {
        match (self.base.host_str(), self.base.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        }
    }

    /// Whether the order of its listings stands for dates (TAG-6).
    pub fn sorted(&self) -> bool {
        self.entry.tag_sort != TagSort::None
    }

    /// Requests sent so far.
    pub fn requests(&self) -> Counts {
        let read = |kind: Kind| self.counters.kinds[kind as usize].load(Ordering::Relaxed);
        Counts {
            tags: read(Kind::Tags),
            heads: read(Kind::Head),
            manifests: read(Kind::Manifest),
            blobs: read(Kind::Blob),
            tokens: read(Kind::Token),
            failed: self.counters.failed.load(Ordering::Relaxed),
            throttled: self.counters.throttled.load(Ordering::Relaxed),
        }
    }

    /// Requests left of the smallest budget the registry reported to any credential and whose window still runs.
    pub fn budget_remaining(&self) -> Option<u64> {
        let now = Instant::now();
        locked(&self.patience).values().filter_map(|patience| patience.remaining(now)).min()
    }

    /// How many requests a second go out at most; `None` without limit.
    pub fn rate(&self) -> Option<f64> {
        self.limiter.rate()
    }

    /// How long nothing will be sent for this credential.
    pub fn silence(&self, identity: Identity) -> Option<Duration> {
        locked(&self.patience).entry(identity).or_default().silence(false, Instant::now())
    }

    /// Standing remarks: its entry's fault, realms that receive no credential.
    pub fn problems(&self) -> Vec<Problem> {
        self.fault.iter().cloned().chain(locked(&self.notices).iter().cloned()).collect()
    }

    /// Realms that receive no credential (REG-14).
    pub fn notices(&self) -> Vec<Problem> {
        locked(&self.notices).iter().cloned().collect()
    }

    /// `<base>/v2/<repository>/<rest>`.
    pub(super) fn address(&self, repository: &str, rest: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v2").extend(repository.split('/')).extend(rest);
        }
        url
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("name", &self.entry.name).field("host", &self.host()).finish()
    }
}

/// The place of an endpoint whose address cannot be read; its fault keeps everybody away.
#[allow(clippy::expect_used)] // a constant
fn nowhere() -> Url {
    Url::parse("https://invalid.invalid").expect("a constant URL")
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
