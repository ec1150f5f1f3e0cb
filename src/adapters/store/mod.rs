//! The durable store: ledger, outbox, threads, journal, open pushes, what is known of images (notifications.md §11,
//! image-updates.md EVT-5, GIT-15, REG-10). One SQLite file that one process writes; every answer of a write comes after it is on the disk.

mod error;
mod file;
mod journal;
mod ledger;
mod metadata;
mod outbox;
mod thread;
mod wire;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::adapters::redact;
use crate::core::application::AppKey;
use crate::core::event::Event;
use crate::core::notify::ledger::{Ledger, LedgerChange};
use crate::core::notify::message::{Message, Thread};
use crate::core::notify::row::Row;

pub use error::Error;
pub use file::passing_place;
pub use metadata::{KeptListing, Key};

/// The number of a working period of one process: later ones are greater (OUT-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// One atomic write of an evaluation (§9.2).
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The Application's UID. Empty where only texts or the mark move.
    pub uid: String,
    /// Changes of its ledger, in order.
    pub changes: Vec<LedgerChange>,
    /// New rows. One whose id is already stored is left out (OUT-01).
    pub rows: Vec<Row>,
    /// Packed copy of the object version, for rendering later (OUT-14).
    pub object: Option<Vec<u8>>,
    /// The journal has been read up to here.
    pub journal_mark: Option<i64>,
    /// Small texts that must change in the same write (known definitions).
    pub texts: Vec<(String, String)>,
}

/// How an attempt ended that will be repeated.
#[derive(Clone, Debug)]
pub struct Again {
    /// When.
    pub at: Timestamp,
    /// Whether a change of configuration brings it forward.
    pub healable: bool,
    /// What failed, without secrets.
    pub error: String,
    /// A copy may have arrived.
    pub unknown: bool,
    /// What the attempt taught about its thread.
    pub thread: Option<ThreadChange>,
}

/// Which thread: shared by all rows of one service, recipient and grouping key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ThreadKey {
    /// Service name.
    pub service: String,
    /// Recipient, as written.
    pub recipient: String,
    /// The rendered grouping key.
    pub key: String,
}

/// What a delivery taught about its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadChange {
    /// Remember this one, or that it was used again.
    Remember(ThreadKey, Thread),
    /// It is gone at the receiver.
    Forget(ThreadKey),
}

/// Which rows to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this Application.
    pub app: Option<AppKey>,
    /// Only of this service.
    pub service: Option<String>,
    /// Only of this trigger.
    pub trigger: Option<String>,
    /// Only in this state ([`crate::core::notify::row::RowState::word`]).
    pub state: Option<String>,
}

/// How many rows of a service are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Service name.
    pub service: String,
    /// State word.
    pub state: String,
    /// Rows.
    pub rows: u64,
    /// When the oldest one's event was seen.
    pub oldest: Timestamp,
}

/// The outbox in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows by service and state.
    pub states: Vec<Count>,
    /// Rows that wait in the fullest lane of each service.
    pub deepest: BTreeMap<String, u64>,
}

/// What may not be attempted now, for [`Store::due`].
#[derive(Clone, Debug, Default)]
pub struct Skip {
    /// Whole services.
    pub services: Vec<String>,
    /// Single destinations: service, recipient.
    pub lanes: Vec<(String, String)>,
}

/// A push, or a patch of an Application, that was announced before it left (GIT-15).
#[derive(Clone, Debug, PartialEq)]
pub struct PushRow {
    /// Chosen by the caller; unique.
    pub id: String,
    /// The repository, without credentials; for a patch: whatever names the Application.
    pub remote: String,
    /// The branch; empty for a patch.
    pub branch: String,
    /// Its tip before.
    pub old: String,
    /// Its tip after.
    pub new: String,
    /// What else is needed to see whether it landed.
    pub note: String,
    /// The events that become true if it landed.
    pub events: Vec<Event>,
}

/// A journal entry with its place in the order.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Grows; the notifier's mark is one of these.
    pub mark: i64,
    /// The event.
    pub event: Event,
}

/// How the writer fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes that were committed.
    pub writes: u64,
    /// Commits they took: fewer, under load.
    pub commits: u64,
    /// Writes and commits that failed for reasons of the disk.
    pub errors: u64,
}

/// The store. Cloning is cheap; all clones share one writer. The last one to go waits for what was begun.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    // Field order is drop order: the writer ends before the lock is given up.
    writer: Option<writer::Writer>,
    readers: Option<file::Readers>,
    outbox: watch::Sender<u64>,
    journal: watch::Sender<u64>,
    heals: AtomicU64,
    fresh: bool,
    _lock: Option<File>,
}

impl Store {
    /// Opens `state.db` in this folder for this process alone, creating both if they are missing.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Newer`], [`Error::Damaged`], [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Store, Error> {
        let opened = file::open(folder)?;
        let readers = file::Readers::new(&opened.path);
        Ok(Self::with(Some(writer::Writer::start(opened.connection)), Some(readers), opened.fresh, Some(opened.lock)))
    }

    /// A store that vanishes with the process (rehearsals, tests).
    ///
    /// # Errors
    /// Only if SQLite itself fails.
    pub fn memory() -> Result<Store, Error> {
        Ok(Self::with(Some(writer::Writer::start(file::memory()?)), None, true, None))
    }

    /// Opens an existing store beside a running process; every write is [`Error::ReadOnly`].
    ///
    /// # Errors
    /// As [`Store::open`], without [`Error::InUse`].
    pub fn open_read_only(folder: &Path) -> Result<Store, Error> {
        Ok(Self::with(None, Some(file::open_read_only(folder)?), false, None))
    }

    fn with(writer: Option<writer::Writer>, readers: Option<file::Readers>, fresh: bool, lock: Option<File>) -> Store {
        let (outbox, _) = watch::channel(0);
        let (journal, _) = watch::channel(0);
        Store {
            inner: Arc::new(Inner { writer, readers, outbox, journal, heals: AtomicU64::new(0), fresh, _lock: lock }),
        }
    }

    /// Whether the file was created by this opening: what was told before is not known here (OUT-15).
    pub fn is_fresh(&self) -> bool {
        self.inner.fresh
    }

    /// Counters of the writer.
    pub fn tally(&self) -> Tally {
        self.inner.writer.as_ref().map(|writer| writer.tally()).unwrap_or_default()
    }

    /// Since when writes have been failing without one that succeeded, and why (OUT-11).
    pub fn trouble(&self) -> Option<(Instant, String)> {
        self.inner.writer.as_ref().and_then(|writer| writer.trouble())
    }

    /// Changes whenever rows became due that were not: register, then look.
    pub fn outbox_changes(&self) -> watch::Receiver<u64> {
        self.inner.outbox.subscribe()
    }

    /// Changes whenever the journal grew.
    pub fn journal_changes(&self) -> watch::Receiver<u64> {
        self.inner.journal.subscribe()
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.writer.as_ref().ok_or(Error::ReadOnly)?.write(operation).await
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match &self.inner.readers {
            Some(readers) => readers.read(operation).await,
            // A store in memory has one connection only.
            None => self.write(operation).await,
        }
    }

    fn woke(channel: &watch::Sender<u64>) {
        channel.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Begins a new epoch; what older ones still try to write is refused from now on.
    pub async fn claim(&self) -> Result<Epoch, Error> {
        self.write(outbox::claim).await
    }

    /// What was already told about an Application; `known` is false for a UID never seen.
    pub async fn ledger(&self, uid: &str) -> Result<Ledger, Error> {
        let uid = uid.to_owned();
        self.read(move |c| ledger::read(c, &uid)).await
    }

    /// Every UID that has a ledger, for dropping those of Applications that are gone.
    pub async fn ledgers(&self) -> Result<Vec<String>, Error> {
        self.read(ledger::uids).await
    }

    /// Drops an Application's ledger (7 days after its deletion is certain).
    pub async fn drop_app(&self, uid: &str) -> Result<(), Error> {
        let uid = uid.to_owned();
        self.write(move |c| ledger::drop_app(c, &uid)).await
    }

    /// Writes an evaluation: all of it or nothing. Gives the ids of the rows that are new.
    pub async fn plan(&self, plan: Plan) -> Result<Vec<String>, Error> {
        let new = self.write(move |c| outbox::plan(c, &plan)).await?;
        if !new.is_empty() {
            Self::woke(&self.inner.outbox);
        }
        Ok(new)
    }

    /// Which of these events are stored, and whether they are final (for the suffix rule OUT-01).
    pub async fn exists(&self, ids: Vec<String>) -> Result<BTreeMap<String, bool>, Error> {
        self.read(move |c| outbox::exists(c, &ids)).await
    }

    /// Rows that may be attempted at `now`, oldest first: due, their lane not skipped, and no earlier row of the same
    /// Application and destination in front of them that holds them back (LAN-01, LAN-02).
    pub async fn due(&self, now: Timestamp, limit: usize, skip: Skip) -> Result<Vec<Row>, Error> {
        self.read(move |c| outbox::due(c, now, limit, &skip)).await
    }

    /// The next moment after `now` at which [`Store::due`] may give more than now.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        self.read(move |c| outbox::next_due(c, now)).await
    }

    /// The packed object version of a row; `None` once all rows of that version are final.
    pub async fn object(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let id = id.to_owned();
        self.read(move |c| outbox::object(c, &id)).await
    }

    /// An attempt begins: durable before the first byte leaves (OUT-02). `rendered` replaces a deferred payload.
    pub async fn start(&self, id: &str, epoch: Epoch, now: Timestamp, rendered: Option<Message>) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |c| outbox::start(c, &id, epoch, now, rendered.as_ref())).await
    }

    /// One call of a delivery of several is finished (OUT-05).
    pub async fn step(
        &self,
        id: &str,
        epoch: Epoch,
        step: &str,
        now: Timestamp,
        change: Option<ThreadChange>,
    ) -> Result<(), Error> {
        let (id, step) = (id.to_owned(), step.to_owned());
        self.write(move |c| {
            outbox::step(c, &id, epoch, &step)?;
            thread::apply(c, change.as_ref(), now)
        })
        .await
    }

    /// The receiver accepted it: row, thread and ledger mark in one write. Gives whether a mark became told, that is:
    /// whether the annotation should follow (WRB-01).
    pub async fn finish(
        &self,
        id: &str,
        epoch: Epoch,
        now: Timestamp,
        change: Option<ThreadChange>,
    ) -> Result<bool, Error> {
        let id = id.to_owned();
        self.write(move |c| {
            let told = outbox::finish(c, &id, epoch, now)?;
            thread::apply(c, change.as_ref(), now)?;
            Ok(told)
        })
        .await
    }

    /// It will be tried again.
    pub async fn retry(&self, id: &str, epoch: Epoch, now: Timestamp, again: Again) -> Result<(), Error> {
        let id = id.to_owned();
        let again = Again { error: redact::clean(&again.error).into_owned(), ..again };
        self.write(move |c| {
            outbox::retry(c, &id, epoch, now, &again)?;
            thread::apply(c, again.thread.as_ref(), now)
        })
        .await
    }

    /// It is given up, visibly.
    pub async fn dead(&self, id: &str, epoch: Epoch, now: Timestamp, reason: &str, error: &str) -> Result<(), Error> {
        let (id, reason, error) = (id.to_owned(), reason.to_owned(), redact::clean(error).into_owned());
        self.write(move |c| outbox::dead(c, &id, epoch, now, &reason, &error)).await
    }

    /// Starts a dead row again under its old id (OUT-09). Its age counts from now.
    pub async fn replay(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |c| outbox::replay(c, &id, now)).await?;
        Self::woke(&self.inner.outbox);
        Ok(())
    }

    /// Brings rows forward that wait for a change of configuration: of one service, or all. With `rerender` they are
    /// rendered anew where their object version is still there. Gives how many.
    pub async fn heal(&self, service: Option<&str>, rerender: bool, now: Timestamp) -> Result<u64, Error> {
        let service = service.map(str::to_owned);
        self.inner.heals.fetch_add(1, Ordering::Relaxed);
        let healed = self.write(move |c| outbox::heal(c, service.as_deref(), rerender, now)).await?;
        if healed > 0 {
            Self::woke(&self.inner.outbox);
        }
        Ok(healed)
    }

    /// How often [`Store::heal`] was called: an attempt during which this grew may have used what was changed.
    pub fn heals(&self) -> u64 {
        self.inner.heals.load(Ordering::Relaxed)
    }

    /// Brings one row forward, to be rendered anew where its object version is still there.
    pub async fn heal_row(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |c| outbox::heal_row(c, &id, now)).await?;
        Self::woke(&self.inner.outbox);
        Ok(())
    }

    /// Writes nothing of meaning, to see whether the disk takes writes again (OUT-11).
    pub async fn probe(&self) -> Result<(), Error> {
        self.write(outbox::probe).await
    }

    /// Rows found `sending` of an older epoch had an unknown outcome (OUT-03): they are due again, marked as possible
    /// repeats; those of the services in `hold` are given up as `unknown`. Gives how many there were.
    pub async fn recover(&self, epoch: Epoch, now: Timestamp, hold: Vec<String>) -> Result<u64, Error> {
        let recovered = self.write(move |c| outbox::recover(c, epoch, now, &hold)).await?;
        if recovered > 0 {
            Self::woke(&self.inner.outbox);
        }
        Ok(recovered)
    }

    /// Forgets what is past its time: OUT-09, SL-05, EVT-5. Gives how many entries.
    pub async fn clean(&self, now: Timestamp) -> Result<u64, Error> {
        self.write(move |c| Ok(outbox::clean(c, now)? + thread::clean(c, now)? + journal::clean(c)?)).await
    }

    /// One row.
    pub async fn row(&self, id: &str) -> Result<Option<Row>, Error> {
        let id = id.to_owned();
        self.read(move |c| outbox::row(c, &id)).await
    }

    /// Rows, newest first.
    pub async fn rows(&self, filter: Filter, limit: usize) -> Result<Vec<Row>, Error> {
        self.read(move |c| outbox::rows(c, &filter, limit)).await
    }

    /// How many rows of each service are in each state, and how full its lanes are.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.read(outbox::counts).await
    }

    /// The thread of a group, if one is remembered.
    pub async fn thread(&self, key: ThreadKey) -> Result<Option<Thread>, Error> {
        self.read(move |c| thread::read(c, &key)).await
    }

    /// Adds events to the journal; gives those that were new.
    pub async fn append(&self, events: Vec<Event>) -> Result<Vec<Event>, Error> {
        let new = self.write(move |c| journal::append(c, events)).await?;
        if !new.is_empty() {
            Self::woke(&self.inner.journal);
        }
        Ok(new)
    }

    /// Entries after a mark, oldest first.
    pub async fn journal_since(&self, mark: i64, limit: usize) -> Result<Vec<Entry>, Error> {
        self.read(move |c| journal::since(c, mark, limit)).await
    }

    /// How far the journal was read: the last [`Plan::journal_mark`], or 0.
    pub async fn journal_mark(&self) -> Result<i64, Error> {
        self.read(journal::mark).await
    }

    /// Events, newest first; of one Application or all.
    pub async fn history(&self, app: Option<AppKey>, limit: usize) -> Result<Vec<Event>, Error> {
        self.read(move |c| journal::history(c, app.as_ref(), limit)).await
    }

    /// The events of these ids that are there.
    pub async fn events(&self, ids: Vec<String>) -> Result<Vec<Event>, Error> {
        self.read(move |c| journal::events(c, &ids)).await
    }

    /// Announces a push before it leaves. The same id again replaces the row.
    pub async fn open_push(&self, push: PushRow) -> Result<(), Error> {
        self.write(move |c| journal::open_push(c, &push)).await
    }

    /// Ends a push: the row goes, and if it landed its events come into the journal in the same write. Gives those
    /// that were new. An id that is not open is no error and gives nothing.
    pub async fn settle_push(&self, id: &str, landed: bool) -> Result<Vec<Event>, Error> {
        let id = id.to_owned();
        let new = self.write(move |c| journal::settle_push(c, &id, landed)).await?;
        if !new.is_empty() {
            Self::woke(&self.inner.journal);
        }
        Ok(new)
    }

    /// Pushes whose outcome is not recorded yet, oldest first.
    pub async fn open_pushes(&self) -> Result<Vec<PushRow>, Error> {
        self.read(journal::open_pushes).await
    }

    /// A small text kept under a key (last good sources, known definitions).
    pub async fn text(&self, key: &str) -> Result<Option<String>, Error> {
        let key = key.to_owned();
        self.read(move |c| journal::text(c, &key)).await
    }

    /// Sets a small text.
    pub async fn set_text(&self, key: &str, value: &str) -> Result<(), Error> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.write(move |c| journal::set_text(c, &key, &value)).await
    }

    /// Every small text whose key begins so, by key.
    pub async fn texts(&self, prefix: &str) -> Result<BTreeMap<String, String>, Error> {
        let prefix = prefix.to_owned();
        self.read(move |c| journal::texts(c, &prefix)).await
    }

    /// Removes a small text.
    pub async fn remove_text(&self, key: &str) -> Result<(), Error> {
        let key = key.to_owned();
        self.write(move |c| journal::remove_text(c, &key)).await
    }
}

#[cfg(test)]
mod tests;
