//! Kubernetes is told what was written, and what could not be: Events on Applications, and the request to Argo CD to look
//! again (image-updates.md §22, GIT-14).

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};

use super::round::Looked;
use super::world::World;
use crate::adapters::cluster::{Cluster, Note, NoteKind, Refresh};
use crate::core::application::source::normalise_repo_url;
use crate::core::application::{AppKey, Application};
use crate::core::event::{Event, Kind};
use crate::core::problem::Problem;
use crate::core::update::Refresh as Asked;

/// Applications told at the same time.
const AT_ONCE: usize = 8;

/// What was written this long before somebody began to lead is told once more. Kubernetes keeps Events for an hour.
const TELL_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// So many events are looked through for that.
const TOLD_AGAIN: usize = 5_000;

/// Tells of values that became durable, and asks Argo CD to look at their Applications again.
pub(super) async fn written(world: &World, events: &[Event], looked: &[Looked]) {
    let Some(cluster) = world.cluster.as_ref().filter(|_| !world.offline()) else { return };
    let mut told = Telling::default();
    for own in writes(events) {
        let looked = looked.iter().find(|looked| looked.app.key == own[0].app);
        let refresh = looked.and_then(|looked| refresh_of(looked, &own));
        let version = looked.map(|looked| looked.app.resource_version.clone()).unwrap_or_default();
        told.add(tell(cluster.clone(), own, version, refresh, world.settings.kube_events)).await;
    }
    told.end(world).await;
}

/// Events by the write they belong to: what one commit or patch did to one Application is one Kubernetes Event,
/// whenever and however often it is told.
fn writes(events: &[Event]) -> Vec<Vec<&Event>> {
    let mut writes: BTreeMap<(&AppKey, Timestamp, &str), Vec<&Event>> = BTreeMap::new();
    for event in events {
        let commit = event.place.as_ref().map_or("", |place| place.commit.as_str());
        writes.entry((&event.app, event.at, commit)).or_default().push(event);
    }
    writes.into_values().collect()
}

/// What is being told, a few Applications at a time: requests for hundreds of them weigh megabytes.
#[derive(Default)]
struct Telling<'a> {
    waiting: FuturesUnordered<BoxFuture<'a, Option<String>>>,
    denied: Option<String>,
}

impl<'a> Telling<'a> {
    async fn add(&mut self, one: impl Future<Output = Option<String>> + Send + 'a) {
        if self.waiting.len() >= AT_ONCE {
            self.note().await;
        }
        self.waiting.push(one.boxed());
    }

    async fn note(&mut self) {
        let denied = self.waiting.next().await.flatten();
        self.denied = self.denied.take().or(denied);
    }

    /// One notice, no error: the push stands whatever becomes of this (GIT-14).
    async fn end(mut self, world: &World) {
        while !self.waiting.is_empty() {
            self.note().await;
        }
        let notice = self.denied.map(|text| Problem::warning("kubernetes-forbidden", text));
        world.board.problems("refresh", notice.into_iter().collect());
    }
}

/// Records the Kubernetes Events of what was written just before this process began to lead: whoever wrote it may have
/// died before it told. Those that are there already stay single, because their names follow from what they tell (INV-1).
pub(super) async fn tell_again(world: &World) {
    let (Some(cluster), Some(store)) = (&world.cluster, &world.store) else { return };
    if world.offline() || world.settings.dry_run || !world.settings.kube_events {
        return;
    }
    let Ok(mut events) = store.history(None, TOLD_AGAIN).await else { return };
    let now = Timestamp::now();
    events.retain(|event| event.kind == Kind::Committed && now.duration_since(event.at) < TELL_AGAIN);
    // The journal gives the newest first.
    events.reverse();
    let mut told = Telling::default();
    for own in writes(&events) {
        told.add(tell(cluster.clone(), own, String::new(), None, true)).await;
    }
    told.end(world).await;
}

/// Asks Argo CD to look at an Application again and records a Kubernetes Event; what was denied, if anything.
async fn tell(
    cluster: Cluster,
    events: Vec<&Event>,
    version: String,
    refresh: Option<Refresh>,
    record: bool,
) -> Option<String> {
    let mut denied = None;
    let app = &events[0].app;
    if let Some(refresh) = refresh
        && let Err(error) = cluster.refresh(app, refresh).await
    {
        denied = Some(error.to_string());
    }
    let message = format!("Successfully updated application '{}'", app.name);
    if record && let Err(error) = cluster.note(&note(&events, &version, &message)).await {
        denied = Some(error.to_string());
    }
    denied
}

/// A Warning Event on the Application for what failed or was refused.
pub(super) async fn warn(world: &World, app: &Application, event: &Event) {
    let Some(cluster) = world.cluster.as_ref().filter(|_| !world.offline() && world.settings.kube_events) else {
        return;
    };
    let reason = if event.kind == Kind::Refused { "ImageUpdateRefused" } else { "ImageUpdateFailed" };
    let more = if event.count > 1 { format!(" ({} images)", event.count) } else { String::new() };
    let message = format!("{}: {}{more}", event.reason, event.message);
    let note = Note {
        app: &event.app,
        uid: &app.uid,
        version: &app.resource_version,
        id: &event.id,
        kind: NoteKind::Warning,
        reason,
        message: &message,
        annotations: BTreeMap::new(),
        at: event.at,
    };
    if let Err(error) = cluster.note(&note).await {
        tracing::debug!(application = %event.app, "no Event was recorded: {error}");
    }
}

fn refresh_of(looked: &Looked, events: &[&Event]) -> Option<Refresh> {
    let asked = match looked.settings.refresh {
        Asked::Off => return None,
        _ if looked.app.hydrated => Refresh::Hydrate,
        Asked::Normal => Refresh::Normal,
        Asked::Hard => Refresh::Hard,
    };
    let patched = |event: &Event| event.place.as_ref().is_some_and(|place| place.method == "argocd");
    let seen = events.iter().any(|event| !patched(event) && tracks(looked, event));
    seen.then_some(asked)
}

/// Whether the Application follows the branch that was pushed: a push branch is read by nobody until it is merged.
fn tracks(looked: &Looked, event: &Event) -> bool {
    let pushes_elsewhere = looked.settings.git_branch.as_ref().is_some_and(|setting| setting.push.is_some());
    let Some(place) = event.place.as_ref().filter(|_| pushes_elsewhere) else { return true };
    let url = normalise_repo_url(&place.repository);
    let named = |revision: &str| revision.strip_prefix("refs/heads/").unwrap_or(revision) == place.branch;
    looked.app.sources.iter().any(|s| normalise_repo_url(&s.repo_url) == url && named(&s.target_revision))
}

fn note<'a>(events: &[&'a Event], version: &'a str, message: &'a str) -> Note<'a> {
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
        app: &events[0].app,
        // Manifests have no uid; then it is the key, which is none.
        uid: Some(events[0].app_uid.as_str()).filter(|uid| !uid.contains('/')).unwrap_or_default(),
        version,
        id: events.first().map_or("", |event| event.id.as_str()),
        kind: NoteKind::Normal,
        reason: "ImagesUpdated",
        message,
        annotations,
        at: events[0].at,
    }
}
