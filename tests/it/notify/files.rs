//! Without a cluster: Applications and all configuration from files, read again when they change.

use lynceus::demo::inbox::{Inbox, Manners};
use serde_json::json;

use super::stage::*;
use crate::support::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn prb_04_standalone_files() {
    let hook = Inbox::start(Manners::default()).await.expect("a receiver");
    let house = House::new();
    let mut app = application("web", &[("on-x.hook", ""), ("on-late.hook", "")]);
    app["metadata"]["namespace"] = json!("argocd");
    app["status"] = synced("Failed", "rev1");
    house.file("applications/web.yaml", &app.to_string());
    let mut data = json!({
        "service.webhook.hook": format!("url: {}/$path", hook.url()),
        "template.x": "message: '{{.app.metadata.name}} by {{index .context \"by\"}}'",
        "trigger.on-x": "- when: app.status.operationState.phase == 'Failed'\n  send: [x]",
        "context": "by: file",
    });
    let document = |data: &serde_json::Value| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-notifications-cm" }, "data": data })
            .to_string()
    };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "argocd-notifications-secret" },
        "stringData": { "path": "hook" },
    });
    let paths = [house.file("cm.yaml", &document(&data)), house.file("secret.yaml", &secret.to_string())];
    let applications = house.folder().join("applications");
    let house = house.with([
        "--standalone".to_owned(),
        "--images=off".to_owned(),
        format!("--applications={}", applications.display()),
        format!("--config-map={}", paths[0].display()),
        format!("--secret={}", paths[1].display()),
    ]);
    house.start().await;
    let arrived = |count: usize| hook.wait(PATIENCE, move |accepted, _| accepted.len() >= count);
    assert!(arrived(1).await, "{}", house.log());
    assert_eq!(texts(&hook), ["web by file"]);
    // A new trigger, in a file with a broken document behind.
    data["trigger.on-late"] = json!("- when: 'true'\n  oncePer: app.metadata.name\n  send: [x]");
    data["context"] = json!("by: reload");
    house.file("cm.yaml", &format!("{}\n---\nkind: [\n", document(&data)));
    assert!(arrived(2).await, "{}", house.log());
    assert_eq!(texts(&hook)[1], "web by reload");
    house.until("it is said", |s| !House::problems(s, "YamlInvalid").is_empty()).await;
    // Nothing of it is readable any more: what it held stays in force.
    house.file("cm.yaml", "kind: [\n");
    app["metadata"]["annotations"]["notifications.argoproj.io/subscribe.on-late.hook"] = json!("again");
    house.file("applications/web.yaml", &app.to_string());
    assert!(arrived(3).await, "{}", house.log());
    assert_eq!(texts(&hook)[2], "web by reload");
    house.until("still said", |s| !House::problems(s, "YamlInvalid").is_empty()).await;
    // Mended: nothing is left to say, and nothing is told again.
    house.file("cm.yaml", &document(&data));
    house.until("over", |s| s["problems"] == json!([])).await;
    assert_eq!(texts(&hook).len(), 3);
    assert_eq!(house.stop().await, 0);
}
