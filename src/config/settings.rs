//! The process's own settings, as plain data: what the flags, variables and defaults of `run` come to
//! (image-updates.md §23, notifications.md §21).

use std::path::PathBuf;
use std::time::Duration;

use super::annotations::Defaults;
use super::notifications::CatalogMode;
use super::secret::Secret;
use crate::core::image::Glob;

/// `--native-annotations` (OWN-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NativeAnnotations {
    /// Native management in namespaces that hold no ImageUpdater.
    #[default]
    Auto,
    /// Everywhere.
    True,
    /// Nowhere: an ImageUpdater must select the Application.
    False,
}

/// How many commits a push carries (GIT-8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitPer {
    /// One per Application.
    #[default]
    Application,
    /// One for all.
    Push,
}

/// How the API server is reached, beside what the kubeconfig says: kubectl's own flags. Absent is the kubeconfig's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClusterAccess {
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub server: Option<String>,
    pub token: Option<Secret>,
    pub certificate_authority: Option<PathBuf>,
    pub client_certificate: Option<String>,
    pub client_key: Option<String>,
    pub insecure: bool,
    pub tls_server_name: Option<String>,
    pub impersonate: Option<String>,
    pub impersonate_groups: Vec<String>,
    pub impersonate_uid: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub proxy: Option<String>,
    pub disable_compression: bool,
}

/// Where Applications come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A cluster.
    Cluster,
    /// A directory of manifests.
    Directory(PathBuf),
    /// A branch of a Git repository, read from objects.
    Git {
        /// The repository.
        url: String,
        /// The branch; `None` is the default one.
        branch: Option<String>,
        /// The folder; empty is the root.
        path: String,
    },
}

impl Source {
    /// From `--applications`: a folder, or `git+<url>[?ref=<branch>][&path=<dir>]` (SRC-4, SRC-5).
    pub fn parse(text: &str) -> Result<Source, String> {
        let Some(url) = text.strip_prefix("git+") else {
            return Ok(Source::Directory(PathBuf::from(text)));
        };
        let (url, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut branch, mut path) = (None, String::new());
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            match pair.split_once('=') {
                Some(("ref", value)) if !value.is_empty() => branch = Some(value.to_owned()),
                Some(("path", value)) => path = value.trim_matches('/').to_owned(),
                _ => return Err(format!("`{pair}` is neither ref=<branch> nor path=<dir>")),
            }
        }
        if url.is_empty() {
            return Err("git+ names no repository".to_owned());
        }
        Ok(Source::Git { url: url.to_owned(), branch, path })
    }
}

/// Settings of the Git half.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GitSettings {
    pub user: String,
    pub email: String,
    pub sign_off: bool,
    pub message_path: PathBuf,
    pub commit_per: CommitPer,
    /// The longest a plan waits for the end of its round (CYC-5).
    pub batch_window: Duration,
    /// `file://` and plain paths may be remotes (GIT-3).
    pub allow_local: bool,
    /// Another `git-repository` than the project allows may be written with Argo CD's credentials (TEN-2).
    pub allow_any_repository: bool,
    /// The longest a message or a condition waits for what a commit says (HLP-04).
    pub commit_wait: Duration,
}

impl Default for GitSettings {
    fn default() -> Self {
        GitSettings {
            user: "argocd-image-updater".into(),
            email: "noreply@argoproj.io".into(),
            sign_off: false,
            message_path: "/app/config/commit.template".into(),
            commit_per: CommitPer::Application,
            batch_window: Duration::from_secs(30),
            allow_local: false,
            allow_any_repository: false,
            commit_wait: Duration::from_secs(10),
        }
    }
}

/// All settings.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Settings {
    pub images: bool,
    pub notifications: bool,
    /// Between rounds; zero looks once per configuration change, `None` never by itself.
    pub interval: Option<Duration>,
    pub once: bool,
    pub dry_run: bool,
    pub source: Source,
    pub roots: Vec<String>,
    pub secrets_dir: Option<PathBuf>,
    pub kubeconfig: Option<PathBuf>,
    /// The notifications' configuration comes from files only.
    pub standalone: bool,
    /// kubectl's connection flags.
    pub access: ClusterAccess,
    pub argocd_namespace: String,
    /// As written: empty is the own one, `*` all, else a comma list (SRC-2).
    pub watch_namespaces: String,
    /// Globs, or regular expressions inside `/…/` (CT-02).
    pub application_namespaces: Vec<String>,
    pub label_selector: String,
    /// Only Applications whose name matches one; empty: all (0.x `--match-application-name`).
    pub match_names: Vec<Glob>,
    pub native_annotations: NativeAnnotations,
    /// Namespaces other than its own that an ImageUpdater object may name (CR-7).
    pub updater_target_namespaces: Vec<String>,
    pub registries_conf: PathBuf,
    /// The registries file was named by hand: then its absence is an error.
    pub registries_conf_given: bool,
    pub max_concurrent_apps: usize,
    pub kube_events: bool,
    /// Metrics of images name the Application they belong to (image-updates.md §24, opt-in).
    pub metrics_by_application: bool,
    pub allow_downgrade: bool,
    /// Application-wide extension settings below the annotations (§4).
    pub defaults: Defaults,
    /// A digest without tag is refused where only a tag can stand, instead of written as `latest@digest` (REF-9).
    pub refuse_digest_only: bool,
    pub registry_realms: Vec<(String, String)>,
    pub cross_namespace_secrets: bool,
    pub tenant_credential_env: Vec<String>,
    pub tenant_credential_ext: Vec<String>,
    /// Only the holder of the Lease writes images (CYC-2).
    pub leader_election: bool,
    /// The Lease's namespace; `None` is the own one.
    pub leader_election_namespace: Option<String>,
    pub git: GitSettings,
    /// `None` keeps the state in memory.
    pub state_dir: Option<PathBuf>,
    pub config_map_name: String,
    pub secret_name: String,
    /// Configuration from files instead of the cluster's ConfigMap and Secret.
    pub config_map_file: Option<PathBuf>,
    pub secret_file: Option<PathBuf>,
    /// Deliveries under way at once (LAN-01).
    pub max_calls: usize,
    /// Where `argocd-tls-certs-cm` is mounted.
    pub tls_folder: PathBuf,
    pub catalog: CatalogMode,
    pub write_state_annotation: bool,
    pub processors: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            images: true,
            notifications: true,
            interval: Some(Duration::from_secs(120)),
            once: false,
            dry_run: false,
            source: Source::Cluster,
            roots: Vec::new(),
            secrets_dir: None,
            kubeconfig: None,
            standalone: false,
            access: ClusterAccess::default(),
            argocd_namespace: "argocd".into(),
            watch_namespaces: String::new(),
            application_namespaces: Vec::new(),
            label_selector: String::new(),
            match_names: Vec::new(),
            native_annotations: NativeAnnotations::Auto,
            updater_target_namespaces: Vec::new(),
            registries_conf: "/app/config/registries.conf".into(),
            registries_conf_given: false,
            max_concurrent_apps: 10,
            kube_events: true,
            metrics_by_application: false,
            allow_downgrade: false,
            defaults: Defaults::new(),
            refuse_digest_only: false,
            registry_realms: Vec::new(),
            cross_namespace_secrets: false,
            tenant_credential_env: Vec::new(),
            tenant_credential_ext: Vec::new(),
            leader_election: false,
            leader_election_namespace: None,
            git: GitSettings::default(),
            state_dir: None,
            config_map_name: "argocd-notifications-cm".into(),
            secret_name: "argocd-notifications-secret".into(),
            config_map_file: None,
            secret_file: None,
            max_calls: 64,
            tls_folder: "/app/config/tls".into(),
            catalog: CatalogMode::Auto,
            write_state_annotation: true,
            processors: 2,
        }
    }
}

impl Settings {
    /// How often things without a watch are looked at.
    pub fn pace(&self) -> Duration {
        self.interval.filter(|interval| !interval.is_zero()).unwrap_or(Duration::from_secs(120))
    }
}

/// A duration as Go writes it (`2m`, `1h30m`, `90s`, `1.5h`, `250ms`), plus `d` for 24 hours; a sign in front is
/// allowed. Nanoseconds.
pub fn duration(text: &str) -> Result<i128, String> {
    let unreadable = || format!("`{text}` is no duration; write something like 90s, 2m or 1h30m");
    let (sign, mut rest) = match text.trim() {
        t if t.starts_with('-') => (-1, &t[1..]),
        t => (1, t.strip_prefix('+').unwrap_or(t)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(unreadable());
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(unreadable)?;
        let number: f64 = rest[..digits].parse().map_err(|_| unreadable())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            _ => return Err(unreadable()),
        };
        total += number * unit;
        rest = &rest[end..];
    }
    if !total.is_finite() || total > 3.2e18 {
        return Err(format!("`{text}` is too long a time"));
    }
    Ok(sign * total as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn src_4_src_5_application_sources() {
        let git = |url: &str, branch: Option<&str>, path: &str| Source::Git {
            url: url.into(),
            branch: branch.map(str::to_owned),
            path: path.into(),
        };
        for (text, expected) in [
            ("apps", Some(Source::Directory("apps".into()))),
            ("git+https://h/r.git", Some(git("https://h/r.git", None, ""))),
            ("git+https://h/r.git?ref=main&path=/a/b/", Some(git("https://h/r.git", Some("main"), "a/b"))),
            ("git+https://h/r.git?branch=main", None),
            ("git+", None),
        ] {
            assert_eq!(Source::parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn section_4_durations() {
        const S: i128 = 1_000_000_000;
        for (text, nanoseconds) in [
            ("2m", Some(120 * S)),
            ("1h30m", Some(5400 * S)),
            ("1.5h", Some(5400 * S)),
            ("250ms", Some(S / 4)),
            ("1d", Some(86_400 * S)),
            ("-1s", Some(-S)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("5", None),
            ("", None),
            ("m", None),
            ("5 m", None),
            ("99999999999d", None),
        ] {
            assert_eq!(duration(text).ok(), nanoseconds, "{text:?}");
        }
    }
}
