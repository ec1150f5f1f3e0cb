//! What is remembered of polls between rounds: answers that serve other remotes' rounds too (image-updates.md CYC-5),
//! repositories that are left alone for a while (REG-12), and what goes to the disk after a round that learnt something
//! (REG-10).

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Key;
use crate::adapters::registry::{Listing, Metadata, Row};
use crate::adapters::store::{KeptListing, Store};
use crate::core::application::AppKey;
use crate::core::problem::Problem;
use crate::core::update::survey::Trouble;

/// Rows of one write: other writes get their turn between two.
const ROWS: usize = 1_000;

/// A longer list is not kept over a restart.
const LONGEST_LIST: usize = 256 << 10;

/// Places of shared repositories beyond which those nobody uses are forgotten.
const MOST_SHARED: usize = 4_096;

/// Failing repositories beyond which those are forgotten that nobody has asked for a day.
const MOST_FAILING: usize = 4_096;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What of a repository fails on its own: a registry whose blobs cannot be had still lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The list of tags.
    Names,
    /// Dates.
    Dates,
    /// Digests of single tags.
    Digests,
}

/// The memory. One per process.
#[derive(Default)]
pub struct Polls {
    shared: Mutex<HashMap<Key, Place>>,
    failing: Mutex<HashMap<(Key, Part), Failing>>,
    notices: Mutex<BTreeSet<Problem>>,
    lists: Mutex<Lists>,
    /// The tags that Git held when an Application was last looked at, one place per image.
    desired: Mutex<HashMap<AppKey, Vec<Option<String>>>>,
}

/// The last poll of a repository that several remotes' rounds ask. Its lock is held during a poll, so that rounds that
/// run at the same time poll once.
pub type Place = Arc<tokio::sync::Mutex<Option<Last>>>;

/// A finished poll.
#[derive(Clone, Debug)]
pub struct Last {
    /// The remote whose round asked.
    pub by: String,
    /// When it began.
    pub at: Instant,
    /// The tags, if anybody needed them.
    pub listing: Option<Arc<Listing>>,
}

#[derive(Clone, Debug)]
struct Failing {
    times: u32,
    at: Instant,
    trouble: Trouble,
}

#[derive(Default)]
struct Lists {
    /// Hash of the list on the disk, by its key there.
    kept: HashMap<[u8; 16], u64>,
    waiting: Vec<KeptListing>,
}

/// How long a repository is left alone after so many polls in a row that failed: to its next round at first, then twice,
/// four, eight and at most ten intervals (REG-12). Half an interval less, because rounds are up to a tenth early.
pub fn rest(times: u32, interval: Duration) -> Duration {
    let intervals = 1u32 << times.saturating_sub(1).min(4);
    interval * intervals.min(10) - interval / 2
}

impl Polls {
    /// The place of a shared repository.
    pub fn place(&self, key: &Key) -> Place {
        let mut shared = locked(&self.shared);
        if shared.len() > MOST_SHARED {
            shared.retain(|_, place| Arc::strong_count(place) > 1);
        }
        shared.entry(key.clone()).or_default().clone()
    }

    /// What Git holds for the images of an Application.
    pub fn desires(&self, app: &AppKey, tags: Vec<Option<String>>) {
        locked(&self.desired).insert(app.clone(), tags);
    }

    /// The tag that Git held for this image of an Application, if that is known: its digest is looked at in every poll
    /// (REG-10).
    pub fn desired(&self, app: &AppKey, image: usize) -> Option<String> {
        locked(&self.desired).get(app)?.get(image)?.clone()
    }

    /// An Application is gone, or not governed.
    pub fn forget(&self, app: &AppKey) {
        locked(&self.desired).remove(app);
    }

    /// Why this part of a repository is not to be asked now, if it is not.
    pub fn resting(&self, key: &Key, part: Part, interval: Duration) -> Option<Trouble> {
        let failing = locked(&self.failing);
        let known = failing.get(&(key.clone(), part))?;
        (known.at.elapsed() < rest(known.times, interval)).then(|| known.trouble.clone())
    }

    /// A poll was answered.
    pub fn answered(&self, key: &Key, part: Part) {
        locked(&self.failing).remove(&(key.clone(), part));
    }

    /// A poll failed, retries included, in a way that may pass by itself.
    pub fn failed(&self, key: &Key, part: Part, trouble: &Trouble) {
        let mut failing = locked(&self.failing);
        if failing.len() > MOST_FAILING {
            failing.retain(|_, known| known.at.elapsed() < FORGOTTEN_AFTER);
        }
        let place = (key.clone(), part);
        let times = failing.get(&place).map_or(0, |known| known.times).saturating_add(1);
        failing.insert(place, Failing { times, at: Instant::now(), trouble: trouble.clone() });
    }

    /// Keeps a remark to be shown from now on; says whether it is new.
    pub fn notice(&self, problem: Problem) -> bool {
        locked(&self.notices).insert(problem)
    }

    /// The remarks so far do not hold any more: the configuration changed.
    pub fn forget_notices(&self) {
        locked(&self.notices).clear();
    }

    /// The remarks so far.
    pub fn notices(&self) -> Vec<Problem> {
        locked(&self.notices).iter().cloned().collect()
    }

    /// A complete list was received; it goes to the disk with the next write if it is news there.
    pub async fn listed(&self, store: &Store, key: [u8; 16], listing: &Listing) {
        let tags = listing.tags.join("\n");
        if tags.len() > LONGEST_LIST {
            return;
        }
        let known = locked(&self.lists).kept.get(&key).copied();
        let print = print(&tags);
        let known = match known {
            // After a start the disk says what it has.
            None => store.listing(key).await.ok().flatten().map(|kept| self::print(&kept.tags)),
            known => known,
        };
        let mut lists = locked(&self.lists);
        lists.kept.insert(key, print);
        if known != Some(print) {
            lists.waiting.push(KeptListing { key, at: Timestamp::now().as_second(), tags });
        }
    }

    /// Writes what was learnt since the last call. What the disk refuses is written next time.
    pub async fn keep(&self, store: &Store, metadata: &Metadata) {
        loop {
            let rows = metadata.take_changes(ROWS);
            if rows.is_empty() {
                break;
            }
            let changes = rows.iter().map(|row| (row.key, row.value.clone())).collect();
            if let Err(error) = store.keep_metadata(changes, Timestamp::now()).await {
                tracing::debug!("what is known of images is not kept: {error}");
                metadata.give_back(&rows);
                break;
            }
        }
        let waiting = std::mem::take(&mut locked(&self.lists).waiting);
        if waiting.is_empty() {
            return;
        }
        if let Err(error) = store.keep_listings(waiting.clone()).await {
            tracing::debug!("lists of tags are not kept: {error}");
            locked(&self.lists).waiting.extend(waiting);
        }
    }
}

/// Fills the memory of a process that begins with what an earlier one kept.
pub async fn remember(store: &Store, metadata: &Metadata) {
    match store.metadata().await {
        Ok(rows) => metadata.load(rows.into_iter().map(|(key, value)| Row { key, value: Some(value) })),
        // A cache: it is asked again.
        Err(error) => tracing::warn!("what was known of images is asked again: {error}"),
    }
}

fn print(tags: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    tags.hash(&mut hasher);
    hasher.finish()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reg_12_a_repository_that_fails_is_left_alone_for_up_to_ten_intervals() {
        let interval = Duration::from_secs(120);
        let polls = Polls::default();
        let key: Key = ("registry:5000".into(), "r".into(), "team/app".into(), None);
        let other: Key = ("registry:5000".into(), "r".into(), "team/other".into(), None);
        let trouble = Trouble { kind: "registry-unreachable", text: "down".into() };
        let mut asked = Vec::new();
        for round in 0..60 {
            if polls.resting(&key, Part::Names, interval).is_none() {
                asked.push(round);
                polls.failed(&key, Part::Names, &trouble);
            }
            assert_eq!(polls.resting(&other, Part::Names, interval), None);
            assert_eq!(polls.resting(&key, Part::Digests, interval), None);
            tokio::time::advance(interval.mul_f64(if round % 2 == 0 { 0.9 } else { 1.1 })).await;
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 25, 35, 45, 55]);
        // Once it answers, a failure begins anew.
        polls.answered(&key, Part::Names);
        polls.failed(&key, Part::Names, &trouble);
        assert_eq!(polls.resting(&key, Part::Names, interval), Some(trouble));
        tokio::time::advance(interval.mul_f64(0.9)).await;
        assert_eq!(polls.resting(&key, Part::Names, interval), None);
    }
}
