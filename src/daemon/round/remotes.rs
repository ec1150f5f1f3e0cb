//! The Git half of a round: every remote that an Application reads or writes, asked once (image-updates.md DES-2, CYC-5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures::{FutureExt, StreamExt};

use super::Governed;
use crate::adapters::git::Remote;
use crate::core::application::Application;
use crate::core::application::source::normalise_repo_url;
use crate::core::update::survey::{RemoteView, SharedTree, Trouble};
use crate::core::update::{AppSettings, Method};
use crate::daemon::credentials;
use crate::daemon::world::World;

/// Remotes asked at the same time.
const AT_ONCE: usize = 8;

/// A remote as one credential sees it.
pub(super) type RemoteKey = (String, String);

/// What was asked.
pub(super) struct Asked {
    /// By Application, in the order asked: its remotes by normalised URL, or why one cannot be read.
    pub(super) by_app: Vec<BTreeMap<String, Result<RemoteKey, Trouble>>>,
    /// Every remote.
    pub(super) by_key: ByKey,
}

/// Remotes and what was seen of them; all Applications of a remote share one view.
pub(super) type ByKey = BTreeMap<RemoteKey, (Remote, Result<Arc<RemoteView>, Trouble>)>;

/// Every remote that an Application's sources or its `git-repository` name: one ref advertisement each, and the tips of
/// the branches that are read.
pub(super) async fn ask(world: &World, governed: &[Governed]) -> Asked {
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

/// Reads one more branch.
pub(super) async fn load_branch(world: &World, by_key: &mut ByKey, key: &RemoteKey, branch: &str) {
    let Some((remote, Ok(view))) = by_key.get_mut(key) else { return };
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
            by_key.insert(key.clone(), (remote, Err(trouble)));
        }
    }
}
