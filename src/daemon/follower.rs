//! Follows committed changes until they are healthy or degraded (image-updates.md §22 `synced`, `healthy`,
//! `degraded`). What is open is found in the journal again after a restart.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::aftermath::Books;
use super::credentials;
use super::world::World;
use crate::adapters::git::CommitId;
use crate::config::annotations;
use crate::core::application::{AppKey, Application};
use crate::core::event::{Event, Kind, Place};
use crate::core::update::follow::{self, Holds, Open};

/// Events looked through at start.
const LOOK_BACK: usize = 10_000;

/// Revisions of which it is remembered what they hold.
const REMEMBERED: usize = 64;

/// Changes being followed.
pub struct Follower {
    world: World,
    open: HashMap<AppKey, Vec<Open>>,
    /// What is known of revisions, by remote and id: which commits they hold, and which they do not. All that are open
    /// are asked about together; one revision is synced by many Applications.
    held: HashMap<(String, CommitId), HashMap<CommitId, bool>>,
}

impl Follower {
    /// Follows nothing yet.
    pub fn new(world: World) -> Follower {
        Follower { world, open: HashMap::new(), held: HashMap::new() }
    }

    /// Takes up what the journal says is open.
    pub async fn load(&mut self) {
        let Some(store) = &self.world.store else { return };
        let events = match store.history(None, LOOK_BACK).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!("earlier changes are not followed: {error}");
                return;
            }
        };
        let now = Timestamp::now();
        let mut synced = HashMap::new();
        let mut ended = std::collections::HashSet::new();
        // Newest first: the end of a change is met before its beginning.
        for event in events {
            match event.kind {
                Kind::Healthy | Kind::Degraded => {
                    ended.insert(event.change.clone());
                }
                Kind::Synced => {
                    synced.insert(event.change.clone(), event.at);
                }
                Kind::Committed => {
                    let over = now.duration_since(event.at) > follow::FOLLOWED;
                    // A change whose value came back later is a change of its own.
                    if !over && ended.insert(event.change.clone()) {
                        let synced = synced.get(&event.change).copied();
                        self.open.entry(event.app.clone()).or_default().push(Open { committed: event, synced });
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes up what a round committed.
    pub fn refill(&mut self, books: &Books) {
        for event in books.take_committed() {
            let open = self.open.entry(event.app.clone()).or_default();
            // A newer change of the same image ends the watch over the older one.
            open.retain(|known| known.committed.image != event.image || known.committed.alias != event.alias);
            open.push(Open { committed: event, synced: None });
        }
    }

    /// A version of an Application: what does it say of its open changes?
    pub async fn version(&mut self, app: &Application) {
        let Some(mut open) = self.open.remove(&app.key) else { return };
        let now = Timestamp::now();
        let mut events = Vec::new();
        let mut still = Vec::new();
        for mut change in open.drain(..) {
            let synced = match app.status.sync.as_str() {
                "Synced" => self.contains(app, &change, follow::revisions_to_ask(&change, app)).await,
                _ => false,
            };
            let failed = self.contains(app, &change, follow::failed_revisions_to_ask(&change, app)).await;
            let (new, done) = follow::follow(&mut change, app, Holds { synced, failed }, now);
            events.extend(new);
            if !done {
                still.push(change);
            }
        }
        if !still.is_empty() {
            self.open.insert(app.key.clone(), still);
        }
        let Some(store) = self.world.store.as_ref().filter(|_| !events.is_empty()) else { return };
        for event in &events {
            tracing::info!(application = %event.app, image_name = event.image, image_tag = event.new, "{}", event.kind.word());
            if let Some(earlier) = event.earlier.as_ref().filter(|_| event.kind == Kind::Healthy) {
                let took = event.at.duration_since(earlier.at);
                self.world.metrics.healthy_after(took.try_into().unwrap_or_default());
            }
        }
        if let Err(error) = store.append(events).await {
            tracing::warn!("events are not kept: {error}");
        }
    }

    /// Whether one of these revisions holds the commit: only Git knows.
    async fn contains(&mut self, app: &Application, change: &Open, revisions: Vec<String>) -> bool {
        let Some(place) = &change.committed.place else { return false };
        if revisions.is_empty() || place.commit.is_empty() {
            return false;
        }
        let (Some(settings), _) = annotations::settings(app) else { return false };
        let Ok(commit) = place.commit.parse() else { return false };
        let Ok(remote) = credentials::for_git(&self.world, app, &settings, &place.repository).await else {
            return false;
        };
        for revision in revisions {
            let Ok(id) = revision.parse() else { continue };
            let known = (remote.identity().to_owned(), id);
            if let Some(held) = self.held.get(&known).and_then(|held| held.get(&commit)) {
                if *held {
                    return true;
                }
                continue;
            }
            let Ok(tip) = self.world.git.tip(&remote, &place.branch, id).await else { continue };
            let mut asked = self.open_commits(place);
            asked.insert(commit);
            let Ok(behind) = self.world.git.behind(&tip, asked.clone()).await else { continue };
            if self.held.len() >= REMEMBERED {
                self.held.clear();
            }
            let held = self.held.entry(known).or_default();
            held.extend(asked.into_iter().map(|commit| (commit, behind.contains(&commit))));
            if behind.contains(&commit) {
                return true;
            }
        }
        false
    }

    /// The commits of all open changes at the same branch.
    fn open_commits(&self, place: &Place) -> BTreeSet<CommitId> {
        let places = self.open.values().flatten().filter_map(|open| open.committed.place.as_ref());
        let here = places.filter(|p| (&p.repository, &p.branch) == (&place.repository, &place.branch));
        here.filter_map(|place| place.commit.parse().ok()).collect()
    }
}

/// An event as a small text of the store.
pub fn encode(event: &Event) -> String {
    json!({
        "id": event.id, "kind": event.kind.word(), "at": event.at.to_string(), "namespace": event.app.namespace,
        "name": event.app.name, "uid": event.app_uid, "project": event.project, "change": event.change,
        "alias": event.alias, "image": event.image, "old": event.old, "new": event.new, "reason": event.reason,
        "message": event.message, "count": event.count, "apps": event.apps,
    })
    .to_string()
}

/// The event of a text; `None` if it is not readable.
pub fn decode(text: &str) -> Option<Event> {
    let json: Json = serde_json::from_str(text).ok()?;
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    Some(Event {
        id: text("id"),
        kind: Kind::from_word(json["kind"].as_str()?)?,
        at: json["at"].as_str()?.parse().ok()?,
        app: AppKey { namespace: text("namespace"), name: text("name") },
        app_uid: text("uid"),
        project: text("project"),
        change: text("change"),
        alias: text("alias"),
        image: text("image"),
        old: text("old"),
        new: text("new"),
        reason: text("reason"),
        message: text("message"),
        place: None,
        count: json["count"].as_u64().unwrap_or(1) as u32,
        apps: json["apps"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
            .map(str::to_owned)
            .collect(),
        earlier: None,
        strategy: String::new(),
        first_seen: None,
        revision: String::new(),
        owner: String::new(),
        beside: Vec::new(),
    })
}
