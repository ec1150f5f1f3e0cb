//! Ledgers of Applications that are gone: dropped seven days after they were first missed (notifications.md §11.3).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::adapters::store::{Error, Store};

/// Notes in the store of who is missed since when begin so.
const GONE: &str = "notifications/gone/";

/// A ledger is kept so long after its Application is gone.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Looks who is missed; `present` are the UIDs of all Applications of complete lists without a selector: what they do not
/// hold is deleted. Where nothing has changed nothing is written. Gives how many ledgers were dropped.
pub async fn sweep(store: &Store, present: &BTreeSet<String>, now: Timestamp) -> Result<u64, Error> {
    let missed = store.texts(GONE).await?;
    let mut dropped = 0;
    for uid in store.ledgers().await? {
        let key = format!("{GONE}{uid}");
        let since = missed.get(&key).and_then(|text| text.parse::<Timestamp>().ok());
        match (present.contains(&uid), since) {
            (true, None) => {}
            (true, Some(_)) => store.remove_text(&key).await?,
            (false, None) => store.set_text(&key, &now.to_string()).await?,
            (false, Some(since)) if now.duration_since(since) < KEPT => {}
            (false, Some(_)) => {
                store.drop_app(&uid).await?;
                store.remove_text(&key).await?;
                dropped += 1;
            }
        }
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::store::Plan;

    #[tokio::test]
    async fn section_11_3_ledgers_go_seven_days_after_their_application() {
        let store = Store::memory().unwrap();
        for uid in ["here", "back", "gone"] {
            store.plan(Plan { uid: uid.into(), ..Plan::default() }).await.unwrap();
        }
        let day = |n: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(n * 24);
        let present = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect::<BTreeSet<_>>();
        // (day, who is there, how many are dropped, who has a ledger afterwards)
        for (at, uids, dropped, left) in [
            (0, &["here"][..], 0, vec!["back", "gone", "here"]),
            (6, &["here", "back"], 0, vec!["back", "gone", "here"]),
            (7, &["here"], 1, vec!["back", "here"]),
            (13, &["here"], 0, vec!["back", "here"]),
            (14, &["here"], 1, vec!["here"]),
            (99, &["here"], 0, vec!["here"]),
        ] {
            assert_eq!(sweep(&store, &present(uids), day(at)).await.unwrap(), dropped, "day {at}");
            assert_eq!(store.ledgers().await.unwrap(), left, "day {at}");
        }
        assert!(store.texts(GONE).await.unwrap().is_empty());
    }
}
