//! Strategies, targets, write-back methods and credentials, each on the real thing.

use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};

use super::stage::{ARGO, Stage, application, changed_lines, repository_secret};
use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::house::House;
use crate::support::real::{Access, Image, Sshd};
use crate::support::wait_for;

/// Waits for a commit beyond the first `count` ones and gives its changed lines.
async fn committed(stage: &Stage, house: &House, count: usize) {
    let what = format!("commit {count}\n{}", house.log());
    wait_for(&what, Duration::from_secs(20), || async {
        assert!(!house.ended(), "{}", house.log());
        (stage.repository.log("main").len() > count).then_some(())
    })
    .await;
}

/// An Application with one image and these further annotations.
fn tracked(stage: &Stage, name: &str, image: &str, live: &str, annotations: &[(&str, &str)]) -> Value {
    let mut all = vec![("image-list", image), ("write-back-method", "git")];
    all.extend(annotations);
    application(name, &stage.url(), &format!("apps/{name}"), &all, &[live])
}

#[tokio::test(flavor = "multi_thread")]
async fn section_11_each_strategy_chooses_on_a_real_registry() {
    let stage = Stage::new().await;
    let image = |text: &str, created: &str| Image::new(text, created);
    // The newest build is an index, and only for one platform of two.
    stage.registry.push("team/built", "b-old", &image("1", "2026-01-01T00:00:00Z")).await;
    stage.registry.push("team/built", "z-older", &image("0", "2025-01-01T00:00:00Z")).await;
    let newest = image("2", "2026-03-01T00:00:00Z");
    let both = [newest.clone(), image("3", "2026-03-02T00:00:00Z").platform("linux/arm64")];
    stage.registry.push_index("team/built", "a-new", &both).await;
    let foreign = [image("4", "2026-05-01T00:00:00Z").platform("linux/arm64")];
    stage.registry.push_index("team/built", "c-foreign", &foreign).await;
    for tag in ["2026-01-01", "2026-02-01", "latest"] {
        stage.registry.push("team/dated", tag, &image("5", "2026-01-01T00:00:00Z")).await;
    }
    let stable = stage.registry.push("team/stable", "stable", &image("6", "2026-01-01T00:00:00Z")).await;
    stage.push("plain", &["1.0.0", "1.2.0", "2.0.0"]).await;
    let apps = [
        (
            "built",
            format!("app={}", stage.image("built")),
            "b-old",
            vec![("app.update-strategy", "newest-build"), ("app.platforms", "linux/amd64")],
        ),
        (
            "dated",
            format!("app={}", stage.image("dated")),
            "2026-01-01",
            vec![("app.update-strategy", "alphabetical"), ("app.allow-tags", "regexp:^2026-")],
        ),
        ("stable", format!("app={}:stable", stage.image("stable")), "stable", vec![("app.update-strategy", "digest")]),
        ("plain", format!("app={}:^1", stage.image("plain")), "1.0.0", vec![]),
    ];
    let expected = [
        ("built", "a-new".to_owned()),
        ("dated", "2026-02-01".into()),
        ("stable", format!("stable@{}", stable.digest)),
        ("plain", "1.2.0".into()),
    ];
    let (ns, house) = stage.installed("strategies", "2s").await;
    for (name, list, tag, annotations) in &apps {
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, tag))]);
        let mut all = annotations.clone();
        all.extend([
            ("write-back-target", "helmvalues:values.yaml"),
            ("app.helm.image-name", "image.name"),
            ("app.helm.image-tag", "image.tag"),
        ]);
        ns.apply_json(tracked(&stage, name, list, &format!("{}:{tag}", stage.image(name)), &all)).await;
    }
    house.start().await;
    committed(&stage, &house, 7).await;
    for (name, tag) in &expected {
        assert_eq!(
            stage.repository.read("main", &format!("apps/{name}/values.yaml")),
            stage.values(name, tag),
            "{name}"
        );
    }
    // A tag that gets other content is followed by its digest.
    let again = stage.registry.push("team/stable", "stable", &image("7", "2026-06-01T00:00:00Z")).await;
    committed(&stage, &house, 8).await;
    let values = stage.values("stable", &format!("stable@{}", again.digest));
    assert_eq!(stage.repository.read("main", "apps/stable/values.yaml"), values);
    house.rounds(2).await;
    assert_eq!(stage.repository.log("main").len(), 9);
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn section_14_override_file_kustomization_and_branch_targets() {
    let stage = Stage::new().await;
    for name in ["over", "kust", "branch"] {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
    }
    let kustomization = format!(
        "# overlay\nresources:\n  - ../base\nimages:\n  - name: web   # from the base\n    newName: {}\n    newTag: '1.0.0' # kept\n",
        stage.image("kust")
    );
    let branch = stage.values("branch", "1.0.0");
    stage.repository.commit(
        "main",
        "first",
        &[
            ("apps/kust/overlay/kustomization.yaml", &kustomization),
            ("apps/branch/values.yaml", &branch),
            ("apps/over/Chart.yaml", "name: over\n"),
        ],
    );
    let (ns, house) = stage.installed("targets", "2s").await;
    let list = |name: &str| format!("app={}:~1.0", stage.image(name));
    let live = |name: &str| format!("{}:1.0.0", stage.image(name));
    ns.apply_json(tracked(&stage, "over", &list("over"), &live("over"), &[])).await;
    let annotations = [("write-back-target", "kustomization:overlay"), ("app.kustomize.image-name", "web")];
    let mut kust = tracked(&stage, "kust", &list("kust"), &live("kust"), &annotations);
    kust["status"]["sourceType"] = json!("Kustomize");
    ns.apply_json(kust).await;
    let annotations = [
        ("write-back-target", "helmvalues:values.yaml"),
        ("app.helm.image-name", "image.name"),
        ("app.helm.image-tag", "image.tag"),
        ("git-branch", "main:update-{{.AppName}}"),
    ];
    ns.apply_json(tracked(&stage, "branch", &list("branch"), &live("branch"), &annotations)).await;
    house.start().await;
    house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
    assert_eq!(stage.repository.log("main").len(), 3, "{}", house.log());
    let written = stage.repository.read("main", "apps/kust/overlay/kustomization.yaml");
    assert_eq!(written, kustomization.replace("'1.0.0'", "'1.0.1'"));
    let over = stage.repository.read("main", "apps/over/.argocd-source-over.yaml");
    let over: Value = serde_saphyr::from_str(&over).expect("YAML");
    let entry = |name: &str, value: &str| json!({ "name": name, "value": value, "forcestring": true });
    let parameters = json!([entry("image.name", &stage.image("over")), entry("image.tag", "1.0.1")]);
    assert_eq!(over, json!({ "helm": { "parameters": parameters } }));
    // The push branch is made from main and holds one change more; main has none of it.
    assert_eq!(stage.repository.read("main", "apps/branch/values.yaml"), branch);
    assert_eq!(stage.repository.read("update-branch", "apps/branch/values.yaml"), stage.values("branch", "1.0.1"));
    assert_eq!(stage.repository.log("update-branch")[1..], stage.repository.log("main"));
    house.rounds(2).await;
    assert_eq!((stage.repository.log("main").len(), stage.repository.log("update-branch").len()), (3, 4));
    assert_eq!(house.events("committed").await.len(), 3);
    stage.repository.check();
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn arg_1_a_concurrent_edit_survives_and_only_owned_entries_are_patched() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0"]).await;
    let (ns, house) = stage.installed("argocd", "1s").await;
    let list = format!("app={}:~1.0", stage.image("web"));
    let mut app = application(
        "web",
        &stage.url(),
        "apps/web",
        &[("image-list", &list)],
        &[&format!("{}:1.0.0", stage.image("web"))],
    );
    app["spec"]["source"]["helm"] = json!({ "parameters": [
        { "name": "image.tag", "value": "1.0.0" }, { "name": "replicas", "value": "3" },
    ], "values": "keep: me\n" });
    ns.apply_json(app).await;
    house.start().await;
    house.rounds(1).await;
    // Somebody edits the Application all the time, so that some patches meet another version.
    let tags = 12;
    for n in 1..=tags {
        stage.tag("web", &format!("1.0.{n}")).await;
        let arrived = format!("1.0.{n}");
        wait_for(&format!("{arrived}\n{}", house.log()), Duration::from_secs(20), || async {
            let edit = json!({ "metadata": { "labels": { "edited": format!("{}", fastrand::u32(..)) } } });
            ns.patch(ARGO, "Application", "web", &edit).await;
            let app = ns.object(ARGO, "Application", "web").await.expect("it is there");
            (app["spec"]["source"]["helm"]["parameters"][0]["value"] == arrived.as_str()).then_some(())
        })
        .await;
    }
    let app = ns.object(ARGO, "Application", "web").await.expect("it is there");
    let expected = json!({ "parameters": [
        { "name": "image.tag", "value": format!("1.0.{tags}"), "forceString": true },
        { "name": "replicas", "value": "3" },
        { "name": "image.name", "value": stage.image("web"), "forceString": true },
    ], "values": "keep: me\n" });
    assert_eq!(app["spec"]["source"]["helm"], expected);
    wait_for("every change is told", Duration::from_secs(20), || async {
        (house.events("committed").await.len() == tags).then_some(())
    })
    .await;
    assert_eq!(house.events("failed").await, Vec::<Value>::new());
    assert_eq!(house.stop().await, 0);
}

/// A namespace whose Application lives in a repository behind `sshd`, with this Secret's known hosts.
async fn over_ssh(label: &str, sshd: &Sshd, stage: &Stage, known: &str) -> (Ns, House) {
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    let ns = ControlPlane::get().await.namespace(label).await;
    let kubeconfig = ns.apply_deploy("base").await;
    let url = sshd.url("config.git");
    ns.apply_json(repository_secret("ssh", &url, &[("sshPrivateKey", &sshd.private_key())])).await;
    let mut app = stage.helm_app("web", "~1.0");
    app["spec"]["source"]["repoURL"] = json!(url);
    ns.apply_json(app).await;
    let house = stage.house().knowing(known).variable("POD_NAMESPACE", &ns.name);
    (ns, house.with([format!("--kubeconfig={}", kubeconfig.display()), "--interval=1s".to_owned()]))
}

#[tokio::test(flavor = "multi_thread")]
async fn git_2_ssh_with_a_known_host_is_written_and_an_unknown_one_never() {
    let (sshd, stage) = (Sshd::start().await, Stage::new().await);
    let repository = sshd.repository("config.git");
    repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    for (label, known) in [("ssh-unknown", String::new()), ("ssh-other", sshd.known_host_with_other_key())] {
        let (_, house) = over_ssh(label, &sshd, &stage, &known).await;
        house.start().await;
        let status = house.until("the problem is shown", |s| !House::problems(s, "git-host-key").is_empty()).await;
        let problem = House::problems(&status, "git-host-key").concat();
        assert!(problem.contains("127.0.0.1") && problem.contains("SHA256:"), "{problem}");
        house.rounds(1).await;
        assert_eq!(repository.log("main").len(), 1, "{label}");
        let failed = house.events("failed").await;
        assert_eq!((failed.len(), &failed[0]["reason"]), (1, &json!("git-host-key")), "{failed:?}");
        assert_eq!(house.stop().await, 0);
    }
    let (ns, house) = over_ssh("ssh-known", &sshd, &stage, &sshd.known_host()).await;
    house.start().await;
    house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
    assert_eq!(repository.log("main").len(), 2, "{}", house.log());
    let diff = repository.diff("main");
    let (gone, new) = changed_lines(&diff);
    assert_eq!((gone.len(), new), (1, vec!["    tag: \"1.0.1\" # quoted on purpose"]));
    repository.check();
    let app = ns.object(ARGO, "Application", "web").await.expect("it is there");
    assert_eq!(app["metadata"]["annotations"]["argocd.argoproj.io/refresh"], "normal");
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rbac_2_the_hardened_role_writes_with_a_secret_that_the_application_names() {
    let stage = Stage::new().await;
    let before = ["named", "unnamed"];
    for name in before {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
    }
    let (ns, house) = stage.installed("hardened", "1s").await;
    ns.apply_deploy("hardened/role.yaml").await;
    ns.apply_json(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "repo-1" },
        "stringData": { "username": "robot", "password": "secret" },
    }))
    .await;
    let mut named = stage.helm_app("named", "~1.0");
    let secret = format!("git:secret:{}/repo-1", ns.name);
    named["metadata"]["annotations"]["argocd-image-updater.argoproj.io/write-back-method"] = json!(secret);
    ns.apply_json(named).await;
    ns.apply_json(stage.helm_app("unnamed", "~1.0")).await;
    // The shipped variant names the Secrets it may read one by one; this test's is not among them.
    let grant = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "lynceus-secrets" },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["repo-1"], "verbs": ["get"] }],
    });
    ns.apply_json(grant).await;
    ns.apply_json(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "lynceus-secrets" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lynceus-secrets" },
        "subjects": [{ "kind": "ServiceAccount", "name": "lynceus", "namespace": ns.name }],
    }))
    .await;
    house.start().await;
    committed(&stage, &house, 2).await;
    let status = house.rounds(2).await;
    assert_eq!(stage.repository.log("main").len(), 3, "{}", house.log());
    assert_eq!(stage.repository.read("main", "apps/named/values.yaml"), stage.values("named", "1.0.1"));
    let lacks = House::problems(&status, "git-auth");
    // The password of the other Secret is the word `secret`, which is masked wherever it stands (SEC-01).
    assert!(lacks.len() == 1 && lacks[0].contains("write-back-method: git:***:"), "{status}");
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cred_1_cred_4_reg_5_pull_secrets_open_registries_with_tokens_and_with_basic() {
    let (user, password) = ("robot".to_owned(), "pa:ss".to_owned());
    let (login, accounts) = (format!("{user}:{password}"), (user.clone(), password.clone()));
    let token = Stage::with(Access::Token(accounts.0.clone(), accounts.1.clone())).await;
    let basic = Stage::with(Access::Basic(accounts.0, accounts.1)).await;
    for (label, stage) in [("token", &token), ("basic", &basic)] {
        for name in ["config", "field", "wrong"] {
            stage.push(name, &["1.0.0", "1.0.1"]).await;
            let file = format!("apps/{name}/values.yaml");
            stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
        }
        let (ns, house) = stage.installed(label, "2s").await;
        let auth = base64::engine::general_purpose::STANDARD.encode(&login);
        let config = json!({ "auths": { stage.front.host(): { "auth": auth } } }).to_string();
        ns.apply_json(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": { "name": "pull" }, "stringData": { ".dockerconfigjson": config },
        }))
        .await;
        ns.apply_json(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" },
            "stringData": { "good": login, "wrong": "robot:guess" },
        }))
        .await;
        let secret = |form: &str| form.replace("NS", &ns.name);
        for (name, form) in
            [("config", "pullsecret:NS/pull"), ("field", "secret:NS/login#good"), ("wrong", "secret:NS/login#wrong")]
        {
            let mut app = stage.helm_app(name, "~1.0");
            app["metadata"]["annotations"]["argocd-image-updater.argoproj.io/app.pull-secret"] = json!(secret(form));
            ns.apply_json(app).await;
        }
        house.start().await;
        let status = house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
        for name in ["config", "field"] {
            let file = format!("apps/{name}/values.yaml");
            assert_eq!(stage.repository.read("main", &file), stage.values(name, "1.0.1"), "{label} {name}: {status}");
        }
        let problems = House::problems(&status, "registry-auth");
        assert_eq!(problems.len(), 1, "{status}");
        assert!(problems[0].contains(&format!("{}/wrong", ns.name)) && !problems[0].contains("guess"), "{problems:?}");
        assert_eq!(stage.repository.log("main").len(), 5);
        for secret in ["pa:ss", "guess", &auth] {
            assert!(!house.log().contains(secret), "{secret} is in the log");
        }
        assert_eq!(house.stop().await, 0);
    }
    // One token per repository and credential serves the round.
    let asked = token.registry.tokens().requests();
    let mut own: Vec<&String> =
        asked.iter().filter(|a| a.contains("team%2Fconfig") || a.contains("team/config")).collect();
    own.dedup();
    assert!(!own.is_empty() && own.iter().all(|a| a.starts_with("robot ")), "{asked:?}");
}
