//! The adapter against scripted API answers: the ugly cases that a real API server cannot be made to show.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{Request, Response};
use futures::StreamExt;
use kube::core::Status;
use serde_json::{Value as Json, json};

use super::object::{Object, resource};
use super::*;
use crate::core::retry::Retry;

#[test]
fn src_2_watch_namespaces_forms() {
    let list = |names: &[&str]| Ok(Namespaces::List(names.iter().map(|n| (*n).to_owned()).collect()));
    for (text, expected) in [
        ("", Ok(Namespaces::Own("argocd".into()))),
        ("*", Ok(Namespaces::All)),
        (" * ", Ok(Namespaces::All)),
        ("a", list(&["a"])),
        (" a , b,a,", list(&["a", "b"])),
        (",", Err(())),
        (" , ", Err(())),
        ("  ", Err(())),
    ] {
        assert_eq!(Namespaces::parse(text, "argocd").map_err(drop), expected, "{text:?}");
    }
}

#[test]
fn ct_13_an_objects_text_is_kept_whatever_is_in_it() {
    let page = r#"{"items":[
        {"metadata":{"name":"a","namespace":"n","uid":"1","resourceVersion":"7"},"spec":5},
        {"metadata":{"name":7}}, {"metadata":"odd"}, 12, "text", null]}"#;
    #[derive(serde::Deserialize)]
    struct Page {
        items: Vec<Object>,
    }
    let page: Page = serde_json::from_str(page).expect("no item is refused");
    let names: Vec<_> = page.items.iter().map(|o| o.name().to_owned()).collect();
    assert_eq!(names, ["a", "", "", "", "", ""]);
    assert_eq!(format!("{:?}", page.items[0]), "n/a");
    assert!(page.items[0].text().ends_with(r#""spec":5}"#));
}

#[test]
fn rbac_1_an_error_names_verb_resource_and_namespace() {
    let applications = resource("argoproj.io", "Application", "applications");
    let status = |code: u16| Status { code, message: "no".into(), ..Status::default() };
    let error = |code| Error::status(Call::one("list", &applications, Some("team"), ""), &status(code));
    for (code, kind, retry) in [
        (401, "kubernetes-forbidden", Retry::Never),
        (403, "kubernetes-forbidden", Retry::Never),
        (404, "kubernetes-unavailable", Retry::Never),
        (409, "kubernetes-conflict", Retry::Never),
        (410, "kubernetes-unavailable", Retry::Backoff),
        (422, "internal", Retry::Never),
        (429, "kubernetes-unavailable", Retry::Backoff),
        (500, "kubernetes-unavailable", Retry::Backoff),
        (503, "kubernetes-unavailable", Retry::Backoff),
    ] {
        assert_eq!((error(code).code(), error(code).retry()), (kind, retry), "{code}");
    }
    let text = error(403).problem().to_string();
    assert_eq!(
        text,
        "list applications.argoproj.io in namespace team: not permitted (no) \
         (grant \"list\" on applications.argoproj.io by a Role)"
    );
    let mut slow = status(429);
    slow.details = serde_json::from_str(r#"{"retryAfterSeconds":3}"#).expect("details");
    let slow = Error::status(Call::one("get", &applications, None, "web"), &slow);
    assert_eq!(slow.retry(), Retry::After(Duration::from_secs(3)));
    assert_eq!(slow.to_string(), "get applications.argoproj.io web in all namespaces: no");
}

/// At the end of a body: the connection stands, and nothing more comes.
const SILENCE: &str = "(silence)";

/// The end of the expected target, a status, a body.
type Answer = (&'static str, u16, String);

/// An API server that gives these answers one after the other, to requests whose target ends with the given text;
/// then none any more.
fn scripted(answers: Vec<Answer>) -> (Cluster, Arc<Mutex<VecDeque<Answer>>>) {
    let script = Arc::new(Mutex::new(VecDeque::from(answers)));
    let serving = script.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let next = serving.lock().unwrap().pop_front();
        async move {
            let Some((expected, status, body)) = next else { return std::future::pending().await };
            let target = request.uri().to_string();
            assert!(target.ends_with(expected), "{target} instead of …{expected}");
            let body = match body.strip_suffix(SILENCE) {
                Some(said) => {
                    let said = Ok::<_, std::io::Error>(said.to_owned());
                    axum::body::Body::from_stream(
                        futures::stream::once(async { said }).chain(futures::stream::pending()),
                    )
                }
                None => axum::body::Body::from(body),
            };
            Response::builder().status(status).body(body)
        }
    });
    let client = Client::new(service, "argocd");
    (Cluster { client, own_namespace: "argocd".into(), counters: Arc::default() }, script)
}

fn item(name: &str, uid: &str, version: &str) -> Json {
    json!({ "metadata": { "namespace": "argocd", "name": name, "uid": uid, "resourceVersion": version } })
}

fn list(version: &str, more: &str, items: &[Json]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": version, "continue": more }, "items": items }).to_string()
}

fn lines(events: &[(&str, Json)]) -> String {
    events.iter().map(|(kind, object)| json!({ "type": kind, "object": object }).to_string() + "\n").collect()
}

fn failure(code: u16) -> Json {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "reason": "x", "code": code })
}

/// Plays a script and gives the events as words, until it is used up and `last` has come.
async fn play(script: Vec<Answer>, last: &str) -> Vec<String> {
    let (cluster, script) = scripted(script);
    let mut events = cluster.applications(&Namespaces::Own("argocd".into()), None).boxed();
    let mut words = Vec::new();
    loop {
        assert!(words.len() < 50, "{last} does not come after {words:?}");
        let word = match events.next().await.expect("no end") {
            AppEvent::Restarted => "restarted".into(),
            AppEvent::Applied(app) => format!("applied {} {}", app.key.name, app.resource_version),
            AppEvent::Deleted(key, uid) => format!("deleted {} {uid}", key.name),
            AppEvent::Ready => "ready".into(),
            AppEvent::Undecodable(key, _) => format!("undecodable {}", key.name),
            AppEvent::Down(text) => format!("down {text}"),
            AppEvent::Polled(text) => format!("polled {text}"),
            AppEvent::Up => "up".into(),
        };
        words.push(word.clone());
        if word == last && script.lock().unwrap().is_empty() {
            return words;
        }
    }
}

const LIST: &str = "/applications?&limit=100";
const FROM_10: &str = "resourceVersion=10";

#[tokio::test(start_paused = true)]
async fn ct_12_a_new_list_tells_what_changed_and_vanished_and_repeats_nothing() {
    // The server forgets versions: it may say so in the watch, or refuse to begin one.
    let in_watch = (FROM_10, 200, lines(&[("ERROR", failure(410))]));
    let at_start = (FROM_10, 410, failure(410).to_string());
    for expired in [in_watch, at_start] {
        let script = vec![
            (LIST, 200, list("10", "", &[item("a", "1", "1"), item("b", "2", "2"), item("d", "4", "4")])),
            expired,
            (LIST, 200, list("20", "", &[item("a", "1", "1"), item("c", "3", "12"), item("d", "5", "13")])),
            ("resourceVersion=20", 200, lines(&[("MODIFIED", item("a", "1", "21"))])),
        ];
        let words = play(script, "applied a 21").await;
        let expected = [
            "restarted",
            "applied a 1",
            "applied b 2",
            "applied d 4",
            "ready",
            // `d` is another object by now.
            "restarted",
            "applied c 12",
            "deleted d 4",
            "applied d 13",
            "deleted b 2",
            "ready",
            "applied a 21",
        ];
        assert_eq!(words, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn src_1_pages_follow_each_other_and_an_expired_page_begins_the_list_anew() {
    let script = vec![
        (LIST, 200, list("9", "next", &[item("a", "1", "1")])),
        ("limit=100&continue=next", 410, failure(410).to_string()),
        (LIST, 200, list("10", "more", &[item("a", "1", "1")])),
        ("limit=100&continue=more", 200, list("10", "", &[item("b", "2", "2")])),
    ];
    let words = play(script, "ready").await;
    assert_eq!(words, ["restarted", "applied a 1", "restarted", "applied b 2", "ready"]);
}

#[tokio::test(start_paused = true)]
async fn ct_01_a_watch_that_ends_goes_on_from_the_last_version() {
    let mark =
        json!({ "kind": "Application", "apiVersion": "argoproj.io/v1alpha1", "metadata": { "resourceVersion": "30" } });
    let script = vec![
        (LIST, 200, list("10", "", &[])),
        (FROM_10, 200, lines(&[("ADDED", item("a", "1", "11")), ("DELETED", item("a", "1", "12"))])),
        ("resourceVersion=12", 200, lines(&[("BOOKMARK", mark)])),
        ("resourceVersion=30", 200, lines(&[("ADDED", item("a", "2", "31")), ("MODIFIED", item("a", "2", "32"))])),
        ("resourceVersion=32", 200, "neither type nor object\n".to_owned()),
        (LIST, 200, list("32", "", &[item("a", "2", "32")])),
        ("resourceVersion=32", 500, failure(500).to_string()),
        ("resourceVersion=32", 200, String::new()),
    ];
    let words = play(script, "up").await;
    let odd = "down watch applications.argoproj.io in namespace argocd: an event that cannot be read";
    let down = "down watch applications.argoproj.io in namespace argocd: no";
    let expected = [
        "restarted",
        "ready",
        "applied a 11",
        "deleted a 1",
        "applied a 31",
        "applied a 32",
        odd,
        "restarted",
        "up",
        "ready",
        down,
        "up",
    ];
    assert_eq!(words, expected);
}

#[tokio::test(start_paused = true)]
async fn ct_01_a_watch_that_falls_silent_is_begun_anew() {
    let mark =
        json!({ "kind": "Application", "apiVersion": "argoproj.io/v1alpha1", "metadata": { "resourceVersion": "30" } });
    for (said, patience) in [
        (vec![("BOOKMARK", mark)], 150),
        // Who sends no bookmarks may be silent until the watch ends.
        (vec![("MODIFIED", item("a", "1", "30"))], 300),
    ] {
        let begun = tokio::time::Instant::now();
        let script = vec![
            (LIST, 200, list("10", "", &[item("a", "1", "1")])),
            (FROM_10, 200, lines(&said) + SILENCE),
            ("resourceVersion=30", 200, lines(&[("MODIFIED", item("a", "1", "31"))])),
        ];
        let words = play(script, "applied a 31").await;
        assert_eq!(words.last().map(String::as_str), Some("applied a 31"));
        assert_eq!(begun.elapsed().as_secs(), patience);
    }
}

#[tokio::test(start_paused = true)]
async fn rbac_1_a_list_that_fails_is_tried_again_until_it_succeeds() {
    let script = vec![
        (LIST, 403, failure(403).to_string()),
        (LIST, 503, "not even JSON".to_owned()),
        (LIST, 200, list("10", "", &[item("a", "1", "1")])),
    ];
    let words = play(script, "ready").await;
    assert_eq!(words[1], "down list applications.argoproj.io in namespace argocd: not permitted (no)");
    assert!(words[3].starts_with("down list applications.argoproj.io in namespace argocd: "), "{}", words[3]);
    assert_eq!([&words[..1], &words[4..]].concat(), ["restarted", "restarted", "applied a 1", "up", "ready"]);
}

/// A Role of the 0.x line grants `list` and no `watch`: changes are seen all the same, and it is said once.
#[tokio::test(start_paused = true)]
async fn rbac_1_what_may_not_be_watched_is_listed_again_and_again() {
    let forbidden = |version| (version, 403, failure(403).to_string());
    let begun = tokio::time::Instant::now();
    let script = vec![
        (LIST, 200, list("10", "", &[item("a", "1", "1"), item("b", "2", "2")])),
        forbidden(FROM_10),
        (LIST, 200, list("20", "", &[item("a", "1", "11")])),
        forbidden("resourceVersion=20"),
        (LIST, 200, list("30", "", &[item("a", "1", "11")])),
        ("resourceVersion=30", 200, lines(&[("MODIFIED", item("a", "1", "31"))])),
    ];
    let words = play(script, "applied a 31").await;
    assert!(begun.elapsed() >= Duration::from_secs(30) && begun.elapsed() < Duration::from_secs(32));
    let polled = "polled watch applications.argoproj.io in namespace argocd: not permitted (no)";
    let expected = [
        "restarted",
        "applied a 1",
        "applied b 2",
        "ready",
        polled,
        "restarted",
        "applied a 11",
        "deleted b 2",
        "ready",
        "restarted",
        "ready",
        "up",
        "applied a 31",
    ];
    assert_eq!(words, expected);
}

#[tokio::test(start_paused = true)]
async fn own_3_a_cluster_without_image_updaters_has_none_and_is_asked_again() {
    let group = "/apis/argocd-image-updater.argoproj.io/v1alpha1";
    let known = json!({ "kind": "APIResourceList", "groupVersion": "argocd-image-updater.argoproj.io/v1alpha1", "resources": [
        { "name": "imageupdaters", "singularName": "", "namespaced": true, "kind": "ImageUpdater", "verbs": ["list"] }] });
    let (cluster, _) = scripted(vec![
        (group, 404, failure(404).to_string()),
        (group, 404, failure(404).to_string()),
        (group, 200, known.to_string()),
        ("/imageupdaters?&limit=100", 200, list("10", "", &[item("web", "1", "1")])),
    ]);
    let mut updaters = cluster.image_updaters(&Namespaces::Own("argocd".into())).boxed();
    let begun = tokio::time::Instant::now();
    assert!(matches!(updaters.next().await, Some(UpdaterEvent::NoKind)));
    match updaters.next().await {
        Some(UpdaterEvent::Document(DocumentEvent::Applied(updater))) => {
            assert_eq!((updater.name.as_str(), updater.uid.as_str()), ("web", "1"))
        }
        other => panic!("{other:?}"),
    }
    // Three questions in a minute: no storm, and an installation is noticed soon.
    assert_eq!(begun.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn own_3_a_role_without_image_updaters_and_a_kind_that_is_taken_away_are_told_apart() {
    let group = "/apis/argocd-image-updater.argoproj.io/v1alpha1";
    let known = json!({ "kind": "APIResourceList", "groupVersion": "argocd-image-updater.argoproj.io/v1alpha1", "resources": [
        { "name": "imageupdaters", "singularName": "", "namespaced": true, "kind": "ImageUpdater", "verbs": ["list"] }] });
    let objects = "/imageupdaters?&limit=100";
    let (cluster, _) = scripted(vec![
        (group, 200, known.to_string()),
        (objects, 403, failure(403).to_string()),
        (objects, 200, list("10", "", &[item("web", "1", "1")])),
        (FROM_10, 404, failure(404).to_string()),
        (group, 503, failure(503).to_string()),
        (group, 404, failure(404).to_string()),
    ]);
    let mut updaters = cluster.image_updaters(&Namespaces::Own("argocd".into())).boxed();
    let mut words = Vec::new();
    for _ in 0..7 {
        words.push(match updaters.next().await.expect("it does not end") {
            UpdaterEvent::Document(DocumentEvent::Applied(updater)) => format!("applied {}", updater.name),
            UpdaterEvent::Document(DocumentEvent::Ready) => "ready".to_owned(),
            UpdaterEvent::Document(DocumentEvent::Up) => "up".to_owned(),
            UpdaterEvent::Document(DocumentEvent::Down(_)) => "down".to_owned(),
            UpdaterEvent::Forbidden(call) => format!("forbidden {call}"),
            UpdaterEvent::NoKind => "no kind".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    let call = "list imageupdaters.argocd-image-updater.argoproj.io in namespace argocd";
    let forbidden = format!("forbidden {call}");
    assert_eq!(words, [forbidden.as_str(), "applied web", "up", "ready", "no kind", "down", "no kind"]);
}

#[tokio::test(start_paused = true)]
async fn inv_6_a_secret_that_cannot_be_read_shows_nothing_of_itself() {
    let mut odd = item("s", "1", "1");
    odd["data"] = json!({ "password": "hunter2 is not base64" });
    let mut wrong = item("s", "1", "1");
    wrong["data"] = json!("hunter2");
    for secret in [odd, wrong] {
        let (cluster, _) = scripted(vec![("/secrets/s", 200, secret.to_string())]);
        let error = cluster.secret("argocd", "s").await.expect_err("it is odd");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2") && text.contains("Secret argocd/s"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_the_deadline() {
    let (cluster, _) = scripted(vec![]);
    let error = cluster.secret("argocd", "s").await.expect_err("no answer");
    assert_eq!(error.to_string(), "get secrets s in namespace argocd: no answer within 30 s");
    assert_eq!(error.retry(), Retry::Backoff);
}
