//! Where Applications come from without a cluster, and what is said of those that cannot be served (image-updates.md §2).

use serde_json::{Value, json};

use super::offline::Offline;
use super::stage::{PREFIX, Stage, application};
use crate::support::house::House;

fn problems(plan: &Value, code: &str) -> Vec<String> {
    House::problems(plan, code)
}

fn changed(plan: &Value) -> Vec<String> {
    let changes = plan["changes"].as_array().expect("changes").iter();
    changes.map(|change| change["application"].as_str().expect("text").to_owned()).collect()
}

/// A parent of eight parents is not followed, and that is said; parents in a circle end nowhere else than others.
#[tokio::test(flavor = "multi_thread")]
async fn src_6_app_of_apps_depth_and_cycle() {
    let stage = Stage::new().await;
    let mut files: Vec<(String, String)> = Vec::new();
    let parent = |name: &str, path: &str| application(name, &stage.url(), path, &[], &[]).to_string();
    files.push(("d0/app0.yaml".into(), parent("app0", "d1")));
    for depth in 1..10 {
        // Each folder holds the parent of the next one and a leaf with an image.
        files.push((format!("d{depth}/app{depth}.yaml"), parent(&format!("app{depth}"), &format!("d{}", depth + 1))));
        let leaf = format!("leaf{depth}");
        stage.push(&leaf, &["1.0.0", "1.0.1"]).await;
        let mut app = stage.helm_app(&leaf, "~1.0");
        app.as_object_mut().expect("an object").remove("status");
        files.push((format!("d{depth}/{leaf}.yaml"), app.to_string()));
        files.push((format!("apps/{leaf}/values.yaml"), stage.values(&leaf, "1.0.0")));
    }
    files.push(("d2/back.yaml".into(), parent("back", "d1")));
    files.push(("d3/itself.yaml".into(), parent("itself", "d3")));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    stage.repository.commit("main", "first", &files);
    let place = format!("git+{}?ref=main&path=d0", stage.url());
    let offline = Offline::at(&stage, stage.house(), place);
    let plan = offline.command("plan", &["-o", "json"]).await;
    assert_eq!(plan.code, 2, "{plan:?}");
    let plan = plan.json();
    let leaves: Vec<String> = (1..9).map(|depth| format!("argocd/leaf{depth}")).collect();
    assert_eq!(changed(&plan), leaves);
    let told = problems(&plan, "not-expanded");
    assert!(
        told.len() == 1 && told[0].starts_with("Application argocd/app8: ") && told[0].contains("leaf9"),
        "{told:?}"
    );
    // Only the one parent that is named is followed; nothing below it is an Application of its own.
    let other = offline.command("plan", &["-o", "json", "--root", "app7"]).await;
    assert_eq!((other.code, changed(&other.json()).len()), (0, 0), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn src_7_offline_source_type_detection() {
    let stage = Stage::new().await;
    let names = ["explicit", "chart", "kust", "plain", "status"];
    let mut files = vec![
        ("apps/explicit/readme.md".to_owned(), "no chart\n".to_owned()),
        ("apps/chart/Chart.yaml".to_owned(), "name: chart\n".to_owned()),
        ("apps/chart/values.yaml".to_owned(), "image:\n  tag: 1.0.0\n".to_owned()),
        ("apps/plain/deployment.yaml".to_owned(), "kind: Deployment\n".to_owned()),
        ("apps/status/Chart.yaml".to_owned(), "name: status\n".to_owned()),
    ];
    let list = format!("images:\n- name: {}\n  newTag: 1.0.0\n", stage.image("kust"));
    files.push(("apps/kust/kustomization.yaml".to_owned(), list));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    stage.repository.commit("main", "first", &files);
    let mut apps = Vec::new();
    for name in names {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let image = format!("app={}:~1.0", stage.image(name));
        let target = match name {
            "chart" => "helmvalues:values.yaml",
            "kust" => "kustomization",
            _ => "",
        };
        let mut annotations = vec![("image-list", image.as_str()), ("write-back-method", "git")];
        annotations.push(("write-back-target", target));
        annotations.push(("lynceus.dev/discover", if matches!(name, "chart" | "kust") { "desired" } else { "both" }));
        let mut app = application(name, &stage.url(), &format!("apps/{name}"), &annotations, &[]);
        app["metadata"]["annotations"][format!("{PREFIX}force-update")] = json!("true");
        app.as_object_mut().expect("an object").remove("status");
        if name == "explicit" {
            app["spec"]["source"]["helm"] = json!({ "parameters": [{ "name": "image.tag", "value": "1.0.0" }] });
        }
        if name == "status" {
            app["status"] = json!({ "sourceType": "Kustomize" });
        }
        apps.push(app);
    }
    let offline = Offline::new(&stage, &apps);
    let plan = offline.command("plan", &["-o", "json"]).await.json();
    let files: Vec<(String, String)> = plan["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| {
            (
                change["application"].as_str().expect("text").to_owned(),
                change["file"].as_str().expect("text").to_owned(),
            )
        })
        .collect();
    let expected = [
        ("argocd/chart", "apps/chart/values.yaml"),
        ("argocd/explicit", "apps/explicit/.argocd-source-explicit.yaml"),
        ("argocd/kust", "apps/kust/kustomization.yaml"),
        ("argocd/status", "apps/status/.argocd-source-status.yaml"),
    ];
    assert_eq!(files, expected.map(|(app, file)| (app.to_owned(), file.to_owned())), "{plan}");
    let diff = plan["changes"][3]["diff"].as_str().expect("text");
    assert!(diff.contains("kustomize:"), "the status says Kustomize, whatever lies there: {diff}");
    // Plain manifests have no place for an image (SRC-9).
    let refused = plan["refused"].as_array().expect("refused");
    assert_eq!(refused.len(), 1, "{plan}");
    assert_eq!(
        (&refused[0]["application"], &refused[0]["kind"]),
        (&json!("argocd/plain"), &json!("unsupported-source"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn src_8_method_argocd_without_a_cluster_is_planned_and_refused() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    stage.repository.commit("main", "first", &[("apps/web/Chart.yaml", "name: web\n")]);
    let list = format!("app={}:~1.0", stage.image("web"));
    let live = format!("{}:1.0.0", stage.image("web"));
    let mut app = application("web", &stage.url(), "apps/web", &[("image-list", &list)], &[&live]);
    app["spec"]["source"]["helm"] = json!({ "parameters": [{ "name": "image.tag", "value": "1.0.0" }] });
    let offline = Offline::new(&stage, &[app]);
    let plan = offline.command("plan", &["-o", "json"]).await;
    let shown = plan.json();
    let diff = shown["parameters"][0]["diff"].as_str().unwrap_or_else(|| panic!("{shown}"));
    assert!(diff.contains("+image.tag=1.0.1") || diff.contains("1.0.1"), "{diff}");
    let once = offline.once().await;
    assert_eq!(once.code, 1, "{once:?}");
    assert!(format!("{}{}", once.out, once.err).contains("kubernetes-unavailable"), "{once:?}");
    assert_eq!(offline.house.events("committed").await, Vec::<Value>::new());
    assert_eq!(stage.repository.log("main").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ann_8_own_3_src_4_image_updaters_among_manifests_count_as_in_a_cluster() {
    let stage = Stage::new().await;
    for name in ["web", "api", "other"] {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
    }
    let apps = ["web", "api", "other"].map(|name| stage.helm_app(name, "~1.0"));
    let offline = Offline::new(&stage, &apps);
    let both = async |mode: &str| {
        let plan = offline.command("plan", &["-o", "json", &format!("--native-annotations={mode}")]).await.json();
        (changed(&plan), problems(&plan, "image-updater-pending").len())
    };
    let native = offline.command("plan", &["-o", "json", "web"]).await.json();
    let all = ["api", "other", "web"].map(|name| format!("argocd/{name}")).to_vec();
    assert_eq!(both("auto").await, (all, 0));
    assert_eq!(both("false").await, (vec![], 0));
    let updater = json!({
        "apiVersion": "argocd-image-updater.argoproj.io/v1alpha1", "kind": "ImageUpdater",
        "metadata": { "name": "notes" }, "spec": { "applicationRefs": [{ "namePattern": "web", "useAnnotations": true }] },
    });
    let mut lists = updater.clone();
    lists["metadata"]["name"] = json!("lists");
    lists["spec"]["applicationRefs"] =
        json!([{ "namePattern": "api", "images": [{ "alias": "a", "imageName": "n" }] }]);
    offline.house.file("applications/updaters.yaml", &format!("{updater}\n---\n{lists}\n"));
    for (mode, changes) in [("auto", vec!["web"]), ("false", vec!["web"]), ("true", vec!["other", "web"])] {
        let changes: Vec<String> = changes.iter().map(|name| format!("argocd/{name}")).collect();
        assert_eq!(both(mode).await, (changes, 2), "{mode}");
    }
    // Whoever said that the annotations count, what they say is the same.
    let selected = offline.command("plan", &["-o", "json", "web"]).await.json();
    assert_eq!((&selected["changes"], selected["changes"].as_array().map(Vec::len)), (&native["changes"], Some(1)));
    let lint = offline.house.command(&["lint", "applications"]).await;
    assert_eq!(lint.code, 0, "{lint:?}");
    lists["spec"]["applicationRefs"][0]["namePattern"] = json!("[");
    offline.house.file("applications/updaters.yaml", &lists.to_string());
    let lint = offline.house.command(&["lint", "applications"]).await;
    assert!(
        lint.code == 3 && lint.out.contains("updaters.yaml (lists): spec.applicationRefs[0].namePattern"),
        "{lint:?}"
    );
}

/// Annotations on what an Application deploys are seen by nobody; `lint` says where they belong.
#[tokio::test]
async fn src_11_annotation_on_wrong_object() {
    let house = House::new();
    let key = format!("{PREFIX}image-list");
    let note = |name: &str| json!({ "name": name, "annotations": { &key: "web=nginx:1.x", format!("{PREFIX}web.allow-tags"): "any" } });
    let template = json!({ "metadata": note("pods") });
    let web = application("web", "https://git.test/deploy.git", "apps/web", &[], &[]);
    house.file("all/argocd/web.yaml", &web.to_string());
    let rows = [
        (
            "repo/apps/web/deployment.yaml",
            json!({ "kind": "Deployment", "metadata": note("web") }),
            "on Application web",
        ),
        (
            "repo/apps/web/deep/rollout.yaml",
            json!({ "kind": "Rollout", "metadata": { "name": "r" }, "spec": { "template": template } }),
            "on Application web",
        ),
        (
            "repo/apps/api/job.yaml",
            json!({ "kind": "CronJob", "metadata": { "name": "j" }, "spec": { "jobTemplate": { "spec": { "template": template } } } }),
            "on the Application whose source holds this file",
        ),
        (
            "repo/sets/set.yaml",
            json!({ "kind": "ApplicationSet", "metadata": note("s") }),
            "below spec.template.metadata.annotations",
        ),
    ];
    for (file, object, _) in &rows {
        house.file(&format!("all/{file}"), &object.to_string());
    }
    // Where they are read, or are none of ours, nothing is said.
    let fine = [
        json!({ "kind": "ApplicationSet", "metadata": { "name": "s" }, "spec": { "template": template } }),
        json!({ "kind": "Deployment", "metadata": { "name": "d", "annotations": { "example.com/x": "y" } } }),
    ];
    for (n, object) in fine.iter().enumerate() {
        house.file(&format!("all/fine/{n}.yaml"), &object.to_string());
    }
    let lint = house.command(&["lint", "all", "-o", "json"]).await;
    assert_eq!(lint.code, 0, "{lint:?}");
    let found = lint.json();
    let found = found.as_array().expect("a list");
    assert_eq!(found.len(), rows.len(), "{found:#?}");
    for (file, object, hint) in &rows {
        let problem = found.iter().find(|p| p["object"].as_str().is_some_and(|o| o.ends_with(file))).expect(file);
        assert_eq!((&problem["code"], &problem["key"]), (&json!("annotation-on-wrong-object"), &json!(key)));
        assert_eq!(problem["severity"], "warning");
        assert!(problem["hint"].as_str().expect("text").contains(hint), "{problem}");
        assert!(
            problem["text"].as_str().expect("text").contains(object["kind"].as_str().expect("a kind")),
            "{problem}"
        );
    }
    assert_eq!(house.command(&["lint", "all", "--strict"]).await.code, 3);
}

/// An Application that an ApplicationSet made is written to Git as any other.
#[tokio::test(flavor = "multi_thread")]
async fn src_10_an_application_of_an_application_set_is_written_by_every_git_method() {
    let stage = Stage::new().await;
    let mut apps = Vec::new();
    for (name, method) in [("one", "git"), ("two", "git:repocreds"), ("three", "git:secret:argocd/repository")] {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
        let mut app = stage.helm_app(name, "~1.0");
        app["metadata"]["namespace"] = json!("argocd");
        app["metadata"]["annotations"][format!("{PREFIX}write-back-method")] = json!(method);
        app["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "all", "uid": "u" }]);
        apps.push(app);
    }
    let offline = Offline::new(&stage, &apps);
    let once = offline.once().await;
    assert_eq!(once.code, 0, "{once:?}");
    for name in ["one", "two", "three"] {
        assert_eq!(
            stage.repository.read("main", &format!("apps/{name}/values.yaml")),
            stage.values(name, "1.0.1"),
            "{name}"
        );
    }
}
