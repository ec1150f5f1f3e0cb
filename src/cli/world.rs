//! Flags that `run`, `plan` and `explain` share, and the adapters they come to. A flag wins over its variable, the
//! variable over the default (image-updates.md §23).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::adapters::cluster::Cluster;
use crate::adapters::git::{self, Git};
use crate::adapters::http::{Gate, Http};
use crate::adapters::registry::{Options, Registries};
use crate::adapters::store::Store;
use crate::config::settings::{ClusterAccess, CommitPer, Settings, Source, duration};
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

/// Shared flags.
#[derive(Clone, Debug, Default, Args)]
pub struct WorldArgs {
    /// Read Applications from this folder, or from git+<url>[?ref=<branch>][&path=<dir>], instead of a cluster.
    #[arg(long, env = "LYNCEUS_APPLICATIONS", value_name = "PLACE", help_heading = "Source")]
    pub applications: Option<String>,
    /// Follow only these Applications to their children (App of Apps); default: every one.
    #[arg(long, env = "LYNCEUS_ROOT", value_name = "NAME", help_heading = "Source")]
    pub root: Vec<String>,
    /// Read Secrets from manifests below this folder.
    #[arg(long, env = "LYNCEUS_SECRETS", value_name = "DIR", help_heading = "Source")]
    pub secrets: Option<PathBuf>,
    /// Kubeconfig; default: in-cluster, or KUBECONFIG.
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    pub kubeconfig: Option<PathBuf>,
    /// Argo CD's namespace; default: the own one.
    #[arg(
        long,
        short = 'n',
        visible_alias = "namespace",
        env = "ARGOCD_NAMESPACE",
        value_name = "NS",
        help_heading = "Source"
    )]
    pub argocd_namespace: Option<String>,
    /// registries.conf.
    #[arg(long, env = "LYNCEUS_REGISTRIES_CONF_PATH", value_name = "FILE", help_heading = "Images")]
    pub registries_conf_path: Option<PathBuf>,
    /// Directory of the durable state and the Git mirrors, or :memory:.
    #[arg(long, env = "LYNCEUS_STATE_DIR", value_name = "DIR", help_heading = "State")]
    pub state_dir: Option<PathBuf>,
    /// Take tags that rank below the one in use.
    #[arg(long, env = "LYNCEUS_ALLOW_DOWNGRADE", help_heading = "Images")]
    pub allow_downgrade: bool,
    /// Accept repositories on this machine (file:// and plain paths).
    #[arg(long, env = "LYNCEUS_ALLOW_LOCAL_GIT", help_heading = "Git")]
    pub allow_local_git: bool,
    /// Write any git-repository with Argo CD's credentials, whatever the project allows.
    #[arg(long, env = "LYNCEUS_ALLOW_ANY_GIT_REPOSITORY", help_heading = "Git")]
    pub allow_any_git_repository: bool,
    /// Applications may name Secrets of other namespaces.
    #[arg(long, env = "LYNCEUS_CROSS_NAMESPACE_SECRETS", help_heading = "Images")]
    pub cross_namespace_secrets: bool,
    /// Environment variables that Applications may name as credentials.
    #[arg(
        long,
        env = "LYNCEUS_TENANT_CREDENTIAL_ENV",
        value_delimiter = ',',
        value_name = "NAME",
        help_heading = "Images"
    )]
    pub tenant_credential_env: Vec<String>,
    /// Hosts that may see a registry's credentials: <registry>=<realm-host>.
    #[arg(long, env = "LYNCEUS_REGISTRY_REALM", value_delimiter = ',', value_name = "PAIR", help_heading = "Images")]
    pub registry_realm: Vec<String>,
    /// Author and committer name.
    #[arg(long, value_name = "NAME", help_heading = "Git")]
    pub git_commit_user: Option<String>,
    /// Author and committer address.
    #[arg(long, value_name = "MAIL", help_heading = "Git")]
    pub git_commit_email: Option<String>,
    /// Add Signed-off-by.
    #[arg(long, help_heading = "Git")]
    pub git_commit_sign_off: bool,
    /// Template of the commit message.
    #[arg(long, value_name = "FILE", help_heading = "Git")]
    pub git_commit_message_path: Option<PathBuf>,
    /// How many commits a push carries.
    #[arg(long, value_enum, env = "LYNCEUS_GIT_COMMIT_PER", help_heading = "Git")]
    pub git_commit_per: Option<PerArg>,
    /// How long a message or a condition waits for what a commit says.
    #[arg(long, env = "LYNCEUS_COMMIT_WAIT", value_name = "DURATION", help_heading = "Git")]
    pub commit_wait: Option<String>,
}

/// Variables that upstream's manifests set; unreadable values give a warning and the default.
pub struct Variables {
    /// Warnings so far.
    pub problems: Vec<Problem>,
}

impl Variables {
    /// A text variable; an empty one counts as unset.
    pub fn text(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// A boolean: only true and false, in any case.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        let text = Self::text(name)?;
        match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                let problem = Problem::warning("config-invalid", format!("`{text}` is neither true nor false"));
                self.problems.push(problem.in_object(name).hint("the default is used"));
                None
            }
        }
    }

    /// A value read by `parse`.
    pub fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = Self::text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                let problem = Problem::warning("config-invalid", why).in_object(name).hint("the default is used");
                self.problems.push(problem);
                None
            }
        }
    }
}

impl WorldArgs {
    /// Puts the flags into settings.
    pub fn apply(&self, settings: &mut Settings, variables: &mut Variables) -> Result<(), String> {
        if let Some(place) = &self.applications {
            settings.source = Source::parse(place)?;
        }
        settings.roots.clone_from(&self.root);
        settings.secrets_dir.clone_from(&self.secrets);
        settings.kubeconfig.clone_from(&self.kubeconfig);
        if let Some(namespace) = self.argocd_namespace.clone().or_else(own_namespace) {
            settings.argocd_namespace = namespace;
        }
        if let Some(path) = &self.registries_conf_path {
            settings.registries_conf.clone_from(path);
            settings.registries_conf_given = true;
        }
        settings.allow_downgrade = self.allow_downgrade;
        settings.cross_namespace_secrets = self.cross_namespace_secrets;
        settings.tenant_credential_env.clone_from(&self.tenant_credential_env);
        for pair in &self.registry_realm {
            let Some((registry, realm)) = pair.split_once('=') else {
                return Err(format!("--registry-realm {pair}: write <registry>=<realm-host>"));
            };
            settings.registry_realms.push((registry.to_owned(), realm.to_owned()));
        }
        let git = &mut settings.git;
        git.allow_local = self.allow_local_git;
        git.allow_any_repository = self.allow_any_git_repository;
        let text = |flag: &Option<String>, variable: &str| {
            flag.clone().filter(|t| !t.is_empty()).or_else(|| Variables::text(variable))
        };
        if let Some(user) = text(&self.git_commit_user, "GIT_COMMIT_USER") {
            git.user = user;
        }
        if let Some(email) = text(&self.git_commit_email, "GIT_COMMIT_EMAIL") {
            git.email = email;
        }
        git.sign_off = self.git_commit_sign_off || variables.flag("GIT_COMMIT_SIGN_OFF").unwrap_or(false);
        if let Some(path) = &self.git_commit_message_path {
            git.message_path.clone_from(path);
        }
        if self.git_commit_per == Some(PerArg::Push) {
            git.commit_per = CommitPer::Push;
        }
        if let Some(text) = &self.commit_wait {
            let nanoseconds = duration(text).map_err(|e| format!("--commit-wait: {e}"))?;
            let wait = u64::try_from(nanoseconds).ok().filter(|wait| *wait > 0);
            let wait = wait.ok_or_else(|| format!("--commit-wait {text}: write a time above zero, as 10s"))?;
            git.commit_wait = std::time::Duration::from_nanos(wait);
        }
        Ok(())
    }
}

/// `POD_NAMESPACE`, else what the ServiceAccount's file says.
fn own_namespace() -> Option<String> {
    Variables::text("POD_NAMESPACE").or_else(|| {
        let file = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
        std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    })
}

/// Where Argo CD's folder of private roots is mounted.
fn tls_folder() -> PathBuf {
    Variables::text("ARGOCD_TLS_DATA_PATH").map_or_else(|| Settings::default().tls_folder, PathBuf::from)
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
    let base = Variables::text("XDG_STATE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(Variables::text("HOME")?).join(".local/state")));
    base.map(|base| base.join("lynceus"))
}

/// Where commands that write nothing keep their mirrors: `$XDG_CACHE_HOME/lynceus`, else `~/.cache/lynceus`.
pub fn cache_home() -> PathBuf {
    let base = Variables::text("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(Variables::text("HOME")?).join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("lynceus")
}
