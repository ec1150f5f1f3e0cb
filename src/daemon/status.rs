//! Status: all that the faces may see of the running daemon, and the Board it is written on. Problems are logged here
//! when they open, hourly while open, and when they close (notifications.md OBS-02).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use crate::adapters::redact;
use crate::core::problem::{Problem, Severity};

/// A stage that has work and shows no progress for this long is stuck (PRB-02).
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(120);

/// While a problem stays open it is logged again this often.
const SAY_AGAIN: Duration = Duration::from_secs(3600);

/// What must have happened before the daemon is ready (PRB-01).
const CONDITIONS: &[&str] = &["applications", "configuration", "import", "store"];

/// What the daemon is doing, as the faces see it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Applications governed by the image half.
    pub applications: usize,
    /// Applications watched in all.
    pub watched: usize,
    /// By namespace: whether annotations count without an ImageUpdater object (image-updates.md OWN-2).
    pub native: BTreeMap<String, bool>,
    /// Images of governed Applications.
    pub images: usize,
    /// Images by state (DEC-10).
    pub images_by_state: BTreeMap<&'static str, usize>,
    /// Candidates kept back, by reason (§22).
    pub held_by_reason: BTreeMap<&'static str, usize>,
    /// Tags that rank above those in use: of all images under the empty name, or by Application.
    pub versions_behind: BTreeMap<String, usize>,
    /// Open problems, by what they are about.
    pub problems: BTreeMap<String, Vec<Problem>>,
    /// Outbox rows by state.
    pub outbox: BTreeMap<String, u64>,
    /// Services to which nothing is sent for now, as their receiver keeps failing (LAN-05), with the receiver's place.
    pub breakers: Vec<(String, String)>,
    /// Names of the configured services.
    pub services: BTreeSet<String>,
    /// The outbox by service, for metrics.
    pub waiting: BTreeMap<String, Waiting>,
    /// When the outbox was counted.
    pub counted_at: Option<Timestamp>,
    /// The last pushes: remote, branch, commit, number of applications.
    pub pushes: Vec<PushLine>,
    /// Conditions of readiness that are met.
    pub ready: BTreeSet<&'static str>,
    /// Conditions of readiness that this process needs.
    pub needed: BTreeSet<&'static str>,
    /// A stage with work and no progress, if any.
    pub stuck: Option<String>,
    /// Rounds finished since start.
    pub rounds: u64,
    /// When each remote is looked at next.
    pub next_rounds: Vec<NextRound>,
    /// The election of who writes images, if there is one.
    pub leadership: Option<Leadership>,
}

/// When a remote is looked at next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRound {
    /// The remote, without credentials; `cluster` for Applications that are patched.
    pub remote: String,
    /// The moment.
    pub at: Timestamp,
}

/// Who writes images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// `leader`, `standby`, or `alone` where Leases may not be used.
    pub role: &'static str,
    /// The holder, as far as known.
    pub holder: String,
    /// Namespace and name of the Lease.
    pub lease: String,
}

/// The outbox rows of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Rows by state.
    pub by_state: BTreeMap<String, u64>,
    /// When the oldest event that is neither done nor dead was seen.
    pub oldest: Option<Timestamp>,
    /// Rows waiting in its fullest lane.
    pub deepest_lane: u64,
}

/// One accepted push.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct PushLine {
    pub at: String,
    pub remote: String,
    pub branch: String,
    pub commit: String,
    pub applications: usize,
}

impl Status {
    /// Conditions of readiness that are not met yet.
    pub fn not_ready(&self) -> Vec<&'static str> {
        self.needed.difference(&self.ready).copied().collect()
    }

    /// Number of open problems that are at least warnings.
    pub fn problem_count(&self) -> usize {
        self.problems.values().flatten().filter(|p| p.severity >= Severity::Warning).count()
    }

    /// The status as JSON.
    pub fn to_json(&self) -> Json {
        json!({
            "applications": {"governed": self.applications, "watched": self.watched},
            "nativeAnnotations": self.native,
            "images": {"total": self.images, "byState": self.images_by_state},
            "problems": self.problems.values().flatten().map(problem_json).collect::<Vec<_>>(),
            "outbox": self.outbox,
            "breakers": self.breakers.iter().map(|(service, endpoint)| {
                json!({"service": service, "endpoint": endpoint})
            }).collect::<Vec<_>>(),
            "pushes": self.pushes.iter().map(|p| json!({
                "at": p.at, "remote": p.remote, "branch": p.branch, "commit": p.commit,
                "applications": p.applications,
            })).collect::<Vec<_>>(),
            "rounds": self.rounds,
            "nextRounds": self.next_rounds.iter().map(|next| json!({
                "remote": next.remote, "at": next.at.to_string(),
            })).collect::<Vec<_>>(),
            "leader": self.leadership.as_ref().map(|leadership| json!({
                "role": leadership.role, "holder": leadership.holder, "lease": leadership.lease,
            })),
            "notReady": self.not_ready(),
            "stuck": self.stuck,
        })
    }
}

/// A problem in the JSON shape of image-updates.md §23.
pub fn problem_json(problem: &Problem) -> Json {
    json!({
        "code": problem.code,
        "severity": problem.severity.word(),
        "object": problem.object,
        "key": problem.key,
        "line": problem.line,
        "column": problem.column,
        "text": redact::clean(&problem.text),
        "hint": problem.hint,
        "upstreamRejects": problem.upstream_rejects,
    })
}

/// Where the daemon's tasks write what the faces see.
#[derive(Clone)]
pub struct Board {
    status: Arc<watch::Sender<Status>>,
    said: Arc<std::sync::Mutex<BTreeMap<(String, String), Instant>>>,
    progress: Arc<std::sync::Mutex<Vec<Arc<Progress>>>>,
}

impl Default for Board {
    fn default() -> Self {
        let status = Status { needed: CONDITIONS.iter().copied().collect(), ..Status::default() };
        Board { status: Arc::new(watch::channel(status).0), said: Arc::default(), progress: Arc::default() }
    }
}

impl Board {
    /// A reader.
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The status as it is now.
    pub fn status(&self) -> Status {
        let mut status = self.status.borrow().clone();
        status.stuck = self.stuck();
        status
    }

    /// Changes the status.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }

    /// A condition of readiness is met.
    pub fn ready(&self, condition: &'static str) {
        if !self.status.borrow().ready.contains(condition) {
            self.update(|status| {
                status.ready.insert(condition);
            });
        }
    }

    /// A condition of readiness is met no longer.
    pub fn unready(&self, condition: &'static str) {
        if self.status.borrow().ready.contains(condition) {
            self.update(|status| {
                status.ready.remove(condition);
            });
        }
    }

    /// This process does not need the condition.
    pub fn not_needed(&self, condition: &'static str) {
        self.update(|status| {
            status.needed.remove(condition);
        });
    }

    /// Replaces all problems about one thing. New ones are logged, vanished ones are logged as over.
    pub fn problems(&self, about: &str, mut problems: Vec<Problem>) {
        // Only the text can repeat what somebody else said. Names, keys and hints are ours or people's own: a password
        // that is an ordinary word must not hide them.
        for problem in &mut problems {
            if let Cow::Owned(cleaned) = redact::clean(&problem.text) {
                problem.text = cleaned;
            }
        }
        let before = self.status.borrow().problems.get(about).cloned().unwrap_or_default();
        self.say(about, &before, &problems, Instant::now());
        if before == problems {
            return;
        }
        self.update(|status| {
            if problems.is_empty() {
                status.problems.remove(about);
            } else {
                status.problems.insert(about.to_owned(), problems);
            }
        });
    }

    /// Logs again what has been open for an hour since it was last logged.
    pub fn remind(&self) {
        self.remind_at(Instant::now());
    }

    fn remind_at(&self, at: Instant) {
        let open = self.status.borrow().problems.clone();
        for (about, problems) in open {
            self.say(&about, &problems, &problems, at);
        }
    }

    fn say(&self, about: &str, before: &[Problem], now: &[Problem], at: Instant) {
        let mut said = self.said.lock().unwrap_or_else(|e| e.into_inner());
        for problem in now {
            let key = (about.to_owned(), problem.to_string());
            let due = said.get(&key).is_none_or(|said| at.saturating_duration_since(*said) >= SAY_AGAIN);
            if due {
                match problem.severity {
                    Severity::Error => tracing::error!(code = problem.code, "{problem}"),
                    Severity::Warning => tracing::warn!(code = problem.code, "{problem}"),
                    Severity::Info => tracing::debug!(code = problem.code, "{problem}"),
                }
                said.insert(key, at);
            }
        }
        for problem in before.iter().filter(|p| !now.contains(p)) {
            said.remove(&(about.to_owned(), problem.to_string()));
            if problem.severity >= Severity::Warning {
                tracing::info!(code = problem.code, "over: {problem}");
            }
        }
    }

    /// A progress mark for one stage.
    pub fn stage(&self, name: &'static str) -> Arc<Progress> {
        let progress =
            Arc::new(Progress { name, busy: AtomicBool::new(false), since: AtomicU64::new(0), start: Instant::now() });
        self.progress.lock().unwrap_or_else(|e| e.into_inner()).push(progress.clone());
        progress
    }

    fn stuck(&self) -> Option<String> {
        let stages = self.progress.lock().unwrap_or_else(|e| e.into_inner());
        stages.iter().find(|stage| stage.idle_with_work() > STUCK_AFTER).map(|stage| stage.name.to_owned())
    }
}

/// The progress mark of a stage: it says when it has work and when it gets on with it.
#[derive(Debug)]
pub struct Progress {
    name: &'static str,
    busy: AtomicBool,
    /// Milliseconds after `start`.
    since: AtomicU64,
    start: Instant,
}

impl Progress {
    /// There is work, or it goes on.
    pub fn working(&self) {
        self.since.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
    }

    /// Nothing to do.
    pub fn idle(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    fn idle_with_work(&self) -> Duration {
        if !self.busy.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.start.elapsed().saturating_sub(Duration::from_millis(self.since.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prb_01_ready_only_when_everything_needed_is_there() {
        let board = Board::default();
        assert_eq!(board.status().not_ready(), ["applications", "configuration", "import", "store"]);
        board.ready("store");
        board.ready("import");
        board.not_needed("configuration");
        assert_eq!(board.status().not_ready(), ["applications"]);
        board.ready("applications");
        assert!(board.status().not_ready().is_empty());
    }

    #[test]
    fn prb_02_a_stage_with_work_and_no_progress_is_stuck() {
        let board = Board::default();
        let stage = board.stage("deliver");
        assert_eq!(board.status().stuck, None);
        let old = Progress {
            name: "observe",
            busy: AtomicBool::new(true),
            since: AtomicU64::new(0),
            start: Instant::now().checked_sub(Duration::from_secs(121)).unwrap(),
        };
        assert!(old.idle_with_work() > STUCK_AFTER);
        old.working();
        assert!(old.idle_with_work() < STUCK_AFTER);
        stage.working();
        assert_eq!(board.status().stuck, None);
        stage.idle();
        assert_eq!(stage.idle_with_work(), Duration::ZERO);
    }

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn obs_02_problem_open_close() {
        let (board, log) = (Board::default(), Log::default());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        // With one subscriber alone, a place in the code that another test's thread, which has none, comes to first is
        // taken as uninteresting for all.
        let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
        let said = || {
            let text = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
            let severity = |line: &str| line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            text.lines().map(|line| (severity(line), line.contains("over: "))).collect::<Vec<_>>()
        };
        let once = |word: &str| vec![(word.to_owned(), false)];
        tracing::subscriber::with_default(subscriber, || {
            let problem = || vec![Problem::error("x", "broken")];
            let opened = Instant::now();
            board.problems("a", problem());
            assert_eq!(said(), once("ERROR"), "when it opens");
            for _ in 0..5 {
                board.problems("a", problem());
                board.remind_at(opened + Duration::from_secs(3500));
            }
            assert_eq!(said(), [], "not again and again");
            board.remind_at(opened + Duration::from_secs(3601));
            assert_eq!(said(), once("ERROR"), "hourly, also where nobody reports it anew");
            board.remind_at(opened + Duration::from_secs(3700));
            assert_eq!(said(), []);
            board.remind_at(opened + Duration::from_secs(7202));
            assert_eq!(said(), once("ERROR"));
            board.problems("a", vec![]);
            assert_eq!(said(), [("INFO".to_owned(), true)], "when it closes");
            board.remind_at(opened + Duration::from_secs(99_999));
            assert_eq!(said(), []);
            board.problems("a", problem());
            assert_eq!(said(), once("ERROR"), "a new one at once");
        });
    }

    #[test]
    fn out_11_a_store_that_fails_takes_the_readiness_back() {
        let board = Board::default();
        board.not_needed("applications");
        board.not_needed("configuration");
        board.not_needed("import");
        board.ready("store");
        assert!(board.status().not_ready().is_empty());
        board.unready("store");
        assert_eq!(board.status().not_ready(), ["store"]);
        board.ready("store");
        assert!(board.status().not_ready().is_empty());
    }

    #[test]
    fn sec_01_a_known_secret_is_in_no_problem() {
        let board = Board::default();
        redact::know(&crate::config::secret::Secret::new("b0ard-s3cret"));
        board.problems("s", vec![Problem::error("x", "got b0ard-s3cret, YjBhcmQtczNjcmV0")]);
        let text = board.status().to_json().to_string();
        assert!(
            text.contains("got ***") && !text.contains("b0ard-s3cret") && !text.contains("YjBhcmQtczNjcmV0"),
            "{text}"
        );
    }

    #[test]
    fn problems_about_one_thing_replace_each_other() {
        let board = Board::default();
        board.problems("a", vec![Problem::error("x", "1"), Problem::info("y", "2")]);
        board.problems("b", vec![Problem::warning("x", "3")]);
        assert_eq!(board.status().problem_count(), 2);
        board.problems("a", vec![]);
        assert_eq!(board.status().problem_count(), 1);
        assert_eq!(board.status().to_json()["problems"][0]["text"], "3");
    }
}
