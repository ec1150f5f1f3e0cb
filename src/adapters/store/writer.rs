//! The one writer: a thread that owns the writing connection and commits what has gathered in one go, so that many
//! small writes cost one sync of the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Error, Tally};

/// The most writes of one commit: bounds how long the first of them waits.
const GROUP: usize = 256;

/// Tells the waiting caller how its commit went.
type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;
/// Runs a write, or learns why there is no transaction to run it in; says whether it succeeded so far.
type Job = Box<dyn FnOnce(Result<&Connection, &str>) -> (bool, Answer) + Send>;

#[derive(Default)]
struct State {
    writes: AtomicU64,
    commits: AtomicU64,
    errors: AtomicU64,
    trouble: Mutex<Option<(Instant, String)>>,
}

impl State {
    fn failed(&self, error: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        *trouble = Some((since, error.to_owned()));
    }

    fn committed(&self, writes: u64, all_good: bool) {
        self.writes.fetch_add(writes, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        if all_good {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// The door to the thread. Dropping it waits until everything handed in is committed.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<State>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Writer {
        let (jobs, queue) = mpsc::channel();
        let state = Arc::new(State::default());
        let shared = state.clone();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                work(&connection, &queue, &shared);
                // A clean end leaves one file; a failure here only means a longer opening next time.
                let _ = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)");
            })
            .ok();
        Writer { jobs: thread.is_some().then_some(jobs), thread, state }
    }

    pub(super) fn tally(&self) -> Tally {
        Tally {
            writes: self.state.writes.load(Ordering::Relaxed),
            commits: self.state.commits.load(Ordering::Relaxed),
            errors: self.state.errors.load(Ordering::Relaxed),
        }
    }

    pub(super) fn trouble(&self) -> Option<(Instant, String)> {
        self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, wait) = oneshot::channel();
        let state = self.state.clone();
        let job: Job = Box::new(move |connection| {
            let result = connection.map_err(|text| Error::Commit(text.to_owned())).and_then(operation);
            if let Err(error @ Error::Sqlite(_)) = &result {
                state.failed(&error.to_string());
            }
            let good = result.is_ok();
            let reply: Answer = Box::new(move |commit| {
                // Nobody waits any more if the caller was cancelled; the write stands all the same.
                let _ = answer.send(commit.map_err(Error::Commit).and(result));
            });
            (good, reply)
        });
        self.jobs.as_ref().ok_or(Error::Closed)?.send(job).map_err(|_| Error::Closed)?;
        wait.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(connection: &Connection, queue: &mpsc::Receiver<Job>, state: &State) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        commit_group(connection, group, state);
    }
}

/// Runs a group in one transaction. A write that fails is undone alone; if the transaction itself is lost (a full disk
/// ends it whole), all fail.
fn commit_group(connection: &Connection, group: Vec<Job>, state: &State) {
    let mut lost = connection.execute_batch("BEGIN IMMEDIATE").err().map(|error| error.to_string());
    let mut answers: Vec<(bool, Answer)> = Vec::with_capacity(group.len());
    for job in group {
        let step = |statement: &str| connection.execute_batch(statement).err().map(|error| error.to_string());
        lost = lost.or_else(|| step("SAVEPOINT one"));
        let run = || job(lost.as_deref().map_or(Ok(connection), Err));
        // A job that panics takes its caller's channel down with it: the caller sees a closed store, nobody else does.
        let done = catch_unwind(AssertUnwindSafe(run)).ok();
        let good = done.as_ref().is_some_and(|(good, _)| *good);
        if lost.is_none() && connection.is_autocommit() {
            let cause = state.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            lost = Some(cause.map_or_else(|| "the transaction was lost".to_owned(), |(_, text)| text));
        }
        lost = lost.or_else(|| step(if good { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" }));
        answers.extend(done);
    }
    let end = match lost {
        None => connection.execute_batch("COMMIT").map_err(|error| error.to_string()),
        Some(text) => Err(text),
    };
    match &end {
        Ok(()) => {
            let good = answers.iter().filter(|(good, _)| *good).count();
            state.committed(good as u64, good == answers.len());
        }
        Err(error) => {
            state.failed(error);
            if !connection.is_autocommit() {
                // If even this fails, the next BEGIN does, and says so to its callers.
                let _ = connection.execute_batch("ROLLBACK");
            }
        }
    }
    answers.into_iter().for_each(|(_, answer)| answer(end.clone()));
}
