//! Arguments of `run`, and the settings they come to: a flag wins over its variable, the variable over the default
//! (image-updates.md §23, notifications.md §21).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::kubectl::KubectlArgs;
use super::logging::{self, Format};
use super::world::{self, WorldArgs, go_bool, nanoseconds};
use crate::config::notifications::CatalogMode;
use crate::config::settings::{CommitPer, NativeAnnotations, Settings};
use crate::core::image::Glob;
use crate::core::problem::Problem;

mod notifier;
mod updater;

use notifier::NotifierArgs;
use updater::UpdaterArgs;

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Runs.
    On,
    /// Watches, writes and needs nothing.
    Off,
}

/// `--builtin-catalog`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CatalogArg {
    /// Only if the ConfigMap holds no trigger of its own.
    Auto,
    /// Always; keys of the ConfigMap win.
    All,
    /// Image triggers only.
    Image,
    /// Never.
    None,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub world: WorldArgs,
    #[command(flatten)]
    kubectl: KubectlArgs,
    #[command(flatten)]
    notifier: NotifierArgs,
    #[command(flatten)]
    updater: UpdaterArgs,
    /// Keep images up to date.
    #[arg(long, value_enum, value_name = "SWITCH")]
    pub images: Option<Switch>,
    /// Send notifications.
    #[arg(long, value_enum, value_name = "SWITCH")]
    pub notifications: Option<Switch>,
    /// Between two looks at the registries, as 2m or 90s; 0 looks once per change, a negative one never by itself.
    #[arg(long, value_parser = nanoseconds, value_name = "DURATION", allow_hyphen_values = true)]
    pub interval: Option<i128>,
    /// One complete pass of the image half, then exit; 1 if anything failed.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    pub once: Option<bool>,
    /// Everything but writes and messages.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    pub dry_run: Option<bool>,
    /// Log level: trace, debug, info, warn, error.
    #[arg(long, value_parser = logging::level, value_name = "LEVEL")]
    pub loglevel: Option<String>,
    /// Log format.
    #[arg(long, value_enum, ignore_case = true)]
    pub logformat: Option<Format>,
    /// Namespaces whose Applications are watched: empty for the own one, * for all, or a comma list.
    #[arg(long, value_name = "LIST")]
    pub watch_namespaces: Option<String>,
    /// Further namespaces of the notification half: globs, or regular expressions inside /…/.
    #[arg(long, value_delimiter = ',', value_name = "GLOB")]
    pub application_namespaces: Vec<String>,
    /// Only Applications that this label selector takes.
    #[arg(long, default_value = "", value_name = "SELECTOR")]
    pub app_label_selector: String,
    /// Applications evaluated at the same time, 1 to 100.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100), value_name = "N")]
    pub max_concurrent_apps: Option<u16>,
    /// Evaluation workers of the notification half.
    #[arg(long, value_name = "N")]
    pub processors_count: Option<usize>,
    /// Deliveries under way at the same time.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub max_calls: usize,
    /// Address of /healthz and /readyz; 0 is off. Default: :8081.
    #[arg(long, value_name = "ADDRESS")]
    pub health_probe_bind_address: Option<String>,
    /// Address of /metrics; 0 is off. Default: :9001.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_bind_address: Option<String>,
    /// Port of /metrics over plain HTTP, as Argo CD Notifications and Image Updater 0.x name it; 0 is off.
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Let lynceus_image_versions_behind name each Application.
    #[arg(long, env = "LYNCEUS_METRICS_BY_APPLICATION")]
    pub metrics_by_application: bool,
    /// Of several replicas only the holder of the Lease c21b75f2.argoproj.io, Argo CD Image Updater's, writes images.
    #[arg(long, visible_alias = "leader-elect", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    pub leader_election: Option<bool>,
    /// Namespace of the Lease; default: the own one.
    #[arg(long, value_name = "NS")]
    pub leader_election_namespace: Option<String>,
    /// Record Kubernetes Events on updated Applications.
    #[arg(long, value_parser = go_bool, value_name = "BOOL")]
    pub kube_events: Option<bool>,
    /// Do not record Kubernetes Events.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    pub disable_kube_events: Option<bool>,
    /// Name of the notifications' ConfigMap.
    #[arg(long, default_value = "argocd-notifications-cm", value_name = "NAME")]
    pub config_map_name: String,
    /// Name of the notifications' Secret.
    #[arg(long, default_value = "argocd-notifications-secret", value_name = "NAME")]
    pub secret_name: String,
    /// Read the notifications' ConfigMap from this file; it is read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub config_map: Option<PathBuf>,
    /// Read the notifications' Secret from this file.
    #[arg(long, value_name = "FILE")]
    pub secret: Option<PathBuf>,
    /// The built-in triggers and templates.
    #[arg(long, value_enum)]
    pub builtin_catalog: Option<CatalogArg>,
    /// Needs nothing in a cluster: the notifications' configuration comes from files only.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    pub standalone: Option<bool>,
    /// Where the state is kept.
    #[arg(long, value_enum, default_value_t)]
    pub store: StoreArg,
    /// Keep Argo CD Notifications' state annotation up to date.
    #[arg(long, value_parser = go_bool, value_name = "BOOL")]
    pub write_state_annotation: Option<bool>,
}

/// `--store`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StoreArg {
    /// One file in the state directory.
    #[default]
    Sqlite,
}

/// A glob over names of Applications.
fn glob(text: &str) -> Result<Glob, String> {
    Glob::parse(text).ok_or_else(|| "it is no glob".to_owned())
}

/// Which of Argo CD's programs this process stands in for, by the name it was started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    /// Itself.
    Lynceus,
    /// `manager`: Argo CD Image Updater 1.x.
    Manager,
    /// `argocd-image-updater`: 0.x, whose probes and metrics are elsewhere.
    ImageUpdater,
    /// `argocd-notifications`.
    Notifications,
}

impl Called {
    fn of(name: &str) -> Called {
        match name {
            "manager" => Called::Manager,
            "argocd-image-updater" => Called::ImageUpdater,
            _ if name.starts_with("argocd-notifications") => Called::Notifications,
            _ => Called::Lynceus,
        }
    }

    fn updates_only(self) -> bool {
        matches!(self, Called::Manager | Called::ImageUpdater)
    }
}

/// Where the faces listen; `0` is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faces {
    /// `/healthz`, `/readyz`, `/status`.
    pub probes: String,
    /// `/metrics`.
    pub metrics: String,
}

/// What the arguments come to.
pub struct Start {
    /// The settings.
    pub settings: Settings,
    /// Where the faces listen.
    pub faces: Faces,
    /// What is worth saying.
    pub problems: Vec<Problem>,
}

impl RunArgs {
    /// What these arguments come to; `called` is the name the program was started by.
    ///
    /// # Errors
    /// For what cannot be used.
    pub fn start(&self, called: &str) -> Result<Start, String> {
        let called = Called::of(called);
        let mut problems = Vec::new();
        let mut settings = Settings::default();
        self.world.apply(&mut settings, &mut problems)?;
        settings.access = self.kubectl.access();
        self.notifier.remarks(&mut problems);
        self.updater.remarks(&mut problems)?;
        self.images(called, &mut settings, &mut problems);
        self.notifications(called, &mut settings);
        let faces = self.faces(called, &mut problems);
        Ok(Start { settings, faces, problems })
    }

    fn images(&self, called: Called, settings: &mut Settings, problems: &mut Vec<Problem>) {
        settings.images = called != Called::Notifications && self.images != Some(Switch::Off);
        if let Some(nanoseconds) = self.interval {
            settings.interval = u64::try_from(nanoseconds).ok().map(Duration::from_nanos);
        }
        let interval = |text: &str| Problem::warning("config-invalid", text).in_object("--interval");
        match settings.interval {
            None if settings.images => {
                problems.push(interval("nothing looks for new tags by itself, and webhooks are not served yet"));
            }
            Some(short) if !short.is_zero() && short < Duration::from_secs(60) => {
                problems.push(interval("below one minute: registries may answer less willingly"));
            }
            _ => {}
        }
        settings.once = self.once.unwrap_or(false);
        settings.dry_run = self.dry_run.unwrap_or(false);
        settings.watch_namespaces = match (&self.watch_namespaces, self.updater.application_namespace.as_deref()) {
            (Some(list), _) => list.clone(),
            // 0.x watched all namespaces where it was told none.
            (None, Some("")) => "*".to_owned(),
            (None, Some(one)) => one.to_owned(),
            (None, None) => String::new(),
        };
        settings.match_names.clone_from(&self.updater.match_application_name);
        if let Some(n) = self.max_concurrent_apps.or(self.updater.max_concurrency) {
            settings.max_concurrent_apps = usize::from(n);
        }
        settings.metrics_by_application = self.metrics_by_application;
        settings.kube_events = self.kube_events.unwrap_or(!self.disable_kube_events.unwrap_or(false));
        settings.leader_election = self.leader_election.unwrap_or(true);
        settings.leader_election_namespace = self.leader_election_namespace.clone().filter(|name| !name.is_empty());
    }

    fn notifications(&self, called: Called, settings: &mut Settings) {
        settings.notifications = !called.updates_only() && self.notifications != Some(Switch::Off);
        settings.standalone = self.standalone.unwrap_or(false);
        settings.application_namespaces.clone_from(&self.application_namespaces);
        settings.label_selector = match &self.updater.match_application_label {
            Some(label) if self.app_label_selector.is_empty() => label.clone(),
            _ => self.app_label_selector.clone(),
        };
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        settings.processors = self.processors_count.unwrap_or(cores);
        settings.max_calls = self.max_calls.max(1);
        settings.config_map_name.clone_from(&self.config_map_name);
        settings.secret_name.clone_from(&self.secret_name);
        settings.config_map_file.clone_from(&self.config_map);
        settings.secret_file.clone_from(&self.secret);
        settings.catalog = match self.builtin_catalog {
            Some(CatalogArg::All) => CatalogMode::All,
            Some(CatalogArg::Image) => CatalogMode::Image,
            Some(CatalogArg::None) => CatalogMode::None,
            Some(CatalogArg::Auto) | None => CatalogMode::Auto,
        };
        settings.write_state_annotation = self.write_state_annotation.unwrap_or(true);
    }

    /// Under the names of other programs their addresses, so that the probes of their Deployments find them.
    fn faces(&self, called: Called, problems: &mut Vec<Problem>) -> Faces {
        let port = |port: u16| if port == 0 { "0".to_owned() } else { format!(":{port}") };
        let probes = match (&self.health_probe_bind_address, self.updater.health_port) {
            (Some(address), _) => address.clone(),
            (None, Some(number)) => port(number),
            (None, None) if called == Called::ImageUpdater => ":8080".to_owned(),
            (None, None) => ":8081".to_owned(),
        };
        if let Some(number) = self.metrics_port {
            return Faces { probes, metrics: port(number) };
        }
        let default = match called {
            Called::Manager => "0",
            Called::ImageUpdater => ":8081",
            Called::Lynceus | Called::Notifications => ":9001",
        };
        let mut metrics = self.metrics_bind_address.clone().unwrap_or_else(|| default.to_owned());
        let named = self.metrics_bind_address.is_some() && called.updates_only();
        if metrics != "0" && self.updater.metrics_secure.unwrap_or(named) {
            let text =
                format!("metrics for known callers only, over HTTPS, are not served yet: nothing is on {metrics}");
            let problem = Problem::warning("FlagPending", text).in_object("--metrics-secure");
            problems.push(problem.hint("--metrics-secure=false serves them to everybody, over plain HTTP"));
            "0".clone_into(&mut metrics);
        }
        Faces { probes, metrics }
    }

    /// How the log is written where nothing says so: Argo CD Notifications writes JSON, Argo CD Image Updater text.
    pub fn log_format(&self, called: &str) -> Option<Format> {
        self.logformat.or(match Called::of(called) {
            Called::Notifications => Some(Format::Json),
            Called::Manager | Called::ImageUpdater => Some(Format::Text),
            Called::Lynceus => None,
        })
    }

    /// The state directory and whether it was named.
    pub fn state(&self) -> (Option<PathBuf>, bool) {
        match &self.world.state_dir {
            Some(dir) if dir.as_os_str() == ":memory:" => (None, true),
            Some(dir) => (Some(dir.clone()), true),
            None => (world::state_home(), false),
        }
    }
}

impl Start {
    /// What flags, variables and defaults have come to, as one line of flags.
    pub fn shown(&self) -> String {
        let Start { settings: s, faces, .. } = self;
        let git = &s.git;
        let switch = |on: bool| if on { "on" } else { "off" };
        let path = |path: &std::path::Path| path.display().to_string();
        let interval = s.interval.map_or("never".to_owned(), |interval| format!("{}s", interval.as_secs_f64()));
        let native = match s.native_annotations {
            NativeAnnotations::Auto => "auto",
            NativeAnnotations::True => "true",
            NativeAnnotations::False => "false",
        };
        let per = if git.commit_per == CommitPer::Push { "push" } else { "application" };
        let defaults: Vec<String> = s.defaults.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let realms: Vec<String> = s.registry_realms.iter().map(|(from, to)| format!("{from}={to}")).collect();
        let flags = [
            ("images", switch(s.images).to_owned()),
            ("notifications", switch(s.notifications).to_owned()),
            ("interval", interval),
            ("once", s.once.to_string()),
            ("dry-run", s.dry_run.to_string()),
            ("argocd-namespace", s.argocd_namespace.clone()),
            ("watch-namespaces", s.watch_namespaces.clone()),
            ("application-namespaces", s.application_namespaces.join(",")),
            ("app-label-selector", s.label_selector.clone()),
            ("registries-conf-path", path(&s.registries_conf)),
            ("max-concurrent-apps", s.max_concurrent_apps.to_string()),
            ("kube-events", s.kube_events.to_string()),
            ("native-annotations", native.to_owned()),
            ("updater-target-namespaces", s.updater_target_namespaces.join(",")),
            ("allow-downgrade", s.allow_downgrade.to_string()),
            ("default", defaults.join(",")),
            ("compat-digest-only-tag", if s.refuse_digest_only { "refuse" } else { "latest" }.to_owned()),
            ("registry-realm", realms.join(",")),
            ("cross-namespace-secrets", s.cross_namespace_secrets.to_string()),
            ("tenant-credential-env", s.tenant_credential_env.join(",")),
            ("tenant-credential-ext", s.tenant_credential_ext.join(",")),
            ("allow-any-git-repository", git.allow_any_repository.to_string()),
            ("allow-local-git", git.allow_local.to_string()),
            ("git-commit-user", git.user.clone()),
            ("git-commit-email", git.email.clone()),
            ("git-commit-sign-off", git.sign_off.to_string()),
            ("git-commit-message-path", path(&git.message_path)),
            ("git-commit-per", per.to_owned()),
            ("git-batch-window", format!("{}s", git.batch_window.as_secs_f64())),
            ("commit-wait", format!("{}s", git.commit_wait.as_secs_f64())),
            ("leader-election", s.leader_election.to_string()),
            ("leader-election-namespace", s.leader_election_namespace.clone().unwrap_or_default()),
            ("processors-count", s.processors.to_string()),
            ("max-calls", s.max_calls.to_string()),
            ("health-probe-bind-address", faces.probes.clone()),
            ("metrics-bind-address", faces.metrics.clone()),
        ];
        flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect::<Vec<_>>().join(" ")
    }
}
