//! What the stand-in registry holds.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[derive(Default)]
pub(super) struct Store {
    repositories: BTreeMap<String, Repository>,
}

#[derive(Default)]
pub(super) struct Repository {
    pub(super) tags: BTreeMap<String, String>,
    /// Names that are listed without naming anything.
    pub(super) names: BTreeSet<String>,
    pub(super) manifests: HashMap<String, (String, Vec<u8>)>,
    pub(super) blobs: HashMap<String, Vec<u8>>,
}

/// `sha256:` of these bytes.
pub fn digest_of(body: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(body).into();
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&hash))
}

impl Store {
    pub(super) fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }

    fn entry(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(super) fn push(&mut self, repository: &str, tag: &str, created: &str, platforms: &[&str]) -> String {
        let images: Vec<Value> = platforms.iter().map(|p| self.image(repository, tag, created, p)).collect();
        let body = match images.as_slice() {
            [one] => {
                let digest = one["digest"].as_str().unwrap_or_default().to_owned();
                self.entry(repository).tags.insert(tag.to_owned(), digest.clone());
                return digest;
            }
            many => json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": many}),
        };
        self.put_manifest(repository, Some(tag), INDEX, body.to_string().into_bytes())
    }

    pub(super) fn push_tags<'a>(&mut self, repository: &str, created: &str, tags: impl IntoIterator<Item = &'a str>) {
        let image = self.image(repository, "shared", created, "linux/amd64");
        let digest = image["digest"].as_str().unwrap_or_default().to_owned();
        let names = &mut self.entry(repository).tags;
        names.extend(tags.into_iter().map(|tag| (tag.to_owned(), digest.clone())));
    }

    /// Stores configuration and manifest; gives the descriptor an index would hold. The tag goes into a label, so that
    /// two tags never share a digest by accident.
    fn image(&mut self, repository: &str, tag: &str, created: &str, platform: &str) -> Value {
        let mut parts = platform.split('/');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (os, arch, variant) = (next(), next(), next());
        let mut config = json!({
            "os": os, "architecture": arch, "created": created,
            "config": {"Labels": {"org.opencontainers.image.version": tag}},
        });
        let mut built = json!({"os": os, "architecture": arch});
        if !variant.is_empty() {
            config["variant"] = variant.clone().into();
            built["variant"] = variant.into();
        }
        let config = self.put_blob(repository, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": {"mediaType": CONFIG, "digest": config, "size": 1},
        });
        let body = manifest.to_string().into_bytes();
        let size = body.len();
        let digest = self.put_manifest(repository, None, MANIFEST, body);
        json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": built})
    }

    pub(super) fn put_manifest(&mut self, repository: &str, tag: Option<&str>, kind: &str, body: Vec<u8>) -> String {
        let digest = digest_of(&body);
        let repository = self.entry(repository);
        repository.manifests.insert(digest.clone(), (kind.to_owned(), body));
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), digest.clone());
        }
        digest
    }

    pub(super) fn put_blob(&mut self, repository: &str, body: Vec<u8>) -> String {
        let digest = digest_of(&body);
        self.entry(repository).blobs.insert(digest.clone(), body);
        digest
    }

    pub(super) fn list_name(&mut self, repository: &str, name: &str) {
        self.entry(repository).names.insert(name.to_owned());
    }

    pub(super) fn untag(&mut self, repository: &str, tag: &str) {
        self.entry(repository).tags.remove(tag);
    }
}

impl Repository {
    /// All names, sorted by bytes as distribution sorts them.
    pub(super) fn listed(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self.tags.keys().chain(&self.names).map(String::as_str).collect();
        all.into_iter().collect()
    }

    /// Digest, type and bytes of a manifest by tag or digest.
    pub(super) fn manifest(&self, reference: &str) -> Option<(String, &str, &[u8])> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        let (kind, body) = self.manifests.get(digest)?;
        Some((digest.to_owned(), kind, body))
    }
}
