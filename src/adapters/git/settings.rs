//! Where mirrors live and how long things may take; the names are Argo CD's (GIT-13).

use crate::core::problem::Problem;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Settings of everything Git.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Mirrors live in `git/` below this.
    pub state_dir: PathBuf,
    /// OpenSSH `known_hosts`; read anew for every connection.
    pub known_hosts: PathBuf,
    /// OpenSSH client configuration; read anew for every connection; need not exist.
    pub ssh_config: PathBuf,
    /// How many commits of a branch's history are fetched at first (`--git-depth`); `None`: all of it, which costs once
    /// what it costs and makes every later fetch cheaper. A branch below it is not rewound, only grows.
    pub depth: Option<u32>,
    /// Bound of connecting and of every silence.
    pub request_timeout: Duration,
    /// Bound of a whole operation.
    pub operation_timeout: Duration,
    /// How much longer an operation is waited for before it is left alone.
    pub grace: Duration,
    /// Tries of a fetch or advertisement that fails for passing reasons, the first included.
    pub attempts: u32,
    /// Wait after the first failed try.
    pub retry_first: Duration,
    /// Longest wait between tries.
    pub retry_cap: Duration,
    /// Growth of the wait.
    pub retry_factor: f64,
}

impl Settings {
    /// The defaults, with mirrors below `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Settings {
        Settings {
            state_dir: state_dir.into(),
            known_hosts: PathBuf::from("/app/config/ssh/ssh_known_hosts"),
            ssh_config: PathBuf::from("/app/.ssh/config"),
            depth: None,
            request_timeout: Duration::from_secs(15),
            operation_timeout: Duration::from_secs(90),
            grace: Duration::from_secs(10),
            attempts: 1,
            retry_first: Duration::from_millis(250),
            retry_cap: Duration::from_secs(10),
            retry_factor: 2.0,
        }
    }

    /// Applies the `ARGOCD_…` variables that `variable` knows; unreadable ones keep the default and are reported.
    pub fn with_variables(mut self, variable: impl Fn(&str) -> Option<String>) -> (Settings, Vec<Problem>) {
        let mut problems = Vec::new();
        if let Some(dir) = variable("ARGOCD_SSH_DATA_PATH") {
            self.known_hosts = PathBuf::from(dir).join("ssh_known_hosts");
        }
        for (name, place) in [
            ("ARGOCD_GIT_REQUEST_TIMEOUT", &mut self.request_timeout),
            ("ARGOCD_EXEC_TIMEOUT", &mut self.operation_timeout),
            ("ARGOCD_EXEC_FATAL_TIMEOUT", &mut self.grace),
            ("ARGOCD_GIT_RETRY_DURATION", &mut self.retry_first),
            ("ARGOCD_GIT_RETRY_MAX_DURATION", &mut self.retry_cap),
        ] {
            let Some(text) = variable(name) else { continue };
            match text.trim().parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()) {
                Some(duration) => *place = duration,
                None => problems.push(bad(name, &text, "a duration like 15s")),
            }
        }
        if let Some(text) = variable("ARGOCD_GIT_ATTEMPTS_COUNT") {
            match text.trim().parse::<u32>() {
                Ok(count) => self.attempts = count.clamp(1, 100),
                Err(_) => problems.push(bad("ARGOCD_GIT_ATTEMPTS_COUNT", &text, "a number")),
            }
        }
        if let Some(text) = variable("ARGOCD_GIT_RETRY_FACTOR") {
            match text.trim().parse::<f64>() {
                Ok(factor) if (1.0..=100.0).contains(&factor) => self.retry_factor = factor,
                _ => problems.push(bad("ARGOCD_GIT_RETRY_FACTOR", &text, "a number of at least 1")),
            }
        }
        (self, problems)
    }

    /// The wait after failed try number `failures` (1-based).
    pub(super) fn retry_wait(&self, failures: u32) -> Duration {
        let growth = self.retry_factor.powi(failures.saturating_sub(1).min(64) as i32);
        let seconds = (self.retry_first.as_secs_f64() * growth).min(self.retry_cap.as_secs_f64());
        Duration::try_from_secs_f64(seconds).unwrap_or(self.retry_cap)
    }
}

fn bad(name: &str, text: &str, wanted: &str) -> Problem {
    Problem::error("config-invalid", format!("{text:?} is not {wanted}")).in_object(name)
}

/// When an operation must be over, and how long it may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    end: Instant,
    idle: Duration,
}

impl Deadline {
    pub(super) fn new(settings: &Settings) -> Deadline {
        Deadline { end: Instant::now() + settings.operation_timeout, idle: settings.request_timeout }
    }

    /// For one look after an operation: half of the grace, so that it ends before the operation is left alone.
    pub(super) fn after(settings: &Settings) -> Deadline {
        Deadline { end: Instant::now() + settings.grace / 2, idle: settings.request_timeout }
    }

    /// What is left; `None` if nothing.
    pub(super) fn left(&self) -> Option<Duration> {
        self.end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// How long the next step may take; `None` if the time is over.
    pub(super) fn step(&self) -> Option<Duration> {
        Some(self.left()?.min(self.idle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_13_the_variables_are_argo_cds() {
        let variable = |name: &str| {
            let value = match name {
                "ARGOCD_SSH_DATA_PATH" => "/ssh",
                "ARGOCD_GIT_REQUEST_TIMEOUT" => "20s",
                "ARGOCD_EXEC_TIMEOUT" => "2m30s",
                "ARGOCD_EXEC_FATAL_TIMEOUT" => "soon",
                "ARGOCD_GIT_ATTEMPTS_COUNT" => "5",
                "ARGOCD_GIT_RETRY_DURATION" => "100ms",
                "ARGOCD_GIT_RETRY_FACTOR" => "0",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let (settings, problems) = Settings::new("/state").with_variables(variable);
        assert_eq!(settings.known_hosts, PathBuf::from("/ssh/ssh_known_hosts"));
        assert_eq!(settings.request_timeout, Duration::from_secs(20));
        assert_eq!(settings.operation_timeout, Duration::from_secs(150));
        assert_eq!(settings.grace, Duration::from_secs(10));
        assert_eq!(settings.attempts, 5);
        let objects: Vec<&str> = problems.iter().map(|p| p.object.as_str()).collect();
        assert_eq!(objects, ["ARGOCD_EXEC_FATAL_TIMEOUT", "ARGOCD_GIT_RETRY_FACTOR"]);
        let waits: Vec<u128> = (1..=9).map(|n| settings.retry_wait(n).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }
}
