//! Metrics under the names that upstream's dashboards know, and our own (notifications.md §22.1, image-updates.md §24).
//! The client library appends `_total` to counters, so they are registered without it.

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

use super::status::Status;

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
struct GitOperation {
    operation: String,
    remote: String,
}

/// All metrics of the process. Labels hold no application, recipient, tag or URL (OBS-4).
pub struct Metrics {
    registry: Mutex<Registry>,
    evaluations: Family<Evaluated, Counter>,
    eval_seconds: Histogram,
    outbox: Family<State, Gauge>,
    images: Family<State, Gauge>,
    problems: Family<Kind, Gauge>,
    annotation_patches: Family<PatchResult, Counter>,
    versions_coalesced: Counter,
    watch_gap: Histogram,
    images_updated: Counter,
    image_errors: Counter,
    applications_watched: Gauge,
    images_watched: Gauge,
    registry_requests: Family<RegistryHost, Counter>,
    registry_failures: Family<RegistryHost, Counter>,
    git_seconds: Family<GitOperation, Histogram>,
    push_retries: Counter,
    tag_to_commit: Histogram,
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
            images: Family::default(),
            problems: Family::default(),
            annotation_patches: Family::default(),
            versions_coalesced: Counter::default(),
            watch_gap: long_times(),
            images_updated: Counter::default(),
            image_errors: Counter::default(),
            applications_watched: Gauge::default(),
            images_watched: Gauge::default(),
            registry_requests: Family::default(),
            registry_failures: Family::default(),
            git_seconds: Family::new_with_constructor(short_times),
            push_retries: Counter::default(),
            tag_to_commit: long_times(),
            rounds: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut r = self.registry.lock().unwrap_or_else(|e| e.into_inner());
        r.register("argocd_notifications_trigger_eval", "Trigger evaluations", self.evaluations.clone());
        r.register("lynceus_notifications_eval_seconds", "One evaluation", self.eval_seconds.clone());
        let merged = "Versions merged with their next one because too many waited";
        r.register("lynceus_notifications_versions_coalesced", merged, self.versions_coalesced.clone());
        r.register("lynceus_notifications_watch_gap_seconds", "Times without a watch", self.watch_gap.clone());
        r.register("lynceus_notifications_outbox_events", "Rows by state", self.outbox.clone());
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
        r.register("lynceus_images", "Images by state", self.images.clone());
        r.register("lynceus_problems", "Open problems by kind", self.problems.clone());
        r.register("lynceus_git_operation_seconds", "Git operations", self.git_seconds.clone());
        r.register("lynceus_git_push_retries", "Pushes repeated because the branch moved", self.push_retries.clone());
        r.register("lynceus_tag_to_commit_seconds", "From found to committed", self.tag_to_commit.clone());
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

    /// Adds figures that somebody else keeps.
    pub fn collect(&self, figures: impl Collector) {
        self.registry.lock().unwrap_or_else(|e| e.into_inner()).register_collector(Box::new(figures));
    }

    /// Versions that were merged with their next one (CT-11).
    pub fn versions_merged(&self, versions: u64) {
        self.versions_coalesced.inc_by(versions);
    }

    /// Applications were not watched for so long (CT-12).
    pub fn watch_gap(&self, gap: Duration) {
        self.watch_gap.observe(gap.as_secs_f64());
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
    pub fn push_repeated(&self) {
        self.push_retries.inc();
    }

    /// From the first sight of a candidate to its commit.
    pub fn committed_after(&self, took: Duration) {
        self.tag_to_commit.observe(took.as_secs_f64());
    }

    /// A round has ended.
    pub fn round(&self) {
        self.rounds.inc();
    }

    /// Requests to a registry since the start.
    pub fn registry_totals(&self, host: &str, requests: u64) {
        let counter = self.registry_requests.get_or_create_owned(&RegistryHost { registry: host.to_owned() });
        counter.inc_by(requests.saturating_sub(counter.get()));
    }

    /// One request to a registry that was not answered as it should be.
    pub fn registry_failed(&self, host: &str) {
        self.registry_failures.get_or_create(&RegistryHost { registry: host.to_owned() }).inc();
    }

    /// The text of the endpoint, after taking the gauges from the status.
    pub fn text(&self, status: &Status) -> String {
        self.applications_watched.set(status.applications as i64);
        self.images_watched.set(status.images as i64);
        self.images.clear();
        for (state, number) in &status.images_by_state {
            self.images.get_or_create(&State { state: (*state).to_owned() }).set(*number as i64);
        }
        self.outbox.clear();
        for (state, number) in &status.outbox {
            self.outbox.get_or_create(&State { state: state.clone() }).set(*number as i64);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::delivery::{Exposition, Tally};

    #[test]
    fn section_22_upstream_names_are_kept() {
        let metrics = Metrics::default();
        metrics.evaluated(&[("on-x".into(), true)], Duration::from_millis(1));
        let tally = std::sync::Arc::new(Tally::default());
        tally.attempted("slack", "accepted");
        tally.delivered("on-x", "slack", true);
        tally.done("slack", jiff::Timestamp::UNIX_EPOCH, Duration::from_secs(1));
        tally.dead("hook", "rejected");
        tally.set_open_breakers(vec!["https://hook".into()]);
        metrics.collect(Exposition(tally));
        metrics.updated(2);
        let text = metrics.text(&Status { applications: 3, ..Status::default() });
        for line in [
            "argocd_notifications_trigger_eval_total{name=\"on-x\",triggered=\"true\"} 1",
            "argocd_notifications_deliveries_total{trigger=\"on-x\",service=\"slack\",succeeded=\"true\"} 1",
            "lynceus_notifications_attempts_total{service=\"slack\",class=\"accepted\"} 1",
            "lynceus_notifications_dead_total{service=\"hook\",reason=\"rejected\"} 1",
            "lynceus_notifications_delivery_seconds_bucket{le=\"0.5\",service=\"slack\"} 0",
            "lynceus_notifications_delivery_seconds_bucket{le=\"1.0\",service=\"slack\"} 1",
            "lynceus_notifications_delivery_seconds_count{service=\"slack\"} 1",
            "lynceus_notifications_last_success_timestamp_seconds{service=\"slack\"} 0",
            "lynceus_notifications_breaker_open{endpoint=\"https://hook\"} 1",
            "argocd_image_updater_images_updated_total 2",
            "argocd_image_updater_applications_watched_total 3",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
