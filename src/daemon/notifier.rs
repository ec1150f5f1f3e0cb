//! The notification half's dispatcher: every observed version of every Application is evaluated in order, and what it
//! gives is one durable write; nothing is sent here (notifications.md §9.2).

mod queue;
mod render;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::annotator::{self, Live};
use super::commits::{CommitSource, NoCommit};
use super::delivery::{Clock, Tally};
use super::foreign::Foreign;
use super::gone;
use super::metrics::Metrics;
use super::rules::Compiled;
use super::status::Board;
use super::undefined::Undefined;
use super::watcher::{Applications, Seen};
use crate::adapters::store::{Plan, Store};
use crate::core::application::{AppKey, Application};
use crate::core::notify::row::Row;
use crate::core::notify::variables::{Commits, Facts};
use crate::core::notify::{self, Evaluation, Inherited, identity};
use crate::core::problem::Problem;
use crate::core::value::time::Moment;
use crate::core::value::{Map, MapKind, Value};

use queue::Queue;

/// Conditions that read the clock are evaluated again this often (EXP-04).
const CLOCK: Duration = Duration::from_secs(60);

/// The first wait after what a version gives could not be decided or written down; doubles.
pub(super) const AGAIN: Duration = Duration::from_millis(250);

/// The longest wait for the store: a disk that has room again is found soon.
const AGAIN_MOST: Duration = Duration::from_secs(10);

/// How often ledgers of deleted Applications are looked for.
const SWEEP: Duration = Duration::from_secs(3600);

/// The list of undefined names is told so long after it has changed, once for all that change it.
const GATHER: Duration = Duration::from_millis(500);

/// AppProjects were read, or cannot be.
pub const PROJECTS_KNOWN: &str = "projects";

/// So many commits are looked up at once for conditions.
pub const LOOKS: usize = 16;

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
    /// How many commits are looked up at once for conditions.
    pub looks: Arc<Semaphore>,
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
    /// Keys that somebody else writes.
    pub foreign: Arc<Foreign>,
    /// Which keys are true, for the annotations that cannot hold all.
    pub live: Arc<Live>,
    /// Applications with conditions that read the clock (EXP-04).
    pub clocked: Arc<Mutex<BTreeSet<AppKey>>>,
    /// When this installation started for the very first time, if that is known (SUB-10).
    pub first_start: Option<Timestamp>,
    /// Told the Application whose annotation may have to follow.
    pub annotate: mpsc::UnboundedSender<AppKey>,
}

/// What an Application's ledger is kept under.
fn uid(app: &Application) -> String {
    if app.uid.is_empty() { app.key.to_string() } else { app.uid.clone() }
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
    fn project_in(&self, namespace: &str, name: &str) -> Option<Arc<Project>> {
        let projects = self.projects.read().unwrap_or_else(PoisonError::into_inner);
        projects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Projects are looked up in the control plane's namespace first (SUB-10).
    pub(super) fn project(&self, app: &Application, name: &str) -> Option<Arc<Project>> {
        self.project_in(&self.argocd_namespace, name).or_else(|| self.project_in(&app.key.namespace, name))
    }

    /// The variables of one evaluation or rendering.
    pub fn facts(&self, app: &Application, compiled: &Compiled, commits: Commits, placeholders: bool) -> Facts {
        let name = if app.project.is_empty() { "default" } else { app.project.as_str() };
        let project = self.project(app, name);
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

    /// Evaluates one version for which something slow is needed, or that failed: looks up the commits it asks for, and
    /// repeats what fails for outside reasons. What does not depend on a commit that cannot be looked up now is written
    /// meanwhile; the rest waits until that works or a later version is there (HLP-06).
    async fn patiently(&self, app: &Arc<Application>, later: impl Fn() -> bool) {
        let (mut wait, mut commits, mut unreachable) = (AGAIN, Commits::new(), BTreeSet::new());
        let about = format!("commits for {}", app.key);
        loop {
            let most = match self.pass(app, &commits, &unreachable).await {
                Ok(wanted) if wanted.is_empty() && unreachable.is_empty() => break,
                Ok(wanted) if wanted.is_empty() => {
                    // The later version asks again, and finds the problem open or over.
                    if later() {
                        return;
                    }
                    unreachable.clear();
                    Duration::from_secs(60)
                }
                Ok(wanted) => {
                    let mut problems = Vec::new();
                    for id in wanted {
                        // Whoever waits for its turn does not use up its time.
                        let _turn = self.looks.acquire().await;
                        match self.commits.look_up(app, &id).await {
                            Ok(commit) => drop(commits.insert(id, Some(commit))),
                            Err(NoCommit::Unknown(_)) => drop(commits.insert(id, None)),
                            Err(NoCommit::Unreachable(text)) => {
                                problems.push(commit_problem(app, &text));
                                unreachable.insert(id);
                            }
                        }
                    }
                    self.board.problems(&about, problems);
                    continue;
                }
                // The same for every Application that waits: one problem.
                Err(text) => {
                    self.board.problems("evaluation", vec![Problem::error("EvaluationWaits", text)]);
                    AGAIN_MOST
                }
            };
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(most);
        }
        self.board.problems(&about, Vec::new());
    }

    /// One evaluation; gives the commits that must be looked up before it can be written. Those in `unreachable` are
    /// not waited for.
    async fn pass(
        &self,
        app: &Arc<Application>,
        commits: &Commits,
        unreachable: &BTreeSet<String>,
    ) -> Result<Vec<String>, String> {
        let compiled = self.rules.borrow().clone();
        let uid = uid(app);
        let ledger = self.store.ledger(&uid).await.map_err(|e| e.to_string())?;
        let project = self.project(app, &app.project);
        let upstream = self.project_in(&app.key.namespace, &app.project);
        let inherited = Inherited {
            project: project.as_ref().map(|p| &p.annotations),
            upstream: upstream.as_ref().map(|p| &p.annotations),
            adopt: !ledger.known && self.was_there_before(app),
        };
        let started = std::time::Instant::now();
        let facts = || self.facts(app, &compiled, commits.clone(), false);
        let rules = &compiled.notifications.rules;
        let mut evaluation = notify::evaluate(app, inherited, rules, &ledger, facts, self.clock.now());
        self.metrics.evaluated(&evaluation.evaluated, started.elapsed());
        self.report(app, &mut evaluation);
        let open = |id: &&String| !commits.contains_key(*id) && !unreachable.contains(*id);
        let wanted: Vec<String> = evaluation.wanted.iter().filter(open).cloned().collect();
        if !wanted.is_empty() {
            return Ok(wanted);
        }
        let mut after = ledger.clone();
        after.apply(&evaluation.changes);
        if self.foreign.look(app, &ledger, &after) {
            self.foreign.report(&self.board);
        }
        if notify::skip(app).is_none() {
            self.live.set(&app.key, &after, &evaluation.true_keys);
        }
        if evaluation.changes.is_empty() && evaluation.rows.is_empty() && ledger.known {
            // Written back when somebody else has changed it, or a former process did not get to it (ST-18).
            if !annotator::up_to_date(app, ledger, &self.live) {
                let _ = self.annotate.send(app.key.clone());
            }
            return Ok(Vec::new());
        }
        suffix_reused_ids(&self.store, &mut evaluation.rows).await?;
        let triggers: BTreeMap<String, String> =
            evaluation.rows.iter().map(|row| (row.id.clone(), row.trigger.clone())).collect();
        let planned = evaluation.rows.len();
        let object = (planned > 0).then(|| app.packed().to_vec());
        let changed = !evaluation.changes.is_empty();
        let (changes, rows) = (evaluation.changes, evaluation.rows);
        let plan = Plan { uid, changes, rows, object, journal_mark: None, texts: Vec::new() };
        let new = self.store.plan(plan).await.map_err(|e| e.to_string())?;
        for id in &new {
            let trigger = triggers.get(id).map(String::as_str).unwrap_or_default();
            tracing::info!(app = %app.key, trigger, event = %id, "planned");
        }
        if !new.is_empty() {
            evaluation.fallbacks.iter().for_each(|service| self.tally.fell_back(service));
        }
        if changed {
            let _ = self.annotate.send(app.key.clone());
        }
        Ok(Vec::new())
    }

    /// Whether the Application is older than this installation.
    fn was_there_before(&self, app: &Application) -> bool {
        let created = || app.json()["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse().ok());
        self.first_start.is_some_and(|start| created().is_some_and(|created: Timestamp| created < start))
    }

    fn report(&self, app: &Application, evaluation: &mut Evaluation) {
        let problems = std::mem::take(&mut evaluation.problems);
        // A version that is left alone says nothing about what earlier ones showed.
        if notify::skip(app).is_none() || !problems.is_empty() {
            self.board.problems(&format!("notify {}", app.key), problems);
        }
        if notify::skip(app).is_none() {
            let mut clocked = self.clocked.lock().unwrap_or_else(PoisonError::into_inner);
            if evaluation.reads_clock {
                clocked.insert(app.key.clone());
            } else {
                clocked.remove(&app.key);
            }
            self.undefined.set(&app.key, &evaluation.undefined_triggers, &evaluation.undefined_services);
        }
    }

    fn report_undefined(&self) {
        let compiled = self.rules.borrow().clone();
        let mut problems = self.undefined.problems(&compiled.notifications);
        // What the configuration names and no Application is concerned with.
        let all = compiled.notifications.problems.iter().filter(|problem| problem.names_undefined());
        let concerned = |problem: &&Problem| {
            let same =
                |other: &Problem| other.code == problem.code && other.text.starts_with(&format!("{};", problem.text));
            !problems.iter().any(same)
        };
        let others: Vec<Problem> = all.filter(concerned).cloned().collect();
        problems.extend(others);
        self.board.problems("notifications undefined names", problems);
    }

    fn gone(&self, app: &AppKey) {
        for about in ["notify", "commits for"] {
            self.board.problems(&format!("{about} {app}"), Vec::new());
        }
        self.undefined.gone(app);
        self.foreign.gone(app);
        self.live.gone(app);
        self.clocked.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
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

fn commit_problem(app: &Application, text: &str) -> Problem {
    Problem::warning("CommitUnavailable", text.to_owned())
        .in_object(app.label())
        .hint("messages go out with a placeholder; conditions that read it wait or are false")
}

/// What a run listens to.
pub struct Inputs {
    /// Versions as they are observed.
    pub seen: mpsc::UnboundedReceiver<Seen>,
    /// Names of AppProjects whose annotations changed.
    pub projects: mpsc::UnboundedReceiver<String>,
    /// All Applications as last seen.
    pub applications: Applications,
    /// A label selector hides some: who is not seen may still be there.
    pub selective: bool,
}

/// Waits for the configuration and the projects; false if the process ends instead. An Application that is first seen
/// without its project would be told of what the project subscribes to as of news.
async fn configured(evaluator: &Evaluator, rules: &mut watch::Receiver<Arc<Compiled>>) -> bool {
    if rules.wait_for(|compiled| compiled.loaded).await.is_err() {
        return false;
    }
    let mut status = evaluator.board.subscribe();
    status.wait_for(|status| status.ready.contains(PROJECTS_KNOWN)).await.is_ok()
}

/// What is evaluated again because time has passed: conditions that read the clock (EXP-04); all if keys of removed
/// triggers are to go (ST-12).
fn by_the_clock(evaluator: &Evaluator, applications: &Applications, expired: bool) -> Vec<Arc<Application>> {
    if expired {
        return applications.all();
    }
    let clocked = evaluator.clocked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    clocked.iter().filter_map(|key| applications.by_key(key)).collect()
}

async fn sweep_ledgers(evaluator: &Evaluator, applications: &Applications) {
    let uids = applications.all().iter().map(|app| uid(app)).collect();
    if let Err(error) = gone::sweep(&evaluator.store, &uids, evaluator.clock.now()).await {
        tracing::warn!("ledgers of deleted Applications stay: {error}");
    }
}

/// Evaluates versions with so many workers: in order for each Application, in parallel across Applications. Nothing is
/// evaluated before the configuration is known. Ends with the token.
pub async fn run(
    evaluator: Evaluator,
    inputs: Inputs,
    admits: impl Fn(&AppKey) -> bool,
    workers: usize,
    stop: CancellationToken,
) {
    let Inputs { mut seen, mut projects, applications, selective } = inputs;
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut complete = false;
    let progress = evaluator.board.stage("evaluate");
    let mut rules = evaluator.rules.clone();
    tokio::select! {
        _ = stop.cancelled() => return,
        known = configured(&evaluator, &mut rules) => if !known { return },
    }
    let (slow, mut slow_versions) = mpsc::unbounded_channel();
    let queue = Arc::new(Queue::new(evaluator.clone(), applications.clone(), slow));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers.max(1) {
        tasks.spawn(queue.clone().work(progress.clone(), stop.clone()));
    }
    let mut patient = tokio::task::JoinSet::new();
    let pass_on = |app: Arc<Application>| {
        if admits(&app.key) {
            queue.push(app);
        }
    };
    let expiry =
        |compiled: &Compiled| compiled.notifications.rules.known.next_expiry(evaluator.clock.now().as_second());
    let mut expires = expiry(&rules.borrow());
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
            Some(app) = slow_versions.recv() => drop(patient.spawn(queue.clone().patiently(app, stop.clone()))),
            Some(_) = patient.join_next(), if !patient.is_empty() => {}
            // Its subscriptions may have changed (SUB-10, SUB-12).
            Some(project) = projects.recv() => {
                applications.all().into_iter().filter(|app| app.project == project).for_each(&pass_on);
            }
            next = seen.recv() => match next {
                None => break,
                Some(Seen::Version(app)) => pass_on(app),
                Some(Seen::Gone(key)) => evaluator.gone(&key),
                Some(Seen::Complete) => {
                    queue.complete();
                    complete = true;
                }
            },
            _ = sweep.tick(), if complete && !selective => sweep_ledgers(&evaluator, &applications).await,
            changed = rules.changed() => {
                if changed.is_err() {
                    break;
                }
                expires = expiry(&rules.borrow());
                applications.all().into_iter().for_each(&pass_on);
                evaluator.undefined.changed.notify_one();
            }
            _ = clock.tick() => {
                evaluator.foreign.report(&evaluator.board);
                let expired = expires.is_some_and(|at| evaluator.clock.now().as_second() >= at);
                if expired {
                    expires = expiry(&rules.borrow());
                }
                by_the_clock(&evaluator, &applications, expired).into_iter().for_each(&pass_on);
            }
            ended = tasks.join_next() => {
                if ended.is_some() && !stop.is_cancelled() {
                    tracing::error!("an evaluation worker ended");
                    break;
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
    while patient.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests;
