//! One suite for every form of the store, then what only a file can show: locks, modes, damage, sudden ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::core::event::{Kind, Place};
use crate::core::notify::ledger::{Mark, Origin};
use crate::core::notify::message::{DeliveryPolicy, Part, SlackPart, WebhookPart};
use crate::core::notify::row::{Payload, RowState};
use crate::core::retry::Retry;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn row(id: &str, service: &str, recipient: &str) -> Row {
    Row {
        id: id.into(),
        occurrence: format!("occ_{id}"),
        app: AppKey { namespace: "argocd".into(), name: "web".into() },
        app_uid: "u1".into(),
        trigger: "on-deployed".into(),
        condition: "[0].hash".into(),
        state_key: format!("key-{id}"),
        service: service.into(),
        recipient: recipient.into(),
        templates: vec!["app-deployed".into()],
        payload: Payload::Rendered(Message {
            text: "hello \"you\"".into(),
            part: Part::Webhook(WebhookPart { method: "POST".into(), path: "/x".into(), body: "{}".into() }),
        }),
        state: RowState::Planned,
        attempts: 0,
        event_at: at(0),
        last_error: String::new(),
        possible_repeat: false,
        steps: Vec::new(),
    }
}

fn planned(id: &str) -> LedgerChange {
    LedgerChange::Put(format!("key-{id}"), Mark { origin: Origin::Planned, at: 1, told: false })
}

fn plan(ids: &[&str]) -> Plan {
    Plan {
        uid: "u1".into(),
        changes: ids.iter().map(|id| planned(id)).collect(),
        rows: ids.iter().map(|id| row(id, "hook", "")).collect(),
        object: Some(b"packed".to_vec()),
        ..Plan::default()
    }
}

fn again(seconds: i64, healable: bool) -> Again {
    Again { at: at(seconds), healable, error: "refused".into(), unknown: false, thread: None }
}

async fn due(store: &Store, seconds: i64) -> Vec<String> {
    let rows = store.due(at(seconds), 100, Skip::default()).await.unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

/// Runs a scenario against a store in memory and one in a folder.
fn each_store<F: Future<Output = ()>>(scenario: impl Fn(Store) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scenario(Store::memory().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(scenario(Store::open(folder.path()).unwrap()));
}

#[test]
fn st_13_a_renamed_key_takes_its_open_events_along() {
    each_store(|store| async move {
        store.plan(plan(&["a", "b"])).await.unwrap();
        let epoch = store.claim().await.unwrap();
        store.start("b", epoch, at(1), None).await.unwrap();
        store.finish("b", epoch, at(2), None).await.unwrap();
        let renamed = |id: &str| LedgerChange::Move(format!("key-{id}"), format!("new-{id}"));
        let changes = vec![renamed("a"), renamed("b"), renamed("nothing")];
        store.plan(Plan { uid: "u1".into(), changes, ..Plan::default() }).await.unwrap();
        let marks = store.ledger("u1").await.unwrap().marks;
        let found: Vec<(&str, Origin, bool)> = marks.iter().map(|(k, m)| (k.as_str(), m.origin, m.told)).collect();
        assert_eq!(found, [("new-a", Origin::Adopted, false), ("new-b", Origin::Adopted, true)]);
        // What was still open marks the new key when it arrives.
        store.start("a", epoch, at(3), None).await.unwrap();
        assert!(store.finish("a", epoch, at(4), None).await.unwrap());
        assert!(store.ledger("u1").await.unwrap().marks["new-a"].told);
        assert_eq!(store.row("b").await.unwrap().unwrap().state_key, "key-b", "a final event is history");
    });
}

#[test]
fn out_01_a_plan_is_one_write_and_an_id_exists_once() {
    each_store(|store| async move {
        assert!(!store.ledger("u1").await.unwrap().known);
        assert_eq!(store.plan(plan(&["a", "b"])).await.unwrap(), ["a", "b"]);
        let mut more = plan(&["b", "c"]);
        more.changes.push(LedgerChange::Remove("key-a".into()));
        more.texts.push(("defs".into(), "v2".into()));
        more.journal_mark = Some(7);
        assert_eq!(store.plan(more).await.unwrap(), ["c"], "b is there already");
        let ledger = store.ledger("u1").await.unwrap();
        assert!(ledger.known);
        assert_eq!(ledger.marks.keys().collect::<Vec<_>>(), ["key-b", "key-c"]);
        assert_eq!(store.text("defs").await.unwrap().as_deref(), Some("v2"));
        assert_eq!(store.journal_mark().await.unwrap(), 7);
        let stored = store.row("a").await.unwrap().unwrap();
        assert_eq!(stored, row("a", "hook", ""), "a row reads back as it was");
        assert_eq!(store.rows(Filter::default(), 10).await.unwrap().len(), 3);
        let found = store.exists(vec!["a".into(), "nope".into()]).await.unwrap();
        assert_eq!(found, BTreeMap::from([("a".to_owned(), false)]));
        assert_eq!(store.ledgers().await.unwrap(), ["u1"]);
        store.drop_app("u1").await.unwrap();
        assert_eq!(store.ledger("u1").await.unwrap(), Ledger::default());
        assert_eq!(store.rows(Filter::default(), 10).await.unwrap().len(), 3, "pending events stay (OUT-16)");
    });
}

#[test]
fn section_11_2_every_payload_reads_back() {
    each_store(|store| async move {
        let slack = SlackPart {
            attachments: "[{\"a\":1}]".into(),
            blocks: "[]".into(),
            username: "bot".into(),
            icon: ":x:".into(),
            grouping_key: "k".into(),
            notify_broadcast: true,
            delivery_policy: DeliveryPolicy::PostAndUpdate,
        };
        let email = crate::core::notify::message::EmailPart { subject: "s".into(), body: "b".into() };
        let payloads = [
            Payload::Deferred,
            Payload::Failed("no template".into()),
            Payload::Rendered(Message::default()),
            Payload::Rendered(Message { text: "t".into(), part: Part::Slack(slack) }),
            Payload::Rendered(Message { text: "t".into(), part: Part::Email(email) }),
        ];
        let rows = payloads.iter().enumerate().map(|(n, payload)| Row {
            payload: payload.clone(),
            templates: vec![],
            ..row(&n.to_string(), "hook", "ü")
        });
        let rows: Vec<Row> = rows.collect();
        store.plan(Plan { rows: rows.clone(), ..Plan::default() }).await.unwrap();
        for row in rows {
            assert_eq!(store.row(&row.id).await.unwrap(), Some(row));
        }
    });
}

#[test]
fn out_02_done_and_the_ledger_mark_are_one_write() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        store.plan(plan(&["a", "gone"])).await.unwrap();
        store
            .plan(Plan { uid: "u1".into(), changes: vec![LedgerChange::Remove("key-gone".into())], ..Plan::default() })
            .await
            .unwrap();
        store.start("a", epoch, at(1), None).await.unwrap();
        let sending = store.row("a").await.unwrap().unwrap();
        assert_eq!(sending.state, RowState::Sending { epoch: epoch.0, since: at(1) });
        assert_eq!(sending.attempts, 1);
        assert!(store.finish("a", epoch, at(2), None).await.unwrap());
        assert_eq!(store.row("a").await.unwrap().unwrap().state, RowState::Done { at: at(2) });
        let mark = &store.ledger("u1").await.unwrap().marks["key-a"];
        assert_eq!((mark.told, mark.at), (true, at(2).as_second()), "WRB-03: the time it was sent");
        store.start("gone", epoch, at(3), None).await.unwrap();
        assert!(!store.finish("gone", epoch, at(4), None).await.unwrap(), "a key that left the ledger stays away");
        assert_eq!(store.exists(vec!["a".into()]).await.unwrap(), BTreeMap::from([("a".to_owned(), true)]));
        assert_eq!(store.plan(plan(&["a"])).await.unwrap(), [""; 0], "OUT-01: a final row is not planned again");
    });
}

#[test]
fn section_11_2_only_legal_moves_and_only_of_the_living_epoch() {
    each_store(|store| async move {
        let old = store.claim().await.unwrap();
        store.plan(plan(&["a", "b"])).await.unwrap();
        store.start("a", old, at(0), None).await.unwrap();
        let epoch = store.claim().await.unwrap();
        assert!(epoch > old);
        let stale = [
            store.start("b", old, at(1), None).await,
            store.finish("a", old, at(1), None).await.map(drop),
            store.retry("a", old, at(1), again(9, false)).await,
            store.dead("a", old, at(1), "rejected", "").await,
            store.step("a", old, "post", at(1), None).await,
            store.recover(old, at(1), vec![]).await.map(drop),
        ];
        for result in stale {
            assert!(matches!(result, Err(Error::StaleEpoch { .. })), "OUT-04: {result:?}");
        }
        let wrong = [
            store.finish("a", epoch, at(1), None).await.map(drop),
            store.finish("b", epoch, at(1), None).await.map(drop),
            store.start("a", epoch, at(1), None).await,
            store.start("nope", epoch, at(1), None).await,
            store.retry("a", epoch, at(1), again(9, false)).await,
            store.replay("b", at(1)).await,
        ];
        for result in wrong {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::WrongState { .. }), "{error}");
            assert_eq!(error.retry(), Retry::Never);
        }
        store.start("b", epoch, at(1), None).await.unwrap();
        store.dead("b", epoch, at(2), "rejected", "400").await.unwrap();
        let dead = store.row("b").await.unwrap().unwrap();
        assert_eq!(dead.state, RowState::Dead { at: at(2), reason: "rejected".into() });
        assert_eq!(dead.last_error, "400");
        assert!(!store.ledger("u1").await.unwrap().marks["key-b"].told, "OUT-10");
        store.replay("b", at(9)).await.unwrap();
        assert_eq!(store.row("b").await.unwrap().unwrap().state, RowState::Planned);
    });
}

#[test]
fn out_03_rows_found_sending_had_an_unknown_outcome() {
    each_store(|store| async move {
        let old = store.claim().await.unwrap();
        let mut all = plan(&["a", "b"]);
        all.rows[1].service = "careful".into();
        store.plan(all).await.unwrap();
        store.start("a", old, at(0), None).await.unwrap();
        store.start("b", old, at(0), None).await.unwrap();
        let epoch = store.claim().await.unwrap();
        assert_eq!(due(&store, 100).await, [""; 0]);
        assert_eq!(store.recover(epoch, at(10), vec!["careful".into()]).await.unwrap(), 2);
        assert_eq!(store.recover(epoch, at(10), vec![]).await.unwrap(), 0);
        let a = store.row("a").await.unwrap().unwrap();
        assert!(a.possible_repeat);
        assert_eq!(a.state, RowState::RetryAt { at: at(10), healable: false });
        let b = store.row("b").await.unwrap().unwrap();
        assert_eq!(b.state, RowState::Dead { at: at(10), reason: "unknown".into() });
        assert_eq!(due(&store, 10).await, ["a"]);
    });
}

#[test]
fn lan_01_lan_02_order_per_application_and_destination() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        let mut rows = vec![row("a1", "hook", ""), row("a2", "hook", ""), row("other", "hook", "else")];
        rows.push(Row { app_uid: "u2".into(), ..row("b1", "hook", "") });
        store.plan(Plan { rows, ..Plan::default() }).await.unwrap();
        assert_eq!(due(&store, 0).await, ["a1", "other", "b1"], "a2 waits for a1, nobody else does");
        store.start("a1", epoch, at(0), None).await.unwrap();
        assert_eq!(due(&store, 0).await, ["other", "b1"]);
        store.retry("a1", epoch, at(1), again(500, false)).await.unwrap();
        assert_eq!(due(&store, 60).await, ["other", "b1"], "held back for 60 s after the first failure");
        assert_eq!(due(&store, 61).await, ["a2", "other", "b1"]);
        assert_eq!(store.next_due(at(2)).await.unwrap(), Some(at(61)));
        assert_eq!(store.next_due(at(61)).await.unwrap(), Some(at(500)));
        assert_eq!(store.next_due(at(500)).await.unwrap(), None);
        assert_eq!(due(&store, 500).await, ["a1", "a2", "other", "b1"]);
        let skip = Skip { services: vec![], lanes: vec![("hook".into(), "".into())] };
        let left: Vec<String> = store.due(at(500), 9, skip).await.unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(left, ["other"]);
        let skip = Skip { services: vec!["hook".into()], lanes: vec![] };
        assert!(store.due(at(500), 9, skip).await.unwrap().is_empty());
        assert_eq!(store.due(at(500), 2, Skip::default()).await.unwrap().len(), 2);
    });
}

#[test]
fn section_12_2_healable_rows_come_forward() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        let mut all = plan(&["a", "b", "c"]);
        for (row, recipient) in all.rows.iter_mut().zip(["x", "y", "z"]) {
            row.recipient = recipient.into();
        }
        all.rows[2].service = "slack".into();
        store.plan(all).await.unwrap();
        for (id, healable) in [("a", true), ("b", false), ("c", true)] {
            store.start(id, epoch, at(0), None).await.unwrap();
            store.retry(id, epoch, at(0), again(900, healable)).await.unwrap();
        }
        let mut wake = store.outbox_changes();
        wake.mark_unchanged();
        assert_eq!(store.heal(Some("hook"), false, at(5)).await.unwrap(), 1);
        assert!(wake.has_changed().unwrap());
        assert_eq!(due(&store, 5).await, ["a"]);
        assert!(matches!(store.row("a").await.unwrap().unwrap().payload, Payload::Rendered(_)));
        assert_eq!(store.heal(None, true, at(6)).await.unwrap(), 2);
        assert_eq!(store.row("c").await.unwrap().unwrap().payload, Payload::Deferred, "rendered anew");
        assert_eq!(due(&store, 6).await, ["a", "c"]);
        let new = Message { text: "new".into(), ..Message::default() };
        store.start("c", epoch, at(7), Some(new.clone())).await.unwrap();
        assert_eq!(store.row("c").await.unwrap().unwrap().payload, Payload::Rendered(new));
    });
}

#[test]
fn out_14_an_object_version_is_kept_once_and_dropped_with_its_last_open_row() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        store.plan(plan(&["a", "b"])).await.unwrap();
        store.plan(plan(&["c"])).await.unwrap();
        let objects = |store: Store| async move {
            store.read(|c| Ok(c.query_row("SELECT count(*) FROM object", [], |r| r.get::<_, i64>(0))?)).await.unwrap()
        };
        assert_eq!(objects(store.clone()).await, 1);
        for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(store.object("c").await.unwrap().as_deref(), Some(b"packed".as_slice()));
            store.start(id, epoch, at(0), None).await.unwrap();
            if n == 1 {
                store.dead(id, epoch, at(0), "rejected", "").await.unwrap();
            } else {
                store.finish(id, epoch, at(0), None).await.unwrap();
            }
        }
        assert_eq!(store.object("a").await.unwrap(), None);
        assert_eq!(objects(store.clone()).await, 0);
    });
}

#[test]
fn sl_05_out_05_threads_and_steps_are_durable() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        store.plan(plan(&["a"])).await.unwrap();
        store.start("a", epoch, at(0), None).await.unwrap();
        let key = ThreadKey { service: "slack".into(), recipient: "c".into(), key: "k".into() };
        let thread = Thread { channel: "C1".into(), ts: "1.2".into() };
        let remember = || Some(ThreadChange::Remember(key.clone(), thread.clone()));
        store.step("a", epoch, "post", at(0), remember()).await.unwrap();
        assert_eq!(store.row("a").await.unwrap().unwrap().steps, ["post"]);
        assert_eq!(store.thread(key.clone()).await.unwrap(), Some(thread.clone()));
        let other = ThreadKey { service: "slack-b".into(), ..key.clone() };
        assert_eq!(store.thread(other).await.unwrap(), None, "not shared between workspaces");
        store.clean(at(30 * 86_400)).await.unwrap();
        assert!(store.thread(key.clone()).await.unwrap().is_some());
        store.clean(at(30 * 86_400 + 1)).await.unwrap();
        assert!(store.thread(key.clone()).await.unwrap().is_none());
        store.finish("a", epoch, at(0), remember()).await.unwrap();
        assert!(store.thread(key.clone()).await.unwrap().is_some());
        store.write(move |c| thread::apply(c, Some(&ThreadChange::Forget(key)), at(0))).await.unwrap();
        let key = ThreadKey { service: "slack".into(), recipient: "c".into(), key: "k".into() };
        assert!(store.thread(key).await.unwrap().is_none());
    });
}

#[test]
fn out_09_done_rows_are_kept_seven_days_dead_ones_fourteen() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        store.plan(plan(&["a", "b", "c"])).await.unwrap();
        store.start("a", epoch, at(0), None).await.unwrap();
        store.finish("a", epoch, at(0), None).await.unwrap();
        store.dead("b", epoch, at(0), "expired", "").await.unwrap();
        let day = 86_400;
        for (seconds, left) in [(7 * day, 3), (7 * day + 1, 2), (14 * day, 2), (14 * day + 1, 1), (99 * day, 1)] {
            store.clean(at(seconds)).await.unwrap();
            assert_eq!(store.rows(Filter::default(), 10).await.unwrap().len(), left, "{seconds}");
        }
    });
}

#[test]
fn section_22_counts_and_filters() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        let mut all = plan(&["a", "b", "c"]);
        all.rows[1].service = "slack".into();
        all.rows[1].trigger = "on-x".into();
        all.rows[2].event_at = at(-60);
        store.plan(all).await.unwrap();
        store.start("a", epoch, at(0), None).await.unwrap();
        let counts = store.counts().await.unwrap();
        let shown: Vec<_> = counts.iter().map(|c| (c.service.as_str(), c.state.as_str(), c.rows)).collect();
        assert_eq!(shown, [("hook", "planned", 1), ("hook", "sending", 1), ("slack", "planned", 1)]);
        assert_eq!(counts[0].oldest, at(-60));
        let none = Filter::default;
        for (filter, ids) in [
            (Filter { service: Some("slack".into()), ..none() }, vec!["b"]),
            (Filter { state: Some("sending".into()), ..none() }, vec!["a"]),
            (Filter { trigger: Some("on-deployed".into()), ..none() }, vec!["c", "a"]),
            (
                Filter { app: Some(AppKey { namespace: "argocd".into(), name: "web".into() }), ..none() },
                vec!["c", "b", "a"],
            ),
            (Filter { app: Some(AppKey { namespace: "x".into(), name: "web".into() }), ..none() }, vec![]),
        ] {
            let rows = store.rows(filter.clone(), 10).await.unwrap();
            assert_eq!(rows.into_iter().map(|row| row.id).collect::<Vec<_>>(), ids, "{filter:?}");
        }
    });
}

fn event(id: &str, app: &str, kind: Kind) -> Event {
    Event {
        id: id.into(),
        kind,
        at: at(0),
        app: AppKey { namespace: "argocd".into(), name: app.into() },
        app_uid: format!("uid-{app}"),
        project: "default".into(),
        change: "chg_1".into(),
        alias: "web".into(),
        image: format!("nginx-{id}"),
        old: "1".into(),
        new: "2".into(),
        reason: String::new(),
        message: "because".into(),
        place: Some(Place { method: "git".into(), branch: "main".into(), ..Place::default() }),
        count: 1,
    }
}

#[test]
fn evt_5_the_journal_keeps_each_event_once_and_in_order() {
    each_store(|store| async move {
        let mut wake = store.journal_changes();
        wake.mark_unchanged();
        let first = vec![event("1", "a", Kind::Found), event("2", "b", Kind::Committed)];
        assert_eq!(store.append(first.clone()).await.unwrap(), first);
        assert!(wake.has_changed().unwrap());
        wake.mark_unchanged();
        assert!(store.append(vec![event("1", "a", Kind::Found)]).await.unwrap().is_empty());
        assert!(!wake.has_changed().unwrap());
        let entries = store.journal_since(0, 10).await.unwrap();
        assert_eq!(entries.iter().map(|entry| &entry.event).collect::<Vec<_>>(), first.iter().collect::<Vec<_>>());
        assert_eq!(store.journal_since(entries[0].mark, 10).await.unwrap(), entries[1..]);
        let app = AppKey { namespace: "argocd".into(), name: "b".into() };
        assert_eq!(store.history(Some(app), 10).await.unwrap(), first[1..]);
        assert_eq!(store.history(None, 1).await.unwrap(), first[1..], "newest first");
        store.plan(Plan { journal_mark: Some(5), ..Plan::default() }).await.unwrap();
        store.plan(Plan { journal_mark: Some(3), ..Plan::default() }).await.unwrap();
        assert_eq!(store.journal_mark().await.unwrap(), 5, "the mark never moves back");
    });
}

#[test]
fn evt_5_history_keeps_the_last_100_per_application_10_000_in_total_and_open_holds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::memory().unwrap();
        let mut quiet: Vec<Event> = (0..150).map(|n| event(&format!("q{n}"), "quiet", Kind::Found)).collect();
        quiet[0].kind = Kind::Held;
        quiet[1].kind = Kind::Held;
        quiet[2].image = quiet[1].image.clone();
        store.append(quiet).await.unwrap();
        store.append((0..10_000).map(|n| event(&format!("b{n}"), "busy", Kind::Found)).collect()).await.unwrap();
        assert_eq!(store.clean(at(0)).await.unwrap(), 0, "nothing that the notifier has not read");
        store.plan(Plan { journal_mark: Some(i64::MAX), ..Plan::default() }).await.unwrap();
        assert_eq!(store.clean(at(0)).await.unwrap(), 49);
        let kept = store.history(Some(AppKey { namespace: "argocd".into(), name: "quiet".into() }), 999).await.unwrap();
        assert_eq!(kept.len(), 101);
        assert_eq!(kept.last().unwrap().id, "q0", "the hold that nothing followed");
    });
}

#[test]
fn git_15_a_push_and_its_events_end_in_one_write() {
    each_store(|store| async move {
        let push = |id: &str| PushRow {
            id: id.into(),
            remote: "https://h/r".into(),
            branch: "main".into(),
            old: "o".into(),
            new: "n".into(),
            note: "{}".into(),
            events: vec![event(&format!("e-{id}"), "a", Kind::Committed)],
        };
        for id in ["1", "2"] {
            store.open_push(push(id)).await.unwrap();
        }
        assert_eq!(store.open_pushes().await.unwrap(), [push("1"), push("2")]);
        assert_eq!(store.settle_push("1", true).await.unwrap(), push("1").events);
        assert!(store.settle_push("1", true).await.unwrap().is_empty(), "no second time");
        assert!(store.settle_push("2", false).await.unwrap().is_empty());
        assert!(store.open_pushes().await.unwrap().is_empty());
        assert_eq!(store.history(None, 9).await.unwrap(), push("1").events);
    });
}

#[test]
fn small_texts_by_key_and_prefix() {
    each_store(|store| async move {
        for (key, value) in [("good/a", "1"), ("good/b", "2"), ("goo", "3"), ("good/a", "4")] {
            store.set_text(key, value).await.unwrap();
        }
        store.remove_text("goo").await.unwrap();
        assert_eq!(store.text("goo").await.unwrap(), None);
        let all = store.texts("good/").await.unwrap();
        assert_eq!(all, BTreeMap::from([("good/a".into(), "4".into()), ("good/b".into(), "2".into())]));
    });
}

#[tokio::test]
async fn section_11_3_many_writes_share_a_commit_and_each_is_durable_when_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let begun = Instant::now();
    let writes = (0..2_000).map(|n| {
        let store = store.clone();
        async move { store.plan(Plan { rows: vec![row(&format!("e{n}"), "hook", "")], ..Plan::default() }).await }
    });
    for result in futures::future::join_all(writes).await {
        result.unwrap();
    }
    let tally = store.tally();
    assert_eq!(tally.writes, 2_000);
    assert!(tally.commits < 500, "{tally:?}");
    let rate = 2_000.0 / begun.elapsed().as_secs_f64();
    assert!(rate > 200.0, "{rate} events/s; the target of 1,000 is for a quiet machine and a release build");
}

#[tokio::test]
async fn a_write_that_fails_undoes_itself_alone() {
    let store = Store::memory().unwrap();
    let slow = store.write(|c| {
        std::thread::sleep(std::time::Duration::from_millis(30));
        Ok(c.execute("INSERT INTO text VALUES ('slow', '1')", [])?)
    });
    let bad = store.write(|c| {
        c.execute("INSERT INTO text VALUES ('bad', '1')", [])?;
        Err::<(), _>(Error::Unreadable("on purpose".into()))
    });
    let panicking = store.write(|c| {
        c.execute("INSERT INTO text VALUES ('panic', '1')", [])?;
        if c.is_autocommit() { Ok(()) } else { panic!("on purpose") }
    });
    let good = store.write(|c| Ok(c.execute("INSERT INTO text VALUES ('good', '1')", [])?));
    let (slow, bad, panicking, good) = tokio::join!(slow, bad, panicking, good);
    assert!(slow.is_ok() && good.is_ok());
    assert!(matches!(bad, Err(Error::Unreadable(_))));
    assert!(matches!(panicking, Err(Error::Closed)));
    assert_eq!(store.texts("").await.unwrap().into_keys().collect::<Vec<_>>(), ["good", "slow"]);
}

#[tokio::test]
async fn out_11_a_full_disk_stores_nothing_says_so_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let limit = |pages: i64| {
        move |c: &Connection| {
            let pages = if pages == 0 { 1_000_000 } else { c.pragma_query_value(None, "page_count", |r| r.get(0))? };
            Ok(c.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?)
        }
    };
    store.write(limit(1)).await.unwrap();
    let big = Plan { object: Some(vec![7; 400_000]), ..plan(&["a"]) };
    let error = store.plan(big.clone()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Backoff, "{error}");
    assert!(store.row("a").await.unwrap().is_none());
    assert!(!store.ledger("u1").await.unwrap().known, "all or nothing");
    let (since, text) = store.trouble().expect("trouble");
    assert!(text.contains("full"), "{text}");
    store.plan(big.clone()).await.unwrap_err();
    assert_eq!(store.trouble().unwrap().0, since, "since the first failure");
    store.write(limit(0)).await.unwrap();
    store.plan(big).await.unwrap();
    assert_eq!(store.trouble(), None);
    assert!(store.tally().errors >= 2);
}

#[tokio::test]
async fn sec_10_files_are_private_and_one_process_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("state");
    let store = Store::open(&inner).unwrap();
    assert!(store.is_fresh());
    store.plan(plan(&["a"])).await.unwrap();
    for entry in fs::read_dir(&inner).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    assert!(matches!(Store::open(&inner), Err(Error::InUse(_))), "two_processes_one_file_refused");
    let beside = Store::open_read_only(&inner).unwrap();
    assert!(beside.row("a").await.unwrap().is_some());
    assert!(matches!(beside.plan(plan(&["b"])).await, Err(Error::ReadOnly)));
    store.plan(plan(&["b"])).await.unwrap();
    assert!(beside.row("b").await.unwrap().is_some(), "sees what is written meanwhile");
    drop(store);
    let again = Store::open(&inner).unwrap();
    assert!(!again.is_fresh());
    assert_eq!(again.rows(Filter::default(), 9).await.unwrap().len(), 2);
    drop(again);
    assert!(Store::open_read_only(&inner).unwrap().row("a").await.unwrap().is_some(), "with nobody writing");
}

fn copy_folder(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// The files as they are while the process lives are what a kill leaves behind.
#[tokio::test]
async fn p_3_after_a_sudden_end_between_any_two_steps_everything_answered_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let epoch = store.claim().await.unwrap();
    let state = |folder: tempfile::TempDir| async move {
        let store = Store::open(folder.path()).unwrap();
        let epoch = store.claim().await.unwrap();
        store.recover(epoch, at(50), vec![]).await.unwrap();
        let row = store.row("a").await.unwrap();
        row.map(|row| (row.state.word(), row.possible_repeat, store.clone()))
    };
    assert!(state(copy_folder(folder.path())).await.is_none());
    store.plan(plan(&["a"])).await.unwrap();
    let (word, repeat, _) = state(copy_folder(folder.path())).await.unwrap();
    assert_eq!((word, repeat), ("planned", false), "DLV-12");
    store.start("a", epoch, at(0), None).await.unwrap();
    let (word, repeat, after) = state(copy_folder(folder.path())).await.unwrap();
    assert_eq!((word, repeat), ("retry_at", true), "DLV-11");
    assert!(!after.ledger("u1").await.unwrap().marks["key-a"].told);
    store.finish("a", epoch, at(1), None).await.unwrap();
    let (word, repeat, after) = state(copy_folder(folder.path())).await.unwrap();
    assert_eq!((word, repeat), ("done", false), "DLV-13");
    assert!(after.ledger("u1").await.unwrap().marks["key-a"].told);
}

#[tokio::test]
async fn section_11_3_damage_is_refused_loudly_and_nothing_is_touched() {
    let sound = tempfile::tempdir().unwrap();
    let store = Store::open(sound.path()).unwrap();
    for n in 0..200 {
        store.plan(plan(&[&format!("e{n}")])).await.unwrap();
    }
    drop(store);
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("empty", |file| fs::write(file, b"").unwrap()),
        ("not a database", |file| fs::write(file, vec![b'x'; 8192]).unwrap()),
        ("another database", |file| {
            fs::remove_file(file).unwrap();
            Connection::open(file).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        }),
        ("bad pages", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[4096..].chunks_mut(4096).step_by(2).for_each(|page| page.fill(0xa5));
            fs::write(file, bytes).unwrap();
        }),
        ("cut short", |file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("newer", |file| Connection::open(file).unwrap().pragma_update(None, "user_version", 99).unwrap()),
    ];
    for (name, harm) in harms {
        let folder = copy_folder(sound.path());
        let file = folder.path().join("state.db");
        harm(&file);
        let before = fs::read(&file).unwrap();
        for result in [Store::open(folder.path()), Store::open_read_only(folder.path())] {
            match result.err() {
                Some(Error::Newer { found: 99, .. }) => assert_eq!(name, "newer"),
                Some(Error::Damaged { .. }) => assert_ne!(name, "newer"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(fs::read(&file).unwrap() == before, "{name}: changed");
    }
    let folder = copy_folder(sound.path());
    fs::remove_file(folder.path().join("state.db")).unwrap();
    fs::write(folder.path().join("state.db-wal"), b"log").unwrap();
    assert!(matches!(Store::open(folder.path()), Err(Error::Damaged { .. })), "log without file");
    assert!(matches!(Store::open_read_only(&folder.path().join("nowhere")), Err(Error::Io { .. })));
}

#[tokio::test]
async fn section_11_3_a_torn_tail_of_the_log_loses_only_what_was_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.plan(plan(&["a"])).await.unwrap();
    let copy = copy_folder(folder.path());
    let log = copy.path().join("state.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend_from_slice(&[0x5a; 3000]);
    fs::write(&log, bytes).unwrap();
    let after = Store::open(copy.path()).unwrap();
    assert!(after.row("a").await.unwrap().is_some());
}

/// A plan kept apart from this table: what a move leads to.
#[derive(Clone, Debug)]
enum Move {
    Plan(u8),
    Start(u8),
    Finish(u8),
    Retry(u8),
    Dead(u8),
}

fn moves() -> impl proptest::strategy::Strategy<Value = Vec<Move>> {
    use proptest::prelude::*;
    let one = (0u8..5, 0u8..3).prop_map(|(kind, id)| match kind {
        0 => Move::Plan(id),
        1 => Move::Start(id),
        2 => Move::Finish(id),
        3 => Move::Retry(id),
        _ => Move::Dead(id),
    });
    proptest::collection::vec(one, 0..25)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]
    /// The store allows exactly the moves that `RowState::may_become` draws.
    #[test]
    fn section_11_2_the_store_and_the_rule_agree(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::memory().unwrap();
            let epoch = store.claim().await.unwrap();
            let mut model: BTreeMap<String, RowState> = BTreeMap::new();
            for step in moves {
                let (id, next) = match step {
                    Move::Plan(id) => {
                        let id = id.to_string();
                        let new = store.plan(plan(&[&id])).await.unwrap();
                        assert_eq!(new.len(), usize::from(!model.contains_key(&id)));
                        model.entry(id).or_insert(RowState::Planned);
                        continue;
                    }
                    Move::Start(id) => (id, RowState::Sending { epoch: epoch.0, since: at(1) }),
                    Move::Finish(id) => (id, RowState::Done { at: at(2) }),
                    Move::Retry(id) => (id, RowState::RetryAt { at: at(3), healable: true }),
                    Move::Dead(id) => (id, RowState::Dead { at: at(4), reason: "x".into() }),
                };
                let id = id.to_string();
                let result = match &next {
                    RowState::Sending { .. } => store.start(&id, epoch, at(1), None).await,
                    RowState::Done { .. } => store.finish(&id, epoch, at(2), None).await.map(drop),
                    RowState::RetryAt { .. } => store.retry(&id, epoch, at(2), again(3, true)).await,
                    _ => store.dead(&id, epoch, at(4), "x", "").await,
                };
                let legal = model.get(&id).is_some_and(|state| state.may_become(&next));
                assert_eq!(result.is_ok(), legal, "{:?} to {next:?}: {result:?}", model.get(&id));
                if legal {
                    model.insert(id, next);
                }
            }
            for (id, state) in model {
                assert_eq!(store.row(&id).await.unwrap().unwrap().state, state);
            }
        });
    }
}

#[tokio::test]
async fn section_24_a_long_backlog_is_searched_by_index() {
    let store = Store::memory().unwrap();
    let plan = store.write(|c| {
        let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {}", outbox::due_query()))?;
        let steps =
            statement.query_map(rusqlite::params![0, "[]", "[]", 0, 1], |row| row.get::<_, String>("detail"))?;
        Ok(steps.collect::<Result<Vec<_>, _>>()?)
    });
    let plan = plan.await.unwrap().join("\n");
    for wanted in [
        "mine USING INDEX event_waiting",
        "earlier USING INDEX event_lane (uid=? AND service=? AND recipient=? AND seq<?)",
    ] {
        assert!(plan.contains(wanted), "{wanted} not in\n{plan}");
    }
    assert!(!plan.contains("TEMP B-TREE FOR ORDER BY"), "{plan}");
    // One lane that is slow, one that is not, behind it.
    let many = (0..20_000).map(|n| Row { app_uid: format!("u{n}"), ..row(&format!("e{n}"), "slow", "") });
    store.plan(Plan { rows: many.collect(), ..Plan::default() }).await.unwrap();
    store.plan(Plan { rows: vec![row("quick", "hook", "")], ..Plan::default() }).await.unwrap();
    let begun = Instant::now();
    let skip = Skip { services: vec![], lanes: vec![("slow".into(), String::new())] };
    let found = store.due(at(0), 64, skip).await.unwrap();
    assert_eq!(found.into_iter().map(|row| row.id).collect::<Vec<_>>(), ["quick"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(store.next_due(at(0)).await.unwrap(), None);
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
}
