//! The steps of `deploy/COMING-FROM-ARGOCD-IMAGE-UPDATER.md`, one after the other, for both lines of Argo CD Image
//! Updater: look, start with another image in the old Deployment, see, go back. Real API server, registry and Git server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{ARGO, Stage, UPDATER, application, repository_secret};
use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::house::{House, Ran};
use crate::support::wait_for;

/// An override file, byte for byte as Argo CD Image Updater writes it.
fn written_by_upstream(stage: &Stage, name: &str, tag: &str) -> String {
    format!(
        "helm:\n  parameters:\n  - name: image.name\n    value: {}\n    forcestring: true\n  - name: image.tag\n    \
         value: {tag}\n    forcestring: true\n",
        stage.image(name)
    )
}

fn kustomization(stage: &Stage, tag: &str) -> String {
    let image = stage.image("kust");
    format!("resources:\n- deployment.yaml\nimages:\n- name: {image}\n  newTag: {tag}\n")
}

const NAMES: [&str; 3] = ["over", "values", "kust"];

/// Argo CD and what the old program left: 1.0.1 is committed everywhere and not synced yet.
struct Left {
    stage: Stage,
    ns: Ns,
    /// Commits so far.
    commits: AtomicUsize,
}

impl Left {
    async fn behind(label: &str) -> Left {
        let stage = Stage::new().await;
        for name in NAMES {
            stage.push(name, &["1.0.0", "1.0.1"]).await;
        }
        let first = [
            ("apps/over/Chart.yaml", "name: over\n".to_owned()),
            ("apps/values/values.yaml", stage.values("values", "1.0.0")),
            ("apps/kust/kustomization.yaml", kustomization(&stage, "1.0.0")),
        ];
        let second = [
            ("apps/over/.argocd-source-over.yaml", written_by_upstream(&stage, "over", "1.0.1")),
            ("apps/values/values.yaml", stage.values("values", "1.0.1")),
            ("apps/kust/kustomization.yaml", kustomization(&stage, "1.0.1")),
        ];
        for (message, files) in [("first", first), ("build: automatic update", second)] {
            stage.repository.commit("main", message, &files.each_ref().map(|(path, text)| (*path, text.as_str())));
        }
        let ns = ControlPlane::get().await.namespace(label).await;
        ns.apply_json(repository_secret("repository", &stage.url(), &[("username", "robot"), ("password", "secret")]))
            .await;
        let left = Left { stage, ns, commits: AtomicUsize::new(2) };
        for name in NAMES {
            left.ns.apply_json(left.app(name)).await;
        }
        left
    }

    fn app(&self, name: &str) -> Value {
        let list = format!("app={}:~1.0", self.stage.image(name));
        let mut annotations = vec![("image-list", list.as_str()), ("write-back-method", "git")];
        match name {
            "values" => annotations.extend([
                ("write-back-target", "helmvalues:values.yaml"),
                ("app.helm.image-name", "image.name"),
                ("app.helm.image-tag", "image.tag"),
            ]),
            "kust" => annotations.push(("write-back-target", "kustomization")),
            _ => {}
        }
        let live = format!("{}:1.0.0", self.stage.image(name));
        let mut app = application(name, &self.stage.url(), &format!("apps/{name}"), &annotations, &[&live]);
        if name == "kust" {
            app["status"]["sourceType"] = json!("Kustomize");
        }
        app
    }

    /// The ServiceAccount of the old Deployment, with the Role that the old manifests gave it.
    async fn role(&self, account: &str, rules: Value) -> String {
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        for object in [
            json!({ "apiVersion": version, "kind": "Role", "metadata": { "name": account }, "rules": rules }),
            json!({ "apiVersion": version, "kind": "RoleBinding", "metadata": { "name": account },
                "roleRef": { "apiGroup": group, "kind": "Role", "name": account },
                "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": self.ns.name }] }),
        ] {
            self.ns.apply_json(object).await;
        }
        self.ns.kubeconfig_for(account).await.display().to_string()
    }

    /// The old Deployment with the new image: name of the program, flags and variables as they were.
    fn deployment(&self, called: &str, kubeconfig: &str, more: &[&str]) -> House {
        let house = self.stage.house_called(called).variable("POD_NAMESPACE", &self.ns.name);
        let house = house.variable("IMAGE_UPDATER_LOGLEVEL", "debug").variable("GIT_COMMIT_USER", "old-name");
        let flags = ["--interval=1s", "--loglevel=debug"].map(str::to_owned);
        let house = house.with(flags).with([format!("--kubeconfig={kubeconfig}")]);
        house.with(more.iter().copied())
    }

    /// Step 1.
    async fn look(&self, house: &House) {
        let kubeconfig = self.ns.kubeconfig_admin().display().to_string();
        let registries = house.file("registries.conf", &self.stage.registries()).display().to_string();
        let place = ["--kubeconfig", &kubeconfig, "-n", &self.ns.name, "--registries-conf-path", &registries];
        let plan: Ran = house.command(&[&["plan"], &place[..]].concat()).await;
        assert_eq!(plan.code, 0, "{plan:?}");
        assert!(plan.out.contains("0 changes, 0 held, 0 refused"), "{plan:?}");
        let explain = house.command(&[&["explain", "over"], &place[..]].concat()).await;
        assert!(explain.code == 0 && explain.out.contains("desired    1.0.1"), "{explain:?}");
        let mut items = Vec::new();
        for name in NAMES {
            items.push(self.ns.object(ARGO, "Application", name).await.expect("it is there"));
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        let apps = house.file("apps.yaml", &list.to_string()).display().to_string();
        let lint = house.command(&["lint", &apps, &registries]).await;
        assert!(lint.code == 0 && lint.out.contains("0 errors, 0 warnings"), "{lint:?}");
        self.quiet();
    }

    /// Nothing was committed.
    fn quiet(&self) {
        assert_eq!(self.stage.repository.log("main").len(), self.commits.load(Ordering::Relaxed));
    }

    /// So many commits come, and no more.
    async fn more(&self, house: &House, count: usize) {
        let wanted = self.commits.fetch_add(count, Ordering::Relaxed) + count;
        wait_for(&format!("{wanted} commits"), Duration::from_secs(30), || async {
            assert!(!house.ended(), "{}", house.log());
            (self.stage.repository.log("main").len() >= wanted).then_some(())
        })
        .await;
        house.rounds(2).await;
        self.quiet();
    }
}

/// Everything the Role of the 0.x line grants.
fn role_0() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get", "list", "update", "patch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create"] },
    ])
}

/// Everything both Roles of the 1.x line grant.
fn role_1() -> Value {
    let own = "argocd-image-updater.argoproj.io";
    let all = ["create", "delete", "get", "list", "patch", "update", "watch"];
    json!([
        { "apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create"] },
        { "apiGroups": [own], "resources": ["imageupdaters"], "verbs": all },
        { "apiGroups": [own], "resources": ["imageupdaters/finalizers"], "verbs": ["update"] },
        { "apiGroups": [own], "resources": ["imageupdaters/status"], "verbs": ["get", "patch", "update"] },
        { "apiGroups": ["argoproj.io"], "resources": ["applications"],
          "verbs": ["get", "list", "patch", "update", "watch"] },
        // A Role of its own there, for leader election.
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": all },
    ])
}

fn codes(status: &Value) -> Vec<String> {
    let problems = status["problems"].as_array().into_iter().flatten();
    let mut codes: Vec<String> = problems.map(|p| p["code"].as_str().unwrap_or_default().to_owned()).collect();
    codes.sort();
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn own_1_rbac_1_compat_q21_the_described_steps_for_the_line_without_objects() {
    let left = Left::behind("line-zero").await;
    let kubeconfig = left.role("argocd-image-updater", role_0()).await;
    // 1. Look first.
    left.look(&left.stage.house()).await;
    // 3. The old Deployment with another image. 4. Look whether all is well.
    let house = left.deployment("argocd-image-updater", &kubeconfig, &[]);
    house.start().await;
    house.rounds(3).await;
    left.quiet();
    // That there will be no Lease is known after a few refusals.
    let mild = |s: &Value| s["problems"].as_array().is_some_and(|all| all.iter().all(|p| p["severity"] == "warning"));
    let status = house.until("only warnings are left", |s| codes(s).len() == 4 && mild(s)).await;
    assert_eq!(status["applications"]["governed"], 3, "{status}");
    assert_eq!(status["nativeAnnotations"], json!({ left.ns.name.as_str(): true }), "{status}");
    // What the old Role does not grant is said once each, and stops nothing: watching Applications, ImageUpdater
    // objects, the Lease; projects.
    let [forbidden, unavailable] = ["kubernetes-forbidden", "kubernetes-unavailable"];
    assert_eq!(codes(&status), [forbidden, forbidden, forbidden, unavailable], "{status}");
    assert!(house.log().contains("3 applications are managed natively"), "{}", house.log());
    // The next new tag is committed once, in the form the old program would go on from, in its name.
    left.stage.tag("over", "1.0.2").await;
    left.more(&house, 1).await;
    let over = left.stage.repository.read("main", "apps/over/.argocd-source-over.yaml");
    assert_eq!(over, written_by_upstream(&left.stage, "over", "1.0.2"));
    assert_eq!(
        left.stage.repository.git(&["log", "-1", "--format=%an %ae", "main"]).trim(),
        "old-name noreply@argoproj.io"
    );
    // An Application that comes later is seen though it may not be watched.
    left.stage.push("late", &["1.0.0", "1.0.1"]).await;
    left.stage.repository.commit("main", "late", &[("apps/late/values.yaml", &left.stage.values("late", "1.0.0"))]);
    left.commits.fetch_add(1, Ordering::Relaxed);
    left.ns.apply_json(left.stage.helm_app("late", "~1.0")).await;
    left.more(&house, 1).await;
    assert_eq!(left.stage.repository.read("main", "apps/late/values.yaml"), left.stage.values("late", "1.0.1"));
    let log = house.log();
    assert_eq!(log.matches("grant watch on applications").count(), 1, "{log}");
    assert_eq!(log.matches("grant get, list, watch on imageupdaters").count(), 1, "{log}");
    assert_eq!(house.events("committed").await.len(), 2);
    // 5. Going back: nothing of ours is left on the Applications but the wish to be looked at.
    assert_eq!(house.stop().await, 0);
    let app = left.ns.object(ARGO, "Application", "kust").await.expect("it is there");
    assert_eq!(app["metadata"]["annotations"], left.app("kust")["metadata"]["annotations"]);
    // The other side of the switch: as in 1.x nobody is managed without an object.
    left.stage.tag("values", "1.0.2").await;
    let house = left.deployment("argocd-image-updater", &kubeconfig, &["--native-annotations=false"]);
    house.start().await;
    let known = |s: &Value| s["nativeAnnotations"] == json!({ left.ns.name.as_str(): false });
    let status = house.until("the mode is known", known).await;
    assert_eq!(status["applications"], json!({ "governed": 0, "watched": 4 }), "{status}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    left.quiet();
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_2_own_3_compat_q21_the_described_steps_for_the_line_with_objects() {
    let left = Left::behind("line-one").await;
    let kubeconfig = left.role("argocd-image-updater-controller", role_1()).await;
    let object = |name: &str, refs: Value| {
        json!({ "apiVersion": UPDATER, "kind": "ImageUpdater",
            "metadata": { "name": name, "finalizers": ["resources-finalizer.argocd-image-updater.argoproj.io"] },
            "spec": { "applicationRefs": refs }, "status": { "applicationsMatched": 2 } })
    };
    let noted = |pattern: &str| json!({ "namePattern": pattern, "useAnnotations": true });
    left.ns.apply_json(object("notes", json!([noted("over"), noted("val*")]))).await;
    let images = json!([{ "alias": "app", "imageName": format!("{}:~1.0", left.stage.image("kust")) }]);
    let lists = object("lists", json!([{ "namePattern": "kust", "images": images }]));
    left.ns.apply_json(lists).await;
    let version = async |name: &str| {
        let object = left.ns.object(UPDATER, "ImageUpdater", name).await.expect("it is there");
        object["metadata"]["resourceVersion"].clone()
    };
    let before = (version("notes").await, version("lists").await);
    left.look(&left.stage.house()).await;
    let house = left.deployment("manager", &kubeconfig, &[]);
    house.start().await;
    house.rounds(3).await;
    left.quiet();
    let status = house.status().await.expect("a status");
    assert_eq!(status["applications"]["governed"], 2, "{status}");
    assert_eq!(status["nativeAnnotations"], json!({ left.ns.name.as_str(): false }), "{status}");
    let pending = ["image-updater-pending", "image-updater-pending", "kubernetes-unavailable"];
    assert_eq!(codes(&status), pending, "{status}");
    // What waits is not touched, whatever comes; the others go on.
    for name in NAMES {
        left.stage.tag(name, "1.0.2").await;
    }
    left.more(&house, 2).await;
    let read = |path: &str| left.stage.repository.read("main", path);
    assert_eq!(read("apps/over/.argocd-source-over.yaml"), written_by_upstream(&left.stage, "over", "1.0.2"));
    assert_eq!(read("apps/values/values.yaml"), left.stage.values("values", "1.0.2"));
    assert_eq!(read("apps/kust/kustomization.yaml"), kustomization(&left.stage, "1.0.1"));
    assert_eq!(house.stop().await, 0);
    assert_eq!((version("notes").await, version("lists").await), before, "objects are only read");
    // With its settings in annotations, the Application that waited is managed.
    let house = left.deployment("manager", &kubeconfig, &[]);
    left.ns.patch(UPDATER, "ImageUpdater", "lists", &json!({ "spec": { "applicationRefs": [noted("kust")] } })).await;
    house.start().await;
    left.more(&house, 1).await;
    assert_eq!(left.stage.repository.read("main", "apps/kust/kustomization.yaml"), kustomization(&left.stage, "1.0.2"));
    assert_eq!(house.stop().await, 0);
}
