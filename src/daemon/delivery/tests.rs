//! Lanes, breakers and fates as plain values; what needs a receiver is in tests/delivery.

use std::time::Duration;

use super::fate::expired;
use super::lanes::{Lanes, Verdict};
use super::*;
use crate::adapters::http::{Gate, Http};
use crate::adapters::services::{Class, SendError, Throttle};
use crate::config::services::service as configure;
use crate::core::notify::row::{Payload, RowState};

fn service(key: &str, body: &str) -> Service {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (config, problems) = configure(key, body, &BTreeMap::new());
    Service::new(config.unwrap_or_else(|| panic!("{problems:?}")), Http::new(Gate::Central))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn row(service: &str, recipient: &str) -> Row {
    Row {
        id: "evt_1".into(),
        occurrence: "occ_1".into(),
        app: AppKey { namespace: "argocd".into(), name: "web".into() },
        app_uid: "u".into(),
        trigger: "t".into(),
        condition: "[0].h".into(),
        state_key: "k".into(),
        service: service.into(),
        recipient: recipient.into(),
        templates: vec![],
        payload: Payload::Deferred,
        state: RowState::Planned,
        attempts: 0,
        event_at: at(0),
        last_error: String::new(),
        possible_repeat: false,
        steps: vec![],
    }
}

fn error(class: Class) -> SendError {
    SendError {
        class,
        retry_after: None,
        throttled: None,
        ill: false,
        gone: false,
        quick: false,
        thread: None,
        text: "no".into(),
    }
}

/// `(seconds until the retry, healable, unknown)` or the reason of death.
fn shown(fate: Fate) -> Result<(i64, bool, bool), &'static str> {
    match fate {
        Fate::Again(again) => Ok((again.at.as_second() - at(0).as_second(), again.healable, again.unknown)),
        Fate::Dead { reason, .. } => Err(reason),
    }
}

#[test]
fn section_12_2_fates_by_class() {
    use Class::{NotSent, RejectedFinal, RejectedHealable, Transient, Unknown};
    let mail = service("service.email", "host: h\nport: 25\nfrom: a@b");
    let held = service("service.email", "host: h\nport: 25\nfrom: a@b\nlynceus: {unknownOutcome: hold, maxAge: 1h}");
    let day = 24 * 3600;
    for (class, service, now, failures, fate) in [
        (RejectedFinal, &mail, 0, 1, Err("rejected")),
        (NotSent, &mail, 0, 1, Ok((5, false, false))),
        (NotSent, &mail, 0, 3, Ok((20, false, false))),
        (NotSent, &mail, 0, 99, Ok((900, false, false))),
        (Transient, &mail, 0, 2, Ok((10, false, false))),
        (Unknown, &mail, 0, 1, Ok((5, false, true))),
        (Unknown, &held, 0, 1, Err("unknown")),
        (RejectedHealable, &mail, 0, 7, Ok((900, true, false))),
        (NotSent, &mail, day - 3, 1, Ok((day, false, false))),
        (NotSent, &mail, day, 1, Err("expired")),
        (RejectedHealable, &mail, day - 1, 1, Ok((day, true, false))),
        (RejectedHealable, &mail, day, 1, Err("rejected")),
        (Transient, &held, 3600, 1, Err("expired")),
    ] {
        let found = shown(decide(&row("email", "a@b"), Some(service), &error(class), failures, at(now), 1.0));
        assert_eq!(found, fate, "{class:?} at {now}, failure {failures}");
    }
    assert_eq!(shown(decide(&row("gone", ""), None, &error(RejectedHealable), 1, at(0), 1.0)), Ok((900, true, false)));
}

#[test]
fn out_07_wh_05_waits() {
    let hook = service("service.webhook.x", "url: http://h/");
    let mail = service("service.email", "host: h\nport: 25\nfrom: a@b");
    let with = |quick: bool, asked: Option<u64>| SendError {
        quick,
        retry_after: asked.map(Duration::from_secs),
        ..error(Class::NotSent)
    };
    for (service, error, failures, jitter, wait) in [
        (&hook, with(true, None), 1, 0.0, 1),
        (&hook, with(true, None), 2, 0.0, 2),
        (&hook, with(true, None), 3, 0.0, 4),
        (&hook, with(true, None), 4, 1.0, 5),
        (&hook, with(true, None), 5, 1.0, 10),
        (&hook, with(true, Some(2)), 3, 1.0, 2),
        (&hook, with(false, None), 1, 1.0, 5),
        (&mail, with(true, None), 2, 1.0, 10),
        (&mail, with(false, Some(100)), 1, 1.0, 100),
        (&mail, with(false, Some(1)), 4, 1.0, 40),
        (&mail, with(false, None), 4, 0.0, 1),
    ] {
        let found = shown(decide(&row("x", ""), Some(service), &error, failures, at(0), jitter));
        assert_eq!(found, Ok((wait, false, false)), "{error:?} {failures} {jitter}");
    }
}

#[test]
fn out_06_age_limits() {
    let short = service("service.webhook.x", "url: http://h/\nlynceus: {maxAge: 1h}");
    let waiting = Row { state: RowState::RetryAt { at: at(5), healable: true }, ..row("x", "") };
    assert_eq!(expired(&row("x", ""), Some(&short), at(3599)), None);
    assert_eq!(expired(&row("x", ""), Some(&short), at(3600)), Some("expired"));
    assert_eq!(expired(&waiting, Some(&short), at(3600)), Some("rejected"));
    assert_eq!(expired(&row("x", ""), None, at(24 * 3600 - 1)), None);
    assert_eq!(expired(&row("x", ""), None, at(24 * 3600)), Some("expired"));
}

const OK: Verdict = Verdict { called: true, ill: false, pause: None, gone: false };
const ILL: Verdict = Verdict { called: true, ill: true, pause: None, gone: false };

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn lan_01_concurrency_of_lane_service_and_process() {
    let hook = service("service.webhook.x", "url: http://h/");
    let mut lanes = Lanes::new(Caps { process: 10, service: 6 });
    let mut begin = |recipient: &str| lanes.begin(&row("x", recipient), Some(&hook), seconds(0));
    let started: Vec<bool> = ["a", "a", "a", "a", "a", "b", "b", "b"].map(&mut begin).to_vec();
    assert_eq!(started, [true, true, true, true, false, true, true, false], "4 per lane, 6 per service");
    let skip = lanes.skip(&BTreeMap::from([("x".to_owned(), hook.clone())]), seconds(0));
    assert_eq!((skip.services, skip.lanes), (vec!["x".to_owned()], vec![("x".to_owned(), "a".to_owned())]));
    let other = service("service.webhook.y", "url: http://g/");
    let rest: Vec<bool> = (0..5).map(|n| lanes.begin(&row("y", &n.to_string()), Some(&other), seconds(0))).collect();
    assert_eq!(rest, [true, true, true, true, false], "10 in all");
    assert!(!lanes.has_room());
    lanes.end(&row("x", "a"), Some(&hook), &OK, seconds(1));
    assert!(lanes.has_room());
    assert!(lanes.begin(&row("x", "a"), Some(&hook), seconds(1)));
}

#[test]
fn lan_04_rates_and_pauses_are_the_lane_s_own() {
    let slack = service("service.slack", "token: t");
    let services = BTreeMap::from([("slack".to_owned(), slack.clone())]);
    let mut lanes = Lanes::new(Caps::default());
    let mut go = |recipient: &str, now: Duration, verdict: &Verdict| {
        let row = row("slack", recipient);
        let started = lanes.begin(&row, Some(&slack), now);
        if started {
            lanes.end(&row, Some(&slack), verdict, now);
        }
        (started, lanes.next_change(now), lanes.skip(&services, now).lanes.len())
    };
    for _ in 0..2 {
        assert!(go("a", seconds(0), &OK).0);
    }
    assert_eq!(go("a", seconds(0), &OK), (true, Some(seconds(1)), 1), "a burst of three, then one per second");
    assert!(!go("a", seconds(0), &OK).0);
    assert!(go("b", seconds(0), &OK).0, "another channel has its own rate");
    assert!(go("a", seconds(1), &OK).0);
    assert!(!go("a", seconds(1), &OK).0);
    let throttled = Verdict { pause: Some((seconds(60), Throttle::Lane)), ..OK };
    assert!(go("a", seconds(10), &throttled).0);
    assert!(!go("a", seconds(69), &OK).0);
    assert!(go("b", seconds(30), &OK).0);
    assert_eq!(go("a", seconds(69), &OK).1, Some(seconds(1)), "not lifted by the success of another");
    assert!(go("a", seconds(70), &OK).0);
}

#[test]
fn lan_05_breaker_states() {
    let hook = service("service.webhook.x", "url: http://h/");
    let twin = service("service.webhook.y", "url: http://h/other");
    let services = BTreeMap::from([("x".to_owned(), hook.clone()), ("y".to_owned(), twin.clone())]);
    let mut lanes = Lanes::new(Caps::default());
    let mut go = |now: u64, verdict: &Verdict| {
        let row = row("x", "");
        let started = lanes.begin(&row, Some(&hook), seconds(now));
        let skipped = lanes.skip(&services, seconds(now)).services;
        if started {
            lanes.end(&row, Some(&hook), verdict, seconds(now));
        }
        (started, skipped.len(), lanes.open_breakers(&services, seconds(now)).len() / services.len())
    };
    for _ in 0..4 {
        assert_eq!(go(0, &ILL), (true, 0, 0));
    }
    assert_eq!(go(0, &OK), (true, 0, 0), "a success begins the count anew");
    for _ in 0..4 {
        go(0, &ILL);
    }
    assert_eq!(go(0, &ILL), (true, 0, 1), "five in a row open it");
    assert_eq!(go(29, &OK), (false, 2, 1), "for both services of the endpoint");
    assert_eq!(go(30, &ILL), (true, 2, 1), "one probe; nothing beside it");
    assert_eq!(go(89, &OK), (false, 2, 1), "60 s now");
    assert_eq!(go(90, &ILL), (true, 2, 1));
    assert!(!go(209, &OK).0);
    go(210, &ILL);
    go(450, &ILL);
    assert!(!go(450 + 299, &OK).0, "5 minutes at most");
    assert_eq!(go(450 + 300, &OK), (true, 2, 0), "a success closes it");
    assert_eq!(go(751, &ILL), (true, 0, 0));
    let gone = Verdict { gone: true, ..OK };
    assert_eq!(go(760, &gone), (true, 0, 1), "410");
    assert!(!go(760 + 3599, &OK).0);
    assert!(go(760 + 3600, &OK).0);
}

#[test]
fn lan_05_an_attempt_that_never_called_leaves_the_breaker_as_it_is() {
    let hook = service("service.webhook.x", "url: http://h/");
    let mut lanes = Lanes::new(Caps::default());
    for _ in 0..5 {
        assert!(lanes.begin(&row("x", ""), Some(&hook), seconds(0)));
        lanes.end(&row("x", ""), Some(&hook), &ILL, seconds(0));
    }
    assert!(lanes.begin(&row("x", ""), Some(&hook), seconds(30)));
    lanes.end(&row("x", ""), Some(&hook), &Verdict::default(), seconds(30));
    assert!(lanes.begin(&row("x", ""), Some(&hook), seconds(30)), "another probe");
    assert!(!lanes.begin(&row("x", ""), Some(&hook), seconds(30)));
    assert_eq!(lanes.next_change(seconds(0)), Some(seconds(30)));
}

#[tokio::test(start_paused = true)]
async fn out_13_clock_jumps_do_not_reach_what_runs() {
    let clock = Clock::start(at(0));
    tokio::time::advance(Duration::from_secs(90)).await;
    assert_eq!(clock.now(), at(90));
    assert_eq!(clock.elapsed(), seconds(90));
}
