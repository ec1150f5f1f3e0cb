//! One round: walk A's first half as one plain function, so that `run`, `--once`, `plan` and `explain` call the same
//! one. Settings → registries and Git tips, each once → survey → plans (image-updates.md CYC-5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures::{FutureExt, StreamExt};

use super::credentials;
use super::labels;
use super::parents;
use super::poller::{self, Answer, Ask, Extent, Turn};
use super::world::World;
use crate::adapters::git::Remote;
use crate::config::annotations;
use crate::core::application::Application;
use crate::core::application::source::normalise_repo_url;
use crate::core::image::ImageRef;
use crate::core::problem::Problem;
use crate::core::update::parent::Parent;
use crate::core::update::plan::{Plan, Unit};
use crate::core::update::survey::{Inputs, RemoteView, Remotes, SharedTree, Survey, Trouble, Want, survey};
use crate::core::update::{AppSettings, Method};

mod after;

use after::{collide, hold_back};

/// Remotes asked at the same time.
const AT_ONCE: usize = 8;

/// A survey is completed at most this often; each time something more is at hand.
const PASSES: usize = 4;

/// One Application of a round.
pub struct Looked {
    /// The Application.
    pub app: Arc<Application>,
    /// What its annotations say.
    pub settings: AppSettings,
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

/// A remote as one credential sees it.
type RemoteKey = (String, String);

/// Looks at these Applications once, in a round of their own.
pub async fn look(world: &World, apps: &[Arc<Application>]) -> Round {
    look_in(world, apps, &Turn::default()).await
}

/// The same, with a verdict about every tag; for faces, because it holds every name of every listing.
pub async fn explain(world: &World, apps: &[Arc<Application>]) -> Round {
    look_in(world, apps, &Turn { extent: Extent::Everything, ..Turn::default() }).await
}

/// Looks at these Applications in one of several remotes' rounds.
pub async fn look_in(world: &World, apps: &[Arc<Application>], turn: &Turn) -> Round {
    // One Secret is read once a round, however many Applications and images name it.
    let world = &World { secrets: world.secrets.remembering(), ..world.clone() };
    let mut round = Round::default();
    let mut governed = Vec::new();
    // Whoever asks: only what this half governs is looked at (TEN-1).
    for app in apps.iter().filter(|app| world.governs(app)) {
        let (settings, problems) = annotations::settings_with(app, &world.settings.defaults);
        if !problems.is_empty() {
            round.problems.insert(app.key.to_string(), problems);
        }
        governed.extend(settings.map(|settings| (app.clone(), settings)));
    }
    let (answers, remotes, parents) = tokio::join!(
        ask_registries(world, turn, &governed),
        ask_remotes(world, &governed),
        parents::find(world, &governed)
    );
    let holds = parents::put_back(world, &governed, &parents).await;
    let Asked { by_app, by_key } = remotes;
    let mut inputs: Vec<Input> = governed
        .into_iter()
        .zip(answers)
        .zip(by_app)
        .zip(parents.into_iter().zip(holds))
        .map(|((((app, settings), candidates), remotes), (parent, holds))| Input {
            app,
            settings,
            candidates,
            remotes,
            parent,
            holds,
        })
        .collect();
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
        let Some(survey) = survey else { continue };
        round.plan(&survey, &input, &views, &mut places, world.settings.refuse_digest_only);
        if !survey.problems.is_empty() {
            round.problems.entry(input.app.key.to_string()).or_default().extend(survey.problems.clone());
        }
        round.looked.push(Looked { app: input.app, settings: input.settings, survey });
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
    pub(super) settings: AppSettings,
    pub(super) candidates: Vec<Answer>,
    /// By normalised URL: which remote, or why none.
    remotes: BTreeMap<String, Result<RemoteKey, Trouble>>,
    /// Who manages the Application (ARG-8).
    parent: Option<Parent>,
    /// What that parent put back, and what it may have again.
    holds: parents::Holds,
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

    fn plan(&mut self, survey: &Survey, input: &Input, views: &Views, places: &mut Places, refuse_digest_only: bool) {
        for routed in &survey.units {
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
            self.plans[at].plan.units.push(routed.unit.clone());
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

/// All images of all Applications, asked together.
async fn ask_registries(world: &World, turn: &Turn, governed: &[(Arc<Application>, AppSettings)]) -> Vec<Vec<Answer>> {
    let mut asks = Vec::new();
    let mut asked_for: Vec<(&Application, Option<&str>)> = Vec::new();
    let mut places: Vec<Vec<Result<usize, Trouble>>> = Vec::new();
    // One credential serves the round, however many images use it.
    let mut known = BTreeMap::new();
    for (app, settings) in governed {
        let mut own = Vec::new();
        for tracked in &settings.images {
            if let Some(problem) = &tracked.unusable {
                own.push(Err(Trouble { kind: problem.code, text: problem.to_string() }));
                continue;
            }
            let form = tracked.pull_secret.as_deref();
            let key = (app.key.namespace.clone(), form, tracked.repository());
            if !known.contains_key(&key) {
                let found = credentials::for_registry(world, app, &tracked.image, form).await;
                known.insert(key.clone(), found);
            }
            own.push(match &known[&key] {
                Ok(credential) => {
                    let in_use = in_use(app, &tracked.image);
                    let (image, selection) = (tracked.image.clone(), tracked.selection.clone());
                    asks.push(Ask { image, selection, credential: credential.clone(), in_use });
                    asked_for.push((app, form));
                    Ok(asks.len() - 1)
                }
                Err(trouble) => Err(trouble.clone()),
            });
        }
        places.push(own);
    }
    let mut answers = poller::ask(world, turn, &asks).await;
    ask_with_new_credentials(world, turn, &asks, &asked_for, &mut answers).await;
    let take = |place: Result<usize, Trouble>| place.and_then(|index| answers[index].clone());
    places.into_iter().map(|own| own.into_iter().map(take).collect()).collect()
}

/// Where access was denied, the credential is read anew; if it has changed meanwhile, the question is asked once more
/// (REG-13). The same one would be denied again: a token of it was renewed already.
async fn ask_with_new_credentials(
    world: &World,
    turn: &Turn,
    asks: &[Ask],
    asked_for: &[(&Application, Option<&str>)],
    answers: &mut [Answer],
) {
    let afresh = World { secrets: world.secrets.afresh().remembering(), ..world.clone() };
    let (mut again, mut places) = (Vec::new(), Vec::new());
    for (index, ask) in asks.iter().enumerate() {
        let denied = answers[index].as_ref().is_err_and(|trouble| trouble.kind == "registry-auth");
        let Some(used) = ask.credential.as_ref().filter(|_| denied) else { continue };
        let (app, form) = asked_for[index];
        let found = credentials::for_registry(&afresh, app, &ask.image, form).await;
        if let Ok(Some(new)) = found
            && new != *used
        {
            again.push(Ask { credential: Some(new), ..ask.clone() });
            places.push(index);
        }
    }
    if again.is_empty() {
        return;
    }
    let given = poller::ask(world, turn, &again).await;
    places.into_iter().zip(given).for_each(|(place, answer)| answers[place] = answer);
}

fn in_use(app: &Application, image: &ImageRef) -> Option<String> {
    let live = app.status.images.iter().filter_map(|text| ImageRef::parse_reference(text).ok());
    live.filter(|live| live.canonical() == image.canonical()).find_map(|live| live.tag)
}

struct Asked {
    by_app: Vec<BTreeMap<String, Result<RemoteKey, Trouble>>>,
    by_key: ByKey,
}

/// Remotes and what was seen of them; all Applications of a remote share one view.
type ByKey = BTreeMap<RemoteKey, (Remote, Result<Arc<RemoteView>, Trouble>)>;

/// Every remote that an Application's sources or its `git-repository` name: one ref advertisement each, and the tips of
/// the branches that are read.
async fn ask_remotes(world: &World, governed: &[(Arc<Application>, AppSettings)]) -> Asked {
    let mut by_app = Vec::new();
    let mut known: HashMap<_, Result<Remote, Trouble>> = HashMap::new();
    let mut remotes: BTreeMap<RemoteKey, (Remote, BTreeSet<String>)> = BTreeMap::new();
    for (app, settings) in governed {
        let mut own = BTreeMap::new();
        let detect = world.offline() && app.status.source_types.is_empty();
        if matches!(settings.method, Method::Git(_)) || detect {
            for (url, revision) in repositories(app, settings) {
                let identity = normalise_repo_url(&url);
                if !own.contains_key(&identity) {
                    // All that a remote depends on. Its credentials are looked for among all Secrets, so not for each
                    // Application anew.
                    let of_app = app.sources.iter().any(|source| normalise_repo_url(&source.repo_url) == identity);
                    let (namespace, project) = (app.key.namespace.clone(), app.project.clone());
                    let asked = (namespace, project, settings.method.clone(), of_app, url.clone());
                    if !known.contains_key(&asked) {
                        let found = credentials::for_git(world, app, settings, &url).await;
                        known.insert(asked.clone(), found);
                    }
                    let key = known[&asked].clone().map(|remote| {
                        let key = (remote.identity().to_owned(), remote.credentials().name.clone());
                        remotes.entry(key.clone()).or_insert_with(|| (remote, BTreeSet::new()));
                        key
                    });
                    own.insert(identity.clone(), key);
                }
                if let Some(Ok(key)) = own.get(&identity)
                    && let Some((_, revisions)) = remotes.get_mut(key)
                {
                    revisions.insert(revision);
                }
            }
        }
        by_app.push(own);
    }
    let asked = futures::stream::iter(remotes)
        .map(|(key, (remote, revisions))| {
            async move {
                let view = view(world, &remote, &revisions).await;
                (key, (remote, view.map(Arc::new)))
            }
            .boxed()
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    Asked { by_app, by_key: asked.into_iter().collect() }
}

/// Repositories and the revisions of them that are read.
fn repositories(app: &Application, settings: &AppSettings) -> Vec<(String, String)> {
    let base = settings.git_branch.as_ref().and_then(|setting| setting.base.clone());
    let sources = app.sources.iter().filter(|source| source.chart.is_none() && !source.repo_url.starts_with("oci://"));
    let mut found: Vec<(String, String)> =
        sources.map(|source| (source.repo_url.clone(), source.target_revision.clone())).collect();
    let revisions: Vec<String> =
        app.sources.iter().filter(|source| source.chart.is_none()).map(|s| s.target_revision.clone()).collect();
    if let Some(base) = &base {
        found.extend(app.sources.iter().filter(|s| s.chart.is_none()).map(|s| (s.repo_url.clone(), base.clone())));
    }
    if let Some(repository) = &settings.git_repository {
        match base {
            Some(base) => found.push((repository.clone(), base)),
            None if revisions.is_empty() => found.push((repository.clone(), String::new())),
            None => found.extend(revisions.into_iter().map(|revision| (repository.clone(), revision))),
        }
    }
    found
}

async fn view(world: &World, remote: &Remote, revisions: &BTreeSet<String>) -> Result<RemoteView, Trouble> {
    let trouble = |e: crate::adapters::git::Error| Trouble { kind: e.kind(), text: e.to_string() };
    let started = Instant::now();
    let advertised = world.git.advertise(remote).await.map_err(trouble)?;
    world.metrics.git("advertise", remote.shown(), started.elapsed());
    let mut view = RemoteView {
        default: advertised.default.clone(),
        branches: advertised.branches.keys().cloned().collect(),
        trees: BTreeMap::new(),
    };
    for revision in revisions {
        // What is no branch is refused where it is needed, with the image it concerns.
        let Ok(branch) = view.branch_of(revision) else { continue };
        if view.trees.contains_key(&branch) {
            continue;
        }
        if let Some(id) = advertised.branches.get(&branch) {
            let started = Instant::now();
            let tip = world.git.tip(remote, &branch, *id).await.map_err(trouble)?;
            world.metrics.git("fetch", remote.shown(), started.elapsed());
            view.trees.insert(branch, Arc::new(tip) as SharedTree);
        }
    }
    Ok(view)
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
async fn survey_all(world: &World, inputs: &[Input], views: &Views, which: Vec<usize>) -> Vec<(usize, Survey)> {
    let settings = world.settings.clone();
    let offline = world.offline() && world.cluster.is_none();
    let work: Vec<(usize, Input, Remotes)> =
        which.into_iter().map(|i| (i, inputs[i].clone(), views.of(&inputs[i]))).collect();
    let surveyed = tokio::task::spawn_blocking(move || {
        let one = |(index, input, remotes): (usize, Input, Remotes)| {
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
async fn complete(world: &World, inputs: &mut [Input], views: &mut Views, surveys: &[Option<Survey>], open: &[usize]) {
    for index in open {
        let wants = surveys[*index].as_ref().map(|survey| survey.wants.clone()).unwrap_or_default();
        for want in wants {
            match want {
                Want::Digest(image, tag) => digest(world, &mut inputs[*index], image, &tag).await,
                Want::Branch(remote, branch) => {
                    let Some(Ok(key)) = inputs[*index].remotes.get(&remote).cloned() else { continue };
                    load_branch(world, views, &key, &branch).await;
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

async fn load_branch(world: &World, views: &mut Views, key: &RemoteKey, branch: &str) {
    let Some((remote, Ok(view))) = views.by_key.get_mut(key) else { return };
    if view.trees.contains_key(branch) {
        return;
    }
    let (remote, view) = (remote.clone(), Arc::make_mut(view));
    let loaded = async {
        let advertised = world.git.advertise(&remote).await?;
        match advertised.branches.get(branch) {
            Some(id) => world.git.tip(&remote, branch, *id).await.map(Some),
            None => Ok(None),
        }
    };
    match loaded.await {
        Ok(Some(tip)) => {
            view.trees.insert(branch.to_owned(), Arc::new(tip));
        }
        // Gone meanwhile: it will be created from the base.
        Ok(None) => {
            view.branches.remove(branch);
        }
        Err(error) => {
            let trouble = Trouble { kind: error.kind(), text: error.to_string() };
            views.by_key.insert(key.clone(), (remote, Err(trouble)));
        }
    }
}
