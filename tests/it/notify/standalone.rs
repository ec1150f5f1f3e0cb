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
