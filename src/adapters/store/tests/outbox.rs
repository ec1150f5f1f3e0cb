//! Rows, their moves, and what is remembered beside them.

use super::*;
use crate::core::notify::message::{DeliveryPolicy, SlackPart};
use crate::core::retry::Retry;

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
fn out_04_stale_epoch_rejected_whatever_it_writes() {
    each_store(|store| async move {
        let old = store.claim().await.unwrap();
        store.plan(plan(&["a", "b"])).await.unwrap();
        store.start("a", old, at(0), None).await.unwrap();
        let before = store.rows(Filter::default(), 9).await.unwrap();
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
            assert!(matches!(result, Err(Error::StaleEpoch { .. })), "{result:?}");
        }
        assert_eq!(store.rows(Filter::default(), 9).await.unwrap(), before, "nothing of it was written");
    });
}

#[test]
fn section_11_2_only_legal_moves_are_made() {
    each_store(|store| async move {
        let old = store.claim().await.unwrap();
        store.plan(plan(&["a", "b"])).await.unwrap();
        store.start("a", old, at(0), None).await.unwrap();
        let epoch = store.claim().await.unwrap();
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
fn out_09_of_done_rows_the_last_50_000_are_kept() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::memory().unwrap();
        let rows = (0..50_003).map(|n| row(&n.to_string(), "hook", ""));
        store.plan(Plan { rows: rows.collect(), ..Plan::default() }).await.unwrap();
        let done =
            |c: &Connection| Ok(c.execute("UPDATE event SET state = 'done', moment = ?1", [at(0).as_microsecond()])?);
        store.write(done).await.unwrap();
        assert_eq!(store.clean(at(1)).await.unwrap(), 3);
        let left = store.rows(Filter::default(), 60_000).await.unwrap();
        assert_eq!((left.len(), left.last().unwrap().id.as_str()), (50_000, "3"), "the oldest went");
    });
}

#[test]
fn out_10_a_dead_event_keeps_its_key_untold_and_is_not_planned_again() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        store.plan(plan(&["a"])).await.unwrap();
        store.start("a", epoch, at(0), None).await.unwrap();
        store.dead("a", epoch, at(1), "rejected", "400").await.unwrap();
        let ledger = store.ledger("u1").await.unwrap();
        assert!(!ledger.marks["key-a"].told, "the annotation never shows it");
        assert_eq!(store.plan(plan(&["a"])).await.unwrap(), [""; 0]);
        assert!(due(&store, 9).await.is_empty());
        let dead = store.row("a").await.unwrap().unwrap();
        assert_eq!((dead.attempts, dead.last_error.as_str()), (1, "400"), "OUT-09: what is known of it stays");
        assert!(matches!(dead.payload, Payload::Rendered(_)));
    });
}

#[test]
fn out_13_a_clock_that_was_set_back_parks_nothing_for_longer_than_the_longest_wait() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        store.plan(plan(&["a", "b"])).await.unwrap();
        let day = 86_400;
        store.start("a", epoch, at(day), None).await.unwrap();
        store.retry("a", epoch, at(day), again(day + 900, false)).await.unwrap();
        // The next start sees the clock a day earlier.
        let epoch = store.claim().await.unwrap();
        store.recover(epoch, at(0), vec![]).await.unwrap();
        let RowState::RetryAt { at: due_at, .. } = store.row("a").await.unwrap().unwrap().state else { panic!() };
        assert_eq!(due_at, at(3600));
        assert_eq!(due(&store, 61).await, ["b"], "it holds back others for a minute, not for a day");
    });
}

#[test]
fn out_16_pending_events_outlive_their_application_and_subscription() {
    each_store(|store| async move {
        store.plan(plan(&["a", "b"])).await.unwrap();
        let gone = Plan { uid: "u1".into(), changes: vec![LedgerChange::Remove("key-a".into())], ..Plan::default() };
        store.plan(gone).await.unwrap();
        store.drop_app("u1").await.unwrap();
        assert_eq!(due(&store, 0).await, ["a"], "in order");
        let epoch = store.claim().await.unwrap();
        for id in ["a", "b"] {
            store.start(id, epoch, at(0), None).await.unwrap();
            assert!(store.object(id).await.unwrap().is_some(), "OUT-14");
            store.finish(id, epoch, at(1), None).await.unwrap();
        }
    });
}

#[test]
fn section_12_2_one_row_comes_forward_to_be_rendered_anew() {
    each_store(|store| async move {
        let epoch = store.claim().await.unwrap();
        store.plan(plan(&["a"])).await.unwrap();
        store.start("a", epoch, at(0), None).await.unwrap();
        store.heal_row("a", at(1)).await.unwrap();
        assert_eq!(store.row("a").await.unwrap().unwrap().state.word(), "sending", "only one that waits");
        store.retry("a", epoch, at(1), again(900, true)).await.unwrap();
        let before = store.heals();
        store.heal_row("a", at(2)).await.unwrap();
        assert_eq!(store.heals(), before);
        assert_eq!(due(&store, 2).await, ["a"]);
        assert_eq!(store.row("a").await.unwrap().unwrap().payload, Payload::Deferred);
        store.heal(Some("other"), false, at(3)).await.unwrap();
        assert!(store.heals() > before, "an attempt that runs can tell");
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
        let shown: Vec<_> = counts.states.iter().map(|c| (c.service.as_str(), c.state.as_str(), c.rows)).collect();
        assert_eq!(shown, [("hook", "planned", 1), ("hook", "sending", 1), ("slack", "planned", 1)]);
        assert_eq!(counts.states[0].oldest, at(-60));
        assert_eq!(counts.deepest, BTreeMap::from([("hook".to_owned(), 2), ("slack".to_owned(), 1)]));
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
