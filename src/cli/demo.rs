//! `demo`: the whole story on one machine, told on the terminal. The stage (`src/demo`) plays the world; the daemon is
//! the one that `run` starts.

mod look_around;
mod show;
mod story;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{fail, logging};
use crate::adapters::store::Store;
use crate::config::settings::{Settings, duration};
use crate::daemon::{self, Handle};
use crate::demo::{NAMESPACE, Stage};
use show::Show;
use story::Story;

/// Between two looks at the registry; two minutes in earnest.
const INTERVAL: Duration = Duration::from_secs(2);

/// Whatever happens, the story has ended by then.
const WHOLE: Duration = Duration::from_secs(43);

/// Between two states of a sync.
const PACE: Duration = Duration::from_millis(400);

/// What the daemon gets to end in.
const DRAIN: Duration = Duration::from_secs(3);

/// Variables that lead clients to a proxy, which could not reach this machine's loopback.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Stay after the story, until interrupted; tags can be pushed by hand then.
    #[arg(long)]
    pub keep: bool,
    /// Show the daemon's log as well, on standard error.
    #[arg(long)]
    pub verbose: bool,
    /// Give up if a step takes longer than this.
    #[arg(long, default_value = "12s", value_name = "DURATION")]
    pub deadline: String,
}

/// Runs `demo`.
pub fn run(args: DemoArgs) -> u8 {
    if let Some(error) = again_without_proxies() {
        return fail(1, error);
    }
    let deadline = match duration(&args.deadline).map(u64::try_from) {
        Ok(Ok(nanoseconds)) => Duration::from_nanos(nanoseconds),
        Ok(Err(_)) => return fail(super::USAGE, "--deadline: a time cannot be negative"),
        Err(error) => return fail(super::USAGE, format!("--deadline: {error}")),
    };
    if args.verbose
        && let Err(error) = logging::start("info", Some(logging::Format::Text))
    {
        return fail(1, error);
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let show = Show::stdout();
    let result = runtime.block_on(play(&args, deadline, &show));
    runtime.shutdown_timeout(Duration::from_millis(200));
    match result {
        Ok(status) => status,
        Err(text) => {
            show.broke(&text);
            fail(1, format!("the demo did not come to its end: {}", text.lines().next().unwrap_or_default()))
        }
    }
}

/// Replaces this process by itself without proxy variables, if there are any; gives why that failed.
fn again_without_proxies() -> Option<String> {
    use std::os::unix::process::CommandExt;
    if PROXIES.iter().all(|name| std::env::var_os(name).is_none()) {
        return None;
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Some(error.to_string()),
    };
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1));
    for name in PROXIES {
        command.env_remove(name);
    }
    Some(command.exec().to_string())
}

/// A folder of this demo only, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Folder> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!("lynceus-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The store's thread may still be closing its files. What stays is in the folder for temporary things.
        for _ in 0..20 {
            if fs::remove_dir_all(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}

async fn play(args: &DemoArgs, deadline: Duration, show: &Show) -> Result<u8, String> {
    let folder = Folder::new().map_err(|e| format!("no folder for temporary files: {e}"))?;
    let stage = Stage::start(&folder.0, PACE).await.map_err(|e| format!("the stage cannot be set up: {e}"))?;
    show.stage(&stage);
    let began = Instant::now();
    let state = folder.0.join("state");
    let (handle, store, mut tasks, stop) = start(&stage, &state).await?;
    let story = Story::new(&stage, &handle, &store, show, deadline);
    let told = tokio::select! {
        told = tokio::time::timeout(WHOLE, story.tell(began)) => {
            told.unwrap_or_else(|_| Err(format!("it took longer than {} s", WHOLE.as_secs())))
        }
        ended = tasks.join_next() => Err(format!("the daemon ended: {ended:?}")),
        () = interrupted() => {
            stop.cancel();
            drain(&mut tasks).await;
            return Ok(130);
        }
    };
    if told.is_ok() && args.keep {
        look_around::stay(&stage, &handle, &store, show, &state).await;
    }
    stop.cancel();
    drain(&mut tasks).await;
    told.map(|()| 0)
}

/// Ends with the signal that people and supervisors send.
async fn interrupted() {
    let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

async fn drain(tasks: &mut JoinSet<&'static str>) {
    // What does not end in time ends with the process.
    let _ = tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
}

type Started = (Handle, Store, JoinSet<&'static str>, CancellationToken);

/// The daemon as `run` would start it with these settings.
async fn start(stage: &Stage, state: &Path) -> Result<Started, String> {
    fs::create_dir_all(state).map_err(|e| e.to_string())?;
    let store = Store::open(state).map_err(|e| e.to_string())?;
    let mut settings = Settings {
        interval: Some(INTERVAL),
        kubeconfig: Some(stage.kubeconfig()),
        argocd_namespace: NAMESPACE.to_owned(),
        registries_conf: stage.registries_conf(),
        registries_conf_given: true,
        state_dir: Some(state.to_owned()),
        // The ConfigMap has triggers of its own, which send built-in templates.
        catalog: crate::config::notifications::CatalogMode::All,
        ..Settings::default()
    };
    settings.git.user = "Lynceus".to_owned();
    settings.git.email = "lynceus@example.com".to_owned();
    let world = super::world::build(settings, Some(store.clone()), state).await.map_err(|p| p.to_string())?;
    let parts = super::run::parts(&world, store.clone())?;
    let stop = CancellationToken::new();
    let (handle, tasks) = daemon::start(parts, stop.clone()).await.map_err(|e| e.to_string())?;
    Ok((handle, store, tasks, stop))
}
