//! Delivery: the executor of the outbox. It takes due rows, each in the lane of its destination, marks them `sending`
//! before the first byte leaves, has them sent, and settles what became of them (notifications.md §11.2, §12).
//!
//! One destination's trouble is its own: a lane that is full, slowed or broken is skipped when looking for rows, and
//! waiting for a retry is a moment in the store, never a waiting worker.

mod attempt;
mod exposition;
mod fate;
mod lanes;
mod tally;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::adapters::services::Service;
use crate::adapters::store::{Epoch, Error, Store};
use crate::core::application::AppKey;
use crate::core::notify::message::Message;
use crate::core::notify::row::Row;
use lanes::{Lanes, Verdict};

pub use exposition::Exposition;
pub use fate::{Fate, decide};
pub use tally::{BUCKETS, Figures, Histogram, Tally};

/// OUT-12: how long running attempts get after the stop.
const DRAIN: Duration = Duration::from_secs(8);
/// The longest time between two looks, so that a standstill shows.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How often what is past its time is forgotten (OUT-09, SL-05, EVT-5).
const CLEAN_EVERY: Duration = Duration::from_secs(3600);
/// Rows that are read for one look at the outbox, beside those that are being sent.
const LOOK: usize = 8;
/// The wait after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The services by name.
pub type Services = BTreeMap<String, Service>;

/// Renders a row's message from the packed copy of its object version; the copy is `None` if it is gone.
pub type Render = Arc<dyn Fn(Row, Option<Vec<u8>>) -> BoxFuture<'static, Result<Rendered, Unrendered>> + Send + Sync>;

/// A message rendered at delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The message.
    pub message: Message,
    /// Whether it may be stored and reused; `false` if it shows a secret (TPL-09).
    pub keep: bool,
}

/// Why a message could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrendered {
    /// Something it needs could not be had just now.
    Later(String),
    /// The template fails; only a change of configuration helps (TPL-08).
    Parked(String),
}

/// An event was delivered and its key may enter the Application's annotation (WRB-01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The Application.
    pub app: AppKey,
    /// Its UID.
    pub uid: String,
}

/// Wall time that follows the monotonic clock: read once, then counted on, so that a jump of the machine's clock
/// neither expires everything nor makes everything due (OUT-13).
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    from: Instant,
}

impl Clock {
    /// Starts at this moment.
    pub fn start(wall: Timestamp) -> Clock {
        Clock { wall, from: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.wall.checked_add(self.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.from.elapsed()
    }
}

/// How much runs at once (LAN-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Calls of the whole process.
    pub process: usize,
    /// Calls of one service.
    pub service: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Caps { process: 64, service: 8 }
    }
}

/// What the executor works with.
#[derive(Clone)]
pub struct Parts {
    /// The outbox.
    pub store: Store,
    /// The working period of this process.
    pub epoch: Epoch,
    /// The services; swapped whole when the configuration changes. Rows that wait for a service which is new or has
    /// changed are brought forward here. Must hold the first configuration before [`run`] starts: rows of services it
    /// does not know wait a quarter of an hour.
    pub services: watch::Receiver<Arc<Services>>,
    /// Renders what was deferred.
    pub render: Render,
    /// The time.
    pub clock: Clock,
    /// Bounds.
    pub caps: Caps,
    /// Hears of delivered events whose key became told.
    pub told: mpsc::UnboundedSender<Told>,
    /// Counters.
    pub tally: Arc<Tally>,
}

/// Runs until `stop` is cancelled; then running attempts get 8 s, and what is still running stays `sending`.
///
/// # Errors
/// [`Error::StaleEpoch`] if another process has taken over.
pub async fn run(parts: Parts, stop: CancellationToken) -> Result<(), Error> {
    let mut executor = Executor::new(parts);
    executor.recover().await?;
    let result = executor.work(&stop).await;
    executor.drain().await;
    result
}

/// What an attempt said about its receiver, or that another process works now.
type Outcome = Result<Verdict, Error>;

struct Executor {
    parts: Parts,
    services: Arc<Services>,
    outbox: watch::Receiver<u64>,
    lanes: Lanes,
    running: JoinSet<(Row, Outcome)>,
    in_flight: HashSet<String>,
    clean_at: Duration,
}

impl Executor {
    fn new(mut parts: Parts) -> Executor {
        let services = parts.services.borrow_and_update().clone();
        let outbox = parts.store.outbox_changes();
        let lanes = Lanes::new(parts.caps);
        Executor {
            parts,
            services,
            outbox,
            lanes,
            running: JoinSet::new(),
            in_flight: HashSet::new(),
            clean_at: Duration::ZERO,
        }
    }

    /// Rows that a former process left `sending`: their outcome is unknown (OUT-03).
    async fn recover(&self) -> Result<(), Error> {
        let held = self.services.values().filter(|service| service.config().delivery.hold_unknown);
        let held: Vec<String> = held.map(|service| service.config().name.clone()).collect();
        let Parts { store, epoch, clock, .. } = &self.parts;
        let found = store.recover(*epoch, clock.now(), held).await?;
        if found > 0 {
            warn!(events = found, "deliveries were interrupted; a copy may have arrived");
        }
        Ok(())
    }

    async fn work(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        loop {
            self.parts.tally.turn();
            self.clean().await;
            // Registered before looking: what is planned from here on wakes the select below.
            self.outbox.borrow_and_update();
            let sleep = match self.start_what_is_due(stop).await {
                Ok(next) => next,
                Err(error @ Error::StaleEpoch { .. }) => return Err(error),
                Err(error) => {
                    warn!(%error, "the outbox cannot be read");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(done) = self.running.join_next() => self.ended(done)?,
                Ok(()) = self.parts.services.changed() => self.reconfigure().await?,
                Ok(()) = self.outbox.changed() => {}
                () = tokio::time::sleep(sleep) => {}
            }
            while let Some(done) = self.running.try_join_next() {
                self.ended(done)?;
            }
        }
    }

    async fn clean(&mut self) {
        let Parts { store, clock, .. } = &self.parts;
        if clock.elapsed() < self.clean_at {
            return;
        }
        self.clean_at = clock.elapsed() + CLEAN_EVERY;
        match store.clean(clock.now()).await {
            Ok(0) => {}
            Ok(entries) => debug!(entries, "past their time and forgotten"),
            Err(error) => warn!(%error, "the store could not be tidied"),
        }
    }

    /// Starts every row that may start; gives how long nothing new can become due by itself.
    async fn start_what_is_due(&mut self, stop: &CancellationToken) -> Result<Duration, Error> {
        let clock = self.parts.clock;
        // One moment for looking and for what comes next: what becomes possible between two would be in neither.
        let mut looked = (clock.now(), clock.elapsed());
        while !stop.is_cancelled() && self.lanes.has_room() {
            looked = (clock.now(), clock.elapsed());
            let skip = self.lanes.skip(&self.services, looked.1);
            // Few at a time, as most often one place has become free; as long as some start there is another look. Rows
            // in flight whose `sending` is not written yet are among them, so many more are asked for.
            let limit = LOOK + self.in_flight.len();
            let rows = self.parts.store.due(looked.0, limit, skip).await?;
            let mut started = 0;
            for row in rows {
                started += usize::from(self.start(row));
            }
            if started == 0 {
                break;
            }
        }
        let store = self.parts.store.next_due(looked.0).await?;
        let store = store.map(|at| Duration::try_from(at.duration_since(clock.now())).unwrap_or_default());
        let lanes = self.lanes.next_change(looked.1);
        let shortest = [store, lanes].into_iter().flatten().min().unwrap_or(LONGEST_SLEEP);
        Ok(shortest.clamp(Duration::from_millis(5), LONGEST_SLEEP))
    }

    fn start(&mut self, row: Row) -> bool {
        let service = self.services.get(&row.service).cloned();
        if self.in_flight.contains(&row.id) || !self.lanes.begin(&row, service.as_ref(), self.parts.clock.elapsed()) {
            return false;
        }
        self.in_flight.insert(row.id.clone());
        self.parts.tally.began(&row.service);
        let parts = self.parts.clone();
        self.running.spawn(async move {
            let outcome = attempt::attempt(&parts, &row, service.as_ref()).await;
            (row, outcome)
        });
        true
    }

    fn ended(&mut self, done: Result<(Row, Outcome), tokio::task::JoinError>) -> Result<(), Error> {
        // Panics are caught inside the attempt; only an abort gets here, and then the process is ending.
        let Ok((row, outcome)) = done else { return Ok(()) };
        let verdict = outcome?;
        self.in_flight.remove(&row.id);
        self.parts.tally.ended(&row.service);
        let service = self.services.get(&row.service);
        self.lanes.end(&row, service, &verdict, self.parts.clock.elapsed());
        let now = self.parts.clock.elapsed();
        self.parts.tally.set_open_breakers(self.lanes.open_breakers(&self.services, now));
        Ok(())
    }

    /// Takes the new services and brings forward what waits for one that is new or has changed (§12.2).
    async fn reconfigure(&mut self) -> Result<(), Error> {
        let new = self.parts.services.borrow_and_update().clone();
        let old = std::mem::replace(&mut self.services, new);
        for (name, service) in self.services.iter() {
            if old.get(name).is_some_and(|before| before.config() == service.config()) {
                continue;
            }
            match self.parts.store.heal(Some(name), false, self.parts.clock.now()).await {
                Ok(0) => {}
                Ok(rows) => {
                    info!(service = %name, events = rows, "the service changed; waiting events are tried again")
                }
                // They come up by themselves within a quarter of an hour.
                Err(error) => warn!(service = %name, %error, "waiting events were not brought forward"),
            }
        }
        Ok(())
    }

    /// OUT-12.
    async fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN;
        while let Ok(Some(_)) = tokio::time::timeout_at(deadline, self.running.join_next()).await {}
        if !self.running.is_empty() {
            warn!(events = self.running.len(), "deliveries were cut off; the next start takes them as perhaps sent");
        }
        self.running.abort_all();
    }
}

#[cfg(test)]
mod tests;
