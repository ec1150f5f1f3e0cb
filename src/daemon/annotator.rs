//! Writes the state annotation that Argo CD Notifications reads, after success only, one key, coalesced
//! (notifications.md §10.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::status::Board;
use super::watcher::Applications;
use crate::adapters::cluster::{self, Access, Cluster};
use crate::adapters::store::Store;
use crate::core::application::{AppKey, Application};
use crate::core::notify::ledger::{self, Ledger};
use crate::core::notify::{STATE_ANNOTATION, shown_upstream};
use crate::core::problem::Problem;
use crate::core::retry::Retry;

/// At most one patch per Application in this time (WRB-04).
const COALESCE: Duration = Duration::from_secs(2);

/// The global budget: one patch per this time, 20 in a second (WRB-04).
const PACE: Duration = Duration::from_millis(50);

/// What the annotator needs.
pub struct Annotator {
    /// The API.
    pub cluster: Cluster,
    /// Ledgers.
    pub store: Store,
    /// The control plane's namespace.
    pub namespace: String,
    /// Applications of other namespaces are evaluated as well.
    pub everywhere: bool,
    /// The versions as last seen.
    pub applications: Applications,
    /// For faces.
    pub board: Board,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Which keys are true, for the annotations that cannot hold all.
    pub live: Arc<Live>,
}

/// The true keys of Applications with more keys than their annotation holds (WRB-03).
#[derive(Debug, Default)]
pub struct Live(Mutex<BTreeMap<AppKey, BTreeSet<String>>>);

impl Live {
    /// What the latest evaluation found.
    pub fn set(&self, app: &AppKey, ledger: &Ledger, true_keys: &BTreeSet<String>) {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ledger.marks.len() > ledger::ANNOTATION_ENTRIES {
            live.insert(app.clone(), true_keys.clone());
        } else {
            live.remove(app);
        }
    }

    /// The Application is gone.
    pub fn gone(&self, app: &AppKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    /// What the annotation should say of a ledger.
    fn text(&self, app: &AppKey, mut known: Ledger) -> Option<String> {
        known.marks.retain(|key, _| shown_upstream(key));
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = live.get(app);
        ledger::export(&known, |key| own.is_some_and(|own| own.contains(key)))
    }
}

impl Annotator {
    /// Patches Applications whose told keys changed; a failed patch is repeated with back-off and never causes a send
    /// (DLV-09). On the way out, what is due is still written, within the drain's limit.
    pub async fn run(self, mut changed: mpsc::UnboundedReceiver<AppKey>, stop: CancellationToken) {
        let progress = self.board.stage("write back");
        self.ask_permission().await;
        let mut due: BTreeMap<AppKey, (Instant, u32)> = BTreeMap::new();
        loop {
            // Waiting for a later moment is no standstill.
            progress.idle();
            let next = due.values().map(|(at, _)| *at).min();
            tokio::select! {
                _ = stop.cancelled() => break,
                key = changed.recv() => match key {
                    Some(key) => {
                        due.entry(key).or_insert((Instant::now() + COALESCE, 0));
                    }
                    None => break,
                },
                _ = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let now = Instant::now();
                    // Who has waited longest comes first, so that nobody is passed over for ever.
                    let ripe = due.iter().filter(|(_, (at, _))| *at <= now).min_by_key(|(_, (at, _))| *at);
                    let Some((key, failures)) = ripe.map(|(key, (_, failures))| (key.clone(), *failures)) else { continue };
                    due.remove(&key);
                    progress.working();
                    if let Some(again) = self.write(&key, failures).await {
                        due.insert(key, (Instant::now() + again, failures + 1));
                    }
                    tokio::time::sleep(PACE).await;
                }
            }
        }
        while let Ok(key) = changed.try_recv() {
            due.entry(key).or_insert((Instant::now(), 0));
        }
        for (key, (_, failures)) in due {
            self.write(&key, failures).await;
        }
    }

    /// One Application; the wait before it is tried again, if it must be.
    async fn write(&self, key: &AppKey, failures: u32) -> Option<Duration> {
        let app = self.applications.by_key(key)?;
        let known = match self.store.ledger(&app.uid).await {
            Ok(ledger) => ledger,
            Err(error) => {
                tracing::warn!(app = %key, "the state annotation waits: {error}");
                return Some(Duration::from_secs(5));
            }
        };
        let text = self.live.text(key, known);
        if same(app.annotation(STATE_ANNOTATION), text.as_deref()) {
            return None;
        }
        match self.cluster.write_notified(key, &app.uid, text.as_deref()).await {
            Ok(()) => {
                self.metrics.annotation_patched(true);
                self.board.problems("state annotation", Vec::new());
                None
            }
            Err(error) => self.failed(key, failures, &error),
        }
    }

    /// Says at the start that annotations cannot be written (WRB-04); what cannot be asked shows when it is tried.
    async fn ask_permission(&self) {
        let everywhere = self.everywhere.then_some(None);
        for namespace in std::iter::once(Some(self.namespace.clone())).chain(everywhere) {
            let (group, resource) = ("argoproj.io", "applications");
            let wanted = Access { verb: "patch", group, resource, namespace, name: None };
            if let Ok(false) = self.cluster.can(&wanted).await {
                return self.denied(format!("not permitted: {wanted}"));
            }
        }
    }

    fn denied(&self, text: String) {
        let problem = Problem::error("AnnotationWriteDenied", text)
            .hint("grant patch on applications, or start with --write-state-annotation=false");
        self.board.problems("state annotation", vec![problem]);
    }

    fn failed(&self, key: &AppKey, failures: u32, error: &cluster::Error) -> Option<Duration> {
        self.metrics.annotation_patched(false);
        // The object is gone, or another one has its name: what was told of it need not be written anywhere.
        if matches!(error, cluster::Error::Conflict { .. } | cluster::Error::Missing { .. }) {
            return None;
        }
        if error.retry() == Retry::Never {
            self.denied(error.to_string());
            return Some(Duration::from_secs(600));
        }
        tracing::debug!(app = %key, "the state annotation is tried again: {error}");
        Some(Duration::from_secs(2).saturating_mul(1 << failures.min(8)).min(Duration::from_secs(300)))
    }
}

/// Whether the Application's annotation says what its ledger does.
pub fn up_to_date(app: &Application, known: Ledger, live: &Live) -> bool {
    same(app.annotation(STATE_ANNOTATION), live.text(&app.key, known).as_deref())
}

/// Whether the annotation already says this; the order of its keys does not matter.
fn same(before: Option<&str>, now: Option<&str>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(before), Some(now)) => {
            let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
            before == now || (parse(before).is_some() && parse(before) == parse(now))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrb_03_over_100_live_keys_the_true_ones_stand_in_the_annotation() {
        use crate::core::notify::ledger::{Mark, Origin};
        let mark = |at| Mark { origin: Origin::Planned, at, told: true };
        // The oldest fifty are true.
        let marks: BTreeMap<String, Mark> = (0..150).map(|n| (format!("k{n:03}"), mark(n))).collect();
        let known = Ledger { known: true, marks };
        let true_keys: BTreeSet<String> = (0..50).map(|n| format!("k{n:03}")).collect();
        let app = AppKey { namespace: "argocd".into(), name: "web".into() };
        let live = Live::default();
        let kept = |live: &Live| -> BTreeSet<String> {
            let text = live.text(&app, known.clone()).unwrap();
            serde_json::from_str::<BTreeMap<String, i64>>(&text).unwrap().into_keys().collect()
        };
        assert!(kept(&live).is_disjoint(&true_keys));
        live.set(&app, &known, &true_keys);
        assert_eq!(kept(&live).len(), 100);
        assert!(kept(&live).is_superset(&true_keys) && kept(&live).contains("k149"));
        live.set(&app, &Ledger::default(), &true_keys);
        assert!(kept(&live).is_disjoint(&true_keys), "a small ledger needs no order");
    }

    #[test]
    fn wrb_02_an_annotation_that_says_the_same_is_not_written() {
        for (before, now, equal) in [
            (None, None, true),
            (Some(r#"{"a":1,"b":2}"#), Some(r#"{"b":2,"a":1}"#), true),
            (Some(r#"{"a":1}"#), Some(r#"{"a":2}"#), false),
            (Some("{"), Some("{}"), false),
            (Some("{}"), None, false),
            (None, Some("{}"), false),
        ] {
            assert_eq!(same(before, now), equal, "{before:?} {now:?}");
        }
    }
}
