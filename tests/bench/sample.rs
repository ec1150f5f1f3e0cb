//! What the sections work on: Applications as clusters hold them, a configuration as people write it.

use std::collections::BTreeMap;

use futures::StreamExt;
use lynceus::demo::inbox::Inbox;
use serde_json::{Value, json};

use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::house::House;

/// Version of Applications.
pub const ARGO: &str = "argoproj.io/v1alpha1";

/// Requests to the API server at the same time.
pub const AT_ONCE: usize = 32;

/// Three triggers, two of which fire after a sync that went well; one template with a block for each of these services.
pub fn configuration(hooks: &[(&str, &Inbox)]) -> BTreeMap<String, String> {
    let trigger = |when: &str| {
        format!("- when: {when}\n  oncePer: app.status.operationState?.syncResult?.revision\n  send: [told]\n")
    };
    let mut config = BTreeMap::from([
        (
            "trigger.on-succeeded".to_owned(),
            trigger("app.status.operationState != nil and app.status.operationState.phase in ['Succeeded']"),
        ),
        (
            "trigger.on-healthy".to_owned(),
            trigger(
                "app.status.operationState != nil and app.status.operationState.phase in ['Succeeded'] and \
                 app.status.health.status == 'Healthy'",
            ),
        ),
        (
            "trigger.on-failed".to_owned(),
            trigger("app.status.operationState != nil and app.status.operationState.phase in ['Error', 'Failed']"),
        ),
    ]);
    let mut template = "message: '{{.app.metadata.name}} is at {{.app.status.sync.revision}}'\nwebhook:\n".to_owned();
    for (name, inbox) in hooks {
        config.insert(format!("service.webhook.{name}"), format!("url: {}/{name}", inbox.url()));
        template.push_str(&format!(
            "  {name}:\n    method: POST\n    body: |\n      {{\"app\": \"{{{{.app.metadata.name}}}}\", \
             \"revision\": \"{{{{.app.status.operationState.syncResult.revision}}}}\", \"state\": \
             {{{{.app.status.sync.status | toJson}}}}, \"images\": {{{{.app.status.summary.images | toJson}}}}}}\n",
        ));
    }
    config.insert("template.told".to_owned(), template);
    config
}

/// A namespace with the daemon's manifests, and an installation that uses them; it does not run yet.
pub async fn installed(name: &str, arguments: &[&str]) -> (Ns, House) {
    installed_through(name, ControlPlane::get().await.port(), arguments).await
}

/// The same, with the API server on another port.
pub async fn installed_through(name: &str, port: u16, arguments: &[&str]) -> (Ns, House) {
    let plane = ControlPlane::get().await;
    let ns = plane.namespace(name).await;
    let direct = std::fs::read_to_string(ns.apply_deploy("base").await).expect("a kubeconfig");
    let house = House::new().variable("POD_NAMESPACE", &ns.name);
    let text = direct.replace(&format!("127.0.0.1:{}", plane.port()), &format!("127.0.0.1:{port}"));
    let kubeconfig = house.file("kubeconfig", &text);
    let house = house.with([format!("--kubeconfig={}", kubeconfig.display())]);
    (ns, house.with(arguments.iter().copied()))
}

/// Writes the ConfigMap.
pub async fn configure(ns: &Ns, data: &BTreeMap<String, String>) {
    let metadata = json!({ "name": "argocd-notifications-cm" });
    ns.apply_json(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })).await;
}

/// Creates so many Applications, each subscribed by `subscribed`.
pub async fn create(ns: &Ns, size: usize, subscribed: impl Fn(usize) -> Vec<(String, &'static str)>) {
    let made = futures::stream::iter(0..size).map(|n| (n, subscribed(n)));
    made.for_each_concurrent(AT_ONCE, |(n, subscribed)| ns.apply_json(application(n, "r0", &subscribed))).await;
}

/// Three subscriptions of a webhook: two of them fire.
pub fn three_triggers(hook: &str) -> Vec<(String, &'static str)> {
    ["on-succeeded", "on-healthy", "on-failed"].map(|trigger| (format!("{trigger}.{hook}"), "")).to_vec()
}

/// Name of an Application.
pub fn name(n: usize) -> String {
    format!("app-{n:05}")
}

/// The status after a sync to this revision.
pub fn synced(revision: &str) -> Value {
    json!({
        "sync": {"status": "Synced", "revision": revision},
        "operationState": {"syncResult": {"revision": revision}},
    })
}

/// Kilobytes of one Application.
pub fn kilobytes() -> f64 {
    let bytes = application(0, "r0", &three_triggers("hook")).to_string().len();
    (bytes as f64 / 102.4).round() / 10.0
}

/// An Application as clusters hold them: resources, history, conditions.
pub fn application(n: usize, revision: &str, subscribed: &[(String, &'static str)]) -> Value {
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
    let annotations: BTreeMap<String, &str> = subscribed
        .iter()
        .map(|(key, recipients)| (format!("notifications.argoproj.io/subscribe.{key}"), *recipients))
        .collect();
    json!({
        "apiVersion": ARGO, "kind": "Application",
        "metadata": {"name": name(n), "annotations": annotations},
        "spec": {"project": "default",
            "source": {"repoURL": "https://git.example.com/deploy.git", "path": format!("apps/{n}")},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"}},
        "status": {"sync": {"status": "Synced", "revision": revision}, "health": {"status": "Healthy"},
            "reconciledAt": "2026-05-01T12:00:00Z", "resources": resources, "history": history,
            "summary": {"images": [format!("registry.example.com/team/app-{n}:1.2.3")]},
            "operationState": {"phase": "Succeeded", "startedAt": "2026-05-01T11:00:00Z",
                "finishedAt": "2026-05-01T11:00:30Z", "message": "successfully synced",
                "syncResult": {"revision": revision, "resources": resources}}},
    })
}
