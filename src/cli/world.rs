//! Flags that `run`, `plan` and `explain` share, and the adapters they come to. A flag wins over its variable, the
//! variable over the default (image-updates.md §23).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::variables;
use crate::adapters::cluster::Cluster;
use crate::adapters::git::{self, Git};
use crate::adapters::http::{Gate, Http};
use crate::adapters::registry::{Options, Registries};
use crate::adapters::store::Store;
use crate::config::annotations;
use crate::config::settings::{ClusterAccess, CommitPer, NativeAnnotations, Settings, Source, duration};
use crate::core::problem::Problem;
use crate::daemon::poller::memory::remember;
use crate::daemon::world::{Secrets, World};
use crate::daemon::{self, trust};

/// `--git-commit-per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PerArg {
    /// One commit per Application.
    Application,
    /// One commit per push.
    Push,
}

/// `--native-annotations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NativeArg {
    /// In namespaces that hold no ImageUpdater.
    Auto,
    /// Everywhere.
    True,
    /// Nowhere.
    False,
}

/// `--compat-digest-only-tag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DigestOnlyArg {
    /// Written as latest@digest.
    Latest,
    /// Refused.
    Refuse,
}

/// A boolean as Go's flags read them.
pub fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// A duration in nanoseconds.
pub fn nanoseconds(text: &str) -> Result<i128, String> {
    duration(text)
}

/// Shared flags.
#[derive(Clone, Debug, Default, Args)]
pub struct WorldArgs {
    /// Read Applications from this folder, or from git+<url>[?ref=<branch>][&path=<dir>], instead of a cluster.
    #[arg(long, value_name = "PLACE", help_heading = "Source")]
    pub applications: Option<String>,
    /// Follow only these Applications to their children (App of Apps); default: every one.
    #[arg(long, value_name = "NAME", help_heading = "Source")]
    pub root: Vec<String>,
    /// Read Secrets from manifests below this folder.
    #[arg(long, value_name = "DIR", help_heading = "Source")]
    pub secrets: Option<PathBuf>,
    /// Kubeconfig; default: in-cluster, or KUBECONFIG.
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    pub kubeconfig: Option<PathBuf>,
    /// Argo CD's namespace; default: the own one.
    #[arg(long, short = 'n', visible_alias = "namespace", value_name = "NS", help_heading = "Source")]
    pub argocd_namespace: Option<String>,
    /// Whether annotations count without an ImageUpdater object.
    #[arg(long, value_enum, help_heading = "Source")]
    pub native_annotations: Option<NativeArg>,
    /// Namespaces other than its own in which an ImageUpdater object may select Applications by spec.namespace.
    #[arg(long, value_delimiter = ',', value_name = "NS", help_heading = "Source")]
    pub updater_target_namespaces: Vec<String>,
    /// registries.conf.
    #[arg(long, value_name = "FILE", help_heading = "Images")]
    pub registries_conf_path: Option<PathBuf>,
    /// Directory of the durable state and the Git mirrors, or :memory:.
    #[arg(long, value_name = "DIR", help_heading = "State")]
    pub state_dir: Option<PathBuf>,
    /// Take tags that rank below the one in use.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool,
          value_name = "BOOL", help_heading = "Images")]
    pub allow_downgrade: Option<bool>,
    /// Accept repositories on this machine (file:// and plain paths).
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool,
          value_name = "BOOL", help_heading = "Git")]
    pub allow_local_git: Option<bool>,
    /// Write any git-repository with Argo CD's credentials, whatever the project allows.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool,
          value_name = "BOOL", help_heading = "Git")]
    pub allow_any_git_repository: Option<bool>,
    /// Applications may name Secrets of other namespaces.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool,
          value_name = "BOOL", help_heading = "Images")]
    pub cross_namespace_secrets: Option<bool>,
    /// Environment variables that Applications may name as credentials.
    #[arg(long, value_delimiter = ',', value_name = "NAME", help_heading = "Images")]
    pub tenant_credential_env: Vec<String>,
    /// Scripts that Applications may name as credentials (ext:<path>).
    #[arg(long, value_delimiter = ',', value_name = "PATH", help_heading = "Images")]
    pub tenant_credential_ext: Vec<String>,
    /// Default of an extension setting, as refresh=hard; repeatable. Annotations win.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Images")]
    pub default: Vec<String>,
    /// A digest without tag where only a tag can stand: latest@digest, or refused.
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Images")]
    pub compat_digest_only_tag: Option<DigestOnlyArg>,
    /// Hosts that may see a registry's credentials: <registry>=<realm-host>.
    #[arg(long, value_delimiter = ',', value_name = "PAIR", help_heading = "Images")]
    pub registry_realm: Vec<String>,
    /// Author and committer name.
    #[arg(long, value_name = "NAME", help_heading = "Git")]
    pub git_commit_user: Option<String>,
    /// Author and committer address.
    #[arg(long, value_name = "MAIL", help_heading = "Git")]
    pub git_commit_email: Option<String>,
    /// Add Signed-off-by.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool,
          value_name = "BOOL", help_heading = "Git")]
    pub git_commit_sign_off: Option<bool>,
    /// Template of the commit message.
    #[arg(long, value_name = "FILE", help_heading = "Git")]
    pub git_commit_message_path: Option<PathBuf>,
    /// How many commits a push carries.
    #[arg(long, value_enum, help_heading = "Git")]
    pub git_commit_per: Option<PerArg>,
    /// How long a round waits for registries before it writes what it knows; later answers are pushed
    /// after it; default: 30s.
    #[arg(long, value_parser = nanoseconds, allow_hyphen_values = true, value_name = "DURATION", help_heading = "Git")]
    pub git_batch_window: Option<i128>,
    /// Most disk space of the mirrors, as 2GiB: not bounded yet.
    #[arg(long, value_name = "SIZE", help_heading = "Git")]
    pub git_cache_size: Option<String>,
    /// How long a message or a condition waits for what a commit says.
    #[arg(long, value_name = "DURATION", help_heading = "Git")]
    pub commit_wait: Option<String>,
}

impl WorldArgs {
    /// Puts the flags into settings; what is worth saying goes to `problems`.
    ///
    /// # Errors
    /// For a flag that cannot be used.
    pub fn apply(&self, settings: &mut Settings, problems: &mut Vec<Problem>) -> Result<(), String> {
        if let Some(place) = &self.applications {
            settings.source = Source::parse(place)?;
        }
        settings.roots.clone_from(&self.root);
        settings.secrets_dir.clone_from(&self.secrets);
        settings.kubeconfig.clone_from(&self.kubeconfig);
        if let Some(namespace) = self.argocd_namespace.clone().filter(|n| !n.is_empty()).or_else(own_namespace) {
            settings.argocd_namespace = namespace;
        }
        if let Some(path) = &self.registries_conf_path {
            settings.registries_conf.clone_from(path);
            settings.registries_conf_given = true;
        }
        settings.native_annotations = match self.native_annotations {
            Some(NativeArg::True) => NativeAnnotations::True,
            Some(NativeArg::False) => NativeAnnotations::False,
            Some(NativeArg::Auto) | None => NativeAnnotations::Auto,
        };
        let targets = self.updater_target_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        settings.updater_target_namespaces = targets.map(str::to_owned).collect();
        settings.allow_downgrade = self.allow_downgrade.unwrap_or(false);
        settings.refuse_digest_only = self.compat_digest_only_tag == Some(DigestOnlyArg::Refuse);
        settings.cross_namespace_secrets = self.cross_namespace_secrets.unwrap_or(false);
        settings.tenant_credential_env.clone_from(&self.tenant_credential_env);
        settings.tenant_credential_ext.clone_from(&self.tenant_credential_ext);
        for pair in &self.registry_realm {
            let Some((registry, realm)) = pair.split_once('=') else {
                return Err(format!("--registry-realm {pair}: write <registry>=<realm-host>"));
            };
            settings.registry_realms.push((registry.to_owned(), realm.to_owned()));
        }
        self.defaults(settings)?;
        self.git(settings, problems)
    }

    fn defaults(&self, settings: &mut Settings) -> Result<(), String> {
        for pair in &self.default {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(format!("--default {pair}: write <key>=<value>"));
            };
            settings.defaults.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        match annotations::unusable_defaults(&settings.defaults).first() {
            Some(problem) => Err(format!("--default: {problem}")),
            None => Ok(()),
        }
    }

    fn git(&self, settings: &mut Settings, problems: &mut Vec<Problem>) -> Result<(), String> {
        let git = &mut settings.git;
        git.allow_local = self.allow_local_git.unwrap_or(false);
        git.allow_any_repository = self.allow_any_git_repository.unwrap_or(false);
        if let Some(user) = self.git_commit_user.clone().filter(|user| !user.is_empty()) {
            git.user = user;
        }
        if let Some(email) = self.git_commit_email.clone().filter(|email| !email.is_empty()) {
            git.email = email;
        }
        git.sign_off = self.git_commit_sign_off.unwrap_or(false);
        if let Some(path) = &self.git_commit_message_path {
            git.message_path.clone_from(path);
        }
        if self.git_commit_per == Some(PerArg::Push) {
            git.commit_per = CommitPer::Push;
        }
        if let Some(window) = self.git_batch_window {
            let window =
                u64::try_from(window).map_err(|_| "--git-batch-window: write a time of at least 0".to_owned())?;
            git.batch_window = Duration::from_nanos(window);
        }
        if self.git_cache_size.is_some() {
            let text = "the size of the mirrors is not bounded yet";
            problems.push(Problem::info("FlagPending", text).in_object("--git-cache-size"));
        }
        if let Some(text) = &self.commit_wait {
            let nanoseconds = duration(text).map_err(|e| format!("--commit-wait: {e}"))?;
            let wait = u64::try_from(nanoseconds).ok().filter(|wait| *wait > 0);
            let wait = wait.ok_or_else(|| format!("--commit-wait {text}: write a time above zero, as 10s"))?;
            git.commit_wait = Duration::from_nanos(wait);
        }
        Ok(())
    }
}

/// `POD_NAMESPACE`, else what the ServiceAccount's file says.
pub fn own_namespace() -> Option<String> {
    variables::text("POD_NAMESPACE").or_else(|| {
        let file = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
        std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    })
}

/// Where Argo CD's folder of private roots is mounted.
fn tls_folder() -> PathBuf {
    variables::text("ARGOCD_TLS_DATA_PATH").map_or_else(|| Settings::default().tls_folder, PathBuf::from)
}

/// The gate to the outside, with the private roots of Argo CD's folder.
pub fn http() -> Http {
    let http = Http::new(Gate::Central);
    http.set_host_roots(trust::usable(&trust::mounted(&tls_folder())).0);
    http
}

/// Builds the adapters. `mirrors` is where Git mirrors live.
pub async fn build(mut settings: Settings, store: Option<Store>, mirrors: &Path) -> Result<World, Problem> {
    settings.tls_folder = tls_folder();
    let http = http();
    let conf = daemon::registries::load(&settings)?;
    let metrics = Arc::new(crate::daemon::metrics::Metrics::default());
    let observer = metrics.clone();
    let options = Options {
        realms: settings.registry_realms.clone(),
        observe: Some(Arc::new(move |request| observer.registry_request(request))),
        ..Options::default()
    };
    let (git_settings, problems) = git::Settings::new(mirrors).with_variables(|name| std::env::var(name).ok());
    for problem in problems {
        tracing::warn!("{problem}");
    }
    let wants_cluster = settings.source == Source::Cluster
        || settings.kubeconfig.is_some()
        || settings.access != ClusterAccess::default();
    let cluster = match wants_cluster {
        true => {
            let hint = "give --kubeconfig, or work without a cluster: --applications <folder>";
            Some(
                Cluster::connect_with(settings.kubeconfig.as_deref(), &settings.access)
                    .await
                    .map_err(|e| e.problem().hint(hint))?,
            )
        }
        false => None,
    };
    // The Lease lies where the process runs, unless it is told otherwise.
    settings.leader_election_namespace = settings.leader_election_namespace.or_else(own_namespace);
    if let Some(cluster) = cluster.as_ref().filter(|_| settings.argocd_namespace.is_empty()) {
        settings.argocd_namespace = cluster.own_namespace().to_owned();
    }
    let secrets = match (&settings.secrets_dir, &cluster) {
        (Some(folder), _) => Secrets::from_directory(folder, &settings.argocd_namespace)?,
        (None, Some(cluster)) => Secrets::Cluster(cluster.clone(), Arc::default()),
        (None, None) => Secrets::None,
    };
    let registries = Registries::new(http.clone(), conf, options);
    if let Some(store) = &store {
        remember(store, registries.metadata()).await;
    }
    let git = Git::new(git_settings, http.clone());
    let world = World { cluster, secrets, store, metrics, ..World::new(settings, registries, git, http) };
    world.load_template()?;
    Ok(world)
}

/// The default state directory: `$XDG_STATE_HOME/lynceus`, else `~/.local/state/lynceus`.
pub fn state_home() -> Option<PathBuf> {
    let base = variables::text("XDG_STATE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(variables::text("HOME")?).join(".local/state")));
    base.map(|base| base.join("lynceus"))
}

/// Where commands that write nothing keep their mirrors: `$XDG_CACHE_HOME/lynceus`, else `~/.cache/lynceus`.
pub fn cache_home() -> PathBuf {
    let base = variables::text("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(variables::text("HOME")?).join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("lynceus")
}
