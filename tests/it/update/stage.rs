//! What the walks start from: Applications, values files, images, and the daemon that governs them.

use serde_json::{Value, json};

use crate::support::control_plane::{ControlPlane, Ns};
use crate::support::counting::Counting;
use crate::support::house::House;
use crate::support::real::{Access, GitHttp, Image, Registry, Repository};

/// Version and prefix of Applications.
pub const ARGO: &str = "argoproj.io/v1alpha1";

/// Version and prefix of ImageUpdater objects.
#[allow(dead_code)] // the benchmarks share this file
pub const UPDATER: &str = "argocd-image-updater.argoproj.io/v1alpha1";

/// Every annotation's prefix.
pub const PREFIX: &str = "argocd-image-updater.argoproj.io/";

/// A registry behind a counting front, and a Git server.
pub struct Stage {
    /// The registry.
    pub registry: Registry,
    /// What the daemon asks in its place.
    pub front: Counting,
    /// Git over https, for `robot` with `secret`.
    pub git: GitHttp,
    /// `config.git` on it.
    pub repository: Repository,
}

impl Stage {
    /// An open registry and an empty repository.
    pub async fn new() -> Stage {
        Stage::with(Access::Open).await
    }

    /// The same with a registry that asks who comes.
    pub async fn with(access: Access) -> Stage {
        let registry = Registry::start(access).await;
        let front = Counting::start(registry.base());
        let git = GitHttp::start("robot", "secret");
        let repository = git.repository("config.git");
        Stage { registry, front, git, repository }
    }

    /// The address of `config.git`.
    pub fn url(&self) -> String {
        self.git.url("config.git")
    }

    /// The image of an Application: `127.0.0.1:port/team/<name>`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/team/{name}", self.front.host())
    }

    /// Gives an image its first tags.
    pub async fn push(&self, name: &str, tags: &[&str]) {
        let repository = format!("team/{name}");
        let (first, others) = tags.split_first().expect("at least one tag");
        self.registry.push(&repository, first, &Image::new(name, "2026-01-02T03:04:05Z")).await;
        self.registry.tag(&repository, first, others.iter().map(|tag| (*tag).to_owned())).await;
    }

    /// Gives an image that has `1.0.0` one more tag.
    pub async fn tag(&self, name: &str, tag: &str) {
        self.registry.tag(&format!("team/{name}"), "1.0.0", [tag.to_owned()]).await;
    }

    /// `registries.conf` for it.
    pub fn registries(&self) -> String {
        let host = self.front.host();
        format!("registries:\n- name: test\n  prefix: {host}\n  api_url: http://{host}\n  limit: 1000\n")
    }

    /// A daemon that knows this registry and trusts this Git server; the source of Applications is still to be named.
    pub fn house(&self) -> House {
        let house = House::new().trusting(&self.git.ca());
        let registries = house.file("registries.conf", &self.registries());
        house.with([format!("--registries-conf-path={}", registries.display()), "--notifications=off".to_owned()])
    }

    /// The same under the name by which an old Deployment starts its program.
    pub fn house_called(&self, name: &str) -> House {
        let house = House::new().trusting(&self.git.ca()).called(name);
        let registries = house.file("registries.conf", &self.registries());
        house.with([format!("--registries-conf-path={}", registries.display())])
    }

    /// A namespace with everything `deploy/kubernetes/base` holds and this repository's Secret, and a daemon that runs
    /// there as the shipped ServiceAccount.
    pub async fn installed(&self, name: &str, interval: &str) -> (Ns, House) {
        let ns = ControlPlane::get().await.namespace(name).await;
        let kubeconfig = ns.apply_deploy("base").await;
        ns.apply_json(repository_secret("repository", &self.url(), &[("username", "robot"), ("password", "secret")]))
            .await;
        let house = self.house().variable("POD_NAMESPACE", &ns.name);
        let house = house.with([format!("--kubeconfig={}", kubeconfig.display()), format!("--interval={interval}")]);
        (ns, house)
    }

    /// The Application of an image whose values lie in `apps/<name>/values.yaml` of `config.git`, committed by Git.
    pub fn helm_app(&self, name: &str, constraint: &str) -> Value {
        let list = format!("app={}:{constraint}", self.image(name));
        let annotations = [
            ("image-list", list.as_str()),
            ("app.helm.image-name", "image.name"),
            ("app.helm.image-tag", "image.tag"),
            ("write-back-method", "git"),
            ("write-back-target", "helmvalues:values.yaml"),
        ];
        let live = format!("{}:1.0.0", self.image(name));
        application(name, &self.url(), &format!("apps/{name}"), &annotations, &[&live])
    }

    /// A values file that an editor could spoil: comments, quotes, blank lines, an odd indentation.
    pub fn values(&self, name: &str, tag: &str) -> String {
        format!(
            "# Values of {name}; kept by hand.\nimage:\n    name: '{}'   # what runs\n    tag: \"{tag}\" # quoted on purpose\n\n\
             replicas: 2   # two\nnotes: 'it''s fine'\nlist: [ a,  b ]   \n",
            self.image(name)
        )
    }
}

/// An Application with a Helm source.
pub fn application(name: &str, url: &str, path: &str, annotations: &[(&str, &str)], live: &[&str]) -> Value {
    let annotations: serde_json::Map<String, Value> =
        annotations.iter().map(|(key, value)| (prefixed(key), json!(value))).collect();
    json!({
        "apiVersion": ARGO, "kind": "Application",
        "metadata": { "name": name, "annotations": annotations },
        "spec": {
            "project": "default",
            "source": { "repoURL": url, "path": path, "targetRevision": "main" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "default" },
        },
        "status": { "sourceType": "Helm", "summary": { "images": live } },
    })
}

fn prefixed(key: &str) -> String {
    if key.starts_with("lynceus.dev/") { key.to_owned() } else { format!("{PREFIX}{key}") }
}

/// A Secret in Argo CD's form for a repository.
pub fn repository_secret(name: &str, url: &str, fields: &[(&str, &str)]) -> Value {
    let mut data = serde_json::Map::from_iter([("type".to_owned(), json!("git")), ("url".to_owned(), json!(url))]);
    data.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "labels": { "argocd.argoproj.io/secret-type": "repository" } },
        "stringData": data,
    })
}

/// The lines a diff without context takes away and puts in.
pub fn changed_lines(diff: &str) -> (Vec<&str>, Vec<&str>) {
    let lines = |sign: char, head: &'static str| {
        let own = diff.lines().filter(move |line| line.starts_with(sign) && !line.starts_with(head));
        own.map(|line| &line[1..]).collect()
    };
    (lines('-', "---"), lines('+', "+++"))
}
