//! What people write, while the daemon runs: effective soon, broken keys keep their last good text, repaired ones free
//! what was parked.

use std::time::{Duration, Instant};

use serde_json::json;

use super::stage::*;
use crate::support::house::House;
use crate::support::real::GitHttp;
use crate::support::relay::Relay;

#[tokio::test(flavor = "multi_thread")]
async fn cfg_01_cfg_03_changes_are_effective_and_broken_keys_keep_their_last_good_text() {
    let stage = Stage::new("config").await;
    let mut config = stage.services();
    let mut set = |key: &str, text: &str| {
        config.insert(key.to_owned(), text.to_owned());
        config.clone()
    };
    set("trigger.on-x", "- when: app.status.health.status == 'Degraded'\n  send: [x]");
    let first = set("template.x", "message: first {{.app.metadata.name}}");
    stage.configure(&first).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let mut app =
        application("web", &[("on-x.hook", ""), ("on-late.hook", ""), ("on-y.slack", "a"), ("on-y.hook", "")]);
    app["status"] = json!({ "health": { "status": "Degraded" } });
    stage.ns.apply_json(app).await;
    stage.house.start().await;
    assert_eq!(accepted(&stage, &stage.hook, 1).await, ["first web"]);

    // A trigger that comes new is effective within 5 s, on the version that is there.
    let start = Instant::now();
    stage.configure(&set("trigger.on-late", "- when: app.metadata.name == 'web'\n  send: [x]")).await;
    accepted(&stage, &stage.hook, 2).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    // Broken in three ways at once: a template, a trigger, a service. The last good texts work, also after a restart.
    set("template.x", "message: [broken");
    set("trigger.on-x", "- when: app.status.health.status ==\n  send: [x]");
    let hook = stage.services()["service.webhook.hook"].clone();
    stage.configure(&set("service.webhook.hook", "url: [")).await;
    let broken = |status: &serde_json::Value| House::problems(status, "LastGoodInForce").len() == 3;
    stage.house.until("the broken keys are said", broken).await;
    for (count, restart) in [(3, false), (4, true)] {
        if restart {
            assert_eq!(stage.house.stop().await, 0);
            stage.house.start().await;
            stage.house.until("still said", broken).await;
        }
        stage.status("web", json!({ "health": { "status": "Healthy" } })).await;
        stage.status("web", json!({ "health": { "status": "Degraded" } })).await;
        assert_eq!(accepted(&stage, &stage.hook, count).await[count - 1], "first web", "{restart}");
    }

    // Repaired and changed: the new text.
    set("service.webhook.hook", &hook);
    set("trigger.on-x", "- when: app.status.health.status == 'Degraded'\n  send: [x]");
    stage.configure(&set("template.x", "message: second")).await;
    stage.house.until("all is well", |s| House::problems(s, "LastGoodInForce").is_empty()).await;
    stage.status("web", json!({ "health": { "status": "Healthy" } })).await;
    stage.status("web", json!({ "health": { "status": "Degraded" } })).await;
    assert_eq!(accepted(&stage, &stage.hook, 5).await[4], "second");
    assert_eq!(texts(&stage.hook).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn section_12_2_parked_events_go_out_when_what_they_need_is_repaired() {
    let stage = Stage::new("parked").await;
    let mut config = stage.services();
    config.insert("trigger.on-x".into(), "- when: 'true'\n  oncePer: app.metadata.uid\n  send: [x]".into());
    // Only a program reads it, so a template that fails is no message.
    let failing = "message: hello\nwebhook:\n  hook:\n    method: POST\n    body: '{{fail \"no\"}}'";
    config.insert("template.x".into(), failing.into());
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "wrong")]).await;
    stage.slack.always(Some(lynceus::demo::inbox::Fault::Slack("invalid_auth".into())));
    let subscribed = [("on-x.hook", ""), ("on-x.slack", "a"), ("on-x.later", "")];
    stage.ns.apply_json(application("web", &subscribed)).await;
    stage.house.start().await;
    let status = stage.house.until("all three wait", |s| s["outbox"]["retry_at"] == 3).await;
    let status = match House::problems(&status, "DeliveryRejected").len() {
        2 => status,
        _ => stage.house.until("both are said", |s| House::problems(s, "DeliveryRejected").len() == 2).await,
    };
    let said = House::problems(&status, "DeliveryRejected").join("\n");
    assert!(said.contains("service hook: not rendered") && said.contains("service slack: "), "{said}");
    assert!(said.contains("invalid_auth"), "{said}");
    let undefined = stage.house.until("undefined", |s| !House::problems(s, "ServiceUndefined").is_empty()).await;
    let undefined = House::problems(&undefined, "ServiceUndefined").join("\n");
    assert!(undefined.contains("1 Application: there is no service `later`"), "{undefined}");

    config.insert("template.x".into(), failing.replace("{{fail \"no\"}}", "{{.app.metadata.name}} well"));
    stage.configure(&config).await;
    assert_eq!(accepted(&stage, &stage.hook, 1).await, ["web well"]);

    config.insert("service.webhook.later".into(), format!("url: {}/later", stage.hook.url()));
    stage.configure(&config).await;
    assert_eq!(accepted(&stage, &stage.hook, 2).await, ["web well", "hello"]);

    // A rotated token.
    stage.slack.always(None);
    stage.secret(&[("slack-token", "xoxb-new")]).await;
    assert_eq!(accepted(&stage, &stage.slack, 1).await, ["hello"]);
    stage.house.until("nothing is wrong", |s| s["problems"] == json!([]) && s["outbox"] == json!({ "done": 3 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_10_sub_12_what_a_project_subscribes_to_is_seen_when_it_changes() {
    let stage = Stage::new("projects").await;
    stage.configure(&stage.services()).await;
    let key = "notifications.argoproj.io/subscribe.on-sync-failed.hook";
    let project = |name: &str, annotations: serde_json::Value| {
        json!({
            "apiVersion": ARGO, "kind": "AppProject", "metadata": { "name": name, "annotations": annotations },
            "spec": { "description": name },
        })
    };
    stage.ns.apply_json(project("default", json!({ key: "" }))).await;
    stage.ns.apply_json(project("other", json!({}))).await;
    for (name, of) in [("web", "default"), ("shop", "other")] {
        let mut app = application(name, &[]);
        app["spec"]["project"] = json!(of);
        app["status"] = synced("Failed", "rev1");
        stage.ns.apply_json(app).await;
    }
    stage.house.start().await;
    assert!(accepted(&stage, &stage.hook, 1).await[0].contains("application web failed"));
    stage.ns.apply_json(project("other", json!({ key: "" }))).await;
    assert!(accepted(&stage, &stage.hook, 2).await[1].contains("application shop failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hlp_01_hlp_05_hlp_06_git_that_cannot_be_reached_makes_conditions_wait_and_messages_go_out() {
    let mut stage = Stage::new("commits").await;
    let git = GitHttp::start("robot", "secret");
    let id = git.repository("config.git").commit("main", "a good change", &[("a", "1")]);
    let url = git.url("config.git");
    let port: u16 = url.split([':', '/']).find_map(|part| part.parse().ok()).expect("a port");
    let relay = Relay::start(port).await;
    let url = url.replace(&port.to_string(), &relay.port().to_string());
    stage.house = stage.house.trusting(&git.ca());
    let labels = json!({ "argocd.argoproj.io/secret-type": "repository" });
    let fields = json!({ "type": "git", "url": url, "username": "robot", "password": "secret" });
    let metadata = json!({ "name": "repository", "labels": labels });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": fields });
    stage.ns.apply_json(secret).await;
    let mut config = stage.services();
    let commit = "repo.GetCommitMetadata(app.status.operationState.syncResult.revision)";
    let conditions = format!(
        "- when: {commit}.Author contains 'Test'\n  send: [slow]\n- when: 'true'\n  oncePer: app.metadata.name\n  send: [fast]"
    );
    config.insert("trigger.on-x".into(), conditions);
    let call = "(call .repo.GetCommitMetadata .app.status.operationState.syncResult.revision)";
    for name in ["slow", "fast"] {
        config.insert(format!("template.{name}"), format!("message: '{name}: {{{{{call}.Message}}}}'"));
    }
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    relay.close();
    let mut app = application("web", &[("on-x.hook", "")]);
    app["spec"]["source"]["repoURL"] = json!(url);
    app["status"] = synced("Failed", &id);
    stage.ns.apply_json(app).await;
    stage.house.start().await;
    // Neither a message nor another condition waits for Git.
    assert_eq!(accepted(&stage, &stage.hook, 1).await, ["fast: (commit information unavailable)"]);
    let said = |s: &serde_json::Value| !House::problems(s, "CommitUnavailable").is_empty();
    stage.house.until("it is said", said).await;
    relay.open();
    assert_eq!(accepted(&stage, &stage.hook, 2).await[1], "slow: a good change");
    stage.house.until("over", |s| s["problems"] == json!([]) && s["outbox"] == json!({ "done": 2 })).await;
}
