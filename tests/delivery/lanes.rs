//! The executor against the inbox: order, isolation, retries, restarts. Every wait is on an observed condition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lynceus::adapters::store::{Error, Filter, Store};
use lynceus::core::notify::message::{DeliveryPolicy, Message, Part, SlackPart};
use lynceus::core::notify::row::{Payload, Row, RowState};
use lynceus::demo::inbox::{Fault, Item};

use crate::executor::*;
use crate::house::{PATIENCE, configured, inbox, items};

#[tokio::test]
async fn p_3_an_event_is_delivered_once_and_told() {
    let inbox = inbox().await;
    let mut house = open(Store::memory().unwrap(), &[hook("x", &inbox, "")]).await;
    house.plan([Row { app_uid: "u".into(), ..event("e1", "web", "x", "") }]).await;
    let row = house.done("e1").await;
    assert_eq!((row.attempts, bodies(&inbox)), (1, vec!["e1".to_owned()]));
    let told = house.told.recv().await.unwrap();
    assert_eq!((told.uid.as_str(), told.app.name.as_str()), ("u", "web"));
    assert!(house.store.ledger("u").await.unwrap().marks["key-e1"].told, "WRB-01");
    let figures = house.tally.figures();
    assert_eq!(figures.deliveries, BTreeMap::from([(("on-deployed".to_owned(), "x".to_owned(), true), 1)]));
    assert_eq!(figures.attempts, BTreeMap::from([(("x".to_owned(), "accepted"), 1)]));
    assert_eq!(figures.seconds["x"].counts.iter().sum::<u64>(), 1);
    assert!(house.tally.idle() < PATIENCE);
    house.close().await.unwrap();
}

#[tokio::test]
async fn dlv_03_once_per_failure_then_success() {
    let inbox = inbox().await;
    inbox.script([Fault::status(500), Fault::status(429), Fault::status(503)]);
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, QUICK)]).await;
    house.plan([event("e1", "web", "x", "")]).await;
    let row = house.done("e1").await;
    assert_eq!((row.attempts, inbox.calls(), bodies(&inbox).len()), (4, 4, 1));
    assert!(!row.possible_repeat, "none of them can have arrived");
    let figures = house.tally.figures();
    assert_eq!(figures.deliveries[&("on-deployed".into(), "x".into(), false)], 3, "one per failed attempt");
    house.close().await.unwrap();
}

#[tokio::test]
async fn lan_07_an_unknown_outcome_is_sent_again_and_says_so() {
    let inbox = inbox().await;
    inbox.script([Fault::DieAfterAccepting]);
    let more = format!("{QUICK}lynceus: {{headers: true}}");
    let hold = "lynceus: {unknownOutcome: hold}";
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, &more), hook("y", &inbox, hold)]).await;
    house.plan([event("e1", "web", "x", "")]).await;
    let row = house.done("e1").await;
    assert!(row.possible_repeat);
    let repeats: Vec<bool> = items(&inbox)
        .iter()
        .map(|item| matches!(item, Item::Webhook { headers, .. } if headers.contains_key("lynceus-possible-repeat")))
        .collect();
    assert_eq!(repeats, [false, true]);
    inbox.script([Fault::Cut]);
    house.plan([event("e2", "web", "y", "")]).await;
    let row = house.until("e2", "dead", |row| row.state.is_final()).await;
    assert!(matches!(&row.state, RowState::Dead { reason, .. } if reason == "unknown"), "{row:?}");
    assert!(row.last_error.starts_with("attempt 1: http://"), "WH-06: {}", row.last_error);
    house.close().await.unwrap();
}

#[tokio::test]
async fn lan_06_lane_isolation() {
    let (healthy, hole) = (inbox().await, inbox().await);
    hole.always(Some(Fault::Stall));
    let mut services = vec![hook("good", &healthy, "")];
    services.extend((0..4).map(|n| hook(&format!("hole{n}"), &hole, "")));
    let house = open(Store::memory().unwrap(), &services).await;
    let dead = (0..200).map(|n| event(&format!("d{n}"), &format!("a{n}"), &format!("hole{}", n % 4), &n.to_string()));
    house.plan(dead).await;
    assert!(hole.wait(PATIENCE, |_, calls| calls == 32).await, "8 calls of each hanging service: {}", hole.calls());
    let begun = Instant::now();
    house.plan((0..100).map(|n| event(&format!("g{n}"), &format!("a{n}"), "good", ""))).await;
    assert!(healthy.wait(PATIENCE, |accepted, _| accepted.len() == 100).await);
    // The holes are given up after 30 s; whoever waited for one would have waited that long.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(hole.calls(), 32, "LAN-01: no more than its share");
    house.task.abort();
}

#[tokio::test]
async fn dlv_01_lan_01_order_per_app_and_lane() {
    let inbox = inbox().await;
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, QUICK)]).await;
    inbox.script((0..12).map(|n| if n % 3 == 0 { Fault::status(500) } else { Fault::None }));
    let rows = (0..30).map(|n| event(&format!("a{}-{:02}", n % 3, n / 3), &format!("a{}", n % 3), "x", ""));
    house.plan(rows).await;
    assert!(inbox.wait(PATIENCE, |accepted, _| accepted.len() == 30).await);
    for app in ["a0", "a1", "a2"] {
        let order: Vec<String> = bodies(&inbox).into_iter().filter(|body| body.starts_with(app)).collect();
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(order, sorted);
        assert_eq!(order.len(), 10);
    }
    house.close().await.unwrap();
}

#[tokio::test]
async fn section_12_2_token_rotation_heals() {
    let inbox = inbox().await;
    inbox.script([Fault::status(401)]);
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, "")]).await;
    house.plan([event("e1", "web", "x", ""), event("e2", "web", "later", "")]).await;
    for id in ["e1", "e2"] {
        let row = house.until(id, "parked", |row| matches!(row.state, RowState::RetryAt { healable: true, .. })).await;
        let RowState::RetryAt { at, .. } = row.state else { panic!() };
        let wait = at.duration_since(Timestamp::now()).as_secs();
        assert!((800..=900).contains(&wait), "every 15 minutes: {wait}");
    }
    assert!(house.row("e2").await.last_error.contains("`later`"));
    house.services.send_replace(Arc::new(by_name(&[hook("x", &inbox, "headers: [{name: a, value: new}]")])));
    house.done("e1").await;
    assert!(!house.row("e2").await.state.is_final(), "its service is still missing");
    let both = [hook("x", &inbox, "headers: [{name: a, value: new}]"), hook("later", &inbox, "")];
    house.services.send_replace(Arc::new(by_name(&both)));
    house.done("e2").await;
    assert_eq!(bodies(&inbox), ["e1", "e2"]);
    house.close().await.unwrap();
}

#[tokio::test]
async fn tpl_09_sec_02_deferred_messages_are_rendered_at_delivery() {
    let inbox = inbox().await;
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, "")]).await;
    let deferred =
        |id: &str, trigger: &str| Row { payload: Payload::Deferred, trigger: trigger.into(), ..event(id, id, "x", id) };
    house.plan([deferred("keep", "on-x"), deferred("show", "secret"), deferred("bad", "parked")]).await;
    assert!(matches!(house.done("keep").await.payload, Payload::Rendered(_)));
    assert_eq!(house.done("show").await.payload, Payload::Deferred, "not stored");
    let mut sent = bodies(&inbox);
    sent.sort();
    assert_eq!(sent, ["keep Some(5)", "show Some(5)"], "from the stored object");
    let bad = house.until("bad", "parked", |row| matches!(row.state, RowState::RetryAt { healable: true, .. })).await;
    assert!(bad.last_error.contains("no such field"), "{}", bad.last_error);
    house.plan([Row { payload: Payload::Failed("broken".into()), ..event("failed", "f", "x", "f") }]).await;
    house.until("failed", "parked", |row| matches!(row.state, RowState::RetryAt { healable: true, .. })).await;
    house.store.heal(None, true, Timestamp::now()).await.unwrap();
    house.done("failed").await;
    house.close().await.unwrap();
}

#[tokio::test]
async fn dlv_02_panic_in_one_delivery() {
    let inbox = inbox().await;
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, "")]).await;
    let breaks = Row { payload: Payload::Deferred, trigger: "breaks".into(), ..event("bad", "bad", "x", "") };
    house.plan([breaks, event("good", "good", "x", "")]).await;
    house.done("good").await;
    let bad = house.until("bad", "waiting", |row| matches!(row.state, RowState::RetryAt { .. })).await;
    assert!(bad.possible_repeat && bad.last_error.contains("bug"), "an unknown outcome: {bad:?}");
    house.close().await.unwrap();
}

#[tokio::test]
async fn lan_05_a_receiver_that_is_ill_is_left_alone() {
    let (ill, well) = (inbox().await, inbox().await);
    ill.always(Some(Fault::status(500)));
    let house = open(Store::memory().unwrap(), &[hook("ill", &ill, QUICK), hook("well", &well, "")]).await;
    house.plan((0..40).map(|n| event(&format!("e{n}"), &format!("a{n}"), "ill", ""))).await;
    assert!(ill.wait(PATIENCE, |_, calls| calls >= 5).await);
    house.plan([event("w", "w", "well", "")]).await;
    house.done("w").await;
    house.until("e0", "waiting", |row| row.attempts > 0 && !matches!(row.state, RowState::Sending { .. })).await;
    assert_eq!(house.tally.figures().open_breakers, [("ill".to_owned(), ill.url())]);
    assert!(ill.calls() <= 8, "five, and what was under way: {}", ill.calls());
    house.close().await.unwrap();
}

#[tokio::test]
async fn lan_04_a_throttled_lane_waits_alone() {
    let inbox = inbox().await;
    let slack = configured("service.slack", &format!("token: t\napiURL: {}/api", inbox.url()));
    let house = open(Store::memory().unwrap(), &[slack]).await;
    inbox.script([Fault::retry_after(429, "2")]);
    house.plan([event("a1", "a", "slack", "busy")]).await;
    house.until("a1", "waiting", |row| matches!(row.state, RowState::RetryAt { .. })).await;
    let begun = Instant::now();
    house.plan([event("b1", "b", "slack", "busy"), event("b2", "b", "slack", "quiet")]).await;
    house.done("b2").await;
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert!(!house.row("b1").await.state.is_final(), "the lane waits, not only the event");
    house.done("a1").await;
    house.done("b1").await;
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    house.close().await.unwrap();
}

/// The store's files, copied while an attempt runs, are what a kill at that moment leaves.
#[tokio::test]
async fn dlv_11_dlv_12_dlv_13_a_kill_between_sending_and_recording_is_an_unknown_outcome() {
    let inbox = inbox().await;
    let folder = tempfile::tempdir().unwrap();
    let more = "lynceus: {headers: true}";
    let house = open(Store::open(folder.path()).unwrap(), &[hook("x", &inbox, more)]).await;
    house.plan([event("before", "web", "x", "")]).await;
    house.done("before").await;
    inbox.script([Fault::Stall]);
    house.plan([event("during", "web", "x", ""), event("after", "web", "x", "")]).await;
    assert!(inbox.wait(PATIENCE, |_, calls| calls == 2).await);
    let left = copy_folder(folder.path());
    let again = open(Store::open(left.path()).unwrap(), &[hook("x", &inbox, more)]).await;
    assert!(again.done("during").await.possible_repeat);
    assert!(!again.done("after").await.possible_repeat, "DLV-12");
    assert_eq!(bodies(&inbox), ["before", "during", "after"], "DLV-13: what was done is not sent again");
    again.close().await.unwrap();
    house.task.abort();
}

#[tokio::test]
async fn out_12_a_stop_with_nothing_in_flight_and_a_second_start_send_nothing() {
    let inbox = inbox().await;
    let folder = tempfile::tempdir().unwrap();
    for start in 0..3 {
        let house = open(Store::open(folder.path()).unwrap(), &[hook("x", &inbox, "")]).await;
        if start == 0 {
            house.plan([event("e1", "web", "x", "")]).await;
        }
        house.done("e1").await;
        let store = house.store.clone();
        house.close().await.unwrap();
        assert!(store.tally().writes <= 6, "a start writes its epoch and little else");
    }
    assert_eq!(inbox.calls(), 1);
}

#[tokio::test]
async fn out_12_a_running_attempt_may_end_after_the_stop() {
    let inbox = inbox().await;
    let slow = hook("x", &inbox, "lynceus: {timeout: 500ms}");
    let house = open(Store::memory().unwrap(), &[slow]).await;
    inbox.script([Fault::Stall]);
    house.plan([event("e1", "web", "x", ""), event("e2", "web", "x", "")]).await;
    assert!(inbox.wait(PATIENCE, |_, calls| calls == 1).await);
    let store = house.store.clone();
    house.close().await.unwrap();
    let row = store.row("e1").await.unwrap().unwrap();
    assert!(matches!(row.state, RowState::RetryAt { .. }), "its outcome was recorded: {row:?}");
    assert_eq!(inbox.calls(), 1, "no new attempts");
}

#[tokio::test]
async fn sl_05_dlv_13_slack_thread_over_restart() {
    let inbox = inbox().await;
    let folder = tempfile::tempdir().unwrap();
    let slack = || configured("service.slack", &format!("token: t\napiURL: {}/api", inbox.url()));
    let grouped = |id: &str| {
        let part = SlackPart {
            grouping_key: "k".into(),
            delivery_policy: DeliveryPolicy::PostAndUpdate,
            ..SlackPart::default()
        };
        Row {
            payload: Payload::Rendered(Message { text: id.into(), part: Part::Slack(part) }),
            ..event(id, "web", "slack", "c")
        }
    };
    for id in ["first", "second"] {
        let house = open(Store::open(folder.path()).unwrap(), &[slack()]).await;
        house.plan([grouped(id)]).await;
        assert_eq!(house.done(id).await.steps.len(), usize::from(id == "second"));
        house.close().await.unwrap();
    }
    let calls: Vec<(String, bool)> = items(&inbox)
        .into_iter()
        .map(|item| match item {
            Item::Slack { method, fields, .. } => (method, fields.contains_key("thread_ts")),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("chat.postMessage", false), ("chat.postMessage", true), ("chat.update", false)];
    assert_eq!(calls, expected.map(|(method, reply)| (method.to_owned(), reply)));
}

#[tokio::test]
async fn dlv_04_out_06_an_old_event_is_given_up_visibly() {
    let inbox = inbox().await;
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, "lynceus: {maxAge: 1h}")]).await;
    let old = Timestamp::now() - Duration::from_secs(3601);
    house.plan([Row { event_at: old, ..event("old", "web", "x", "") }]).await;
    let row = house.until("old", "dead", |row| row.state.is_final()).await;
    assert!(matches!(&row.state, RowState::Dead { reason, .. } if reason == "expired"), "{row:?}");
    assert_eq!((inbox.calls(), row.attempts), (0, 0));
    assert_eq!(house.tally.figures().dead[&("x".into(), "expired".into())], 1);
    house.store.replay("old", Timestamp::now()).await.unwrap();
    house.done("old").await;
    assert_eq!(bodies(&inbox), ["old"], "OUT-09: under the same id");
    house.close().await.unwrap();
}

#[tokio::test]
async fn out_04_stale_epoch_rejected() {
    let inbox = inbox().await;
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, "")]).await;
    house.plan([event("e1", "web", "x", "")]).await;
    house.done("e1").await;
    house.store.claim().await.unwrap();
    house.plan([event("e2", "web", "x", "")]).await;
    let end = house.task.await.unwrap();
    assert!(matches!(end, Err(Error::StaleEpoch { .. })), "{end:?}");
    assert_eq!(inbox.calls(), 1, "nothing is sent by whoever has been replaced");
}

#[tokio::test]
async fn out_11_what_cannot_be_recorded_is_not_sent() {
    let inbox = inbox().await;
    let folder = tempfile::tempdir().unwrap();
    let house = open(Store::open(folder.path()).unwrap(), &[hook("x", &inbox, "")]).await;
    house.plan([event("e1", "web", "x", "")]).await;
    house.done("e1").await;
    // Somebody else holds the file's write lock: the writer's attempts fail.
    let blocker = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    inbox.script([Fault::Stall]);
    house.plan([event("e2", "web2", "x", "")]).await;
    assert!(inbox.wait(PATIENCE, |_, calls| calls == 2).await);
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let planning = house.plan_later("e3");
    let deadline = Instant::now() + PATIENCE;
    while house.store.trouble().is_none() {
        assert!(Instant::now() < deadline, "the store never noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(planning.await.unwrap().is_err(), "planning says so");
    assert_eq!(inbox.calls(), 2);
    blocker.execute_batch("ROLLBACK").unwrap();
    house.plan([event("e3", "web3", "x", "")]).await;
    house.done("e3").await;
    assert_eq!(house.store.trouble(), None);
    assert_eq!(house.store.rows(Filter::default(), 9).await.unwrap().len(), 3);
    house.task.abort();
}

/// A thousand events to one webhook service over many lanes.
#[tokio::test]
async fn section_24_a_storm_is_delivered_once_each() {
    let inbox = inbox().await;
    let folder = tempfile::tempdir().unwrap();
    let house = open(Store::open(folder.path()).unwrap(), &[hook("x", &inbox, "")]).await;
    for start in (0..1000).step_by(100) {
        house
            .plan(
                (start..start + 100).map(|n| event(&format!("e{n:04}"), &format!("a{n}"), "x", &(n % 50).to_string())),
            )
            .await;
    }
    assert!(
        inbox.wait(Duration::from_secs(60), |accepted, _| accepted.len() >= 1000).await,
        "{}",
        inbox.accepted().len()
    );
    let mut all = bodies(&inbox);
    all.sort();
    all.dedup();
    assert_eq!((all.len(), inbox.calls()), (1000, 1000));
    house.close().await.unwrap();
}
