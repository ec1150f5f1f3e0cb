//! `--standalone`: Applications, ConfigMap and Secret from files, no cluster at all, and everything read again when it
//! changes.

use serde_json::json;

use super::stage::{application, synced};
use crate::support::house::House;
use lynceus::demo::inbox::{Inbox, Item, Manners};

#[tokio::test(flavor = "multi_thread")]
async fn prb_04_standalone_runs_on_files_and_follows_them() {
    let inbox = Inbox::start(Manners::default()).await.expect("a receiver");
    let house = House::new();
    let config = |message: &str| {
        let data = json!({
            "service.webhook.hook": format!("url: {}/hook\nheaders: [{{name: X-Token, value: $token}}]", inbox.url()),
            "template.app-sync-failed": format!("message: '{message} {{{{.app.metadata.name}}}}'"),
        });
        json!({ "kind": "ConfigMap", "metadata": { "name": "argocd-notifications-cm" }, "data": data }).to_string()
    };
    let secret = json!({ "kind": "Secret", "metadata": { "name": "argocd-notifications-secret" },
        "stringData": { "token": "a-secret-token" } });
    let app = |revision: &str| {
        let mut app = application("web", &[("on-sync-failed.hook", "")]);
        app["metadata"]["namespace"] = json!("argocd");
        app["status"] = synced("Failed", revision);
        app.to_string()
    };
    let config_map = house.file("cm.yaml", &config("first"));
    let secret = house.file("secret.yaml", &secret.to_string());
    house.file("apps/web.json", &app("rev1"));
    let house = house.with([
        "--standalone".to_owned(),
        "--images=off".to_owned(),
        "--applications=apps".to_owned(),
        format!("--config-map={}", config_map.display()),
        format!("--secret={}", secret.display()),
    ]);
    house.start().await;
    let told = |count: usize| {
        let (inbox, house) = (&inbox, &house);
        async move {
            let there = inbox.wait(super::stage::PATIENCE, |accepted, _| accepted.len() >= count).await;
            assert!(there, "{}", house.log());
            let last = inbox.accepted().pop().expect("a message");
            let Item::Webhook { body, headers, .. } = last.what else { panic!("{last:?}") };
            (body, headers["x-token"].clone())
        }
    };
    assert_eq!(told(1).await, ("first web".into(), "a-secret-token".into()));
    house.file("cm.yaml", &config("second"));
    house.until("it is read again", |_| house.log().matches("configuration applied").count() == 2).await;
    house.file("apps/web.json", &app("rev2"));
    assert_eq!(told(2).await.0, "second web");
    // Nothing but files was asked for.
    assert_eq!(house.status().await.expect("a status")["problems"], json!([]));
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn out_09_section_20_dead_letters_are_listed_beside_the_running_daemon() {
    let inbox = Inbox::start(Manners::default()).await.expect("a receiver");
    let house = House::new();
    let hook = |path: &str| format!("url: {}/{path}\nheaders: [{{name: X-Token, value: $token}}]", inbox.url());
    let data = json!({ "service.webhook.hook": hook("hook"), "service.webhook.other": hook("other") });
    let config = json!({ "kind": "ConfigMap", "metadata": { "name": "argocd-notifications-cm" }, "data": data });
    let secret = json!({ "kind": "Secret", "metadata": { "name": "argocd-notifications-secret" },
        "stringData": { "token": "a-secret-token" } });
    let (config, secret) = (house.file("cm.yaml", &config.to_string()), house.file("secret.yaml", &secret.to_string()));
    for name in ["web", "shop"] {
        let mut app = application(name, &[("on-sync-failed.hook", "a"), ("on-health-degraded.other", "")]);
        app["metadata"]["namespace"] = json!("argocd");
        app["status"] = synced("Failed", "rev1");
        app["status"]["health"]["status"] = json!("Degraded");
        house.file(&format!("apps/{name}.json"), &app.to_string());
    }
    inbox.always(Some(lynceus::demo::inbox::Fault::Status {
        code: 400,
        headers: Vec::new(),
        body: "no such field a-secret-token".to_owned(),
    }));
    let house = house.with([
        "--standalone".to_owned(),
        "--images=off".to_owned(),
        "--applications=apps".to_owned(),
        format!("--config-map={}", config.display()),
        format!("--secret={}", secret.display()),
    ]);
    house.start().await;
    house.until("all are dead", |s| s["outbox"] == json!({ "dead": 4 })).await;
    let state = house.state().display().to_string();
    for (filter, count) in [
        (vec![], 4),
        (vec!["--app", "web"], 2),
        (vec!["--app", "argocd/shop", "--trigger", "on-sync-failed"], 1),
        (vec!["--service", "other"], 2),
        (vec!["--trigger", "on-created"], 0),
        (vec!["--limit", "3"], 3),
    ] {
        let arguments = [&["notify", "history", "-o", "json", "--state-dir", &state], &filter[..]].concat();
        let ran = house.command(&arguments).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        let rows = ran.json();
        let rows = rows.as_array().expect("a list");
        assert_eq!(rows.len(), count, "{filter:?}: {}", ran.out);
        for row in rows {
            assert_eq!((&row["reason"], &row["attempts"]), (&json!("rejected"), &json!(1)));
            assert!(row["error"].as_str().is_some_and(|error| error.contains("400")), "{row}");
        }
        assert!(!ran.out.contains("a-secret-token"), "{}", ran.out);
    }
    let text = house.command(&["notify", "history", "--state-dir", &state, "--app", "web", "--service", "hook"]).await;
    assert!(text.out.contains("hook:a") && text.out.contains("rejected (1 attempt)"), "{}", text.out);
    assert_eq!(house.stop().await, 0);
}
