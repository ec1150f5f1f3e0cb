//! What upstream had told is told (§10.2).

use super::*;

#[test]
fn imp_01_imp_05_what_upstream_told_is_told() {
    let mut s = Script::new(&[(FAILED, REVISION), (DEGRADED, "")], &[("on-x.slack", "a;b")]);
    let keys: Vec<String> = s.rules.triggers["on-x"].conditions.iter().map(|c| c.key.clone()).collect();
    let state = json!({
        format!("v:on-x:{}:slack:a", keys[0]): 1, format!("v:on-x:{}:slack:b", keys[0]): 2,
        format!("on-x:{}:slack:a", keys[1]): 3, "foreign:key": 4,
    });
    s = s.import(&state.to_string());
    let mut status = operation("Failed", "v");
    status["health"] = json!({"status": "Degraded"});
    // `b` was never told of the second condition.
    assert_eq!(s.see(status.clone()), ["slack:b"]);
    assert_eq!(s.see(status.clone()), NONE);
    assert!(s.ledger.marks.contains_key("foreign:key"), "IMP-04: carried along");
    status["operationState"]["syncResult"]["revision"] = json!("w");
    assert_eq!(s.see(status), ["slack:a", "slack:b"]);
}

#[test]
fn imp_01_a_skipped_first_version_is_imported_all_the_same() {
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", "a")]);
    let key = s.rules.triggers["on-x"].conditions[0].key.clone();
    s = s.import(&json!({format!("v:on-x:{key}:slack:a"): 1}).to_string());
    let mut stale = operation("Failed", "v");
    stale["reconciledAt"] = json!("2026-05-01T11:00:00Z");
    assert_eq!(s.see(stale), NONE);
    // Somebody wipes it before the next version.
    s.object["metadata"]["annotations"] = json!({"notifications.argoproj.io/subscribe.on-x.slack": "a"});
    assert_eq!(s.see(operation("Failed", "v")), NONE);
}

#[test]
fn imp_02_an_unreadable_annotation_is_said_and_empty() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]).import("{");
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
    assert_eq!(s.problem_codes(), ["StateAnnotationUnreadable"]);
}

#[test]
fn imp_03_an_imported_plain_key_stands_for_the_revisions_of_now() {
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", "a;b")]);
    s.object["spec"]["sources"] = json!([{"repoURL": "a"}, {"repoURL": "b"}]);
    let key = s.rules.triggers["on-x"].conditions[0].key.clone();
    s = s.import(&json!({format!("on-x:{key}:slack:a"): 1}).to_string());
    assert_eq!(s.see(multi("Failed", &["1", "2"], EARLY)), ["slack:b"]);
    assert_eq!(s.see(multi("Failed", &["1", "2"], EARLY)), NONE);
    assert_eq!(s.see(multi("Failed", &["1", "3"], EARLY)), ["slack:a", "slack:b"]);
}

#[test]
fn imp_04_a_known_ledger_does_not_read_the_annotation() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    s.see(health("Healthy"));
    s.ledger.known = true;
    let key = s.rules.triggers["on-x"].conditions[0].key.clone();
    s = s.import(&json!({format!("on-x:{key}:slack:a"): 1}).to_string());
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
}
