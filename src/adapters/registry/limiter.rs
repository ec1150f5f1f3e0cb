//! How fast a registry may be asked: the configured rate, the silence it asks for, the budget it reports
//! (image-updates.md §9 `limit`, REG-11).

use crate::adapters::http::HeaderMap;
use crate::config::registries::Limit;
use crate::core::retry::{Backoff, retry_after};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Where an adaptive rate starts and ends up again.
const ADAPTIVE_TOP: f64 = 100.0;
/// An adaptive rate never falls lower.
const ADAPTIVE_FLOOR: f64 = 1.0;

/// Spaces requests to one endpoint.
#[derive(Debug)]
pub(super) struct Limiter {
    adaptive: bool,
    state: Mutex<Option<Pace>>,
}

#[derive(Debug)]
struct Pace {
    rate: f64,
    /// Since when `rate` holds, for recovery.
    since: Instant,
    /// The theoretical time of the next request.
    next: Instant,
}

impl Limiter {
    pub(super) fn new(limit: Limit) -> Self {
        let pace = |rate| Some(Pace { rate, since: Instant::now(), next: Instant::now() });
        let (adaptive, state) = match limit {
            Limit::Unlimited => (false, None),
            Limit::Fixed(rate) => (false, pace(rate)),
            Limit::Adaptive => (true, pace(ADAPTIVE_TOP)),
        };
        Limiter { adaptive, state: Mutex::new(state) }
    }

    /// Takes the next free moment and waits for it. At most a tenth of a second's requests go out at once.
    pub(super) async fn turn(&self) {
        let at = {
            let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
            let Some(pace) = state.as_mut() else { return };
            let now = Instant::now();
            if self.adaptive {
                pace.recover(now);
            }
            let step = Duration::from_secs_f64(1.0 / pace.rate);
            let burst = step.mul_f64((pace.rate / 10.0 - 1.0).max(0.0));
            let at = pace.next.max(now);
            pace.next = at + step;
            at.checked_sub(burst).unwrap_or(now)
        };
        tokio::time::sleep_until(at).await;
    }

    /// The registry throttled.
    pub(super) fn throttled(&self) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(pace) = state.as_mut().filter(|_| self.adaptive) {
            let now = Instant::now();
            pace.recover(now);
            pace.rate = (pace.rate / 2.0).max(ADAPTIVE_FLOOR);
            pace.since = now;
        }
    }

    /// Requests per second allowed now; `None` without limit.
    pub(super) fn rate(&self) -> Option<f64> {
        self.state.lock().unwrap_or_else(|e| e.into_inner()).as_ref().map(|pace| pace.rate)
    }
}

impl Pace {
    /// A tenth more for each whole minute passed.
    fn recover(&mut self, now: Instant) {
        let minutes = now.duration_since(self.since).as_secs() / 60;
        if minutes > 0 {
            self.rate = (self.rate * 1.1f64.powi(minutes.min(1000) as i32)).min(ADAPTIVE_TOP);
            self.since += Duration::from_secs(minutes * 60);
        }
    }
}

/// What a registry said to one credential about asking again.
#[derive(Debug, Default)]
pub(super) struct Patience {
    quiet_until: Option<Instant>,
    throttled: u32,
    budget: Option<Budget>,
}

/// `RateLimit-*` of the last answers.
#[derive(Clone, Copy, Debug)]
struct Budget {
    remaining: u64,
    limit: u64,
    /// When the window seen first is over.
    ends: Instant,
}

impl Patience {
    /// How long nothing may be sent. A low budget silences what is not `urgent` (a webhook's or a desired tag's).
    pub(super) fn silence(&mut self, urgent: bool, now: Instant) -> Option<Duration> {
        let left = |until: Instant| Some(until.duration_since(now)).filter(|d| !d.is_zero());
        if let Some(quiet) = self.quiet_until.and_then(left) {
            return Some(quiet);
        }
        let budget = self.budget?;
        match left(budget.ends) {
            None => {
                self.budget = None;
                None
            }
            Some(quiet) if !urgent && budget.remaining * 10 <= budget.limit => Some(quiet),
            Some(_) => None,
        }
    }

    /// Notes a 429 or 503: the named wait, or a doubling one with jitter. Says whether that is news: answers to
    /// requests that were on their way when silence began count once.
    pub(super) fn throttled(&mut self, asked: Option<Duration>, jitter: f64, now: Instant) -> bool {
        let news = self.quiet_until.is_none_or(|until| until <= now);
        if !news && asked.is_none() {
            return false;
        }
        if news {
            self.throttled = self.throttled.saturating_add(1);
        }
        let wait = asked.map_or_else(|| Backoff::REGISTRY.wait(self.throttled, jitter), retry_after);
        self.quiet_until = Some(self.quiet_until.map_or(now + wait, |until| until.max(now + wait)));
        news
    }

    /// Notes any other answer and what it says of the budget.
    pub(super) fn answered(&mut self, headers: &HeaderMap, now: Instant) {
        self.throttled = 0;
        let number = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((leading(value)?, value.to_owned()))
        };
        let (Some((remaining, _)), Some((limit, text))) = (number("ratelimit-remaining"), number("ratelimit-limit"))
        else {
            return;
        };
        if limit == 0 {
            return;
        }
        // The draft names the seconds until reset; Docker Hub names the window's length (`100;w=21600`).
        let reset = number("ratelimit-reset").map(|(seconds, _)| seconds);
        let window = text.split(';').find_map(|part| part.trim().strip_prefix("w=").and_then(leading));
        let seconds = reset.or(window).unwrap_or(60).min(24 * 3600);
        let ends = match self.budget {
            // A rolling window seen before ends when it was first seen to end, not later at each answer.
            Some(known) if reset.is_none() && known.ends > now => known.ends,
            _ => now + Duration::from_secs(seconds),
        };
        self.budget = Some(Budget { remaining, limit, ends });
    }

    /// Requests left in the running window, as last reported.
    pub(super) fn remaining(&self, now: Instant) -> Option<u64> {
        self.budget.filter(|budget| budget.ends > now).map(|budget| budget.remaining)
    }
}

fn leading(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().ok()
}
