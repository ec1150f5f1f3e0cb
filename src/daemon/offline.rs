//! Applications without a cluster: read from a directory or a Git branch, App of Apps followed (image-updates.md
//! SRC-4 to SRC-7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use serde_json::Value as Json;

use super::credentials;
use super::world::World;
use crate::adapters::cluster::AppEvent;
use crate::adapters::git::{LocalGit, Remote, Tip};
use crate::adapters::manifests::{self, Read};
use crate::config::image_updaters;
use crate::config::settings::Source;
use crate::core::application::source::normalise_repo_url;
use crate::core::application::{AppKey, Application};
use crate::core::problem::Problem;
use crate::core::update::ownership::Ownership;

/// Parents above an Application are followed this far (SRC-6).
const DEEPEST: usize = 8;

/// How often a directory is looked at for changes.
const LOOK: Duration = Duration::from_secs(1);

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Applications by key, with the file and, below a parent, the parent's name.
    pub applications: BTreeMap<AppKey, (Arc<Application>, String)>,
    /// Everything worth saying.
    pub problems: Vec<Problem>,
    /// ImageUpdater objects, as they were found.
    updaters: Vec<Json>,
}

/// Reads all Applications once.
pub async fn read(world: &World) -> Result<Found, Problem> {
    let (first, start) = match &world.settings.source {
        Source::Cluster => return Ok(Found::default()),
        Source::Directory(folder) => (manifests::from_directory(folder)?, None),
        Source::Git { url, branch, path } => {
            let tip = tip(world, "", url, branch.as_deref().unwrap_or_default()).await?;
            let read = manifests::from_tree(&tip, path)?;
            (read, Some((normalise_repo_url(url), branch.clone().unwrap_or_default(), tip)))
        }
    };
    let mut trees: BTreeMap<(String, String), Result<Tip, Problem>> = BTreeMap::new();
    if let Some((remote, revision, tip)) = start {
        trees.insert((remote, revision), Ok(tip));
    }
    let mut found = Found::default();
    let mut queue: VecDeque<(Arc<Application>, usize)> = VecDeque::new();
    found.take(first, None, world, 0, &mut queue);
    let mut expanded = BTreeSet::new();
    while let Some((app, depth)) = queue.pop_front() {
        let roots = &world.settings.roots;
        if depth == 0 && !roots.is_empty() && !roots.contains(&app.key.name) {
            continue;
        }
        for source in app.sources.iter().filter(|s| s.chart.is_none()) {
            let Some(path) = &source.path else { continue };
            let key = (normalise_repo_url(&source.repo_url), source.target_revision.clone());
            if !expanded.insert((key.clone(), path.clone())) {
                continue;
            }
            if !trees.contains_key(&key) {
                let tip = tip(world, &app.project, &source.repo_url, &source.target_revision).await;
                trees.insert(key.clone(), tip);
            }
            match &trees[&key] {
                Ok(tip) => {
                    let directory = source.directory.clone().unwrap_or_default();
                    match manifests::children(tip, path.trim_matches('/'), &directory) {
                        Ok(read) if depth >= DEEPEST => found.problems.extend(too_deep(&app, &read)),
                        Ok(read) => found.take(read, Some(&app.key), world, depth + 1, &mut queue),
                        Err(problem) => found.problems.push(problem),
                    }
                }
                // The round says what is wrong with the repository; here it only means that no child is seen.
                Err(problem) => tracing::debug!(app = %app.key, "not followed: {problem}"),
            }
        }
    }
    let (owners, problems) = image_updaters::owners(&found.updaters, &world.settings.argocd_namespace);
    found.problems.extend(problems);
    world.tell_owners(Ownership::new(owners, &world.settings.updater_target_namespaces));
    Ok(found)
}

/// Children of a parent that has eight above it.
fn too_deep(app: &Application, read: &Read) -> Option<Problem> {
    let names: Vec<&str> = read.applications.iter().map(|(_, child)| child.key.name.as_str()).collect();
    let text =
        format!("more than {DEEPEST} parents stand above its children, which are not seen: {}", names.join(", "));
    (!names.is_empty()).then(|| Problem::warning("not-expanded", text).in_object(app.label()))
}

impl Found {
    fn take(
        &mut self,
        read: Read,
        parent: Option<&AppKey>,
        world: &World,
        depth: usize,
        queue: &mut VecDeque<(Arc<Application>, usize)>,
    ) {
        self.problems.extend(read.problems);
        self.updaters.extend(read.updaters.into_iter().map(|(_, object)| object));
        let mut projects = world.projects.write().unwrap_or_else(|e| e.into_inner());
        for (_, project) in read.projects {
            let name = project["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let key = (world.settings.argocd_namespace.clone(), name);
            projects.insert(key, Arc::new(super::notifier::Project::of(project)));
        }
        for (file, mut app) in read.applications {
            if app.key.namespace.is_empty() {
                app.key.namespace.clone_from(&world.settings.argocd_namespace);
            }
            let place = parent.map_or(file.clone(), |parent| format!("{file} (child of {})", parent.name));
            if self.applications.contains_key(&app.key) {
                continue;
            }
            let app = Arc::new(app);
            self.applications.insert(app.key.clone(), (app.clone(), place));
            queue.push_back((app, depth));
        }
    }
}

async fn tip(world: &World, project: &str, url: &str, revision: &str) -> Result<Tip, Problem> {
    let problem = |kind: &'static str, text: String| Problem::error(kind, text).in_object(url);
    let credentials = credentials::argocd_credentials(world, project, url).map_err(|t| problem(t.kind, t.text))?;
    let remote = Remote::new(url, credentials, LocalGit::Allowed)?;
    let advertised = world.git.advertise(&remote).await.map_err(|e| problem(e.kind(), e.to_string()))?;
    let branch = match revision.strip_prefix("refs/heads/").unwrap_or(revision) {
        "" | "HEAD" => advertised.default.clone().unwrap_or_default(),
        named => named.to_owned(),
    };
    let Some(id) = advertised.branches.get(&branch) else {
        return Err(problem("git-unreachable", format!("there is no branch `{branch}`")));
    };
    world.git.tip(&remote, &branch, *id).await.map_err(|e| problem(e.kind(), e.to_string()))
}

/// What a round needs to know of the manifests, told like a watch: once at the start, and again whenever they change.
pub fn watch(world: World) -> impl Stream<Item = AppEvent> + Send {
    let start = (world, BTreeMap::<AppKey, Arc<Application>>::new(), VecDeque::new(), None, 0u64);
    futures::stream::unfold(start, |(world, mut known, mut queue, mut stamp, mut version)| async move {
        loop {
            if let Some(event) = queue.pop_front() {
                return Some((event, (world, known, queue, stamp, version)));
            }
            let now = match &world.settings.source {
                Source::Directory(folder) => manifests::stamp(folder).map(|s| format!("{s:?}")),
                // A branch is looked at once an interval.
                _ => Some(format!(
                    "{}",
                    jiff::Timestamp::now().as_second() / world.settings.pace().as_secs().max(1) as i64
                )),
            };
            if now == stamp && stamp.is_some() {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            stamp = now;
            version += 1;
            match read(&world).await {
                Ok(found) => {
                    queue.push_back(AppEvent::Up);
                    world.board.problems("manifests", found.problems.clone());
                    for key in known.keys().filter(|key| !found.applications.contains_key(*key)) {
                        queue.push_back(AppEvent::Deleted(key.clone(), String::new()));
                    }
                    let before = std::mem::take(&mut known);
                    for (key, (app, _)) in found.applications {
                        if before.get(&key).is_none_or(|b| b.json() != app.json()) {
                            queue.push_back(AppEvent::Applied(app.clone()));
                        }
                        known.insert(key, app);
                    }
                    queue.push_back(AppEvent::Ready);
                }
                Err(problem) => {
                    queue.push_back(AppEvent::Down(problem.to_string()));
                    tokio::time::sleep(LOOK * 5).await;
                }
            }
        }
    })
}
