//! What these tests start from: Applications as Argo CD leaves them, a ConfigMap and a Secret, receivers, the daemon.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lynceus::demo::inbox::{Accepted, Inbox, Item, Manners};
use serde_json::{Value, json};

use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::house::{House, WALL_ONLY};
use crate::support::wait_for;

/// Version and prefix of Applications.
pub const ARGO: &str = "argoproj.io/v1alpha1";

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The annotation upstream keeps its state in.
pub const STATE: &str = "notified.notifications.argoproj.io";

/// `[0].<hash>` of the built-in `on-sync-failed`.
pub const SYNC_FAILED: &str = "[0].QocUZC1QzO--b2WEwALX85YPE5o";

/// Which clocks of the daemon a test sets.
pub enum Clock {
    /// The one that people set; intervals and timeouts pass as ever.
    Wall,
    /// All: the daemon lives through what is passed over.
    All,
}

/// A namespace of Argo CD's with the daemon's manifests, one receiver for Slack and one for everything else.
pub struct Stage {
    pub ns: Ns,
    pub house: House,
    pub slack: Inbox,
    pub hook: Inbox,
}

impl Stage {
    /// Everything but a configuration; the daemon does not run yet.
    pub async fn new(name: &str) -> Stage {
        Stage::through(name, ControlPlane::get().await.port()).await
    }

    /// The same with the image half on.
    pub async fn whole(name: &str) -> Stage {
        let plane = ControlPlane::get().await;
        Stage::built(plane, name, plane.port(), "on").await
    }

    /// The same, with the API server on another port.
    pub async fn through(name: &str, port: u16) -> Stage {
        Stage::built(ControlPlane::get().await, name, port, "off").await
    }

    /// The same, on a control plane of its own.
    pub async fn on(plane: &'static ControlPlane, name: &str) -> Stage {
        Stage::built(plane, name, plane.port(), "off").await
    }

    async fn built(plane: &'static ControlPlane, name: &str, port: u16, images: &str) -> Stage {
        let ns = plane.namespace(name).await;
        let direct = std::fs::read_to_string(ns.apply_deploy("base").await).expect("a kubeconfig");
        let house = House::new().variable("POD_NAMESPACE", &ns.name);
        let text = direct.replace(&format!("127.0.0.1:{}", plane.port()), &format!("127.0.0.1:{port}"));
        let kubeconfig = house.file("kubeconfig", &text);
        let house = house.with([format!("--kubeconfig={}", kubeconfig.display()), format!("--images={images}")]);
        let slack = Inbox::start(Manners::default()).await.expect("a receiver");
        let hook = Inbox::start(Manners::default()).await.expect("a receiver");
        Stage { ns, house, slack, hook }
    }

    /// A daemon whose clock the test sets, by writing `+30s` to the file given.
    pub fn with_a_clock(self, clock: Clock) -> (Stage, PathBuf) {
        let file = self.house.file("clock", "+0\n");
        let path = file.display().to_string();
        let mut variables = vec![("FAKETIME_TIMESTAMP_FILE", path.as_str())];
        if matches!(clock, Clock::Wall) {
            variables.extend(WALL_ONLY);
        }
        let Stage { ns, house, slack, hook } = self;
        let house = house.with_fake_clock(&variables);
        (Stage { ns, house, slack, hook }, file)
    }

    /// `service.slack` and `service.webhook.hook` for the receivers, `context`.
    pub fn services(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("context".to_owned(), "argocdUrl: https://argocd.test".to_owned()),
            ("service.slack".to_owned(), format!("token: $slack-token\napiURL: {}/api/", self.slack.url())),
            ("service.webhook.hook".to_owned(), format!("url: {}/hook", self.hook.url())),
        ])
    }

    /// Writes the ConfigMap, replacing the keys it held.
    pub async fn configure(&self, data: &BTreeMap<String, String>) {
        self.ns
            .apply_json(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-notifications-cm" },
                "data": data,
            }))
            .await;
    }

    /// Writes the Secret.
    pub async fn secret(&self, data: &[(&str, &str)]) {
        let data: BTreeMap<&str, &str> = data.iter().copied().collect();
        self.ns
            .apply_json(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "argocd-notifications-secret" },
                "stringData": data,
            }))
            .await;
    }

    /// Merges into an Application's status, as Argo CD does.
    pub async fn status(&self, name: &str, status: Value) {
        self.ns.patch(ARGO, "Application", name, &json!({ "status": status })).await;
    }

    /// Merges into an Application's metadata.
    pub async fn metadata(&self, name: &str, metadata: Value) {
        self.ns.patch(ARGO, "Application", name, &json!({ "metadata": metadata })).await;
    }

    /// The state annotation's entries.
    pub async fn state(&self, name: &str) -> Option<BTreeMap<String, i64>> {
        let object = self.ns.object(ARGO, "Application", name).await.expect("it is there");
        let text = object["metadata"]["annotations"][STATE].as_str()?;
        Some(serde_json::from_str(text).expect("a map of integers"))
    }

    /// Waits until the annotation holds exactly these keys.
    pub async fn keys(&self, name: &str, wanted: &[String]) {
        let mut wanted = wanted.to_vec();
        wanted.sort();
        wait_for(&format!("the keys {wanted:?}"), PATIENCE, || async {
            let keys: Vec<String> = self.state(name).await.unwrap_or_default().into_keys().collect();
            (keys == wanted).then_some(())
        })
        .await;
    }
}

/// An Application with subscriptions `<trigger>.<service>: recipients`.
pub fn application(name: &str, subscribed: &[(&str, &str)]) -> Value {
    let annotations: BTreeMap<String, &str> = subscribed
        .iter()
        .map(|(key, recipients)| (format!("notifications.argoproj.io/subscribe.{key}"), *recipients))
        .collect();
    json!({
        "apiVersion": ARGO, "kind": "Application",
        "metadata": { "name": name, "annotations": annotations },
        "spec": {
            "project": "default",
            "source": { "repoURL": "https://git.test/config.git", "path": name, "targetRevision": "main" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
        },
    })
}

/// The status after a sync to this revision has ended in this phase.
pub fn synced(phase: &str, revision: &str) -> Value {
    let sync = if phase == "Succeeded" { "Synced" } else { "OutOfSync" };
    json!({
        "operationState": {
            "phase": phase, "message": format!("{phase} at {revision}"),
            "startedAt": "2026-05-01T12:00:00Z", "finishedAt": "2026-05-01T12:00:05Z",
            "syncResult": { "revision": revision }, "operation": { "sync": { "revision": revision } },
        },
        "sync": { "status": sync, "revision": revision },
        "health": { "status": "Healthy", "lastTransitionTime": "2026-05-01T11:00:00Z" },
        "reconciledAt": "2026-05-01T12:00:06Z",
    })
}

/// The texts a receiver was sent: a webhook's body, a Slack message's text.
pub fn texts(inbox: &Inbox) -> Vec<String> {
    inbox.accepted().into_iter().map(text).collect()
}

fn text(accepted: Accepted) -> String {
    match accepted.what {
        Item::Webhook { body, .. } => body,
        Item::Slack { fields, .. } => fields.get("text").cloned().unwrap_or_default(),
        Item::Mail { content, .. } => content,
    }
}

/// Waits until a receiver has accepted at least so many.
pub async fn accepted(stage: &Stage, inbox: &Inbox, count: usize) -> Vec<String> {
    let there = inbox.wait(PATIENCE, |accepted, _| accepted.len() >= count).await;
    let log = stage.house.log();
    let end = log.len().saturating_sub(4000);
    assert!(there, "{count} messages: {:?}\n{}", texts(inbox), log.get(end..).unwrap_or(&log));
    texts(inbox)
}
