//! What happens to events when the ground moves: certificates, the disk, the store, the rules and the Applications.

use std::time::{Duration, Instant};

use lynceus::demo::inbox::{Fault, Inbox, Manners};
use serde_json::json;

use super::stage::*;
use crate::support::house::House;
use crate::support::wait_for;

/// A server's configuration for 127.0.0.1 and the certificate it shows.
fn certificate() -> (std::sync::Arc<rustls::ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    (std::sync::Arc::new(config.unwrap()), made.cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn http_02_private_roots_by_the_api_and_by_the_mounted_folder_are_effective_while_it_runs() {
    let stage = Stage::new("roots").await;
    let (tls, pem) = certificate();
    let (_, foreign) = certificate();
    let manners = Manners { tls: Some(tls), encrypted_web: true, ..Manners::default() };
    let inbox = Inbox::start(manners).await.expect("a receiver");
    let mut config = stage.services();
    let url = format!("https://127.0.0.1:{}/", inbox.web().port());
    config.insert("service.webhook.tls".into(), format!("url: {url}"));
    config.insert("trigger.on-x".into(), "- when: 'true'\n  oncePer: app.metadata.labels.n\n  send: [x]".into());
    config.insert("template.x".into(), "message: '{{.app.metadata.labels.n}}'".into());
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let certificates = async |data: serde_json::Value| {
        let meta = json!({ "name": "argocd-tls-certs-cm" });
        stage.ns.apply_json(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data })).await;
    };
    let mut app = application("web", &[("on-x.tls", "")]);
    app["metadata"]["labels"] = json!({ "n": "1" });
    stage.ns.apply_json(app).await;
    stage.house.start().await;
    let untrusted = |s: &serde_json::Value| {
        House::problems(s, "DeliveryRejected").iter().any(|text| text.contains("certificate not trusted"))
    };
    stage.house.until("nobody vouches for it", untrusted).await;

    let begun = Instant::now();
    certificates(json!({ "127.0.0.1": pem, "other.test": "nonsense" })).await;
    accepted(&stage, &inbox, 1).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "not by the quarter of an hour: {:?}", begun.elapsed());
    let invalid = |s: &serde_json::Value| !House::problems(s, "PrivateRootInvalid").is_empty();
    stage.house.until("the other entry is said", invalid).await;

    // Another authority alone: the old one is not believed any more, on new connections.
    certificates(json!({ "127.0.0.1": foreign })).await;
    stage.house.until("repaired", |s| s["problems"] == json!([])).await;
    stage.metadata("web", json!({ "labels": { "n": "2" } })).await;
    stage.house.until("the right one is gone", untrusted).await;
    stage.ns.delete("v1", "ConfigMap", "argocd-tls-certs-cm").await;
    stage.house.file("tls/127.0.0.1", &pem);
    assert_eq!(accepted(&stage, &inbox, 2).await, ["1", "2"]);
}

/// The file's write lock is held by somebody else, as a hung disk would have it: nothing can be written down.
#[tokio::test(flavor = "multi_thread")]
async fn out_11_a_store_that_cannot_be_written_stops_sending_and_readiness_but_not_observation() {
    let stage = Stage::new("stuck-store").await;
    let mut config = stage.services();
    config.insert("trigger.on-x".into(), "- when: 'true'\n  oncePer: app.metadata.labels.n\n  send: [x]".into());
    config.insert("template.x".into(), "message: '{{.app.metadata.labels.n}}'".into());
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let app = |name: &str| {
        let mut app = application(name, &[("on-x.hook", "")]);
        app["metadata"]["labels"] = json!({ "n": name });
        app
    };
    stage.ns.apply_json(app("before")).await;
    stage.house.start().await;
    accepted(&stage, &stage.hook, 1).await;
    stage.house.until("recorded", |s| s["outbox"] == json!({ "done": 1 })).await;

    let blocker = rusqlite::Connection::open(stage.house.state().join("state.db")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    stage.ns.apply_json(app("during")).await;
    stage.house.until("it is observed all the same", |s| s["applications"]["watched"] == 2).await;
    let failed = |s: &serde_json::Value| !House::problems(s, "StoreFailed").is_empty();
    stage.house.until("it is said", failed).await;
    assert!(stage.house.answer("readyz").await.is_some(), "a short trouble is none");
    wait_for("readiness is taken back", Duration::from_secs(90), || async {
        stage.house.answer("readyz").await.is_none().then_some(())
    })
    .await;
    assert!(begun.elapsed() >= Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(stage.house.answer("healthz").await.is_some(), "a restart would not mend the disk");
    assert_eq!(texts(&stage.hook), ["before"], "nothing is sent that is not durable");
    assert!(stage.house.metric("lynceus_notifications_store_errors_total").await > 0.0);

    blocker.execute_batch("ROLLBACK").unwrap();
    assert_eq!(accepted(&stage, &stage.hook, 2).await, ["before", "during"]);
    stage.house.until("well again", |s| s["notReady"] == json!([]) && s["problems"] == json!([])).await;
    assert!(stage.house.answer("readyz").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn out_15_after_the_loss_of_the_state_what_was_told_stays_told_and_what_was_pending_is_sent() {
    let stage = Stage::new("lost-state").await;
    stage.configure(&stage.services()).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let mut app = application("web", &[("on-sync-failed.slack", "alerts"), ("on-sync-failed.hook", "")]);
    app["status"] = synced("Failed", "rev1");
    stage.hook.always(Some(Fault::status(503)));
    stage.ns.apply_json(app).await;
    stage.house.start().await;
    let key = |to: &str| format!("rev1:on-sync-failed:{SYNC_FAILED}:{to}");
    stage.keys("web", &[key("slack:alerts")]).await;
    stage.house.kill();
    std::fs::remove_dir_all(stage.house.state()).unwrap();
    stage.hook.always(None);
    stage.house.start().await;
    stage.keys("web", &[key("slack:alerts"), key("hook:")]).await;
    assert_eq!((texts(&stage.slack).len(), texts(&stage.hook).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn out_16_pending_events_outlive_trigger_subscription_and_application() {
    let stage = Stage::new("outlive").await;
    let mut config = stage.services();
    config.insert("trigger.on-x".into(), "- when: 'true'\n  send: [x]".into());
    config.insert("template.x".into(), "message: '{{.app.metadata.name}}'".into());
    stage.configure(&config).await;
    stage.hook.always(Some(Fault::status(503)));
    for name in ["kept", "unsubscribed", "deleted"] {
        stage.ns.apply_json(application(name, &[("on-x.hook", "")])).await;
    }
    stage.house.start().await;
    stage.house.until("three are planned", |s| s["outbox"]["retry_at"] == 3).await;
    config.remove("trigger.on-x");
    config.remove("template.x");
    stage.configure(&config).await;
    let gone = json!({ "annotations": { "notifications.argoproj.io/subscribe.on-x.hook": null } });
    stage.metadata("unsubscribed", gone).await;
    stage.ns.delete(ARGO, "Application", "deleted").await;
    stage.house.until("it is seen", |s| s["applications"]["watched"] == 2).await;
    assert_eq!(stage.house.stop().await, 0);
    stage.hook.always(None);
    stage.house.start().await;
    let mut all = accepted(&stage, &stage.hook, 3).await;
    all.sort();
    assert_eq!(all, ["deleted", "kept", "unsubscribed"]);
}

/// Argo CD reads triggers, services and templates from the ConfigMap by its own rules: it must find there what people
/// wrote, and our own settings only where it does not look.
#[tokio::test(flavor = "multi_thread")]
async fn obs_05_the_config_map_stays_as_people_wrote_it_and_extensions_hide_where_argo_cd_does_not_look() {
    let stage = Stage::new("listing").await;
    let mut config = stage.services();
    let hook = format!("url: {}/hook\nlynceus: {{timeout: 5s, marks: false}}", stage.hook.url());
    config.insert("service.webhook.hook".into(), hook);
    config.insert("trigger.on-x".into(), "- when: 'true'\n  send: [x]\n  lynceus: {severity: info}".into());
    config.insert("template.x".into(), "message: hello\nlynceus: {}".into());
    config.insert("lynceus.anything".into(), "ignored: true".into());
    config.insert("defaultTriggers".into(), "- on-x".into());
    stage.configure(&config).await;
    let object = async || {
        let found = stage.ns.object("v1", "ConfigMap", "argocd-notifications-cm").await.expect("it is there");
        (found["data"].clone(), found["metadata"]["resourceVersion"].clone())
    };
    let before = object().await;
    stage.ns.apply_json(application("web", &[("on-x.hook", "")])).await;
    stage.house.start().await;
    assert_eq!(accepted(&stage, &stage.hook, 1).await, ["hello"], "with every extension in place");
    stage.house.until("done", |s| s["outbox"] == json!({ "done": 1 })).await;
    assert_eq!(object().await, before, "nobody wrote to it");
    // The listing goes by the keys' prefixes: none of ours begins like one of theirs.
    let listed = ["service.", "trigger.", "template."];
    let ours = config.keys().filter(|key| key.starts_with("lynceus"));
    assert_eq!(ours.filter(|key| listed.iter().any(|prefix| key.starts_with(prefix))).count(), 0);
}
