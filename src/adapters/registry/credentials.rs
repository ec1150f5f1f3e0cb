//! Registry credentials out of what a Secret, a variable or a program gave: `user:password` (CRED-2) and docker
//! configuration files (CRED-4). Where the bytes come from is the caller's business.

use crate::adapters::redact;
use crate::config::secret::Secret;
use crate::core::problem::Problem;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// May be empty beside a token.
    pub user: String,
    /// Password or token.
    pub password: Secret,
}

impl Credential {
    fn of(user: String, password: &str) -> Credential {
        let password = Secret::new(password.to_owned());
        redact::know(&password);
        Credential { user, password }
    }

    /// Splits `user:password` at the first `:` after removing one trailing line break. `both` demands that neither
    /// side is empty (`env:`); else an empty user is fine, and the same goes for the password (CRED-2).
    ///
    /// # Errors
    /// `credentials-invalid`; the text repeats nothing of the value.
    pub fn split(value: &Secret, both: bool) -> Result<Credential, Problem> {
        let invalid = |why: &str| Problem::error(CODE, why).hint("the value must read user:password");
        let text = value.expose_text().map_err(|_| invalid("the credential is not text"))?;
        let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
        let (user, password) = text.split_once(':').ok_or_else(|| invalid("the credential holds no `:`"))?;
        if both && user.is_empty() {
            return Err(invalid("the user before the `:` is empty"));
        }
        if both && password.is_empty() {
            return Err(invalid("the password after the `:` is empty"));
        }
        if user.chars().any(char::is_control) {
            return Err(invalid("the user holds control characters"));
        }
        Ok(Credential::of(user.to_owned(), password))
    }

    /// The entry of a docker configuration (`.dockerconfigjson`) for an image on `registry` (host and port, canonical)
    /// at `path`: exact host, longest path prefix at a `/` boundary, then `*.` patterns of one label (CRED-4).
    ///
    /// # Errors
    /// `credentials-invalid`: not readable, no entry that matches, an entry without usable value, or entries that
    /// point to programs which do not exist in a pod.
    pub fn from_docker_config(config: &Secret, registry: &str, path: &str) -> Result<Credential, Problem> {
        let config: DockerConfig = serde_json::from_slice(config.expose()).map_err(|e| {
            let text = format!("the docker configuration is not readable (line {}, column {})", e.line(), e.column());
            Problem::error(CODE, text).hint("the Secret must be of type kubernetes.io/dockerconfigjson")
        })?;
        let host = hub_alias(&registry.to_ascii_lowercase()).to_owned();
        let mut best: Option<((usize, bool), &str, &DockerEntry)> = None;
        for (key, entry) in &config.auths {
            let Some(rank) = key_rank(key, &host, path) else { continue };
            if best.as_ref().is_none_or(|(other, _, _)| rank > *other) {
                best = Some((rank, key, entry));
            }
        }
        match best {
            Some((_, key, entry)) => entry.credential(key),
            None if config.cred_helpers.keys().any(|key| key_rank(key, &host, path).is_some()) => Err(helpers()),
            None if config.creds_store.is_some_and(|store| !store.is_empty()) => Err(helpers()),
            None => {
                let keys: Vec<&str> = config.auths.keys().map(|k| k.as_str()).take(10).collect();
                let text = format!("the docker configuration has no entry for {host}/{path}");
                Err(Problem::error(CODE, text).hint(match keys.is_empty() {
                    true => "it has no entry at all".to_owned(),
                    false => format!("its entries are for {}", keys.join(", ")),
                }))
            }
        }
    }

    /// A name for this credential that reveals nothing; equal for equal credentials. Tokens, back-off and budgets are
    /// kept apart by it (REG-5, REG-11).
    pub fn identity(&self) -> Identity {
        let mut hash = Sha256::new();
        hash.update((self.user.len() as u64).to_be_bytes());
        hash.update(self.user.as_bytes());
        hash.update(self.password.expose());
        let digest: [u8; 32] = hash.finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Identity(short)
    }
}

/// Which credential something belongs to; all zero means anonymous.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 16]);

impl Identity {
    pub(super) fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Identity::default() { "anonymous" } else { "a credential" })
    }
}

const CODE: &str = "credentials-invalid";

/// Tools write `auth` with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerEntry>,
    #[serde(default, rename = "credHelpers")]
    cred_helpers: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default, rename = "credsStore")]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct DockerEntry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    identity_token: Option<String>,
}

impl DockerEntry {
    fn credential(&self, key: &str) -> Result<Credential, Problem> {
        let invalid = |why: &str| Problem::error(CODE, format!("docker configuration, entry {key:?}: {why}"));
        if let Some(auth) = self.auth.as_deref().map(str::trim).filter(|auth| !auth.is_empty()) {
            let plain = BASE64.decode(auth).map_err(|_| invalid("`auth` is not base64"))?;
            // Some tools pad with NUL bytes.
            let end = plain.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            let plain = Secret::new(plain[..end].to_vec());
            return Credential::split(&plain, false).map_err(|_| invalid("`auth` is not user:password"));
        }
        match (&self.username, &self.password) {
            (Some(user), Some(password)) if !password.is_empty() => Ok(Credential::of(user.clone(), password)),
            _ if self.identity_token.is_some() => {
                Err(invalid("identity tokens are not supported").hint("use `auth`, or `username` and `password`"))
            }
            _ => Err(invalid("neither `auth` nor `username` and `password`")),
        }
    }
}

fn helpers() -> Problem {
    Problem::error(CODE, "the docker configuration names a credential helper (`credHelpers` or `credsStore`)")
        .hint("such programs do not exist in a pod; the Secret must hold the credential itself in `auths`")
}

fn hub_alias(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
        other => other,
    }
}

/// How well a key of `auths` fits: length of its path, then exact before pattern. `None`: not at all.
fn key_rank(key: &str, host: &str, path: &str) -> Option<(usize, bool)> {
    let key = key.trim();
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let mut key = key.trim_end_matches('/');
    for version in ["/v1", "/v2"] {
        key = key.strip_suffix(version).unwrap_or(key).trim_end_matches('/');
    }
    let (key_host, key_path) = key.split_once('/').unwrap_or((key, ""));
    let key_host = key_host.to_ascii_lowercase();
    let fits_path =
        key_path.is_empty() || path.strip_prefix(key_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !fits_path {
        return None;
    }
    if hub_alias(&key_host) == host {
        return Some((key_path.len(), true));
    }
    // As in Kubernetes, `*` stands for exactly one label.
    let one_label = key_host.strip_prefix("*.").zip(host.split_once('.'));
    one_label.is_some_and(|(pattern, (_, rest))| pattern == rest).then_some((key_path.len(), false))
}
