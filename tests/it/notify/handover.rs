//! From Argo CD Notifications to here and back: what one has told the other does not tell again. Upstream's reader and
//! writer are written down here once more, independent of ours.

use std::collections::BTreeMap;

use base64::Engine;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::stage::*;
use crate::support::house::House;

const DEGRADED: &str = "app.status.health.status == 'Degraded'";

/// How upstream names what it has told.
fn key(once: &str, trigger: &str, when: &str, to: &str) -> String {
    let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha1::digest(when.as_bytes()));
    let once = if once.is_empty() { String::new() } else { format!("{once}:") };
    format!("{once}{trigger}:[0].{hash}:{to}")
}

/// How upstream writes its annotation: Go's encoder sorts keys and escapes three characters.
fn written(keys: &[String]) -> String {
    let entries: BTreeMap<&String, i64> = keys.iter().map(|key| (key, 1767225600)).collect();
    let text = serde_json::to_string(&entries).expect("JSON");
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Triggers of every shape: with a revision, without `oncePer`, with one that is nil, always true.
fn triggers() -> [(&'static str, &'static str, &'static str); 4] {
    let failed = "app.status.operationState?.phase in ['Failed']";
    let revision = "app.status.operationState.syncResult.revision";
    [
        ("on-failed", failed, revision),
        ("on-degraded", DEGRADED, ""),
        ("on-nil", "app.metadata.name != 'x'", "app.metadata.labels.none"),
        ("on-new", "true", "app.metadata.name"),
    ]
}

async fn configured(stage: &Stage) {
    let mut config = stage.services();
    config.insert("template.x".into(), "message: 'about {{.app.metadata.name}}.'".into());
    for (name, when, once) in triggers() {
        config.insert(format!("trigger.{name}"), format!("- when: {when}\n  oncePer: {once}\n  send: [x]"));
    }
    config.insert("subscriptions".into(), "- recipients: [hook]\n  triggers: [on-new]\n  selector: all=yes".into());
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
}

/// An Application in the middle of its life, and what upstream has told of it.
fn told(n: usize) -> (Value, Vec<String>) {
    let name = format!("app-{n:03}");
    let subscribed: Vec<(String, &str)> = triggers()
        .iter()
        .map(|(trigger, ..)| *trigger)
        .filter(|trigger| *trigger != "on-new")
        .flat_map(|trigger| [(format!("{trigger}.slack"), "alerts;<ops & dev>"), (format!("{trigger}.hook"), "")])
        .collect();
    let subscribed: Vec<(&str, &str)> = subscribed.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let mut app = application(&name, &subscribed);
    app["metadata"]["labels"] = json!({ "all": "yes" });
    app["status"] = synced("Failed", "abc123");
    app["status"]["health"]["status"] = json!("Degraded");
    let mut revision = "abc123";
    if n % 4 == 3 {
        // Without a revision: upstream writes the key of a multi-source Application as if there were no `oncePer`.
        app["spec"]["sources"] = json!([{ "repoURL": "a" }, { "repoURL": "b" }]);
        app["status"]["operationState"]["syncResult"] = json!({ "revision": "", "revisions": ["1", "2"] });
        revision = "";
    }
    let mut keys = vec![key(&name, "on-new", "true", "hook:")];
    for (trigger, when, _) in triggers().into_iter().filter(|(trigger, ..)| *trigger != "on-new") {
        let once = match trigger {
            "on-failed" => revision,
            "on-nil" => "<nil>",
            _ => "",
        };
        for to in ["slack:alerts", "slack:<ops & dev>", "hook:"] {
            keys.push(key(once, trigger, when, to));
        }
    }
    (app, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn imp_05_cut_01_cutover_zero_sends() {
    const APPLICATIONS: usize = 500;
    let stage = Stage::new("cutover").await;
    configured(&stage).await;
    let apps = (0..APPLICATIONS).map(|n| {
        let (mut app, keys) = told(n);
        app["metadata"]["annotations"][STATE] = json!(written(&keys));
        app
    });
    stream::iter(apps).for_each_concurrent(16, |app| stage.ns.apply_json(app)).await;
    stage.house.start().await;
    stage.house.until("all are seen", |s| s["applications"]["watched"] == APPLICATIONS).await;
    // News of a few comes behind whatever the first look gave.
    let revisions = json!({ "operationState": { "syncResult": { "revisions": ["1", "3"] } } });
    stage.status("app-499", revisions).await;
    stage.status("app-000", json!({ "operationState": { "syncResult": { "revision": "def456" } } })).await;
    for health in ["Healthy", "Degraded"] {
        stage.status("app-001", json!({ "health": { "status": health } })).await;
    }
    let all = [accepted(&stage, &stage.hook, 3).await, accepted(&stage, &stage.slack, 6).await].concat();
    stage.house.until("all is told", |s| s["outbox"] == json!({ "done": 9 })).await;
    for name in ["app-000", "app-001", "app-499"] {
        assert_eq!(all.iter().filter(|text| text.contains(name)).count(), 3, "{all:?}");
    }
    assert_eq!(all.len(), 9);
    // Only those three are written, each at most once per message and once per turn of health.
    assert!(stage.house.metric("lynceus_notifications_annotation_patches_total").await <= 3.0 * 4.0);
    let status = stage.house.status().await.expect("a status");
    assert_eq!(status["problems"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_02_cutover_then_rollback_roundtrip() {
    let stage = Stage::new("rollback").await;
    configured(&stage).await;
    stage.house.start().await;
    // The hook takes everything, Slack nothing: half is delivered, half is pending.
    stage.slack.always(Some(lynceus::demo::inbox::Fault::status(503)));
    let mut wanted = BTreeMap::new();
    for n in 0..8 {
        let (app, keys) = told(n);
        let name = app["metadata"]["name"].as_str().expect("a name").to_owned();
        stage.ns.apply_json(app).await;
        wanted.insert(name, keys);
    }
    // Four triggers: three for each Application's hook, one by the ConfigMap.
    accepted(&stage, &stage.hook, 8 * 4).await;
    for (name, keys) in &wanted {
        let delivered: Vec<String> = keys.iter().filter(|key| key.ends_with(":hook:")).cloned().collect();
        assert_eq!(delivered.len(), 4);
        // Upstream's reader finds every delivered event under its own names, and none that is pending.
        stage.keys(name, &delivered).await;
        let object = stage.ns.object(ARGO, "Application", name).await.expect("it is there");
        let text = object["metadata"]["annotations"][STATE].as_str().expect("an annotation").to_owned();
        let sent = stage.state(name).await.expect("it reads as a map of integers");
        let again = serde_json::to_string(&sent).expect("JSON");
        assert_eq!(text, again.replace('<', "\\u003c").replace('>', "\\u003e"), "as Go's encoder writes it");
        assert!(sent.values().all(|at| *at > 1_700_000_000 && *at < 10_000_000_000), "{text}");
    }
    let pending = |s: &Value| s["outbox"]["done"] == 8 * 4 && s["outbox"]["retry_at"].as_u64().unwrap_or(0) > 0;
    stage.house.until("half is pending", pending).await;
    assert_eq!(stage.house.stop().await, 0);

    // Upstream tells what is not marked and still true, and marks it.
    for (name, keys) in &wanted {
        let here = stage.state(name).await.expect("an annotation");
        let missing = keys.iter().filter(|key| !here.contains_key(*key)).count();
        assert_eq!(missing, 6, "two channels of three triggers");
        stage.metadata(name, json!({ "annotations": { STATE: written(keys) } })).await;
    }
    // And here again, with nothing known but the annotations: nothing is told twice.
    stage.slack.always(None);
    std::fs::remove_dir_all(stage.house.state()).expect("the old state goes");
    let before = (texts(&stage.hook).len(), texts(&stage.slack).len());
    stage.house.start().await;
    stage.house.until("all are seen", |s| s["applications"]["watched"] == 8).await;
    stage.status("app-000", json!({ "operationState": { "syncResult": { "revision": "next" } } })).await;
    accepted(&stage, &stage.hook, before.0 + 1).await;
    stage.house.until("only the news", |s| s["outbox"] == json!({ "done": 3 })).await;
    assert_eq!((texts(&stage.hook).len(), texts(&stage.slack).len()), (before.0 + 1, before.1 + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_01_second_controller_detected() {
    let stage = Stage::new("second").await;
    configured(&stage).await;
    let (mut app, keys) = told(0);
    app["metadata"]["annotations"][STATE] = json!(written(&keys));
    stage.ns.apply_json(app).await;
    stage.house.start().await;
    stage.house.until("it is seen", |s| s["applications"]["watched"] == 1).await;
    // Our own work is none of it: a new revision, told and written.
    stage.status("app-000", json!({ "operationState": { "syncResult": { "revision": "ours" } } })).await;
    let when = triggers()[0].1;
    let ours = ["slack:alerts", "slack:<ops & dev>", "hook:"].map(|to| key("ours", "on-failed", when, to));
    stage.keys("app-000", &[keys.clone(), ours.to_vec()].concat()).await;
    let status = stage.house.status().await.expect("a status");
    assert!(House::problems(&status, "SecondController").is_empty(), "{status}");
    // Somebody else marks what it has told.
    let theirs = key("theirs", "on-failed", when, "hook:");
    let all = [keys.clone(), ours.to_vec(), vec![theirs]].concat();
    stage.metadata("app-000", json!({ "annotations": { STATE: written(&all) } })).await;
    let said = |s: &Value| House::problems(s, "SecondController").iter().any(|text| text.contains("/app-000"));
    stage.house.until("it is said", said).await;
    // It is ours that stands there in the end, and nothing was sent for it.
    stage.keys("app-000", &[keys, ours.to_vec()].concat()).await;
    assert_eq!(texts(&stage.hook).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrb_05_without_the_annotation_the_ledger_alone_prevents_repeats() {
    let mut stage = Stage::new("unwritten").await;
    stage.house = stage.house.with(["--write-state-annotation=false"]);
    configured(&stage).await;
    stage.ns.apply_json(told(0).0).await;
    for start in 0..2 {
        stage.house.start().await;
        accepted(&stage, &stage.hook, 4).await;
        accepted(&stage, &stage.slack, 6 + start).await;
        stage.metadata("app-000", json!({ "labels": { "turn": start.to_string() } })).await;
        // Another Application comes behind it.
        stage.ns.apply_json(application(&format!("last-{start}"), &[("on-new.slack", "last")])).await;
        accepted(&stage, &stage.slack, 7 + start).await;
        stage.house.until("all is done", |s| s["outbox"] == json!({ "done": 11 + start })).await;
        assert_eq!(stage.house.stop().await, 0);
        assert_eq!(stage.state("app-000").await, None, "nobody wrote it");
        assert_eq!((texts(&stage.hook).len(), texts(&stage.slack).len()), (4, 7 + start), "start {start}");
    }
}
