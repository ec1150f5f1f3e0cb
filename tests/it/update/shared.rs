//! Applications that share a place, a host, a branch: what one does to the other.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::stage::{ARGO, PREFIX, Stage, application};
use crate::support::counting::Counting;
use crate::support::house::House;
use crate::support::wait_for;

/// An Application that writes the tag of `web` into a file that others write too.
fn sharing(stage: &Stage, name: &str, file: &str, constraint: &str) -> Value {
    let list = format!("{name}={}:{constraint}", stage.image("web"));
    let live = format!("{}:1.0.0", stage.image("web"));
    let target = format!("helmvalues:/{file}");
    let annotations = [("image-list", list.as_str()), ("write-back-method", "git"), ("write-back-target", &target)];
    application(name, &stage.url(), &format!("apps/{name}"), &annotations, &[&live])
}

#[tokio::test(flavor = "multi_thread")]
async fn own_6_target_collision_blocks_both_and_equal_values_are_one_commit_for_both() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1", "2.0.0"]).await;
    let values = "# shared\nimage:\n  tag: 1.0.0\n";
    stage.repository.commit("main", "first", &[("one.yaml", values), ("two.yaml", values)]);
    let (ns, house) = stage.installed("shared", "2s").await;
    for (name, file, constraint) in
        [("a", "one.yaml", "~1.0"), ("b", "one.yaml", "^2"), ("c", "two.yaml", "~1.0"), ("d", "two.yaml", "1.0.x")]
    {
        ns.apply_json(sharing(&stage, name, file, constraint)).await;
    }
    house.start().await;
    let status = house.until("both are named", |s| House::problems(s, "target-collision").len() == 2).await;
    let problems = House::problems(&status, "target-collision").concat();
    for word in ["image.tag", "one.yaml", "1.0.1 of", "2.0.0 of", "/a", "/b"] {
        assert!(problems.contains(word), "{word}: {problems}");
    }
    assert_eq!(stage.repository.read("main", "one.yaml"), values);
    assert_eq!(stage.repository.read("main", "two.yaml"), values.replace("1.0.0", "1.0.1"));
    // One write, and both Applications have it.
    let log = stage.repository.log("main");
    assert_eq!(log.len(), 2);
    let message = stage.repository.message(&log[0]);
    for name in ["c", "d"] {
        assert!(message.contains(&format!("Lynceus-Application: {}/{name}\n", ns.name)), "{message}");
        let app = ns.object(ARGO, "Application", name).await.expect("it is there");
        assert_eq!(app["metadata"]["annotations"]["argocd.argoproj.io/refresh"], "normal", "{name}");
    }
    let committed = house.events("committed").await;
    assert_eq!(committed.len(), 2, "{committed:?}");
    assert!(committed.iter().all(|event| event["commit"]["sha"] == log[0].as_str()), "{committed:?}");
    assert_eq!((&committed[0]["strategy"], committed[0]["firstSeen"].is_string()), (&json!("semver"), true));
    house.rounds(2).await;
    assert_eq!((stage.repository.log("main").len(), house.events("refused").await.len()), (2, 2));

    // Once one of them has its value, the other may not take it away: no_alternating_commits.
    stage.repository.commit("main", "by hand", &[("one.yaml", &values.replace("1.0.0", "1.0.1"))]);
    house.rounds(2).await;
    let text = format!("{PREFIX}b.allow-tags");
    ns.patch(ARGO, "Application", "b", &json!({ "metadata": { "annotations": { &text: "any" } } })).await;
    house.rounds(1).await;
    assert_eq!(stage.repository.log("main").len(), 3, "{}", house.log());
    // What both want is written again.
    let same = json!({ "metadata": { "annotations": { format!("{PREFIX}image-list"): format!("b={}:~1", stage.image("web")) } } });
    ns.patch(ARGO, "Application", "b", &same).await;
    house.until("nothing collides", |s| s["problems"] == json!([])).await;
    assert_eq!(house.events("recovered").await.len(), 2);
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn evt_2_evt_3_host_outage_is_one_event_after_two_intervals_and_a_missing_secret_at_once() {
    let stage = Stage::new().await;
    let names = ["one", "two", "three"];
    let values = names.map(|name| (format!("apps/{name}/values.yaml"), stage.values(name, "1.0.0")));
    for name in names {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
    }
    let files: Vec<(&str, &str)> = values.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    stage.repository.commit("main", "first", &files);
    let (ns, house) = stage.installed("outage", "2s").await;
    let other = Counting::start(stage.registry.base());
    let more = format!("- name: other\n  prefix: {0}\n  api_url: http://{0}\n  limit: -1\n", other.host());
    house.file("registries.conf", &format!("{}{more}", stage.registries()));
    other.set_down(true);
    for name in names {
        let mut app = stage.helm_app(name, "~1.0");
        let image = format!("{}/team/{name}", other.host());
        app["metadata"]["annotations"][format!("{PREFIX}image-list")] = json!(format!("app={image}:~1.0"));
        app["status"]["summary"]["images"] = json!([format!("{image}:1.0.0")]);
        ns.apply_json(app).await;
    }
    let mut lacking = stage.helm_app("one", "~1.0");
    lacking["metadata"]["name"] = json!("lacking");
    lacking["metadata"]["annotations"][format!("{PREFIX}app.pull-secret")] =
        json!(format!("pullsecret:{}/nothing", ns.name));
    ns.apply_json(lacking).await;
    let started = Instant::now();
    house.start().await;
    house.until("the outage is shown", |s| House::problems(s, "registry-unreachable").len() == 3).await;
    if started.elapsed() < Duration::from_secs(3) {
        let failed = house.events("failed").await;
        assert!(failed.iter().all(|event| event["reason"] != "registry-unreachable"), "{failed:?}");
    }
    wait_for("the outage is announced", Duration::from_secs(40), || async {
        (house.events("failed").await.len() == 2).then_some(())
    })
    .await;
    assert!(started.elapsed() >= Duration::from_secs(4), "only after two intervals");
    house.rounds(2).await;
    let failed = house.events("failed").await;
    let of = |reason: &str| failed.iter().find(|event| event["reason"] == reason).expect("an event");
    let (outage, secret) = (of("registry-unreachable"), of("credentials-invalid"));
    assert_eq!((failed.len(), &outage["count"], &secret["count"]), (2, &json!(3), &json!(1)), "{failed:?}");
    let all: Vec<String> = ["one", "three", "two"].map(|name| format!("{}/{name}", ns.name)).to_vec();
    assert_eq!(outage["apps"], json!(all), "{outage}");
    assert_eq!(outage["application"], json!(all[0]), "the first by name");
    assert!(secret["at"].as_str() < outage["at"].as_str(), "{failed:?}");

    // Each is one Warning on an Application.
    let api: Api<Event> = Api::default_namespaced(ns.admin.clone());
    let mut events = api.list(&ListParams::default()).await.expect("an answer").items;
    events.retain(|event| event.involved_object.kind.as_deref() == Some("Application"));
    let mut told: Vec<_> = events
        .iter()
        .map(|e| {
            (
                e.type_.clone().unwrap_or_default(),
                e.reason.clone().unwrap_or_default(),
                e.message.clone().unwrap_or_default(),
            )
        })
        .collect();
    told.sort();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(kind, reason, _)| kind == "Warning" && reason == "ImageUpdateFailed"), "{told:?}");
    assert!(told[0].2.starts_with("credentials-invalid: ") && told[1].2.ends_with("(3 images)"), "{told:?}");

    other.set_down(false);
    wait_for("the outage is over", Duration::from_secs(60), || async {
        (house.events("recovered").await.len() == 1).then_some(())
    })
    .await;
    house.until("the registry answers", |s| House::problems(s, "registry-unreachable").is_empty()).await;
    assert_eq!(house.events("committed").await.len(), 3, "{}", house.log());
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn git_14_who_follows_the_branch_is_refreshed_or_hydrated_and_nobody_else() {
    let stage = Stage::new().await;
    let names = ["plain", "hard", "off", "branch", "dry"];
    for name in names {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
    }
    let (ns, house) = stage.installed("refreshed", "2s").await;
    for name in names {
        let mut app = stage.helm_app(name, "~1.0");
        let annotations = app["metadata"]["annotations"].as_object_mut().expect("annotations");
        match name {
            "hard" | "off" => drop(annotations.insert("lynceus.dev/refresh".to_owned(), json!(name))),
            "branch" => drop(annotations.insert(format!("{PREFIX}git-branch"), json!("main:update-{{.AppName}}"))),
            "dry" => {
                let mut source = app["spec"]["source"].take();
                source["helm"] = json!({});
                app["spec"].as_object_mut().expect("a spec").remove("source");
                app["spec"]["sourceHydrator"] = json!({ "drySource": source });
            }
            _ => {}
        }
        ns.apply_json(app).await;
    }
    house.start().await;
    house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
    assert_eq!(house.events("committed").await.len(), names.len(), "{}", house.log());
    let asked = |object: &Value| {
        let of = |key: &str| object["metadata"]["annotations"][format!("argocd.argoproj.io/{key}")].clone();
        (of("refresh"), of("hydrate"))
    };
    for (name, refresh, hydrate) in [
        ("plain", json!("normal"), Value::Null),
        ("hard", json!("hard"), Value::Null),
        ("off", Value::Null, Value::Null),
        ("branch", Value::Null, Value::Null),
        ("dry", Value::Null, json!("normal")),
    ] {
        let app = ns.object(ARGO, "Application", name).await.expect("it is there");
        assert_eq!(asked(&app), (refresh, hydrate), "{name}");
    }
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn des_4_committed_but_not_synced_is_quiet_for_a_hundred_rounds() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let (ns, house) = stage.installed("quiet", "50ms").await;
    // It goes on running 1.0.0: Argo CD does not sync it.
    ns.apply_json(stage.helm_app("web", "~1.0")).await;
    house.start().await;
    let before = house.rounds(1).await["rounds"].as_u64().unwrap_or_default();
    house.until("a hundred rounds", |s| s["rounds"].as_u64() >= Some(before + 100)).await;
    assert_eq!(stage.repository.log("main").len(), 2);
    let history: Vec<Value> = house.history().await.iter().map(|event| event["event"].clone()).collect();
    assert_eq!(history, ["found", "committed"]);
    assert_eq!(house.metric("argocd_image_updater_images_updated_total").await, 1.0);
    assert_eq!(house.metric("lynceus_tag_to_commit_seconds_count").await, 1.0);
    assert_eq!(house.metric("lynceus_image_versions_behind").await, 0.0);
    assert_eq!(house.stop().await, 0);
}
