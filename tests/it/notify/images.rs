//! Image events become messages: each once over kills, and a failure that mends is told twice, as both.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lynceus::adapters::store::Store;
use lynceus::core::application::AppKey;
use lynceus::core::event::{Event, Kind};
use lynceus::demo::inbox::{Accepted, Item};
use serde_json::json;

use super::stage::*;

const EVENTS: usize = 300;

fn event(namespace: &str, n: usize) -> Event {
    Event {
        id: format!("img_{n:04}"),
        kind: Kind::Committed,
        at: Timestamp::now(),
        app: AppKey { namespace: namespace.to_owned(), name: format!("app-{}", n % 3) },
        app_uid: String::new(),
        project: "default".into(),
        change: String::new(),
        alias: String::new(),
        image: "ghcr.io/acme/web".into(),
        old: "1.0.0".into(),
        new: format!("1.0.{n}"),
        reason: String::new(),
        message: String::new(),
        place: None,
        count: 1,
        apps: Vec::new(),
        earlier: None,
        strategy: String::new(),
        first_seen: None,
        revision: String::new(),
        owner: String::new(),
        beside: Vec::new(),
    }
}

/// What arrived: event, whether it says that it may be a repeat, when.
fn arrived(accepted: &[Accepted]) -> BTreeMap<String, Vec<(bool, SystemTime)>> {
    let mut events: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for accepted in accepted {
        let Item::Webhook { body, headers, .. } = &accepted.what else { continue };
        let marked = headers.contains_key("lynceus-possible-repeat");
        events.entry(body.clone()).or_default().push((marked, accepted.at));
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn img_02_image_event_once_over_kill() {
    let stage = Stage::new("image-kills").await;
    let mut config = stage.services();
    config.insert("service.webhook.hook".into(), format!("url: {}/hook\nlynceus: {{headers: true}}", stage.hook.url()));
    let template = "webhook:\n  hook:\n    method: POST\n    body: '{{.image.id}} {{.app.metadata.name}}'";
    config.insert("template.image-updated".into(), template.into());
    stage.configure(&config).await;
    for n in 0..3 {
        let mut app = application(&format!("app-{n}"), &[]);
        app["metadata"]["annotations"] = json!({ "lynceus.dev/notify-subscribe.on-image-updated.hook": "" });
        // An operation that the skip rule waits for; an image event does not.
        app["status"] = json!({ "operationState": {
            "phase": "Succeeded", "startedAt": "2026-05-01T12:00:00Z", "finishedAt": "2026-05-01T12:00:05Z",
            "operation": {},
        } });
        stage.ns.apply_json(app).await;
    }
    // Before this half ran, nothing was news.
    let journal = |events: Vec<Event>| {
        let store = Store::open(&stage.house.state()).expect("the store");
        async move { store.append(events).await.expect("they are kept") }
    };
    let old = Event { id: "img_before".into(), ..event(&stage.ns.name, 0) };
    journal(vec![old]).await;
    stage.house.start().await;
    assert_eq!(stage.house.stop().await, 0);
    assert!(stage.hook.accepted().is_empty());

    journal((0..EVENTS).map(|n| event(&stage.ns.name, n)).collect()).await;
    // An Application that there is not has nobody to tell, and holds nothing up.
    let nobody = Event { app: AppKey { namespace: stage.ns.name.clone(), name: "gone".into() }, ..event("", EVENTS) };
    journal(vec![nobody]).await;
    let (mut killed, mut random) = (Vec::new(), fastrand::Rng::with_seed(7));
    let mut planning = 0;
    for _ in 0..12 {
        stage.house.start().await;
        tokio::time::sleep(Duration::from_millis(random.u64(0..250))).await;
        stage.house.kill();
        killed.push(SystemTime::now());
        let store = Store::open_read_only(&stage.house.state()).expect("the store");
        let mark = store.journal_mark().await.expect("a mark");
        planning += usize::from(mark > 1 && mark < EVENTS as i64 + 1);
    }
    println!("{planning} of {} kills came while events were being planned", killed.len());
    stage.house.start().await;
    let all = |accepted: &[Accepted], _: usize| arrived(accepted).len() >= EVENTS;
    assert!(stage.hook.wait(PATIENCE, all).await, "{} events arrived", arrived(&stage.hook.accepted()).len());
    stage.house.until("nothing is open", |s| s["outbox"] == json!({ "done": EVENTS })).await;
    let arrived = arrived(&stage.hook.accepted());
    let wanted: Vec<String> = (0..EVENTS).map(|n| format!("img_{n:04} app-{}", n % 3)).collect();
    assert_eq!(arrived.keys().collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
    for (event, copies) in &arrived {
        // Only what was being sent when the process died may come twice, and then it says so.
        for pair in copies.windows(2) {
            let near = |at: &SystemTime| at.duration_since(pair[0].1).unwrap_or_default() < Duration::from_millis(1500);
            assert!(pair[1].0 && killed.iter().any(near), "{event}: {copies:?}");
        }
    }
    for n in 0..3 {
        assert_eq!(stage.state(&format!("app-{n}")).await, None, "no annotation (IMG-02)");
    }
}
