//! A real Kubernetes control plane, etcd and kube-apiserver with RBAC on: one per test process, a namespace per
//! test. `tests/setup` builds the two programs. There is no controller manager and no kubelet: ServiceAccounts get
//! tokens from the TokenRequest API, Deployments stay on paper.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::process::{Process, free_port, listening};
use super::tls::Authority;
use super::{root, tls_provider, wait_for};

const ADMIN_TOKEN: &str = "control-plane-administrator";

/// The two servers and how to reach them.
pub struct ControlPlane {
    _etcd: Process,
    server: Mutex<Process>,
    arguments: Vec<String>,
    port: u16,
    folder: PathBuf,
}

/// One namespace of it, new for every test.
pub struct Ns {
    plane: &'static ControlPlane,
    /// Its name.
    pub name: String,
    /// A client that may do everything; its default namespace is this one.
    pub admin: Client,
}

impl ControlPlane {
    /// The control plane of this process; the first caller starts it.
    pub async fn get() -> &'static ControlPlane {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_init(|| ControlPlane::start(run_folder())).await
    }

    /// One that the caller alone uses, and may restart.
    pub async fn own() -> &'static ControlPlane {
        ControlPlane::get().await;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = run_path().join(format!("own-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&folder).expect("a folder");
        Box::leak(Box::new(ControlPlane::start(folder).await))
    }

    /// Ends the API server at once and starts it again, on the same port and the same etcd; `meanwhile` runs while it is
    /// away.
    pub async fn restart(&self, meanwhile: impl Future<Output = ()>) {
        self.server.lock().unwrap().kill();
        meanwhile.await;
        let server = Process::start("kube-apiserver", &self.folder, &program("kube-apiserver"), &self.arguments);
        *self.server.lock().unwrap() = server;
        self.ready().await;
    }

    async fn start(folder: PathBuf) -> ControlPlane {
        tls_provider();
        let (etcd, etcd_url) = start_etcd(&folder).await;
        let identity = Authority::shared().loopback();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
        write("server.pem", &identity.certificate);
        write("server.key", &identity.key);
        let accounts = rcgen::KeyPair::generate().expect("a key");
        write("accounts.key", &accounts.serialize_pem());
        write("accounts.pub", &accounts.public_key_pem());
        write("tokens.csv", &format!("{ADMIN_TOKEN},admin,admin,system:masters\n"));
        let arguments = |port: u16| {
            let at = |name: &str| folder.join(name).display().to_string();
            vec![
                format!("--etcd-servers={etcd_url}"),
                format!("--secure-port={port}"),
                "--bind-address=127.0.0.1".into(),
                format!("--tls-cert-file={}", at("server.pem")),
                format!("--tls-private-key-file={}", at("server.key")),
                format!("--cert-dir={}", at("certificates")),
                "--service-account-issuer=https://kubernetes.default.svc".into(),
                format!("--service-account-key-file={}", at("accounts.pub")),
                format!("--service-account-signing-key-file={}", at("accounts.key")),
                "--authorization-mode=RBAC".into(),
                format!("--token-auth-file={}", at("tokens.csv")),
                "--disable-admission-plugins=ServiceAccount".into(),
                "--service-cluster-ip-range=10.0.0.0/24".into(),
                "--endpoint-reconciler-type=none".into(),
                "--v=1".into(),
            ]
        };
        let (server, port) = listening("kube-apiserver", |port| {
            Process::start("kube-apiserver", &folder, &program("kube-apiserver"), &arguments(port))
        })
        .await;
        let arguments = arguments(port);
        let plane = ControlPlane { _etcd: etcd, server: Mutex::new(server), arguments, port, folder };
        plane.ready().await;
        plane.install_crds().await;
        plane
    }

    async fn ready(&self) {
        let client = self.client_admin("default").await;
        wait_for("kube-apiserver is ready", Duration::from_secs(90), || async {
            self.server.lock().unwrap().assert_running();
            let request = hyper::Request::get("/readyz").body(Vec::new()).expect("a request");
            client.request_text(request).await.ok()
        })
        .await;
    }

    async fn install_crds(&self) {
        let client = self.client_admin("default").await;
        let folder = std::fs::read_dir(root().join("tests/crds")).expect("tests/crds");
        for file in folder {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            apply_all(&client, "default", documents(&text)).await;
        }
        for (group, kind) in [
            ("argoproj.io", "Application"),
            ("argoproj.io", "AppProject"),
            ("argocd-image-updater.argoproj.io", "ImageUpdater"),
        ] {
            let kind = GroupVersionKind::gvk(group, "v1alpha1", kind);
            wait_for("the custom resources are served", Duration::from_secs(30), || async {
                let (resource, _) = kube::discovery::pinned_kind(&client, &kind).await.ok()?;
                Api::<DynamicObject>::all_with(client.clone(), &resource).list(&Default::default()).await.ok()
            })
            .await;
        }
    }

    /// Makes a namespace whose name begins with `name`.
    pub async fn namespace(&'static self, name: &str) -> Ns {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = self.client_admin(&name).await;
        let object =
            Namespace { metadata: ObjectMeta { name: Some(name.clone()), ..Default::default() }, ..Default::default() };
        Api::all(admin.clone()).create(&PostParams::default(), &object).await.expect("a namespace");
        Ns { plane: self, name, admin }
    }

    /// A client that may do everything, with this default namespace. Clients belong to the runtime they are made
    /// in, which is each test's own.
    pub async fn client_admin(&self, namespace: &str) -> Client {
        client(&self.kubeconfig(namespace, ADMIN_TOKEN)).await
    }

    /// The API server's port, for tests that go through a relay.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the servers' files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A kubeconfig for a bearer token.
    pub fn kubeconfig(&self, namespace: &str, token: &str) -> Value {
        use base64::Engine;
        let authority = base64::engine::general_purpose::STANDARD.encode(Authority::shared().pem());
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("https://127.0.0.1:{}", self.port), "certificate-authority-data": authority } }],
            "users": [{ "name": "test", "user": { "token": token } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test", "namespace": namespace } }],
        })
    }
}

impl Ns {
    /// Writes a kubeconfig for a ServiceAccount of this namespace, made if it is not there, and gives its path.
    pub async fn kubeconfig_for(&self, account: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::default_namespaced(self.admin.clone());
        if accounts.get_opt(account).await.expect("an answer").is_none() {
            let metadata = ObjectMeta { name: Some(account.to_owned()), ..Default::default() };
            let object = ServiceAccount { metadata, ..Default::default() };
            accounts.create(&PostParams::default(), &object).await.expect("a ServiceAccount");
        }
        let spec = TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..Default::default() };
        let request = TokenRequest { spec, ..Default::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.expect("a token");
        let token = answer.status.expect("a status").token;
        let config = self.plane.kubeconfig(&self.name, &token);
        let path = self.plane.folder().join(format!("{}-{account}.kubeconfig", self.name));
        std::fs::write(&path, config.to_string()).expect("a file");
        path
    }

    /// A kubeconfig that may do everything.
    pub fn kubeconfig_admin(&self) -> PathBuf {
        let config = self.plane.kubeconfig(&self.name, ADMIN_TOKEN);
        let path = self.plane.folder().join(format!("{}.kubeconfig", self.name));
        std::fs::write(&path, config.to_string()).expect("a file");
        path
    }

    /// Applies every document of a YAML text; those without a namespace land in this one.
    pub async fn apply(&self, yaml: &str) {
        apply_all(&self.admin, &self.name, documents(yaml)).await;
    }

    /// Applies one object given as JSON.
    pub async fn apply_json(&self, object: Value) {
        apply_all(&self.admin, &self.name, vec![object]).await;
    }

    /// Reads one object: `object("argoproj.io/v1alpha1", "Application", "web")`.
    pub async fn object(&self, version: &str, kind: &str, name: &str) -> Option<Value> {
        let api = dynamic(&self.admin, &self.name, version, kind).await;
        let object = api.get_opt(name).await.expect("an answer")?;
        Some(serde_json::to_value(object).expect("JSON"))
    }

    /// Merges a patch into one object, as an administrator would.
    pub async fn patch(&self, version: &str, kind: &str, name: &str, patch: &Value) {
        let api = dynamic(&self.admin, &self.name, version, kind).await;
        let request = kube::core::Request::new(api.resource_url());
        let request = request.patch(name, &PatchParams::default(), &Patch::Merge(patch)).expect("a request");
        self.admin.request_text(request).await.expect("the patch is taken");
    }

    /// Deletes one object.
    pub async fn delete(&self, version: &str, kind: &str, name: &str) {
        let api = dynamic(&self.admin, &self.name, version, kind).await;
        api.delete(name, &Default::default()).await.expect("the object goes");
    }

    /// Applies manifests of `deploy/kubernetes` as they are, into this namespace, all files of one folder (`base`,
    /// `other-namespace`) or one file of it. A binding that names another namespace's ServiceAccount names this
    /// one's. Gives the kubeconfig of the ServiceAccount the Deployment runs as.
    pub async fn apply_deploy(&self, path: &str) -> PathBuf {
        let path = root().join("deploy/kubernetes").join(path);
        let mut files = vec![path.clone()];
        if path.is_dir() {
            let folder = std::fs::read_dir(&path).expect("the folder");
            files = folder.map(|f| f.expect("a file").path()).filter(|f| !f.ends_with("kustomization.yaml")).collect();
            files.sort();
        }
        let mut objects = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            objects.extend(documents(&text));
        }
        for object in &mut objects {
            for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                if subject.get("namespace").is_some() {
                    subject["namespace"] = json!(self.name);
                }
            }
        }
        apply_all(&self.admin, &self.name, objects).await;
        self.kubeconfig_for("lynceus").await
    }
}

/// The documents of a YAML text, without empty ones.
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
    documents.into_iter().filter(|d| !d.is_null()).collect()
}

async fn client(config: &Value) -> Client {
    let config: Kubeconfig = serde_json::from_value(config.clone()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.expect("a configuration");
    Client::try_from(config).expect("a client")
}

async fn dynamic(client: &Client, namespace: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let kind = GroupVersionKind::gvk(group, version, kind);
    let (resource, capabilities) = kube::discovery::pinned_kind(client, &kind).await.expect("a known kind");
    match capabilities.scope {
        kube::discovery::Scope::Cluster => Api::all_with(client.clone(), &resource),
        kube::discovery::Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

async fn apply_all(client: &Client, namespace: &str, objects: Vec<Value>) {
    let mut apis: BTreeMap<(String, String, String), Api<DynamicObject>> = BTreeMap::new();
    for object in objects {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (word(&object["apiVersion"]), word(&object["kind"]));
        let place = object["metadata"]["namespace"].as_str().unwrap_or(namespace).to_owned();
        let name = word(&object["metadata"]["name"]);
        let key = (version.clone(), kind.clone(), place.clone());
        if !apis.contains_key(&key) {
            let api = dynamic(client, &place, &version, &kind).await;
            apis.insert(key.clone(), api);
        }
        let parameters = PatchParams::apply("test").force();
        // The answer is not read: some tests write what no JSON reader of ours could read.
        let request = kube::core::Request::new(apis[&key].resource_url());
        let request = request.patch(&name, &parameters, &Patch::Apply(&object)).expect("a request");
        let applied = client.request_text(request).await;
        applied.unwrap_or_else(|e| panic!("{kind} {place}/{name}: {e}"));
    }
}

/// Where built programs and the servers' files are.
fn built() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("control-plane")
}

/// A folder for this process's servers. Nothing runs at the end of a test process that could remove it, so those of
/// processes that are gone are removed here.
fn run_folder() -> PathBuf {
    for entry in std::fs::read_dir(built()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|n| n.strip_prefix("run-")).and_then(|n| n.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
    let folder = run_path();
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn run_path() -> PathBuf {
    built().join(format!("run-{}", std::process::id()))
}

/// Gives a program that `tests/setup` built; its folder is named by the hash of the versions it was built from.
fn program(name: &str) -> PathBuf {
    let sums = std::fs::read(root().join("tests/control-plane/go.sum")).expect("tests/control-plane/go.sum");
    let hash: String = Sha256::digest(&sums)[..8].iter().map(|b| format!("{b:02x}")).collect();
    let path = built().join(hash).join(name);
    assert!(path.exists(), "{} is missing: run tests/setup", path.display());
    path
}

async fn start_etcd(folder: &Path) -> (Process, String) {
    let (etcd, port) = listening("etcd", |port| {
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
        let arguments = [
            "--data-dir=etcd".to_owned(),
            "--unsafe-no-fsync".into(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".into(),
        ];
        Process::start("etcd", folder, &program("etcd"), &arguments)
    })
    .await;
    (etcd, format!("http://127.0.0.1:{port}"))
}
