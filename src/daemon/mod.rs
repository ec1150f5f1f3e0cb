//! Conducts: when, in what order, what if it fails. [`start`] is the only place that spawns long-lived tasks; the
//! first of them to end, for whatever reason, ends all.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::cluster::{AppEvent, Cluster, DocumentEvent, Namespaces};
use crate::adapters::services::Service;
use crate::adapters::store::Store;
use crate::core::application::AppKey;
use crate::core::problem::Problem;

mod admission;
pub mod aftermath;
pub mod annotator;
mod announce;
pub mod command;
pub mod commits;
pub mod committer;
pub mod credentials;
pub mod delivery;
pub mod follower;
pub mod foreign;
mod gone;
mod image_events;
mod labels;
pub mod leader;
pub mod metrics;
pub mod notifier;
pub mod offline;
mod overview;
pub mod ownership;
pub mod parents;
mod patcher;
pub mod poller;
pub mod registries;
pub mod round;
pub mod rules;
mod sharing;
pub mod status;
mod telling;
pub mod trust;
pub mod undefined;
pub mod updater;
pub mod watcher;
pub mod world;

pub use command::Command;
pub use status::Status;

use commits::CommitSource;
use rules::{Compiled, Documents};
use watcher::Applications;
use world::World;

/// What a running daemon is made of.
pub struct Parts {
    /// Adapters and settings.
    pub world: World,
    /// The durable store.
    pub store: Store,
    /// Applications as they are observed.
    pub applications: BoxStream<'static, AppEvent>,
    /// The notification documents as they change; `None` where that half is off.
    pub documents: Option<BoxStream<'static, Documents>>,
    /// Namespaces of the notification half besides the control plane's own.
    pub watched: Namespaces,
}

/// What faces hold of a running daemon.
#[derive(Clone)]
pub struct Handle {
    world: World,
    applications: Applications,
    commands: mpsc::UnboundedSender<Command>,
    election: Option<Arc<leader::Election>>,
}

impl Handle {
    /// The status as it is now.
    pub fn status(&self) -> Status {
        let mut status = self.world.board.status();
        if self.world.tally.idle() > status::STUCK_AFTER {
            status.stuck.get_or_insert_with(|| "deliver".to_owned());
        }
        status
    }

    /// Metrics as OpenMetrics text.
    pub fn metrics_text(&self) -> String {
        if let Some(store) = &self.world.store {
            self.world.metrics.store_errors(store.tally().errors);
        }
        let endpoints = self.world.registries.endpoints();
        let budgets = endpoints.iter().map(|endpoint| (endpoint.host(), endpoint.budget_remaining()));
        self.world.metrics.registry_budgets(budgets);
        self.world.metrics.text(&self.status(), &self.world.settings.argocd_namespace)
    }

    /// Asks for something; a daemon that is ending may leave it undone.
    pub fn command(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Lets another replica write images at once. Only after all tasks have ended.
    pub async fn release(&self) {
        if let Some(election) = &self.election {
            election.release().await;
        }
    }

    /// The Applications as last seen.
    pub fn applications(&self) -> &Applications {
        &self.applications
    }
}

/// Starts everything. The tasks end when the token is cancelled; whichever ends first cancels it.
///
/// # Errors
/// If the store cannot be claimed.
pub async fn start(
    parts: Parts,
    stop: CancellationToken,
) -> Result<(Handle, JoinSet<&'static str>), crate::adapters::store::Error> {
    let Parts { world, store, applications: events, documents, watched } = parts;
    world.metrics.collect(delivery::Exposition(world.tally.clone()));
    if documents.is_some() {
        image_events::begin(&store).await?;
    }
    let applications = world.applications.clone();
    let (commands, command_receiver) = mpsc::unbounded_channel();
    let election = election(&world, &store).await?;
    let handle = Handle {
        world: world.clone(),
        applications: applications.clone(),
        commands: commands.clone(),
        election: election.clone(),
    };
    let mut tasks = Tasks { set: JoinSet::new(), stop: stop.clone() };
    if let Some(election) = election {
        tasks.spawn("leader election", election.run(stop.clone()));
    }
    let (gate, ending) = (world.gate.clone(), stop.clone());
    tasks.spawn("gate", async move {
        ending.cancelled().await;
        gate.close();
    });
    let mut listeners = Vec::new();
    let clock = delivery::Clock::start(Timestamp::now());
    let (project_news, changed_projects) = mpsc::unbounded_channel();
    if world.settings.images {
        let (sender, seen) = mpsc::unbounded_channel();
        listeners.push(sender);
        let updater = updater::Updater::new(world.clone(), applications.clone());
        tasks.spawn("update", updater.run(seen, command_receiver, stop.clone()));
        tasks.spawn("registries", registries::follow(world.clone(), commands, stop.clone()));
        tasks.spawn("commit template", registries::follow_template(world.clone(), stop.clone()));
        if world.cluster.is_some() && !world.offline() {
            let (world, stop) = (world.clone(), stop.clone());
            tasks.spawn("image updaters", async move { world.follow_owners(false, stop).await });
        }
    } else {
        drop(command_receiver);
    }
    // Both halves read repositories: messages tell of commits (HLP-01).
    let (secrets, board) = (world.secrets.clone(), world.board.clone());
    let namespace = world.settings.argocd_namespace.clone();
    if matches!(secrets, world::Secrets::Cluster(..)) {
        let stop = stop.clone();
        tasks.spawn("repository secrets", async move { secrets.follow(&namespace, &board, false, stop).await });
    }
    match documents {
        Some(documents) => {
            let (sender, seen) = mpsc::unbounded_channel();
            listeners.push(sender);
            let sources = Sources { documents, seen, changed_projects };
            notifications(&mut tasks, &world, &store, &applications, sources, clock).await?;
        }
        None => {
            ["configuration", "import"].into_iter().for_each(|condition| world.board.not_needed(condition));
            if world.settings.images {
                tasks.spawn("journal", image_events::nobody_reads(store.clone(), clock, stop.clone()));
            }
        }
    }
    if let Some(cluster) = world.cluster.clone().filter(|_| !world.offline()) {
        tasks.spawn("projects", follow_projects(cluster, world.clone(), watched, project_news, stop.clone()));
    } else {
        world.board.ready(notifier::PROJECTS_KNOWN);
    }
    world.board.ready("store");
    let (board, metrics) = (world.board.clone(), world.metrics.clone());
    tasks.spawn("observe", watcher::run(events, applications, listeners, board, metrics, stop.clone()));
    let (board, tally) = (world.board.clone(), world.tally.clone());
    let overview = overview::Overview { store: store.clone(), board, clock, tally };
    tasks.spawn("overview", overview.run(stop.clone()));
    let api = world.cluster.clone().filter(|_| world.settings.notifications && !world.offline());
    let trust = trust::Follower {
        api: api.map(|cluster| (cluster, world.settings.argocd_namespace.clone())),
        folder: world.settings.tls_folder.clone(),
        http: world.http.clone(),
        store,
        board: world.board.clone(),
        clock,
    };
    tasks.spawn("trust", trust.run(stop));
    Ok((handle, tasks.set))
}

/// The election of who writes images, where there may be several replicas of this one.
async fn election(
    world: &World,
    store: &Store,
) -> Result<Option<Arc<leader::Election>>, crate::adapters::store::Error> {
    let settings = &world.settings;
    let wanted = settings.images && settings.leader_election && !settings.dry_run && !world.offline();
    let Some(cluster) = world.cluster.clone().filter(|_| wanted) else { return Ok(None) };
    let namespace = settings.leader_election_namespace.clone();
    let namespace = namespace.unwrap_or_else(|| cluster.own_namespace().to_owned());
    let election = leader::Election::new(cluster, store, world.gate.clone(), world.board.clone(), namespace);
    election.await.map(Some)
}

/// The supervised tasks.
struct Tasks {
    set: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.set.spawn(async move {
            // A panic is a defect; it ends the process in an orderly way instead of leaving a dead loop behind.
            let ended = std::panic::AssertUnwindSafe(task).catch_unwind().await;
            if ended.is_err() {
                tracing::error!(task = name, "ended in a defect");
            } else if !stop.is_cancelled() {
                tracing::error!(task = name, "ended too early");
            }
            stop.cancel();
            name
        });
    }
}

/// What the notification half listens to.
struct Sources {
    documents: BoxStream<'static, Documents>,
    seen: mpsc::UnboundedReceiver<watcher::Seen>,
    changed_projects: mpsc::UnboundedReceiver<String>,
}

async fn notifications(
    tasks: &mut Tasks,
    world: &World,
    store: &Store,
    applications: &Applications,
    sources: Sources,
    clock: delivery::Clock,
) -> Result<(), crate::adapters::store::Error> {
    let Sources { documents, seen, changed_projects } = sources;
    let epoch = store.claim().await?;
    let stop = tasks.stop.clone();
    let rules = Arc::new(watch::channel(Arc::new(Compiled::default())).0);
    let (services, service_receiver) = watch::channel(Arc::new(delivery::Services::new()));
    let follower = rules::Follower {
        rules: rules.clone(),
        store: store.clone(),
        board: world.board.clone(),
        catalog: world.settings.catalog,
        object: format!("ConfigMap {}/{}", world.settings.argocd_namespace, world.settings.config_map_name),
        clock,
    };
    tasks.spawn("configuration", follower.run(documents, stop.clone()));
    tasks.spawn("services", keep_services(rules.subscribe(), services, world.clone(), stop.clone()));
    let (annotate, annotations) = mpsc::unbounded_channel();
    let live: Arc<annotator::Live> = Arc::default();
    let evaluator = notifier::Evaluator {
        rules: rules.subscribe(),
        store: store.clone(),
        projects: world.projects.clone(),
        argocd_namespace: world.settings.argocd_namespace.clone(),
        commits: CommitSource::of(world.clone()),
        looks: Arc::new(tokio::sync::Semaphore::new(notifier::LOOKS)),
        board: world.board.clone(),
        metrics: world.metrics.clone(),
        tally: world.tally.clone(),
        clock,
        undefined: Arc::default(),
        foreign: Arc::default(),
        live: live.clone(),
        clocked: Arc::default(),
        first_start: first_start(store, clock).await?,
        annotate: annotate.clone(),
    };
    let renderer = evaluator.clone();
    let render: delivery::Render = Arc::new(move |row, packed| {
        let renderer = renderer.clone();
        async move { renderer.render_row(&row, packed.as_deref()).await }.boxed()
    });
    let (told, told_receiver) = mpsc::unbounded_channel::<delivery::Told>();
    let executor = delivery::Parts {
        store: store.clone(),
        epoch,
        services: service_receiver.clone(),
        render,
        clock,
        caps: delivery::Caps { process: world.settings.max_calls, ..delivery::Caps::default() },
        told,
        tally: world.tally.clone(),
    };
    tasks.spawn("deliver", deliver(executor, service_receiver, world.settings.dry_run, stop.clone()));
    tasks.spawn("told", forward(told_receiver, annotate, stop.clone()));
    let journal = image_events::run(evaluator.clone(), applications.clone(), admission::admission(world), stop.clone());
    tasks.spawn("image events", journal);
    let admission = admission::admission(world);
    let workers = world.settings.processors;
    let selective = !world.settings.label_selector.is_empty();
    let inputs = notifier::Inputs { seen, projects: changed_projects, applications: applications.clone(), selective };
    tasks.spawn("evaluate", notifier::run(evaluator, inputs, admission, workers, stop.clone()));
    match world.cluster.clone().filter(|_| world.settings.write_state_annotation && !world.offline()) {
        Some(cluster) if !world.settings.dry_run => {
            let annotator = annotator::Annotator {
                cluster,
                store: store.clone(),
                namespace: world.settings.argocd_namespace.clone(),
                everywhere: !world.settings.application_namespaces.is_empty(),
                applications: applications.clone(),
                board: world.board.clone(),
                metrics: world.metrics.clone(),
                live,
            };
            tasks.spawn("annotate", annotator.run(annotations, stop));
        }
        _ => tasks.spawn("annotate", drain(annotations, stop)),
    }
    Ok(())
}

/// When this installation started for the very first time; `None` if that was before it was noted.
async fn first_start(
    store: &Store,
    clock: delivery::Clock,
) -> Result<Option<Timestamp>, crate::adapters::store::Error> {
    const KEY: &str = "notifications/first-start";
    if store.is_fresh() {
        store.set_text(KEY, &clock.now().to_string()).await?;
    }
    Ok(store.text(KEY).await?.and_then(|text| text.parse().ok()))
}

/// Delivers; a dry run only waits.
async fn deliver(
    executor: delivery::Parts,
    mut services: watch::Receiver<Arc<delivery::Services>>,
    dry_run: bool,
    stop: CancellationToken,
) {
    if dry_run {
        return stop.cancelled().await;
    }
    // Rows of services that are not known yet would be parked for a quarter of an hour.
    tokio::select! {
        _ = stop.cancelled() => return,
        first = services.changed() => if first.is_err() { return },
    }
    if let Err(error) = delivery::run(executor, stop).await {
        tracing::error!("delivery ended: {error}");
    }
}

/// Hands Applications whose key became told to the annotator.
async fn forward(
    mut told: mpsc::UnboundedReceiver<delivery::Told>,
    annotate: mpsc::UnboundedSender<AppKey>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            _ = stop.cancelled() => return,
            next = told.recv() => match next {
                // An annotator that has ended ends the process through its own task.
                Some(told) => drop(annotate.send(told.app)),
                None => return,
            },
        }
    }
}

async fn drain(mut receiver: mpsc::UnboundedReceiver<AppKey>, stop: CancellationToken) {
    loop {
        tokio::select! {
            _ = stop.cancelled() => return,
            key = receiver.recv() => if key.is_none() { return },
        }
    }
}

/// Builds the services once the configuration is known, and again whenever it changes.
async fn keep_services(
    mut rules: watch::Receiver<Arc<Compiled>>,
    services: watch::Sender<Arc<delivery::Services>>,
    world: World,
    stop: CancellationToken,
) {
    let http = &world.http;
    tokio::select! {
        _ = stop.cancelled() => return,
        loaded = rules.wait_for(|compiled| compiled.loaded) => if loaded.is_err() { return },
    }
    loop {
        let compiled = rules.borrow_and_update().clone();
        let built: delivery::Services = compiled
            .notifications
            .services
            .iter()
            .map(|(name, config)| (name.clone(), Service::new(config.clone(), http.clone())))
            .collect();
        let triggers: Vec<&str> = compiled.notifications.rules.triggers.keys().map(String::as_str).collect();
        world.tally.know(&triggers, &built);
        world.board.update(|status| status.services = built.keys().cloned().collect());
        world.metrics.know(&triggers);
        services.send_replace(Arc::new(built));
        tokio::select! {
            _ = stop.cancelled() => return,
            changed = rules.changed() => if changed.is_err() { return },
        }
    }
}

async fn follow_projects(
    cluster: Cluster,
    world: World,
    watched: Namespaces,
    news: mpsc::UnboundedSender<String>,
    stop: CancellationToken,
) {
    let mut events = std::pin::pin!(cluster.projects(&watched));
    loop {
        let event = tokio::select! {
            _ = stop.cancelled() => return,
            event = events.next() => event,
        };
        let mut projects = world.projects.write().unwrap_or_else(|e| e.into_inner());
        match event {
            None => return,
            Some(DocumentEvent::Applied(project)) => {
                let key = (project.namespace.clone(), project.name.clone());
                let project = Arc::new(notifier::Project::of(project.object));
                let name = key.1.clone();
                let before = projects.insert(key, project.clone());
                if before.is_none_or(|before| before.annotations != project.annotations) {
                    // Nobody listens where the notification half is off.
                    let _ = news.send(name);
                }
            }
            Some(DocumentEvent::Deleted(namespace, name)) => {
                projects.remove(&(namespace, name.clone()));
                let _ = news.send(name);
            }
            Some(DocumentEvent::Undecodable(problem)) => world.board.problems("project", vec![problem]),
            Some(DocumentEvent::Down(text)) => {
                let problem = Problem::warning("kubernetes-unavailable", text)
                    .hint("without AppProjects their subscriptions and repository rules are not seen");
                world.board.problems("projects", vec![problem]);
                world.board.ready(notifier::PROJECTS_KNOWN);
            }
            Some(DocumentEvent::Ready | DocumentEvent::Up) => {
                world.board.problems("projects", Vec::new());
                world.board.ready(notifier::PROJECTS_KNOWN);
            }
        }
    }
}
