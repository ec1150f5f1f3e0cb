//! What is broken is named, with what would help, and whoever stands beside it is served.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{ARGO, PREFIX, Stage, UPDATER, repository_secret};
use crate::support::control_plane::Ns;
use crate::support::house::House;
use crate::support::wait_for;

/// An Application that nothing is wrong with.
const GOOD: &str = "good";

/// Images and files of these Applications, each with one new tag.
async fn staged(names: &[&str]) -> Stage {
    let stage = Stage::new().await;
    for name in names.iter().chain([&GOOD]) {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
    }
    stage
}

/// The neighbour got its update, and nobody else did.
fn only_the_good(stage: &Stage, house: &House, before: usize) {
    let file = format!("apps/{GOOD}/values.yaml");
    assert_eq!(stage.repository.read("main", &file), stage.values(GOOD, "1.0.1"), "{}", house.log());
    assert_eq!(stage.repository.log("main").len(), before + 1, "{}", house.log());
    stage.repository.check();
}

/// The one problem of an Application: code and whole text.
fn problem_of(status: &Value, app: &str) -> (String, String) {
    let all = status["problems"].as_array().expect("problems");
    let own: Vec<&Value> = all
        .iter()
        .filter(|p| p["object"].as_str().is_some_and(|object| object.ends_with(&format!("/{app}"))))
        .collect();
    assert_eq!(own.len(), 1, "{app}: {own:?} in {status}");
    let word = |key: &str| own[0][key].as_str().unwrap_or_default();
    (word("code").to_owned(), format!("{} | {} | {}", word("key"), word("text"), word("hint")))
}

async fn first_round(house: &House) -> Value {
    house.start().await;
    house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await
}

fn annotate(app: &mut Value, key: &str, value: &str) {
    app["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_5_section_3_section_10_section_14_broken_annotations_secrets_and_files_hurt_nobody_else() {
    // Application, annotation, value, code, words of the problem
    let table = [
        ("boolean", "app.force-update", "maybe", "config-invalid", vec!["force-update", "maybe"]),
        ("filter", "app.allow-tags", "regexp:(", "allow-tags-invalid", vec!["allow-tags"]),
        ("secret", "app.pull-secret", "secret:NS/login", "credentials-invalid", vec!["#"]),
        ("absent", "app.pull-secret", "pullsecret:NS/nothing", "credentials-invalid", vec!["nothing"]),
        (
            "foreign",
            "app.pull-secret",
            "pullsecret:kube-system/other",
            "credential-forbidden",
            vec!["another namespace"],
        ),
        ("escape", "write-back-target", "helmvalues:../../../values.yaml", "path-escape", vec![".."]),
        ("missing", "write-back-target", "kustomization:none", "target-missing", vec!["none"]),
        ("syntax", "", "", "yaml-invalid", vec!["apps/syntax/values.yaml"]),
    ];
    let names: Vec<&str> = table.iter().map(|row| row.0).collect();
    let stage = staged(&names).await;
    stage.repository.commit("main", "broken", &[("apps/syntax/values.yaml", "image:\n  tag: \"1.0.0\n  name: [\n")]);
    let before = stage.repository.log("main").len();
    let (ns, house) = stage.installed("bad-input", "2s").await;
    for (name, key, value, ..) in &table {
        let mut app = stage.helm_app(name, "~1.0");
        if !key.is_empty() {
            annotate(&mut app, key, &value.replace("NS", &ns.name));
        }
        ns.apply_json(app).await;
    }
    ns.apply_json(stage.helm_app(GOOD, "~1.0")).await;
    let status = first_round(&house).await;
    only_the_good(&stage, &house, before);
    for (name, _, _, code, words) in &table {
        let (found, text) = problem_of(&status, name);
        assert_eq!(&found, code, "{name}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{name}: {text}");
    }
    // An ImageUpdater object takes them all away; when it goes, all is said again, also of what is not looked at.
    let object = json!({
        "apiVersion": UPDATER, "kind": "ImageUpdater", "metadata": { "name": "passing" },
        "spec": { "applicationRefs": [{ "namePattern": "nobody-*", "useAnnotations": true }] },
    });
    ns.apply_json(object).await;
    let problems = |s: &Value| s["problems"].as_array().map(Vec::len);
    house.until("all are left alone", |s| s["applications"]["governed"] == 0 && problems(s) == Some(0)).await;
    ns.delete(UPDATER, "ImageUpdater", "passing").await;
    house.until("all is said again", |s| problems(s) == Some(table.len())).await;
    // Corrected, and taken up without being asked.
    stage.repository.commit("main", "mended", &[("apps/syntax/values.yaml", &stage.values("syntax", "1.0.0"))]);
    ns.apply_json(stage.helm_app("boolean", "~1.0")).await;
    let mended = json!({ "metadata": { "annotations": { format!("{PREFIX}app.force-update"): null } } });
    ns.patch(ARGO, "Application", "boolean", &mended).await;
    for name in ["syntax", "boolean"] {
        wait_for(&format!("{name} is written"), Duration::from_secs(20), || async {
            let text = stage.repository.read("main", &format!("apps/{name}/values.yaml"));
            (text == stage.values(name, "1.0.1")).then_some(())
        })
        .await;
    }
    house.until("both problems go", |s| problems(s) == Some(table.len() - 2)).await;
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_3_a_broken_entry_of_registries_conf_fails_its_images_only_and_a_broken_file_the_start() {
    let stage = staged(&["bad"]).await;
    let before = stage.repository.log("main").len();
    let (ns, house) = stage.installed("bad-registries", "2s").await;
    let entry = "- name: broken\n  prefix: broken.example.com\n  api_url: https://broken.example.com\n  credentials: secret:argocd/login\n";
    house.file("registries.conf", &format!("{}{entry}", stage.registries()));
    let mut bad = stage.helm_app("bad", "~1.0");
    annotate(&mut bad, "image-list", "app=broken.example.com/team/bad:~1.0");
    annotate(&mut bad, "app.force-update", "true");
    ns.apply_json(bad).await;
    ns.apply_json(stage.helm_app(GOOD, "~1.0")).await;
    let status = first_round(&house).await;
    only_the_good(&stage, &house, before);
    let (code, text) = problem_of(&status, "bad");
    assert_eq!(code, "credentials-invalid", "{text}");
    assert!(text.contains('#'), "{text}");
    assert_eq!(house.stop().await, 0);

    let file = house.file("registries.conf", &format!("{}  no_such_key: 1\n", stage.registries()));
    house.launch();
    assert_eq!(house.end().await, 1);
    let said = house.log();
    assert!(said.contains("no_such_key") && said.contains(&file.display().to_string()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_4_evt_2_an_unreachable_registry_and_git_host_hurt_their_own_and_recover() {
    let stage = staged(&["lost", "stray"]).await;
    let before = stage.repository.log("main").len();
    let (ns, house) = stage.installed("unreachable", "1s").await;
    let other = crate::support::counting::Counting::start(stage.registry.base());
    let gone = stage.git.url("gone.git").replace("127.0.0.1", "localhost");
    let gone = format!(
        "{}1/gone.git",
        gone.split("/gone").next().expect("a host").rsplit_once(':').expect("a port").0.to_owned() + ":"
    );
    let more = format!("- name: other\n  prefix: {0}\n  api_url: http://{0}\n  limit: 1000\n", other.host());
    house.file("registries.conf", &format!("{}{more}", stage.registries()));
    other.set_down(true);
    let mut lost = stage.helm_app("lost", "~1.0");
    annotate(&mut lost, "image-list", &format!("app={}/team/lost:~1.0", other.host()));
    lost["status"]["summary"]["images"] = json!([format!("{}/team/lost:1.0.0", other.host())]);
    ns.apply_json(lost).await;
    let mut stray = stage.helm_app("stray", "~1.0");
    stray["spec"]["source"]["repoURL"] = json!(gone);
    ns.apply_json(stray).await;
    let secret = repository_secret("gone", &gone, &[("username", "robot"), ("password", "secret")]);
    ns.apply_json(secret).await;
    ns.apply_json(stage.helm_app(GOOD, "~1.0")).await;
    house.start().await;
    let both = |s: &Value| {
        !House::problems(s, "registry-unreachable").is_empty() && !House::problems(s, "git-unreachable").is_empty()
    };
    let status = house.until("both problems are shown", both).await;
    let (code, text) = problem_of(&status, "lost");
    assert!(code == "registry-unreachable" && text.contains(&other.host()), "{code}: {text}");
    let (code, text) = problem_of(&status, "stray");
    assert!(code == "git-unreachable" && text.contains("localhost:1"), "{code}: {text}");
    house.until("the good one is written", |s| s["pushes"].as_array().is_some_and(|p| !p.is_empty())).await;
    only_the_good(&stage, &house, before);
    // Announced once it has lasted, and ended once it is over.
    wait_for("both are announced", Duration::from_secs(30), || async {
        (house.events("failed").await.len() == 2).then_some(())
    })
    .await;
    other.set_down(false);
    wait_for("the image is written", Duration::from_secs(40), || async {
        let text = stage.repository.read("main", "apps/lost/values.yaml");
        text.contains("1.0.1").then_some(())
    })
    .await;
    wait_for("it is over", Duration::from_secs(10), || async {
        (house.events("recovered").await.len() == 1).then_some(())
    })
    .await;
    let failed = house.events("failed").await;
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn git_10_a_push_the_server_refuses_is_shown_with_its_words_and_not_repeated() {
    use std::os::unix::fs::PermissionsExt;
    let stage = staged(&["one"]).await;
    let before = stage.repository.log("main").len();
    let hook = stage.repository.path().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().expect("a folder")).expect("a folder");
    std::fs::write(&hook, "#!/bin/sh\necho 'only by pull request' >&2\nexit 1\n").expect("a file");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let (ns, house) = stage.installed("rejected", "1s").await;
    ns.apply_json(stage.helm_app("one", "~1.0")).await;
    house.start().await;
    let status = house.until("the problem is shown", |s| !House::problems(s, "git-rejected").is_empty()).await;
    let (_, text) = problem_of(&status, "one");
    assert!(text.contains("only by pull request"), "{text}");
    house.rounds(3).await;
    let pushes = stage.git.requests().into_iter().filter(|r| r.starts_with("POST") && r.ends_with("git-receive-pack"));
    assert_eq!(pushes.count(), 1, "{}", house.log());
    let refused = house.events("refused").await;
    assert_eq!((refused.len(), &refused[0]["reason"]), (1, &json!("git-rejected")), "{refused:?}");
    assert_eq!((house.events("committed").await.len(), stage.repository.log("main").len()), (0, before));
    // Another setting of the Application is a reason to try again within the hour.
    let settings = json!({ "metadata": { "annotations": { "lynceus.dev/refresh": "hard" } } });
    ns.patch(ARGO, "Application", "one", &settings).await;
    let pushed = |r: &String| r.starts_with("POST") && r.ends_with("git-receive-pack");
    let again = || async { stage.git.requests().iter().any(pushed).then_some(()) };
    wait_for("it is tried again", Duration::from_secs(20), again).await;
    house.rounds(2).await;
    assert!(!stage.git.requests().iter().any(pushed), "{}", house.log());
    // Not wanted any more: the cause is gone.
    let settings = json!({ "metadata": { "annotations": { format!("{PREFIX}app.ignore-tags"): "1.0.1" } } });
    ns.patch(ARGO, "Application", "one", &settings).await;
    house.until("nothing is due any more", |s| s["problems"] == json!([])).await;
    assert_eq!(house.events("recovered").await.len(), 1);
    assert_eq!(house.stop().await, 0);
}

/// Takes `patch` on Applications away from the shipped Role.
async fn without_patch(ns: &Ns) {
    let role = ns.object("rbac.authorization.k8s.io/v1", "Role", "lynceus").await.expect("the Role");
    let mut rules = role["rules"].clone();
    let rule =
        rules.as_array_mut().expect("rules").iter_mut().find(|rule| rule["resources"] == json!(["applications"]));
    rule.expect("the rule")["verbs"] = json!(["get", "list", "watch"]);
    ns.patch("rbac.authorization.k8s.io/v1", "Role", "lynceus", &json!({ "rules": rules })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_14_rbac_2_without_the_verb_patch_git_is_written_and_the_lack_is_named_once() {
    let stage = staged(&["patched"]).await;
    let before = stage.repository.log("main").len();
    let (ns, house) = stage.installed("no-patch", "1s").await;
    without_patch(&ns).await;
    let mut patched = stage.helm_app("patched", "~1.0");
    annotate(&mut patched, "write-back-method", "argocd");
    patched["metadata"]["annotations"]
        .as_object_mut()
        .expect("annotations")
        .remove(&format!("{PREFIX}write-back-target"));
    ns.apply_json(patched).await;
    ns.apply_json(stage.helm_app(GOOD, "~1.0")).await;
    house.start().await;
    let status = house.until("both lacks are shown", |s| House::problems(s, "kubernetes-forbidden").len() >= 2).await;
    only_the_good(&stage, &house, before);
    let problems = House::problems(&status, "kubernetes-forbidden");
    assert!(problems.iter().all(|p| p.contains("patch") && p.contains("applications")), "{problems:?}");
    assert!(problems.iter().any(|p| p.contains("/patched")), "{problems:?}");
    house.rounds(2).await;
    let failed = house.events("failed").await;
    assert_eq!((failed.len(), &failed[0]["reason"]), (1, &json!("kubernetes-forbidden")), "{failed:?}");
    assert_eq!(house.events("committed").await.len(), 1);
    let app = ns.object(ARGO, "Application", "patched").await.expect("it is there");
    assert_eq!(app["spec"]["source"].get("helm"), None);
    // Granted again: done, and over.
    ns.apply_deploy("base").await;
    wait_for("the Application is patched", Duration::from_secs(20), || async {
        let app = ns.object(ARGO, "Application", "patched").await.expect("it is there");
        app["spec"]["source"]["helm"].to_string().contains("1.0.1").then_some(())
    })
    .await;
    wait_for("it is over", Duration::from_secs(10), || async {
        (house.events("recovered").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(house.stop().await, 0);
}
