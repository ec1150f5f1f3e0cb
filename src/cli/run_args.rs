//! Arguments of `run`, and the settings they come to: a flag wins over its variable, the variable over the default
//! (image-updates.md §23, notifications.md §21).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::kubectl::KubectlArgs;
use super::logging::Format;
use super::world::{self, Variables, WorldArgs};
use crate::config::notifications::CatalogMode;
use crate::config::settings::{NativeAnnotations, Settings, duration};
use crate::core::problem::Problem;

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

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub world: WorldArgs,
    #[command(flatten)]
    kubectl: KubectlArgs,
    #[command(flatten)]
    upstream: UpstreamArgs,
    /// Keep images up to date.
    #[arg(long, value_enum, env = "LYNCEUS_IMAGES", value_name = "SWITCH")]
    pub images: Option<Switch>,
    /// Send notifications.
    #[arg(long, value_enum, env = "LYNCEUS_NOTIFICATIONS", value_name = "SWITCH")]
    pub notifications: Option<Switch>,
    /// Between two looks at the registries, as 2m or 90s; 0 looks once per change, a negative one never by itself.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub interval: Option<String>,
    /// One complete pass of the image half, then exit; 1 if anything failed.
    #[arg(long)]
    pub once: bool,
    /// Everything but writes and messages.
    #[arg(long)]
    pub dry_run: bool,
    /// Log level: trace, debug, info, warn, error.
    #[arg(long, value_name = "LEVEL")]
    pub loglevel: Option<String>,
    /// Log format.
    #[arg(long, value_enum)]
    pub logformat: Option<Format>,
    /// Namespaces whose Applications are watched: empty for the own one, * for all, or a comma list.
    #[arg(long, visible_alias = "application-namespace", value_name = "LIST")]
    pub watch_namespaces: Option<String>,
    /// Further namespaces of the notification half: globs, or regular expressions inside /…/.
    #[arg(long, env = "ARGOCD_APPLICATION_NAMESPACES", value_delimiter = ',', value_name = "GLOB")]
    pub application_namespaces: Vec<String>,
    /// Only Applications that this label selector takes.
    #[arg(long, default_value = "", value_name = "SELECTOR")]
    pub app_label_selector: String,
    /// Applications evaluated at the same time.
    #[arg(long, value_name = "N")]
    pub max_concurrent_apps: Option<usize>,
    /// Evaluation workers of the notification half.
    #[arg(long, value_name = "N")]
    pub processors_count: Option<usize>,
    /// Deliveries under way at the same time.
    #[arg(long, env = "LYNCEUS_MAX_CALLS", default_value_t = 64, value_name = "N")]
    pub max_calls: usize,
    /// Address of /healthz and /readyz; 0 is off.
    #[arg(long, default_value = ":8081", value_name = "ADDRESS")]
    pub health_probe_bind_address: String,
    /// Address of /metrics; 0 is off.
    #[arg(long, default_value = ":9001", value_name = "ADDRESS")]
    pub metrics_bind_address: String,
    /// Port of /metrics, as Argo CD Notifications names it.
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Let lynceus_image_versions_behind name each Application.
    #[arg(long, env = "LYNCEUS_METRICS_BY_APPLICATION")]
    pub metrics_by_application: bool,
    /// Record Kubernetes Events on updated Applications.
    #[arg(long, env = "LYNCEUS_KUBE_EVENTS", value_name = "BOOL")]
    pub kube_events: Option<bool>,
    /// Do not record Kubernetes Events.
    #[arg(long)]
    pub disable_kube_events: bool,
    /// Whether annotations count without an ImageUpdater object.
    #[arg(long, value_enum, env = "LYNCEUS_NATIVE_ANNOTATIONS")]
    pub native_annotations: Option<NativeArg>,
    /// Name of the notifications' ConfigMap.
    #[arg(long, default_value = "argocd-notifications-cm", value_name = "NAME")]
    pub config_map_name: String,
    /// Name of the notifications' Secret.
    #[arg(long, default_value = "argocd-notifications-secret", value_name = "NAME")]
    pub secret_name: String,
    /// Read the notifications' ConfigMap from this file; it is read again when it changes.
    #[arg(long, env = "LYNCEUS_CONFIG_MAP", value_name = "FILE")]
    pub config_map: Option<PathBuf>,
    /// Read the notifications' Secret from this file.
    #[arg(long, env = "LYNCEUS_SECRET", value_name = "FILE")]
    pub secret: Option<PathBuf>,
    /// The built-in triggers and templates.
    #[arg(long, value_enum, env = "LYNCEUS_BUILTIN_CATALOG")]
    pub builtin_catalog: Option<CatalogArg>,
    /// Needs nothing in a cluster: the notifications' configuration comes from files only.
    #[arg(long, env = "LYNCEUS_STANDALONE", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    pub standalone: Option<bool>,
    /// Where the state is kept.
    #[arg(long, value_enum, env = "LYNCEUS_STORE", default_value_t)]
    pub store: StoreArg,
    /// Keep Argo CD Notifications' state annotation up to date.
    #[arg(long, env = "LYNCEUS_WRITE_STATE_ANNOTATION", value_name = "BOOL")]
    pub write_state_annotation: Option<bool>,
}

/// Flags of Argo CD Notifications that have no effect here; each is answered by a remark at start.
#[derive(Debug, Args)]
#[command(next_help_heading = "Accepted from Argo CD Notifications")]
struct UpstreamArgs {
    /// No effect: commits are read from Lynceus's own mirrors.
    #[arg(long, value_name = "ADDRESS")]
    argocd_repo_server: Option<String>,
    /// No effect, as --argocd-repo-server.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    argocd_repo_server_plaintext: Option<bool>,
    /// No effect, as --argocd-repo-server.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    argocd_repo_server_strict_tls: Option<bool>,
    /// No effect, as --argocd-repo-server.
    #[arg(long, value_name = "FILE")]
    repo_server_ca_cert_path: Option<String>,
    /// No effect, as --argocd-repo-server.
    #[arg(long, value_name = "FILE")]
    repo_server_client_cert_path: Option<String>,
    /// No effect, as --argocd-repo-server.
    #[arg(long, value_name = "FILE")]
    repo_server_client_cert_key_path: Option<String>,
    /// Not followed yet: configurations in other namespaces.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    self_service_notification_enabled: Option<bool>,
}

impl UpstreamArgs {
    /// What is worth saying of them.
    fn remarks(&self, variables: &mut Variables) {
        let texts = [
            &self.repo_server_ca_cert_path,
            &self.repo_server_client_cert_path,
            &self.repo_server_client_cert_key_path,
        ];
        let flags = [self.argocd_repo_server_plaintext, self.argocd_repo_server_strict_tls];
        let set = |name: &&str| Variables::text(name).is_some();
        let named = ["", "_PLAINTEXT", "_STRICT_TLS", "_CA_CERT_PATH", "_CLIENT_CERT_PATH", "_CLIENT_CERT_KEY_PATH"];
        let named = named.map(|end| format!("ARGOCD_NOTIFICATION_CONTROLLER_REPO_SERVER{end}"));
        let unused = self.argocd_repo_server.is_some()
            || texts.iter().any(|text| text.is_some())
            || flags.iter().any(Option::is_some)
            || named.iter().map(String::as_str).any(|name| set(&name));
        if unused {
            let text = "the repository server is not asked; what is said about it has no effect";
            variables.problems.push(Problem::info("FlagUnused", text).in_object("--argocd-repo-server"));
        }
        let variable = "ARGOCD_NOTIFICATION_CONTROLLER_SELF_SERVICE_NOTIFICATION_ENABLED";
        let service = self.self_service_notification_enabled.or_else(|| variables.flag(variable));
        if service == Some(true) {
            let text = "configurations in other namespaces are not followed yet";
            variables.problems.push(
                Problem::warning("SelfServicePending", text)
                    .in_object("--self-service-notification-enabled")
                    .hint("subscriptions to the triggers of the control plane's ConfigMap work in every namespace"),
            );
        }
    }
}

/// `--store`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StoreArg {
    /// One file in the state directory.
    #[default]
    Sqlite,
}

impl RunArgs {
    /// The settings these arguments come to; `called` is the name the program was started by.
    pub fn settings(&self, called: &str) -> Result<(Settings, Variables), String> {
        let mut variables = Variables { problems: Vec::new() };
        let mut settings = Settings::default();
        self.world.apply(&mut settings, &mut variables)?;
        settings.access = self.kubectl.access();
        settings.standalone = self.standalone.unwrap_or(false);
        self.upstream.remarks(&mut variables);
        settings.images = !called.starts_with("argocd-notifications") && self.images != Some(Switch::Off);
        let updater = called == "manager" || called == "argocd-image-updater";
        settings.notifications = !updater && self.notifications != Some(Switch::Off);
        let parse = |text: &str| duration(text).map_err(|why| format!("--interval: {why}"));
        let interval = match &self.interval {
            Some(text) => Some(parse(text)?),
            None => variables.parsed("IMAGE_UPDATER_INTERVAL", duration),
        };
        if let Some(nanoseconds) = interval {
            settings.interval = u64::try_from(nanoseconds).ok().map(Duration::from_nanos);
        }
        settings.once = self.once;
        settings.dry_run = self.dry_run;
        settings.watch_namespaces = self
            .watch_namespaces
            .clone()
            .or_else(|| Variables::text("IMAGE_UPDATER_WATCH_NAMESPACES"))
            .unwrap_or_default();
        settings.application_namespaces.clone_from(&self.application_namespaces);
        settings.label_selector.clone_from(&self.app_label_selector);
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("`{text}` is no number"));
        if let Some(n) = self.max_concurrent_apps.or_else(|| variables.parsed("MAX_CONCURRENT_APPS", number)) {
            settings.max_concurrent_apps = n.clamp(1, 100);
        }
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let processors = "ARGOCD_NOTIFICATION_CONTROLLER_PROCESSORS_COUNT";
        settings.processors = self.processors_count.or_else(|| variables.parsed(processors, number)).unwrap_or(cores);
        let disabled = self.disable_kube_events || variables.flag("IMAGE_UPDATER_KUBE_EVENTS").unwrap_or(false);
        settings.metrics_by_application = self.metrics_by_application;
        settings.kube_events = self.kube_events.unwrap_or(!disabled);
        settings.native_annotations = match self.native_annotations {
            Some(NativeArg::True) => NativeAnnotations::True,
            Some(NativeArg::False) => NativeAnnotations::False,
            Some(NativeArg::Auto) | None => NativeAnnotations::Auto,
        };
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
        Ok((settings, variables))
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
