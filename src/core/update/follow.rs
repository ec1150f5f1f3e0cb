//! What became of a committed change: an open change and an Application version give `synced`, then `healthy` or
//! `degraded` (image-updates.md §22).

use jiff::{SignedDuration, Timestamp};

use super::report;
use crate::core::application::Application;
use crate::core::application::source::normalise_repo_url;
use crate::core::event::{Event, Kind};

/// A change is watched for `degraded` this long after it was synced.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// A change that is not settled after this long is no longer followed.
pub const FOLLOWED: SignedDuration = SignedDuration::from_hours(24);

/// One committed change being followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Its `committed` event.
    pub committed: Event,
    /// When it was synced, if it was.
    pub synced: Option<Timestamp>,
}

/// Whether a synced revision of the Application is or descends from the commit. Only Git can tell, so the caller
/// answers for each revision; the very commit needs no answer.
pub fn revisions_to_ask(open: &Open, app: &Application) -> Vec<String> {
    let Some(place) = open.committed.place.as_ref().filter(|_| open.synced.is_none()) else { return Vec::new() };
    app.status.revisions.iter().filter(|r| !r.is_empty() && **r != place.commit).cloned().collect()
}

/// The same for the operation that failed: a push of several commits is synced at its last one.
pub fn failed_revisions_to_ask(open: &Open, app: &Application) -> Vec<String> {
    let Some(place) = open.committed.place.as_ref().filter(|_| open.synced.is_none()) else { return Vec::new() };
    let Some(operation) = app.status.operation.as_ref().filter(|o| failed(&o.phase)) else { return Vec::new() };
    let all = operation.synced_revisions.iter().chain(&operation.asked_revisions);
    let mut asked: Vec<String> = all.filter(|r| !r.is_empty() && **r != place.commit).cloned().collect();
    asked.sort();
    asked.dedup();
    asked
}

/// What Git says of the revisions that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// The synced revision holds the commit.
    pub synced: bool,
    /// The revision of the failed operation holds it.
    pub failed: bool,
}

/// The events that this version adds. Done when `healthy` or `degraded` came out, or when the window has passed.
pub fn follow(open: &mut Open, app: &Application, holds: Holds, now: Timestamp) -> (Vec<Event>, bool) {
    let mut events = Vec::new();
    let revision = revision_of(open, app);
    if open.synced.is_none() {
        let patched = open.committed.place.as_ref().is_some_and(|place| place.method == "argocd");
        let at_commit = open.committed.place.as_ref().is_some_and(|p| app.status.revisions.contains(&p.commit));
        let synced = app.status.sync == "Synced" && (holds.synced || at_commit || (patched && later(open, app)));
        let failed = sync_failed(open, app, holds.failed);
        if !synced && !failed {
            return (events, now.duration_since(open.committed.at) > FOLLOWED);
        }
        if failed && !synced {
            let text = app.status.operation.as_ref().map(|o| o.message.clone()).unwrap_or_default();
            events.push(report::follows(&open.committed, Kind::Degraded, &revision, text, now));
            return (events, true);
        }
        open.synced = Some(now);
        events.push(report::follows(&open.committed, Kind::Synced, &revision, String::new(), now));
    }
    let live = app.status.images.is_empty() || app.status.images.iter().any(|image| carries(image, &open.committed));
    match app.status.health.as_str() {
        "Healthy" if live => {
            events.push(report::follows(&open.committed, Kind::Healthy, &revision, String::new(), now));
            (events, true)
        }
        "Degraded" => {
            let text = app.status.health_message.clone();
            events.push(report::follows(&open.committed, Kind::Degraded, &revision, text, now));
            (events, true)
        }
        _ => (events, open.synced.is_some_and(|at| now.duration_since(at) > WINDOW)),
    }
}

/// The revision that was synced, or was to be: of the source whose repository was written to, else the first.
fn revision_of(open: &Open, app: &Application) -> String {
    let url = open.committed.place.as_ref().map(|place| normalise_repo_url(&place.repository)).unwrap_or_default();
    let own = app.sources.iter().position(|source| normalise_repo_url(&source.repo_url) == url);
    let failed = app.status.operation.as_ref().filter(|operation| failed(&operation.phase));
    let asked = failed.map(|o| if o.synced_revisions.is_empty() { &o.asked_revisions } else { &o.synced_revisions });
    let all = asked.filter(|list| !list.is_empty()).unwrap_or(&app.status.revisions);
    own.and_then(|index| all.get(index)).or(all.first()).cloned().unwrap_or_default()
}

fn later(open: &Open, app: &Application) -> bool {
    let finished = app.status.operation.as_ref().and_then(|o| o.finished_at.parse::<Timestamp>().ok());
    let seen = app.status.reconciled_at.parse::<Timestamp>().ok();
    [finished, seen].into_iter().flatten().any(|at| at >= open.committed.at)
}

fn failed(phase: &str) -> bool {
    matches!(phase, "Failed" | "Error")
}

/// The sync operation of this commit, or of one that holds it, ended without success.
fn sync_failed(open: &Open, app: &Application, held: bool) -> bool {
    let Some(operation) = &app.status.operation else { return false };
    let Some(place) = &open.committed.place else { return false };
    failed(&operation.phase)
        && !place.commit.is_empty()
        && (held
            || operation.synced_revisions.contains(&place.commit)
            || operation.asked_revisions.contains(&place.commit))
}

/// Whether a live image carries the committed value: its digest if it has one, else its tag.
fn carries(live: &str, committed: &Event) -> bool {
    let (tag, digest) = committed.new.split_once('@').unwrap_or((&committed.new, ""));
    let (live_name, live_digest) = live.split_once('@').unwrap_or((live, ""));
    if !digest.is_empty() && !live_digest.is_empty() {
        return digest == live_digest;
    }
    live_name.rsplit_once(':').is_some_and(|(_, live_tag)| live_tag == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Place;
    use crate::core::image::ImageRef;
    use crate::core::update::decision::Change;
    use serde_json::json;

    fn version(sync: &str, revision: &str, health: &str, images: &[&str], phase: &str) -> Application {
        let object = json!({
            "metadata": {"name": "web", "namespace": "argocd", "uid": "u"},
            "status": {"sync": {"status": sync, "revision": revision}, "health": {"status": health},
                "summary": {"images": images},
                "operationState": {"phase": phase, "message": "boom", "syncResult": {"revision": revision}}},
        });
        Application::decode(&object.to_string()).unwrap()
    }

    fn open() -> Open {
        let app = version("Synced", "old", "Healthy", &[], "Succeeded");
        let new = ImageRef::parse("nginx:2").unwrap();
        let change = Change::of(new, Some("1".into()), None, "semver");
        let place = Place { method: "git".into(), commit: "abc".into(), ..Place::default() };
        Open { committed: report::committed(&app, &change, &[], place, Timestamp::UNIX_EPOCH), synced: None }
    }

    #[test]
    fn section_22_a_change_is_followed_to_its_end() {
        let kinds = |events: &[Event]| events.iter().map(|e| e.kind.word()).collect::<Vec<_>>().join(" ");
        for (sync, revision, health, images, phase, contains, expected, done) in [
            ("OutOfSync", "old", "Healthy", vec!["nginx:1"], "Succeeded", false, "", false),
            ("Synced", "old", "Healthy", vec!["nginx:1"], "Succeeded", false, "", false),
            ("Synced", "abc", "Progressing", vec!["nginx:1"], "Succeeded", false, "synced", false),
            ("Synced", "later", "Progressing", vec!["nginx:1"], "Succeeded", true, "synced", false),
            ("Synced", "abc", "Healthy", vec!["nginx:2"], "Succeeded", false, "synced healthy", true),
            ("Synced", "abc", "Healthy", vec!["nginx:1"], "Succeeded", false, "synced", false),
            ("Synced", "abc", "Healthy", vec![], "Succeeded", false, "synced healthy", true),
            ("Synced", "abc", "Degraded", vec!["nginx:2"], "Succeeded", false, "synced degraded", true),
            ("OutOfSync", "abc", "Healthy", vec!["nginx:1"], "Failed", false, "degraded", true),
            ("OutOfSync", "later", "Healthy", vec!["nginx:1"], "Failed", true, "degraded", true),
            ("OutOfSync", "earlier", "Healthy", vec!["nginx:1"], "Failed", false, "", false),
        ] {
            let mut open = open();
            let app = version(sync, revision, health, &images, phase);
            let holds = Holds { synced: contains, failed: contains };
            let (events, ended) = follow(&mut open, &app, holds, Timestamp::UNIX_EPOCH);
            assert_eq!((kinds(&events).as_str(), ended), (expected, done), "{sync} {revision} {health} {phase}");
            assert!(events.iter().all(|event| event.revision == revision), "{events:?}");
        }
    }

    #[test]
    fn section_22_git_is_asked_about_the_operation_only_when_it_failed() {
        for (phase, revision, expected) in [
            ("Failed", "later", vec!["later"]),
            ("Error", "later", vec!["later"]),
            ("Failed", "abc", vec![]),
            ("Succeeded", "later", vec![]),
        ] {
            let app = version("OutOfSync", revision, "Healthy", &[], phase);
            assert_eq!(failed_revisions_to_ask(&open(), &app), expected, "{phase} {revision}");
        }
    }

    #[test]
    fn what_never_settles_is_let_go() {
        let app = version("OutOfSync", "old", "Healthy", &[], "Succeeded");
        let late = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(25);
        assert!(follow(&mut open(), &app, Holds::default(), late).1);
    }
}
