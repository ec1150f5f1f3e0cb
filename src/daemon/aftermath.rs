//! What a round leaves behind: events of what was found, held, refused or failed; pushes and patches; refreshes; the
//! books that keep what was announced (image-updates.md §22, GIT-14).

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::announce::{self, Pending, TRANSIENT};
use super::committer::{self, Outcome};
use super::leader;
use super::patcher;
use super::round::{Looked, Planned, Round};
use super::status::PushLine;
use super::telling;
use super::world::World;
use crate::core::application::AppKey;
use crate::core::event::Event;
use crate::core::problem::Problem;
use crate::core::update::Method;
use crate::core::update::decision::{Change, State};

/// A refused push is left alone this long (GIT-10).
const REJECTED_FOR: Duration = Duration::from_secs(3600);

/// Pushes kept for the Board.
const PUSHES: usize = 20;

/// What the rounds remember between them.
pub struct Books {
    world: World,
    /// What is known of each image, by Application.
    states: Mutex<HashMap<AppKey, Vec<Standing>>>,
    /// When a trouble was first and last seen, by subject.
    pub(super) since: Mutex<HashMap<String, (Instant, Instant)>>,
    /// `committed` events that are to be followed.
    committed: Mutex<Vec<Event>>,
    /// Pushes that the Git host refused: what was pushed, when, and what it said (GIT-10).
    rejected: Mutex<HashMap<String, (u64, Instant, String)>>,
    /// Whether the last round was led here: a new leader tells what its predecessor may not have.
    led: AtomicBool,
}

/// What is counted of one image.
#[derive(Clone, Copy)]
struct Standing {
    state: State,
    held: Option<&'static str>,
    behind: usize,
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
            led: AtomicBool::new(false),
        }
    }

    /// An Application is gone, or not governed; `problems` is why, if somebody wanted it to be.
    pub fn forget(&self, key: &AppKey, problems: Vec<Problem>) {
        self.states.lock().unwrap_or_else(|e| e.into_inner()).remove(key);
        self.world.claims.lock().unwrap_or_else(|e| e.into_inner()).remove(key);
        self.world.polls.forget(key);
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
        let mut held: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut behind: BTreeMap<String, usize> = BTreeMap::new();
        for (key, images) in states.iter() {
            let key = if self.world.settings.metrics_by_application { key.to_string() } else { String::new() };
            *behind.entry(key).or_default() += images.iter().map(|image| image.behind).sum::<usize>();
            for image in images {
                *by_state.entry(image.state.word()).or_default() += 1;
                if let Some(reason) = image.held {
                    *held.entry(reason).or_default() += 1;
                }
            }
        }
        let (applications, images) = (states.len(), states.values().map(Vec::len).sum());
        self.world.board.update(|status| {
            status.applications = applications;
            status.images = images;
            status.images_by_state = by_state;
            status.held_by_reason = held;
            status.versions_behind = behind;
        });
    }

    fn note_states(&self, round: &Round) {
        let mut states = self.states.lock().unwrap_or_else(|e| e.into_inner());
        for looked in &round.looked {
            let standing = looked.survey.images.iter().map(|image| Standing {
                state: image.state,
                held: image.decision.as_ref().and_then(|d| d.held.as_ref()).map(|held| held.reason.word()),
                behind: image.behind(),
            });
            states.insert(looked.app.key.clone(), standing.collect());
        }
    }

    /// What became of changes: the images are in that state from now on.
    fn note_outcome(&self, key: &AppKey, changes: &[Change], looked: &[Looked], state: State) {
        let Some(looked) = looked.iter().find(|looked| looked.app.key == *key) else { return };
        let mut states = self.states.lock().unwrap_or_else(|e| e.into_inner());
        let Some(standing) = states.get_mut(key) else { return };
        for (report, standing) in looked.survey.images.iter().zip(standing) {
            let own = report.image.image.with_tag(None, None);
            if changes.iter().any(|change| change.new.with_tag(None, None) == own) {
                standing.state = state;
                standing.behind = if state == State::UpToDate { 0 } else { standing.behind };
            }
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
    planned.remote.access().hash(&mut hasher);
    for unit in &planned.plan.units {
        unit.app.key.hash(&mut hasher);
        unit.target.hash(&mut hasher);
        let settings = unit.app.annotations.iter();
        settings.filter(|(key, _)| is_setting(key)).for_each(|entry| entry.hash(&mut hasher));
        unit.changes.iter().for_each(|change| change.new_text().hash(&mut hasher));
    }
    hasher.finish()
}

/// Whether an annotation is a setting of the image half.
fn is_setting(key: &str) -> bool {
    key.starts_with("argocd-image-updater.argoproj.io/") || key.starts_with("lynceus.dev/")
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
pub async fn settle(world: &World, books: &Books, mut round: Round) -> usize {
    books.note_states(&round);
    let mut troubles: Vec<Pending> = Vec::new();
    for looked in &round.looked {
        troubles.extend(looked.survey.images.iter().filter_map(|image| announce::of_image(&looked.app, image)));
    }
    // A standby finds and decides; what it would say, the leader says.
    let writes = world.gate.check().is_ok();
    if writes && !books.led.swap(true, Ordering::Relaxed) {
        telling::tell_again(world).await;
    }
    books.led.store(writes, Ordering::Relaxed);
    if writes {
        announce::found(world, &mut round).await;
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
            for (unit, outcome) in planned.plan.units.iter().zip(&result.outcomes) {
                let state = match outcome {
                    Outcome::Committed(_) | Outcome::AlreadySo => State::UpToDate,
                    Outcome::Refused(..) => State::Refused,
                    Outcome::Failed(kind, _) if *kind == leader::CLOSED => continue,
                    Outcome::Failed(..) => State::Failed,
                };
                books.note_outcome(&unit.app.key, &unit.changes, &round.looked, state);
            }
            landed(world, books, &result.events, &round.looked).await;
        }
        for looked in round.looked.iter().filter(|looked| !looked.survey.parameters.is_empty()) {
            match patcher::patch(world, looked).await {
                Ok(events) => {
                    updated += usize::from(!events.is_empty());
                    for parameters in &looked.survey.parameters {
                        books.note_outcome(&looked.app.key, &parameters.changes, &round.looked, State::UpToDate);
                    }
                    landed(world, books, &events, &round.looked).await;
                }
                Err(trouble) => {
                    if trouble.kind != leader::CLOSED {
                        errors += 1;
                        for parameters in &looked.survey.parameters {
                            books.note_outcome(&looked.app.key, &parameters.changes, &round.looked, State::Failed);
                        }
                    }
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
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    for planned in plans {
        *waiting.entry(planned.remote.shown()).or_default() += planned.plan.units.len();
    }
    waiting.iter().for_each(|(remote, changes)| world.metrics.queued(remote, *changes));
    for planned in plans {
        let remote = planned.remote.shown();
        let mut done = || {
            let left = waiting.entry(remote).or_default();
            *left = left.saturating_sub(planned.plan.units.len());
            world.metrics.queued(remote, *left);
        };
        if let Some(text) = books.still_rejected(planned) {
            let outcomes = vec![Outcome::Refused("git-rejected", text); planned.plan.units.len()];
            results.push((planned, committer::Committed { outcomes, events: Vec::new() }));
            done();
            continue;
        }
        let result = committer::commit(world, &planned.remote, &planned.plan).await;
        books.note_rejection(planned, &result.outcomes);
        done();
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
        if let Some(first) = event.first_seen {
            world.metrics.committed_after(event.at.duration_since(first).try_into().unwrap_or_default());
        }
    }
    show_pushes(world, events);
    books.committed.lock().unwrap_or_else(|e| e.into_inner()).extend(events.iter().cloned());
    telling::written(world, events, looked).await;
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
