//! Walk A's second half: one plan per branch becomes one push. Read the newest tip, apply, announce the push durably,
//! push; a branch that moved means: again on its new tree (image-updates.md GIT-7 to GIT-12, GIT-15).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::leader;
use super::world::World;
use crate::adapters::git::{self, Author, Chain, CommitId, MOST_COMMITS, NewCommit, PushError, Remote, Tip};
use crate::adapters::store::PushRow;
use crate::config::settings::CommitPer;
use crate::core::event::{Event, Place};
use crate::core::retry::Backoff;
use crate::core::template::Template;
use crate::core::update::plan::{self, Applied, Plan, Unit};
use crate::core::update::{CommitMessage, Trailers, report};
use crate::core::writeback::{FileChange, Refusal};

/// One plan is tried this long in one round (GIT-9).
const PATIENCE: Duration = Duration::from_secs(60);

/// Lost races are repeated at once this often, then with back-off (GIT-9).
const AT_ONCE: u32 = 3;

/// No server carries out a write that it was sent longer ago.
const LATEST: SignedDuration = SignedDuration::from_hours(1);

/// What became of one unit.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Its values are durable in this commit.
    Committed(CommitId),
    /// The branch held them already.
    AlreadySo,
    /// Not written as things are: kind and text.
    Refused(&'static str, String),
    /// It did not work this time: kind and text. It stays pending.
    Failed(&'static str, String),
}

/// What became of a plan.
#[derive(Debug)]
pub struct Committed {
    /// One per unit of the plan.
    pub outcomes: Vec<Outcome>,
    /// `committed` events that are new in the journal.
    pub events: Vec<Event>,
}

/// Settles pushes whose outcome was never recorded, on every branch of a remote (GIT-15). Gives the `committed` events
/// that came to light.
pub async fn settle(world: &World, remote: &Remote) -> Result<Vec<Event>, (&'static str, String)> {
    let rows = open_rows(world, remote, None).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let advertised = world.git.advertise(remote).await.map_err(|e| (e.kind(), e.to_string()))?;
    settle_rows(world, remote, &advertised, rows).await
}

/// Announced pushes of a remote, and of one branch of it, whose outcome is not recorded.
async fn open_rows(
    world: &World,
    remote: &Remote,
    branch: Option<&str>,
) -> Result<Vec<PushRow>, (&'static str, String)> {
    let Some(store) = &world.store else { return Ok(Vec::new()) };
    let mut rows = store.open_pushes().await.map_err(|e| ("internal", e.to_string()))?;
    rows.retain(|row| !row.branch.is_empty() && row.remote == remote.identity());
    rows.retain(|row| branch.is_none_or(|branch| row.branch == branch));
    Ok(rows)
}

async fn settle_rows(
    world: &World,
    remote: &Remote,
    advertised: &git::Advertised,
    rows: Vec<PushRow>,
) -> Result<Vec<Event>, (&'static str, String)> {
    let Some(store) = &world.store else { return Ok(Vec::new()) };
    let mut events = Vec::new();
    for row in rows {
        let tip = advertised.branches.get(&row.branch);
        if tip.map(CommitId::to_string).unwrap_or_default() == row.old && may_still_land(&row) {
            continue;
        }
        let landed = match (tip, row.new.parse::<CommitId>()) {
            (Some(tip), Ok(new)) if *tip == new => true,
            (Some(tip), Ok(new)) => {
                let tip = world.git.tip(remote, &row.branch, *tip).await.map_err(|e| (e.kind(), e.to_string()))?;
                world.git.descends(&tip, new).await.map_err(|e| (e.kind(), e.to_string()))?
            }
            _ => false,
        };
        events.extend(store.settle_push(&row.id, landed).await.map_err(|e| ("internal", e.to_string()))?);
    }
    Ok(events)
}

/// Whether what a row announced may be carried out after its sender has given up or died: a server does it for as
/// long as what it found is as it was expected. Until then the row stays, and whoever writes now decides by the same
/// expectation which of both comes true.
pub(super) fn may_still_land(row: &PushRow) -> bool {
    let announced = row.events.first().map_or(Timestamp::UNIX_EPOCH, |event| event.at);
    Timestamp::now().duration_since(announced) < LATEST
}

/// Writes one plan. Every unit gets an outcome; events are in the journal when this returns.
pub async fn commit(world: &World, remote: &Remote, plan: &Plan) -> Committed {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; plan.units.len()];
    let mut events = Vec::new();
    // One commit for all takes them all.
    let most = if world.settings.git.commit_per == CommitPer::Application { MOST_COMMITS } else { usize::MAX };
    // A chain may end early; what it left goes out in the next push.
    loop {
        let open: Vec<usize> = (0..outcomes.len()).filter(|i| outcomes[*i].is_none()).take(most).collect();
        if open.is_empty() {
            break;
        }
        let part = Plan { units: open.iter().map(|index| plan.units[*index].clone()).collect(), ..plan.clone() };
        let (done, new) = Push { world, remote, plan: &part }.run().await;
        events.extend(new);
        let before = open.len();
        let mut left = 0;
        for (index, outcome) in open.into_iter().zip(done) {
            left += usize::from(outcome.is_none());
            outcomes[index] = outcome;
        }
        if left == before {
            let text = "no commit could be built".to_owned();
            outcomes.iter_mut().for_each(|o| *o = o.take().or(Some(Outcome::Failed("internal", text.clone()))));
        }
    }
    Committed { outcomes: outcomes.into_iter().flatten().collect(), events }
}

struct Push<'a> {
    world: &'a World,
    remote: &'a Remote,
    plan: &'a Plan,
}

/// One try: what every unit gave, and the chain to push.
struct Try {
    outcomes: Vec<Option<Outcome>>,
    /// Index of the unit, its diff and files, for each commit or, with one commit for all, each changed unit.
    changed: Vec<(usize, String, String)>,
    chain: Option<Chain>,
    /// Units whose values an earlier one writes (OWN-6): their index, and that of the earlier one.
    shared: Vec<(usize, usize)>,
    /// What is said of each of `changed`: its own commit's message, or its part of the one for all. All of that in the
    /// events of each would be as much as the square of them.
    messages: Vec<String>,
    /// The advertised old id; `None` creates the branch.
    old: Option<CommitId>,
}

impl Push<'_> {
    /// One outcome per unit; `None` for those that did not fit into the chain.
    async fn run(&self) -> (Vec<Option<Outcome>>, Vec<Event>) {
        let started = Instant::now();
        let mut races = 0u32;
        let mut events = Vec::new();
        loop {
            let attempt = match self.prepare(&mut events).await {
                Ok(attempt) => attempt,
                Err((kind, text)) => return (self.all(Outcome::Failed(kind, text)), events),
            };
            let Some(chain) = &attempt.chain else {
                return (attempt.finish(|_| Outcome::AlreadySo), events);
            };
            if let Err(why) = self.world.gate.check() {
                return (attempt.finish(|_| Outcome::Failed(leader::CLOSED, why.to_owned())), events);
            }
            match self.push(&attempt, chain).await {
                Ok(new) => {
                    events.extend(new);
                    let per_app = self.world.settings.git.commit_per == CommitPer::Application;
                    let ids: Vec<CommitId> =
                        if per_app { chain.ids.clone() } else { vec![chain.tip; attempt.changed.len()] };
                    let mut by_unit: BTreeMap<usize, CommitId> =
                        attempt.changed.iter().zip(ids).map(|((unit, _, _), id)| (*unit, id)).collect();
                    for (unit, earlier) in &attempt.shared {
                        by_unit.get(earlier).copied().and_then(|id| by_unit.insert(*unit, id));
                    }
                    let given = attempt.outcomes.iter().enumerate();
                    let outcomes = given
                        .map(|(unit, known)| {
                            known.clone().or_else(|| by_unit.get(&unit).map(|id| Outcome::Committed(*id)))
                        })
                        .collect();
                    return (outcomes, events);
                }
                Err(PushError::Moved) => {
                    self.world.metrics.push_repeated(self.remote.shown());
                    races += 1;
                    if started.elapsed() > PATIENCE {
                        let text = format!("the branch {} moved {races} times while being written", self.plan.branch);
                        return (attempt.finish(|_| Outcome::Failed("push-contention", text.clone())), events);
                    }
                    if races > AT_ONCE {
                        tokio::time::sleep(Backoff::PUSH.wait(races - AT_ONCE, fastrand::f64())).await;
                    }
                }
                Err(PushError::Refused(text)) => {
                    return (attempt.finish(|_| Outcome::Refused("git-rejected", text.clone())), events);
                }
                // Either it landed (then applying again gives nothing to do) or it is decided anew.
                Err(PushError::Unknown(text)) => {
                    races += 1;
                    if started.elapsed() > PATIENCE {
                        return (attempt.finish(|_| Outcome::Failed("git-unreachable", text.clone())), events);
                    }
                    tokio::time::sleep(Backoff::PUSH.wait(races, fastrand::f64())).await;
                }
                Err(PushError::Failed(error)) => {
                    let text = error.to_string();
                    return (attempt.finish(|_| Outcome::Failed(error.kind(), text.clone())), events);
                }
            }
        }
    }

    fn all(&self, outcome: Outcome) -> Vec<Option<Outcome>> {
        vec![Some(outcome); self.plan.units.len()]
    }

    /// Reads the newest tip, settles what is open on the branch, applies the units and builds the chain.
    async fn prepare(&self, events: &mut Vec<Event>) -> Result<Try, (&'static str, String)> {
        let failed = |e: git::Error| (e.kind(), e.to_string());
        let rows = open_rows(self.world, self.remote, Some(&self.plan.branch)).await?;
        let branches = [self.plan.branch.as_str(), &self.plan.base];
        let (advertised, tip) = self.world.git.newest(self.remote, &branches).await.map_err(failed)?;
        events.extend(settle_rows(self.world, self.remote, &advertised, rows).await?);
        let Some(tip) = tip else {
            let text = format!("{} has no branch {}", self.remote.shown(), self.plan.base);
            return Err(("git-unreachable", text));
        };
        let old = advertised.branches.get(&self.plan.branch).copied();
        self.build(&tip, old).await.map_err(failed)
    }

    /// Applies the units and builds the chain. A unit whose files must not be written drops out alone.
    async fn build(&self, tip: &Tip, old: Option<CommitId>) -> Result<Try, git::Error> {
        let mut refused: BTreeMap<usize, Refusal> = BTreeMap::new();
        loop {
            let (attempt, commits) = self.apply(tip, old, &refused).await;
            if commits.is_empty() {
                return Ok(attempt);
            }
            let files: Vec<(usize, Vec<String>)> =
                commits.iter().map(|(index, files)| (*index, files.iter().map(|f| f.path.clone()).collect())).collect();
            let (commits, messages) = self.messages(commits, &attempt.shared);
            match self.world.git.build(tip, commits).await {
                Ok(chain) => return Ok(self.with_chain(Try { messages, ..attempt }, chain)),
                Err(git::Error::Refused(refusal)) => {
                    let named = files.iter().find(|(_, paths)| paths.contains(&refusal.path)).map(|(index, _)| *index);
                    let Some(index) = named else { return Err(git::Error::Refused(refusal)) };
                    refused.insert(index, refusal);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps of an attempt what the chain holds: it may end before the last commit asked for.
    fn with_chain(&self, mut attempt: Try, chain: Chain) -> Try {
        if self.world.settings.git.commit_per == CommitPer::Application {
            attempt.changed.truncate(chain.ids.len());
        }
        attempt.chain = Some(chain).filter(|chain| !chain.is_empty());
        attempt
    }

    async fn apply(
        &self,
        tip: &Tip,
        old: Option<CommitId>,
        refused: &BTreeMap<usize, Refusal>,
    ) -> (Try, Vec<(usize, Vec<FileChange>)>) {
        let kept: Vec<usize> = (0..self.plan.units.len()).filter(|index| !refused.contains_key(index)).collect();
        let units: Vec<Arc<Unit>> = kept.iter().map(|index| self.plan.units[*index].clone()).collect();
        let tip = tip.clone();
        let applied = match tokio::task::spawn_blocking(move || plan::apply(&units, &tip)).await {
            Ok(applied) => applied,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let mut attempt = Try {
            outcomes: vec![None; self.plan.units.len()],
            changed: Vec::new(),
            shared: Vec::new(),
            messages: Vec::new(),
            chain: None,
            old,
        };
        for (index, refusal) in refused {
            attempt.outcomes[*index] = Some(self.refused(refusal, old));
        }
        let mut commits = Vec::new();
        for (index, applied) in kept.iter().copied().zip(applied) {
            match applied {
                Applied::Shared(earlier) => attempt.shared.push((index, kept[earlier])),
                Applied::AlreadySo => attempt.outcomes[index] = Some(Outcome::AlreadySo),
                Applied::Refused(refusal) => attempt.outcomes[index] = Some(self.refused(&refusal, old)),
                Applied::Changed { files, diff, warnings } => {
                    for warning in warnings {
                        tracing::info!(application = %self.plan.units[index].app.key, "{warning}");
                    }
                    let paths: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
                    attempt.changed.push((index, diff, paths.join(", ")));
                    commits.push((index, files));
                }
            }
        }
        (attempt, commits)
    }

    /// On a push branch that others wrote to, an edit that no longer applies is theirs to resolve (GIT-12).
    fn refused(&self, refusal: &Refusal, old: Option<CommitId>) -> Outcome {
        let foreign = old.is_some() && self.plan.branch != self.plan.base;
        let kind = if foreign && plan::is_theirs(refusal.kind) { "foreign-commits" } else { refusal.kind };
        let place = if refusal.path.is_empty() { String::new() } else { format!("{}: ", refusal.path) };
        Outcome::Refused(kind, format!("{place}{}", refusal.text))
    }

    /// One commit per Application, or one for all (GIT-8).
    /// Beside them what is said of each change.
    fn messages(
        &self,
        changed: Vec<(usize, Vec<FileChange>)>,
        shared: &[(usize, usize)],
    ) -> (Vec<NewCommit>, Vec<String>) {
        let git = &self.world.settings.git;
        let author = Author { name: git.user.clone(), email: git.email.clone() };
        let at = Timestamp::now();
        let unit = |index: usize| &*self.plan.units[index];
        let template = self.world.commit_template();
        let message = |indexes: &[usize]| {
            let sign_off = git.sign_off.then_some((git.user.as_str(), git.email.as_str()));
            let units: Vec<&Unit> = indexes.iter().map(|index| unit(*index)).collect();
            let credited =
                shared.iter().filter(|(_, earlier)| indexes.contains(earlier)).map(|(index, _)| unit(*index));
            message(template.as_deref(), &units, &credited.collect::<Vec<_>>(), sign_off)
        };
        let said: Vec<String> = changed.iter().map(|(index, _)| message(&[*index])).collect();
        if git.commit_per == CommitPer::Application {
            let commits = changed.into_iter().zip(&said).map(|((_, changes), message)| NewCommit {
                changes,
                message: message.clone(),
                author: author.clone(),
                at,
            });
            return (commits.collect(), said);
        }
        let indexes: Vec<usize> = changed.iter().map(|(index, _)| *index).collect();
        let message = message(&indexes);
        let mut changes: BTreeMap<String, FileChange> = BTreeMap::new();
        for file in changed.into_iter().flat_map(|(_, files)| files) {
            // A later unit on the same file saw what the earlier one wrote: one change from the first to the last.
            match changes.entry(file.path.clone()) {
                Entry::Occupied(mut known) => known.get_mut().after = file.after,
                Entry::Vacant(free) => drop(free.insert(file)),
            }
        }
        let changes = changes.into_values().collect();
        (vec![NewCommit { changes, message, author, at }], said)
    }

    /// Announces the push, pushes, and settles what is known of it.
    async fn push(&self, attempt: &Try, chain: &Chain) -> Result<Vec<Event>, PushError> {
        let row = self.row(attempt, chain);
        let internal = |e: crate::adapters::store::Error| {
            PushError::Failed(git::Error::Mirror {
                remote: self.remote.shown().to_owned(),
                text: format!("the push could not be announced: {e}"),
            })
        };
        if let Some(store) = &self.world.store {
            store.open_push(row.clone()).await.map_err(internal)?;
        }
        let started = Instant::now();
        let pushed = self.world.git.push(self.remote, &self.plan.branch, attempt.old, chain).await;
        self.world.metrics.git("push", self.remote.shown(), started.elapsed());
        let Some(store) = &self.world.store else { return pushed.map(|()| row.events) };
        match pushed {
            Ok(()) => {
                let events = store.settle_push(&row.id, true).await.map_err(|e| PushError::Unknown(e.to_string()))?;
                tracing::info!(
                    remote = self.remote.shown(),
                    branch = self.plan.branch,
                    commit = %chain.tip,
                    applications = attempt.changed.len(),
                    "pushed"
                );
                Ok(events)
            }
            // What the next look at the branch finds decides: the one that moved it may have been this very chain, sent
            // by a process that died within the second.
            Err(open @ (PushError::Unknown(_) | PushError::Moved)) => Err(open),
            Err(known) => {
                // Nothing moved: the row goes, the events never become true.
                store.settle_push(&row.id, false).await.map_err(internal)?;
                Err(known)
            }
        }
    }

    fn row(&self, attempt: &Try, chain: &Chain) -> PushRow {
        let per_app = self.world.settings.git.commit_per == CommitPer::Application;
        let at = Timestamp::now();
        let mut events = Vec::new();
        for (n, (index, diff, file)) in attempt.changed.iter().enumerate() {
            let commit = if per_app { chain.ids.get(n).copied().unwrap_or(chain.tip) } else { chain.tip };
            let message = attempt.messages.get(n);
            let place = Place {
                method: "git".to_owned(),
                repository: self.remote.shown().to_owned(),
                branch: self.plan.branch.clone(),
                commit: commit.to_string(),
                file: file.clone(),
                message: message.cloned().unwrap_or_default(),
                diff: diff.clone(),
            };
            let credited = attempt.shared.iter().filter(|(_, earlier)| earlier == index).map(|(unit, _)| unit);
            for unit in std::iter::once(index).chain(credited).map(|index| &self.plan.units[*index]) {
                let owner = self.world.owner_of(&unit.app);
                events.extend(unit.changes.iter().map(|change| Event {
                    owner: owner.clone(),
                    ..report::committed(&unit.app, change, &unit.changes, place.clone(), at)
                }));
            }
        }
        PushRow {
            id: format!("{}#{}#{}", self.remote.identity(), self.plan.branch, chain.tip),
            remote: self.remote.identity().to_owned(),
            branch: self.plan.branch.clone(),
            old: attempt.old.map(|id| id.to_string()).unwrap_or_default(),
            new: chain.tip.to_string(),
            note: String::new(),
            events,
        }
    }
}

/// The whole text of a commit: one Application's by the template, several ones' joined, then the trailers, also of
/// those that are credited with what the others write (OWN-6).
pub fn message(
    template: Option<&Template>,
    units: &[&Unit],
    credited: &[&Unit],
    sign_off: Option<(&str, &str)>,
) -> String {
    let mut text = String::new();
    let mut trailers = Trailers::default();
    for unit in units {
        let message = CommitMessage { app: &unit.app.key, changes: &unit.changes };
        if !text.is_empty() {
            text.push('\n');
        }
        match template {
            Some(template) => {
                let (rendered, problem) = message.text(template);
                if let Some(problem) = problem {
                    tracing::warn!(app = %unit.app.key, "{problem}");
                }
                text.push_str(&rendered);
            }
            None => text.push_str(&message.default_text()),
        }
        trailers = trailers.application(&unit.app.key, &unit.changes);
    }
    for unit in credited {
        trailers = trailers.application(&unit.app.key, &unit.changes);
    }
    if let Some((user, email)) = sign_off {
        trailers = trailers.sign_off(user, email);
    }
    trailers.after(&text)
}

impl Try {
    fn finish(&self, open: impl Fn(usize) -> Outcome) -> Vec<Option<Outcome>> {
        let filled = self.outcomes.iter().enumerate();
        filled.map(|(index, outcome)| Some(outcome.clone().unwrap_or_else(|| open(index)))).collect()
    }
}
