//! Debian's `docker-registry` on loopback, open or behind Basic or token authentication, and pushes to it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::front::{self, Front, Request, Response};
use crate::support::process::{Process, listening};
use crate::support::tls::Authority;
use crate::support::{tls_provider, wait_for};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Who may read and write.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody.
    Open,
    /// One user, by HTTP Basic.
    Basic(String, String),
    /// One user, by bearer tokens from a token server of ours.
    Token(String, String),
}

/// A running registry.
pub struct Registry {
    _server: Process,
    tokens: Option<TokenServer>,
    access: Access,
    base: String,
    port: u16,
    client: reqwest::Client,
    /// How much of the access log was taken.
    read: Mutex<usize>,
    folder: tempfile::TempDir,
}

/// One line of the registry's own access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The second it came in, as the log writes it.
    pub second: String,
    /// `GET /v2/a/tags/list?n=1000`.
    pub request: String,
    /// The answer's status.
    pub status: u16,
}

/// What a pushed tag or digest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the manifest or index: `sha256:…`.
    pub digest: String,
    size: usize,
    media_type: &'static str,
}

/// One image to push.
#[derive(Clone, Debug)]
pub struct Image {
    /// `linux/amd64`, `linux/arm64/v8` …
    pub platform: String,
    /// Creation time in its config, RFC 3339.
    pub created: String,
    /// Text of its one layer; another text gives another digest.
    pub content: String,
    /// Labels in its config.
    pub labels: Vec<(String, String)>,
}

impl Image {
    /// A `linux/amd64` image.
    pub fn new(content: &str, created: &str) -> Image {
        Image { platform: "linux/amd64".into(), created: created.into(), content: content.into(), labels: Vec::new() }
    }

    /// The same with one more label.
    pub fn label(mut self, key: &str, value: &str) -> Image {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// The same for another platform.
    pub fn platform(mut self, platform: &str) -> Image {
        self.platform = platform.into();
        self
    }
}

impl Asked {
    /// `127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "agent"`; the log has other lines too.
    fn read(line: &str) -> Option<Asked> {
        let (_, rest) = line.split_once(" - - [")?;
        let (second, rest) = rest.split_once("] \"")?;
        let (request, rest) = rest.split_once(" HTTP/1.1\" ")?;
        let status = rest.split(' ').next()?.parse().ok()?;
        Some(Asked { second: second.to_owned(), request: request.to_owned(), status })
    }
}

impl Registry {
    /// Plain HTTP.
    pub async fn start(access: Access) -> Registry {
        Registry::serve(access, false).await
    }

    /// HTTPS by the shared authority.
    pub async fn start_tls(access: Access) -> Registry {
        Registry::serve(access, true).await
    }

    async fn serve(access: Access, tls: bool) -> Registry {
        tls_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = match &access {
            Access::Token(user, password) => Some(TokenServer::start(user, password)),
            _ => None,
        };
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "info" },
            "storage": { "filesystem": { "rootdirectory": folder.path().join("data") }, "delete": { "enabled": true } },
            "http": { "secret": "only for tests" },
        });
        if tls {
            let identity = Authority::shared().loopback();
            let (certificate, key) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
            std::fs::write(&certificate, identity.certificate).expect("a file");
            std::fs::write(&key, identity.key).expect("a file");
            config["http"]["tls"] = json!({ "certificate": certificate, "key": key });
        }
        if let Access::Basic(user, password) = &access {
            let file = folder.path().join("htpasswd");
            std::fs::write(&file, format!("{user}:{}\n", bcrypt(password))).expect("a file");
            config["auth"] = json!({ "htpasswd": { "realm": "test", "path": file } });
        }
        if let Some(server) = &tokens {
            let file = folder.path().join("token.pem");
            std::fs::write(&file, &server.certificate).expect("a file");
            config["auth"] = json!({ "token": {
                "realm": server.realm(), "service": TokenServer::SERVICE, "issuer": TokenServer::ISSUER,
                "rootcertbundle": file,
            }});
        }
        let (server, port) = listening("registry", |port| {
            let mut config = config.clone();
            config["http"]["addr"] = json!(format!("127.0.0.1:{port}"));
            // Every JSON text is YAML.
            let file = folder.path().join("config.yml");
            std::fs::write(&file, config.to_string()).expect("the configuration");
            let arguments = ["serve", &file.display().to_string()];
            Process::start("registry", folder.path(), Path::new("/usr/bin/docker-registry"), &arguments)
        })
        .await;
        let authority = reqwest::Certificate::from_pem(Authority::shared().pem().as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().expect("a client");
        let base = format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" });
        let read = Mutex::default();
        let registry = Registry { _server: server, tokens, access, base, port, client, read, folder };
        wait_for("the registry answers", Duration::from_secs(20), || async {
            registry.client.get(format!("{}/v2/", registry.base)).send().await.ok()
        })
        .await;
        registry
    }

    /// `127.0.0.1:port`, the registry's part of an image name.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:port` or `https://…`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The authority to trust where it speaks TLS, PEM.
    pub fn ca(&self) -> String {
        Authority::shared().pem()
    }

    /// The token server, where there is one.
    pub fn tokens(&self) -> &TokenServer {
        self.tokens.as_ref().expect("started with Access::Token")
    }

    /// Pushes a one-layer image under a tag (or, with an empty tag, under its digest only).
    pub async fn push(&self, repository: &str, tag: &str, image: &Image) -> Pushed {
        let (os, rest) = image.platform.split_once('/').expect("os/architecture");
        let (architecture, variant) = rest.split_once('/').map_or((rest, None), |(a, v)| (a, Some(v)));
        let layer = self.push_blob(repository, image.content.as_bytes()).await;
        let mut config = json!({
            "created": image.created, "os": os, "architecture": architecture, "config": {},
            "rootfs": { "type": "layers", "diff_ids": [layer] },
        });
        if let Some(variant) = variant {
            config["variant"] = json!(variant);
        }
        for (key, value) in &image.labels {
            config["config"]["Labels"][key] = json!(value);
        }
        let config = config.to_string();
        let digest = self.push_blob(repository, config.as_bytes()).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": digest, "size": config.len() },
            "layers": [{ "mediaType": LAYER, "digest": layer, "size": image.content.len() }],
        });
        self.push_manifest(repository, tag, MANIFEST, &manifest).await
    }

    /// Pushes one image per platform and an index of them under a tag.
    pub async fn push_index(&self, repository: &str, tag: &str, images: &[Image]) -> Pushed {
        let mut children = Vec::new();
        for image in images {
            let child = self.push(repository, "", image).await;
            let words: Vec<&str> = image.platform.split('/').collect();
            let mut platform = json!({ "os": words[0], "architecture": words[1] });
            if let Some(variant) = words.get(2) {
                platform["variant"] = json!(variant);
            }
            children.push(json!({
                "mediaType": child.media_type, "digest": child.digest, "size": child.size, "platform": platform,
            }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        self.push_manifest(repository, tag, INDEX, &index).await
    }

    /// Gives a manifest that is there already one more tag; quick, for repositories of many tags.
    pub async fn tag(&self, repository: &str, from: &str, tags: impl IntoIterator<Item = String>) {
        let path = format!("/v2/{repository}/manifests/{from}");
        let accept = format!("{MANIFEST}, {INDEX}");
        let got = self.send(repository, |c| c.get(self.at(&path)).header("accept", &accept)).await;
        let kind = got.headers()["content-type"].clone();
        let body = got.bytes().await.expect("a manifest");
        for tag in tags {
            let path = format!("/v2/{repository}/manifests/{tag}");
            let put = |c: &reqwest::Client| c.put(self.at(&path)).header("content-type", &kind).body(body.clone());
            self.send(repository, put).await;
        }
    }

    /// Serves a repository's folder under these names as well: repositories of their own for whoever asks, at the cost
    /// of a link each. What is pushed to one of them is in all.
    pub fn alias(&self, repository: &str, names: impl IntoIterator<Item = String>) {
        let all = self.folder.path().join("data/docker/registry/v2/repositories");
        for name in names {
            let path = all.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
            std::os::unix::fs::symlink(all.join(repository), path).expect("a link");
        }
    }

    /// Takes what the registry's access log holds since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        let log = std::fs::read_to_string(self.folder.path().join("registry.log")).expect("its log");
        let mut read = self.read.lock().unwrap();
        let new = &log[*read..];
        // A line that is being written is left for the next call.
        let new = &new[..new.rfind('\n').map_or(0, |end| end + 1)];
        *read += new.len();
        new.lines().filter_map(Asked::read).collect()
    }

    /// Takes a manifest away, and with it every tag that names it.
    pub async fn delete(&self, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        self.send(repository, |c| c.delete(self.at(&path))).await;
    }

    fn at(&self, path: &str) -> String {
        if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() }
    }

    async fn push_blob(&self, repository: &str, content: &[u8]) -> String {
        let digest = format!("sha256:{}", hex(&Sha256::digest(content)));
        let start = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.send(repository, |c| c.post(self.at(&start))).await;
        let location = begun.headers()["location"].to_str().expect("text").to_owned();
        let put = |c: &reqwest::Client| {
            c.put(self.at(&location))
                .query(&[("digest", digest.as_str())])
                .header("content-type", "application/octet-stream")
                .body(content.to_vec())
        };
        self.send(repository, put).await;
        digest
    }

    async fn push_manifest(&self, repository: &str, tag: &str, media_type: &'static str, json: &Value) -> Pushed {
        let text = json.to_string();
        let digest = format!("sha256:{}", hex(&Sha256::digest(text.as_bytes())));
        let reference = if tag.is_empty() { digest.as_str() } else { tag };
        let path = format!("/v2/{repository}/manifests/{reference}");
        let put = |c: &reqwest::Client| c.put(self.at(&path)).header("content-type", media_type).body(text.clone());
        self.send(repository, put).await;
        Pushed { digest, size: text.len(), media_type }
    }

    async fn send(
        &self,
        repository: &str,
        request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> reqwest::Response {
        let mut request = request(&self.client);
        match &self.access {
            Access::Open => {}
            Access::Basic(user, password) => request = request.basic_auth(user, Some(password)),
            Access::Token(..) => {
                let token = self.tokens().grant("pusher", repository, &["pull", "push", "delete"]);
                request = request.bearer_auth(token);
            }
        }
        let response = request.send().await.expect("the registry answers");
        let status = response.status();
        if !status.is_success() {
            panic!("the registry says {status}: {}", response.text().await.unwrap_or_default());
        }
        response
    }
}

/// Gives out the tokens a registry asks for: RFC 7519 tokens signed with ES256, the certificate in the head.
pub struct TokenServer {
    front: Front,
    certificate: String,
    signer: Arc<Signer>,
}

struct Signer {
    key: ring::signature::EcdsaKeyPair,
    certificate: String,
    lifetime: Mutex<Duration>,
    requests: Mutex<Vec<String>>,
}

impl TokenServer {
    const SERVICE: &'static str = "registry.test";
    const ISSUER: &'static str = "tokens.test";

    fn start(user: &str, password: &str) -> TokenServer {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["tokens.test".to_owned()]).expect("a name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let signer = Arc::new(Signer {
            key: ring::signature::EcdsaKeyPair::from_pkcs8(
                &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                key.serialized_der(),
                &ring::rand::SystemRandom::new(),
            )
            .expect("a P-256 key"),
            certificate: STANDARD.encode(certificate.der()),
            lifetime: Mutex::new(Duration::from_secs(300)),
            requests: Mutex::default(),
        });
        let account = (user.to_owned(), password.to_owned());
        let serving = signer.clone();
        let front = Front::start(None, move |request| {
            let answer = serving.answer(&account, &request);
            async move { Ok(answer) }
        });
        TokenServer { front, certificate: certificate.pem(), signer }
    }

    /// The address challenges name.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.front.address())
    }

    /// How long the tokens given out from now on are good; never more than 60 s of grace are added by the registry.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *self.signer.lifetime.lock().unwrap() = lifetime;
    }

    /// Takes the query strings of the requests seen since the last call, with the user in front: `user scope=…`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.signer.requests.lock().unwrap())
    }

    fn grant(&self, user: &str, repository: &str, actions: &[&str]) -> String {
        let access = json!([{ "type": "repository", "name": repository, "actions": actions }]);
        self.signer.token(user, &access)
    }
}

impl Signer {
    fn answer(&self, account: &(String, String), request: &Request) -> Response {
        let query = request.uri().query().unwrap_or_default();
        let given = front::basic(request);
        let name = given.as_ref().map_or("anonymous", |(user, _)| user.as_str());
        self.requests.lock().unwrap().push(format!("{name} {query}"));
        let known = given.as_ref() == Some(account);
        if given.is_some() && !known {
            return front::text(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}"#);
        }
        let mut access = Vec::new();
        for (key, scope) in url::form_urlencoded::parse(query.as_bytes()) {
            let words: Vec<&str> = scope.split(':').collect();
            if let ("scope", true, ["repository", .., _]) = (key.as_ref(), known, words.as_slice()) {
                let actions: Vec<&str> = words[words.len() - 1].split(',').collect();
                let name = words[1..words.len() - 1].join(":");
                access.push(json!({ "type": "repository", "name": name, "actions": actions }));
            }
        }
        let lifetime = self.lifetime.lock().unwrap().as_secs();
        let token = self.token(name, &Value::Array(access));
        front::text(200, json!({ "token": token, "expires_in": lifetime }).to_string())
    }

    fn token(&self, user: &str, access: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let end = now + self.lifetime.lock().unwrap().as_secs();
        let head = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let claims = json!({
            "iss": TokenServer::ISSUER, "sub": user, "aud": TokenServer::SERVICE,
            "exp": end, "nbf": now - 5, "iat": now, "jti": format!("{now}-{user}"), "access": access,
        });
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let random = ring::rand::SystemRandom::new();
        let signature = self.key.sign(&random, text.as_bytes()).expect("a signature");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The registry takes bcrypt only; perl's `crypt` reaches the C library's.
fn bcrypt(password: &str) -> String {
    let mut command = std::process::Command::new("perl");
    command.args(["-e", r#"print crypt($ARGV[0], '$2y$05$' . 'abcdefghijklmnopqrstuu')"#, password]);
    let output = command.output().expect("perl is installed");
    let hash = String::from_utf8(output.stdout).expect("text");
    assert!(hash.starts_with("$2y$"), "the C library knows bcrypt");
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
