//! When nothing changes, nothing happens: no message, no call of the API but the watches, no line in the log.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use super::stage::*;
use crate::support::control_plane::ControlPlane;
use crate::support::front::{Cut, Front};
use crate::support::tls::Authority;
use crate::support::wait_for;

/// When the API was called, and how.
type Calls = Arc<Mutex<Vec<(Instant, String)>>>;

/// Passes everything on to the API server, watches included, and keeps a list of it.
async fn counting_api(port: u16) -> (Front, Calls) {
    let authority = reqwest::Certificate::from_pem(Authority::shared().pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().add_root_certificate(authority).build().expect("a client");
    let calls = Arc::new(Mutex::new(Vec::new()));
    let list = calls.clone();
    let front = Front::start(Some(Authority::shared().server_config()), move |request| {
        let (client, list) = (client.clone(), list.clone());
        async move {
            let target = request.uri().path_and_query().map(|p| p.as_str().to_owned()).unwrap_or_default();
            list.lock().unwrap().push((Instant::now(), format!("{} {target}", request.method())));
            let (head, body) = request.into_parts();
            let mut sent = client.request(head.method, format!("https://127.0.0.1:{port}{target}")).body(body);
            for (name, value) in head.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
                sent = sent.header(name, value);
            }
            let answer = sent.send().await.map_err(|_| Cut)?;
            let mut passed = hyper::Response::builder().status(answer.status().as_u16());
            for name in ["content-type", "content-encoding"] {
                if let Some(value) = answer.headers().get(name) {
                    passed = passed.header(name, value);
                }
            }
            let body = answer.bytes_stream().map_ok(Frame::data).map_err(|_| Cut).boxed();
            Ok(passed.body(BodyExt::boxed(StreamBody::new(Unshared(Mutex::new(body))))).expect("an answer"))
        }
    });
    (front, calls)
}

/// A body must be `Sync`; a stream behind a lock is.
struct Unshared<S>(Mutex<S>);

impl<S: futures::Stream + Unpin> futures::Stream for Unshared<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.get_mut().0.get_mut().unwrap().poll_next_unpin(context)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p_6_obs_01_wrb_06_two_hundred_applications_at_rest_cost_nothing() {
    const APPLICATIONS: usize = 200;
    let (front, calls) = counting_api(ControlPlane::get().await.port()).await;
    let stage = Stage::through("quiet", front.address().port()).await;
    stage.configure(&stage.services()).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let subscribed = [("on-sync-failed.slack", "alerts"), ("on-sync-failed.hook", "")];
    let key = |to: &str| format!("abc123:on-sync-failed:{SYNC_FAILED}:{to}");
    let state = json!({ key("slack:alerts"): 1767225600, key("hook:"): 1767225600 }).to_string();
    let apps = (0..APPLICATIONS).map(|n| {
        let mut app = application(&format!("app-{n:03}"), &subscribed);
        app["metadata"]["annotations"][STATE] = json!(state);
        app["status"] = synced("Failed", "abc123");
        app
    });
    for app in apps {
        stage.ns.apply_json(app).await;
    }
    let house = &stage.house;
    house.start().await;
    house.until("all are seen", |s| s["applications"]["watched"] == APPLICATIONS).await;
    // One of them is told of, so that every part has worked; then all comes to rest.
    stage.ns.patch(ARGO, "Application", "app-000", &json!({ "status": synced("Failed", "def456") })).await;
    house.until("both are told", |s| s["outbox"] == json!({ "done": 2 })).await;
    let patched = || async { calls.lock().unwrap().iter().any(|(_, call)| call.starts_with("PATCH")).then_some(()) };
    wait_for("the annotation is written", PATIENCE, patched).await;
    house.until("it greets", |_| house.log().contains(" applications, ")).await;

    // How long it is quiet is what is measured here.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, sent) = (house.log(), stage.slack.calls() + stage.hook.calls());
    calls.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    let unwanted: Vec<&String> = calls.iter().map(|(_, call)| call).filter(|call| !call.contains("watch=")).collect();
    assert!(unwanted.is_empty(), "{unwanted:?}");
    assert!(calls.len() < 10, "{calls:?}");
    assert_eq!(stage.slack.calls() + stage.hook.calls(), sent);
    assert_eq!(house.log().strip_prefix(&before), Some(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrb_04_patches_are_coalesced_and_paced() {
    const APPLICATIONS: usize = 60;
    let (front, calls) = counting_api(ControlPlane::get().await.port()).await;
    let stage = Stage::through("paced", front.address().port()).await;
    stage.configure(&stage.services()).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let name = |n: usize| format!("app-{n:02}");
    for n in 0..APPLICATIONS {
        let subscribed = [("on-sync-failed.hook", "")];
        stage.ns.apply_json(application(&name(n), &subscribed)).await;
    }
    stage.house.start().await;
    // Three messages in short order, then one more as soon as they are marked.
    let mut told = Vec::new();
    for wave in [&["r1", "r2", "r3"][..], &["r4"]] {
        for revision in wave {
            for n in 0..APPLICATIONS {
                stage.status(&name(n), synced("Failed", revision)).await;
            }
            told.push(format!("{revision}:on-sync-failed:{SYNC_FAILED}:hook:"));
        }
        for n in 0..APPLICATIONS {
            stage.keys(&name(n), &told).await;
        }
    }
    stage.house.until("all are told", |s| s["outbox"] == json!({ "done": 4 * APPLICATIONS })).await;
    let calls = calls.lock().unwrap().clone();
    let patches: Vec<&(Instant, String)> = calls.iter().filter(|(_, call)| call.starts_with("PATCH")).collect();
    for window in patches.windows(21) {
        let took = window[20].0 - window[0].0;
        assert!(took >= Duration::from_millis(990), "21 patches in {took:?}");
    }
    for n in 0..APPLICATIONS {
        let own: Vec<Instant> =
            patches.iter().filter(|(_, call)| call.contains(&format!("/{}?", name(n)))).map(|(at, _)| *at).collect();
        assert!((2..=4).contains(&own.len()), "{}: {} patches", name(n), own.len());
        let gaps = own.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(
            gaps.clone().all(|gap| gap >= Duration::from_millis(1900)),
            "{}: {:?}",
            name(n),
            gaps.collect::<Vec<_>>()
        );
    }
    println!("{} patches for {} messages", patches.len(), 4 * APPLICATIONS);
}
