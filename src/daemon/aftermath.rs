//! What a round leaves behind: events of what was found, held, refused or failed; pushes and patches; refreshes; the
//! books that keep what was announced (image-updates.md §22, GIT-14).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use jiff::Timestamp;

use super::announce::{self, Pending, TRANSIENT};
use super::committer::{self, Outcome};
use super::leader;
use super::patcher;
use super::round::{Looked, Planned, Round};
use super::status::PushLine;
use super::world::World;
use crate::adapters::cluster::{Cluster, Note, NoteKind, Refresh};
use crate::core::application::{AppKey, Application};
use crate::core::event::Event;
use crate::core::problem::Problem;
use crate::core::update::decision::State;
use crate::core::update::{Method, Refresh as Asked};

/// Pushes and refreshes that run at the same time.
const AT_ONCE: usize = 8;

/// A refused push is left alone this long (GIT-10).
const REJECTED_FOR: Duration = Duration::from_secs(3600);

/// Pushes kept for the Board.
const PUSHES: usize = 20;

/// What the rounds remember between them.
pub struct Books {
    world: World,
    /// State of each image, by Application.
    states: Mutex<HashMap<AppKey, Vec<State>>>,
    /// When a trouble was first and last seen, by subject.
    pub(super) since: Mutex<HashMap<String, (Instant, Instant)>>,
    /// `committed` events that are to be followed.
    committed: Mutex<Vec<Event>>,
    /// Pushes that the Git host refused: what was pushed, when, and what it said (GIT-10).
    rejected: Mutex<HashMap<String, (u64, Instant, String)>>,
}

impl Books {
    /// Empty books.
    pub fn new(world: World) -> Books {
        Books {
            world,
            states: Mutex::default(),
            since: Mutex::default(),
            committed: Mutex::default(),
            rejected: Mutex::default(),
        }
    }

    /// An Application is gone, or not governed; `problems` is why, if somebody wanted it to be.
    pub fn forget(&self, key: &AppKey, problems: Vec<Problem>) {
        self.states.lock().unwrap_or_else(|e| e.into_inner()).remove(key);
        self.world.board.problems(&format!("images {key}"), problems);
        self.show();
    }

    /// Takes the `committed` events since the last call.
    pub fn take_committed(&self) -> Vec<Event> {
        std::mem::take(&mut self.committed.lock().unwrap_or_else(|e| e.into_inner()))
    }

    fn show(&self) {
        let states = self.states.lock().unwrap_or_else(|e| e.into_inner());
        let mut by_state: BTreeMap<&'static str, usize> = BTreeMap::new();
        for state in states.values().flatten() {
            *by_state.entry(state.word()).or_default() += 1;
        }
        let (applications, images) = (states.len(), states.values().map(Vec::len).sum());
        self.world.board.update(|status| {
            status.applications = applications;
            status.images = images;
            status.images_by_state = by_state;
        });
    }

    fn note_states(&self, round: &Round) {
        let mut states = self.states.lock().unwrap_or_else(|e| e.into_inner());
        for looked in &round.looked {
            states.insert(looked.app.key.clone(), looked.survey.images.iter().map(|image| image.state).collect());
        }
    }

    /// A push that was refused is tried again after an hour, or when it is another one (GIT-10).
    fn still_rejected(&self, planned: &Planned) -> Option<String> {
        let rejected = self.rejected.lock().unwrap_or_else(|e| e.into_inner());
        let (print, at, text) = rejected.get(&branch_key(planned))?;
        (*print == print_of(planned) && at.elapsed() < REJECTED_FOR).then(|| text.clone())
    }

    fn note_rejection(&self, planned: &Planned, outcomes: &[Outcome]) {
        let mut rejected = self.rejected.lock().unwrap_or_else(|e| e.into_inner());
        let said = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused("git-rejected", text) => Some(text.clone()),
            _ => None,
        });
        match said {
            Some(text) => rejected.insert(branch_key(planned), (print_of(planned), Instant::now(), text)),
            None => rejected.remove(&branch_key(planned)),
        };
    }

    /// Whether a trouble is old enough to be announced.
    pub(super) fn ripe(&self, subject: &str, kind: &str) -> bool {
        let (now, pace) = (Instant::now(), self.world.settings.pace());
        let mut since = self.since.lock().unwrap_or_else(|e| e.into_inner());
        let (first, last) = since.entry(subject.to_owned()).or_insert((now, now));
        // A round without it lies between: it has passed and begins anew.
        if now - *last > pace.mul_f64(1.5) {
            *first = now;
        }
        *last = now;
        !TRANSIENT.contains(&kind) || now - *first >= 2 * pace
    }
}

fn branch_key(planned: &Planned) -> String {
    format!("{}#{}", planned.remote.identity(), planned.plan.branch)
}

/// What a plan would write, as a number.
fn print_of(planned: &Planned) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for unit in &planned.plan.units {
        unit.app.key.hash(&mut hasher);
        unit.target.hash(&mut hasher);
        unit.changes.iter().for_each(|change| change.new_text().hash(&mut hasher));
    }
    hasher.finish()
}

/// What was announced and never recorded, before a crash or because an answer was lost, is settled before anything else
/// is written (GIT-15). What cannot be asked now stays open.
async fn settle_open(world: &World, books: &Books, round: &Round) {
    for remote in &round.remotes {
        match committer::settle(world, remote).await {
            Ok(events) => landed(world, books, &events, &round.looked).await,
            Err((_, text)) => tracing::warn!("an earlier push waits for its record: {text}"),
        }
    }
    if round.looked.iter().any(|looked| looked.settings.method == Method::Argocd) {
        match patcher::settle(world).await {
            Ok(events) => landed(world, books, &events, &round.looked).await,
            Err(trouble) => tracing::warn!("an earlier patch waits for its record: {}", trouble.text),
        }
    }
}

/// Finishes a round; gives the number of images that failed or were refused.
pub async fn settle(world: &World, books: &Books, round: Round) -> usize {
    books.note_states(&round);
    let mut troubles: Vec<Pending> = Vec::new();
    for looked in &round.looked {
        troubles.extend(looked.survey.images.iter().filter_map(|image| announce::of_image(&looked.app, image)));
    }
    // A standby finds and decides; what it would say, the leader says.
    let writes = world.gate.check().is_ok();
    if writes {
        announce::found(world, &round).await;
    }
    let considered: usize = round.looked.iter().map(|looked| looked.survey.images.len()).sum();
    let applications = round.looked.len();
    let mut updated = 0;
    let mut errors = troubles.len();
    if !world.settings.dry_run && writes {
        settle_open(world, books, &round).await;
        for (planned, result) in push_all(world, books, &round.plans).await {
            updated += result.outcomes.iter().filter(|o| matches!(o, Outcome::Committed(_))).count();
            errors += result.outcomes.iter().filter(|outcome| is_error(outcome)).count();
            troubles.extend(announce::of_push(planned, &result.outcomes));
            landed(world, books, &result.events, &round.looked).await;
        }
        for looked in round.looked.iter().filter(|looked| !looked.survey.parameters.is_empty()) {
            match patcher::patch(world, looked).await {
                Ok(events) => {
                    updated += usize::from(!events.is_empty());
                    landed(world, books, &events, &round.looked).await;
                }
                Err(trouble) => {
                    errors += usize::from(trouble.kind != leader::CLOSED);
                    troubles.push(announce::of_patch(looked, trouble));
                }
            }
        }
        let all = troubles.len();
        troubles.retain(|pending| pending.trouble.kind != leader::CLOSED);
        show_problems(world, &round, &troubles);
        // A round that was cut short does not know what has recovered.
        if troubles.len() == all {
            announce::troubles(world, books, troubles, &round.looked).await;
        }
    } else {
        show_problems(world, &round, &troubles);
    }
    world.metrics.failed(errors as u64);
    books.show();
    summary(applications, considered, considered.saturating_sub(updated + errors), updated, errors);
    errors
}

fn is_error(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Refused(..) => true,
        Outcome::Failed(kind, _) => *kind != leader::CLOSED,
        Outcome::Committed(_) | Outcome::AlreadySo => false,
    }
}

/// Upstream's field names (OBS-3).
fn summary(applications: usize, images_considered: usize, images_skipped: usize, images_updated: usize, errors: usize) {
    if images_updated > 0 || errors > 0 {
        tracing::info!(applications, images_considered, images_skipped, images_updated, errors, "round");
    } else {
        tracing::debug!(
            applications,
            images_considered,
            images_skipped,
            images_updated,
            errors,
            "round, nothing to do"
        );
    }
}

/// What is wrong with each Application: what its annotations say, and what went wrong up to the push or patch.
fn show_problems(world: &World, round: &Round, troubles: &[Pending]) {
    let mut by_app: BTreeMap<String, Vec<Problem>> =
        round.looked.iter().map(|looked| (looked.app.key.to_string(), Vec::new())).collect();
    for (app, problems) in &round.problems {
        by_app.entry(app.clone()).or_default().extend(problems.iter().cloned());
    }
    for Pending { app, change, trouble, .. } in troubles {
        let problems = by_app.entry(app.key.to_string()).or_default();
        // A setting that nothing can be decided by was named already, with its place.
        if problems.iter().any(|known| known.code == trouble.kind && trouble.text.contains(&known.text)) {
            continue;
        }
        let alias = change.new.alias_text();
        let image = if alias.is_empty() { change.new.full_name() } else { alias.to_owned() };
        let problem = Problem::error(trouble.kind, trouble.text.clone()).in_object(app.label());
        problems.push(problem.at_key(image));
    }
    for (app, problems) in by_app {
        world.board.problems(&format!("images {app}"), problems);
    }
}

async fn push_all<'a>(world: &World, books: &Books, plans: &'a [Planned]) -> Vec<(&'a Planned, committer::Committed)> {
    // One remote, one writer at a time: plans of one round share their remote as a rule.
    let mut results = Vec::new();
    for planned in plans {
        if let Some(text) = books.still_rejected(planned) {
            let outcomes = vec![Outcome::Refused("git-rejected", text); planned.plan.units.len()];
            results.push((planned, committer::Committed { outcomes, events: Vec::new() }));
            continue;
        }
        let result = committer::commit(world, &planned.remote, &planned.plan).await;
        books.note_rejection(planned, &result.outcomes);
        results.push((planned, result));
    }
    results
}

/// After values became durable: metrics, Kubernetes Events, refreshes, and the changes are followed.
async fn landed(world: &World, books: &Books, events: &[Event], looked: &[Looked]) {
    if events.is_empty() {
        return;
    }
    world.metrics.updated(events.len() as u64);
    for event in events {
        let (tag, digest) = event.new.split_once('@').unwrap_or((&event.new, ""));
        let registry = event.image.split_once('/').map_or("", |(host, _)| host);
        let registry = if registry.contains(['.', ':']) || registry == "localhost" { registry } else { "" };
        tracing::info!(
            application = %event.app,
            image_name = event.image,
            image_alias = event.alias,
            image_tag = tag,
            image_digest = digest,
            image_registry = registry,
            commit = event.place.as_ref().map(|p| p.commit.as_str()).unwrap_or_default(),
            "committed"
        );
    }
    show_pushes(world, events);
    books.committed.lock().unwrap_or_else(|e| e.into_inner()).extend(events.iter().cloned());
    let Some(cluster) = world.cluster.as_ref().filter(|_| !world.offline()) else { return };
    let mut by_app: BTreeMap<AppKey, Vec<Event>> = BTreeMap::new();
    for event in events {
        by_app.entry(event.app.clone()).or_default().push(event.clone());
    }
    let told = by_app.into_iter().filter_map(|(key, own)| {
        let looked = looked.iter().find(|looked| looked.app.key == key)?;
        let (cluster, app, refresh) = (cluster.clone(), looked.app.clone(), refresh_of(looked));
        Some(tell(cluster, app, own, refresh, world.settings.kube_events).boxed())
    });
    let told: Vec<_> = told.collect();
    let denied: Vec<Option<String>> = futures::stream::iter(told).buffer_unordered(AT_ONCE).collect().await;
    let denied: Vec<String> = denied.into_iter().flatten().collect();
    // One notice, no error: the push stands whatever becomes of this (GIT-14).
    let notice = denied.first().map(|text| Problem::warning("kubernetes-forbidden", text.clone()));
    world.board.problems("refresh", notice.into_iter().collect());
}

/// Asks Argo CD to look at an Application again and records a Kubernetes Event; what was denied, if anything.
async fn tell(
    cluster: Cluster,
    app: Arc<Application>,
    events: Vec<Event>,
    refresh: Option<Refresh>,
    record: bool,
) -> Option<String> {
    let mut denied = None;
    if let Some(refresh) = refresh
        && let Err(error) = cluster.refresh(&app.key, refresh).await
    {
        denied = Some(error.to_string());
    }
    let message = format!("Successfully updated application '{}'", app.key.name);
    if record && let Err(error) = cluster.note(&note(&app, &events, &message)).await {
        denied = Some(error.to_string());
    }
    denied
}

fn refresh_of(looked: &Looked) -> Option<Refresh> {
    match looked.settings.refresh {
        Asked::Off => None,
        _ if looked.app.hydrated => Some(Refresh::Hydrate),
        Asked::Normal => Some(Refresh::Normal),
        Asked::Hard => Some(Refresh::Hard),
    }
}

fn note<'a>(app: &'a Application, events: &'a [Event], message: &'a str) -> Note<'a> {
    let mut annotations = BTreeMap::new();
    for (n, event) in events.iter().enumerate() {
        let name = event
            .image
            .split_once('/')
            .filter(|(host, _)| host.contains(['.', ':']))
            .map_or(event.image.as_str(), |(_, path)| path);
        for (key, value) in [
            ("full-image-name", event.image.as_str()),
            ("image-name", name),
            ("old-tag", event.old.as_str()),
            ("new-tag", event.new.as_str()),
        ] {
            annotations.insert(format!("argocd-image-updater.image-{n}/{key}"), value.to_owned());
        }
    }
    Note {
        app: &app.key,
        uid: &app.uid,
        version: &app.resource_version,
        id: events.first().map_or("", |event| event.id.as_str()),
        kind: NoteKind::Normal,
        reason: "ImagesUpdated",
        message,
        annotations,
        at: Timestamp::now(),
    }
}

fn show_pushes(world: &World, events: &[Event]) {
    let mut lines: BTreeMap<String, PushLine> = BTreeMap::new();
    for event in events {
        let Some(place) = event.place.as_ref().filter(|place| place.method == "git") else { continue };
        let line = lines.entry(format!("{}#{}", place.repository, place.branch)).or_insert_with(|| PushLine {
            at: event.at.to_string(),
            remote: place.repository.clone(),
            branch: place.branch.clone(),
            ..PushLine::default()
        });
        line.commit.clone_from(&place.commit);
        line.applications += 1;
    }
    world.board.update(|status| {
        for line in lines.into_values() {
            status.pushes.insert(0, line);
        }
        status.pushes.truncate(PUSHES);
    });
}
