//! Method `argocd`: a narrow patch of the Application with its version as precondition, announced before it leaves
//! (image-updates.md ARG-1, GIT-15).

use std::sync::Arc;

use jiff::Timestamp;

use super::committer;
use super::leader;
use super::round::{self, Looked};
use super::world::World;
use crate::adapters::cluster::Edit;
use crate::adapters::store::PushRow;
use crate::core::application::Application;
use crate::core::event::{Event, Place};
use crate::core::update::survey::{Parameters, Trouble};
use crate::core::update::{decision::State, report};
use crate::core::writeback::FORCED;

/// An Application that changes while it is patched is read and decided again this often (ARG-1).
const TRIES: usize = 5;

/// Patches one Application; gives the `committed` events. A conflict means: read again, decide again.
pub async fn patch(world: &World, looked: &Looked) -> Result<Vec<Event>, Trouble> {
    let mut events = Vec::new();
    let mut again: Option<Looked> = None;
    for attempt in 0..TRIES {
        let current = again.as_ref().unwrap_or(looked);
        match once(world, current).await {
            Ok(new) => {
                events.extend(new);
                return Ok(events);
            }
            Err(Failure::Conflict) => {
                // What changed it may have been an earlier patch of ours, carried out late.
                events.extend(settle(world).await?);
                tokio::time::sleep(std::time::Duration::from_millis(50 + fastrand::u64(0..100 << attempt))).await;
                let Some(mut fresh) = decide_again(world, current).await? else { return Ok(events) };
                for change in fresh.survey.parameters.iter_mut().flat_map(|p| &mut p.changes) {
                    let earlier = looked.survey.parameters.iter().flat_map(|p| &p.changes);
                    change.first_seen = { earlier }.find(|known| known.new == change.new).and_then(|c| c.first_seen);
                }
                again = Some(fresh);
            }
            Err(Failure::Trouble(trouble)) => return Err(trouble),
        }
    }
    Err(Trouble {
        kind: "kubernetes-conflict",
        text: format!("{} changes faster than it can be patched", looked.app.key),
    })
}

enum Failure {
    Conflict,
    Trouble(Trouble),
}

async fn once(world: &World, looked: &Looked) -> Result<Vec<Event>, Failure> {
    let trouble = |kind: &'static str, text: String| Failure::Trouble(Trouble { kind, text });
    let (Some(cluster), Some(store)) = (&world.cluster, &world.store) else {
        return Err(trouble("kubernetes-unavailable", "method argocd needs a cluster".to_owned()));
    };
    let mut events = Vec::new();
    let mut version = looked.app.resource_version.clone();
    for parameters in &looked.survey.parameters {
        world.gate.check().map_err(|why| trouble(leader::CLOSED, why.to_owned()))?;
        let row = row(world, looked, parameters, &version);
        store.open_push(row.clone()).await.map_err(|e| trouble("internal", e.to_string()))?;
        let steps = parameters.patch.operations.as_array().cloned().unwrap_or_default();
        match cluster.patch_application(&looked.app.key, &version, Edit::Steps(&steps)).await {
            Ok(new) => {
                version = new;
                let landed = store.settle_push(&row.id, true).await;
                events.extend(landed.map_err(|e| trouble("internal", e.to_string()))?);
            }
            Err(error) => {
                if error.retry() != crate::core::retry::Retry::Never {
                    // Nobody knows whether it arrived: the next round reads the Application and settles the row.
                    return Err(trouble(error.code(), error.to_string()));
                }
                if error.code() == "kubernetes-conflict" {
                    return Err(Failure::Conflict);
                }
                store.settle_push(&row.id, false).await.map_err(|e| trouble("internal", e.to_string()))?;
                return Err(trouble(error.code(), error.to_string()));
            }
        }
    }
    Ok(events)
}

async fn decide_again(world: &World, looked: &Looked) -> Result<Option<Looked>, Trouble> {
    let Some(cluster) = &world.cluster else { return Ok(None) };
    let read = cluster.application(&looked.app.key).await;
    let app = read.map_err(|e| Trouble { kind: e.code(), text: e.to_string() })?;
    let Some(app) = app else { return Ok(None) };
    let round = round::look(world, &[Arc::new(app)]).await;
    let due = |looked: &Looked| looked.survey.images.iter().any(|image| image.state == State::UpdateDue);
    Ok(round.looked.into_iter().next().filter(due))
}

fn row(world: &World, looked: &Looked, parameters: &Parameters, version: &str) -> PushRow {
    let owner = world.owner_of(&looked.app);
    let at = Timestamp::now();
    let diff: String = similar::TextDiff::from_lines(&lines(&parameters.patch.before), &lines(&parameters.patch.after))
        .unified_diff()
        .header(&format!("a/{}", looked.app.key), &format!("b/{}", looked.app.key))
        .to_string();
    let events: Vec<Event> = parameters
        .changes
        .iter()
        .map(|change| {
            let place = Place { method: "argocd".to_owned(), diff: diff.clone(), ..Place::default() };
            let mut event = report::committed(&looked.app, change, &parameters.changes, place, at);
            // A value that is written once more, after somebody took it back, is a change of its own.
            let patched = format!("{version}#{}", event.alias);
            event.id = Event::id_of(&event.app_uid, &event.image, event.kind, &event.old, &event.new, &patched);
            event.owner.clone_from(&owner);
            event
        })
        .collect();
    let values: Vec<String> = parameters.changes.iter().map(|change| change.new_text()).collect();
    PushRow {
        id: format!("patch#{}#{}", looked.app.key, values.join(",")),
        remote: format!("application {}", looked.app.key),
        branch: String::new(),
        old: version.to_owned(),
        new: String::new(),
        note: written(parameters).join("\n"),
        events,
    }
}

fn lines(entries: &[String]) -> String {
    entries.iter().map(|entry| format!("{entry}\n")).collect()
}

/// The entries that a patch writes, as `name=value` or as an image.
fn written(parameters: &Parameters) -> Vec<&str> {
    let new = parameters.patch.after.iter().filter(|entry| !parameters.patch.before.contains(entry));
    new.map(|entry| entry.strip_suffix(FORCED).unwrap_or(entry)).collect()
}

/// Settles patches whose outcome was never recorded: the Application is read again and holds the values, or not. While
/// it is the version that was patched, the patch may still be carried out (GIT-15).
pub async fn settle(world: &World) -> Result<Vec<Event>, Trouble> {
    let (Some(cluster), Some(store)) = (&world.cluster, &world.store) else { return Ok(Vec::new()) };
    let internal = |e: crate::adapters::store::Error| Trouble { kind: "internal", text: e.to_string() };
    let mut events = Vec::new();
    for row in store.open_pushes().await.map_err(internal)? {
        let Some(event) = row.events.first().filter(|_| row.branch.is_empty()) else { continue };
        let read = cluster.application(&event.app).await;
        let read = read.map_err(|e| Trouble { kind: e.code(), text: e.to_string() })?;
        if read.as_ref().is_some_and(|app| app.resource_version == row.old) && committer::may_still_land(&row) {
            continue;
        }
        let landed = read.is_some_and(|app| app.uid == event.app_uid && holds(&app, &row.note));
        events.extend(store.settle_push(&row.id, landed).await.map_err(internal)?);
    }
    Ok(events)
}

/// Whether one source has all these entries.
fn holds(app: &Application, entries: &str) -> bool {
    app.sources.iter().any(|source| {
        let mut own: Vec<String> = Vec::new();
        if let Some(helm) = &source.helm {
            own.extend(helm.parameters.iter().map(|p| format!("{}={}", p.name, p.value)));
        }
        own.extend(source.kustomize.clone().unwrap_or_default());
        entries.lines().all(|line| own.iter().any(|entry| entry == line))
    })
}
