//! What happens to a machine and a cluster in a year: the API server is restarted, the disk runs full, the clock jumps.
//! Messages are neither lost nor doubled by it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lynceus::demo::inbox::Fault;
use serde_json::json;

use super::stage::*;
use crate::support::control_plane::ControlPlane;
use crate::support::wait_for;

/// Once per revision, to the webhook, in this one line.
fn once_per_revision(stage: &Stage) -> BTreeMap<String, String> {
    let mut config = stage.services();
    let trigger = "- when: app.status.operationState.phase == 'Failed'\n  \
                   oncePer: app.status.operationState.syncResult.revision\n  send: [told]";
    let line = "{{.app.metadata.name}} failed at {{.app.status.operationState.syncResult.revision}}";
    config.insert("trigger.on-bad".into(), trigger.into());
    let template = format!("message: '{line}'\nwebhook:\n  hook: {{method: POST, body: '{line}'}}");
    config.insert("template.told".into(), template);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn ct_12_dlv_10_a_restarted_api_server_costs_no_message_and_brings_none_twice() {
    let plane = ControlPlane::own().await;
    let stage = Stage::on(plane, "restarted").await;
    stage.configure(&once_per_revision(&stage)).await;
    for name in ["a", "b"] {
        stage.ns.apply_json(application(name, &[("on-bad.hook", "")])).await;
        stage.status(name, synced("Failed", "r1")).await;
    }
    stage.house.start().await;
    accepted(&stage, &stage.hook, 2).await;
    plane
        .restart(async {
            stage.house.until("the outage shows", |status| status["notReady"] != json!([]) || down(status)).await;
        })
        .await;
    for name in ["a", "b"] {
        stage.status(name, synced("Failed", "r2")).await;
    }
    accepted(&stage, &stage.hook, 4).await;
    stage.house.until("the outage is over", |status| !down(status)).await;
    let mut told = texts(&stage.hook);
    told.sort();
    assert_eq!(told, ["a failed at r1", "a failed at r2", "b failed at r1", "b failed at r2"]);
    assert_eq!(stage.house.stop().await, 0);
}

fn down(status: &serde_json::Value) -> bool {
    let all = status["problems"].as_array().into_iter().flatten();
    all.into_iter().any(|problem| problem["code"].as_str().is_some_and(|code| code.starts_with("kubernetes-")))
}

#[tokio::test(flavor = "multi_thread")]
async fn out_11_a_disk_that_runs_full_stops_sending_not_watching_and_nothing_is_lost() {
    let stage = Stage::new("full-disk").await;
    stage.configure(&once_per_revision(&stage)).await;
    stage.ns.apply_json(application("web", &[("on-bad.hook", "")])).await;
    stage.house.launch_with_a_disk_of(300);
    stage.house.until("it runs", |status| status["notReady"] == json!([])).await;
    let mut n = 0;
    loop {
        n += 1;
        assert!(n < 300, "the disk never was full");
        stage.status("web", synced("Failed", &format!("r{n}"))).await;
        if !stage.hook.wait(Duration::from_secs(4), |accepted, _| accepted.len() >= n).await {
            break;
        }
    }
    let sent = texts(&stage.hook).len();
    let full = Instant::now();
    wait_for("it is not ready", PATIENCE, || async { stage.house.answer("readyz").await.is_none().then_some(()) })
        .await;
    assert!(full.elapsed() > Duration::from_secs(15), "not for a moment's trouble: {:?}", full.elapsed());
    assert!(stage.house.answer("healthz").await.is_some(), "a restart would not help");
    assert_eq!(texts(&stage.hook).len(), sent, "nothing is sent that is not durable");
    // It still sees what happens: this version is gone before the disk has room again.
    stage.status("web", synced("Failed", "while-full")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.status("web", synced("Failed", "last")).await;
    stage.house.free_the_disk();
    let last = |accepted: &[lynceus::demo::inbox::Accepted], _: usize| {
        accepted.iter().any(|a| format!("{:?}", a.what).contains("failed at last"))
    };
    assert!(stage.hook.wait(PATIENCE, last).await, "{:?}\n{}", texts(&stage.hook), stage.house.log());
    wait_for("it is ready", PATIENCE, || async { stage.house.answer("readyz").await }).await;
    let mut wanted: Vec<String> = (1..=n).map(|n| format!("web failed at r{n}")).collect();
    wanted.extend(["web failed at while-full".to_owned(), "web failed at last".to_owned()]);
    assert_eq!(texts(&stage.hook), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn out_13_a_clock_that_jumps_a_day_expires_nothing_and_starts_no_storm() {
    let (stage, clock) = Stage::new("clock").await.with_a_clock(Clock::Wall);
    let mut config = once_per_revision(&stage);
    // One call for each attempt of the outbox.
    config.insert("service.webhook.hook".into(), format!("url: {}/hook\nretryMax: -1", stage.hook.url()));
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    let subscribed = [("on-bad.hook", ""), ("on-bad.slack", "alerts")];
    stage.ns.apply_json(application("web", &subscribed)).await;
    stage.hook.always(Some(Fault::status(503)));
    stage.house.start().await;
    let mut calls = 0;
    for (n, jump) in ["+0", "+24h", "-24h", "+0"].into_iter().enumerate() {
        std::fs::write(&clock, format!("{jump}\n")).expect("the clock");
        stage.status("web", synced("Failed", &format!("r{n}"))).await;
        accepted(&stage, &stage.slack, n + 1).await;
        // Longer than the first wait of the outbox.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let more = stage.hook.calls() - calls;
        calls += more;
        // Up to four rows, each with waits of one to ten seconds.
        assert!(more <= 4 * (n + 1), "{more} calls after {jump}");
        let status = stage.house.status().await.expect("a status");
        assert_eq!(status["outbox"]["dead"], json!(null), "after {jump}: {}", status["outbox"]);
    }
    // The first holds back the later ones of its Application for a minute (LAN-02).
    assert!(calls >= 2, "it was tried again");
    stage.hook.always(None);
    let mut told = accepted(&stage, &stage.hook, 4).await;
    // In order for that minute, and once each whatever the time.
    told.sort();
    let wanted: Vec<String> = (0..4).map(|n| format!("web failed at r{n}")).collect();
    assert_eq!(told, wanted);
    assert_eq!(texts(&stage.slack).len(), 4);
    assert_eq!(stage.house.stop().await, 0);
}
