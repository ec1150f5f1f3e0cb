//! When to try again: what kind of failure it was, and the instant that follows from it.

use std::time::Duration;

/// What a failed attempt says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Trying again changes nothing until somebody changes something.
    Never,
    /// Try again after a growing, random wait.
    Backoff,
    /// The other side named the earliest moment (`Retry-After`).
    After(Duration),
}

/// A doubling wait with full jitter: uniform between nothing and `first · 2^(n-1)`, capped, but never below
/// `least`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Upper bound of the wait after the first failure.
    pub first: Duration,
    /// Upper bound of every wait.
    pub cap: Duration,
    /// Lower bound of every wait.
    pub least: Duration,
}

impl Backoff {
    /// Outbox rows (notifications.md OUT-07).
    pub const DELIVERY: Backoff =
        Backoff { first: Duration::from_secs(5), cap: Duration::from_secs(15 * 60), least: Duration::from_secs(1) };
    /// Registries that throttle without naming a time (image-updates.md REG-11).
    pub const REGISTRY: Backoff =
        Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(300), least: Duration::from_millis(100) };
    /// Lost races for a branch, after the first tries at once (image-updates.md GIT-9).
    pub const PUSH: Backoff =
        Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(2), least: Duration::from_millis(1) };

    /// The wait after failure number `failures` (1-based), for a `jitter` in `[0, 1)`.
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let bound = self.first.saturating_mul(1 << doublings).min(self.cap);
        bound.mul_f64(jitter.clamp(0.0, 1.0)).max(self.least)
    }
}

/// `Retry-After` as a lower bound, itself capped at one hour (OUT-07).
pub fn retry_after(asked: Duration) -> Duration {
    asked.min(Duration::from_secs(3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_07_waits_double_up_to_the_cap_and_never_vanish() {
        let b = Backoff::DELIVERY;
        for (failures, jitter, millis) in [
            (1, 0.0, 1_000),
            (1, 1.0, 5_000),
            (2, 1.0, 10_000),
            (3, 0.5, 10_000),
            (9, 1.0, 900_000),
            (4_000_000, 1.0, 900_000),
        ] {
            assert_eq!(b.wait(failures, jitter), Duration::from_millis(millis), "{failures} {jitter}");
        }
    }

    #[test]
    fn out_07_retry_after_is_capped_at_an_hour() {
        assert_eq!(retry_after(Duration::from_secs(90_000)), Duration::from_secs(3600));
    }
}
