//! The outbox on a real disk: how fast events become durable, how fast a large backlog is there again after a kill.

use std::time::Instant;

use futures::StreamExt;
use jiff::Timestamp;
use lynceus::adapters::store::{Plan, Skip, Store};
use lynceus::core::application::AppKey;
use lynceus::core::notify::message::Message;
use lynceus::core::notify::row::{Payload, Row, RowState};

/// Rows of the backlog.
const BACKLOG: usize = 100_000;

/// Writes that wait at the same time.
const AT_ONCE: [usize; 3] = [1, 8, 64];

pub async fn measure() {
    println!("{:>34} {:>12} {:>12}", "", "per second", "per commit");
    let folder = tempfile::tempdir_in(std::env::var("CARGO_TARGET_TMPDIR").unwrap_or_else(|_| "target".into()));
    let folder = folder.expect("a folder");
    for at_once in AT_ONCE {
        let store = Store::open(&folder.path().join(format!("rate-{at_once}"))).expect("a store");
        let count = 1_000 * at_once.min(16);
        plan(&store, count, at_once).await;
    }
    let path = folder.path().join("backlog");
    let store = Store::open(&path).expect("a store");
    store.claim().await.expect("an epoch");
    futures::stream::iter(0..BACKLOG / 100)
        .map(|n| store.plan(Plan { uid: format!("uid-{n}"), rows: rows(n, 100), ..Plan::default() }))
        .buffer_unordered(64)
        .for_each(|planned| async { assert_eq!(planned.expect("durable").len(), 100) })
        .await;
    // As after a kill: the log of the database was not folded in.
    let copy = folder.path().join("killed");
    std::fs::create_dir(&copy).expect("a folder");
    for file in std::fs::read_dir(&path).expect("a folder").flatten() {
        std::fs::copy(file.path(), copy.join(file.file_name())).expect("a file");
    }
    drop(store);
    let start = Instant::now();
    let store = Store::open(&copy).expect("a store");
    let epoch = store.claim().await.expect("an epoch");
    let recovered = store.recover(epoch, Timestamp::now(), Vec::new()).await.expect("readable");
    let due = store.due(Timestamp::now(), 64, Skip::default()).await.expect("readable");
    let there = start.elapsed();
    let open: u64 = store.counts().await.expect("readable").states.iter().map(|count| count.rows).sum();
    println!(
        "{open} open rows after a kill: the first {} are due after {:.0} ms ({recovered} with unknown outcome)",
        due.len(),
        there.as_secs_f64() * 1e3
    );
}

async fn plan(store: &Store, count: usize, at_once: usize) {
    store.claim().await.expect("an epoch");
    let before = store.tally();
    let start = Instant::now();
    futures::stream::iter(0..count)
        .map(|n| store.plan(Plan { uid: format!("uid-{n}"), rows: rows(n, 2), ..Plan::default() }))
        .buffer_unordered(at_once)
        .for_each(|planned| async { assert_eq!(planned.expect("durable").len(), 2) })
        .await;
    let took = start.elapsed().as_secs_f64();
    let after = store.tally();
    let (writes, commits) = (after.writes - before.writes, after.commits - before.commits);
    println!(
        "{:>34} {:>12.0} {:>12.1}",
        format!("plans of 2 rows, {at_once} at a time"),
        count as f64 / took,
        writes as f64 / commits.max(1) as f64
    );
}

/// Rows of one Application.
fn rows(app: usize, count: usize) -> Vec<Row> {
    let row = |n: usize| Row {
        id: format!("evt_{app:016x}{n:016x}"),
        occurrence: format!("occ_{app:016x}{n:016x}"),
        app: AppKey { namespace: "argocd".into(), name: format!("app-{app}") },
        app_uid: format!("uid-{app}"),
        trigger: "on-deployed".into(),
        condition: "[0].qyWrLKXYec9qR5FVB0ylUEJLjFg".into(),
        state_key: format!("r{n}:on-deployed:[0].qyWrLKXYec9qR5FVB0ylUEJLjFg:hook:"),
        service: "hook".into(),
        recipient: format!("r{n}"),
        templates: vec!["app-deployed".into()],
        payload: Payload::Rendered(Message { text: "is deployed ".repeat(40), ..Message::default() }),
        state: RowState::Planned,
        attempts: 0,
        event_at: Timestamp::now(),
        last_error: String::new(),
        possible_repeat: false,
        steps: Vec::new(),
    };
    (0..count).map(row).collect()
}
