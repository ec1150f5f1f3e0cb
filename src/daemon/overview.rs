//! The outbox in numbers for the faces, what is not accepted, and how the store fares (notifications.md OUT-11, §22.1).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::delivery::{Clock, Tally};
use super::status::{Board, Waiting};
use crate::adapters::store::{Filter, Store};
use crate::core::notify::row::RowState;
use crate::core::problem::Problem;

/// So many waiting rows are looked at.
const MOST_ROWS: usize = 1000;

/// A failure that has not healed by then is worth a problem.
const HICCUP: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// OUT-11: the process is not ready while writes have been failing for so long.
const UNREADY_AFTER: Duration = Duration::from_secs(30);

/// Between two looks where nothing changes, and where the store fails.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const TROUBLED_EVERY: Duration = Duration::from_secs(2);

/// Changes that come together are counted once.
const GATHER: Duration = Duration::from_millis(500);

/// Keeps the Board up to date with the store.
pub(super) struct Overview {
    pub(super) store: Store,
    pub(super) board: Board,
    pub(super) clock: Clock,
    pub(super) tally: Arc<Tally>,
}

impl Overview {
    /// Runs until the token is cancelled. The store is asked when something changed rather than by the clock.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut changes = self.store.outbox_changes();
        loop {
            self.count().await;
            self.board.problems("deliveries", failing(&self.store, self.clock.now()).await);
            let pause = if self.store_is_well().await { LOOK_EVERY } else { TROUBLED_EVERY };
            self.board.remind();
            tokio::select! {
                _ = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                _ = tokio::time::sleep(pause) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn count(&self) {
        let Ok(counts) = self.store.counts().await else { return };
        let mut outbox: BTreeMap<String, u64> = BTreeMap::new();
        let mut waiting: BTreeMap<String, Waiting> = BTreeMap::new();
        for count in counts.states {
            *outbox.entry(count.state.clone()).or_default() += count.rows;
            let service = waiting.entry(count.service).or_default();
            if !matches!(count.state.as_str(), "done" | "dead") {
                service.oldest = Some(service.oldest.map_or(count.oldest, |oldest| oldest.min(count.oldest)));
            }
            service.by_state.insert(count.state, count.rows);
        }
        for (service, depth) in counts.deepest {
            waiting.entry(service).or_default().deepest_lane = depth;
        }
        self.board.update(|status| {
            status.outbox = outbox;
            status.waiting = waiting;
            status.breakers = self.tally.open_breakers();
            status.counted_at = Some(self.clock.now());
        });
    }

    /// Says whether the store takes writes, and tries it where it did not: nothing else may want to write.
    async fn store_is_well(&self) -> bool {
        if self.store.trouble().is_some() {
            // A failure is kept by the store itself.
            let _ = self.store.probe().await;
        }
        let trouble = self.store.trouble();
        match &trouble {
            Some((since, _)) if since.elapsed() >= UNREADY_AFTER => self.board.unready("store"),
            Some(_) => {}
            None => self.board.ready("store"),
        }
        let problem = trouble.as_ref().map(|(_, text)| {
            Problem::error("StoreFailed", text)
                .hint("nothing is planned or sent until it can be written down: look for a full or broken disk")
        });
        self.board.problems("store", problem.into_iter().collect());
        trouble.is_none()
    }
}

/// What is not accepted, beyond a first hiccup: one problem per service, its words without what changes from attempt to
/// attempt.
async fn failing(store: &Store, now: Timestamp) -> Vec<Problem> {
    let filter = Filter { state: Some("retry_at".to_owned()), ..Filter::default() };
    let Ok(rows) = store.rows(filter, MOST_ROWS).await else { return Vec::new() };
    let mut found: BTreeMap<String, Problem> = BTreeMap::new();
    for row in rows {
        let healable = matches!(row.state, RowState::RetryAt { healable: true, .. });
        let lasting = healable || now.duration_since(row.event_at) >= HICCUP;
        // Undefined services have their own problem.
        if !lasting || row.last_error.is_empty() || row.last_error.starts_with("there is no service") {
            continue;
        }
        let text = row.last_error.strip_prefix("attempt ").and_then(|rest| rest.split_once(": ")).map(|(_, text)| text);
        let text = text.unwrap_or(&row.last_error);
        let problem = if healable {
            let hint = "waiting messages are sent as soon as the service, its Secret or the template changes";
            Problem::error("DeliveryRejected", text).hint(hint)
        } else {
            Problem::warning("DeliveryFailing", text).hint("waiting messages are sent when it answers again")
        };
        found.entry(row.service.clone()).or_insert(problem.in_object(format!("service {}", row.service)));
    }
    found.into_values().collect()
}
