//! What the end of a delivery, or the loss of the store, means for later evaluations.

use super::*;

#[test]
fn out_10_a_dead_event_is_not_planned_again_while_its_key_stands() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
    // It ended as a dead letter: nothing tells the ledger.
    for _ in 0..3 {
        assert_eq!(s.see(health("Degraded")), NONE);
        assert_eq!(
            export(&s.ledger, |_| true).unwrap_or_default().matches("slack:a").count(),
            0,
            "not in the annotation"
        );
    }
    assert_eq!(s.see(health("Healthy")), NONE);
    assert_eq!(s.see(health("Degraded")), ["slack:a"], "the next occurrence is another event");
}

#[test]
fn dlv_07_the_end_of_one_delivery_leaves_the_other_keys_alone() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a;b"), ("on-x.hook", "")]);
    assert_eq!(s.see(health("Degraded")).len(), 3);
    let key = s.ledger.marks.keys().find(|key| key.ends_with("slack:b")).expect("planned").clone();
    let before = s.ledger.clone();
    s.ledger.marks.get_mut(&key).expect("planned").told = true;
    assert_eq!(s.see(health("Degraded")), NONE);
    let (told, waiting): (Vec<_>, Vec<_>) = s.ledger.marks.iter().partition(|(_, mark)| mark.told);
    assert_eq!(told.len(), 1);
    for (key, mark) in waiting {
        assert_eq!(before.marks.get(key), Some(mark), "{key}");
    }
}

#[test]
fn out_15_after_the_loss_of_the_store_told_keys_come_back_and_pending_events_are_planned_again() {
    let mut s = Script::new(&[(FAILED, REVISION), (DEGRADED, "")], &[("on-x.slack", "a;b")]);
    let mut status = operation("Failed", "v");
    status["health"] = json!({"status": "Degraded"});
    assert_eq!(s.see(status.clone()).len(), 4);
    s.ledger.marks.iter_mut().filter(|(key, _)| key.ends_with(":a")).for_each(|(_, mark)| mark.told = true);
    let annotation = export(&s.ledger, |_| true).expect("told");
    s.ledger = Ledger::default();
    s = s.import(&annotation);
    assert_eq!(s.see(status.clone()), ["slack:b", "slack:b"], "what was not told, and nothing else");
    assert_eq!(s.see(status), NONE);
}
