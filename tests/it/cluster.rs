//! The Kubernetes adapter on a real API server, as the ServiceAccount and under the Role that `deploy/` ships.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use lynceus::adapters::cluster::{
    Access, AppEvent, Cluster, DocumentEvent, Edit, Error, Namespaces, Note, NoteKind, Refresh, UpdaterEvent,
};
use lynceus::core::application::AppKey;
use serde_json::{Value, json};

use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::relay::Relay;

const ARGO: &str = "argoproj.io/v1alpha1";

/// A namespace with everything that `deploy/kubernetes/base` holds, and the adapter as its ServiceAccount.
async fn installed(name: &str) -> (Ns, Cluster) {
    let ns = ControlPlane::get().await.namespace(name).await;
    let kubeconfig = ns.apply_deploy("base").await;
    let cluster = Cluster::connect(Some(&kubeconfig)).await.expect("a kubeconfig");
    (ns, cluster)
}

fn app(name: &str) -> Value {
    json!({
        "apiVersion": ARGO, "kind": "Application", "metadata": { "name": name },
        "spec": { "project": "default", "source": { "repoURL": "https://git.example.com/a.git", "path": name } },
    })
}

fn key(ns: &Ns, name: &str) -> AppKey {
    AppKey { namespace: ns.name.clone(), name: name.to_owned() }
}

/// The next item of a stream, within half a minute.
async fn next<T>(stream: &mut BoxStream<'static, T>) -> T {
    let item = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
    item.expect("something happens").expect("the stream does not end")
}

/// An event as a short text: `applied web`, `ready`.
fn word(event: &AppEvent) -> String {
    match event {
        AppEvent::Restarted => "restarted".into(),
        AppEvent::Applied(app) => format!("applied {}", app.key.name),
        AppEvent::Deleted(key, _) => format!("deleted {}", key.name),
        AppEvent::Ready => "ready".into(),
        AppEvent::Undecodable(key, _) => format!("undecodable {}", key.name),
        AppEvent::Down(_) => "down".into(),
        AppEvent::Polled(_) => "polled".into(),
        AppEvent::Up => "up".into(),
    }
}

/// Words up to and with the first that is `last`.
async fn words_until(stream: &mut BoxStream<'static, AppEvent>, last: &str) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        words.push(word(&next(stream).await));
        if words.last().is_some_and(|w| w == last) {
            return words;
        }
    }
}

fn access(verb: &'static str, group: &'static str, resource: &'static str, ns: &str, name: Option<&str>) -> Access {
    Access { verb, group, resource, namespace: Some(ns.into()), name: name.map(str::to_owned) }
}

#[tokio::test]
async fn rbac_2_sec_08_the_shipped_role_grants_what_is_used_and_no_more() {
    let (ns, cluster) = installed("rbac").await;
    let hardened = ControlPlane::get().await.namespace("rbac-hardened").await;
    hardened.apply_deploy("base").await;
    let kubeconfig = hardened.apply_deploy("hardened/role.yaml").await;
    let hardened_cluster = Cluster::connect(Some(&kubeconfig)).await.expect("a kubeconfig");
    let other = ControlPlane::get().await.namespace("rbac-other").await;
    let kubeconfig = other.apply_deploy("other-namespace").await;
    let other_cluster = Cluster::connect(Some(&kubeconfig)).await.expect("a kubeconfig");
    assert_eq!(cluster.own_namespace(), ns.name);

    let updaters = "argocd-image-updater.argoproj.io";
    // verb, group, resource, name; then whether base, hardened, other-namespace grant it
    for (verbs, group, resource, name, granted) in [
        ("get list watch patch", "argoproj.io", "applications", None, [true, true, true]),
        ("create update delete deletecollection", "argoproj.io", "applications", None, [false, false, false]),
        ("get list watch", "argoproj.io", "appprojects", None, [true, true, true]),
        ("patch update create delete", "argoproj.io", "appprojects", None, [false, false, false]),
        ("get list watch", updaters, "imageupdaters", None, [true, true, true]),
        ("patch update", updaters, "imageupdaters", None, [false, false, false]),
        ("create", "", "events", None, [true, true, true]),
        ("patch update delete list", "", "events", None, [false, false, false]),
        ("get list watch", "", "configmaps", Some("argocd-notifications-cm"), [true, true, false]),
        ("get list watch", "", "configmaps", Some("argocd-tls-certs-cm"), [true, true, false]),
        ("get list watch", "", "configmaps", None, [false, false, false]),
        ("patch update create", "", "configmaps", Some("argocd-notifications-cm"), [false, false, false]),
        ("get list watch", "", "secrets", Some("argocd-notifications-secret"), [true, true, false]),
        ("list watch", "", "secrets", None, [true, false, false]),
        ("get", "", "secrets", Some("repo-1"), [true, false, true]),
        ("patch update create delete", "", "secrets", None, [false, false, false]),
        ("get update", "coordination.k8s.io", "leases", Some("c21b75f2.argoproj.io"), [true, true, false]),
        ("create", "coordination.k8s.io", "leases", None, [true, true, false]),
        ("get list watch update patch delete", "coordination.k8s.io", "leases", None, [false, false, false]),
        ("patch delete", "coordination.k8s.io", "leases", Some("c21b75f2.argoproj.io"), [false, false, false]),
        ("get list", "", "pods", None, [false, false, false]),
    ] {
        for (place, (cluster, granted)) in [
            (&ns, (&cluster, granted[0])),
            (&hardened, (&hardened_cluster, granted[1])),
            (&other, (&other_cluster, granted[2])),
        ] {
            for verb in verbs.split(' ') {
                let asked = access(verb, group, resource, &place.name, name);
                let allowed = cluster.can(&asked).await.expect("an answer");
                // `get` of any Secret by name is what other-namespace grants.
                let granted = granted || (place.name == other.name && resource == "secrets" && verb == "get");
                assert_eq!(allowed, granted, "{asked} ({name:?})");
            }
        }
    }
    let foreign = access("list", "argoproj.io", "applications", &other.name, None);
    let wanted = [access("get", "argoproj.io", "applications", &ns.name, None), foreign.clone()];
    assert_eq!(cluster.missing(&wanted).await.expect("an answer"), [&foreign]);
    assert_eq!(foreign.to_string(), format!("list applications.argoproj.io in namespace {}", other.name));
}

#[tokio::test]
async fn ten_4_the_deployment_is_hardened_and_recreated() {
    let (ns, _) = installed("deployment").await;
    let deployment = ns.object("apps/v1", "Deployment", "lynceus").await.expect("it was taken");
    let spec = &deployment["spec"];
    assert_eq!(spec["strategy"], json!({ "type": "Recreate" }));
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["serviceAccountName"], "lynceus");
    let container = &pod["containers"][0];
    let expected = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
    });
    assert_eq!(container["securityContext"], expected);
    assert_eq!(container["args"], json!(["run", "--state-dir=/var/lib/lynceus"]));
    let state = container["volumeMounts"].as_array().expect("mounts").iter().find(|m| m["name"] == "state");
    assert_eq!(state.expect("a mount")["mountPath"], "/var/lib/lynceus");
    assert!(ns.object("v1", "PersistentVolumeClaim", "lynceus-state").await.is_some());
}

#[tokio::test]
async fn src_1_ct_13_every_application_is_listed_in_pages_and_a_broken_one_hides_nobody() {
    let (ns, cluster) = installed("watch").await;
    for n in 0..230 {
        ns.apply_json(app(&format!("app-{n:03}"))).await;
    }
    // Deeper than any JSON reader of ours goes.
    let deep = (0..200).fold(json!(1), |inner, _| json!({ "a": inner }));
    let mut broken = app("app-050-broken");
    broken["spec"]["deep"] = deep.clone();
    ns.apply_json(broken).await;

    let own = Namespaces::parse("", cluster.own_namespace()).expect("the own namespace");
    let mut events = cluster.applications(&own, None).boxed();
    let mut words = words_until(&mut events, "ready").await;
    assert_eq!((words.remove(0).as_str(), words.pop().as_deref()), ("restarted", Some("ready")));
    let names: BTreeSet<String> = words.iter().cloned().collect();
    assert_eq!((words.len(), names.len()), (231, 231));
    assert!(names.contains("undecodable app-050-broken") && names.contains("applied app-229"));

    ns.patch(ARGO, "Application", "app-007", &json!({ "metadata": { "annotations": { "a": "1" } } })).await;
    ns.patch(ARGO, "Application", "app-008", &json!({ "spec": { "deep": deep } })).await;
    ns.patch(ARGO, "Application", "app-050-broken", &json!({ "spec": { "deep": null } })).await;
    ns.delete(ARGO, "Application", "app-009").await;
    match next(&mut events).await {
        AppEvent::Applied(app) => {
            assert_eq!((app.key.clone(), app.annotation("a")), (key(&ns, "app-007"), Some("1")));
            assert!(!app.uid.is_empty() && !app.resource_version.is_empty());
            assert!(app.json()["metadata"].get("managedFields").is_none());
        }
        other => panic!("{other:?}"),
    }
    match next(&mut events).await {
        AppEvent::Undecodable(broken, problem) => {
            assert_eq!(broken, key(&ns, "app-008"));
            assert_eq!((problem.code, problem.object), ("config-invalid", format!("Application {}/app-008", ns.name)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(word(&next(&mut events).await), "applied app-050-broken");
    assert_eq!(word(&next(&mut events).await), "deleted app-009");
    // Three pages and one watch; changes cost no request.
    let requests = cluster.requests();
    assert_eq!((requests.reads, requests.watches, requests.writes), (3, 1, 0));
    let one = cluster.application(&key(&ns, "app-007")).await.expect("an answer").expect("it is there");
    assert_eq!(one.annotation("a"), Some("1"));
    assert!(cluster.application(&key(&ns, "nobody")).await.expect("an answer").is_none());
    let error = cluster.application(&key(&ns, "app-008")).await.expect_err("too deep");
    assert_eq!(error.code(), "config-invalid");
}

#[tokio::test]
async fn src_2_several_namespaces_are_one_stream_ready_when_all_are() {
    let plane = ControlPlane::get().await;
    let (a, b) = (plane.namespace("several").await, plane.namespace("several").await);
    a.apply_json(app("one")).await;
    let mut labelled = app("two");
    labelled["metadata"]["labels"] = json!({ "team": "x" });
    b.apply_json(labelled).await;
    let cluster = Cluster::connect(Some(&a.kubeconfig_admin())).await.expect("a kubeconfig");

    let list = Namespaces::parse(&format!("{}, {}", a.name, b.name), "x").expect("a list");
    let mut events = cluster.applications(&list, None).boxed();
    let mut words = words_until(&mut events, "ready").await;
    words.sort();
    assert_eq!(words, ["applied one", "applied two", "ready", "restarted", "restarted"]);

    let mut events = cluster.applications(&list, Some("team=x")).boxed();
    let words = words_until(&mut events, "ready").await;
    assert!(words.contains(&"applied two".to_owned()) && !words.contains(&"applied one".to_owned()), "{words:?}");
    // Leaving the selection looks like a deletion to a watch; the object itself is still there.
    b.patch(ARGO, "Application", "two", &json!({ "metadata": { "labels": { "team": "y" } } })).await;
    assert_eq!(word(&next(&mut events).await), "deleted two");
    assert!(cluster.application(&key(&b, "two")).await.expect("an answer").is_some());

    let mut events = cluster.applications(&Namespaces::All, None).boxed();
    let words = words_until(&mut events, "ready").await;
    assert!(words.contains(&"applied one".to_owned()) && words.contains(&"applied two".to_owned()), "{words:?}");
}

#[tokio::test]
async fn rbac_2_all_namespaces_take_a_cluster_role_without_secrets() {
    let plane = ControlPlane::get().await;
    let (ns, cluster) = installed("everywhere").await;
    let elsewhere = plane.namespace("elsewhere").await;
    elsewhere.apply_json(app("far")).await;
    let mut events = cluster.applications(&Namespaces::All, None).boxed();
    assert_eq!(word(&next(&mut events).await), "restarted");
    match next(&mut events).await {
        AppEvent::Down(text) => {
            assert!(text.starts_with("list applications.argoproj.io in all namespaces: not permitted"), "{text}")
        }
        other => panic!("{other:?}"),
    }
    ns.apply_deploy("all-namespaces").await;
    let words = words_until(&mut events, "ready").await;
    assert!(words.contains(&"applied far".to_owned()), "{words:?}");
    cluster.refresh(&key(&elsewhere, "far"), Refresh::Normal).await.expect("the ClusterRole grants it");
    let error = cluster.secret(&elsewhere.name, "s").await.expect_err("no Secrets");
    assert_eq!(error.code(), "kubernetes-forbidden");
    for (verb, resource, granted) in
        [("list", "secrets", false), ("get", "configmaps", false), ("create", "events", true)]
    {
        let asked = Access { namespace: None, ..access(verb, "", resource, "", None) };
        assert_eq!(cluster.can(&asked).await.expect("an answer"), granted, "{asked}");
    }
}

#[tokio::test]
async fn ct_12_an_outage_is_told_and_loses_no_deletion() {
    let (ns, _) = installed("outage").await;
    for name in ["a", "b", "c"] {
        ns.apply_json(app(name)).await;
    }
    let relay = Relay::start(ControlPlane::get().await.port()).await;
    let direct = ns.kubeconfig_for("lynceus").await;
    let text = std::fs::read_to_string(&direct).expect("a kubeconfig");
    let (from, to) = (ControlPlane::get().await.port(), relay.port());
    let relayed = direct.with_extension("relayed");
    std::fs::write(&relayed, text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}"))).expect("a file");
    let cluster = Cluster::connect(Some(&relayed)).await.expect("a kubeconfig");
    let mut events = cluster.applications(&Namespaces::Own(ns.name.clone()), None).boxed();
    words_until(&mut events, "ready").await;
    // The watch is up once a change came through it.
    ns.patch(ARGO, "Application", "c", &json!({ "metadata": { "annotations": { "a": "1" } } })).await;
    assert_eq!(word(&next(&mut events).await), "applied c");

    relay.close();
    ns.delete(ARGO, "Application", "a").await;
    ns.patch(ARGO, "Application", "b", &json!({ "metadata": { "annotations": { "a": "1" } } })).await;
    match next(&mut events).await {
        AppEvent::Down(text) => {
            assert!(text.starts_with(&format!("watch applications.argoproj.io in namespace {}", ns.name)), "{text}")
        }
        other => panic!("{other:?}"),
    }
    relay.open();
    let mut words = words_until(&mut events, "up").await;
    words.retain(|w| w != "down");
    words.push(word(&next(&mut events).await));
    words.push(word(&next(&mut events).await));
    assert_eq!(words, ["up", "deleted a", "applied b"]);
    assert_eq!(cluster.requests().reads, 1, "the watch went on from where it was");
}

#[tokio::test]
async fn arg_1_a_patch_of_another_version_is_a_conflict_and_touches_nothing() {
    let (ns, cluster) = installed("patch").await;
    let mut web = app("web");
    web["spec"]["source"]["helm"] =
        json!({ "parameters": [{ "name": "tag", "value": "1" }, { "name": "x", "value": "y" }] });
    ns.apply_json(web).await;
    let key = key(&ns, "web");
    let version = async || cluster.application(&key).await.expect("an answer").expect("it is there").resource_version;
    let first = version().await;
    let merge = json!({ "spec": { "project": "other" } });
    let second = cluster.patch_application(&key, &first, Edit::Merge(&merge)).await.expect("the version is right");
    assert_eq!(second, version().await);
    assert_ne!(second, first);

    let steps = [json!({ "op": "replace", "path": "/spec/source/helm/parameters/0/value", "value": "2" })];
    for stale in [Edit::Merge(&merge), Edit::Steps(&steps)] {
        let error = cluster.patch_application(&key, &first, stale).await.expect_err("a stale version");
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        assert_eq!(error.code(), "kubernetes-conflict");
    }
    assert_eq!(version().await, second);
    cluster.patch_application(&key, &second, Edit::Steps(&steps)).await.expect("the version is right");
    let object = ns.object(ARGO, "Application", "web").await.expect("it is there");
    let expected = json!([{ "name": "tag", "value": "2" }, { "name": "x", "value": "y" }]);
    assert_eq!(object["spec"]["source"]["helm"]["parameters"], expected);

    let wrong = [json!({ "op": "replace", "path": "/spec/no/such/place", "value": "2" })];
    let error =
        cluster.patch_application(&key, &version().await, Edit::Steps(&wrong)).await.expect_err("no such place");
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    let gone = AppKey { name: "gone".into(), ..key.clone() };
    let error = cluster.patch_application(&gone, "1", Edit::Merge(&merge)).await.expect_err("nobody there");
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
}

#[tokio::test]
async fn git_14_refresh_sets_argo_cds_annotations() {
    let (ns, cluster) = installed("refresh").await;
    ns.apply_json(app("web")).await;
    for (refresh, annotation, value) in [
        (Refresh::Normal, "argocd.argoproj.io/refresh", "normal"),
        (Refresh::Hard, "argocd.argoproj.io/refresh", "hard"),
        (Refresh::Hydrate, "argocd.argoproj.io/hydrate", "normal"),
    ] {
        cluster.refresh(&key(&ns, "web"), refresh).await.expect("the Role grants it");
        let object = ns.object(ARGO, "Application", "web").await.expect("it is there");
        assert_eq!(object["metadata"]["annotations"][annotation], value, "{refresh}");
    }
}

#[tokio::test]
async fn wrb_02_dlv_08_the_state_annotation_is_written_to_this_object_only() {
    let (ns, cluster) = installed("notified").await;
    let mut web = app("web");
    web["metadata"]["annotations"] = json!({ "other": "stays" });
    ns.apply_json(web.clone()).await;
    let annotations =
        async || ns.object(ARGO, "Application", "web").await.expect("it")["metadata"]["annotations"].clone();
    let key = key(&ns, "web");
    let uid = cluster.application(&key).await.expect("an answer").expect("it is there").uid;
    cluster.write_notified(&key, &uid, Some(r#"{"k":1}"#)).await.expect("the Role grants it");
    let notified = "notified.notifications.argoproj.io";
    assert_eq!(annotations().await, json!({ "other": "stays", notified: r#"{"k":1}"# }));
    cluster.write_notified(&key, &uid, None).await.expect("the Role grants it");
    assert_eq!(annotations().await, json!({ "other": "stays" }));

    ns.delete(ARGO, "Application", "web").await;
    ns.apply_json(web).await;
    let error = cluster.write_notified(&key, &uid, Some("{}")).await.expect_err("another object by now");
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(annotations().await, json!({ "other": "stays" }));
}

#[tokio::test]
async fn evt_kubernetes_event_is_recorded_once() {
    let (ns, cluster) = installed("events").await;
    ns.apply_json(app("web")).await;
    let key = key(&ns, "web");
    let web = cluster.application(&key).await.expect("an answer").expect("it is there");
    let note = Note {
        app: &key,
        uid: &web.uid,
        version: &web.resource_version,
        id: "0123456789abcdef",
        kind: NoteKind::Normal,
        reason: "ImagesUpdated",
        message: "Successfully updated application 'web'",
        annotations: BTreeMap::from([("argocd-image-updater.image-0/new-tag".into(), "1.1".into())]),
        at: "2026-01-02T03:04:05Z".parse().expect("a time"),
    };
    for _ in 0..2 {
        cluster.note(&note).await.expect("the Role grants it");
    }
    let event = ns.object("v1", "Event", "web.0123456789abcdef").await.expect("it is there");
    assert_eq!(event["involvedObject"]["uid"], web.uid.as_str());
    assert_eq!((&event["type"], &event["reason"]), (&json!("Normal"), &json!("ImagesUpdated")));
    assert_eq!(event["message"], "Successfully updated application 'web'");
    assert_eq!(event["source"]["component"], "ArgocdImageUpdater");
    assert_eq!(event["metadata"]["annotations"]["argocd-image-updater.image-0/new-tag"], "1.1");
    assert_eq!((&event["count"], &event["lastTimestamp"]), (&json!(1), &json!("2026-01-02T03:04:05Z")));
}

#[tokio::test]
async fn rbac_1_a_missing_verb_is_named_and_its_grant_is_noticed() {
    let ns = ControlPlane::get().await.namespace("forbidden").await;
    ns.apply_json(app("web")).await;
    let kubeconfig = ns.kubeconfig_for("lynceus").await;
    let cluster = Cluster::connect(Some(&kubeconfig)).await.expect("a kubeconfig");
    let mut events = cluster.applications(&Namespaces::Own(ns.name.clone()), None).boxed();
    assert_eq!(word(&next(&mut events).await), "restarted");
    match next(&mut events).await {
        AppEvent::Down(text) => {
            let expected = format!("list applications.argoproj.io in namespace {}: not permitted", ns.name);
            assert!(text.starts_with(&expected), "{text}");
        }
        other => panic!("{other:?}"),
    }
    let error = cluster.refresh(&key(&ns, "web"), Refresh::Normal).await.expect_err("nothing granted");
    let expected = format!("patch applications.argoproj.io web in namespace {}: not permitted", ns.name);
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(error.code(), "kubernetes-forbidden");
    let denied = access("patch", "argoproj.io", "applications", &ns.name, None);
    assert!(!cluster.can(&denied).await.expect("an answer"), "{denied}");

    ns.apply_deploy("base").await;
    let words = words_until(&mut events, "ready").await;
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| !["down", "restarted"].contains(w)).collect();
    assert_eq!(words, ["applied web", "up", "ready"]);
}

#[tokio::test]
async fn cfg_documents_are_watched_by_name_under_the_hardened_role() {
    let (ns, _) = installed("documents").await;
    let kubeconfig = ns.apply_deploy("hardened/role.yaml").await;
    let cluster = Cluster::connect(Some(&kubeconfig)).await.expect("a kubeconfig");
    let mut maps = cluster.config_map(&ns.name, "argocd-notifications-cm").boxed();
    assert!(matches!(next(&mut maps).await, DocumentEvent::Ready), "absent");
    let map = |text: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "argocd-notifications-cm" }, "data": { "k": text } });
    for text in ["one", "two"] {
        ns.apply_json(map(text)).await;
        match next(&mut maps).await {
            DocumentEvent::Applied(map) => assert_eq!(map.data, BTreeMap::from([("k".into(), text.into())])),
            other => panic!("{other:?}"),
        }
    }
    ns.delete("v1", "ConfigMap", "argocd-notifications-cm").await;
    match next(&mut maps).await {
        DocumentEvent::Deleted(namespace, name) => {
            assert_eq!((namespace, name), (ns.name.clone(), "argocd-notifications-cm".into()))
        }
        other => panic!("{other:?}"),
    }

    ns.apply_json(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "argocd-notifications-secret" },
        "stringData": { "token": "tóken" }, "data": { "bytes": "/wA=" } }))
        .await;
    let mut secrets = cluster.named_secret(&ns.name, "argocd-notifications-secret").boxed();
    match next(&mut secrets).await {
        DocumentEvent::Applied(secret) => {
            assert_eq!(secret.data["token"].expose_text(), Ok("tóken"));
            assert_eq!(secret.data["bytes"].expose(), [255, 0]);
            assert!(!format!("{secret:?}").contains("tóken"));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(next(&mut secrets).await, DocumentEvent::Ready));
    let read = cluster.secret(&ns.name, "argocd-notifications-secret").await.expect("an answer");
    assert_eq!(read.expect("it is there").data.len(), 2);

    // What the hardened Role switches off says so; by name nothing else is readable.
    let mut labelled = cluster.repository_secrets(&ns.name).boxed();
    match next(&mut labelled).await {
        DocumentEvent::Down(text) => assert!(text.starts_with("list secrets in namespace"), "{text}"),
        other => panic!("{other:?}"),
    }
    let error = cluster.secret(&ns.name, "repo-1").await.expect_err("not named in the Role");
    assert!(error.to_string().starts_with("get secrets repo-1 in namespace"), "{error}");
}

#[tokio::test]
async fn rbac_2_repository_secrets_come_by_their_label() {
    let (ns, cluster) = installed("repositories").await;
    for (name, label) in
        [("r1", Some("repository")), ("r2", Some("repo-creds")), ("c1", Some("cluster")), ("plain", None)]
    {
        let mut secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { "url": name } });
        if let Some(label) = label {
            secret["metadata"]["labels"] = json!({ "argocd.argoproj.io/secret-type": label });
        }
        ns.apply_json(secret).await;
    }
    let mut secrets = cluster.repository_secrets(&ns.name).boxed();
    let mut seen = BTreeMap::new();
    loop {
        match next(&mut secrets).await {
            DocumentEvent::Applied(s) => seen.insert(s.name, s.labels["argocd.argoproj.io/secret-type"].clone()),
            DocumentEvent::Ready => break,
            other => panic!("{other:?}"),
        };
    }
    let expected = BTreeMap::from([("r1".to_owned(), "repository".to_owned()), ("r2".into(), "repo-creds".into())]);
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn sub_12_own_3_projects_and_image_updaters_are_watched() {
    let (ns, cluster) = installed("projects").await;
    let own = Namespaces::Own(ns.name.clone());
    let subscription = "notifications.argoproj.io/subscribe.slack";
    ns.apply_json(json!({ "apiVersion": ARGO, "kind": "AppProject", "metadata": { "name": "team", "annotations": { subscription: "c" } },
        "spec": { "sourceRepos": ["*"] } }))
    .await;
    let mut projects = cluster.projects(&own).boxed();
    match next(&mut projects).await {
        DocumentEvent::Applied(project) => {
            assert_eq!((project.namespace, project.name), (ns.name.clone(), "team".to_owned()));
            assert_eq!(project.annotations[subscription], "c");
            assert_eq!(project.object["spec"], json!({ "sourceRepos": ["*"] }));
            assert!(project.object["metadata"].get("managedFields").is_none());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(next(&mut projects).await, DocumentEvent::Ready));

    assert!(cluster.knows_image_updaters().await.expect("an answer"));
    let mut updaters = cluster.image_updaters(&own).boxed();
    assert!(matches!(next(&mut updaters).await, UpdaterEvent::Document(DocumentEvent::Ready)));
    ns.apply_json(json!({ "apiVersion": "argocd-image-updater.argoproj.io/v1alpha1", "kind": "ImageUpdater",
        "metadata": { "name": "web" }, "spec": { "applicationRefs": [{ "namePattern": "*", "useAnnotations": true }] } }))
    .await;
    match next(&mut updaters).await {
        UpdaterEvent::Document(DocumentEvent::Applied(updater)) => {
            assert_eq!((updater.namespace, updater.name), (ns.name.clone(), "web".to_owned()));
            assert_eq!(updater.object["spec"]["applicationRefs"][0]["useAnnotations"], true);
        }
        other => panic!("{other:?}"),
    }
    ns.delete("argocd-image-updater.argoproj.io/v1alpha1", "ImageUpdater", "web").await;
    assert!(matches!(next(&mut updaters).await, UpdaterEvent::Document(DocumentEvent::Deleted(..))));
}

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let Err(error) = Cluster::connect(Some(Path::new("/nowhere/config"))).await else { panic!("no such file") };
    assert!(error.to_string().starts_with("kubeconfig /nowhere/config: "), "{error}");
    assert_eq!(error.code(), "kubernetes-unavailable");
}
