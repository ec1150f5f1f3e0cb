//! What is known of images and tags, so that it is asked once (REG-10). Facts are keyed by digest and therefore true
//! forever; which digest a tag has is only remembered, with the time it was seen.
//!
//! In memory, bounded; [`Metadata::take_changes`] and [`Metadata::load`] are the door for whoever keeps it on disk. Disk
//! and memory hold the same: what leaves the one leaves the other.

use super::manifest::Built;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// A change of what is remembered, for keeping on disk. Opaque: the key is a hash, the value JSON of this program's
/// version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Names what `value` is about; a later row with the same key replaces it.
    pub key: [u8; 16],
    /// The thing itself; `None` if it was forgotten.
    pub value: Option<Vec<u8>>,
}

/// The cache. Shared by all endpoints; keys keep them apart.
pub struct Metadata {
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    facts: HashMap<[u8; 16], (Fact, u64)>,
    tags: HashMap<[u8; 16], Tag>,
    clock: u64,
    /// What is not on the disk as it is here, or is there and no longer here.
    changed: HashSet<[u8; 16]>,
}

struct Tag {
    seen: Seen,
    used: u64,
    /// The time on the disk. That a tag still names what it named is no news worth a write, until the time on the disk
    /// would cause a look of its own after a restart.
    kept_at: i64,
}

#[derive(Serialize, Deserialize)]
enum Value<F, S> {
    Fact(F),
    Seen(S),
}

/// The time of a sight on the disk is renewed after so long.
const RENEW: i64 = 12 * 3600;

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

    /// How many changes wait for [`Metadata::take_changes`].
    pub fn changes(&self) -> usize {
        self.inner().changed.len()
    }

    /// What changed and was not taken yet, at most so much of it. What cannot be kept is to be given back with
    /// [`Metadata::give_back`].
    pub fn take_changes(&self, most: usize) -> Vec<Row> {
        let mut inner = self.inner();
        let keys: Vec<[u8; 16]> = inner.changed.iter().take(most).copied().collect();
        let rows = keys.iter().map(|key| inner.row(*key)).collect();
        for key in &keys {
            inner.changed.remove(key);
        }
        rows
    }

    /// These changes were taken and could not be kept.
    pub fn give_back(&self, rows: &[Row]) {
        self.inner().changed.extend(rows.iter().map(|row| row.key));
    }

    /// Takes over rows kept earlier, the longest unused first. What cannot be read, or is more than fits, is forgotten on
    /// the disk as well.
    pub fn load(&self, rows: impl IntoIterator<Item = Row>) {
        let mut inner = self.inner();
        for Row { key, value } in rows {
            let used = inner.tick();
            match value.map(|value| serde_json::from_slice::<Value<Fact, Seen>>(&value)) {
                Some(Ok(Value::Fact(fact))) => drop(inner.facts.insert(key, (fact, used))),
                Some(Ok(Value::Seen(seen))) => {
                    let kept_at = seen.at;
                    inner.tags.insert(key, Tag { seen, used, kept_at });
                }
                Some(Err(_)) | None => {
                    inner.changed.insert(key);
                }
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
        let used = inner.tick();
        inner.facts.insert(key, (fact, used));
        inner.changed.insert(key);
        inner.trim(self.most);
    }

    pub(super) fn tag(&self, registry: &str, repository: &str, tag: &str) -> Option<Seen> {
        let key = key("tag", registry, repository, tag);
        let mut inner = self.inner();
        let now = inner.tick();
        let tag = inner.tags.get_mut(&key)?;
        tag.used = now;
        Some(tag.seen.clone())
    }

    pub(super) fn saw(&self, registry: &str, repository: &str, tag: &str, seen: Seen) {
        let key = key("tag", registry, repository, tag);
        let mut inner = self.inner();
        let used = inner.tick();
        let before =
            inner.tags.get(&key).filter(|before| before.seen.digest == seen.digest).map(|before| before.kept_at);
        let still_good = before.filter(|kept_at| (0..RENEW).contains(&(seen.at - kept_at)));
        if still_good.is_none() {
            inner.changed.insert(key);
        }
        let kept_at = still_good.unwrap_or(seen.at);
        inner.tags.insert(key, Tag { seen, used, kept_at });
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

    fn row(&self, key: [u8; 16]) -> Row {
        let value = match (self.facts.get(&key), self.tags.get(&key)) {
            (Some((fact, _)), _) => Some(Value::Fact(fact)),
            (None, Some(tag)) => Some(Value::Seen(&tag.seen)),
            (None, None) => None,
        };
        // What cannot be written is missing after a restart, no more.
        Row { key, value: value.and_then(|value: Value<&Fact, &Seen>| serde_json::to_vec(&value).ok()) }
    }

    fn trim(&mut self, most: usize) {
        let Inner { facts, tags, changed, .. } = self;
        oldest_out(facts, most, |(_, used)| *used, changed);
        oldest_out(tags, most, |tag| tag.used, changed);
    }
}

/// Drops a tenth at a time, so that a full cache does not sort at every insertion.
fn oldest_out<T>(map: &mut HashMap<[u8; 16], T>, most: usize, used: impl Fn(&T) -> u64, gone: &mut HashSet<[u8; 16]>) {
    if map.len() <= most {
        return;
    }
    let mut ages: Vec<u64> = map.values().map(&used).collect();
    ages.sort_unstable();
    let bound = ages[(map.len() - most + most / 10).min(ages.len() - 1)];
    map.retain(|key, value| {
        let stays = used(value) >= bound;
        if !stays {
            gone.insert(*key);
        }
        stays
    });
}

/// Names a repository as one credential sees it, for keeping its list.
pub(super) fn listing_key(registry: &str, repository: &str, credential: &[u8]) -> [u8; 16] {
    let credential: String = credential.iter().map(|byte| format!("{byte:02x}")).collect();
    key("listing", registry, repository, &credential)
}

/// A tag's part of a whole, the same every time: what is due over a long time is spread by it.
pub(super) fn share(registry: &str, repository: &str, tag: &str) -> f64 {
    let key = key("share", registry, repository, tag);
    f64::from(u16::from_be_bytes([key[0], key[1]])) / 65_536.0
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
