//! Image events as messages: what conditions and templates see as `image`, and the one pass over an event
//! (notifications.md §14).

use serde_json::{Map as JsonMap, Value as Json, json};

use super::{Evaluation, Pass, Rules, subscriptions};
use crate::core::application::Application;
use crate::core::event::{Event, Kind, Moved, Place};
use crate::core::image::{ImageRef, Version};
use crate::core::notify::ledger::Ledger;
use crate::core::notify::variables::Facts;
use crate::core::value::duration;

/// Where the stored copy of an Application's version keeps the event that its rows tell of.
pub const STORED_AT: &str = "lynceus.dev/image-event";

/// An event older than this is no news to anybody: it is passed over, as its message would have expired (OUT-06).
pub const OLDEST: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// `image`, as conditions and templates see it. Fields that do not apply are absent.
pub fn variable(event: &Event) -> Json {
    let mut image = JsonMap::new();
    let mut put = |name: &str, value: Json| {
        if !matches!(&value, Json::Null) && value.as_str() != Some("") {
            image.insert(name.to_owned(), value);
        }
    };
    put("event", json!(event.kind.word()));
    put("id", json!(event.id));
    put("changeId", json!(event.change));
    put("at", json!(event.at.to_string()));
    put("severity", json!(event.kind.severity()));
    put("reason", json!(event.reason));
    put("message", json!(event.message));
    let what = what_changes(&own(event));
    put("firstSeen", event.first_seen.map_or(Json::Null, |at| json!(at.to_string())));
    for (name, value) in &what {
        put(name, value.clone());
    }
    if let Some(place) = &event.place {
        put("method", json!(place.method));
        put("commit", commit(place));
        let all: Vec<_> = event.beside.iter().map(what_changes).collect();
        put("changes", if all.is_empty() { json!([what]) } else { json!(all) });
    }
    put("revision", json!(event.revision));
    if let Some(earlier) = &event.earlier {
        let lasted = event.at.duration_since(earlier.at);
        let lasted = duration::text(lasted.as_secs().saturating_mul(1_000_000_000));
        if event.kind == Kind::Recovered {
            put("original", json!(earlier.id));
            put("duration", json!(lasted));
        } else {
            put("sinceCommit", json!(lasted));
        }
    }
    if event.count > 1 {
        put("count", json!(event.count));
        let first = [event.app.to_string()];
        put("apps", json!(if event.apps.is_empty() { first.as_slice() } else { event.apps.as_slice() }));
    }
    Json::Object(image)
}

fn own(event: &Event) -> Moved {
    let Event { alias, image, old, new, strategy, .. } = event.clone();
    Moved { alias, image, old, new, strategy }
}

/// Which image, from what to what: the fields that each of `changes` has too.
fn what_changes(event: &Moved) -> JsonMap<String, Json> {
    let mut fields = JsonMap::new();
    let repository = ImageRef::parse_reference(&event.image).map(|image| image.canonical()).ok();
    let (old_tag, old_digest) = parts(&event.old);
    let (new_tag, new_digest) = parts(&event.new);
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(name.to_owned(), json!(value));
        }
    };
    put("alias", &event.alias);
    put("name", &event.image);
    put("registry", repository.as_ref().map_or("", |r| &r.registry));
    put("repository", repository.as_ref().map_or("", |r| &r.path));
    put("old", &event.old);
    put("new", &event.new);
    put("oldTag", old_tag);
    put("newTag", new_tag);
    put("oldDigest", old_digest);
    put("newDigest", new_digest);
    put("strategy", &event.strategy);
    if !event.new.is_empty() {
        put("change", size(old_tag, new_tag));
    }
    fields
}

/// Tag and digest of a value of the desired state.
fn parts(value: &str) -> (&str, &str) {
    match value.split_once('@') {
        Some(parts) => parts,
        None if value.starts_with("sha256:") => ("", value),
        None => (value, ""),
    }
}

/// How big the step is: `major`, `minor`, `patch`, `digest` (the tag stays) or `other`.
fn size(old: &str, new: &str) -> &'static str {
    if old == new {
        return "digest";
    }
    let (Some(old), Some(new)) = (Version::parse(old), Version::parse(new)) else { return "other" };
    match () {
        () if old.major != new.major => "major",
        () if old.minor != new.minor => "minor",
        () if old.patch != new.patch => "patch",
        () => "other",
    }
}

fn commit(place: &Place) -> Json {
    let mut commit = JsonMap::new();
    let url = commit_url(&place.repository, &place.commit);
    for (name, value) in [
        ("sha", &place.commit),
        ("url", &url),
        ("repository", &place.repository),
        ("branch", &place.branch),
        ("file", &place.file),
        ("message", &place.message),
        ("diff", &place.diff),
    ] {
        if !value.is_empty() {
            commit.insert(name.to_owned(), json!(value));
        }
    }
    if commit.is_empty() { Json::Null } else { Json::Object(commit) }
}

/// The page of a commit where the Git host has one. GitLab and Bitbucket have paths of their own; GitHub, Gitea,
/// Forgejo and Azure DevOps share theirs.
fn commit_url(repository: &str, commit: &str) -> String {
    let Ok(base) = super::variables::url_to_https(repository) else { return String::new() };
    let base = base.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let base = base.strip_suffix(".git").unwrap_or(base);
    let (host, path) = base.trim_start_matches("https://").split_once('/').unwrap_or_default();
    // A port of SSH is none of the web pages'.
    let ssh = repository.starts_with("ssh://");
    let host = if ssh { host.split(':').next().unwrap_or(host) } else { host };
    let scheme = if repository.starts_with("http://") { "http" } else { "https" };
    let base = format!("{scheme}://{host}/{path}");
    if commit.is_empty() || host.is_empty() {
        return String::new();
    }
    match () {
        () if host.contains("gitlab") => format!("{base}/-/commit/{commit}"),
        () if host.contains("bitbucket") => format!("{base}/commits/{commit}"),
        () => format!("{base}/commit/{commit}"),
    }
}

/// One pass over one event (IMG-01, IMG-02): exactly the conditions that read `image` are evaluated, on the latest
/// version of the Application; each true one gives a row per destination. The skip rule does not apply, and neither
/// ledger nor state annotation learns of it.
pub fn evaluate(
    event: &Event,
    app: &Application,
    project: Option<&std::collections::BTreeMap<String, String>>,
    rules: &Rules,
    facts: impl FnOnce() -> Facts,
) -> Evaluation {
    let evaluation = Evaluation::default();
    let mut pass = Pass { app, rules, ledger: Ledger::default(), upstream: None, now: event.at, evaluation };
    let (wanted, _) = subscriptions(app, project, rules);
    if wanted.is_empty() {
        return pass.evaluation;
    }
    let mut facts = facts();
    facts.image = crate::core::value::Value::from_json(&variable(event));
    let variables = facts.for_conditions();
    let occurrence = format!("image:{}", event.id);
    for (name, destinations) in &wanted.by_trigger {
        let conditions = rules.triggers.get(name).into_iter().flat_map(|trigger| &trigger.conditions);
        for condition in conditions.filter(|condition| condition.reads_image()) {
            let outcome = condition.evaluate(&variables, &facts.now);
            pass.evaluation.evaluated.push((name.clone(), outcome.result == Some(true)));
            pass.evaluation.wanted.extend(facts.take_wanted());
            pass.say(name, condition, &outcome);
            if outcome.result != Some(true) {
                continue;
            }
            for destination in destinations {
                let row = pass.row(name, condition, &occurrence, String::new(), destination, &facts);
                pass.evaluation.rows.push(row);
            }
            facts.take_wanted();
        }
    }
    pass.evaluation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Earlier;

    fn moved(alias: &str, image: &str, old: &str, new: &str) -> Moved {
        let [alias, image, old, new] = [alias, image, old, new].map(str::to_owned);
        Moved { alias, image, old, new, strategy: "semver".into() }
    }

    fn event(kind: Kind) -> Event {
        let app = Application::decode(r#"{"metadata":{"name":"web","namespace":"argocd","uid":"u"}}"#).unwrap();
        let place = Place {
            method: "git".into(),
            repository: "git@github.com:acme/deploy.git".into(),
            branch: "main".into(),
            commit: "c0ffee".into(),
            file: "web/values.yaml".into(),
            message: "build: automatic update of web\n".into(),
            diff: "-a\n+b\n".into(),
        };
        Event {
            id: "img_1".into(),
            kind,
            at: "2026-05-01T12:01:30Z".parse().unwrap(),
            app: app.key,
            app_uid: "u".into(),
            project: "default".into(),
            change: "chg_1".into(),
            alias: "w".into(),
            image: "ghcr.io/acme/web".into(),
            old: "1.0.0@sha256:aa".into(),
            new: "1.1.0@sha256:bb".into(),
            reason: String::new(),
            message: String::new(),
            place: Some(place),
            count: 1,
            earlier: Some(Earlier { id: "img_0".into(), at: "2026-05-01T12:00:00Z".parse().unwrap() }),
            apps: Vec::new(),
            strategy: "semver".into(),
            first_seen: Some("2026-05-01T11:59:00Z".parse().unwrap()),
            revision: "c0ffee".into(),
            owner: String::new(),
            beside: vec![
                moved("w", "ghcr.io/acme/web", "1.0.0@sha256:aa", "1.1.0@sha256:bb"),
                moved("", "redis", "6", "7"),
            ],
        }
    }

    #[test]
    fn img_01_section_14_the_fields_of_image() {
        let what = json!({
            "alias": "w", "name": "ghcr.io/acme/web", "registry": "ghcr.io", "repository": "acme/web",
            "old": "1.0.0@sha256:aa", "new": "1.1.0@sha256:bb", "oldTag": "1.0.0", "newTag": "1.1.0",
            "oldDigest": "sha256:aa", "newDigest": "sha256:bb", "change": "minor", "strategy": "semver",
        });
        let other = json!({
            "name": "redis", "registry": "docker.io", "repository": "library/redis", "old": "6", "new": "7",
            "oldTag": "6", "newTag": "7", "change": "major", "strategy": "semver",
        });
        let mut wanted = json!({
            "event": "healthy", "id": "img_1", "changeId": "chg_1", "at": "2026-05-01T12:01:30Z", "severity": "info",
            "method": "git", "sinceCommit": "1m30s", "changes": [what, other], "firstSeen": "2026-05-01T11:59:00Z",
            "revision": "c0ffee",
            "commit": {
                "sha": "c0ffee", "url": "https://github.com/acme/deploy/commit/c0ffee", "branch": "main",
                "repository": "git@github.com:acme/deploy.git", "file": "web/values.yaml", "diff": "-a\n+b\n",
                "message": "build: automatic update of web\n",
            },
        });
        for (name, value) in what.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        assert_eq!(variable(&event(Kind::Healthy)), wanted);
        let shared = Event { place: None, count: 7, reason: "git-auth".into(), ..event(Kind::Recovered) };
        let shared = variable(&shared);
        for (field, value) in [
            ("original", json!("img_0")),
            ("duration", json!("1m30s")),
            ("count", json!(7)),
            ("apps", json!(["argocd/web"])),
            ("reason", json!("git-auth")),
            ("severity", json!("info")),
        ] {
            assert_eq!(shared[field], value, "{field}");
        }
        for field in ["commit", "changes", "sinceCommit", "message"] {
            assert!(shared.get(field).is_none(), "{field}");
        }
        assert_eq!(variable(&event(Kind::Refused))["severity"], "error");
        let alone = Event { beside: Vec::new(), ..event(Kind::Committed) };
        assert_eq!(variable(&alone)["changes"], json!([what]), "one image is the only change");
        let named = Event { count: 7, apps: vec!["a/b".into(), "argocd/web".into()], ..event(Kind::Failed) };
        assert_eq!(variable(&named)["apps"], json!(["a/b", "argocd/web"]));
    }

    #[test]
    fn section_14_sizes_of_a_change_and_pages_of_a_commit() {
        for (old, new, change) in [
            ("1.0", "2.0", "major"),
            ("v1.0.1", "v1.1.0", "minor"),
            ("1.0.0", "1.0.1", "patch"),
            ("1.0.0-rc1", "1.0.0", "other"),
            ("latest", "latest", "digest"),
            ("main-a", "main-b", "other"),
        ] {
            assert_eq!(size(old, new), change, "{old} {new}");
        }
        for (repository, url) in [
            ("https://gitlab.example.com/a/b.git", "https://gitlab.example.com/a/b/-/commit/c1"),
            ("https://bitbucket.org/a/b", "https://bitbucket.org/a/b/commits/c1"),
            ("ssh://git@code.example:2222/a/b.git", "https://code.example/a/b/commit/c1"),
            ("http://127.0.0.1:8080/a.git", "http://127.0.0.1:8080/a/commit/c1"),
            ("", ""),
        ] {
            assert_eq!(commit_url(repository, "c1"), url, "{repository}");
        }
        assert_eq!(commit_url("https://github.com/a/b", ""), "");
    }
}
