//! Events of one change, built alike wherever they arise, so that ids join them (image-updates.md §22, EVT-1).

use jiff::Timestamp;

use super::decision::Change;
use crate::core::application::Application;
use crate::core::event::{Earlier, Event, Kind, Moved, Place};

/// What identifies an Application in events: its UID, or its key where a manifest has none.
pub fn uid(app: &Application) -> String {
    if app.uid.is_empty() { app.key.to_string() } else { app.uid.clone() }
}

/// An event about one change of one Application. `last` is what else makes it that one event: commit or reason.
pub fn change(app: &Application, change: &Change, kind: Kind, last: &str, at: Timestamp) -> Event {
    let uid = uid(app);
    let (alias, image) = (change.new.alias_text().to_owned(), change.new.full_name());
    let (old, new) = (change.old_text(), change.new_text());
    let subject = if alias.is_empty() { image.clone() } else { format!("{alias}={image}") };
    Event {
        id: Event::id_of(&uid, &subject, kind, &old, &new, last),
        kind,
        at,
        app: app.key.clone(),
        project: app.project.clone(),
        change: Event::change_of(&uid, &alias, &image, &old, &new),
        app_uid: uid,
        alias,
        image,
        old,
        new,
        reason: String::new(),
        message: String::new(),
        place: None,
        count: 1,
        apps: Vec::new(),
        earlier: None,
        strategy: change.strategy.to_owned(),
        first_seen: change.first_seen,
        revision: String::new(),
        owner: String::new(),
        beside: Vec::new(),
    }
}

/// A change as the events of its commit list it.
pub fn moved(change: &Change) -> Moved {
    Moved {
        alias: change.new.alias_text().to_owned(),
        image: change.new.full_name(),
        old: change.old_text(),
        new: change.new_text(),
        strategy: change.strategy.to_owned(),
    }
}

/// The same with a reason and a text for people.
pub fn refused(app: &Application, about: &Change, kind: Kind, reason: &str, text: &str, at: Timestamp) -> Event {
    Event { reason: reason.to_owned(), message: text.to_owned(), ..change(app, about, kind, reason, at) }
}

/// `committed`: the value is durable at this place, together with all `changes` of the Application's commit.
pub fn committed(app: &Application, about: &Change, changes: &[Change], place: Place, at: Timestamp) -> Event {
    let mut event = change(app, about, Kind::Committed, &place.commit, at);
    event.beside = changes.iter().map(moved).collect();
    event.message = format!("{} {} -> {}", event.image, shown(&event.old), event.new);
    event.place = Some(place);
    event
}

/// `synced`, `healthy` or `degraded` at a revision, following a committed event.
pub fn follows(committed: &Event, kind: Kind, revision: &str, message: String, at: Timestamp) -> Event {
    // A patch has no commit: what it is followed by is told apart by its own id.
    let commit = committed.place.as_ref().map(|place| place.commit.as_str()).filter(|commit| !commit.is_empty());
    let commit = commit.unwrap_or(&committed.id);
    let subject = if committed.alias.is_empty() {
        committed.image.clone()
    } else {
        format!("{}={}", committed.alias, committed.image)
    };
    Event {
        id: Event::id_of(&committed.app_uid, &subject, kind, &committed.old, &committed.new, commit),
        kind,
        at,
        message,
        reason: String::new(),
        revision: revision.to_owned(),
        earlier: Some(Earlier { id: committed.id.clone(), at: committed.at }),
        ..committed.clone()
    }
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "-" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::image::ImageRef;

    #[test]
    fn evt_1_one_change_id_joins_found_committed_synced_healthy() {
        let app = Application::decode(r#"{"metadata":{"name":"web","namespace":"argocd","uid":"u"}}"#).unwrap();
        let new = ImageRef::parse("w=ghcr.io/acme/web:1.1").unwrap();
        let about = Change::of(new, Some("1.0".into()), None, "semver");
        let at = Timestamp::UNIX_EPOCH;
        let found = change(&app, &about, Kind::Found, "", at);
        let done = committed(&app, &about, &[], Place { commit: "abc".into(), ..Place::default() }, at);
        let healthy = follows(&done, Kind::Healthy, "r", String::new(), at);
        assert_eq!(found.change, done.change);
        assert_eq!(done.change, healthy.change);
        let ids = [&found.id, &done.id, &healthy.id, &follows(&done, Kind::Synced, "r", String::new(), at).id];
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), 4);
        assert_eq!(committed(&app, &about, &[], Place { commit: "abc".into(), ..Place::default() }, at).id, done.id);
    }
}
