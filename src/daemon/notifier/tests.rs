//! The dispatcher with a real store: order, bounds, what is slow, what a start costs.

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;

use super::*;
use crate::adapters::store::Filter;
use crate::config::notifications::CatalogMode;
use crate::core::notify::identity::{condition_key, state_key};
use crate::core::notify::row::{Payload, RowState};
use crate::daemon::rules::{self, Documents};

const DEGRADED: &str = "app.status.health.status == 'Degraded'";

/// A dispatcher at work.
struct Room {
    store: Store,
    board: Board,
    metrics: Arc<Metrics>,
    applications: Applications,
    _rules: watch::Sender<Arc<Compiled>>,
    seen: mpsc::UnboundedSender<Seen>,
    annotated: mpsc::UnboundedReceiver<AppKey>,
    projects: Projects,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _changed_projects: mpsc::UnboundedSender<String>,
    versions: AtomicI64,
}

fn compiled(entries: &[(&str, &str)]) -> Arc<Compiled> {
    let config = entries.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let documents = Documents { config: Some(config), ..Documents::default() };
    Arc::new(rules::compile(&documents, &BTreeMap::new(), CatalogMode::None))
}

/// Trigger `on-x` with this condition, template and service.
fn configuration(when: &str) -> Arc<Compiled> {
    compiled(&[
        ("trigger.on-x", &format!("- when: {when}\n  send: [m]")),
        ("template.m", "message: hi"),
        ("service.webhook.hook", "url: https://hook.test"),
    ])
}

impl Room {
    fn open(store: Store, compiled: Arc<Compiled>, workers: usize) -> Room {
        Room::since(store, compiled, workers, None)
    }

    fn since(store: Store, compiled: Arc<Compiled>, workers: usize, first_start: Option<Timestamp>) -> Room {
        let (_rules, receiver) = watch::channel(compiled);
        let (annotate, annotated) = mpsc::unbounded_channel();
        let (seen, seen_receiver) = mpsc::unbounded_channel();
        let (changed_projects, projects_receiver) = mpsc::unbounded_channel();
        let (board, metrics) = (Board::default(), Arc::new(Metrics::default()));
        board.ready(PROJECTS_KNOWN);
        let (projects, applications) = (Projects::default(), Applications::default());
        let evaluator = Evaluator {
            rules: receiver,
            store: store.clone(),
            projects: projects.clone(),
            argocd_namespace: "argocd".into(),
            commits: CommitSource::default(),
            looks: Arc::new(Semaphore::new(LOOKS)),
            board: board.clone(),
            metrics: metrics.clone(),
            tally: Arc::default(),
            clock: Clock::start(Timestamp::now()),
            undefined: Arc::default(),
            foreign: Arc::default(),
            live: Arc::default(),
            clocked: Arc::default(),
            first_start,
            annotate,
        };
        let stop = CancellationToken::new();
        let inputs = Inputs {
            seen: seen_receiver,
            projects: projects_receiver,
            applications: applications.clone(),
            selective: false,
        };
        let task = tokio::spawn(run(evaluator, inputs, |_| true, workers, stop.clone()));
        let versions = AtomicI64::new(0);
        let _changed_projects = changed_projects;
        Room {
            store,
            board,
            metrics,
            applications,
            _rules,
            seen,
            annotated,
            projects,
            stop,
            task,
            _changed_projects,
            versions,
        }
    }

    /// A version of an Application arrives.
    fn see(&self, mut object: serde_json::Value) -> Arc<Application> {
        let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let app = Arc::new(Application::decode(&object.to_string()).unwrap());
        self.applications.put(app.clone());
        self.seen.send(Seen::Version(app.clone())).unwrap();
        app
    }

    /// The rows, oldest first, once there are so many.
    async fn rows(&self, count: usize) -> Vec<Row> {
        let start = std::time::Instant::now();
        loop {
            let mut rows = self.store.rows(Filter::default(), 100_000).await.unwrap();
            if rows.len() >= count {
                rows.reverse();
                return rows;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{} of {count} rows", rows.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until everything that was sent before is evaluated: one worker takes Applications in order.
    /// Gives the Application by which that was seen.
    async fn settled(&self) -> AppKey {
        static NUMBER: AtomicI64 = AtomicI64::new(0);
        let last = self.see(app(&format!("zz-{}", NUMBER.fetch_add(1, Ordering::Relaxed)), "Degraded"));
        let start = std::time::Instant::now();
        let filter = Filter { app: Some(last.key.clone()), ..Filter::default() };
        while self.store.rows(filter.clone(), 1).await.unwrap().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "{} is not evaluated", last.key);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        last.key.clone()
    }

    async fn close(self) -> Store {
        self.stop.cancel();
        self.task.await.unwrap();
        self.store
    }
}

fn app(name: &str, health: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": name, "namespace": "argocd", "uid": format!("uid-{name}"),
            "annotations": {"notifications.argoproj.io/subscribe.on-x.hook": ""}},
        "spec": {"project": "default"},
        "status": {"health": {"status": health}},
    })
}

fn of<'a>(rows: &'a [Row], name: &'a str) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |row| row.app.name == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn ct_01_st_17_every_version_in_order() {
    let room = Room::open(Store::memory().unwrap(), configuration(DEGRADED), 4);
    // 1,000 flips, all at once: 20 Applications of 50 versions.
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for n in 0..50 {
        for name in (0..20).map(|number| format!("app-{number}")) {
            let seen = room.see(app(&name, if n % 2 == 0 { "Degraded" } else { "Healthy" }));
            if n % 2 == 0 {
                wanted.entry(name).or_default().push(format!("@{}", seen.resource_version));
            }
        }
    }
    let rows = room.rows(500).await;
    assert_eq!(rows.len(), 500);
    for (name, versions) in wanted {
        let key = condition_key(0, DEGRADED);
        let occurrence = |version: &String| {
            identity::occurrence_id(&format!("uid-{name}"), "", "on-x", &key, &format!("edge:|{version}"))
        };
        let found: Vec<&str> = of(&rows, &name).map(|row| row.occurrence.as_str()).collect();
        assert_eq!(found, versions.iter().map(occurrence).collect::<Vec<_>>(), "{name}");
    }
    assert!(room.metrics.text(&Default::default(), "").contains("lynceus_notifications_versions_coalesced_total 0"));
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ct_11_beyond_64_versions_the_oldest_are_merged_and_counted() {
    let room = Room::open(Store::memory().unwrap(), configuration(DEGRADED), 1);
    // They come much faster than one worker can take them.
    for n in 0..400 {
        room.see(app("web", if n % 2 == 0 { "Healthy" } else { "Degraded" }));
    }
    room.settled().await;
    let rows = room.rows(2).await;
    let told = of(&rows, "web").count();
    let text = room.metrics.text(&Default::default(), "");
    let merged = text.lines().find_map(|l| l.strip_prefix("lynceus_notifications_versions_coalesced_total ")).unwrap();
    let merged: usize = merged.parse().unwrap();
    // Merging loses edges, and each one that is lost was counted; the last version is the last word.
    assert!(told >= 1 && told + merged >= 200, "{told} told, {merged} merged");
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_object_ct_13_what_cannot_be_evaluated_harms_nobody() {
    let room = Room::open(Store::memory().unwrap(), configuration(DEGRADED), 1);
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!({ "a": deep });
    }
    let mut odd = vec![app("deep", "Degraded"), app("huge", "Degraded"), app("wrong", "Degraded")];
    odd[0]["spec"]["deep"] = deep;
    odd[1]["spec"]["huge"] = json!("y".repeat(1_000_000));
    odd[2]["status"] = json!({"health": [1, 2], "operationState": 5, "sync": "x", "conditions": {"a": 1}});
    odd[2]["metadata"]["annotations"]["notified.notifications.argoproj.io"] = json!("[[[[");
    odd.into_iter().for_each(|object| drop(room.see(object)));
    room.see(app("web", "Degraded"));
    room.settled().await;
    let rows = room.rows(2).await;
    assert_eq!(of(&rows, "web").count(), 1);
    assert_eq!(of(&rows, "deep").count() + of(&rows, "huge").count(), 2, "odd, but readable");
    assert!(room.board.status().problems.contains_key("notify argocd/wrong"));
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selector_leave_is_not_delete() {
    let room = Room::open(Store::memory().unwrap(), configuration(DEGRADED), 1);
    let mut object = app("web", "Degraded");
    object["metadata"]["annotations"]["notifications.argoproj.io/subscriptions"] = json!("[");
    let seen = room.see(object);
    room.settled().await;
    let before = room.store.ledger("uid-web").await.unwrap();
    // Its label is gone, so the watch says that it left; later it is back, unchanged. What was said of it is over.
    assert!(room.board.status().problems.contains_key("notify argocd/web"));
    room.applications.remove(&seen.key);
    room.seen.send(Seen::Gone(seen.key.clone())).unwrap();
    room.settled().await;
    assert!(!room.board.status().problems.contains_key("notify argocd/web"));
    assert_eq!(room.store.ledger("uid-web").await.unwrap(), before);
    room.see(app("web", "Degraded"));
    room.settled().await;
    let rows = room.rows(0).await;
    assert_eq!(of(&rows, "web").count(), 1, "told once");
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prb_03_start_2000_apps_no_writes() {
    const APPLICATIONS: usize = 2000;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = state_key("", "", "on-x", &condition_key(0, DEGRADED), "hook", "");
    let state = json!({ key: 1767225600 }).to_string();
    let object = |n: usize| {
        let mut object = app(&format!("app-{n:04}"), "Degraded");
        object["metadata"]["annotations"]["notified.notifications.argoproj.io"] = json!(state);
        object
    };
    let room = Room::open(store, configuration(DEGRADED), 8);
    (0..APPLICATIONS).for_each(|n| drop(room.see(object(n))));
    let start = std::time::Instant::now();
    while room.store.ledgers().await.unwrap().len() < APPLICATIONS {
        assert!(start.elapsed() < Duration::from_secs(120), "the import takes too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = room.close().await;
    assert_eq!(store.rows(Filter::default(), 10).await.unwrap(), [], "nothing is sent");

    // The next start: everything is looked at, nothing is written, no annotation is touched.
    let before = store.tally();
    let mut room = Room::open(store, configuration(DEGRADED), 1);
    (0..APPLICATIONS).for_each(|n| drop(room.see(object(n))));
    let last = room.settled().await;
    assert_eq!(room.annotated.recv().await, Some(last), "the sentinel is the only one");
    assert_eq!(room.store.tally().writes, before.writes + 1, "and its plan the only write");
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prb_01_ready_when_all_that_was_there_is_imported() {
    let store = Store::memory().unwrap();
    let room = Room::open(store, configuration(DEGRADED), 2);
    let ready = |room: &Room| room.board.status().ready.contains("import");
    (0..50).for_each(|n| drop(room.see(app(&format!("app-{n:02}"), "Healthy"))));
    room.settled().await;
    assert!(!ready(&room), "the list is not complete");
    (50..100).for_each(|n| drop(room.see(app(&format!("app-{n:02}"), "Healthy"))));
    room.seen.send(Seen::Complete).unwrap();
    let mut status = room.board.subscribe();
    status.wait_for(|status| status.ready.contains("import")).await.unwrap();
    for n in 0..100 {
        assert!(room.store.ledger(&format!("uid-app-{n:02}")).await.unwrap().known, "{n}");
    }
    drop(status);
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn st_01_without_an_annotation_the_ledger_alone_prevents_repeats() {
    let store = Store::memory().unwrap();
    for start in 0..3 {
        let room = Room::open(store.clone(), configuration(DEGRADED), 1);
        room.see(app("web", "Degraded"));
        room.settled().await;
        let rows = room.rows(1).await;
        assert_eq!(of(&rows, "web").count(), 1, "start {start}");
        room.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_10_the_very_first_start_adopts_what_only_the_fix_finds() {
    let first_start: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
    let room = Room::since(Store::memory().unwrap(), configuration(DEGRADED), 1, Some(first_start));
    let annotations = BTreeMap::from([("notifications.argoproj.io/subscribe.on-x.hook".to_owned(), "team".to_owned())]);
    let project = Arc::new(Project { annotations, object: json!({}) });
    room.projects.write().unwrap().insert(("argocd".into(), "default".into()), project);
    let subject = |name: &str, namespace: &str, created: &str| {
        let mut object = app(name, "Degraded");
        object["metadata"]["namespace"] = json!(namespace);
        object["metadata"]["creationTimestamp"] = json!(created);
        object["metadata"]["annotations"] = json!({});
        object
    };
    let (before, after) = ("2026-04-01T00:00:00Z", "2026-05-02T00:00:00Z");
    // Only an older one in another namespace was never told before, and is not told now.
    for (name, namespace, created) in [("old", "team-a", before), ("new", "team-a", after), ("own", "argocd", before)] {
        room.see(subject(name, namespace, created));
    }
    room.settled().await;
    let mut told: Vec<String> = room.rows(0).await.iter().map(|row| row.app.name.clone()).collect();
    told.retain(|name| !name.starts_with("zz"));
    assert_eq!(told, ["new", "own"]);
    // The next occurrence is told.
    for health in ["Healthy", "Degraded"] {
        let mut object = subject("old", "team-a", before);
        object["status"]["health"]["status"] = json!(health);
        room.see(object);
        // One by one: a version that arrives while its Application is looked at goes behind what `settled` sends.
        room.settled().await;
    }
    assert_eq!(of(&room.rows(0).await, "old").count(), 1);
    room.close().await;
}

#[tokio::test(start_paused = true)]
async fn exp_04_clock_readers_are_evaluated_again_every_minute() {
    let when = "time.Now().After(time.Parse(app.metadata.annotations.due))";
    let room = Room::open(Store::memory().unwrap(), configuration(when), 1);
    let mut object = app("web", "Healthy");
    let due = Timestamp::now() + Duration::from_millis(300);
    object["metadata"]["annotations"]["due"] = json!(due.to_string());
    room.see(object);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(room.rows(0).await.len(), 0);
    // The machine's clock goes on by itself, the timer's is moved.
    std::thread::sleep(Duration::from_millis(350));
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(room.rows(1).await.len(), 1);
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hlp_06_an_unknown_commit_is_an_error_of_its_condition_alone() {
    // No Git here: the commit is unknown for good, so the first condition is false and the second one fires.
    let config = compiled(&[
        (
            "trigger.on-x",
            &format!(
                "- when: repo.GetCommitMetadata('abcdef0').Author == 'x'\n  send: [m]\n- when: {DEGRADED}\n  send: [m]"
            ),
        ),
        ("template.m", "message: hi"),
        ("service.webhook.hook", "url: https://hook.test"),
    ]);
    let room = Room::open(Store::memory().unwrap(), config, 1);
    room.see(app("web", "Degraded"));
    let rows = room.rows(1).await;
    assert_eq!(rows[0].condition, condition_key(1, DEGRADED));
    assert!(room.board.status().problems["notify argocd/web"][0].text.contains("abcdef0"));
    room.close().await;
}

fn planned_row(occurrence: &str) -> Row {
    Row {
        id: identity::event_id(occurrence, "hook", ""),
        occurrence: occurrence.into(),
        app: AppKey { namespace: "argocd".into(), name: "web".into() },
        app_uid: "u".into(),
        trigger: "t".into(),
        condition: "[0].h".into(),
        state_key: "k".into(),
        service: "hook".into(),
        recipient: String::new(),
        templates: vec![],
        payload: Payload::Deferred,
        state: RowState::Planned,
        attempts: 0,
        event_at: Timestamp::UNIX_EPOCH,
        last_error: String::new(),
        possible_repeat: false,
        steps: vec![],
    }
}

#[tokio::test]
async fn out_01_an_occurrence_that_comes_again_after_its_end_is_a_new_one() {
    let store = Store::memory().unwrap();
    let epoch = store.claim().await.unwrap();
    for (end, occurrence) in [("done", "occ_1"), ("dead", "occ_1#2"), ("pending", "occ_1#3"), ("pending", "occ_1#3")] {
        let mut rows = [planned_row("occ_1")];
        suffix_reused_ids(&store, &mut rows).await.unwrap();
        assert_eq!(rows[0].occurrence, occurrence);
        assert_eq!(rows[0].id, identity::event_id(occurrence, "hook", ""));
        let id = rows[0].id.clone();
        let new = store.plan(Plan { rows: rows.to_vec(), ..Plan::default() }).await.unwrap();
        match end {
            "done" => {
                store.start(&id, epoch, Timestamp::UNIX_EPOCH, None).await.unwrap();
                store.finish(&id, epoch, Timestamp::UNIX_EPOCH, None).await.unwrap();
            }
            "dead" => store.dead(&id, epoch, Timestamp::UNIX_EPOCH, "rejected", "").await.unwrap(),
            _ => continue,
        }
        assert_eq!(new, [id]);
    }
    assert_eq!(store.rows(Default::default(), 9).await.unwrap().len(), 3, "one that is not final is planned once");
}
