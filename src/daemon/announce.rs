//! What the journal is told of a round besides commits: what was found, held, refused or failed, each once, and what
//! has recovered, also over restarts (image-updates.md §22, EVT-2, EVT-3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::aftermath::Books;
use super::committer::Outcome;
use super::round::{Looked, Planned, Round};
use super::telling;
use super::world::World;
use crate::core::application::Application;
use crate::core::event::{Earlier, Event, Kind, MOST_NAMED};
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
pub(super) async fn found(world: &World, round: &mut Round) {
    let at = Timestamp::now();
    let mut events = Vec::new();
    for looked in &round.looked {
        for image in &looked.survey.images {
            let Some(decision) = &image.decision else { continue };
            if let Some(change) = decision.change.as_ref().filter(|_| decision.state == State::UpdateDue) {
                let mut event = report::change(&looked.app, change, Kind::Found, "", at);
                event.message = decision.reasons.join("; ");
                event.owner = world.owner_of(&looked.app);
                events.push(event);
            }
            if let Some(held) = &decision.held {
                let change = held_change(image, &held.candidate, &decision.old);
                let (reason, text) = (held.reason.word(), &held.text);
                let event = report::refused(&looked.app, &change, Kind::Held, reason, text, at);
                events.push(Event { owner: world.owner_of(&looked.app), ..event });
            }
        }
    }
    if world.settings.dry_run || events.is_empty() {
        return;
    }
    let Some(store) = &world.store else { return };
    let ids = events.iter().filter(|event| event.kind == Kind::Found).map(|event| event.id.clone()).collect();
    match store.append(events).await {
        Ok(new) => {
            match store.events(ids).await {
                Ok(first) => note_first_seen(round, &first),
                Err(error) => tracing::debug!("when it was found is not known: {error}"),
            }
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

/// Changes learn when they were first found.
fn note_first_seen(round: &mut Round, found: &[Event]) {
    let at: BTreeMap<&str, Timestamp> = found.iter().map(|event| (event.change.as_str(), event.at)).collect();
    let note = |app: &Application, changes: &mut Vec<Change>| {
        for change in changes {
            let id = report::change(app, change, Kind::Found, "", Timestamp::UNIX_EPOCH).change;
            change.first_seen = at.get(id.as_str()).copied();
        }
    };
    for unit in round.plans.iter_mut().flat_map(|planned| &mut planned.plan.units) {
        let unit = Arc::make_mut(unit);
        note(&unit.app, &mut unit.changes);
    }
    for looked in &mut round.looked {
        let app = looked.app.clone();
        looked.survey.parameters.iter_mut().for_each(|parameters| note(&app, &mut parameters.changes));
    }
}

fn held_change(image: &ImageReport, candidate: &str, old: &str) -> Change {
    let (tag, digest) = candidate.split_once('@').map_or((candidate, None), |(t, d)| (t, Some(d.to_owned())));
    let (old_tag, old_digest) = old.split_once('@').map_or((old, None), |(t, d)| (t, Some(d.to_owned())));
    let new = image.image.image.with_tag(Some(tag.to_owned()), digest);
    let old_tag = Some(old_tag.to_owned()).filter(|tag| !tag.is_empty());
    Change::of(new, old_tag, old_digest, image.image.selection.strategy.word())
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
    let decision = image.decision.as_ref();
    // What was to be written, if it came so far; else the candidate.
    let candidate = image.choice.as_ref().and_then(|choice| choice.chosen.as_ref()).map(|chosen| chosen.tag.as_str());
    let old = decision.map(|d| d.old.as_str()).unwrap_or_default();
    let change = decision.and_then(|d| d.change.clone());
    let change = change.unwrap_or_else(|| held_change(image, candidate.unwrap_or_default(), old));
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
    let subjects = by_subject(world, pending, at);
    for (subject, cause) in &subjects {
        let key = format!("{ANNOUNCED}{subject}");
        if known.contains_key(&key) || !books.ripe(subject, &cause.event.reason) {
            continue;
        }
        let event = cause.event.clone();
        if store.append(vec![event.clone()]).await.is_ok() {
            telling::warn(world, &cause.app, &event).await;
            let value = super::follower::encode(&event);
            if let Err(error) = store.set_text(&key, &value).await {
                tracing::warn!("a failure may be announced again: {error}");
            }
        }
    }
    recover(world, books, &known, &subjects, looked, at).await;
}

/// One cause, and the first Application by name that it concerns.
struct Cause {
    event: Event,
    app: Arc<Application>,
}

/// What is wrong, each cause once, with how many objects it concerns (EVT-2).
fn by_subject(world: &World, pending: Vec<Pending>, at: Timestamp) -> BTreeMap<String, Cause> {
    let mut groups: BTreeMap<String, Vec<Pending>> = BTreeMap::new();
    for item in pending {
        let alias = item.change.new.alias_text();
        let subject = match shared_by(world, &item) {
            Some(host) => format!("host|{}|{host}", item.trouble.kind),
            None => format!("{}|{alias}|{}|{}", item.app.key, item.change.new.full_name(), item.trouble.kind),
        };
        groups.entry(subject).or_default().push(item);
    }
    let cause = |(subject, mut items): (String, Vec<Pending>)| {
        items.sort_by(|a, b| a.app.key.cmp(&b.app.key));
        let first = &items[0];
        let (kind, text) = (first.trouble.kind, &first.trouble.text);
        let mut event = report::refused(&first.app, &first.change, first.kind, kind, text, at);
        event.id = Event::id_of(&event.app_uid, &subject, first.kind, &event.old, &event.new, &at.to_string());
        event.owner = world.owner_of(&first.app);
        event.count = items.len() as u32;
        if items.len() > 1 {
            let names: BTreeSet<String> = items.iter().map(|item| item.app.key.to_string()).collect();
            event.apps = names.into_iter().take(MOST_NAMED).collect();
        }
        let app = first.app.clone();
        (subject, Cause { event, app })
    };
    groups.into_iter().map(cause).collect()
}

/// The host whose trouble it is, where all its users share it. Wrong credentials are shared by those who are told the
/// same of them.
fn shared_by(world: &World, item: &Pending) -> Option<String> {
    match item.trouble.kind {
        kind if !SHARED.contains(&kind) => None,
        "registry-unreachable" | "registry-rate-limited" => Some(world.registries.endpoint_of(&item.change.new).host()),
        "git-unreachable" | "git-host-key" => {
            Some(host_in(&item.trouble.text).unwrap_or(&item.trouble.text).to_owned())
        }
        _ => Some(item.trouble.text.clone()),
    }
}

/// The host of the first remote that a text names: `https://host:1/path`, `ssh://git@host/path`, `git@host:path`.
fn host_in(text: &str) -> Option<&str> {
    let (rest, ends): (&str, &[char]) = match (text.split_once("://"), text.split_once('@')) {
        (Some((_, rest)), _) => (rest, &['/', ' ']),
        (None, Some((_, rest))) => (rest, &[':', '/', ' ']),
        (None, None) => return None,
    };
    let host = rest.split(ends).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or(host);
    Some(host).filter(|host| !host.is_empty())
}

/// Causes that were announced and are gone for every Application of this round.
async fn recover(
    world: &World,
    books: &Books,
    known: &BTreeMap<String, String>,
    subjects: &BTreeMap<String, Cause>,
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

#[cfg(test)]
mod tests {
    use super::host_in;

    #[test]
    fn evt_2_the_host_of_a_remote_in_a_text() {
        for (text, host) in [
            ("https://git.test:8443/a/b.git: refused", Some("git.test:8443")),
            ("mirror of https://git.test/a: disk full", Some("git.test")),
            ("ssh://git@git.test:2222/a: unknown key", Some("git.test:2222")),
            ("git@git.test:a/b.git: no route", Some("git.test")),
            ("no remote at all", None),
        ] {
            assert_eq!(host_in(text), host, "{text}");
        }
    }
}
