//! Lanes, rates and breakers: what may be attempted now (notifications.md §12.1). Bookkeeping only; moments are times
//! since the executor's start.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{Caps, Services};
use crate::adapters::services::{Endpoint, LaneLimits, Service, Throttle};
use crate::adapters::store::Skip;
use crate::core::notify::row::Row;

/// LAN-05.
const ILL_TO_OPEN: u32 = 5;
const FIRST_OPEN: Duration = Duration::from_secs(30);
const LONGEST_OPEN: Duration = Duration::from_secs(300);
/// §12.2, 410.
const GONE_OPEN: Duration = Duration::from_secs(3600);
/// A lane without a service of its own.
const UNDEFINED: LaneLimits = LaneLimits { concurrency: 2, rate: None };

/// What an attempt said about its receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The receiver was spoken to at all.
    pub(super) called: bool,
    /// Counts towards opening the breaker.
    pub(super) ill: bool,
    /// The lane, or the whole service, is asked to pause.
    pub(super) pause: Option<(Duration, Throttle)>,
    /// The receiver is gone.
    pub(super) gone: bool,
}

#[derive(Default)]
struct Lane {
    running: u32,
    paused_until: Duration,
    /// Messages that may go now, as of `counted`.
    tokens: Option<(f64, Duration)>,
}

impl Lane {
    /// How many messages the rate allows now; `None` without a rate.
    fn allowance(&self, limits: LaneLimits, now: Duration) -> Option<f64> {
        let (rate, burst) = limits.rate?;
        let Some((tokens, counted)) = self.tokens else { return Some(f64::from(burst)) };
        Some((tokens + now.saturating_sub(counted).as_secs_f64() * rate).min(f64::from(burst)))
    }

    /// How long until the rate allows another message.
    fn rate_wait(&self, limits: LaneLimits, now: Duration) -> Duration {
        match (limits.rate, self.allowance(limits, now)) {
            (Some((rate, _)), Some(tokens)) if tokens < 1.0 => Duration::from_secs_f64((1.0 - tokens) / rate),
            _ => Duration::ZERO,
        }
    }

    fn take_token(&mut self, limits: LaneLimits, now: Duration) {
        self.tokens = self.allowance(limits, now).map(|tokens| (tokens - 1.0, now));
    }

    /// Whether nothing about it need be remembered.
    fn is_at_rest(&self, limits: LaneLimits, now: Duration) -> bool {
        let full = limits.rate.is_none_or(|(_, burst)| self.allowance(limits, now) >= Some(f64::from(burst)));
        self.running == 0 && self.paused_until <= now && full
    }

    /// When it can take the next message, other than by one ending.
    fn ready_at(&self, limits: LaneLimits, now: Duration) -> Duration {
        self.paused_until.max(now + self.rate_wait(limits, now))
    }
}

#[derive(Default)]
struct Breaker {
    ill: u32,
    /// Zero while closed.
    open_for: Duration,
    open_until: Duration,
    /// The one attempt that decides whether it closes.
    probing: bool,
}

impl Breaker {
    fn is_open(&self) -> bool {
        !self.open_for.is_zero()
    }

    fn blocks(&self, now: Duration) -> bool {
        self.is_open() && (self.probing || now < self.open_until)
    }

    fn open(&mut self, span: Duration, now: Duration) {
        self.open_for = span;
        self.open_until = now + span;
    }

    fn heard(&mut self, verdict: &Verdict, now: Duration) {
        let was_probe = std::mem::take(&mut self.probing);
        if !verdict.called {
            return;
        }
        if verdict.gone {
            return self.open(GONE_OPEN, now);
        }
        if !verdict.ill {
            *self = Breaker::default();
            return;
        }
        self.ill += 1;
        if was_probe {
            self.open((self.open_for * 2).min(LONGEST_OPEN), now);
        } else if self.ill >= ILL_TO_OPEN && !self.is_open() {
            self.open(FIRST_OPEN, now);
        }
    }
}

pub(super) struct Lanes {
    caps: Caps,
    running: usize,
    services: BTreeMap<String, usize>,
    lanes: HashMap<(String, String), (Lane, LaneLimits)>,
    breakers: HashMap<Endpoint, Breaker>,
    /// Services whose credential is throttled, and until when.
    paused: BTreeMap<String, Duration>,
}

impl Lanes {
    pub(super) fn new(caps: Caps) -> Lanes {
        let (services, lanes, breakers, paused) = Default::default();
        Lanes { caps, running: 0, services, lanes, breakers, paused }
    }

    pub(super) fn has_room(&self) -> bool {
        self.running < self.caps.process
    }

    /// Books an attempt, if it may start.
    pub(super) fn begin(&mut self, row: &Row, service: Option<&Service>, now: Duration) -> bool {
        let limits = service.map_or(UNDEFINED, Service::lane_limits);
        let most = self.caps.service.max(limits.concurrency as usize);
        if !self.has_room() || self.services.get(&row.service).is_some_and(|running| *running >= most) {
            return false;
        }
        if self.paused.get(&row.service).is_some_and(|until| *until > now) {
            return false;
        }
        let key = (row.service.clone(), row.recipient.clone());
        let (lane, known) = self.lanes.entry(key).or_insert_with(|| (Lane::default(), limits));
        *known = limits;
        if lane.running >= limits.concurrency || lane.ready_at(limits, now) > now {
            return false;
        }
        if let Some(service) = service {
            let breaker = self.breakers.entry(service.endpoint().clone()).or_default();
            if breaker.blocks(now) {
                return false;
            }
            breaker.probing = breaker.is_open();
        }
        lane.take_token(limits, now);
        lane.running += 1;
        self.running += 1;
        *self.services.entry(row.service.clone()).or_default() += 1;
        true
    }

    /// Books the end of an attempt. The service may have changed meanwhile; what was said is about the present one
    /// only if its endpoint is the same, which a breaker that closes too early does not hurt.
    pub(super) fn end(&mut self, row: &Row, service: Option<&Service>, verdict: &Verdict, now: Duration) {
        self.running = self.running.saturating_sub(1);
        if let Some(running) = self.services.get_mut(&row.service) {
            *running = running.saturating_sub(1);
        }
        if let Some((lane, _)) = self.lanes.get_mut(&(row.service.clone(), row.recipient.clone())) {
            lane.running = lane.running.saturating_sub(1);
            // A pause is never shortened by another answer (LAN-04).
            match verdict.pause {
                Some((pause, Throttle::Lane)) => lane.paused_until = lane.paused_until.max(now + pause),
                Some((pause, Throttle::Service)) => {
                    let until = self.paused.entry(row.service.clone()).or_default();
                    *until = (*until).max(now + pause);
                }
                None => {}
            }
        }
        self.paused.retain(|_, until| *until > now);
        if let Some(service) = service {
            self.breakers.entry(service.endpoint().clone()).or_default().heard(verdict, now);
        }
        self.lanes.retain(|_, (lane, limits)| !lane.is_at_rest(*limits, now));
    }

    /// What need not be looked for.
    pub(super) fn skip(&self, services: &Services, now: Duration) -> Skip {
        let most = |name: &String| {
            let own = services.get(name).map_or(0, |service| service.lane_limits().concurrency as usize);
            self.caps.service.max(own)
        };
        let full = self.services.iter().filter(|(name, running)| **running >= most(name)).map(|(name, _)| name);
        let paused = self.paused.iter().filter(|(_, until)| **until > now).map(|(name, _)| name);
        let mut skip = Skip { services: full.chain(paused).cloned().collect(), lanes: Vec::new() };
        for (name, service) in services {
            if self.breakers.get(service.endpoint()).is_some_and(|breaker| breaker.blocks(now)) {
                skip.services.push(name.clone());
            }
        }
        let lanes = self
            .lanes
            .iter()
            .filter(|(_, (lane, limits))| lane.running >= limits.concurrency || lane.ready_at(*limits, now) > now);
        skip.lanes = lanes.map(|(lane, _)| lane.clone()).collect();
        skip
    }

    /// How long until something becomes possible by the passing of time.
    pub(super) fn next_change(&self, now: Duration) -> Option<Duration> {
        let lanes = self.lanes.values().map(|(lane, limits)| lane.ready_at(*limits, now));
        let breakers = self.breakers.values().filter(|breaker| breaker.is_open()).map(|breaker| breaker.open_until);
        lanes.chain(breakers).chain(self.paused.values().copied()).filter(|at| *at > now).min().map(|at| at - now)
    }

    /// Services and places whose breaker is open.
    pub(super) fn open_breakers(&self, services: &Services, now: Duration) -> Vec<(String, String)> {
        let open = |service: &&Service| {
            self.breakers.get(service.endpoint()).is_some_and(|b| b.is_open() && (b.probing || now < b.open_until))
        };
        let open = services.values().filter(open);
        open.map(|service| (service.config().name.clone(), service.endpoint().place.clone())).collect()
    }
}
