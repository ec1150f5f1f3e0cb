//! Every name and label that dashboards may rely on.

use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::adapters::http::{Gate, Http};
use crate::adapters::services::Service;
use crate::core::problem::Problem;
use crate::daemon::delivery::{Exposition, Services, Tally};

fn services() -> Services {
    rustls::crypto::ring::default_provider().install_default().ok();
    let bodies = [
        ("service.slack", "token: t"),
        ("service.webhook.hook", "url: https://hook.test/x"),
        ("service.email.mail", "host: mail.test\nport: 587\nfrom: a@b.test"),
    ];
    let built = bodies.map(|(key, body)| {
        let (config, problems) = crate::config::services::service(key, body, &BTreeMap::new());
        let config = config.unwrap_or_else(|| panic!("{problems:?}"));
        (config.name.clone(), Service::new(config, Http::new(Gate::Central)))
    });
    built.into_iter().collect()
}

/// Metrics of a process that has read its configuration and done nothing yet.
fn fresh() -> (Metrics, Arc<Tally>, Status) {
    let (metrics, tally, services) = (Metrics::default(), Arc::new(Tally::default()), services());
    tally.know(&["on-x"], &services);
    metrics.know(&["on-x"]);
    metrics.collect(Exposition(tally.clone()));
    let status = Status { services: services.into_keys().collect(), ..Status::default() };
    (metrics, tally, status)
}

/// What is known has its series from the start, with 0; buckets are left out here.
#[test]
fn metrics_golden() {
    let (metrics, _, status) = fresh();
    let text = metrics.text(&status, "argocd");
    let mut lines: Vec<&str> =
        text.lines().filter(|line| !line.contains("_bucket{") && !line.starts_with("# HELP")).collect();
    lines.sort_unstable();
    let golden = include_str!("../../../tests/fixtures/notify/metrics.txt");
    assert!(lines == golden.lines().collect::<Vec<_>>(), "{}", lines.join("\n"));
    let valued = lines.iter().filter(|line| !line.starts_with('#'));
    for line in valued {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        assert_eq!(value, Some(0.0), "{line}");
    }
}

#[test]
fn section_22_what_happens_is_counted_under_upstreams_names_and_ours() {
    let (metrics, tally, mut status) = fresh();
    metrics.evaluated(&[("on-x".into(), true)], Duration::from_millis(1));
    tally.attempted("slack", "accepted");
    tally.delivered("on-x", "slack", true);
    tally.done("slack", Timestamp::UNIX_EPOCH + Duration::from_secs(9), Duration::from_secs(1));
    tally.dead("hook", "rejected");
    tally.fell_back("slack");
    tally.set_open_breakers(vec![("hook".into(), "https://hook.test".into())]);
    metrics.updated(2);
    metrics.annotation_patched(true);
    metrics.store_errors(4);
    metrics.store_errors(5);
    metrics.coalesced(3);
    metrics.watched_again(Duration::from_secs(7));
    let oldest = Timestamp::UNIX_EPOCH;
    let by_state = BTreeMap::from([("planned".to_owned(), 6), ("dead".to_owned(), 1)]);
    let waiting = super::super::status::Waiting { by_state, oldest: Some(oldest), deepest_lane: 4 };
    status.waiting.insert("gone".into(), waiting);
    status.counted_at = Some(oldest + Duration::from_secs(60));
    status.applications = 3;
    let problem = Problem::error("TemplateFailed", "x");
    status.problems.insert("notifications configuration".into(), vec![problem.clone()]);
    status.problems.insert("cluster".into(), vec![problem]);
    let text = metrics.text(&status, "argocd");
    for line in [
        "argocd_notifications_trigger_eval_total{name=\"on-x\",triggered=\"true\"} 1",
        "argocd_notifications_trigger_eval_total{name=\"on-x\",triggered=\"false\"} 0",
        "argocd_notifications_deliveries_total{trigger=\"on-x\",service=\"slack\",succeeded=\"true\"} 1",
        "lynceus_notifications_attempts_total{service=\"slack\",class=\"accepted\"} 1",
        "lynceus_notifications_dead_total{service=\"hook\",reason=\"rejected\"} 1",
        "lynceus_notifications_delivery_seconds_bucket{le=\"0.5\",service=\"slack\"} 0",
        "lynceus_notifications_delivery_seconds_bucket{le=\"1.0\",service=\"slack\"} 1",
        "lynceus_notifications_delivery_seconds_count{service=\"slack\"} 1",
        "lynceus_notifications_last_success_timestamp_seconds{service=\"slack\"} 9",
        "lynceus_notifications_breaker_open{service=\"hook\",endpoint=\"https://hook.test\"} 1",
        "lynceus_notifications_breaker_open{service=\"slack\",endpoint=\"https://slack.com\"} 0",
        "lynceus_notifications_render_fallback_total{service=\"slack\",kind=\"slack\"} 1",
        "lynceus_notifications_outbox_events{service=\"gone\",state=\"planned\"} 6",
        "lynceus_notifications_outbox_events{service=\"gone\",state=\"done\"} 0",
        "lynceus_notifications_outbox_oldest_seconds{service=\"gone\"} 60",
        "lynceus_notifications_lane_depth{service=\"gone\"} 4",
        "lynceus_notifications_config_problems{namespace=\"argocd\",severity=\"error\"} 1",
        "lynceus_notifications_annotation_patches_total{result=\"ok\"} 1",
        "lynceus_notifications_store_errors_total 5",
        "lynceus_notifications_versions_coalesced_total 3",
        "lynceus_notifications_watch_gap_seconds_sum 7.0",
        "argocd_image_updater_images_updated_total 2",
        "argocd_image_updater_applications_watched_total 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn registry_metrics_move() {
    let metrics = Metrics::default();
    for (answered, throttled) in [(true, false), (false, false), (true, true)] {
        let took = Duration::from_millis(2);
        metrics.registry_request(&Observed { registry: "ghcr.test", took, answered, throttled });
    }
    metrics.registry_budgets([("ghcr.test".to_owned(), Some(90)), ("ghcr.test".to_owned(), Some(89))].into_iter());
    let text = metrics.text(&Status::default(), "argocd");
    for line in [
        "lynceus_registry_request_seconds_count{registry=\"ghcr.test\"} 3",
        "lynceus_registry_throttled_total{registry=\"ghcr.test\"} 1",
        "lynceus_registry_budget_remaining{registry=\"ghcr.test\"} 89",
        "argocd_image_updater_registry_requests_total{registry=\"ghcr.test\"} 3",
        "argocd_image_updater_registry_requests_failed_total{registry=\"ghcr.test\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // No window, no figure.
    metrics.registry_budgets([("ghcr.test".to_owned(), None)].into_iter());
    assert!(!metrics.text(&Status::default(), "argocd").contains("budget_remaining{"));
}
