//! The examples of `config/example`, each planned without a cluster: its source tree in a Git repository, its images in a
//! registry with newer tags, and what would change is the line that its text says.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{Stage, changed_lines, repository_secret};
use crate::support::control_plane::documents;
use crate::support::house::{House, Ran};
use crate::support::real::{Access, Image};
use crate::support::{root, wait_for};

/// What the examples call their repository and their registry.
const REPOSITORY: &str = "https://git.example.com/acme/deploy.git";
const REGISTRY: &str = "registry.example.com";

/// An example in a repository and a folder of this test.
struct Example {
    stage: Stage,
    house: House,
    folder: String,
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path, below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            found.extend(files(&entry.path(), &path));
        } else {
            found.push((path, std::fs::read_to_string(entry.path()).expect("text")));
        }
    }
    found.sort();
    found
}

impl Example {
    /// The example of this name; `tags` by image.
    async fn of(name: &str, tags: &[(&str, &[&str])]) -> Example {
        let stage = Stage::new().await;
        for (image, tags) in tags {
            for tag in *tags {
                let repository = format!("acme/{image}");
                stage.registry.push(&repository, tag, &Image::new(tag, "2026-01-02T03:04:05Z")).await;
            }
        }
        let host = stage.front.host();
        let own = |text: &str| text.replace(REPOSITORY, &stage.url()).replace(REGISTRY, &host);
        let folder = root().join("config/example").join(name);
        let source: Vec<(String, String)> =
            files(&folder.join("source"), "").into_iter().map(|(path, text)| (path, own(&text))).collect();
        let source: Vec<(&str, &str)> = source.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        stage.repository.commit("main", "first", &source);
        let house = stage.house();
        for (path, text) in files(&folder.join("applications"), "") {
            house.file(&format!("applications/{path}"), &own(&text));
        }
        let secret = repository_secret("repository", &stage.url(), &[("username", "robot"), ("password", "secret")]);
        house.file("secrets/repository.yaml", &secret.to_string());
        let folder = house.folder().display().to_string();
        Example { stage, house, folder }
    }

    async fn plan(&self) -> Ran {
        let at = |name: &str| format!("{}/{name}", self.folder);
        let places = [at("applications"), at("secrets"), at("registries.conf")];
        let mut words = vec!["plan", "-o", "json", "--applications", &places[0], "--secrets", &places[1]];
        words.extend(["--registries-conf-path", &places[2]]);
        self.house.command(&words).await
    }

    /// Exactly these changes are planned, and nothing is said against them: Application, file, the line before and after.
    async fn gives(&self, expected: &[(&str, &str, &str, &str)]) {
        let plan = self.plan().await;
        assert_eq!(plan.code, 2, "{plan:?}");
        let plan = plan.json();
        for empty in ["parameters", "held", "refused", "problems"] {
            assert_eq!(plan[empty], json!([]), "{empty}");
        }
        let changes = plan["changes"].as_array().expect("changes");
        let text = |change: &Value, key: &str| change[key].as_str().expect("text").to_owned();
        let mut found = Vec::new();
        for change in changes {
            let diff = text(change, "diff");
            let (before, after) = changed_lines(&diff);
            assert_eq!((before.len(), after.len()), (1, 1), "{diff}");
            let lines = (before[0].trim().to_owned(), after[0].trim().to_owned());
            found.push((text(change, "application"), text(change, "file"), lines.0, lines.1));
        }
        let own = |(app, file, before, after): &(&str, &str, &str, &str)| {
            (format!("argocd/{app}"), (*file).to_owned(), (*before).to_owned(), (*after).to_owned())
        };
        assert_eq!(found, expected.iter().map(own).collect::<Vec<_>>());
        assert_eq!(self.stage.repository.log("main").len(), 1, "planning writes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn src_6_example_app_of_apps() {
    let tags: &[&str] = &["1.4.0", "1.4.3", "1.5.0-rc.1"];
    let example = Example::of("app-of-apps", &[("web", tags), ("api", &["2.0.0", "2.0.5", "2.1.0"])]).await;
    example
        .gives(&[
            ("api", "api/kustomization.yaml", "newTag: 2.0.0", "newTag: 2.0.5"),
            ("web", "web/values.yaml", "tag: 1.4.0 # what runs", "tag: 1.4.3 # what runs"),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn src_9_example_multi_source_with_ref_values() {
    let example = Example::of("multi-source", &[("web", &["1.7.2", "1.8.0", "2.0.0"])]).await;
    example.gives(&[("web", "envs/prod/web.yaml", "tag: \"1.7.2\"", "tag: \"1.8.0\"")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn example_several_clusters() {
    let example = Example::of("several-clusters", &[("shop", &["3.0.1", "3.1.0", "3.2.0-rc.1"])]).await;
    let (before, stable) = ("image: {tag: 3.0.1}", "image: {tag: 3.1.0}");
    example
        .gives(&[
            ("shop-eu", "envs/eu.yaml", before, stable),
            ("shop-us", "envs/us.yaml", before, "image: {tag: 3.2.0-rc.1}"),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn example_argo_rollouts_by_kustomization_and_values() {
    let dates: &[&str] = &["2026.01.05", "2026.02.11", "nightly"];
    let example = Example::of("argo-rollouts", &[("cart", &["5.1.0", "5.3.1"]), ("checkout", dates)]).await;
    example
        .gives(&[
            ("cart", "overlays/prod/kustomization.yaml", "newTag: 5.1.0", "newTag: 5.3.1"),
            ("checkout", "charts/checkout/values.yaml", "tag: 2026.01.05", "tag: 2026.02.11"),
        ])
        .await;
}

/// The operator itself is not run: what it makes of the ExternalSecrets are the Secrets beside them, and a rotation is that
/// one of them changes.
#[tokio::test(flavor = "multi_thread")]
async fn cred_5_example_external_secrets_are_rotated_without_a_restart() {
    let stage = Stage::with(Access::Basic("robot".to_owned(), "second".to_owned())).await;
    for tag in ["1.4.0", "1.4.3"] {
        stage.registry.push("acme/web", tag, &Image::new(tag, "2026-01-02T03:04:05Z")).await;
    }
    let (ns, house) = stage.installed("rotated", "1s").await;
    let read = |path: &str| {
        let text = std::fs::read_to_string(root().join("config/example/external-secrets").join(path)).expect("text");
        let text = text.replace(REPOSITORY, &stage.url()).replace(REGISTRY, &stage.front.host());
        text.replace("namespace: argocd", &format!("namespace: {}", ns.name))
            .replace(":argocd/", &format!(":{}/", ns.name))
    };
    let names = |text: &str, place: &str| -> Vec<Value> {
        documents(text).iter().map(|document| document.pointer(place).expect("a name").clone()).collect()
    };
    assert_eq!(
        names(&read("external-secrets.yaml"), "/spec/target/name"),
        names(&read("secrets.yaml"), "/metadata/name")
    );
    let values = read("source/web/values.yaml");
    stage.repository.commit("main", "first", &[("web/Chart.yaml", "name: web\n"), ("web/values.yaml", &values)]);
    ns.apply(&read("secrets.yaml")).await;
    let mut app = documents(&read("applications/web.yaml")).remove(0);
    app["status"] =
        json!({ "summary": { "images": [format!("{}/acme/web:1.4.0", stage.front.host())] }, "sourceType": "Helm" });
    ns.apply_json(app).await;
    house.start().await;
    house.until("the old password is refused", |s| !House::problems(s, "registry-auth").is_empty()).await;
    assert_eq!(stage.repository.log("main").len(), 1);
    ns.apply(&read("secrets.yaml").replace("\"password\":\"first\"", "\"password\":\"second\"")).await;
    wait_for("the commit", Duration::from_secs(30), || async {
        (stage.repository.read("main", "web/values.yaml") == values.replace("1.4.0", "1.4.3")).then_some(())
    })
    .await;
    house.until("it is over", |s| s["problems"] == json!([])).await;
    assert_eq!(house.stop().await, 0);
}

/// Where Argo CD installs `deploy/`, permissions come before the pod that needs them. The claim does not come before its
/// pod: with a storage class that waits for the first consumer, Argo CD would wait for it for ever.
#[test]
fn sync_waves_put_permissions_before_the_pod_and_the_claim_beside_it() {
    let folder = root().join("deploy/kubernetes");
    let (mut before, mut beside) = (0, 0);
    for (path, text) in files(&folder, "") {
        for document in documents(&text) {
            let wave = &document["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"];
            let wave: i32 = wave.as_str().map_or(0, |text| text.parse().expect("a number"));
            match document["kind"].as_str().expect("a kind") {
                "ServiceAccount" | "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" => {
                    before += 1;
                    assert_eq!(wave, -1, "{path}");
                }
                "Deployment" | "PersistentVolumeClaim" | "Service" => {
                    beside += 1;
                    assert_eq!(wave, 0, "{path}");
                }
                _ => {}
            }
        }
    }
    assert!(before >= 7 && beside == 3, "{before} {beside}");
}
