//! Counters of the deliveries, as plain numbers; `/metrics` gives them their names (notifications.md §22.1).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Services;
use crate::adapters::services::Service;

/// Upper bounds of the delivery histogram, in seconds.
pub const BUCKETS: [f64; 12] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86_400.0];

/// A copy of all counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// By trigger, service and success: `true` once per delivered event, `false` per failed attempt.
    pub deliveries: BTreeMap<(String, String, bool), u64>,
    /// By service and class ([`crate::adapters::services::Class::word`] or `accepted`).
    pub attempts: BTreeMap<(String, &'static str), u64>,
    /// By service and reason.
    pub dead: BTreeMap<(String, String), u64>,
    /// By service: event seen until accepted.
    pub seconds: BTreeMap<String, Histogram>,
    /// By service: the last accepted event, in Unix seconds.
    pub last_success: BTreeMap<String, i64>,
    /// By service: attempts running now.
    pub running: BTreeMap<String, u64>,
    /// Services whose breaker is open, with the place it guards.
    pub open_breakers: Vec<(String, String)>,
    /// By service and type: messages in which a simpler text stands in (TPL-07).
    pub fallbacks: BTreeMap<(String, String), u64>,
    /// Configured triggers: their series exist from the start.
    pub triggers: Vec<String>,
    /// Configured services, with type and place.
    pub services: BTreeMap<String, (String, String)>,
}

/// A histogram over [`BUCKETS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Observations per bucket, not cumulative; the last one is beyond all bounds.
    pub counts: [u64; BUCKETS.len() + 1],
    /// Sum of all observations in seconds.
    pub sum: f64,
}

/// The counters.
#[derive(Default)]
pub struct Tally {
    figures: Mutex<Figures>,
    turn: Mutex<Option<Instant>>,
}

impl Tally {
    /// The counters as they are now.
    pub fn figures(&self) -> Figures {
        self.lock().clone()
    }

    /// How long ago the executor last went round; beyond a minute it stands still (liveness). Zero before its first
    /// round.
    pub fn idle(&self) -> Duration {
        let turn = *self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.map_or(Duration::ZERO, |turn| turn.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::daemon) fn turn(&self) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(in crate::daemon) fn began(&self, service: &str) {
        *self.lock().running.entry(service.to_owned()).or_default() += 1;
    }

    pub(in crate::daemon) fn ended(&self, service: &str) {
        if let Some(running) = self.lock().running.get_mut(service) {
            *running = running.saturating_sub(1);
        }
    }

    pub(in crate::daemon) fn attempted(&self, service: &str, class: &'static str) {
        *self.lock().attempts.entry((service.to_owned(), class)).or_default() += 1;
    }

    pub(in crate::daemon) fn delivered(&self, trigger: &str, service: &str, succeeded: bool) {
        *self.lock().deliveries.entry((trigger.to_owned(), service.to_owned(), succeeded)).or_default() += 1;
    }

    pub(in crate::daemon) fn done(&self, service: &str, now: Timestamp, age: Duration) {
        let mut figures = self.lock();
        figures.last_success.insert(service.to_owned(), now.as_second());
        let histogram = figures.seconds.entry(service.to_owned()).or_default();
        let age = age.as_secs_f64();
        histogram.sum += age;
        histogram.counts[BUCKETS.iter().position(|bound| age <= *bound).unwrap_or(BUCKETS.len())] += 1;
    }

    pub(in crate::daemon) fn dead(&self, service: &str, reason: &str) {
        *self.lock().dead.entry((service.to_owned(), reason.to_owned())).or_default() += 1;
    }

    /// Services whose breaker is open, with the place it guards.
    pub fn open_breakers(&self) -> Vec<(String, String)> {
        self.lock().open_breakers.clone()
    }

    pub(in crate::daemon) fn set_open_breakers(&self, places: Vec<(String, String)>) {
        self.lock().open_breakers = places;
    }

    pub(in crate::daemon) fn fell_back(&self, service: &str) {
        let mut figures = self.lock();
        let kind = figures.services.get(service).map(|(kind, _)| kind.clone()).unwrap_or_default();
        *figures.fallbacks.entry((service.to_owned(), kind)).or_default() += 1;
    }

    /// What is configured now.
    pub(in crate::daemon) fn know(&self, triggers: &[&str], services: &Services) {
        let mut figures = self.lock();
        figures.triggers = triggers.iter().map(|name| (*name).to_owned()).collect();
        let shown = |service: &Service| (service.config().kind().to_owned(), service.endpoint().place.clone());
        figures.services = services.iter().map(|(name, service)| (name.clone(), shown(service))).collect();
    }
}
