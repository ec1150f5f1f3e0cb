//! Which versions are evaluated, and which are left alone (§3.1, CT-05, CT-09).

use super::*;

#[test]
fn section_5_an_application_without_status_is_no_mistake() {
    let mut s = Script::new(&[("app.status.operationState.phase == 'Failed'", "")], &[("on-x.slack", "a")]);
    s.see(Json::Null);
    assert_eq!((s.last.evaluated.len(), s.problem_codes()), (1, vec![]));
    s.see(json!({"health": {}}));
    assert_eq!(s.problem_codes(), ["ConditionFailed"]);
}

#[test]
fn p_1_ct_03_ct_04_ct_05_skip_vectors() {
    for (finished, reconciled, observed, phase, skipped) in [
        ("12:00:05", "12:00:05", "", "Succeeded", false),
        ("12:00:05", "12:00:04", "", "Succeeded", true),
        ("12:00:05", "12:00:04", "12:00:06", "Succeeded", false),
        ("12:00:05", "", "", "Succeeded", true),
        ("", "12:00:06", "12:00:06", "Failed", true),
        ("", "12:00:06", "12:00:06", "Running", false),
        ("bad", "12:00:06", "12:00:06", "Error", true),
        ("12:00:05", "bad", "12:00:05", "Failed", false),
        ("12:00:05", "12:00:04", "", "", false),
        ("12:00:05", "12:00:04", "", "Terminating", false),
    ] {
        let time = |text: &str| if text.contains(':') { format!("2026-05-01T{text}Z") } else { text.to_owned() };
        let mut status = json!({"operationState": {}});
        for (place, key, value) in [
            ("/operationState", "finishedAt", time(finished)),
            ("/operationState", "phase", phase.to_owned()),
            ("", "reconciledAt", time(reconciled)),
            ("", "observedAt", time(observed)),
        ] {
            if !value.is_empty() {
                status.pointer_mut(place).expect("a place")[key] = json!(value);
            }
        }
        let mut s = Script::new(&[("true", "")], &[("on-x.slack", "a")]);
        assert_eq!(s.see(status).is_empty(), skipped, "{finished} {reconciled} {observed} {phase}");
        assert_eq!(s.last.skipped.is_some(), skipped);
    }
    let mut s = Script::new(&[("true", "")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(json!({})), ["slack:a"], "no operation at all");
}

#[test]
fn ct_05_a_skipped_version_leaves_the_state() {
    let mut s = Script::new(&[(FAILED, "")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(operation("Failed", "v")), ["slack:a"]);
    let mut stale = operation("Succeeded", "v");
    stale["operationState"]["finishedAt"] = json!("2026-05-01T13:00:00Z");
    assert_eq!(s.see(stale), NONE);
    assert!(s.last.changes.is_empty());
    assert_eq!(s.see(operation("Failed", "v")), NONE, "it never was false");
}

#[test]
fn ct_09_a_new_uid_starts_afresh() {
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", "a")]);
    s.see(operation("Failed", "v"));
    let first = s.last.rows[0].id.clone();
    s.object["metadata"]["uid"] = json!("u2");
    s.ledger = Ledger::default();
    assert_eq!(s.see(operation("Failed", "v")), ["slack:a"]);
    assert_ne!(s.last.rows[0].id, first);
}
