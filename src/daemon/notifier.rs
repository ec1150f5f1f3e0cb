//! The notification half's dispatcher: every observed version of every Application is evaluated in order, and what it
//! gives is one durable write; nothing is sent here (notifications.md §9.2).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::annotator;
use super::commits::CommitSource;
use super::delivery::{Clock, Rendered, Tally, Unrendered};
use super::metrics::Metrics;
use super::rules::Compiled;
use super::status::{Board, Progress};
use super::undefined::Undefined;
use super::watcher::{Applications, Seen};
use crate::adapters::store::{Plan, Store};
use crate::core::application::{AppKey, Application};
use crate::core::notify::catalog::{self, Topic};
use crate::core::notify::row::Row;
use crate::core::notify::variables::{Commits, Facts};
use crate::core::notify::{self, Evaluation, identity};
use crate::core::value::time::Moment;
use crate::core::value::{Map, MapKind, Value};

/// Conditions that read the clock are evaluated again this often (EXP-04).
const CLOCK: Duration = Duration::from_secs(60);

/// The first wait after a version could not be evaluated; doubles to a minute.
const AGAIN: Duration = Duration::from_millis(250);

/// The list of undefined names is told so long after it has changed, once for all that change it.
const GATHER: Duration = Duration::from_millis(500);

/// A watched AppProject.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The whole object.
    pub object: serde_json::Value,
}

impl Project {
    /// From the whole object.
    pub fn of(object: serde_json::Value) -> Project {
        let entries = object["metadata"]["annotations"].as_object().into_iter().flatten();
        let annotations = entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
        Project { annotations, object }
    }
}

/// AppProjects by namespace and name.
pub type Projects = Arc<RwLock<BTreeMap<(String, String), Arc<Project>>>>;

/// What every worker needs.
#[derive(Clone)]
pub struct Evaluator {
    /// The compiled configuration.
    pub rules: watch::Receiver<Arc<Compiled>>,
    /// The durable store.
    pub store: Store,
    /// AppProjects.
    pub projects: Projects,
    /// The control plane's namespace, where projects are looked up first (SUB-10).
    pub argocd_namespace: String,
    /// Commit metadata.
    pub commits: CommitSource,
    /// For faces.
    pub board: Board,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Counters of the deliveries.
    pub tally: Arc<Tally>,
    /// The outbox's time; users' languages see the machine's.
    pub clock: Clock,
    /// Undefined names in use.
    pub undefined: Arc<Undefined>,
    /// Told the Application whose annotation may have to follow.
    pub annotate: mpsc::UnboundedSender<AppKey>,
}

/// The zone that `time.Now` and `date` show: `TZ` of the process, UTC if unset.
pub fn process_zone() -> TimeZone {
    match std::env::var("TZ") {
        Ok(name) if !name.is_empty() => TimeZone::get(name.trim_start_matches(':')).unwrap_or(TimeZone::UTC),
        _ => TimeZone::UTC,
    }
}

/// The clock of one evaluation.
pub fn now() -> Moment {
    Moment { at: Timestamp::now(), zone: process_zone() }
}

impl Evaluator {
    fn project(&self, app: &Application) -> Option<Arc<Project>> {
        let projects = self.projects.read().unwrap_or_else(|e| e.into_inner());
        let by = |namespace: &str| projects.get(&(namespace.to_owned(), app.project.clone())).cloned();
        by(&self.argocd_namespace).or_else(|| by(&app.key.namespace))
    }

    /// The variables of one evaluation or rendering.
    pub fn facts(&self, app: &Application, compiled: &Compiled, commits: Commits, placeholders: bool) -> Facts {
        let project = self.project(app);
        Facts {
            app: app.object(),
            project: project.map_or_else(|| Value::Map(Map::new(MapKind::Any)), |p| Value::from_json(&p.object)),
            context: compiled.notifications.rules.context.clone(),
            secrets: compiled.secrets.clone(),
            commits: Arc::new(commits),
            wanted: Arc::default(),
            placeholders,
            image: Value::Nil,
            now: now(),
        }
    }

    /// Evaluates one version and writes what it gives. Repeats what fails for outside reasons until it is superseded.
    async fn version(&self, app: &Arc<Application>, progress: &Progress, stop: &CancellationToken) {
        let mut wait = AGAIN;
        let mut commits = Commits::new();
        loop {
            match self.pass(app, &commits).await {
                Ok(wanted) if wanted.is_empty() => return,
                Ok(wanted) => {
                    for id in wanted {
                        let found = self.commits.look_up(app, &id).await;
                        commits.insert(id, found);
                    }
                    continue;
                }
                Err(text) => tracing::warn!(app = %app.key, "the evaluation is repeated: {text}"),
            }
            // Trying is progress: a restart would not mend a full disk, and readiness says that it is one (OUT-11).
            progress.working();
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(60)),
            }
        }
    }

    async fn pass(&self, app: &Arc<Application>, commits: &Commits) -> Result<Vec<String>, String> {
        let compiled = self.rules.borrow().clone();
        let uid = if app.uid.is_empty() { app.key.to_string() } else { app.uid.clone() };
        let ledger = self.store.ledger(&uid).await.map_err(|e| e.to_string())?;
        let project = self.project(app);
        let started = std::time::Instant::now();
        let mut evaluation = notify::evaluate(
            app,
            project.as_ref().map(|p| &p.annotations),
            &compiled.notifications.rules,
            &ledger,
            || self.facts(app, &compiled, commits.clone(), false),
            self.clock.now(),
        );
        self.metrics.evaluated(&evaluation.evaluated, started.elapsed());
        self.report(app, &mut evaluation);
        let wanted: Vec<String> = evaluation.wanted.iter().filter(|id| !commits.contains_key(*id)).cloned().collect();
        if !wanted.is_empty() {
            return Ok(wanted);
        }
        if evaluation.changes.is_empty() && evaluation.rows.is_empty() && ledger.known {
            // Written back when somebody else has changed it, or a former process did not get to it (ST-18).
            if !annotator::up_to_date(app, ledger) {
                let _ = self.annotate.send(app.key.clone());
            }
            return Ok(Vec::new());
        }
        suffix_reused_ids(&self.store, &mut evaluation.rows).await?;
        let triggers: BTreeMap<String, String> =
            evaluation.rows.iter().map(|row| (row.id.clone(), row.trigger.clone())).collect();
        let planned = evaluation.rows.len();
        let object = (planned > 0).then(|| app.packed().to_vec());
        let plan = Plan {
            uid,
            changes: evaluation.changes.clone(),
            rows: evaluation.rows,
            object,
            journal_mark: None,
            texts: Vec::new(),
        };
        let new = self.store.plan(plan).await.map_err(|e| e.to_string())?;
        for id in &new {
            let trigger = triggers.get(id).map(String::as_str).unwrap_or_default();
            tracing::info!(app = %app.key, trigger, event = %id, "planned");
        }
        if !new.is_empty() {
            evaluation.fallbacks.iter().for_each(|service| self.tally.fell_back(service));
        }
        if !evaluation.changes.is_empty() {
            let _ = self.annotate.send(app.key.clone());
        }
        Ok(Vec::new())
    }

    fn report(&self, app: &Application, evaluation: &mut Evaluation) {
        let problems = std::mem::take(&mut evaluation.problems);
        // A version that is left alone says nothing about what earlier ones showed.
        if notify::skip(app).is_none() || !problems.is_empty() {
            self.board.problems(&format!("notify {}", app.key), problems);
        }
        if notify::skip(app).is_none() {
            self.undefined.set(&app.key, &evaluation.undefined_triggers, &evaluation.undefined_services);
        }
    }

    fn report_undefined(&self) {
        let compiled = self.rules.borrow().clone();
        self.board.problems("notifications undefined names", self.undefined.problems(&compiled.notifications));
    }

    /// Renders a row that was planned without its text (TPL-09, HLP-05). A failed look-up gives a placeholder, never a
    /// lost message.
    pub async fn render_row(&self, row: &Row, packed: Option<&[u8]>) -> Result<Rendered, Unrendered> {
        let compiled = self.rules.borrow().clone();
        let Some(packed) = packed else {
            return Err(Unrendered::Parked("the Application's version is no longer kept".to_owned()));
        };
        let app = Application::unpack(packed).map_err(|p| Unrendered::Parked(p.text))?;
        let Some(kind) = compiled.notifications.rules.services.get(&row.service).copied() else {
            return Err(Unrendered::Parked(format!("there is no service `{}`", row.service)));
        };
        let mut commits = Commits::new();
        loop {
            let facts = self.facts(&app, &compiled, commits.clone(), true);
            let name = app.key.to_string();
            let topic = Topic { trigger: &row.trigger, app: &name };
            let templates = &compiled.notifications.rules.templates;
            let rendering =
                catalog::render(templates, &row.templates, &row.service, kind, &row.recipient, &facts, topic);
            let wanted: Vec<String> = facts.take_wanted().into_iter().filter(|id| !commits.contains_key(id)).collect();
            if wanted.is_empty() {
                let object = app.label();
                let problems = rendering.problems.into_iter().map(|p| p.in_object(object.clone())).collect();
                self.board.problems(&format!("notify text {}", app.key), problems);
                if rendering.fallback {
                    self.tally.fell_back(&row.service);
                }
                return match rendering.failed {
                    Some(reason) => Err(Unrendered::Parked(reason)),
                    None => Ok(Rendered { message: rendering.message, keep: !rendering.secret }),
                };
            }
            for id in wanted {
                let found = self.commits.look_up(&app, &id).await;
                commits.insert(id, found);
            }
        }
    }
}

/// Rows whose id was used for an occurrence that is over mean a new one (OUT-01).
async fn suffix_reused_ids(store: &Store, rows: &mut [Row]) -> Result<(), String> {
    for row in rows {
        let first = row.occurrence.clone();
        for n in 2..1_000 {
            let known = store.exists(vec![row.id.clone()]).await.map_err(|e| e.to_string())?;
            if known.get(&row.id) != Some(&true) {
                break;
            }
            row.occurrence = format!("{first}#{n}");
            row.id = identity::event_id(&row.occurrence, &row.service, &row.recipient);
        }
    }
    Ok(())
}

/// Passes versions to workers by hash of the UID: order per Application, parallel across Applications. Nothing is
/// evaluated before the configuration is known. Ends with the token.
pub async fn run(
    evaluator: Evaluator,
    mut seen: mpsc::UnboundedReceiver<Seen>,
    mut projects: mpsc::UnboundedReceiver<String>,
    applications: Applications,
    admits: impl Fn(&AppKey) -> bool,
    workers: usize,
    stop: CancellationToken,
) {
    let progress = evaluator.board.stage("evaluate");
    let mut rules = evaluator.rules.clone();
    tokio::select! {
        _ = stop.cancelled() => return,
        loaded = rules.wait_for(|compiled| compiled.loaded) => if loaded.is_err() { return },
    }
    let mut tasks = tokio::task::JoinSet::new();
    let queues: Vec<mpsc::UnboundedSender<Arc<Application>>> = (0..workers.max(1))
        .map(|_| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tasks.spawn(worker(evaluator.clone(), receiver, progress.clone(), stop.clone()));
            sender
        })
        .collect();
    let pass_on = |app: Arc<Application>| {
        if !admits(&app.key) {
            return;
        }
        let mut hasher = DefaultHasher::new();
        app.uid.hash(&mut hasher);
        app.key.hash(&mut hasher);
        let _ = queues[(hasher.finish() % queues.len() as u64) as usize].send(app);
    };
    let mut clock = tokio::time::interval(CLOCK);
    clock.tick().await;
    let mut report_at: Option<tokio::time::Instant> = None;
    loop {
        tokio::select! {
            _ = stop.cancelled() => break,
            _ = evaluator.undefined.changed.notified() => {
                report_at.get_or_insert_with(|| tokio::time::Instant::now() + GATHER);
            }
            _ = tokio::time::sleep_until(report_at.unwrap_or_else(tokio::time::Instant::now)), if report_at.is_some() => {
                report_at = None;
                evaluator.report_undefined();
            }
            // Its subscriptions may have changed (SUB-10, SUB-12).
            Some(project) = projects.recv() => {
                applications.all().into_iter().filter(|app| app.project == project).for_each(&pass_on);
            }
            next = seen.recv() => match next {
                None => break,
                Some(Seen::Version(app)) => pass_on(app),
                Some(Seen::Gone(key)) => {
                    evaluator.board.problems(&format!("notify {key}"), Vec::new());
                    evaluator.board.problems(&format!("notify text {key}"), Vec::new());
                    evaluator.undefined.gone(&key);
                }
                Some(Seen::Complete) => {}
            },
            changed = rules.changed() => {
                if changed.is_err() {
                    break;
                }
                applications.all().into_iter().for_each(&pass_on);
                evaluator.undefined.changed.notify_one();
            }
            _ = clock.tick() => {
                if rules.borrow().reads_clock {
                    applications.all().into_iter().for_each(&pass_on);
                }
            }
            ended = tasks.join_next() => {
                if ended.is_some() && !stop.is_cancelled() {
                    tracing::error!("an evaluation worker ended");
                    break;
                }
            }
        }
    }
    drop(queues);
    while tasks.join_next().await.is_some() {}
}

async fn worker(
    evaluator: Evaluator,
    mut queue: mpsc::UnboundedReceiver<Arc<Application>>,
    progress: Arc<Progress>,
    stop: CancellationToken,
) {
    loop {
        let app = tokio::select! {
            _ = stop.cancelled() => return,
            app = queue.recv() => app,
        };
        let Some(app) = app else { return };
        progress.working();
        evaluator.version(&app, &progress, &stop).await;
        if queue.is_empty() {
            progress.idle();
        }
    }
}

#[cfg(test)]
mod tests;
