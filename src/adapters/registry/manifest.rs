//! Manifests, indexes and image configurations as registries deliver them (REG-8, REG-9). URLs in them are ignored.

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The four types asked for; anything else is no image.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

const MOST_CHILDREN: usize = 256;
/// Labels beyond this are not kept; commit templates need a few.
const MOST_LABEL_BYTES: usize = 4 << 10;

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// Its entries; at least one.
    Index(Vec<Child>),
    /// The digest of its configuration.
    Image(String),
}

/// An entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// What it names.
    pub digest: String,
    /// Operating system, architecture, variant; none if the index does not say.
    pub platform: Option<Built>,
    /// It names another index.
    pub is_index: bool,
}

/// What an image was built for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Built {
    /// `linux`
    pub os: String,
    /// `arm64`
    pub arch: String,
    /// `v8`
    pub variant: Option<String>,
}

/// What an image configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// When the image was built, if it says so.
    pub created: Option<Timestamp>,
    /// What it was built for.
    pub built: Built,
    /// At most 4 KiB of them.
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<Vec<RawChild>>,
    config: Option<RawDescriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawChild {
    digest: String,
    media_type: Option<String>,
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawDescriptor {
    digest: String,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

/// Reads a manifest.
///
/// # Errors
/// A reason for a person, in one line.
pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<Manifest, String> {
    let raw: Raw =
        serde_json::from_slice(body).map_err(|e| format!("its manifest is not readable: {}", position(&e)))?;
    let said = content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let media_type = raw.media_type.clone().or(said).unwrap_or_default();
    if raw.schema_version == Some(1) || media_type.contains("distribution.manifest.v1") {
        return Err("its manifest is of schema 1, which is not supported".into());
    }
    match (raw.manifests, raw.config) {
        (Some(_), Some(_)) => Err("its manifest claims to be an image and an index at once".into()),
        (Some(children), None) => index(children).map(Manifest::Index),
        (None, Some(config)) if is_digest(&config.digest) => Ok(Manifest::Image(config.digest)),
        (None, Some(_)) => Err("its manifest names no valid configuration".into()),
        (None, None) => Err(format!("its manifest is no image ({})", printable(&media_type))),
    }
}

fn index(children: Vec<RawChild>) -> Result<Vec<Child>, String> {
    if children.is_empty() {
        return Err("its index is empty".into());
    }
    if children.len() > MOST_CHILDREN {
        return Err(format!("its index has more than {MOST_CHILDREN} entries"));
    }
    if children.iter().any(|child| !is_digest(&child.digest)) {
        return Err("its index holds an invalid digest".into());
    }
    let child = |raw: RawChild| Child {
        digest: raw.digest,
        is_index: raw.media_type.is_some_and(|t| t.contains("image.index") || t.contains("manifest.list")),
        platform: raw.platform.map(|p| Built {
            os: p.os,
            arch: p.architecture,
            variant: Some(p.variant).filter(|variant| !variant.is_empty()),
        }),
    };
    Ok(children.into_iter().map(child).collect())
}

/// Reads an image configuration.
///
/// # Errors
/// A reason for a person, in one line.
pub fn read_configuration(body: &[u8]) -> Result<Configuration, String> {
    #[derive(Deserialize)]
    struct Outer {
        created: Option<String>,
        #[serde(default)]
        os: String,
        #[serde(default)]
        architecture: String,
        #[serde(default)]
        variant: String,
        config: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "Labels")]
        labels: Option<BTreeMap<String, String>>,
    }
    let outer: Outer =
        serde_json::from_slice(body).map_err(|e| format!("its configuration is not readable: {}", position(&e)))?;
    let labels = outer.config.and_then(|inner| inner.labels).unwrap_or_default();
    let mut room = MOST_LABEL_BYTES;
    let labels = labels.into_iter().take_while(|(key, value)| {
        let size = key.len() + value.len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    Ok(Configuration {
        created: outer.created.and_then(|text| text.parse().ok()),
        labels: labels.collect(),
        built: Built {
            os: outer.os,
            arch: outer.architecture,
            variant: Some(outer.variant).filter(|variant| !variant.is_empty()),
        },
    })
}

/// `sha256:` of the bytes as delivered.
pub(super) fn digest_of(body: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(body).into();
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&hash))
}

/// Whether `body` is what `digest` names. Algorithms other than SHA-256 and SHA-512 cannot be checked and are not
/// believed.
pub(super) fn matches_digest(body: &[u8], digest: &str) -> bool {
    match digest.strip_prefix("sha512:") {
        Some(hex) => {
            let hash: [u8; 64] = sha2::Sha512::digest(body).into();
            data_encoding::HEXLOWER.encode(&hash) == hex
        }
        None => digest_of(body) == digest,
    }
}

/// `sha256:` and 64 hexadecimal digits, or `sha512:` and 128, in lower case.
pub(super) fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").map(|hex| (hex, 64)).or(text.strip_prefix("sha512:").map(|hex| (hex, 128)));
    hex.is_some_and(|(hex, len)| hex.len() == len && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn position(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

fn printable(media_type: &str) -> String {
    if media_type.is_empty() {
        return "no media type".into();
    }
    media_type.chars().filter(|c| c.is_ascii_graphic()).take(100).collect()
}
