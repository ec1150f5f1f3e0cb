//! Bad input of the notification half: each with a clear problem, none with an effect on its neighbours.

use serde_json::json;

use super::stage::*;
use crate::support::house::House;
use crate::support::process::free_port;

#[tokio::test(flavor = "multi_thread")]
async fn p_5_cfg_14_cfg_15_ew_each_bad_thing_is_said_and_the_others_work() {
    let stage = Stage::new("bad").await;
    let mut config = stage.services();
    let closed = free_port();
    let mut set = |key: &str, text: &str| config.insert(key.to_owned(), text.to_owned());
    set("service.email", &format!("host: 127.0.0.1\nport: {closed}\nfrom: a@example.com"));
    set("service.pigeon", "coop: 1");
    set("service.webhook.broken", "url: [");
    set("template.broken", "message: '{{.app'");
    set("subscriptions", "- recipients: [hook:]\n  triggers: [on-nothing]\n- recipients: 5");
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "wrong")]).await;
    stage.slack.always(Some(lynceus::demo::inbox::Fault::Slack("invalid_auth".into())));
    for n in 0..12 {
        let subscribed = [
            ("on-sync-failed.email", "ops@example.com"),
            ("on-sync-failed.slack", "alerts"),
            ("on-sync-failed.pager", "me"),
            ("on-sync-failed.pigeon", "coop"),
            ("on-sink-failed.hook", ""),
            ("on-sync-failed.hook", ""),
        ];
        let mut app = application(&format!("app-{n:02}"), &subscribed);
        app["status"] = synced("Failed", "rev1");
        stage.ns.apply_json(app).await;
    }
    let mut odd = application("odd", &[("on-sync-failed.hook", "")]);
    odd["metadata"]["annotations"]["notifications.argoproj.io/subscriptions"] = json!("{");
    odd["metadata"]["annotations"][STATE] = json!("{");
    odd["status"] = synced("Failed", "rev1");
    stage.ns.apply_json(odd).await;
    stage.house.start().await;
    assert_eq!(accepted(&stage, &stage.hook, 13).await.len(), 13);

    for (code, wanted) in [
        ("ServiceUndefined", "12 Applications: there is no service `pager`; subscribed by bad-"),
        ("TriggerUndefined", "12 Applications: there is no trigger `on-sink-failed`; subscribed by bad-"),
        ("TriggerUndefined", "did you mean `on-sync-failed`?"),
        ("TriggerUndefined", "there is no trigger `on-nothing`"),
        ("ServiceTypeUnknown", "pigeon"),
        ("DeliveryRejected", "service slack: "),
        ("DeliveryRejected", "invalid_auth"),
        ("DeliveryFailing", "service email: "),
        ("SubscriptionList", "odd: "),
    ] {
        let found = |status: &serde_json::Value| House::problems(status, code).join("\n").contains(wanted);
        stage.house.until(&format!("{code} with `{wanted}`"), found).await;
    }
    // Said at the import; by now the annotation is a good one.
    assert!(stage.house.log().contains("StateAnnotationUnreadable"));
    let status = stage.house.status().await.expect("a status");
    assert!(status["stuck"].is_null());
    let undefined = House::problems(&status, "ServiceUndefined");
    assert_eq!(undefined.len(), 1, "one per name: {undefined:?}");
    let keys: Vec<&str> =
        status["problems"].as_array().expect("a list").iter().filter_map(|p| p["key"].as_str()).collect();
    for key in ["service.webhook.broken", "template.broken", "subscriptions"] {
        assert!(keys.iter().any(|found| found.starts_with(key)), "{key}: {keys:?}");
    }
    assert_eq!(texts(&stage.hook).len(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrb_04_dlv_09_without_the_patch_verb_messages_go_out_once_and_it_is_said() {
    let stage = Stage::new("denied").await;
    stage.configure(&stage.services()).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let group = "rbac.authorization.k8s.io/v1";
    let mut role = stage.ns.object(group, "Role", "lynceus").await.expect("the Role");
    let original = role["rules"].clone();
    for rule in role["rules"].as_array_mut().expect("rules") {
        if rule["resources"] == json!(["applications"]) {
            rule["verbs"] = json!(["get", "list", "watch"]);
        }
    }
    stage.ns.patch(group, "Role", "lynceus", &json!({ "rules": role["rules"] })).await;
    stage.ns.apply_json(application("web", &[("on-sync-failed.hook", "")])).await;
    stage.house.start().await;
    let denied = |s: &serde_json::Value| House::problems(s, "AnnotationWriteDenied").join("").contains("patch");
    stage.house.until("it is said before it is missed", denied).await;
    for revision in ["rev1", "rev2"] {
        stage.status("web", synced("Failed", revision)).await;
    }
    accepted(&stage, &stage.hook, 2).await;
    stage.house.until("both are done", |s| s["outbox"] == json!({ "done": 2 })).await;
    stage.house.until("still said", denied).await;
    assert_eq!(stage.house.stop().await, 0);

    // Granted: after the next start the annotation says it all, and nothing is sent again.
    stage.ns.patch(group, "Role", "lynceus", &json!({ "rules": original })).await;
    stage.house.start().await;
    let key = |revision: &str| format!("{revision}:on-sync-failed:{SYNC_FAILED}:hook:");
    stage.keys("web", &[key("rev1"), key("rev2")]).await;
    stage.house.until("over", |s| s["problems"] == json!([])).await;
    assert_eq!(texts(&stage.hook).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rbac_2_a_config_map_that_may_not_be_read_is_said_and_read_when_it_may() {
    let stage = Stage::new("unread").await;
    stage.configure(&stage.services()).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let group = "rbac.authorization.k8s.io/v1";
    let role = stage.ns.object(group, "Role", "lynceus").await.expect("the Role");
    let original = role["rules"].as_array().expect("rules").clone();
    let less: Vec<_> = original.iter().filter(|rule| rule["resources"] != json!(["configmaps"])).collect();
    stage.ns.patch(group, "Role", "lynceus", &json!({ "rules": less })).await;
    let mut app = application("web", &[("on-sync-failed.hook", "")]);
    app["status"] = synced("Failed", "rev1");
    stage.ns.apply_json(app).await;
    stage.house.launch();
    let said = |s: &serde_json::Value| {
        House::problems(s, "kubernetes-unavailable").iter().any(|text| text.contains("configmaps"))
    };
    let waits = |s: &serde_json::Value| {
        s["notReady"] == json!(["configuration", "import"]) && s["applications"]["watched"] == 1
    };
    stage.house.until("it is said, and nothing else waits", |s| said(s) && waits(s)).await;
    stage.ns.patch(group, "Role", "lynceus", &json!({ "rules": original })).await;
    accepted(&stage, &stage.hook, 1).await;
    stage.house.until("over", |s| s["problems"] == json!([]) && s["notReady"] == json!([])).await;
}
