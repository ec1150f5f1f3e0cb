//! From the API server's answer to the first byte at the receiver, at twenty events a second; first with four healthy
//! receivers, then with one of them silent.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lynceus::demo::inbox::{Fault, Inbox, Item, Manners};
use serde_json::{Value, json};

use crate::sample::{self, ARGO};
use crate::{quantile, support::control_plane::Ns};

const HOOKS: [&str; 4] = ["a", "b", "c", "d"];
const APPLICATIONS: usize = 40;
const EVENTS: usize = 600;
const PACE: Duration = Duration::from_millis(50);

pub async fn measure() {
    let mut inboxes = Vec::new();
    for _ in HOOKS {
        inboxes.push(Inbox::start(Manners::default()).await.expect("a receiver"));
    }
    let hooks: Vec<(&str, &Inbox)> = HOOKS.into_iter().zip(&inboxes).collect();
    let (ns, house) = sample::installed("latency", &["--images=off"]).await;
    sample::configure(&ns, &sample::configuration(&hooks)).await;
    // One event, one message: the second trigger that would fire is not subscribed to.
    let subscribed = |n: usize| vec![(format!("on-succeeded.{}", HOOKS[n % 4]), "")];
    sample::create(&ns, APPLICATIONS, subscribed).await;
    house.start().await;
    for inbox in &inboxes {
        let all = |a: &[lynceus::demo::inbox::Accepted], _| a.len() >= APPLICATIONS / 4;
        assert!(inbox.wait(Duration::from_secs(60), all).await, "the first messages");
    }
    println!("{:>34} {:>8} {:>9} {:>9} {:>9}", "milliseconds", "events", "p50", "p99", "most");
    let healthy = run(&ns, &inboxes, "h", "four healthy receivers").await;
    inboxes[3].always(Some(Fault::Stall));
    let beside = run(&ns, &inboxes, "s", "the healthy three of four").await;
    println!("{:>34} {:>8} {:>9.2} {:>9.2}", "ratio", "", beside.0 / healthy.0, beside.1 / healthy.1);
    inboxes[3].always(None);
    house.kill();
}

/// Patches at the pace and gives p50 and p99 of what arrived.
async fn run(ns: &Ns, inboxes: &[Inbox], run: &str, what: &str) -> (f64, f64) {
    let mut answered = BTreeMap::new();
    let mut pace = tokio::time::interval(PACE);
    for n in 0..EVENTS {
        pace.tick().await;
        let (app, revision) = (sample::name(n % APPLICATIONS), format!("{run}{n}"));
        ns.patch(ARGO, "Application", &app, &json!({ "status": sample::synced(&revision) })).await;
        answered.insert(revision, (n % 4, SystemTime::now()));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut times = Vec::new();
    for inbox in inboxes {
        for accepted in inbox.accepted() {
            let Item::Webhook { body, .. } = &accepted.what else { continue };
            let body: Value = serde_json::from_str(body).expect("JSON");
            let Some((_, at)) = answered.get(body["revision"].as_str().unwrap_or_default()) else { continue };
            // It may be there before the API server's answer is.
            times.push(accepted.at.duration_since(*at).map_or(0.0, |time| time.as_secs_f64() * 1e3));
        }
    }
    times.sort_by(f64::total_cmp);
    let expected = answered.values().filter(|(hook, _)| run == "h" || *hook != 3).count();
    assert_eq!(times.len(), expected, "all arrived");
    let (p50, p99) = (quantile(&times, 0.5), quantile(&times, 0.99));
    println!("{what:>34} {:>8} {p50:>9.1} {p99:>9.1} {:>9.1}", times.len(), quantile(&times, 1.0));
    (p50, p99)
}
