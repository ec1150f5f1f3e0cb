//! Metrics under the names that upstream's dashboards know, and our own (notifications.md §22.1, image-updates.md §24).
//! The client library appends `_total` to counters, so they are registered without it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::status::{Status, Waiting};
use crate::adapters::registry::Observed;
use crate::core::problem::Severity;

/// States of an outbox row.
const STATES: [&str; 5] = ["planned", "sending", "retry_at", "done", "dead"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Evaluated {
    name: String,
    triggered: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceState {
    service: String,
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceName {
    service: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Configured {
    namespace: String,
    severity: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RegistryHost {
    registry: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PatchResult {
    result: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GitRemote {
    remote: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GitOperation {
    operation: String,
    remote: String,
}

/// All metrics of the process. Labels hold no application, recipient, tag or URL (OBS-4).
pub struct Metrics {
    registry: Mutex<Registry>,
    evaluations: Family<Evaluated, Counter>,
    eval_seconds: Histogram,
    outbox: Family<ServiceState, Gauge>,
    outbox_oldest: Family<ServiceName, Gauge>,
    lane_depth: Family<ServiceName, Gauge>,
    config_problems: Family<Configured, Gauge>,
    store_errors: Counter,
    versions_coalesced: Counter,
    watch_gap: Histogram,
    images: Family<State, Gauge>,
    problems: Family<Kind, Gauge>,
    annotation_patches: Family<PatchResult, Counter>,
    images_updated: Counter,
    image_errors: Counter,
    applications_watched: Gauge,
    images_watched: Gauge,
    registry_requests: Family<RegistryHost, Counter>,
    registry_failures: Family<RegistryHost, Counter>,
    registry_seconds: Family<RegistryHost, Histogram>,
    registry_throttled: Family<RegistryHost, Counter>,
    registry_budget: Family<RegistryHost, Gauge>,
    git_seconds: Family<GitOperation, Histogram>,
    push_retries: Family<GitRemote, Counter>,
    git_queue: Family<GitRemote, Gauge>,
    tag_to_commit: Histogram,
    commit_to_healthy: Histogram,
    held: Family<Reason, Gauge>,
    behind: Family<Vec<(String, String)>, Gauge>,
    rounds: Counter<u64, AtomicU64>,
}

fn short_times() -> Histogram {
    Histogram::new([0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 20.0])
}

fn long_times() -> Histogram {
    Histogram::new([0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Metrics {
            registry: Mutex::new(Registry::default()),
            evaluations: Family::default(),
            eval_seconds: short_times(),
            outbox: Family::default(),
            outbox_oldest: Family::default(),
            lane_depth: Family::default(),
            config_problems: Family::default(),
            store_errors: Counter::default(),
            versions_coalesced: Counter::default(),
            watch_gap: long_times(),
            images: Family::default(),
            problems: Family::default(),
            annotation_patches: Family::default(),
            images_updated: Counter::default(),
            image_errors: Counter::default(),
            applications_watched: Gauge::default(),
            images_watched: Gauge::default(),
            registry_requests: Family::default(),
            registry_failures: Family::default(),
            registry_seconds: Family::new_with_constructor(short_times),
            registry_throttled: Family::default(),
            registry_budget: Family::default(),
            git_seconds: Family::new_with_constructor(short_times),
            push_retries: Family::default(),
            git_queue: Family::default(),
            tag_to_commit: long_times(),
            commit_to_healthy: long_times(),
            held: Family::default(),
            behind: Family::default(),
            rounds: Counter::default(),
        };
        metrics.register();
        for result in ["ok", "failed"] {
            drop(metrics.annotation_patches.get_or_create(&PatchResult { result: result.to_owned() }));
        }
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut r = self.registry.lock().unwrap_or_else(|e| e.into_inner());
        r.register("argocd_notifications_trigger_eval", "Trigger evaluations", self.evaluations.clone());
        r.register("lynceus_notifications_eval_seconds", "One evaluation", self.eval_seconds.clone());
        r.register("lynceus_notifications_outbox_events", "Rows by state", self.outbox.clone());
        let help = "Age of the oldest event that waits";
        r.register("lynceus_notifications_outbox_oldest_seconds", help, self.outbox_oldest.clone());
        let help = "Events waiting in the fullest lane";
        r.register("lynceus_notifications_lane_depth", help, self.lane_depth.clone());
        let help = "Open problems of the configuration";
        r.register("lynceus_notifications_config_problems", help, self.config_problems.clone());
        let help = "Writes that the disk refused";
        r.register("lynceus_notifications_store_errors", help, self.store_errors.clone());
        let help = "Observed versions that were merged unevaluated";
        r.register("lynceus_notifications_versions_coalesced", help, self.versions_coalesced.clone());
        let help = "How long Applications could not be watched";
        r.register("lynceus_notifications_watch_gap_seconds", help, self.watch_gap.clone());
        r.register("lynceus_notifications_annotation_patches", "State annotation", self.annotation_patches.clone());
        r.register(
            "argocd_image_updater_applications_watched_total",
            "Applications",
            self.applications_watched.clone(),
        );
        r.register("argocd_image_updater_images_watched_total", "Images", self.images_watched.clone());
        r.register("argocd_image_updater_images_updated", "Durable changes", self.images_updated.clone());
        r.register("argocd_image_updater_images_errors", "Failed or refused changes", self.image_errors.clone());
        r.register("argocd_image_updater_registry_requests", "Requests", self.registry_requests.clone());
        r.register("argocd_image_updater_registry_requests_failed", "Failures", self.registry_failures.clone());
        let help = "Requests to a registry, tokens included";
        r.register("lynceus_registry_request_seconds", help, self.registry_seconds.clone());
        r.register("lynceus_registry_throttled", "Answers 429 and 503", self.registry_throttled.clone());
        let help = "Requests left, as the registry said";
        r.register("lynceus_registry_budget_remaining", help, self.registry_budget.clone());
        r.register("lynceus_images", "Images by state", self.images.clone());
        r.register("lynceus_problems", "Open problems by kind", self.problems.clone());
        r.register("lynceus_git_operation_seconds", "Git operations", self.git_seconds.clone());
        r.register("lynceus_git_push_retries", "Pushes repeated because the branch moved", self.push_retries.clone());
        r.register("lynceus_git_queue_depth", "Applications' changes waiting to be pushed", self.git_queue.clone());
        r.register("lynceus_tag_to_commit_seconds", "From found to committed", self.tag_to_commit.clone());
        r.register("lynceus_commit_to_healthy_seconds", "From committed to healthy", self.commit_to_healthy.clone());
        r.register("lynceus_held", "Candidates kept back, by reason", self.held.clone());
        let help = "Tags that rank above the ones in use, of all images";
        r.register("lynceus_image_versions_behind", help, self.behind.clone());
        r.register("lynceus_rounds", "Finished rounds", self.rounds.clone());
    }

    /// One pass over one version.
    pub fn evaluated(&self, evaluated: &[(String, bool)], took: Duration) {
        if evaluated.is_empty() {
            return;
        }
        self.eval_seconds.observe(took.as_secs_f64());
        for (name, triggered) in evaluated {
            let labels = Evaluated { name: name.clone(), triggered: triggered.to_string() };
            self.evaluations.get_or_create(&labels).inc();
        }
    }

    /// Configured triggers: their series exist before they are evaluated.
    pub fn know(&self, triggers: &[&str]) {
        for name in triggers {
            for triggered in ["true", "false"] {
                let labels = Evaluated { name: (*name).to_owned(), triggered: triggered.to_owned() };
                drop(self.evaluations.get_or_create(&labels));
            }
        }
    }

    /// Writes that failed for reasons of the disk, since the start.
    pub fn store_errors(&self, total: u64) {
        self.store_errors.inc_by(total.saturating_sub(self.store_errors.get()));
    }

    /// Versions of Applications that were merged into later ones before they were evaluated (CT-11).
    pub fn coalesced(&self, versions: u64) {
        self.versions_coalesced.inc_by(versions);
    }

    /// The watch over Applications is there again after so long (CT-12).
    pub fn watched_again(&self, gap: Duration) {
        self.watch_gap.observe(gap.as_secs_f64());
    }

    /// Adds figures that somebody else keeps.
    pub fn collect(&self, figures: impl Collector) {
        self.registry.lock().unwrap_or_else(|e| e.into_inner()).register_collector(Box::new(figures));
    }

    /// One patch of a state annotation.
    pub fn annotation_patched(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" }.to_owned();
        self.annotation_patches.get_or_create(&PatchResult { result }).inc();
    }

    /// Changes that became durable.
    pub fn updated(&self, changes: u64) {
        self.images_updated.inc_by(changes);
    }

    /// Changes that failed or were refused.
    pub fn failed(&self, changes: u64) {
        self.image_errors.inc_by(changes);
    }

    /// One Git operation; `remote` is host and path, without credentials.
    pub fn git(&self, operation: &str, remote: &str, took: Duration) {
        let labels = GitOperation { operation: operation.to_owned(), remote: remote.to_owned() };
        self.git_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A push is repeated because the branch moved.
    pub fn push_repeated(&self, remote: &str) {
        self.push_retries.get_or_create(&GitRemote { remote: remote.to_owned() }).inc();
    }

    /// So many changes of Applications wait to be pushed to a remote.
    pub fn queued(&self, remote: &str, changes: usize) {
        self.git_queue.get_or_create(&GitRemote { remote: remote.to_owned() }).set(changes as i64);
    }

    /// From a commit to the Application being healthy with it.
    pub fn healthy_after(&self, took: Duration) {
        self.commit_to_healthy.observe(took.as_secs_f64());
    }

    /// From the first sight of a candidate to its commit.
    pub fn committed_after(&self, took: Duration) {
        self.tag_to_commit.observe(took.as_secs_f64());
    }

    /// A round has ended.
    pub fn round(&self) {
        self.rounds.inc();
    }

    /// One request to a registry.
    pub fn registry_request(&self, request: &Observed<'_>) {
        let host = RegistryHost { registry: request.registry.to_owned() };
        self.registry_requests.get_or_create(&host).inc();
        self.registry_seconds.get_or_create(&host).observe(request.took.as_secs_f64());
        // Both series exist from the first request on, so that a first failure is seen as an increase.
        self.registry_failures.get_or_create(&host).inc_by(u64::from(!request.answered));
        self.registry_throttled.get_or_create(&host).inc_by(u64::from(request.throttled));
    }

    /// What registries said of the requests left; of several entries of one host, the smallest.
    pub fn registry_budgets(&self, budgets: impl Iterator<Item = (String, Option<u64>)>) {
        let mut least: BTreeMap<String, u64> = BTreeMap::new();
        for (host, remaining) in budgets {
            let Some(remaining) = remaining else { continue };
            least.entry(host).and_modify(|least| *least = (*least).min(remaining)).or_insert(remaining);
        }
        self.registry_budget.clear();
        for (registry, remaining) in least {
            self.registry_budget
                .get_or_create(&RegistryHost { registry })
                .set(remaining.try_into().unwrap_or(i64::MAX));
        }
    }

    /// The text of the endpoint, after taking the gauges from the status. `namespace` is that of the configuration.
    pub fn text(&self, status: &Status, namespace: &str) -> String {
        self.applications_watched.set(status.applications as i64);
        self.images_watched.set(status.images as i64);
        self.images.clear();
        for (state, number) in &status.images_by_state {
            self.images.get_or_create(&State { state: (*state).to_owned() }).set(*number as i64);
        }
        self.held.clear();
        for (reason, number) in &status.held_by_reason {
            self.held.get_or_create(&Reason { reason: (*reason).to_owned() }).set(*number as i64);
        }
        self.behind.clear();
        for (application, tags) in &status.versions_behind {
            let labels = Some(("application".to_owned(), application.clone())).filter(|(_, name)| !name.is_empty());
            self.behind.get_or_create(&labels.into_iter().collect()).set(*tags as i64);
        }
        self.outbox_gauges(status);
        self.config_problems.clear();
        for severity in [Severity::Info, Severity::Warning, Severity::Error] {
            let about = status.problems.iter().filter(|(about, _)| about.starts_with("notif"));
            let open = about.flat_map(|(_, problems)| problems).filter(|problem| problem.severity == severity).count();
            let labels = Configured { namespace: namespace.to_owned(), severity: severity.word().to_owned() };
            self.config_problems.get_or_create(&labels).set(open as i64);
        }
        self.problems.clear();
        for problem in status.problems.values().flatten() {
            self.problems.get_or_create(&Kind { kind: problem.code.to_owned() }).inc();
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(|e| e.into_inner());
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }

    fn outbox_gauges(&self, status: &Status) {
        self.outbox.clear();
        self.outbox_oldest.clear();
        self.lane_depth.clear();
        let nothing = Waiting::default();
        let known = status.services.iter().map(|name| (name, &nothing));
        let known: BTreeMap<&String, &Waiting> = known.chain(&status.waiting).collect();
        for (service, waiting) in known {
            for state in STATES {
                let labels = ServiceState { service: service.clone(), state: state.to_owned() };
                let rows = waiting.by_state.get(state).copied().unwrap_or_default();
                self.outbox.get_or_create(&labels).set(rows as i64);
            }
            let labels = ServiceName { service: service.clone() };
            let age = waiting.oldest.zip(status.counted_at).map(|(oldest, now)| now.duration_since(oldest).as_secs());
            self.outbox_oldest.get_or_create(&labels).set(age.unwrap_or_default().max(0));
            self.lane_depth.get_or_create(&labels).set(waiting.deepest_lane as i64);
        }
    }
}

#[cfg(test)]
mod tests;
