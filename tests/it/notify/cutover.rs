//! The steps of `deploy/COMING-FROM-ARGOCD-NOTIFICATIONS.md`, one after the other, on a real API server: look, stop the
//! old controller, start Lynceus, look again, go back. And the shorter way: the old Deployment with another image.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::stage::*;
use crate::support::house::House;

const APPS: usize = 30;

fn name(n: usize) -> String {
    format!("app-{n:02}")
}

/// What the old controller has noted: `<oncePer>:<trigger>:[<index>].<hash of when>:<service>:<recipient>`.
fn key(revision: &str, to: &str) -> String {
    format!("{revision}:on-sync-failed:{SYNC_FAILED}:{to}")
}

/// A trigger and templates of people's own, beside services.
fn configuration(stage: &Stage) -> BTreeMap<String, String> {
    let mut config = stage.services();
    let when = "app.status.operationState != nil and app.status.operationState.phase in ['Error', 'Failed']";
    let trigger = format!(
        "- when: {when}\n  oncePer: app.status.operationState?.syncResult?.revision\n  send: [app-sync-failed]"
    );
    config.insert("trigger.on-sync-failed".into(), trigger);
    config.insert("template.app-sync-failed".into(), "message: '{{.app.metadata.name}} failed'".into());
    config
}

/// Applications as the old controller leaves them: each failed once, each told to both.
async fn left_behind(stage: &Stage) {
    for n in 0..APPS {
        let mut app = application(&name(n), &[("on-sync-failed.slack", "alerts"), ("on-sync-failed.hook", "")]);
        let noted = json!({ key("abc123", "slack:alerts"): 1767225600, key("abc123", "hook:"): 1767225600 });
        app["metadata"]["annotations"][STATE] = json!(noted.to_string());
        app["status"] = synced("Failed", "abc123");
        stage.ns.apply_json(app).await;
    }
}

/// `kubectl get -o yaml > file`
async fn got(stage: &Stage, version: &str, kind: &str, names: &[String], file: &str) -> String {
    let mut items = Vec::new();
    for name in names {
        items.push(stage.ns.object(version, kind, name).await.expect("it is there"));
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    stage.house.file(file, &list.to_string()).display().to_string()
}

/// What the old controller would do with an Application on its next look: who is told now.
async fn old_controller_would_tell(stage: &Stage, app: &str, revision: &str) -> Vec<String> {
    let noted = stage.state(app).await.unwrap_or_default();
    let both = ["slack:alerts", "hook:"].map(|to| key(revision, to));
    both.into_iter().filter(|key| !noted.contains_key(key)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_01_cut_02_the_described_steps_lead_over_and_back() {
    let stage = Stage::new("coming-over").await;
    stage.configure(&configuration(&stage)).await;
    stage.secret(&[("slack-token", "xoxb-1234567")]).await;
    left_behind(&stage).await;
    let apps: Vec<String> = (0..APPS).map(name).collect();

    // 1. Look first: nothing is wrong, what is different is said, and nothing was sent or changed by looking.
    let files = [
        got(&stage, "v1", "ConfigMap", &["argocd-notifications-cm".into()], "cm.yaml").await,
        got(&stage, "v1", "Secret", &["argocd-notifications-secret".into()], "secret.yaml").await,
        got(&stage, ARGO, "Application", &apps, "apps.yaml").await,
    ];
    let lint = stage.house.command(&["lint", &files[0], &files[1], &files[2]]).await;
    assert_eq!(lint.code, 0, "{}{}", lint.out, lint.err);
    assert!(lint.out.contains("this is different here") && lint.out.contains("DLV-03: "), "{}", lint.out);
    assert!(lint.out.contains("0 errors, 0 warnings, 0 remarks"), "{}", lint.out);
    let kubeconfig = stage.house.folder().join("kubeconfig").display().to_string();
    let cluster = ["--kubeconfig", &kubeconfig, "-n", &stage.ns.name];
    let check = stage.house.command(&[&["check", "--connect", "-o", "json"], &cluster[..]].concat()).await;
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    let trigger = ["notify", "trigger", "run", "on-sync-failed", "app-00", "-o", "json"];
    let trigger = stage.house.command(&[&trigger, &cluster[..]].concat()).await;
    assert_eq!((trigger.code, &trigger.json()[0]["result"]), (0, &json!(true)), "{}", trigger.err);
    let render = ["notify", "template", "render", "app-sync-failed", "app-00", "--recipient", "slack:alerts"];
    let render = stage.house.command(&[&render, &cluster[..]].concat()).await;
    assert_eq!(render.out.trim(), "app-00 failed");
    let untouched = stage.state("app-00").await;

    // 2. and 3. The old controller is stopped (there is none here); Lynceus starts, under the shipped Role.
    stage.house.start().await;

    // 4. Nothing is wrong, nothing is sent.
    let all = |s: &Value| s["applications"]["watched"] == APPS;
    let status = stage.house.until("all are seen", all).await;
    assert_eq!((&status["problems"], &status["outbox"]), (&json!([]), &json!({})), "{status}");
    assert!(stage.house.log().contains("configuration applied"));
    // The next change gives one message to each, behind whatever the first look would have given.
    stage.status("app-07", synced("Failed", "def456")).await;
    assert_eq!(accepted(&stage, &stage.hook, 1).await, ["app-07 failed"]);
    assert_eq!(accepted(&stage, &stage.slack, 1).await, ["app-07 failed"]);
    let both = |revision: &str| [key(revision, "slack:alerts"), key(revision, "hook:")];
    stage.keys("app-07", &[both("abc123"), both("def456")].concat()).await;
    assert_eq!(stage.state("app-00").await, untouched, "Applications at rest are not written");
    assert_eq!(stage.house.metric("argocd_notifications_deliveries_total").await, 2.0);

    // 5. Going back, while one receiver does not answer: what was delivered is noted, what was not is not.
    stage.slack.always(Some(lynceus::demo::inbox::Fault::status(503)));
    stage.status("app-08", synced("Failed", "def456")).await;
    accepted(&stage, &stage.hook, 2).await;
    stage.keys("app-08", &[&both("abc123")[..], &[key("def456", "hook:")]].concat()).await;
    assert_eq!(stage.house.stop().await, 0);
    for n in 0..APPS {
        let revision = if [7, 8].contains(&n) { "def456" } else { "abc123" };
        let told = old_controller_would_tell(&stage, &name(n), revision).await;
        let wanted: &[String] = if n == 8 { &[key("def456", "slack:alerts")] } else { &[] };
        assert_eq!(told, wanted, "{}", name(n));
    }

    // The old controller sends it and notes it. Later Lynceus comes again, with an empty state: all is told already.
    stage.slack.always(None);
    let mut noted = stage.state("app-08").await.unwrap_or_default();
    noted.insert(key("def456", "slack:alerts"), 1_767_229_200);
    stage.metadata("app-08", json!({ "annotations": { STATE: json!(noted).to_string() } })).await;
    let again = House::new().variable("POD_NAMESPACE", &stage.ns.name);
    let again = again.with([format!("--kubeconfig={kubeconfig}"), "--images=off".to_owned()]);
    again.start().await;
    again.until("all are seen", all).await;
    stage.status("app-09", synced("Failed", "def456")).await;
    again.until("only the news is told", |s| s["outbox"] == json!({ "done": 2 })).await;
    assert_eq!((texts(&stage.hook).len(), texts(&stage.slack).len()), (3, 2));
    assert_eq!(again.stop().await, 0);
}

/// Only the image changes: the old Deployment's Role, ServiceAccount, name of the program and variables.
#[tokio::test(flavor = "multi_thread")]
async fn section_21_the_old_deployment_with_another_image() {
    let stage = Stage::new("other-image").await;
    stage.configure(&configuration(&stage)).await;
    stage.secret(&[("slack-token", "xoxb-1234567")]).await;
    left_behind(&stage).await;
    let account = "argocd-notifications-controller";
    let group = "rbac.authorization.k8s.io";
    let core = |resources: Value, names: Value, verbs: Value| {
        let mut rule = json!({ "apiGroups": [""], "resources": resources, "verbs": verbs });
        if names != json!([]) {
            rule["resourceNames"] = names;
        }
        rule
    };
    let rules = json!([
        { "apiGroups": ["argoproj.io"], "resources": ["applications", "appprojects"],
          "verbs": ["get", "list", "watch", "update", "patch"] },
        core(json!(["configmaps", "secrets"]), json!([]), json!(["list", "watch"])),
        core(json!(["configmaps"]), json!(["argocd-notifications-cm"]), json!(["get"])),
        core(json!(["secrets"]), json!(["argocd-notifications-secret"]), json!(["get"])),
    ]);
    let version = format!("{group}/v1");
    for object in [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": account } }),
        json!({ "apiVersion": version, "kind": "Role", "metadata": { "name": account }, "rules": rules }),
        json!({ "apiVersion": version, "kind": "RoleBinding", "metadata": { "name": account },
            "roleRef": { "apiGroup": group, "kind": "Role", "name": account },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": stage.ns.name }] }),
    ] {
        stage.ns.apply_json(object).await;
    }
    let kubeconfig = stage.ns.kubeconfig_for(account).await;
    let house = House::new()
        .variable("POD_NAMESPACE", &stage.ns.name)
        .variable("ARGOCD_NOTIFICATIONS_CONTROLLER_LOGLEVEL", "debug")
        .variable("ARGOCD_NOTIFICATIONS_CONTROLLER_LOGFORMAT", "json")
        .variable("ARGOCD_NOTIFICATION_CONTROLLER_PROCESSORS_COUNT", "2")
        .called("argocd-notifications")
        .with([format!("--kubeconfig={}", kubeconfig.display())]);
    house.start().await;
    let status = house.until("all are seen", |s| s["applications"]["watched"] == APPS).await;
    assert_eq!((&status["problems"], &status["outbox"]), (&json!([]), &json!({})), "{status}");
    stage.status("app-03", synced("Failed", "def456")).await;
    house.until("told", |s| s["outbox"] == json!({ "done": 2 })).await;
    assert_eq!((texts(&stage.hook), texts(&stage.slack)), (vec!["app-03 failed".into()], vec!["app-03 failed".into()]));
    let both = |revision: &str| [key(revision, "slack:alerts"), key(revision, "hook:")];
    stage.keys("app-03", &[both("abc123"), both("def456")].concat()).await;
    assert_eq!(house.status().await.expect("a status")["problems"], json!([]));
    assert_eq!(house.stop().await, 0);
}
