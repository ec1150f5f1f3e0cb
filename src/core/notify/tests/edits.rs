//! Triggers that are edited or removed, and what the very first start adopts (ST-12, ST-13, SUB-10).

use super::*;

#[test]
fn st_12_keys_of_a_removed_trigger_go_after_a_day() {
    let mut s = Script::new(&[(FAILED, REVISION), (DEGRADED, "")], &[("on-x.slack", "a")]);
    let mut status = operation("Failed", "v");
    status["health"] = json!({"status": "Degraded"});
    assert_eq!(s.see(status.clone()).len(), 2);
    let before = s.ledger.marks.clone();
    let taken = s.rules.triggers.remove("on-x").expect("it was there");
    s.configured();
    s.later = known::REMOVED_KEPT - 2;
    s.see(status.clone());
    assert_eq!(s.ledger.marks, before, "a day is not over");
    // It comes back in time: nothing is told again.
    s.rules.triggers.insert("on-x".into(), taken);
    s.configured();
    assert_eq!(s.see(status.clone()), NONE);
    s.rules.triggers.clear();
    s.configured();
    s.later += known::REMOVED_KEPT;
    s.see(status);
    assert_eq!(s.ledger.marks, BTreeMap::new());
}

#[test]
fn st_13_events_that_are_not_delivered_follow_the_edit() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    s.see(health("Degraded"));
    let before = s.last.rows[0].state_key.clone();
    s.edit(&[("app.status.health.status in ['Degraded']", "")]);
    assert_eq!(s.see(health("Degraded")), NONE);
    let now = format!("on-x:{}:slack:a", s.rules.triggers["on-x"].conditions[0].key);
    assert_eq!(s.last.changes, [LedgerChange::Move(before, now)]);
    s.see(health("Degraded"));
    assert_eq!(s.last.changes, []);
}

#[test]
fn st_13_an_imported_key_of_a_former_form_counts_too() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    let key = format!("on-x:{}:slack:a", s.rules.triggers["on-x"].conditions[0].key);
    s.edit(&[("app.status.health.status  ==  'Degraded'", "")]);
    s = s.import(&json!({ key: 1 }).to_string());
    assert_eq!(s.see(health("Degraded")), NONE);
    assert_eq!(s.keys(), ["on-x:[0].#:slack:a"]);
}

#[test]
fn sub_10_what_only_the_fixed_look_up_gives_is_adopted_at_the_very_first_start() {
    let key = |name: &str| format!("notifications.argoproj.io/subscribe.{name}");
    let found = BTreeMap::from([(key("on-x.slack"), "new;both".to_owned()), (key("on-x.hook"), String::new())]);
    let upstream = BTreeMap::from([(key("on-x.slack"), "both".to_owned())]);
    let subject = |adopt: bool| {
        let mut s = Script::new(&[(DEGRADED, ""), (FAILED, REVISION)], &[("on-x.slack", "own")]);
        (s.project, s.upstream, s.adopt) = (Some(found.clone()), Some(upstream.clone()), adopt);
        s
    };
    assert_eq!(subject(false).see(health("Degraded")), ["slack:own", "hook:", "slack:new", "slack:both"]);
    let mut s = subject(true);
    assert_eq!(s.see(health("Degraded")), ["slack:own", "slack:both"]);
    let adopted = s.ledger.marks.values().filter(|mark| mark.origin == Origin::Adopted && mark.told).count();
    assert_eq!(adopted, 2);
    // From now on it is told like everything else.
    assert_eq!(s.see(health("Degraded")), NONE);
    s.see(health("Healthy"));
    assert_eq!(s.see(health("Degraded")).len(), 4);
    assert_eq!(s.see(operation("Failed", "v")).len(), 4);
}
