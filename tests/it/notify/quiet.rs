//! When nothing changes, nothing happens: no message, no call of the API but the watches, no line in the log.

use std::time::{Duration, Instant};

use serde_json::json;

use super::stage::*;
use crate::support::api_front::ApiFront;
use crate::support::control_plane::ControlPlane;
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn p_6_obs_01_wrb_06_two_hundred_applications_at_rest_cost_nothing() {
    const APPLICATIONS: usize = 200;
    let front = ApiFront::start(ControlPlane::get().await.port()).await;
    let stage = Stage::through("quiet", front.port()).await;
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
    let patched = || async { (front.count(|call| call.starts_with("PATCH")) > 0).then_some(()) };
    wait_for("the annotation is written", PATIENCE, patched).await;
    house.until("it greets", |_| house.log().contains(" applications, ")).await;

    // How long it is quiet is what is measured here.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, sent) = (house.log(), stage.slack.calls() + stage.hook.calls());
    front.calls();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let calls = front.calls();
    // P-6: watches, and the image half's Lease.
    let calls: Vec<&String> = calls.iter().filter(|call| !call.contains("/leases/")).collect();
    let unwanted: Vec<&&String> = calls.iter().filter(|call| !call.contains("watch=")).collect();
    assert!(unwanted.is_empty(), "{unwanted:?}");
    assert!(calls.len() < 10, "{calls:?}");
    assert_eq!(stage.slack.calls() + stage.hook.calls(), sent);
    assert_eq!(house.log().strip_prefix(&before), Some(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrb_04_patches_are_coalesced_and_paced() {
    const APPLICATIONS: usize = 60;
    let front = ApiFront::start(ControlPlane::get().await.port()).await;
    let stage = Stage::through("paced", front.port()).await;
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
    let calls = front.timed_calls();
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
