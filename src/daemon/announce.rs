//! What the journal is told of a round besides commits: what was found, held, refused or failed, each once, and what
//! has recovered, also over restarts (image-updates.md §22, EVT-2, EVT-3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::aftermath::Books;
use super::committer::Outcome;
use super::round::{Looked, Planned, Round};
use super::world::World;
use crate::core::application::Application;
use crate::core::event::{Earlier, Event, Kind};
use crate::core::update::decision::{Change, State};
use crate::core::update::report;
use crate::core::update::survey::{ImageReport, Trouble};

/// Kinds that a whole host shares: one event, not one per image (EVT-2).
const SHARED: [&str; 7] = [
    "registry-unreachable",
    "registry-auth",
    "registry-rate-limited",
    "git-unreachable",
    "git-auth",
    "git-host-key",
    "kubernetes-unavailable",
];

/// Kinds that pass by themselves: announced only after lasting two intervals (EVT-3).
pub(super) const TRANSIENT: [&str; 8] = [
    "registry-unreachable",
    "registry-rate-limited",
    "listing-incomplete",
    "git-unreachable",
    "push-contention",
    "kubernetes-unavailable",
    "kubernetes-conflict",
    "internal",
];

/// Keys of announced troubles in the store.
const ANNOUNCED: &str = "images/announced/";

/// `found` and `held`, once each: the journal knows ids it has seen.
pub(super) async fn found(world: &World, round: &Round) {
    let at = Timestamp::now();
    let mut events = Vec::new();
    for looked in &round.looked {
        for image in &looked.survey.images {
            let Some(decision) = &image.decision else { continue };
            if let Some(change) = decision.change.as_ref().filter(|_| decision.state == State::UpdateDue) {
                let mut event = report::change(&looked.app, change, Kind::Found, "", at);
                event.message = decision.reasons.join("; ");
                events.push(event);
            }
            if let Some(held) = &decision.held {
                let change = held_change(image, &held.candidate, &decision.old);
                events.push(report::refused(&looked.app, &change, Kind::Held, held.reason.word(), &held.text, at));
            }
        }
    }
    if world.settings.dry_run || events.is_empty() {
        return;
    }
    let Some(store) = &world.store else { return };
    match store.append(events).await {
        Ok(new) => {
            for event in new {
                tracing::info!(
                    application = %event.app,
                    image_name = event.image,
                    image_alias = event.alias,
                    image_tag = event.new,
                    "{}", event.kind.word()
                );
            }
        }
        Err(error) => tracing::warn!("events are not kept: {error}"),
    }
}

fn held_change(image: &ImageReport, candidate: &str, old: &str) -> Change {
    let (tag, digest) = candidate.split_once('@').map_or((candidate, None), |(t, d)| (t, Some(d.to_owned())));
    let (old_tag, old_digest) = old.split_once('@').map_or((old, None), |(t, d)| (t, Some(d.to_owned())));
    Change {
        new: image.image.image.with_tag(Some(tag.to_owned()), digest),
        old_tag: Some(old_tag.to_owned()).filter(|tag| !tag.is_empty()),
        old_digest,
        labels: BTreeMap::new(),
    }
}

/// A refusal or failure to be announced.
pub(super) struct Pending {
    pub(super) app: Arc<Application>,
    pub(super) change: Change,
    pub(super) kind: Kind,
    pub(super) trouble: Trouble,
}

pub(super) fn of_image(app: &Arc<Application>, image: &ImageReport) -> Option<Pending> {
    let trouble = image.trouble.clone()?;
    let kind = if image.state == State::Refused { Kind::Refused } else { Kind::Failed };
    let old = image.decision.as_ref().map(|d| d.old.clone()).unwrap_or_default();
    let change = held_change(image, image.image.image.tag.as_deref().unwrap_or_default(), &old);
    Some(Pending { app: app.clone(), change, kind, trouble })
}

pub(super) fn of_push(planned: &Planned, outcomes: &[Outcome]) -> Vec<Pending> {
    let mut pending = Vec::new();
    for (unit, outcome) in planned.plan.units.iter().zip(outcomes) {
        let (kind, reason, text) = match outcome {
            Outcome::Refused(reason, text) => (Kind::Refused, *reason, text),
            Outcome::Failed(reason, text) => (Kind::Failed, *reason, text),
            Outcome::Committed(_) | Outcome::AlreadySo => continue,
        };
        for change in &unit.changes {
            let trouble = Trouble { kind: reason, text: text.clone() };
            pending.push(Pending { app: unit.app.clone(), change: change.clone(), kind, trouble });
        }
    }
    pending
}

pub(super) fn of_patch(looked: &Looked, trouble: Trouble) -> Pending {
    let change = looked.survey.parameters.iter().flat_map(|p| p.changes.iter()).next().cloned();
    let change = change.unwrap_or_else(|| held_change(&looked.survey.images[0], "", ""));
    Pending { app: looked.app.clone(), change, kind: Kind::Failed, trouble }
}

/// `refused` and `failed` once per cause until `recovered`, also over restarts.
pub(super) async fn troubles(world: &World, books: &Books, pending: Vec<Pending>, looked: &[Looked]) {
    let Some(store) = &world.store else { return };
    let at = Timestamp::now();
    let known = match store.texts(ANNOUNCED).await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!("failures are not announced: {error}");
            return;
        }
    };
    let mut subjects: BTreeMap<String, (Event, u32)> = BTreeMap::new();
    for item in pending {
        let alias = item.change.new.alias_text();
        let subject = if SHARED.contains(&item.trouble.kind) {
            format!("host|{}|{}", item.trouble.kind, item.trouble.text)
        } else {
            format!("{}|{alias}|{}|{}", item.app.key, item.change.new.full_name(), item.trouble.kind)
        };
        let make = || {
            let (kind, text) = (item.trouble.kind, &item.trouble.text);
            let mut event = report::refused(&item.app, &item.change, item.kind, kind, text, at);
            event.id = Event::id_of(&event.app_uid, &subject, item.kind, &event.old, &event.new, &at.to_string());
            (event, 0)
        };
        subjects.entry(subject.clone()).or_insert_with(make).1 += 1;
    }
    for (subject, (event, count)) in &subjects {
        let key = format!("{ANNOUNCED}{subject}");
        if known.contains_key(&key) || !books.ripe(subject, &event.reason) {
            continue;
        }
        let event = Event { count: *count, ..event.clone() };
        if store.append(vec![event.clone()]).await.is_ok() {
            let value = super::follower::encode(&event);
            if let Err(error) = store.set_text(&key, &value).await {
                tracing::warn!("a failure may be announced again: {error}");
            }
        }
    }
    recover(world, books, &known, &subjects, looked, at).await;
}

/// Causes that were announced and are gone for every Application of this round.
async fn recover(
    world: &World,
    books: &Books,
    known: &BTreeMap<String, String>,
    subjects: &BTreeMap<String, (Event, u32)>,
    looked: &[Looked],
    at: Timestamp,
) {
    let Some(store) = &world.store else { return };
    for (key, value) in known {
        let subject = &key[ANNOUNCED.len()..];
        let Some(original) = super::follower::decode(value) else { continue };
        let seen = looked.iter().any(|looked| looked.app.key == original.app);
        if subjects.contains_key(subject) || !seen {
            continue;
        }
        let lasted = at.duration_since(original.at);
        let event = Event {
            id: Event::id_of(&original.app_uid, subject, Kind::Recovered, &original.old, &original.new, &original.id),
            kind: Kind::Recovered,
            at,
            message: format!("after {} s: {}", lasted.as_secs(), original.message),
            earlier: Some(Earlier { id: original.id.clone(), at: original.at }),
            ..original
        };
        if store.append(vec![event]).await.is_ok()
            && let Err(error) = store.remove_text(key).await
        {
            tracing::warn!("a recovery may be announced again: {error}");
        }
        books.since.lock().unwrap_or_else(|e| e.into_inner()).remove(subject);
    }
    let mut since = books.since.lock().unwrap_or_else(|e| e.into_inner());
    since.retain(|_, (_, last)| last.elapsed() < Duration::from_secs(86_400));
}
