//! Both halves in one process: what the image half does becomes messages, a failure and its end each once.

use std::time::Duration;

use lynceus::demo::inbox::{Accepted, Inbox, Item, Manners};
use serde_json::json;

use super::stage::{Stage, repository_secret};
use crate::support::control_plane::ControlPlane;
use crate::support::house::House;

fn texts(accepted: &[Accepted]) -> Vec<String> {
    let body = |accepted: &Accepted| match &accepted.what {
        Item::Webhook { body, .. } => body.trim().to_owned(),
        other => panic!("{other:?}"),
    };
    accepted.iter().map(body).collect()
}

async fn told(house: &House, inbox: &Inbox, count: usize) -> Vec<String> {
    let there = inbox.wait(Duration::from_secs(60), |accepted, _| accepted.len() >= count).await;
    let texts = texts(&inbox.accepted());
    assert!(there, "{count}: {texts:?}\n{}", house.log());
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn img_01_image_failed_then_recovered() {
    let stage = Stage::new().await;
    let inbox = Inbox::start(Manners::default()).await.expect("a receiver");
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let ns = ControlPlane::get().await.namespace("image-told").await;
    let kubeconfig = ns.apply_deploy("base").await;
    let secret = |password: &str| {
        repository_secret("repository", &stage.url(), &[("username", "robot"), ("password", password)])
    };
    ns.apply_json(secret("wrong")).await;
    ns.apply_json(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-notifications-cm" },
        "data": { "service.webhook.hook": format!("url: {}/hook", inbox.url()) },
    }))
    .await;
    let mut app = stage.helm_app("web", "~1.0");
    for trigger in ["on-image-updated", "on-image-update-failed", "on-image-recovered"] {
        let key = format!("lynceus.dev/notify-subscribe.{trigger}.hook");
        app["metadata"]["annotations"][key.as_str()] = json!("");
    }
    ns.apply_json(app).await;
    let house = House::new().trusting(&stage.git.ca()).variable("POD_NAMESPACE", &ns.name);
    let registries = house.file("registries.conf", &stage.registries());
    let house = house.with([
        format!("--registries-conf-path={}", registries.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--interval=1s".to_owned(),
    ]);
    house.start().await;
    let first = told(&house, &inbox, 1).await;
    assert!(first[0].starts_with("Image updates of application web failed (git-auth): "), "{first:?}");
    house.rounds(3).await;
    assert_eq!(texts(&inbox.accepted()).len(), 1, "once until it has recovered");

    ns.apply_json(secret("secret")).await;
    let mut rest = told(&house, &inbox, 3).await.split_off(1);
    rest.sort();
    assert!(rest[1].starts_with("Image updates of application web work again (git-auth, after "), "{rest:?}");
    let image = stage.image("web");
    assert!(
        rest[0].starts_with(&format!("Image {image} of application web was updated from 1.0.0 to 1.0.1.")),
        "{rest:?}"
    );
    house.rounds(2).await;
    let failed = house.events("failed").await;
    let recovered = house.events("recovered").await;
    assert_eq!((failed.len(), recovered.len()), (1, 1), "{failed:?} {recovered:?}");
    assert_eq!(texts(&inbox.accepted()).len(), 3);
    assert_eq!(house.stop().await, 0);
}
