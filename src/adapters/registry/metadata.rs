//! What is known of images and tags, so that it is asked once (REG-10). Facts are keyed by digest and therefore true
//! forever; which digest a tag has is only remembered, with the time it was seen.
//!
//! In memory, bounded; [`Metadata::take_changes`] and [`Metadata::load`] are the door for whoever keeps it on disk.

use super::manifest::Built;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a digest names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fact {
    /// An index: digest and platform of each entry; whether the entry is an index itself.
    Index(Arc<Vec<(String, Option<Built>, bool)>>),
    /// One image.
    Image(Arc<Image>),
    /// Nothing usable, and why: a negative result costs no second request.
    Unusable(Arc<str>),
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Image {
    pub(super) created: Option<jiff::Timestamp>,
    pub(super) built: Built,
    pub(super) labels: Arc<BTreeMap<String, String>>,
}

/// What a tag was last seen to name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) digest: String,
    /// Unix seconds.
    pub(super) at: i64,
}

/// One remembered thing, for keeping on disk. Opaque: the key is a hash, the value JSON of this program's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Names what `value` is about; a later row with the same key replaces it.
    pub key: [u8; 16],
    /// The thing itself.
    pub value: Vec<u8>,
}

/// The cache. Shared by all endpoints; keys keep them apart.
pub struct Metadata {
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    facts: HashMap<[u8; 16], (Fact, u64)>,
    tags: HashMap<[u8; 16], (Seen, u64)>,
    clock: u64,
    changes: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
enum Value {
    Fact(Fact),
    Seen(Seen),
}

/// Changes not taken away are dropped beyond this many: then they are learnt again after a restart.
const MOST_CHANGES: usize = 50_000;

impl Metadata {
    /// A cache of at most `most` facts and as many tags; the longest unused go first.
    pub fn new(most: usize) -> Self {
        Metadata { most: most.max(10), inner: Mutex::default() }
    }

    /// How many facts and tags are remembered.
    pub fn len(&self) -> usize {
        let inner = self.inner();
        inner.facts.len() + inner.tags.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was learnt since the last call.
    pub fn take_changes(&self) -> Vec<Row> {
        std::mem::take(&mut self.inner().changes)
    }

    /// Takes over rows kept earlier. What cannot be read is skipped: it is a cache.
    pub fn load(&self, rows: impl IntoIterator<Item = Row>) {
        let mut inner = self.inner();
        for row in rows {
            let used = inner.tick();
            match serde_json::from_slice(&row.value) {
                Ok(Value::Fact(fact)) => drop(inner.facts.insert(row.key, (fact, used))),
                Ok(Value::Seen(seen)) => drop(inner.tags.insert(row.key, (seen, used))),
                Err(_) => {}
            }
        }
        inner.trim(self.most);
    }

    pub(super) fn fact(&self, registry: &str, repository: &str, digest: &str) -> Option<Fact> {
        let key = key("digest", registry, repository, digest);
        let mut inner = self.inner();
        let now = inner.tick();
        let (fact, used) = inner.facts.get_mut(&key)?;
        *used = now;
        Some(fact.clone())
    }

    pub(super) fn learn(&self, registry: &str, repository: &str, digest: &str, fact: Fact) {
        let key = key("digest", registry, repository, digest);
        let mut inner = self.inner();
        inner.changed(key, &Value::Fact(fact.clone()));
        let now = inner.tick();
        inner.facts.insert(key, (fact, now));
        inner.trim(self.most);
    }

    pub(super) fn tag(&self, registry: &str, repository: &str, tag: &str) -> Option<Seen> {
        let key = key("tag", registry, repository, tag);
        let mut inner = self.inner();
        let now = inner.tick();
        let (seen, used) = inner.tags.get_mut(&key)?;
        *used = now;
        Some(seen.clone())
    }

    pub(super) fn saw(&self, registry: &str, repository: &str, tag: &str, seen: Seen) {
        let key = key("tag", registry, repository, tag);
        let mut inner = self.inner();
        inner.changed(key, &Value::Seen(seen.clone()));
        let now = inner.tick();
        inner.tags.insert(key, (seen, now));
        inner.trim(self.most);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn changed(&mut self, key: [u8; 16], value: &Value) {
        if self.changes.len() < MOST_CHANGES
            && let Ok(value) = serde_json::to_vec(value)
        {
            self.changes.push(Row { key, value });
        }
    }

    fn trim(&mut self, most: usize) {
        oldest_out(&mut self.facts, most);
        oldest_out(&mut self.tags, most);
    }
}

/// Drops a tenth at a time, so that a full cache does not sort at every insertion.
fn oldest_out<T>(map: &mut HashMap<[u8; 16], (T, u64)>, most: usize) {
    if map.len() <= most {
        return;
    }
    let mut ages: Vec<u64> = map.values().map(|(_, used)| *used).collect();
    ages.sort_unstable();
    let bound = ages[(map.len() - most + most / 10).min(ages.len() - 1)];
    map.retain(|_, (_, used)| *used >= bound);
}

fn key(kind: &str, registry: &str, repository: &str, name: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in [kind, registry, repository, name] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let whole: [u8; 32] = hash.finalize().into();
    let mut short = [0; 16];
    short.copy_from_slice(&whole[..16]);
    short
}
