//! `lynceus demo` as people run it, and the API server's stand-in under the same adapter as the real one.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use lynceus::adapters::cluster::{
    Access, AppEvent, Cluster, DocumentEvent, Edit, Error, Namespaces, Note, NoteKind, Refresh,
};
use lynceus::core::application::AppKey;
use lynceus::demo::cluster::ApiServer;
use lynceus::demo::inbox::Item;
use lynceus::demo::{NAMESPACE, Stage};
use serde_json::{Value, json};

use crate::support::tls_provider;

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
    // A proxy that is not there: the demo must not ask one.
    command
        .arg("demo")
        .args(arguments)
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("https_proxy", "http://127.0.0.1:9");
    command.stdin(std::process::Stdio::null()).output().expect("it starts")
}

#[test]
fn demo_tells_the_whole_story_within_its_time_and_in_plain_text() {
    let began = Instant::now();
    let output = demo(&[]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    assert_eq!(errors, "", "the daemon's log is not asked for");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "control codes in {text:?}");
    let mut rest = text.as_str();
    for expected in [
        "stand-ins",
        "nothing to do",
        "pushed registry.example.com/shop/web:1.5.0",
        "found 1.4.2 -> 1.5.0",
        "--- a/web/values-prod.yaml",
        "-  tag: \"1.4.2\"           # kept up to date by Lynceus",
        "+  tag: \"1.5.0\"           # kept up to date by Lynceus",
        "web  Syncing",
        "web  Synced, Healthy",
        "Slack #deployments",
        "Application web now runs a new version",
        "E-mail to shop-team@example.com",
        "Subject: Application web runs a new version",
        "Webhook: POST /deployments",
        "\"application\": \"web\"",
        "-  newTag: main-4be21aa   # newest build of main",
        "+  newTag: main-9c03f7d   # newest build of main",
        "--- a/jobs/.argocd-source-jobs.yaml",
        "api  Sync failed",
        "Slack #alerts",
        "The sync of application api failed",
        "E-mail to on-call@example.com",
        "Subject: Sync of application api failed",
        "\"phase\": \"Failed\"",
        "304 Not Modified",
        "degraded",
        "committed",
        "3 one-line commits",
    ] {
        let Some(at) = rest.find(expected) else { panic!("{expected:?} is missing, or not in its place:\n{text}") };
        rest = &rest[at + expected.len()..];
    }
}

#[test]
fn demo_fails_when_a_step_does_not_happen_in_time() {
    let output = demo(&["--deadline", "1ms"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("the demo did not come to its end"), "{errors}");
    assert_eq!(demo(&["--deadline", "soon"]).status.code(), Some(64));
}

#[tokio::test]
async fn stage_moves_an_application_as_argo_cd_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = Stage::start(folder.path(), Duration::from_millis(20)).await.expect("a stage");
    let word = |app: &Value, path: &str| app.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut names: Vec<String> = stage.applications().iter().map(|app| word(app, "/metadata/name")).collect();
    names.sort();
    assert_eq!(names, ["api", "jobs", "root", "web"], "the root has brought its children");
    assert!(stage.applications().iter().all(|app| word(app, "/status/sync/status") == "Synced"));

    let values = stage.repository.read("main", "web/values-prod.yaml").expect("a file");
    let changed = values.replace("1.4.2", "1.4.3");
    let tip = stage.repository.commit("main", "by hand", &[("web/values-prod.yaml", &changed)]).expect("a commit");
    assert_eq!(stage.tip(), Some(tip.clone()));
    let mut versions = stage.cluster.versions();
    let ask = json!({"argocd.argoproj.io/refresh": "normal"});
    let refresh = |app: &mut Value| merge_annotations(app, &ask);
    assert!(stage.cluster.change("applications", NAMESPACE, "web", refresh));
    let mut states = Vec::new();
    let healthy = async {
        loop {
            let app = stage.application("web").expect("it is there");
            let state = ["/status/sync/status", "/status/operationState/phase", "/status/health/status"];
            let state = state.map(|path| word(&app, path)).join(" ");
            if states.last() != Some(&state) {
                states.push(state.clone());
            }
            if state == "Synced Succeeded Healthy" {
                return app;
            }
            versions.changed().await.expect("the server runs");
        }
    };
    let app = tokio::time::timeout(Duration::from_secs(20), healthy).await.expect("it becomes healthy");
    let expected = [
        "Synced  Healthy",
        "OutOfSync  Healthy",
        "OutOfSync Running Healthy",
        "Synced Succeeded Progressing",
        "Synced Succeeded Healthy",
    ];
    assert_eq!(states, expected);
    assert_eq!(word(&app, "/status/operationState/syncResult/revision"), tip);
    assert_eq!(app["status"]["summary"]["images"], json!(["registry.example.com/shop/web:1.4.3"]));
    assert!(app["metadata"]["annotations"].get("argocd.argoproj.io/refresh").is_none(), "what was asked is taken off");

    stage.fail_next_sync("web", "no room left");
    let changed = values.replace("1.4.2", "1.4.4");
    stage.repository.commit("main", "by hand", &[("web/values-prod.yaml", &changed)]).expect("a commit");
    let failed = async {
        loop {
            let app = stage.application("web").expect("it is there");
            if word(&app, "/status/operationState/phase") == "Failed" {
                return app;
            }
            versions.changed().await.expect("the server runs");
        }
    };
    let app = tokio::time::timeout(Duration::from_secs(20), failed).await.expect("unasked, after a while, it fails");
    assert_eq!(word(&app, "/status/operationState/message"), "no room left");
    assert_eq!(app["status"]["summary"]["images"], json!(["registry.example.com/shop/web:1.4.3"]), "the old one runs");
    assert!(stage.inbox.accepted().iter().all(|a| !matches!(a.what, Item::Mail { .. })), "nobody sends here");
}

fn merge_annotations(app: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        app["metadata"]["annotations"][key] = value.clone();
    }
}

// -- The adapter on the stand-in ----------------------------------------------------------------------------------------

async fn connected() -> (ApiServer, Cluster, tempfile::TempDir) {
    tls_provider();
    let server = ApiServer::start().await.expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, server.kubeconfig("argocd")).expect("a file");
    let cluster = Cluster::connect(Some(&file)).await.expect("a kubeconfig");
    assert_eq!(cluster.own_namespace(), "argocd");
    (server, cluster, folder)
}

fn application(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": name, "namespace": "argocd"},
        "spec": {"project": "default", "source": {"repoURL": "https://git.example.com/a.git", "path": name}},
    })
}

fn key(name: &str) -> AppKey {
    AppKey { namespace: "argocd".into(), name: name.into() }
}

fn word(event: &AppEvent) -> String {
    match event {
        AppEvent::Restarted => "restarted".into(),
        AppEvent::Applied(app) => format!("applied {}", app.key.name),
        AppEvent::Deleted(key, _) => format!("deleted {}", key.name),
        AppEvent::Ready => "ready".into(),
        AppEvent::Undecodable(key, _) => format!("undecodable {}", key.name),
        AppEvent::Down(text) => format!("down {text}"),
        AppEvent::Polled(_) => "polled".into(),
        AppEvent::Up => "up".into(),
    }
}

/// The next `n` events.
async fn words(stream: &mut BoxStream<'static, AppEvent>, n: usize) -> Vec<String> {
    let some = stream.by_ref().take(n).map(|event| word(&event)).collect();
    tokio::time::timeout(Duration::from_secs(20), some).await.expect("events")
}

#[tokio::test]
async fn src_1_stand_in_lists_in_pages_and_watches_like_the_real_one() {
    let (server, cluster, _folder) = connected().await;
    for n in 0..250 {
        server.apply(application(&format!("app-{n:03}"))).expect("a known kind");
    }
    let mut events = cluster.applications(&Namespaces::Own("argocd".into()), None).boxed();
    let told = words(&mut events, 252).await;
    assert_eq!((told[0].as_str(), told[1].as_str(), told[251].as_str()), ("restarted", "applied app-000", "ready"));
    assert_eq!(cluster.requests().reads, 3, "three pages");

    server.apply(application("new")).expect("a known kind");
    server.change("applications", "argocd", "app-007", |app| app["spec"]["project"] = "other".into());
    server.change("applications", "argocd", "app-007", |app| app["spec"]["project"] = "other".into());
    assert!(server.remove("applications", "argocd", "app-001"));
    assert_eq!(words(&mut events, 3).await, ["applied new", "applied app-007", "deleted app-001"]);

    // What is forgotten is listed again; only what changed is told.
    server.remove("applications", "argocd", "app-002");
    server.compact();
    let told = words(&mut events, 3).await;
    let told: Vec<&str> = told.iter().map(String::as_str).filter(|w| *w != "ready").collect();
    assert!(told == ["deleted app-002", "restarted"] || told == ["restarted", "deleted app-002"], "{told:?}");

    let mut selected = cluster.applications(&Namespaces::All, Some("team=a")).boxed();
    assert_eq!(words(&mut selected, 2).await, ["restarted", "ready"]);
    server.change("applications", "argocd", "new", |app| app["metadata"]["labels"] = json!({"team": "a"}));
    assert_eq!(words(&mut selected, 1).await, ["applied new"]);
    server.change("applications", "argocd", "new", |app| app["metadata"]["labels"] = json!({"team": "b"}));
    assert_eq!(words(&mut selected, 1).await, ["deleted new"]);
}

#[tokio::test]
async fn arg_1_stand_in_refuses_patches_for_another_version_or_object() {
    let (server, cluster, _folder) = connected().await;
    server.apply(application("web")).expect("a known kind");
    let read = cluster.application(&key("web")).await.expect("an answer").expect("it is there");
    let version = read.resource_version.clone();
    let patch = json!({"spec": {"project": "one"}});
    let next =
        cluster.patch_application(&key("web"), &version, Edit::Merge(&patch)).await.expect("the current version");
    assert_ne!(next, version);
    let steps = [json!({"op": "replace", "path": "/spec/project", "value": "two"})];
    let stale = cluster.patch_application(&key("web"), &version, Edit::Steps(&steps)).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    let stale = cluster.patch_application(&key("web"), &version, Edit::Merge(&patch)).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    cluster.patch_application(&key("web"), &next, Edit::Steps(&steps)).await.expect("the current version");
    assert_eq!(server.object("applications", "argocd", "web").expect("it is there")["spec"]["project"], "two");

    cluster.write_notified(&key("web"), &read.uid, Some("{}")).await.expect("the right object");
    let other = cluster.write_notified(&key("web"), "another", Some("{}")).await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
    cluster.refresh(&key("web"), Refresh::Normal).await.expect("it is there");
    let annotations =
        server.object("applications", "argocd", "web").expect("it is there")["metadata"]["annotations"].clone();
    assert_eq!(annotations["argocd.argoproj.io/refresh"], "normal");
    let gone = cluster.refresh(&key("gone"), Refresh::Normal).await;
    assert!(matches!(gone, Err(Error::Missing { .. })), "{gone:?}");
    assert!(cluster.application(&key("gone")).await.expect("an answer").is_none());
}

#[tokio::test]
async fn sec_08_stand_in_serves_documents_events_and_access() {
    let (server, cluster, _folder) = connected().await;
    let secret = |name: &str, labels: Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "argocd", "labels": labels},
            "stringData": {"password": "p"},
        })
    };
    server.apply(secret("plain", json!({}))).expect("a known kind");
    server.apply(secret("repo", json!({"argocd.argoproj.io/secret-type": "repository"}))).expect("a known kind");
    server
        .apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "argocd"}, "data": {"a": "b"},
        }))
        .expect("a known kind");
    let read = cluster.secret("argocd", "plain").await.expect("an answer").expect("it is there");
    assert_eq!(read.data["password"].expose_text().expect("text"), "p");
    let mut secrets = cluster.repository_secrets("argocd").boxed();
    assert!(matches!(secrets.next().await, Some(DocumentEvent::Applied(found)) if found.name == "repo"));
    assert!(matches!(secrets.next().await, Some(DocumentEvent::Ready)));
    let mut named = cluster.config_map("argocd", "cm").boxed();
    assert!(matches!(named.next().await, Some(DocumentEvent::Applied(found)) if found.data["a"] == "b"));
    assert!(!cluster.knows_image_updaters().await.expect("an answer"));

    let note = Note {
        app: &key("web"),
        uid: "u",
        version: "1",
        id: "evt_1",
        kind: NoteKind::Normal,
        reason: "ImagesUpdated",
        message: "done",
        annotations: Default::default(),
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    cluster.note(&note).await.expect("recorded");
    cluster.note(&note).await.expect("the same again is one");
    assert_eq!(server.objects("events").len(), 1);

    let access = |verb| Access {
        verb,
        group: "argoproj.io",
        resource: "applications",
        namespace: Some("argocd".into()),
        name: None,
    };
    assert!(cluster.can(&access("patch")).await.expect("an answer"));
    server.forbid("patch", "applications");
    assert!(!cluster.can(&access("patch")).await.expect("an answer"));
    server.apply(application("web")).expect("a known kind");
    let refused = cluster.refresh(&key("web"), Refresh::Normal).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
    server.allow_all();
    cluster.refresh(&key("web"), Refresh::Normal).await.expect("allowed again");
}
