//! The map of Applications: one owner writes it, everybody reads snapshots. Every observed version is passed on, in
//! order, to whoever evaluates versions; the image half only hears that something changed.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::status::Board;
use crate::adapters::cluster::AppEvent;
use crate::core::application::{AppKey, Application};
use crate::core::problem::Problem;

/// All Applications as last seen.
#[derive(Clone, Default)]
pub struct Applications(Arc<RwLock<BTreeMap<AppKey, Arc<Application>>>>);

impl Applications {
    /// One Application.
    pub fn by_key(&self, key: &AppKey) -> Option<Arc<Application>> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).get(key).cloned()
    }

    /// All of them, by namespace and name.
    pub fn all(&self) -> Vec<Arc<Application>> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(|e| e.into_inner()).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts one in; true if it is new or another version than before.
    pub fn put(&self, app: Arc<Application>) -> bool {
        let mut map = self.0.write().unwrap_or_else(|e| e.into_inner());
        let before = map.insert(app.key.clone(), app.clone());
        before.is_none_or(|b| b.resource_version != app.resource_version || app.resource_version.is_empty())
    }

    /// Takes one out.
    pub fn remove(&self, key: &AppKey) -> Option<Arc<Application>> {
        self.0.write().unwrap_or_else(|e| e.into_inner()).remove(key)
    }
}

/// What the watcher tells the rest.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A version, in the order of observation.
    Version(Arc<Application>),
    /// The object is gone.
    Gone(AppKey),
    /// The initial list is complete.
    Complete,
}

/// Follows the stream until it ends or the token is cancelled.
pub async fn run(
    mut events: impl Stream<Item = AppEvent> + Unpin,
    applications: Applications,
    listeners: Vec<mpsc::UnboundedSender<Seen>>,
    board: Board,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let progress = board.stage("observe");
    let mut down: Option<Instant> = None;
    let tell = |seen: Seen| {
        for listener in &listeners {
            // A listener that has ended ends the process through its own task.
            let _ = listener.send(seen.clone());
        }
    };
    loop {
        progress.idle();
        let event = tokio::select! {
            _ = stop.cancelled() => return,
            event = events.next() => event,
        };
        progress.working();
        match event {
            None => return,
            // What has gone meanwhile follows as `Deleted`.
            Some(AppEvent::Restarted) => {}
            Some(AppEvent::Applied(app)) => {
                board.problems(&format!("object {}", app.key), Vec::new());
                if applications.put(app.clone()) {
                    tell(Seen::Version(app));
                }
            }
            Some(AppEvent::Deleted(key, _)) => {
                board.problems(&format!("object {key}"), Vec::new());
                if applications.remove(&key).is_some() {
                    tell(Seen::Gone(key));
                }
            }
            Some(AppEvent::Ready) => {
                board.ready("applications");
                tell(Seen::Complete);
            }
            Some(AppEvent::Undecodable(key, problem)) => {
                // Nothing is written from stale data (INV-4).
                board.problems(&format!("object {key}"), vec![problem]);
                if applications.remove(&key).is_some() {
                    tell(Seen::Gone(key));
                }
            }
            Some(AppEvent::Down(text)) => {
                down.get_or_insert_with(Instant::now);
                board.problems("cluster", vec![Problem::error("kubernetes-unavailable", text)]);
            }
            Some(AppEvent::Polled(text)) => {
                let text = format!("{text}; changes are seen by a list now and then");
                let problem = Problem::warning("kubernetes-forbidden", text);
                board.problems("cluster", vec![problem.hint("grant watch on applications")]);
            }
            Some(AppEvent::Up) => {
                if let Some(since) = down.take() {
                    metrics.watched_again(since.elapsed());
                }
                board.problems("cluster", Vec::new());
            }
        }
        board.update(|status| status.watched = applications.len());
    }
}
