//! The versions that wait, and the workers that evaluate them: in order for each Application, nothing slow in anybody's way
//! (notifications.md CT-01, CT-11, HLP-06).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Applications, Evaluator};
use crate::core::application::{AppKey, Application};
use crate::core::notify::variables::Commits;
use crate::core::notify::versions::Versions;
use crate::daemon::status::Progress;

/// The versions that wait, and whoever evaluates them.
pub(super) struct Queue {
    evaluator: Evaluator,
    applications: Applications,
    versions: Mutex<Versions>,
    /// Rings once for each version that may be taken.
    ready: Notify,
    /// Versions for which something slow is needed.
    slow: mpsc::UnboundedSender<Arc<Application>>,
    /// All Applications of the first list have been pushed.
    listed: AtomicBool,
    /// How many versions wait for something slow.
    waiting: AtomicUsize,
}

impl Queue {
    pub(super) fn new(
        evaluator: Evaluator,
        applications: Applications,
        slow: mpsc::UnboundedSender<Arc<Application>>,
    ) -> Queue {
        Queue {
            evaluator,
            applications,
            versions: Mutex::default(),
            ready: Notify::new(),
            slow,
            listed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The first list of Applications has been pushed.
    pub(super) fn complete(&self) {
        self.listed.store(true, Ordering::Relaxed);
        self.note_import();
    }

    fn versions(&self) -> MutexGuard<'_, Versions> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version was observed, or has to be evaluated again.
    pub(super) fn push(&self, app: Arc<Application>) {
        let merged = self.versions().push(app);
        if merged > 0 {
            self.evaluator.metrics.coalesced(merged);
        }
        self.ready.notify_one();
    }

    fn done(&self, key: &AppKey) {
        self.versions().done(key);
        // It went while its last versions waited here.
        if self.applications.by_key(key).is_none() {
            self.evaluator.gone(key);
        }
        self.ready.notify_one();
    }

    /// Everything that was there at the start is evaluated once, or waits for something outside: what upstream had told
    /// is imported (PRB-01).
    fn note_import(&self) {
        if !self.listed.load(Ordering::Relaxed) {
            return;
        }
        let versions = self.versions();
        if versions.is_idle() && versions.busy() <= self.waiting.load(Ordering::Relaxed) {
            self.evaluator.board.ready("import");
        }
    }

    /// Evaluates what waits; nothing slow is waited for here.
    pub(super) async fn work(self: Arc<Self>, progress: Arc<Progress>, stop: CancellationToken) {
        loop {
            let taken = self.versions().take();
            let Some(app) = taken else {
                tokio::select! {
                    _ = stop.cancelled() => return,
                    _ = self.ready.notified() => continue,
                }
            };
            if stop.is_cancelled() {
                return;
            }
            // One ring may stand for several versions.
            self.ready.notify_one();
            progress.working();
            match self.evaluator.pass(&app, &Commits::new(), &BTreeSet::new()).await {
                Ok(wanted) if wanted.is_empty() => self.done(&app.key),
                _ => {
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                    // Its receiver ends with the whole.
                    let _ = self.slow.send(app);
                }
            }
            self.note_import();
            if self.versions().is_idle() {
                progress.idle();
            }
        }
    }

    /// Evaluates a version for which something slow is needed.
    pub(super) async fn patiently(self: Arc<Self>, app: Arc<Application>, stop: CancellationToken) {
        let later = || self.versions().waits(&app.key);
        tokio::select! {
            _ = stop.cancelled() => return,
            () = self.evaluator.patiently(&app, later) => {}
        }
        if self.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.evaluator.board.problems("evaluation", Vec::new());
        }
        self.done(&app.key);
    }
}
