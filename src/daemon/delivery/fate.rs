//! What becomes of a row after a failed attempt: again, when, or given up (notifications.md §12.2, OUT-06, OUT-07).

use std::time::Duration;

use jiff::Timestamp;

use crate::adapters::services::{Class, SendError, Service};
use crate::adapters::store::Again;
use crate::core::notify::row::{Row, RowState};
use crate::core::retry::Backoff;

/// How often a rejection that somebody can heal is tried again by itself.
const HEALABLE_EVERY: Duration = Duration::from_secs(15 * 60);
/// The age limit where no service says another (OUT-06).
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The next state of a row.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Tried again.
    Again(Again),
    /// Given up.
    Dead {
        /// `rejected`, `expired`, `unknown`.
        reason: &'static str,
        /// The last error.
        error: String,
    },
}

/// Decides about a row after failure number `failures` (1-based). `jitter` is in `[0, 1)`. The thread is left to the
/// caller, who knows its key.
pub fn decide(
    row: &Row,
    service: Option<&Service>,
    error: &SendError,
    failures: u32,
    now: Timestamp,
    jitter: f64,
) -> Fate {
    let text = error.text.clone();
    let hold = service.is_some_and(|service| service.config().delivery.hold_unknown);
    let dead = |reason| Fate::Dead { reason, error: text.clone() };
    let healable = error.class == Class::RejectedHealable;
    match error.class {
        Class::RejectedFinal => return dead("rejected"),
        Class::Unknown if hold => return dead("unknown"),
        _ => {}
    }
    let limit = age_limit(row, service);
    if now >= limit {
        return dead(if healable { "rejected" } else { "expired" });
    }
    let wait = if healable {
        HEALABLE_EVERY
    } else {
        let asked = error.retry_after.unwrap_or_default();
        let own = match service.and_then(|service| service.quick_wait(error, failures)) {
            // WH-05: a wait that the receiver named has priority over the quick one.
            Some(_) if error.retry_after.is_some() => Duration::ZERO,
            Some(quick) => quick,
            None => {
                let quick = service.map_or(0, Service::quick_retries);
                Backoff::DELIVERY.wait(failures.saturating_sub(quick).max(1), jitter)
            }
        };
        own.max(asked)
    };
    let at = now.checked_add(wait).unwrap_or(limit).min(limit);
    Fate::Again(Again { at, healable, error: text, unknown: error.class == Class::Unknown, thread: None })
}

/// Why a row is too old for another attempt, if it is: `rejected` for one that waited to be healed, else `expired`.
pub(super) fn expired(row: &Row, service: Option<&Service>, now: Timestamp) -> Option<&'static str> {
    if now < age_limit(row, service) {
        return None;
    }
    Some(if matches!(row.state, RowState::RetryAt { healable: true, .. }) { "rejected" } else { "expired" })
}

fn age_limit(row: &Row, service: Option<&Service>) -> Timestamp {
    let age = service.map_or(MAX_AGE, |service| service.config().delivery.max_age);
    row.event_at.checked_add(age).unwrap_or(Timestamp::MAX)
}
