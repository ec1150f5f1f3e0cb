//! How small the daemon stays: Applications of about 10 KB on a real kube-apiserver, subscribed to three triggers each;
//! prints the time until all are evaluated, the resident memory and the API requests. Run with `make bench`.

#[path = "../it/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use support::control_plane::ControlPlane;
use support::house::House;

fn main() {
    let wanted: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if wanted.is_empty() { vec![200, 2_000] } else { wanted };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("{:>12} {:>10} {:>10} {:>12} {:>10}", "applications", "KB each", "ready s", "resident MiB", "writes");
        for size in sizes {
            measure(size).await;
        }
    });
}

async fn measure(size: usize) {
    let ns = ControlPlane::get().await.namespace("bench").await;
    let kubeconfig = ns.apply_deploy("base").await;
    let sample = application(0).to_string().len();
    futures::stream::iter(0..size).for_each_concurrent(16, |n| ns.apply_json(application(n))).await;
    let house = House::new()
        .variable("POD_NAMESPACE", &ns.name)
        .with([format!("--kubeconfig={}", kubeconfig.display()), "--loglevel=warn".to_owned()]);
    let start = Instant::now();
    house.start().await;
    house.until("all are watched", |status| status["applications"]["watched"] == size).await;
    let ready = start.elapsed();
    // Evaluation follows at once; a few seconds later nothing moves any more.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let resident = house.resident_kib() as f64 / 1024.0;
    let metric = house.metric("lynceus_notifications_annotation_patches_total").await;
    println!("{size:>12} {:>10.1} {:>10.1} {resident:>12.1} {metric:>10}", sample as f64 / 1024.0, ready.as_secs_f64());
    house.stop().await;
}

/// An Application as clusters hold them: resources, history, conditions, and nothing to tell.
fn application(n: usize) -> Value {
    let resources: Vec<Value> = (0..30)
        .map(|r| {
            json!({"group": "apps", "kind": "Deployment", "name": format!("workload-{n}-{r}"), "namespace": "default",
                "status": "Synced", "version": "v1", "health": {"status": "Healthy"}})
        })
        .collect();
    let history: Vec<Value> = (0..10)
        .map(|h| {
            json!({"id": h, "revision": format!("{:040x}", n * 100 + h), "deployedAt": "2026-05-01T10:00:00Z",
                "source": {"repoURL": "https://git.example.com/deploy.git", "path": format!("apps/{n}")}})
        })
        .collect();
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": format!("app-{n:05}"), "annotations": {
            "notifications.argoproj.io/subscribe.on-sync-failed.slack": "alerts",
            "notifications.argoproj.io/subscribe.on-health-degraded.slack": "alerts",
            "notifications.argoproj.io/subscribe.on-sync-status-unknown.slack": "alerts",
        }},
        "spec": {"project": "default", "source": {"repoURL": "https://git.example.com/deploy.git", "path": format!("apps/{n}")},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"}},
        "status": {"sync": {"status": "Synced", "revision": format!("{n:040x}")}, "health": {"status": "Healthy"},
            "reconciledAt": "2026-05-01T12:00:00Z", "resources": resources, "history": history,
            "summary": {"images": [format!("registry.example.com/team/app-{n}:1.2.3")]},
            "operationState": {"phase": "Succeeded", "startedAt": "2026-05-01T11:00:00Z",
                "finishedAt": "2026-05-01T11:00:30Z", "message": "successfully synced",
                "syncResult": {"revision": format!("{n:040x}"), "resources": resources}}},
    })
}
