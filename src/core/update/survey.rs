//! Survey: everything about one Application's images at one moment: where each is written, what stands there, what is
//! wanted, and the units of change that follow (image-updates.md §8, §12, §14). Called again with more input where it
//! says that something is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::claims::Claim;
use super::decision::{self, Change, Decision, Facts, Reverted, State, decide};
use super::parent::Parent;
use super::plan::{self, Unit};
use super::tracked::{AppSettings, Discover, Method, TrackedImage};
use crate::core::application::source::{self, Request, Route, normalise_repo_url};
use crate::core::application::{Application, SourceType};
use crate::core::image::{Candidate, Choice, ImageRef};
use crate::core::problem::Problem;
use crate::core::writeback::{self, Desired, Patch, Refusal, Target, Tree};

mod notes;
mod units;

use notes::{claims, ineffective, parent_problems, standing_problems};
use units::{parameters, push_branches, units};

/// A tree that a round may hold on to.
pub type SharedTree = Arc<dyn Tree + Send + Sync>;

/// Something needed does not work: a stable kind of §22 and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Kind.
    pub kind: &'static str,
    /// For people.
    pub text: String,
}

/// One Git remote as a round sees it.
#[derive(Clone, Default)]
pub struct RemoteView {
    /// The default branch.
    pub default: Option<String>,
    /// The branches it advertises.
    pub branches: BTreeSet<String>,
    /// The branches whose files are at hand.
    pub trees: BTreeMap<String, SharedTree>,
}

/// Remotes by normalised URL.
pub type Remotes = BTreeMap<String, Result<Arc<RemoteView>, Trouble>>;

impl RemoteView {
    /// The branch that a `targetRevision` means.
    pub fn branch_of(&self, revision: &str) -> Result<String, Refusal> {
        let revision = revision.strip_prefix("refs/heads/").unwrap_or(revision);
        if revision.is_empty() || revision == "HEAD" {
            return self.default.clone().ok_or_else(|| {
                Refusal::new("revision-not-a-branch", "the repository has no default branch").hint("set git-branch")
            });
        }
        if self.branches.contains(revision) {
            return Ok(revision.to_owned());
        }
        let text = format!("targetRevision {revision} is no branch of the repository");
        Err(Refusal::new("revision-not-a-branch", text).hint("set git-branch to the branch to write to"))
    }
}

/// What a survey is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The Application.
    pub app: &'a Arc<Application>,
    /// What its annotations say.
    pub settings: &'a AppSettings,
    /// The remotes its sources and `git-repository` name.
    pub remotes: &'a Remotes,
    /// One per image of the settings.
    pub candidates: &'a [Result<Vec<Candidate>, Trouble>],
    /// Argo CD's namespace: it decides the name of override files (§14).
    pub argocd_namespace: &'a str,
    /// No cluster: manifests only.
    pub offline: bool,
    /// `--allow-downgrade`.
    pub allow_downgrade: bool,
    /// Who manages the Application, if anybody does (ARG-8).
    pub parent: Option<&'a Parent>,
    /// Values that this parent put back, by the position of their image.
    pub reverted: &'a BTreeMap<usize, Reverted>,
}

/// Where an image is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The repository as written; empty for method `argocd`.
    pub repo_url: String,
    /// The branch that is read.
    pub base: String,
    /// The branch that is pushed; equal to `base` until a change is due.
    pub branch: String,
    /// The file.
    pub file: String,
    /// The source's path.
    pub path: String,
}

/// What was found and decided about one image.
#[derive(Clone, Debug)]
pub struct ImageReport {
    /// The image as configured.
    pub image: Arc<TrackedImage>,
    /// Its state.
    pub state: State,
    /// What its place holds.
    pub desired: Option<Desired>,
    /// Live entries it was compared with.
    pub live: Vec<ImageRef>,
    /// Where it is written.
    pub destination: Option<Destination>,
    /// What the selection chose, and why not the others.
    pub choice: Option<Choice>,
    /// The decision, if it came so far.
    pub decision: Option<Decision>,
    /// Why it did not.
    pub trouble: Option<Trouble>,
    /// Its place holds the candidate, and what runs is not it because nobody reads that place (ROUTE-8).
    pub ineffective: Option<String>,
}

impl ImageReport {
    /// How many of the tags that it may take rank above the one in use.
    pub fn behind(&self) -> usize {
        let (Some(choice), Some(decision)) = (&self.choice, &self.decision) else { return 0 };
        let tag = decision.old.split('@').next().unwrap_or_default();
        if tag.is_empty() {
            return 0;
        }
        let takes = || choice.verdicts.iter().filter(|v| matches!(v.standing.word(), "chosen" | "accepted"));
        // Verdicts come highest rank first; a tag that is not taken any more has its place by its name.
        takes()
            .position(|verdict| verdict.tag == tag)
            .unwrap_or_else(|| takes().filter(|v| self.image.selection.compare_names(&v.tag, tag).is_gt()).count())
    }
}

/// A unit with the branch it goes to.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The repository, as written.
    pub repo_url: String,
    /// The branch it starts from.
    pub base: String,
    /// The branch that is pushed.
    pub branch: String,
    /// The change.
    pub unit: Unit,
}

/// Due changes of method `argocd`.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// The changes.
    pub changes: Vec<Change>,
    /// What is sent.
    pub patch: Patch,
}

/// Something that must be looked up before the survey is complete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// The digest of this tag of this image (by position): the value in use is pinned.
    Digest(usize, String),
    /// The files of this branch of this remote (normalised URL).
    Branch(String, String),
}

/// The whole picture of one Application.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// One per image, in order.
    pub images: Vec<ImageReport>,
    /// Changes for Git.
    pub units: Vec<Routed>,
    /// Changes for the Application itself, one patch per source.
    pub parameters: Vec<Parameters>,
    /// What its images want where, written or not (OWN-6).
    pub claims: Vec<Claim>,
    /// Warnings that are no state.
    pub problems: Vec<Problem>,
    /// What is missing.
    pub wants: BTreeSet<Want>,
}

/// Surveys one Application.
pub fn survey(inputs: &Inputs<'_>) -> Survey {
    let live = decision::live_images(inputs.app);
    let mut survey = Survey::default();
    let mut places = Vec::new();
    for index in 0..inputs.settings.images.len() {
        let (report, place) = image(inputs, index, &live, &BTreeMap::new(), &mut survey);
        survey.images.push(report);
        places.push(place);
    }
    match inputs.settings.method {
        Method::Argocd => {
            parameters(inputs, &places, &mut survey);
            parent_problems(inputs, &places, &mut survey);
        }
        Method::Git(_) => {
            units(inputs, &places, &mut survey);
            push_branches(inputs, &live, &mut places, &mut survey);
            standing_problems(inputs, &places, &mut survey);
        }
    }
    survey.claims = claims(inputs, &places, &survey);
    survey
}

/// The value in use, as an image.
fn standing_value(report: &ImageReport, decision: &Decision) -> ImageRef {
    let (tag, digest) = match decision.old.split_once('@') {
        Some((tag, digest)) => (Some(tag.to_owned()), Some(digest.to_owned())),
        None => (Some(decision.old.clone()), None),
    };
    report.image.image.with_tag(tag, digest)
}

/// The place of one image, once it is known.
#[derive(Clone)]
struct Place {
    route: Route,
    target: Option<Target>,
    repo_url: String,
    base: String,
}

/// One image. `at` replaces the branch that is read, by (normalised URL, base).
fn image(
    inputs: &Inputs<'_>,
    index: usize,
    live: &[ImageRef],
    at: &BTreeMap<(String, String), String>,
    survey: &mut Survey,
) -> (ImageReport, Option<Place>) {
    let tracked = &inputs.settings.images[index];
    let mut report = ImageReport {
        image: tracked.clone(),
        state: State::Failed,
        desired: None,
        live: decision::live_set(tracked, &inputs.settings.images, live).gate,
        destination: None,
        choice: None,
        decision: None,
        trouble: None,
        ineffective: None,
    };
    if inputs.allow_downgrade {
        Arc::make_mut(&mut report.image).allow_downgrade = true;
    }
    if let Some(problem) = &tracked.unusable {
        report.trouble = Some(Trouble { kind: problem.code, text: problem.to_string() });
        return (report, None);
    }
    let place = match place(inputs, tracked, at) {
        Ok(place) => place,
        Err(stop) => return (stop.on_branch_of(at).into_report(report), None),
    };
    report.destination = Some(destination(&place));
    match read_desired(inputs, tracked, &place, at) {
        Ok(desired) => report.desired = desired,
        Err(stop) => return (stop.on_branch_of(at).into_report(report), None),
    }
    let candidates = match &inputs.candidates[index] {
        Ok(candidates) => candidates,
        Err(trouble) => {
            report.trouble = Some(trouble.clone());
            return (report, None);
        }
    };
    let choice = tracked.selection.choose(candidates);
    let facts = Facts {
        siblings: &inputs.settings.images,
        live,
        desired: report.desired.as_ref(),
        choice: &choice,
        candidates,
        discover: Discover::default_for(inputs.offline, inputs.app.has_status),
        reverted: inputs.reverted.get(&index),
    };
    let mut decision = decide(&report.image, &facts);
    if decision.wants_digest
        && let Some(chosen) = &choice.chosen
    {
        survey.wants.insert(Want::Digest(index, chosen.tag.clone()));
    }
    report.ineffective = ineffective(inputs, &report, &decision, &place, live);
    decision.reasons.extend(report.ineffective.iter().map(|why| format!("not effective: {why}")));
    report.state = decision.state;
    report.choice = Some(choice);
    report.decision = Some(decision);
    (report, Some(place))
}

/// Why an image got no decision.
enum Stop {
    Refused(Refusal),
    Failed(Trouble),
}

impl Stop {
    /// On a push branch that others wrote to, what can no longer be edited is theirs to resolve (GIT-12).
    fn on_branch_of(self, at: &BTreeMap<(String, String), String>) -> Stop {
        match self {
            Stop::Refused(refusal) if !at.is_empty() && plan::is_theirs(refusal.kind) => {
                Stop::Refused(Refusal { kind: "foreign-commits", ..refusal })
            }
            other => other,
        }
    }

    fn into_report(self, mut report: ImageReport) -> ImageReport {
        let (state, trouble) = match self {
            Stop::Refused(refusal) => {
                let hint = if refusal.hint.is_empty() { String::new() } else { format!(" ({})", refusal.hint) };
                let place = match (refusal.path.as_str(), refusal.line) {
                    ("", _) => String::new(),
                    (path, Some(line)) => format!("{path}:{line}: "),
                    (path, None) => format!("{path}: "),
                };
                let trouble = Trouble { kind: refusal.kind, text: format!("{place}{}{hint}", refusal.text) };
                let failed = matches!(refusal.kind, "internal" | "config-invalid");
                (if failed { State::Failed } else { State::Refused }, trouble)
            }
            Stop::Failed(trouble) => (State::Failed, trouble),
        };
        report.state = state;
        report.trouble = Some(trouble);
        report
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

fn destination(place: &Place) -> Destination {
    Destination {
        repo_url: place.repo_url.clone(),
        base: place.base.clone(),
        branch: place.base.clone(),
        file: place.target.as_ref().map(|target| target.path().to_owned()).unwrap_or_default(),
        path: place.route.path.clone(),
    }
}

/// Route and target of one image.
fn place(inputs: &Inputs<'_>, tracked: &TrackedImage, at: &BTreeMap<(String, String), String>) -> Result<Place, Stop> {
    let git = matches!(inputs.settings.method, Method::Git(_));
    let trees = |url: &str, revision: &str| {
        let view = inputs.remotes.get(&normalise_repo_url(url))?.as_ref().ok()?;
        let tree = view.trees.get(&view.branch_of(revision).ok()?)?;
        Some(tree.as_ref() as &dyn Tree)
    };
    let value_path = tracked.names.helm_spec.as_deref().unwrap_or(&tracked.names.helm_tag);
    let request = Request {
        app: inputs.app,
        explicit: tracked.source.as_deref(),
        git,
        target: &inputs.settings.write_back_target,
        git_repository: inputs.settings.git_repository.as_deref(),
        holds_image: &|bytes| writeback::has_path(bytes, value_path),
    };
    let route = source::route(&request, &trees)
        .map_err(|problem| Stop::Failed(Trouble { kind: problem.code, text: said(&problem) }))?;
    if route.kind == SourceType::Directory {
        let text = "a source of plain manifests has no place for an image".to_owned();
        return Err(Stop::Failed(Trouble { kind: "unsupported-source", text }));
    }
    if !git {
        return Ok(Place { route, target: None, repo_url: String::new(), base: String::new() });
    }
    let view = match inputs.remotes.get(&normalise_repo_url(&route.repo_url)) {
        Some(Ok(view)) => view,
        Some(Err(trouble)) => return Err(Stop::Failed(trouble.clone())),
        None => {
            let text = format!("{} was not asked", route.repo_url);
            return Err(Stop::Failed(Trouble { kind: "git-unreachable", text }));
        }
    };
    let base = match inputs.settings.git_branch.as_ref().and_then(|setting| setting.base.clone()) {
        Some(base) if view.branches.contains(&base) => base,
        Some(base) => {
            let text = format!("{} has no branch {base}", route.repo_url);
            return Err(Refusal::new("revision-not-a-branch", text).hint("correct git-branch").into());
        }
        None => view.branch_of(&route.revision)?,
    };
    let tree = tree_of(inputs, &route.repo_url, &base, at)?;
    let target = &inputs.settings.write_back_target;
    let target = writeback::write_back_target(target, inputs.app, &route, inputs.argocd_namespace, tree.as_ref())?;
    let repo_url = route.repo_url.clone();
    Ok(Place { route, target: Some(target), repo_url, base })
}

fn said(problem: &Problem) -> String {
    if problem.hint.is_empty() { problem.text.clone() } else { format!("{} ({})", problem.text, problem.hint) }
}

/// The files to read for a place: of the base branch, or of the push branch where that exists.
fn tree_of(
    inputs: &Inputs<'_>,
    repo_url: &str,
    base: &str,
    at: &BTreeMap<(String, String), String>,
) -> Result<SharedTree, Stop> {
    let remote = normalise_repo_url(repo_url);
    let branch = at.get(&(remote.clone(), base.to_owned())).map_or(base, String::as_str);
    let tree = inputs.remotes.get(&remote).and_then(|view| view.as_ref().ok()).and_then(|view| view.trees.get(branch));
    tree.cloned().ok_or_else(|| {
        let text = format!("the files of {repo_url} at {branch} are not at hand");
        Stop::Failed(Trouble { kind: "git-unreachable", text })
    })
}

fn read_desired(
    inputs: &Inputs<'_>,
    tracked: &TrackedImage,
    place: &Place,
    at: &BTreeMap<(String, String), String>,
) -> Result<Option<Desired>, Stop> {
    let slot = tracked.slot();
    match &place.target {
        None => Ok(writeback::desired_parameters(inputs.app, &place.route, &slot)?),
        Some(target) => {
            let tree = tree_of(inputs, &place.repo_url, &place.base, at)?;
            Ok(writeback::desired(tree.as_ref(), target, inputs.app, &place.route, &slot)?)
        }
    }
}
