//! Everything at once: a start with two messages for every Application, then syncs of 500 and of all of them, each as
//! fast as the API server takes it. Counts what was lost and what came twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use lynceus::demo::inbox::{Accepted, Inbox, Item, Manners};
use serde_json::{Value, json};

use crate::sample::{self, ARGO};
use crate::support::control_plane::Ns;
use crate::support::house::House;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(600);

pub async fn measure(size: usize) {
    let inbox = Inbox::start(Manners::default()).await.expect("a receiver");
    let (ns, house) = sample::installed("wave", &["--images=off"]).await;
    sample::configure(&ns, &sample::configuration(&[("hook", &inbox)])).await;
    sample::create(&ns, size, |_| sample::three_triggers("hook")).await;
    println!(
        "{:>34} {:>9} {:>9} {:>12} {:>6} {:>8} {:>8} {:>9}",
        "", "messages", "seconds", "messages/s", "lost", "doubled", "CPU s", "patches"
    );
    let wave = Wave { ns: &ns, house: &house, inbox: &inbox };
    let start = SystemTime::now();
    house.start().await;
    wave.report(&format!("start, {size} Applications"), "r0", size, start).await;
    wave.run(500.min(size), "r1").await;
    wave.run(size, "r2").await;
    // The state annotations follow at their own pace (WRB-04); none of them may send anything.
    let before = inbox.accepted().len();
    let caught_up = Instant::now();
    let want = size as f64;
    loop {
        let patches = house.metric("lynceus_notifications_annotation_patches_total").await;
        let behind = house.metric("lynceus_notifications_outbox_events{state=\"planned\"}").await;
        if (patches >= want && behind == 0.0 && quiet(&house).await) || caught_up.elapsed() > PATIENCE {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let more = inbox.accepted().len() - before;
    println!(
        "annotations written after {:.0} s more; {more} messages because of them",
        caught_up.elapsed().as_secs_f64()
    );
    warm_start(&house, size, &inbox).await;
    house.stop().await;
}

/// No annotation was written for two seconds.
async fn quiet(house: &House) -> bool {
    let name = "lynceus_notifications_annotation_patches_total";
    let before = house.metric(name).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    house.metric(name).await == before
}

/// A restart with nothing to send.
async fn warm_start(house: &House, size: usize, inbox: &Inbox) {
    let sent = inbox.accepted().len();
    assert_eq!(house.stop().await, 0);
    let start = Instant::now();
    house.start().await;
    house.until("all are watched", |status| status["applications"]["watched"] == size).await;
    let evaluated = house.metric("argocd_notifications_trigger_eval_total");
    let mut last = evaluated.await;
    let mut ready = start.elapsed();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = house.metric("argocd_notifications_trigger_eval_total").await;
        if now == last && now > 0.0 {
            break;
        }
        (last, ready) = (now, start.elapsed());
    }
    println!(
        "warm start: all evaluated after {:.1} s, {:.1} CPU s, {} messages",
        ready.as_secs_f64(),
        house.cpu_seconds(),
        inbox.accepted().len() - sent
    );
}

struct Wave<'a> {
    ns: &'a Ns,
    house: &'a House,
    inbox: &'a Inbox,
}

impl Wave<'_> {
    /// Syncs so many Applications to this revision.
    async fn run(&self, size: usize, revision: &str) {
        let start = SystemTime::now();
        let patched = async {
            let patch = json!({ "status": sample::synced(revision) });
            futures::stream::iter(0..size)
                .for_each_concurrent(sample::AT_ONCE, |n| {
                    let patch = patch.clone();
                    async move { self.ns.patch(ARGO, "Application", &sample::name(n), &patch).await }
                })
                .await;
            start.elapsed().unwrap_or_default().as_secs_f64()
        };
        let what = format!("wave of {size}");
        let (patched, ()) = tokio::join!(patched, self.report(&what, revision, size, start));
        println!("{:>34} {patched:>19.1}   seconds until the API server had taken all", "");
    }

    /// Waits for two messages of each of them, and a moment more for what must not come.
    async fn report(&self, what: &str, revision: &str, size: usize, start: SystemTime) {
        let cpu = self.house.cpu_seconds();
        let all = self
            .inbox
            .wait(PATIENCE, |accepted, _| {
                accepted.len() >= 2 * size && accepted.iter().filter(|a| about(a).1 == revision).count() >= 2 * size
            })
            .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (mut copies, mut last) = (BTreeMap::<String, usize>::new(), start);
        for accepted in self.inbox.accepted() {
            let (app, at) = about(&accepted);
            if at == revision {
                *copies.entry(app).or_default() += 1;
                last = last.max(accepted.at);
            }
        }
        let seconds = last.duration_since(start).unwrap_or_default().as_secs_f64();
        let messages: usize = copies.values().sum();
        let lost: usize = (0..size).map(|n| 2 - copies.get(&sample::name(n)).copied().unwrap_or(0).min(2)).sum();
        let doubled: usize = copies.values().map(|count| count.saturating_sub(2)).sum();
        assert!(all || lost > 0, "neither complete nor lost");
        println!(
            "{what:>34} {messages:>9} {seconds:>9.1} {:>12.0} {lost:>6} {doubled:>8} {:>8.1} {:>9}",
            messages as f64 / seconds,
            self.house.cpu_seconds() - cpu,
            self.house.metric("lynceus_notifications_annotation_patches_total").await
        );
    }
}

/// Application and revision that a message is about.
fn about(accepted: &Accepted) -> (String, String) {
    let Item::Webhook { body, .. } = &accepted.what else { return Default::default() };
    let body: Value = serde_json::from_str(body).expect("JSON");
    let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    (word("app"), word("revision"))
}
