//! ImageUpdater objects on the real API server: who is managed through them, who is left to them, and what happens when
//! they come, change and go.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{ARGO, Stage, UPDATER};
use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::house::House;
use crate::support::wait_for;

fn updater(name: &str, refs: Value) -> Value {
    json!({
        "apiVersion": UPDATER, "kind": "ImageUpdater", "metadata": { "name": name },
        "spec": { "applicationRefs": refs },
    })
}

fn noted(pattern: &str) -> Value {
    json!({ "namePattern": pattern, "useAnnotations": true })
}

fn listing(pattern: &str) -> Value {
    json!({ "namePattern": pattern, "images": [{ "alias": "app", "imageName": "nginx:~1.0" }] })
}

/// Annotated Applications with these names, each with one new tag, and the daemon that could manage them.
async fn annotated(label: &str, names: &[&str]) -> (Stage, Ns, House) {
    let stage = Stage::new().await;
    for name in names {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
    }
    let (ns, house) = stage.installed(label, "1s").await;
    for name in names {
        ns.apply_json(stage.helm_app(name, "~1.0")).await;
    }
    (stage, ns, house)
}

async fn written(stage: &Stage, house: &House, name: &str, tag: &str) {
    let file = format!("apps/{name}/values.yaml");
    wait_for(&format!("{name} {tag}"), Duration::from_secs(20), || async {
        assert!(!house.ended(), "{}", house.log());
        (stage.repository.read("main", &file) == stage.values(name, tag)).then_some(())
    })
    .await;
}

fn untouched(stage: &Stage, names: &[&str]) {
    for name in names {
        let file = format!("apps/{name}/values.yaml");
        assert_eq!(stage.repository.read("main", &file), stage.values(name, "1.0.0"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_2_own_3_cr_1_objects_come_change_and_go_at_run_time() {
    let names = ["noted", "listed", "alone", "labelled"];
    let (stage, ns, house) = annotated("owners", &names).await;
    let by_label = json!({ "namePattern": "*", "useAnnotations": true,
        "labelSelectors": { "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["web"] }] } });
    ns.apply_json(updater("notes", json!([noted("noted"), by_label]))).await;
    ns.apply_json(updater("lists", json!([listing("listed")]))).await;
    house.start().await;
    written(&stage, &house, "noted", "1.0.1").await;
    let status = house.rounds(2).await;
    untouched(&stage, &["listed", "alone", "labelled"]);
    assert_eq!(status["nativeAnnotations"], json!({ ns.name.as_str(): false }), "{status}");
    assert_eq!(status["applications"]["governed"], 1, "{status}");
    // It is said on both sides, and counted.
    let object = format!("ImageUpdater {}/lists", ns.name);
    let app = format!("Application {}/listed", ns.name);
    let problems = House::problems(&status, "image-updater-pending");
    let [first, second] = &problems[..] else { panic!("{status}") };
    assert!(first.starts_with(&object) && first.contains(&format!("left alone: {}/listed", ns.name)), "{first}");
    assert!(second.starts_with(&app) && second.contains(&object), "{second}");
    assert_eq!(house.metric("lynceus_problems{kind=\"image-updater-pending\"}").await, 2.0);
    assert!(house.log().contains("0 applications are managed natively"), "{}", house.log());
    for kind in ["found", "committed"] {
        let events = house.events(kind).await;
        assert_eq!(events[0]["owner"], format!("ImageUpdater {}/notes", ns.name), "{events:?}");
    }
    let kubeconfig = ns.kubeconfig_admin().display().to_string();
    let command = async |words: &[&str]| {
        let registries = house.folder().join("registries.conf").display().to_string();
        let place = ["--kubeconfig", &kubeconfig, "-n", &ns.name, "--registries-conf-path", &registries];
        house.command(&[words, &place[..]].concat()).await
    };
    for (name, why) in [("listed", object.as_str()), ("alone", "no ImageUpdater object selects it")] {
        let explained = command(&["explain", name]).await;
        assert_eq!(explained.code, 1, "{explained:?}");
        assert!(
            explained.err.contains(&format!("{name} is not managed: ")) && explained.err.contains(why),
            "{explained:?}"
        );
    }
    let explained = command(&["explain", "noted", "-o", "json"]).await;
    let owner = format!("ImageUpdater {}/notes", ns.name);
    assert_eq!((explained.code, &explained.json()["images"][0]["owner"]), (0, &json!(owner)), "{explained:?}");
    // What the next round would do, by each mode: the switch is the same one (OWN-2).
    for (mode, planned) in [("auto", vec![]), ("false", vec![]), ("true", vec!["alone", "labelled"])] {
        let plan = command(&["plan", "-o", "json", &format!("--native-annotations={mode}")]).await;
        let changes = plan.json()["changes"].as_array().expect("changes").clone();
        let changed: Vec<String> =
            changes.iter().map(|c| c["application"].as_str().expect("text").to_owned()).collect();
        let planned: Vec<String> = planned.iter().map(|name| format!("{}/{name}", ns.name)).collect();
        assert_eq!(changed, planned, "{mode} {plan:?}");
    }

    // A label gives an Application to an object at once; a change of the object, another; its end, the rest.
    ns.patch(ARGO, "Application", "labelled", &json!({ "metadata": { "labels": { "tier": "web" } } })).await;
    written(&stage, &house, "labelled", "1.0.1").await;
    untouched(&stage, &["listed", "alone"]);
    ns.patch(UPDATER, "ImageUpdater", "lists", &json!({ "spec": { "applicationRefs": [noted("listed")] } })).await;
    written(&stage, &house, "listed", "1.0.1").await;
    let status = house.rounds(1).await;
    assert_eq!(House::problems(&status, "image-updater-pending"), Vec::<String>::new(), "{status}");
    untouched(&stage, &["alone"]);
    // Taken away while it runs: nothing is written for it any more, whatever the registry holds.
    ns.patch(UPDATER, "ImageUpdater", "notes", &json!({ "spec": { "applicationRefs": [listing("noted")] } })).await;
    house.until("it is left alone", |s| House::problems(s, "image-updater-pending").len() == 2).await;
    stage.tag("noted", "1.0.2").await;
    house.rounds(3).await;
    written(&stage, &house, "noted", "1.0.1").await;
    // Without any object the namespace is as one of the older line.
    ns.delete(UPDATER, "ImageUpdater", "notes").await;
    ns.delete(UPDATER, "ImageUpdater", "lists").await;
    written(&stage, &house, "alone", "1.0.1").await;
    written(&stage, &house, "noted", "1.0.2").await;
    let status = house.until("native again", |s| s["nativeAnnotations"] == json!({ ns.name.as_str(): true })).await;
    assert_eq!(status["problems"], json!([]));
    assert_eq!(stage.repository.log("main").len(), names.len() + 5, "each change once");
    stage.repository.check();
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cr_5_inv_5_poison_objects_harm_only_themselves() {
    let names = ["good", "wild", "spoilt"];
    let (stage, ns, house) = annotated("poison", &names).await;
    let poison = [
        ("a-glob", json!([{ "namePattern": "[", "useAnnotations": true }])),
        ("a-list", json!({ "namePattern": "*" })),
        ("a-word", json!("*")),
        (
            "a-label",
            json!([{ "namePattern": "*", "labelSelectors": { "matchExpressions": [{ "key": "x", "operator": "?" }] } }]),
        ),
        ("a-bool", json!([{ "namePattern": "spoilt", "useAnnotations": "yes" }])),
        ("a-mixture", json!([7, { "namePattern": "[z-a" }, noted("good")])),
    ];
    for (name, refs) in &poison {
        ns.apply_json(updater(name, refs.clone())).await;
    }
    ns.apply_json(updater("notes", json!([noted("wild*"), noted("spoil*")]))).await;
    house.start().await;
    written(&stage, &house, "good", "1.0.1").await;
    written(&stage, &house, "wild", "1.0.1").await;
    let status = house.rounds(2).await;
    // A ref that selects it and cannot be read keeps it from the less exact one of another object (ANN-5, CR-3).
    untouched(&stage, &["spoilt"]);
    let told = House::problems(&status, "config-invalid");
    for (name, _) in &poison {
        let object = format!("ImageUpdater {}/{name}: ", ns.name);
        assert!(told.iter().any(|problem| problem.starts_with(&object)), "{name}: {told:#?}");
    }
    assert!(!told.iter().any(|problem| problem.contains("/notes: ")), "{told:#?}");
    let waiting = House::problems(&status, "image-updater-pending");
    assert!(waiting.iter().all(|problem| problem.contains("/a-bool") && problem.contains("/spoilt")), "{waiting:#?}");
    assert_eq!((waiting.len(), stage.repository.log("main").len()), (2, names.len() + 2));
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cr_7_own_3_another_namespace_is_followed_where_the_operator_lists_it() {
    let (stage, ns, _) = annotated("target", &["web"]).await;
    let other = ControlPlane::get().await.namespace("objects").await;
    let mut object = updater("far", json!([noted("web")]));
    object["spec"]["namespace"] = json!(ns.name);
    let mut own = updater("near", json!([noted("nobody")]));
    own["spec"]["namespace"] = json!(ns.name);
    other.apply_json(object).await;
    ns.apply_json(own).await;
    let kubeconfig = ns.kubeconfig_admin().display().to_string();
    let house = stage.house().variable("POD_NAMESPACE", &ns.name).with([
        format!("--watch-namespaces={},{}", ns.name, other.name),
        format!("--kubeconfig={kubeconfig}"),
        "--interval=1s".to_owned(),
    ]);
    house.start().await;
    let said = |s: &Value| House::problems(s, "namespace-not-followed").len() == 1;
    let status = house.until("it is said", said).await;
    let problem = House::problems(&status, "namespace-not-followed").remove(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    untouched(&stage, &["web"]);
    let switch = format!("--updater-target-namespaces={}", ns.name);
    let object = format!("ImageUpdater {}/far: ", other.name);
    let web = format!("unmanaged: {}/web", ns.name);
    assert!([&object, &switch, &web].iter().all(|part| problem.contains(part.as_str())), "{problem}");
    assert_eq!(house.stop().await, 0);
    let house = house.with([switch]);
    house.start().await;
    written(&stage, &house, "web", "1.0.1").await;
    let status = house.rounds(1).await;
    assert_eq!(status["problems"], json!([]), "{status}");
    assert_eq!(house.stop().await, 0);
}
