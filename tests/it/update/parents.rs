//! Applications that another object manages: what it puts back is not written again.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{ARGO, Stage, application};
use crate::support::control_plane::Ns;
use crate::support::house::House;
use crate::support::wait_for;

fn parameters(tag: &str) -> Value {
    json!([{ "name": "image.tag", "value": tag }, { "name": "replicas", "value": "3" }])
}

async fn tag_of(ns: &Ns) -> String {
    let app = ns.object(ARGO, "Application", "web").await.expect("it is there");
    let all = app["spec"]["source"]["helm"]["parameters"].as_array().expect("parameters").clone();
    let own = all.into_iter().find(|parameter| parameter["name"] == "image.tag").expect("the tag");
    own["value"].as_str().expect("text").to_owned()
}

async fn becomes(ns: &Ns, house: &House, tag: &str) {
    wait_for(&format!("{tag}\n{}", house.log()), Duration::from_secs(30), || async {
        (tag_of(ns).await == tag).then_some(())
    })
    .await;
}

/// What the parent's controller does when it heals the child.
async fn put_back(ns: &Ns, tag: &str) {
    let old = json!({ "spec": { "source": { "helm": { "parameters": parameters(tag) } } } });
    ns.patch(ARGO, "Application", "web", &old).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arg_8_what_a_parent_puts_back_is_held_over_restarts_until_something_is_newer() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    let (ns, house) = stage.installed("parents", "5s").await;
    ns.apply_json(json!({
        "apiVersion": ARGO, "kind": "Application", "metadata": { "name": "apps" },
        "spec": {
            "project": "default", "source": { "repoURL": stage.url(), "path": "apps", "targetRevision": "main" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": ns.name },
            "syncPolicy": { "automated": { "selfHeal": true } },
        },
    }))
    .await;
    let list = format!("app={}:~1.0", stage.image("web"));
    let live = format!("{}:1.0.0", stage.image("web"));
    let mut app = application("web", &stage.url(), "apps/web", &[("image-list", &list)], &[&live]);
    app["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] =
        json!(format!("apps:argoproj.io/Application:{}/web", ns.name));
    app["spec"]["source"]["helm"] = json!({ "parameters": parameters("1.0.0") });
    ns.apply_json(app).await;
    house.start().await;
    becomes(&ns, &house, "1.0.1").await;
    let status = house.until("the warning", |s| !House::problems(s, "parent-reverts").is_empty()).await;
    let warning = House::problems(&status, "parent-reverts").concat();
    assert!(
        warning.contains(&format!("Application {}/apps", ns.name)) && warning.contains("will put back"),
        "{warning}"
    );

    put_back(&ns, "1.0.0").await;
    let held = |s: &Value| s["images"]["byState"]["held"] == 1;
    house.until("it is held", held).await;
    house.rounds(2).await;
    assert_eq!(tag_of(&ns).await, "1.0.0", "not written again");
    let events = house.events("held").await;
    assert_eq!((events.len(), &events[0]["reason"]), (1, &json!("reverted-by-parent")), "{events:?}");
    assert_eq!(house.events("committed").await.len(), 1);
    assert_eq!(house.metric("lynceus_held{reason=\"reverted-by-parent\"}").await, 1.0);
    // A warning is no event (EVT-4).
    assert_eq!(house.events("failed").await.len() + house.events("refused").await.len(), 0);

    assert_eq!(house.stop().await, 0);
    house.start().await;
    house.until("it is still held", held).await;
    house.rounds(1).await;
    assert_eq!((tag_of(&ns).await, house.events("committed").await.len()), ("1.0.0".to_owned(), 1));

    // A newer candidate ends the hold; so does a change of the parent.
    stage.tag("web", "1.0.2").await;
    becomes(&ns, &house, "1.0.2").await;
    house.until("the hold is over", |s| s["images"]["byState"]["up-to-date"] == 1).await;
    put_back(&ns, "1.0.0").await;
    house.until("the newer one is held", held).await;
    assert_eq!(house.events("held").await.len(), 2);
    let mended = json!({ "spec": { "syncPolicy": { "automated": { "selfHeal": false } } } });
    ns.patch(ARGO, "Application", "apps", &mended).await;
    becomes(&ns, &house, "1.0.2").await;
    house
        .until("a mild warning", |s| {
            let texts = House::problems(s, "parent-reverts").concat();
            texts.contains("may put the old value back")
        })
        .await;
    // Written three times, told three times.
    wait_for("three changes", Duration::from_secs(10), || async {
        (house.events("committed").await.len() == 3).then_some(())
    })
    .await;
    assert_eq!(house.stop().await, 0);
}
