//! One round: walk A's first half as one plain function, so that `run`, `--once`, `plan` and `explain` call the same
//! one. Settings → registries and Git tips, each once → survey → plans (image-updates.md CYC-5). Whoever writes takes it
//! in parts: what registries answer late keeps nobody waiting for long.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::credentials;
use super::labels;
use super::parents;
use super::poller::{Answer, Extent, Turn};
use super::world::World;
use crate::adapters::git::Remote;
use crate::config::annotations;
use crate::core::application::Application;
use crate::core::application::source::normalise_repo_url;
use crate::core::problem::Problem;
use crate::core::update::AppSettings;
use crate::core::update::parent::Parent;
use crate::core::update::plan::{Plan, Unit};
use crate::core::update::survey::{Inputs, Remotes, Routed, Survey, Trouble, Want, survey};

mod after;
mod images;
mod remotes;

use after::{collide, hold_back};
use images::Polls;
use remotes::{Asked, ByKey, RemoteKey};

/// A survey is completed at most this often; each time something more is at hand.
const PASSES: usize = 4;

/// One Application of a round.
pub struct Looked {
    /// The Application.
    pub app: Arc<Application>,
    /// What its annotations say.
    pub settings: Arc<AppSettings>,
    /// What was found and decided.
    pub survey: Survey,
}

/// A plan and the remote it goes to.
pub struct Planned {
    /// The remote.
    pub remote: Remote,
    /// The plan.
    pub plan: Plan,
}

/// What a round found.
#[derive(Default)]
pub struct Round {
    /// Every governed Application.
    pub looked: Vec<Looked>,
    /// One per (remote, credentials, branch), ordered.
    pub plans: Vec<Planned>,
    /// Every remote that was asked.
    pub remotes: Vec<Remote>,
    /// Problems by Application.
    pub problems: BTreeMap<String, Vec<Problem>>,
}

/// An Application that this half looks at, and what its annotations say.
pub(super) type Governed = (Arc<Application>, Arc<AppSettings>);

/// Looks at these Applications once, in a round of their own.
pub async fn look(world: &World, apps: &[Arc<Application>]) -> Round {
    look_in(world, apps, &Turn::default()).await
}

/// The same, with a verdict about every tag; for faces, because it holds every name of every listing.
pub async fn explain(world: &World, apps: &[Arc<Application>]) -> Round {
    look_in(world, apps, &Turn { extent: Extent::Everything, ..Turn::default() }).await
}

async fn look_in(world: &World, apps: &[Arc<Application>], turn: &Turn) -> Round {
    Looking::begin(world, apps, turn).part(None).await.unwrap_or_default()
}

/// A round in parts.
pub struct Looking {
    world: World,
    governed: Vec<Governed>,
    /// Positions of those whose part is still to come.
    open: BTreeSet<usize>,
    /// What is wrong with annotations, by Application, until its part comes.
    problems: BTreeMap<String, Vec<Problem>>,
    polls: Polls,
    begun: bool,
}

/// What is known of one Application when its images' answers are at hand.
struct Known {
    remotes: BTreeMap<String, Result<RemoteKey, Trouble>>,
    parent: Option<Parent>,
}

impl Looking {
    /// Begins to ask for these Applications in one of several remotes' rounds. Dropped, it asks no further.
    pub fn begin(world: &World, apps: &[Arc<Application>], turn: &Turn) -> Looking {
        // One Secret is read once a round, however many Applications and images name it.
        let world = World { secrets: world.secrets.remembering(), ..world.clone() };
        let (mut governed, mut problems) = (Vec::new(), BTreeMap::new());
        // Whoever asks: only what this half governs is looked at (TEN-1).
        for app in apps.iter().filter(|app| world.governs(app)) {
            let (settings, wrong) = annotations::settings_with(app, &world.settings.defaults);
            if !wrong.is_empty() {
                problems.insert(app.key.to_string(), wrong);
            }
            governed.extend(settings.map(|settings| (app.clone(), Arc::new(settings))));
        }
        let polls = Polls::start(world.clone(), turn.clone(), governed.clone());
        let open = (0..governed.len()).collect();
        Looking { world, governed, open, problems, polls, begun: false }
    }

    /// What is decided about all Applications whose registries have answered when the last one has, or when the window
    /// is over and at least one has; the others come with a later part. `None` after the last part.
    pub async fn part(&mut self, window: Option<Duration>) -> Option<Round> {
        let (answered, (mut known, by_key)) = if std::mem::replace(&mut self.begun, true) {
            let answered = self.polls.take(window).await;
            if answered.is_empty() {
                return None;
            }
            let which = answered.iter().map(|(index, _)| *index).collect();
            let seen = see(&self.world, &self.governed, which).await;
            (answered, seen)
        } else {
            let seen = see(&self.world, &self.governed, (0..self.governed.len()).collect());
            tokio::join!(self.polls.take(window), seen)
        };
        // What nothing can be decided about is told with the first part.
        let mut problems = std::mem::take(&mut self.problems);
        let mut inputs = Vec::new();
        for (index, candidates) in answered {
            let Some(Known { remotes, parent }) = known.remove(&index) else { continue };
            let (app, settings) = self.governed[index].clone();
            self.open.remove(&index);
            inputs.push(Input { app, settings, candidates, remotes, parent, holds: parents::Holds::default() });
        }
        for index in &self.open {
            let key = self.governed[*index].0.key.to_string();
            self.problems.extend(problems.remove_entry(&key));
        }
        parents::put_back(&self.world, &mut inputs).await;
        Some(decide(&self.world, inputs, by_key, problems).await)
    }
}

/// The remotes and parents of these Applications.
async fn see(world: &World, all: &[Governed], which: Vec<usize>) -> (BTreeMap<usize, Known>, ByKey) {
    let governed: Vec<Governed> = which.iter().map(|index| all[*index].clone()).collect();
    let (Asked { by_app, by_key }, parents) =
        tokio::join!(remotes::ask(world, &governed), parents::find(world, &governed));
    let each = by_app.into_iter().zip(parents).map(|(remotes, parent)| Known { remotes, parent });
    (which.into_iter().zip(each).collect(), by_key)
}

async fn decide(world: &World, inputs: Vec<Input>, by_key: ByKey, problems: BTreeMap<String, Vec<Problem>>) -> Round {
    let mut round = Round { problems, ..Round::default() };
    // Every pass reads them elsewhere, and none needs a copy: listings are what a round holds most of.
    let mut inputs: Vec<Arc<Input>> = inputs.into_iter().map(Arc::new).collect();
    let mut views = Views { by_key };
    let mut surveys: Vec<Option<Survey>> = inputs.iter().map(|_| None).collect();
    for pass in 0..PASSES {
        let open: Vec<usize> = (0..inputs.len()).filter(|i| pass == 0 || is_open(&surveys[*i])).collect();
        if open.is_empty() {
            break;
        }
        if pass > 0 {
            complete(world, &mut inputs, &mut views, &surveys, &open).await;
        }
        for (index, done) in survey_all(world, &inputs, &views, open).await {
            surveys[index] = Some(done);
        }
    }
    hold_back(world, &mut inputs, &views, &mut surveys).await;
    if world.commit_template().is_some_and(|template| template.reads("Labels")) {
        let found = labels::look_up(world, &inputs, &surveys).await;
        let without = found.withhold(&mut inputs, &surveys);
        for (index, done) in survey_all(world, &inputs, &views, without).await {
            surveys[index] = Some(done);
        }
        found.give(&inputs, &mut surveys);
    }
    collide(world, &inputs, &mut surveys);
    let mut places = HashMap::new();
    for (input, survey) in inputs.into_iter().zip(surveys) {
        let Some(mut survey) = survey else { continue };
        let desired = survey.images.iter().map(|image| image.desired.as_ref()?.tag.clone());
        world.polls.desires(&input.app.key, desired.collect());
        round.plan(std::mem::take(&mut survey.units), &input, &views, &mut places, world.settings.refuse_digest_only);
        if !survey.problems.is_empty() {
            round.problems.entry(input.app.key.to_string()).or_default().extend(survey.problems.clone());
        }
        round.looked.push(Looked { app: input.app.clone(), settings: input.settings.clone(), survey });
    }
    round.remotes = views.by_key.into_values().map(|(remote, _)| remote).collect();
    round.plans.sort_by(|a, b| {
        (a.remote.identity(), &a.plan.branch, &a.plan.base).cmp(&(b.remote.identity(), &b.plan.branch, &b.plan.base))
    });
    for planned in &mut round.plans {
        planned.plan.units.sort_by(|a, b| (&a.app.key, &a.target).cmp(&(&b.app.key, &b.target)));
    }
    round
}

/// What one Application's survey is made from.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) app: Arc<Application>,
    pub(super) settings: Arc<AppSettings>,
    pub(super) candidates: Vec<Answer>,
    /// By normalised URL: which remote, or why none.
    pub(super) remotes: BTreeMap<String, Result<RemoteKey, Trouble>>,
    /// Who manages the Application (ARG-8).
    pub(super) parent: Option<Parent>,
    /// What that parent put back, and what it may have again.
    pub(super) holds: parents::Holds,
}

fn is_open(survey: &Option<Survey>) -> bool {
    survey.as_ref().is_some_and(|survey| !survey.wants.is_empty())
}

/// Where a plan stands in the list: remote, branch, base.
type Places = HashMap<(RemoteKey, String, String), usize>;

impl Round {
    /// Leaves out everything about Applications that are not to be kept.
    pub fn keep(&mut self, wanted: impl Fn(&Application) -> bool) {
        self.looked.retain(|looked| wanted(&looked.app));
        for planned in &mut self.plans {
            planned.plan.units.retain(|unit| wanted(&unit.app));
        }
        self.plans.retain(|planned| !planned.plan.units.is_empty());
    }

    fn plan(
        &mut self,
        units: Vec<Routed>,
        input: &Input,
        views: &Views,
        places: &mut Places,
        refuse_digest_only: bool,
    ) {
        for routed in units {
            if let Some(problem) = digest_only(&routed.unit).filter(|_| refuse_digest_only) {
                self.problems.entry(input.app.key.to_string()).or_default().push(problem.in_object(input.app.label()));
                continue;
            }
            let Some(Ok(key)) = input.remotes.get(&normalise_repo_url(&routed.repo_url)) else { continue };
            let Some((remote, _)) = views.by_key.get(key) else { continue };
            let place = (key.clone(), routed.branch.clone(), routed.base.clone());
            let at = *places.entry(place).or_insert_with(|| {
                let plan = Plan {
                    repo_url: routed.repo_url.clone(),
                    branch: routed.branch.clone(),
                    base: routed.base.clone(),
                    units: Vec::new(),
                };
                self.plans.push(Planned { remote: remote.clone(), plan });
                self.plans.len() - 1
            });
            self.plans[at].plan.units.push(Arc::new(routed.unit));
        }
    }
}

/// A digest without tag among what would be written (REF-9).
fn digest_only(unit: &Unit) -> Option<Problem> {
    let edit = unit.edits.iter().find(|edit| edit.value.is_digest_only())?;
    let text = format!("{} has a digest and no tag; nothing is written beside it", edit.value.full_reference());
    Some(
        Problem::error("digest-without-tag", text).hint("give it a tag, or start with --compat-digest-only-tag=latest"),
    )
}

struct Views {
    by_key: ByKey,
}

impl Views {
    /// The remotes of one Application, by normalised URL.
    fn of(&self, input: &Input) -> Remotes {
        let each = input.remotes.iter().map(|(url, key)| {
            let view = match key {
                Ok(key) => self.by_key[key].1.clone(),
                Err(trouble) => Err(trouble.clone()),
            };
            (url.clone(), view)
        });
        each.collect()
    }
}

/// Surveys read files of a mirror, which is disk work.
async fn survey_all(world: &World, inputs: &[Arc<Input>], views: &Views, which: Vec<usize>) -> Vec<(usize, Survey)> {
    let settings = world.settings.clone();
    let offline = world.offline() && world.cluster.is_none();
    let work: Vec<(usize, Arc<Input>, Remotes)> =
        which.into_iter().map(|i| (i, inputs[i].clone(), views.of(&inputs[i]))).collect();
    let surveyed = tokio::task::spawn_blocking(move || {
        let one = |(index, input, remotes): (usize, Arc<Input>, Remotes)| {
            let inputs = Inputs {
                app: &input.app,
                settings: &input.settings,
                remotes: &remotes,
                candidates: &input.candidates,
                argocd_namespace: &settings.argocd_namespace,
                offline,
                allow_downgrade: settings.allow_downgrade,
                parent: input.parent.as_ref(),
                reverted: &input.holds.held,
            };
            (index, survey(&inputs))
        };
        work.into_iter().map(one).collect::<Vec<_>>()
    });
    match surveyed.await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Looks up what open surveys said is missing.
async fn complete(
    world: &World,
    inputs: &mut [Arc<Input>],
    views: &mut Views,
    surveys: &[Option<Survey>],
    open: &[usize],
) {
    for index in open {
        let wants = surveys[*index].as_ref().map(|survey| survey.wants.clone()).unwrap_or_default();
        for want in wants {
            match want {
                Want::Digest(image, tag) => digest(world, Arc::make_mut(&mut inputs[*index]), image, &tag).await,
                Want::Branch(remote, branch) => {
                    let Some(Ok(key)) = inputs[*index].remotes.get(&remote).cloned() else { continue };
                    remotes::load_branch(world, &mut views.by_key, &key, &branch).await;
                }
            }
        }
    }
}

async fn digest(world: &World, input: &mut Input, image: usize, tag: &str) {
    let tracked = input.settings.images[image].clone();
    let endpoint = world.registries.endpoint_of(&tracked.image);
    let repository = world.registries.repository_of(&tracked.image);
    let form = tracked.pull_secret.as_deref();
    let credential = credentials::for_registry(world, &input.app, &tracked.image, form).await;
    let found = match &credential {
        Ok(credential) => {
            let asked = world.registries.digest(&endpoint, &repository, tag, credential.as_ref().into()).await;
            asked.map_err(|e| Trouble { kind: e.kind(), text: e.to_string() })
        }
        Err(trouble) => Err(trouble.clone()),
    };
    match found {
        Ok(digest) => {
            let candidates = input.candidates[image].iter_mut().flatten();
            candidates.filter(|c| c.tag == tag).for_each(|c| c.digest = Some(digest.clone()));
        }
        Err(trouble) => input.candidates[image] = Err(trouble),
    }
}
