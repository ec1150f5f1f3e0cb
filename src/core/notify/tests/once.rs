//! What is told once per value of an expression (ST-05 to ST-10).

use super::*;

#[test]
fn st_05_st_06_st_07_once_per_value() {
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", "a")]);
    for (phase, revision, planned) in [
        ("Failed", "v", vec!["slack:a"]),
        ("Succeeded", "v", vec![]),
        ("Failed", "v", vec![]),
        ("Failed", "w", vec!["slack:a"]),
        ("Failed", "v", vec![]),
    ] {
        assert_eq!(s.see(operation(phase, revision)), planned, "{phase} {revision}");
    }
    assert_eq!(s.keys(), ["v:on-x:[0].#:slack:a", "w:on-x:[0].#:slack:a"]);
}

#[test]
fn st_07_a_value_is_forgotten_beyond_100() {
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", "a")]);
    for n in 0..150 {
        assert_eq!(s.see(operation("Failed", &format!("r{n:03}"))), ["slack:a"]);
    }
    assert_eq!(s.ledger.marks.len(), 100);
    assert_eq!(s.see(operation("Failed", "r051")), NONE, "remembered");
    assert_eq!(s.see(operation("Failed", "r000")), ["slack:a"], "forgotten");
}

#[test]
fn st_15_what_is_true_is_never_evicted() {
    let recipients: Vec<String> = (0..150).map(|n| format!("c{n:03}")).collect();
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", &recipients.join(";"))]);
    assert_eq!(s.see(operation("Failed", "v")).len(), 150);
    assert_eq!(s.ledger.marks.len(), 150);
    assert_eq!(s.see(operation("Failed", "v")), NONE);
    // Those who no longer subscribe hold keys of a condition that is true as well.
    s.subscribe(&[("on-x.slack", "other")]);
    assert_eq!(s.see(operation("Failed", "v")), ["slack:other"]);
    s.subscribe(&[("on-x.slack", &recipients.join(";"))]);
    assert_eq!(s.see(operation("Failed", "v")), NONE);
}

#[test]
fn st_08_multi_source_once_per_set_of_revisions() {
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", "a")]);
    s.object["spec"]["sources"] = json!([{"repoURL": "a"}, {"repoURL": "b"}]);
    let key = "on-x:[0].#:slack:a";
    for (phase, revisions, planned, keys) in [
        ("Failed", ["1", "2"], vec!["slack:a"], vec![key]),
        ("Failed", ["1", "2"], vec![], vec![key]),
        ("Succeeded", ["1", "2"], vec![], vec![]),
        // Told already, and shown again.
        ("Failed", ["1", "2"], vec![], vec![key]),
        ("Failed", ["1", "3"], vec!["slack:a"], vec![key]),
        ("Failed", ["1", "2"], vec![], vec![key]),
    ] {
        assert_eq!(s.see(multi(phase, &revisions, EARLY)), planned, "{phase} {revisions:?}");
        assert_eq!(s.keys(), keys, "{phase} {revisions:?}");
        s.deliver();
    }
}

#[test]
fn st_08_the_value_is_synced_else_compared_else_the_end() {
    for (status, value) in [
        (multi("Failed", &["1", "2"], EARLY), Some("1,2")),
        (json!({"operationState": {"finishedAt": EARLY}, "sync": {"revisions": ["3", "4"]}}), Some("3,4")),
        (json!({"operationState": {"finishedAt": EARLY}}), Some(EARLY)),
        (json!({}), None),
    ] {
        for sources in [json!([{"repoURL": "a"}]), json!([])] {
            let object = json!({"metadata": {"name": "w"}, "spec": {"sources": sources}, "status": status});
            let app = Application::decode(&object.to_string()).unwrap();
            let wanted = value.filter(|_| sources != json!([]));
            assert_eq!(multi_source_value(&app).as_deref(), wanted, "{status} {sources}");
        }
    }
}

#[test]
fn wrb_01_a_told_plain_key_stays_while_a_later_value_is_pending() {
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", "a")]);
    s.object["spec"]["sources"] = json!([{"repoURL": "a"}, {"repoURL": "b"}]);
    s.see(multi("Failed", &["1", "2"], EARLY));
    assert_eq!(export(&s.ledger, |_| true), None);
    s.deliver();
    let before = export(&s.ledger, |_| true);
    assert!(before.is_some());
    assert_eq!(s.see(multi("Failed", &["1", "3"], EARLY)), ["slack:a"]);
    assert_eq!(export(&s.ledger, |_| true), before);
}

#[test]
fn st_09_nil_is_a_value_of_its_own() {
    let mut s = Script::new(&[("true", "app.status.nothing")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(json!({"a": 1})), ["slack:a"]);
    assert_eq!(s.see(json!({"a": 2})), NONE);
    assert_eq!(s.keys(), ["<nil>:on-x:[0].#:slack:a"]);
}

#[test]
fn st_10_an_error_in_once_per_is_said_and_the_value_empty() {
    let mut s = Script::new(&[("true", "app.status.a.b.c")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(json!({"a": 1})), ["slack:a"]);
    assert_eq!(s.keys(), ["on-x:[0].#:slack:a"]);
    assert_eq!(s.problem_codes(), ["ConditionFailed"]);
    assert_eq!(s.last.problems[0].key, "trigger.on-x.[0].oncePer");
    assert_eq!(s.see(json!({"a": 1})), NONE);
}
