//! `run`: the composition root. Settings → adapters → daemon and web → wait → drain.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::logging::{self, Format};
use super::world::{self, Variables, WorldArgs};
use super::{USAGE, fail};
use crate::adapters::cluster::{Cluster, DocumentEvent, Namespaces};
use crate::adapters::store::{Store, passing_place};
use crate::config::notifications::CatalogMode;
use crate::config::settings::{NativeAnnotations, Settings, duration};
use crate::daemon::rules::{self, Documents};
use crate::daemon::world::World;
use crate::daemon::{self, Handle, Parts, aftermath, offline, round};
use crate::web;

/// Running work gets this long after SIGTERM (CYC-3, OUT-12).
const DRAIN: Duration = Duration::from_secs(9);

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
    world: WorldArgs,
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
    /// Keep Argo CD Notifications' state annotation up to date.
    #[arg(long, env = "LYNCEUS_WRITE_STATE_ANNOTATION", value_name = "BOOL")]
    pub write_state_annotation: Option<bool>,
}

/// The default state directory.
pub fn default_state_dir() -> Option<PathBuf> {
    world::state_home()
}

impl RunArgs {
    /// The settings these arguments come to; `called` is the name the program was started by.
    fn settings(&self, called: &str) -> Result<(Settings, Variables), String> {
        let mut variables = Variables { problems: Vec::new() };
        let mut settings = Settings::default();
        self.world.apply(&mut settings, &mut variables)?;
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
            Some(CatalogArg::None | CatalogArg::Image) => CatalogMode::None,
            Some(CatalogArg::Auto) | None => CatalogMode::Auto,
        };
        settings.write_state_annotation = self.write_state_annotation.unwrap_or(true);
        Ok((settings, variables))
    }

    /// The state directory and whether it was named.
    fn state(&self) -> (Option<PathBuf>, bool) {
        match &self.world.state_dir {
            Some(dir) if dir.as_os_str() == ":memory:" => (None, true),
            Some(dir) => (Some(dir.clone()), true),
            None => (default_state_dir(), false),
        }
    }
}

/// Runs the daemon until it is told to stop.
pub fn run(args: RunArgs, called: &str) -> u8 {
    let level = args.loglevel.clone().or_else(|| Variables::text("IMAGE_UPDATER_LOGLEVEL"));
    let level = level.or_else(|| Variables::text("ARGOCD_NOTIFICATIONS_CONTROLLER_LOGLEVEL"));
    if let Err(error) = logging::start(level.as_deref().unwrap_or("info"), args.logformat) {
        return fail(USAGE, error);
    }
    let (settings, variables) = match args.settings(called) {
        Ok(both) => both,
        Err(error) => return fail(USAGE, error),
    };
    for problem in &variables.problems {
        tracing::warn!("{problem}");
    }
    if let Err(error) = Namespaces::parse(&settings.watch_namespaces, &settings.argocd_namespace) {
        return fail(USAGE, format!("--watch-namespaces: {error}"));
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let status = runtime.block_on(serve(args, settings));
    // Blocking work (a hung Git remote) must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_millis(200));
    status
}

async fn serve(args: RunArgs, settings: Settings) -> u8 {
    let stop = CancellationToken::new();
    tokio::spawn(wait_for_signal(stop.clone()));
    let (dir, named) = args.state();
    // A rehearsal leaves nothing behind that a later start could take for the truth.
    let opened = match settings.dry_run {
        true => Store::memory().map(|store| (store, world::cache_home(), None)).map_err(|e| e.to_string()),
        false => open_store(dir, named),
    };
    let (store, mirrors, volatile) = match opened {
        Ok(opened) => opened,
        Err(text) => return fail(1, text),
    };
    let world = match world::build(settings, Some(store.clone()), &mirrors).await {
        Ok(world) => world,
        Err(problem) => return fail(1, problem),
    };
    if let Some(problem) = volatile {
        world.board.problems("state directory", vec![problem]);
    }
    if world.settings.once {
        return once(&world).await;
    }
    match daemon(args, world, store, stop).await {
        Ok(()) => 0,
        Err(text) => fail(1, text),
    }
}

/// The store, the folder of the mirrors, and the problem that the state will not last.
type Opened = (Store, PathBuf, Option<crate::core::problem::Problem>);

/// Opens the state directory. One that was not named and cannot be written is replaced by a volatile one.
fn open_store(dir: Option<PathBuf>, named: bool) -> Result<Opened, String> {
    use crate::core::problem::Problem;
    let volatile = |text: String| {
        Problem::warning("StoreVolatile", text)
            .hint("give --state-dir a persistent directory: what is pending is lost otherwise")
    };
    let Some(dir) = dir else {
        let store = Store::memory().map_err(|e| e.to_string())?;
        let folder = std::env::temp_dir().join(format!("lynceus-{}", std::process::id()));
        let text = "the state is kept in memory only: pending messages and the history are lost at the end";
        return Ok((store, folder, Some(volatile(text.to_owned()))));
    };
    let opened = std::fs::create_dir_all(&dir)
        .map_err(|e| e.to_string())
        .and_then(|()| Store::open(&dir).map_err(|e| e.to_string()));
    match opened {
        Ok(store) => {
            // Outside a pod the whole disk may be such a place for good reasons.
            let pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
            let kind = passing_place(&dir).filter(|_| pod);
            let problem = kind.map(|kind| volatile(format!("{} is on {kind}: it ends with the pod", dir.display())));
            Ok((store, dir, problem))
        }
        Err(error) if named => Err(format!("{}: {error}", dir.display())),
        Err(error) => {
            let fallback = std::env::temp_dir().join("lynceus");
            std::fs::create_dir_all(&fallback).map_err(|e| e.to_string())?;
            let store = Store::open(&fallback).map_err(|e| format!("{}: {e}", fallback.display()))?;
            let text = format!("{} cannot be used ({error}); the state is in {}", dir.display(), fallback.display());
            Ok((store, fallback, Some(volatile(text))))
        }
    }
}

/// What the daemon is made of, by the settings of its world.
pub(super) fn parts(world: &World, store: Store) -> Result<Parts, String> {
    let watched = watched(world)?;
    let applications = match &world.cluster {
        Some(cluster) if !world.offline() => {
            let selector = Some(world.settings.label_selector.as_str()).filter(|s| !s.is_empty());
            cluster.applications(&watched, selector).boxed()
        }
        _ => offline::watch(world.clone()).boxed(),
    };
    let own = &world.settings.argocd_namespace;
    let documents = world.settings.notifications.then(|| documents(world, own)).flatten();
    Ok(Parts { world: world.clone(), store, applications, documents, watched })
}

async fn daemon(args: RunArgs, world: World, store: Store, stop: CancellationToken) -> Result<(), String> {
    let parts = parts(&world, store)?;
    let metrics_address = args.metrics_port.map_or(args.metrics_bind_address.clone(), |port| format!(":{port}"));
    let bound = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
    let probes = web::bind(&args.health_probe_bind_address).await.map_err(bound("--health-probe-bind-address"))?;
    let metrics = web::bind(&metrics_address).await.map_err(bound("--metrics-bind-address"))?;
    let (handle, mut tasks) = daemon::start(parts, stop.clone()).await.map_err(|e| e.to_string())?;
    if let Some(listener) = probes {
        tasks.spawn(web::serve(listener, web::probes(handle.clone()), stop.clone()).map(|_| "probes"));
    }
    if let Some(listener) = metrics {
        tasks.spawn(web::serve(listener, web::metrics(handle.clone()), stop.clone()).map(|_| "metrics"));
    }
    tasks.spawn(greet(handle, stop.clone()).map(|()| "greeting"));
    let mut failed = None;
    while !stop.is_cancelled() {
        match tasks.join_next().await {
            None => break,
            Some(Ok("greeting")) => {}
            Some(Ok(name)) => failed = (!signalled(&stop)).then(|| format!("the {name} task ended")),
            Some(Err(error)) => failed = Some(error.to_string()),
        }
    }
    stop.cancel();
    let drained = tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!("some work did not end in time; its outcome is settled at the next start");
    }
    failed.map_or(Ok(()), Err)
}

fn signalled(stop: &CancellationToken) -> bool {
    stop.is_cancelled()
}

/// The union of both halves' namespaces (§23); each half admits by its own.
fn watched(world: &World) -> Result<Namespaces, String> {
    let own = &world.settings.argocd_namespace;
    let images = Namespaces::parse(&world.settings.watch_namespaces, own)?;
    let further = world.settings.notifications && !world.settings.application_namespaces.is_empty();
    // Globs and expressions cannot be asked of the API: all namespaces are watched and admitted one by one.
    Ok(if further { Namespaces::All } else { images })
}

fn documents(world: &World, own: &str) -> Option<futures::stream::BoxStream<'static, Documents>> {
    let settings = &world.settings;
    let names = (settings.config_map_name.clone(), settings.secret_name.clone());
    if settings.config_map_file.is_some() || settings.secret_file.is_some() {
        return Some(rules::from_files(settings.config_map_file.clone(), settings.secret_file.clone(), names).boxed());
    }
    match &world.cluster {
        Some(cluster) => Some(from_cluster(cluster, own, names, world.board.clone()).boxed()),
        // Manifests without a notifications ConfigMap: the half has nothing to do.
        None => None,
    }
}

/// The ConfigMap and the Secret as they change; nothing is told before both are known.
fn from_cluster(
    cluster: &Cluster,
    namespace: &str,
    names: (String, String),
    board: crate::daemon::status::Board,
) -> impl futures::Stream<Item = Documents> + Send + use<> {
    use crate::core::problem::Problem;
    enum Part {
        Config(DocumentEvent<crate::adapters::cluster::ConfigMap>),
        Secret(DocumentEvent<crate::adapters::cluster::SecretObject>),
    }
    let config = cluster.config_map(namespace, &names.0).map(Part::Config).boxed();
    let secret = cluster.named_secret(namespace, &names.1).map(Part::Secret).boxed();
    let start = (Documents::default(), (false, false));
    futures::stream::select(config, secret)
        .scan(start, move |(documents, known), part| {
            let mut news = true;
            let about = match part {
                Part::Config(_) => "notifications ConfigMap",
                Part::Secret(_) => "notifications Secret",
            };
            let mut trouble = None;
            match part {
                Part::Config(DocumentEvent::Applied(found)) => documents.config = Some(found.data),
                Part::Config(DocumentEvent::Deleted(..)) => documents.config = None,
                Part::Config(DocumentEvent::Ready) => known.0 = true,
                Part::Secret(DocumentEvent::Applied(found)) => documents.secret = Some(found.data),
                Part::Secret(DocumentEvent::Deleted(..)) => documents.secret = None,
                Part::Secret(DocumentEvent::Ready) => known.1 = true,
                Part::Config(DocumentEvent::Down(text)) | Part::Secret(DocumentEvent::Down(text)) => {
                    trouble = Some(Problem::error("kubernetes-unavailable", text));
                    news = false;
                }
                Part::Config(DocumentEvent::Undecodable(problem))
                | Part::Secret(DocumentEvent::Undecodable(problem)) => {
                    trouble = Some(problem);
                    news = false;
                }
                Part::Config(DocumentEvent::Up) | Part::Secret(DocumentEvent::Up) => news = false,
            }
            board.problems(about, trouble.into_iter().collect());
            let told = (news && *known == (true, true)).then(|| documents.clone());
            futures::future::ready(Some(told))
        })
        .filter_map(futures::future::ready)
}

/// One line at start that says what is governed.
async fn greet(handle: Handle, stop: CancellationToken) {
    let wait = async {
        loop {
            let status = handle.status();
            if status.not_ready().is_empty() && (status.rounds > 0 || status.applications == 0) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let status = tokio::select! {
        _ = stop.cancelled() => return,
        status = wait => status,
        _ = tokio::time::sleep(Duration::from_secs(60)) => handle.status(),
    };
    let problems = status.problem_count();
    let lint = if problems > 0 { ": lynceus lint" } else { "" };
    tracing::info!(
        "{} applications, {} images, {problems} problems{lint}",
        status.applications.max(status.watched),
        status.images
    );
}

/// One complete pass of the image half.
async fn once(world: &World) -> u8 {
    let apps = match all_applications(world).await {
        Ok(apps) => apps,
        Err(problem) => return fail(1, problem),
    };
    let round = round::look(world, &apps).await;
    let books = aftermath::Books::new(world.clone());
    let failed = aftermath::settle(world, &books, round).await;
    let status = world.board.status();
    tracing::info!(
        "{} applications, {} images, {} problems",
        status.applications,
        status.images,
        status.problem_count()
    );
    let severe = |p: &crate::core::problem::Problem| p.severity == crate::core::problem::Severity::Error;
    u8::from(failed > 0 || status.problems.values().flatten().any(severe))
}

/// Every Application there is now, from wherever they come.
pub async fn all_applications(
    world: &World,
) -> Result<Vec<std::sync::Arc<crate::core::application::Application>>, crate::core::problem::Problem> {
    use crate::adapters::cluster::AppEvent;
    use crate::core::problem::Problem;
    if world.offline() {
        let found = offline::read(world).await?;
        world.board.problems("manifests", found.problems);
        return Ok(found.applications.into_values().map(|(app, _)| app).collect());
    }
    let Some(cluster) = &world.cluster else { return Ok(Vec::new()) };
    let watched = watched(world).map_err(|e| Problem::error("config-invalid", e))?;
    world.secrets.follow(&world.settings.argocd_namespace, &world.board, true, CancellationToken::new()).await;
    world.follow_updaters(true, CancellationToken::new()).await;
    if !world.knows_updaters() {
        let text = "whether ImageUpdater objects govern Applications is not known";
        return Err(Problem::error("kubernetes-unavailable", text).hint("--native-annotations=true does without"));
    }
    let mut events = std::pin::pin!(cluster.applications(&watched, None));
    let mut apps = std::collections::BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            AppEvent::Applied(app) => {
                apps.insert(app.key.clone(), app);
            }
            AppEvent::Deleted(key, _) => {
                apps.remove(&key);
            }
            AppEvent::Undecodable(key, problem) => world.board.problems(&format!("object {key}"), vec![problem]),
            AppEvent::Ready => break,
            AppEvent::Down(text) => return Err(Problem::error("kubernetes-unavailable", text)),
            AppEvent::Restarted | AppEvent::Up => {}
        }
    }
    Ok(apps
        .into_values()
        .filter(|app: &std::sync::Arc<crate::core::application::Application>| world.governs(&app.key))
        .collect())
}

async fn wait_for_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
}
