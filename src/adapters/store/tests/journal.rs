//! The journal, open pushes, small texts.

use super::*;
use crate::core::event::{Earlier, Kind, Place};

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
        earlier: Some(Earlier { id: "img_0".into(), at: at(0) }),
        apps: Vec::new(),
        strategy: String::new(),
        first_seen: None,
        revision: String::new(),
        owner: String::new(),
        beside: Vec::new(),
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
