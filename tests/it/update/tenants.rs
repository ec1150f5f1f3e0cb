//! What whoever may edit an Application can reach with it, and what not (image-updates.md §26).

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{ARGO, PREFIX, Stage, repository_secret};
use crate::support::house::House;
use crate::support::wait_for;

/// An AppProject that allows these repositories.
fn project(name: &str, repositories: &[&str]) -> Value {
    json!({
        "apiVersion": ARGO, "kind": "AppProject", "metadata": { "name": name },
        "spec": { "sourceRepos": repositories, "destinations": [{ "server": "*", "namespace": "*" }] },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_2_argo_cds_credentials_reach_what_the_project_allows() {
    let stage = Stage::new().await;
    let other = stage.git.repository("other.git");
    let url = stage.git.url("other.git");
    let apps = ["mine", "theirs", "nobody", "own"];
    for name in apps {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
        other.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
    }
    let (ns, house) = stage.installed("tenants", "2s").await;
    let login = [("username", "robot"), ("password", "secret")];
    ns.apply_json(repository_secret("other", &url, &login)).await;
    let mut own = repository_secret("own", &url, &login);
    own["metadata"]["labels"] = json!({});
    ns.apply_json(own).await;
    ns.apply_json(project("narrow", &[&stage.url()])).await;
    ns.apply_json(project("wide", &[&stage.url(), &url.replace(".git", "*")])).await;
    // Its own source; another repository that the project does not allow, or does; a project that is not there.
    for (name, of) in [("mine", "wide"), ("theirs", "narrow"), ("nobody", "absent"), ("own", "narrow")] {
        let mut app = stage.helm_app(name, "~1.0");
        app["spec"]["project"] = json!(of);
        app["metadata"]["annotations"][format!("{PREFIX}git-repository")] = json!(url);
        if name == "own" {
            // A Secret of the tenant's own is not restricted.
            app["metadata"]["annotations"][format!("{PREFIX}write-back-method")] = json!("git:secret:own");
        }
        ns.apply_json(app).await;
    }
    let before = other.log("main").len();
    house.start().await;
    let status = house.until("both are named", |s| House::problems(s, "credential-forbidden").len() == 2).await;
    house.rounds(1).await;
    let problems = House::problems(&status, "credential-forbidden").concat();
    for word in ["/theirs", "/nobody", "project narrow", "project absent", "sourceRepos"] {
        assert!(problems.contains(word), "{word}: {problems}");
    }
    for (name, written) in [("mine", true), ("theirs", false), ("nobody", false), ("own", true)] {
        let tag = if written { "1.0.1" } else { "1.0.0" };
        let text = other.read("main", &format!("apps/{name}/values.yaml"));
        assert_eq!(text, stage.values(name, tag), "{name}: {}", house.log());
    }
    assert_eq!((other.log("main").len(), stage.repository.log("main").len()), (before + 2, apps.len()));
    assert_eq!(house.stop().await, 0);
    // The operator may allow all.
    let house = house.with(["--allow-any-git-repository"]);
    house.start().await;
    let written = async || (other.log("main").len() == before + 4).then_some(());
    wait_for("all are written", Duration::from_secs(60), written).await;
    house.until("nothing is forbidden", |s| House::problems(s, "credential-forbidden").is_empty()).await;
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_1_admission_on_every_path() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let (ns, house) = stage.installed("admission", "1s").await;
    // Somebody else governs this namespace (OWN-2).
    ns.apply_json(json!({
        "apiVersion": "argocd-image-updater.argoproj.io/v1alpha1", "kind": "ImageUpdater",
        "metadata": { "name": "theirs" },
        "spec": { "applicationRefs": [{ "namePattern": "other-*", "images": [{ "alias": "a", "imageName": "nginx" }] }] },
    }))
    .await;
    ns.apply_json(stage.helm_app("web", "~1.0")).await;
    let kubeconfig = ns.kubeconfig_for("lynceus").await;
    let registries = house.folder().join("registries.conf").display().to_string();
    let (kubeconfig, state) = (kubeconfig.display().to_string(), house.state().display().to_string());
    let shared = ["--kubeconfig", &kubeconfig, "--registries-conf-path", &registries];
    let plan = house.command(&[&["plan", "-o", "json"][..], &shared].concat()).await;
    assert_eq!((plan.code, &plan.json()["changes"]), (0, &json!([])), "{plan:?}");
    let explain = house.command(&[&["explain", "web"][..], &shared].concat()).await;
    assert_ne!(explain.code, 0, "{explain:?}");
    let once =
        house.command(&[&["run", "--once", "--notifications=off", "--state-dir", &state][..], &shared].concat()).await;
    assert_eq!(once.code, 0, "{once:?}");
    house.start().await;
    // A version that would be looked at, were it governed; a look that is asked for.
    let edit = json!({ "metadata": { "annotations": { format!("{PREFIX}app.force-update"): "true" } } });
    ns.patch(ARGO, "Application", "web", &edit).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let status = house.status().await.expect("a status");
    assert_eq!(status["images"]["total"], 0, "{status}");
    assert_eq!(stage.repository.log("main").len(), 1, "{}", house.log());
    assert_eq!(house.history().await, Vec::<Value>::new());
    assert_eq!(house.stop().await, 0);
}
