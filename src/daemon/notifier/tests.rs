//! Ids of occurrences that come again.

use super::*;
use crate::core::notify::row::{Payload, RowState};

fn row(occurrence: &str) -> Row {
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
        let mut rows = [row("occ_1")];
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
