//! Fifty Applications in one repository: one push, one line each, and then silence.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::stage::{ARGO, PREFIX, Stage, changed_lines};
use crate::support::api_front::ApiFront;
use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::house::House;
use crate::support::real::Access;
use crate::support::wait_for;

const APPS: usize = 50;

fn names() -> Vec<String> {
    (0..APPS).map(|n| format!("app-{n:02}")).collect()
}

/// Everything in place, each image with one new tag; the daemon is not started.
async fn fifty(label: &str) -> (Stage, Ns, House) {
    let stage = Stage::new().await;
    let names = names();
    futures::stream::iter(&names)
        .for_each_concurrent(8, |name| {
            let stage = &stage;
            async move { stage.push(name, &["1.0.0", "1.0.1"]).await }
        })
        .await;
    let files: Vec<(String, String)> =
        names.iter().map(|name| (format!("apps/{name}/values.yaml"), stage.values(name, "1.0.0"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    stage.repository.commit("main", "first", &files);
    let (ns, house) = stage.installed(label, "4s").await;
    futures::stream::iter(&names).for_each_concurrent(8, |name| ns.apply_json(stage.helm_app(name, "~1.0"))).await;
    stage.front.requests();
    stage.git.requests();
    (stage, ns, house)
}

async fn versions(ns: &Ns) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for name in names() {
        let app = ns.object(ARGO, "Application", &name).await.expect("it is there");
        versions.insert(name, app["metadata"]["resourceVersion"].as_str().expect("a version").to_owned());
    }
    versions
}

/// The Events about Applications. The API server writes one of its own about a Service whose address its repair loop has
/// not seen yet.
async fn events(ns: &Ns) -> Vec<Event> {
    let api: Api<Event> = Api::default_namespaced(ns.admin.clone());
    let all = api.list(&ListParams::default()).await.expect("an answer").items;
    all.into_iter().filter(|event| event.involved_object.kind.as_deref() == Some("Application")).collect()
}

fn pushes(requests: &[String]) -> usize {
    requests.iter().filter(|request| request.contains("POST") && request.ends_with("/git-receive-pack")).count()
}

/// Every Application was told to refresh, and has one Kubernetes Event of upstream's form (GIT-14, §22).
async fn told(stage: &Stage, ns: &Ns) {
    let events = wait_for("fifty events", Duration::from_secs(20), || async {
        let events = events(ns).await;
        (events.len() >= APPS).then_some(events)
    })
    .await;
    let told: Vec<_> = events.iter().map(|e| (&e.metadata.name, &e.reason, &e.message)).collect();
    assert_eq!(events.len(), APPS, "{told:?}");
    for name in names() {
        let app = ns.object(ARGO, "Application", &name).await.expect("it is there");
        assert_eq!(app["metadata"]["annotations"]["argocd.argoproj.io/refresh"], "normal", "{name}");
        let own: Vec<&Event> = events.iter().filter(|e| e.involved_object.name.as_ref() == Some(&name)).collect();
        assert_eq!(own.len(), 1, "{name}");
        let event = own[0];
        assert_eq!(event.involved_object.kind.as_deref(), Some("Application"));
        assert_eq!(event.involved_object.uid.as_deref(), app["metadata"]["uid"].as_str());
        assert_eq!((event.type_.as_deref(), event.reason.as_deref()), (Some("Normal"), Some("ImagesUpdated")));
        assert_eq!(event.message.as_deref(), Some(format!("Successfully updated application '{name}'").as_str()));
        let annotations = event.metadata.annotations.clone().expect("annotations");
        let of = |key: &str| annotations[&format!("argocd-image-updater.image-0/{key}")].clone();
        assert_eq!((of("full-image-name"), of("image-name")), (stage.image(&name), format!("team/{name}")));
        assert_eq!((of("old-tag"), of("new-tag")), ("1.0.0".into(), "1.0.1".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_7_git_7_git_8_git_14_compat_q25_fifty_apps_one_push_and_cyc_5_a_quiet_round() {
    let (stage, ns, house) = fifty("fifty").await;
    house.start().await;
    let status = house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
    assert_eq!((&status["applications"]["governed"], &status["images"]["total"]), (&50.into(), &50.into()), "{status}");
    assert_eq!(status["problems"], serde_json::json!([]), "{}", house.log());

    let requests = stage.git.requests();
    assert_eq!(pushes(&requests), 1, "{requests:?}");
    let log = stage.repository.log("main");
    assert_eq!(log.len(), 1 + APPS);
    // Ordered by namespace and name, each the parent of the next, and each one line of one file.
    for (name, commit) in names().iter().zip(log[..APPS].iter().rev()) {
        let diff = stage.repository.diff(commit);
        let changed = changed_lines(&diff);
        let lines = (vec!["    tag: \"1.0.0\" # quoted on purpose"], vec!["    tag: \"1.0.1\" # quoted on purpose"]);
        assert_eq!(changed, lines, "{diff}");
        assert!(diff.contains(&format!("+++ b/apps/{name}/values.yaml")), "{diff}");
        let message = stage.repository.message(commit);
        assert!(message.contains(&format!("Lynceus-Application: {}/{name}", ns.name)), "{message}");
        assert_eq!(stage.repository.read("main", &format!("apps/{name}/values.yaml")), stage.values(name, "1.0.1"));
    }
    stage.repository.check();
    told(&stage, &ns).await;
    let committed = house.events("committed").await;
    assert_eq!(committed.len(), APPS);
    assert_eq!(house.events("found").await.len(), APPS);
    assert_eq!(house.history().await.len(), 2 * APPS, "found and committed, nothing else");

    // The rounds after it: what upstream would write again is not even asked for.
    house.rounds(1).await;
    let before = versions(&ns).await;
    stage.front.requests();
    stage.git.requests();
    house.rounds(1).await;
    let (asked, git) = (stage.front.requests(), stage.git.requests());
    let listings: Vec<&String> = asked.iter().filter(|request| request.contains("/tags/list")).collect();
    assert_eq!((listings.len(), asked.len()), (APPS, APPS), "{asked:?}");
    assert_eq!(git, ["GET /config.git/info/refs?service=git-upload-pack"]);
    assert_eq!(versions(&ns).await, before, "nothing was written to the API");
    assert_eq!(events(&ns).await.len(), APPS);
    assert_eq!(house.history().await.len(), 2 * APPS);
    assert_eq!(stage.repository.log("main").len(), 1 + APPS);
    assert_eq!(house.metric("argocd_image_updater_images_updated_total").await, 50.0);
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn git_8_commit_per_push_is_one_commit_of_fifty_lines() {
    let (stage, ns, house) = fifty("fifty-in-one").await;
    let house = house.with(["--git-commit-per=push"]);
    house.start().await;
    house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
    assert_eq!(pushes(&stage.git.requests()), 1);
    let log = stage.repository.log("main");
    assert_eq!(log.len(), 2);
    let diff = stage.repository.diff(&log[0]);
    let (gone, new) = changed_lines(&diff);
    assert_eq!((gone.len(), new.len()), (APPS, APPS), "{diff}");
    for name in names() {
        assert_eq!(stage.repository.read("main", &format!("apps/{name}/values.yaml")), stage.values(&name, "1.0.1"));
    }
    let message = stage.repository.message(&log[0]);
    assert_eq!(message.matches("Lynceus-Application: ").count(), APPS, "{message}");
    assert_eq!(message.matches("Lynceus-Image: ").count(), APPS, "{message}");
    stage.repository.check();
    told(&stage, &ns).await;
    let committed = house.events("committed").await;
    assert_eq!(committed.len(), APPS);
    let all = |event: &Value| event["commit"]["sha"] == log[0].as_str();
    assert!(committed.iter().all(all));
    // Of the commit's message each event has its own Application's part: all of it in all of them would be its square.
    for event in &committed {
        let message = event["commit"]["message"].as_str().expect("a message");
        let app = event["application"].as_str().expect("an Application");
        assert_eq!(message.matches("Lynceus-Application: ").count(), 1, "{message}");
        assert!(message.contains(&format!("Lynceus-Application: {app}\n")), "{message}");
    }
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_5_a_round_reads_a_secret_once_however_many_images_and_applications_name_it() {
    let stage = Stage::with(Access::Basic("robot".to_owned(), "pass".to_owned())).await;
    let plane = ControlPlane::get().await;
    let (front, ns) = (ApiFront::start(plane.port()).await, plane.namespace("secrets-once").await);
    let names = ["a", "b", "c", "d"];
    for name in names {
        stage.push(name, &["1.0.0"]).await;
        stage.repository.commit(
            "main",
            "first",
            &[(&format!("apps/{name}/values.yaml"), &stage.values(name, "1.0.0"))],
        );
        let mut app = stage.helm_app(name, "~1.0");
        app["metadata"]["annotations"][format!("{PREFIX}app.pull-secret")] =
            json!(format!("secret:{}/pull#login", ns.name));
        app["metadata"]["annotations"][format!("{PREFIX}write-back-method")] =
            json!(format!("git:secret:{}/push", ns.name));
        ns.apply_json(app).await;
    }
    for (name, data) in
        [("pull", json!({ "login": "robot:pass" })), ("push", json!({ "username": "robot", "password": "secret" }))]
    {
        let metadata = json!({ "name": name });
        ns.apply_json(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data })).await;
    }
    let direct = std::fs::read_to_string(ns.apply_deploy("base").await).expect("a kubeconfig");
    let house = stage.house().variable("POD_NAMESPACE", &ns.name);
    let port = |port: u16| format!("127.0.0.1:{port}");
    let kubeconfig = house.file("kubeconfig", &direct.replace(&port(plane.port()), &port(front.port())));
    let house = house.with([format!("--kubeconfig={}", kubeconfig.display()), "--interval=3s".to_owned()]);
    house.start().await;
    house.rounds(1).await;
    front.calls();
    let status = house.rounds(1).await;
    let calls = front.calls();
    let read = |name: &str| calls.iter().filter(|call| call.ends_with(&format!("/{}/secrets/{name}", ns.name))).count();
    assert_eq!((read("pull"), read("push")), (1, 1), "{calls:?}");
    assert_eq!(status["images"]["byState"], json!({ "up-to-date": names.len() }), "{status}");
    assert_eq!(house.stop().await, 0);
}
