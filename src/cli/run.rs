//! `run`: the composition root. Settings → adapters → daemon and web → wait → drain.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::logging;
pub use super::run_args::RunArgs;
use super::run_args::{Faces, Start};
use super::world;
use super::{USAGE, fail};
use crate::adapters::cluster::{Cluster, DocumentEvent, Namespaces};
use crate::adapters::store::{Store, passing_place};
use crate::config::settings::Settings;
use crate::core::application::{AppKey, Application};
use crate::core::problem::{Problem, Severity};
use crate::daemon::rules::{self, Documents};
use crate::daemon::world::World;
use crate::daemon::{self, Handle, Parts, aftermath, offline, ownership, registries, round};
use crate::web;

/// Running work gets this long after SIGTERM (CYC-3, OUT-12). Upstream's Deployment kills after 10 s.
const DRAIN: Duration = Duration::from_secs(8);

/// And this long after the Lease was lost: somebody else may take it soon (CYC-2).
const DRAIN_LOST: Duration = Duration::from_secs(2);

/// Runs the daemon until it is told to stop.
pub fn run(args: RunArgs, called: &str, unusable: &[Problem]) -> u8 {
    if let Err(error) = logging::start(args.loglevel.as_deref().unwrap_or("info"), args.log_format(called)) {
        return fail(USAGE, error);
    }
    let start = match args.start(called) {
        Ok(start) => start,
        Err(error) => return fail(USAGE, error),
    };
    for problem in unusable.iter().chain(&start.problems) {
        match problem.severity {
            Severity::Info => tracing::info!("{problem}"),
            _ => tracing::warn!("{problem}"),
        }
    }
    tracing::debug!("settings: {}", start.shown());
    let Start { settings, faces, .. } = start;
    if let Err(error) = Namespaces::parse(&settings.watch_namespaces, &settings.argocd_namespace) {
        return fail(USAGE, format!("--watch-namespaces: {error}"));
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let status = runtime.block_on(serve(args, settings, faces));
    // Blocking work (a hung Git remote) must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_millis(200));
    status
}

async fn serve(args: RunArgs, settings: Settings, faces: Faces) -> u8 {
    let stop = CancellationToken::new();
    let told = CancellationToken::new();
    tokio::spawn(wait_for_signal(told.clone(), stop.clone()));
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
        return once_or_told(&world, stop).await;
    }
    match daemon(faces, world, store, Stop { stop, told }).await {
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
            // A root file system that nobody can write, as in the Deployment of Argo CD Notifications.
            if std::fs::create_dir_all(&fallback).is_err() {
                let store = Store::memory().map_err(|e| e.to_string())?;
                let text = format!("{} cannot be used ({error}); the state is kept in memory only", dir.display());
                return Ok((store, fallback, Some(volatile(text))));
            }
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

/// How the daemon comes to its end.
struct Stop {
    /// Everything ends.
    stop: CancellationToken,
    /// Somebody said so.
    told: CancellationToken,
}

async fn daemon(faces: Faces, world: World, store: Store, end: Stop) -> Result<(), String> {
    let Stop { stop, told } = end;
    let gate = world.gate.clone();
    let parts = parts(&world, store)?;
    let bound = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
    let probes = web::bind(&faces.probes).await.map_err(bound("--health-probe-bind-address"))?;
    let metrics = web::bind(&faces.metrics).await.map_err(bound("--metrics-bind-address"))?;
    let (handle, mut tasks) = daemon::start(parts, stop.clone()).await.map_err(|e| e.to_string())?;
    if let Some(listener) = probes {
        tasks.spawn(web::serve(listener, web::probes(handle.clone()), stop.clone()).map(|_| "probes"));
    }
    if let Some(listener) = metrics {
        tasks.spawn(web::serve(listener, web::metrics(handle.clone()), stop.clone()).map(|_| "metrics"));
    }
    tasks.spawn(greet(handle.clone(), stop.clone()).map(|()| "greeting"));
    let mut failed = None;
    while !stop.is_cancelled() {
        match tasks.join_next().await {
            None => break,
            Some(Ok("greeting")) => {}
            Some(Ok(name)) => failed = (!told.is_cancelled()).then(|| format!("the {name} task ended")),
            Some(Err(error)) => failed = Some(error.to_string()),
        }
    }
    stop.cancel();
    gate.close();
    let limit = if gate.lost() { DRAIN_LOST } else { DRAIN };
    let drained = tokio::time::timeout(limit, async { while tasks.join_next().await.is_some() {} }).await;
    match drained {
        // What did not end may still write: then others wait until the Lease runs out.
        Err(_) => tracing::warn!("some work did not end in time; its outcome is settled at the next start"),
        Ok(()) if !gate.lost() => handle.release().await,
        Ok(()) => {}
    }
    failed.map_or(Ok(()), Err)
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
    if settings.standalone || settings.config_map_file.is_some() || settings.secret_file.is_some() {
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

/// One complete pass; told to stop, what is on its way has as long as the daemon's (CYC-3).
async fn once_or_told(world: &World, stop: CancellationToken) -> u8 {
    let pass = once(world);
    tokio::pin!(pass);
    tokio::select! {
        status = &mut pass => return status,
        _ = stop.cancelled() => world.gate.close(),
    }
    // It did not see everything.
    let _ = tokio::time::timeout(DRAIN, pass).await;
    1
}

/// One complete pass of the image half.
async fn once(world: &World) -> u8 {
    let apps = match all_applications(world).await {
        Ok((apps, _)) => apps,
        Err(problem) => return fail(1, problem),
    };
    let round = round::look(world, &apps).await;
    let books = aftermath::Books::new(world.clone());
    let failed = aftermath::settle(world, &books, round).await;
    registries::show(world, Vec::new());
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

/// Every Application there is now, from wherever they come: those that are managed, and why each other one is not.
pub async fn all_applications(
    world: &World,
) -> Result<(Vec<Arc<Application>>, BTreeMap<AppKey, String>), crate::core::problem::Problem> {
    use crate::adapters::cluster::AppEvent;
    use crate::core::problem::Problem;
    if world.offline() {
        let found = offline::read(world).await?;
        world.board.problems("manifests", found.problems);
        return Ok(ownership::sort_out(world, found.applications.into_values().map(|(app, _)| app).collect()));
    }
    let Some(cluster) = &world.cluster else { return Ok(Default::default()) };
    let watched = watched(world).map_err(|e| Problem::error("config-invalid", e))?;
    world.secrets.follow(&world.settings.argocd_namespace, &world.board, true, CancellationToken::new()).await;
    world.follow_owners(true, CancellationToken::new()).await;
    if !world.knows_owners() {
        let text = "whether ImageUpdater objects govern Applications is not known";
        return Err(Problem::error("kubernetes-unavailable", text).hint("--native-annotations=true does without"));
    }
    let mut events = std::pin::pin!(cluster.applications(&watched, None));
    let mut apps = BTreeMap::new();
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
            AppEvent::Restarted | AppEvent::Polled(_) | AppEvent::Up => {}
        }
    }
    Ok(ownership::sort_out(world, apps.into_values().collect()))
}

async fn wait_for_signal(told: CancellationToken, stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("stopping");
    told.cancel();
    stop.cancel();
}
