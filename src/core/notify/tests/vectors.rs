//! ST-01 to ST-18 as scripted sequences in a data file, and any batching of a sequence.

use serde::Deserialize;

use super::*;
use crate::core::notify::versions::{Limits, Versions};

/// One sequence: a trigger `on-x`, who subscribes, and what happens step by step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sequence {
    rule: String,
    conditions: Vec<(String, String)>,
    subscribe: BTreeMap<String, String>,
    #[serde(default, rename = "multiSource")]
    multi_source: bool,
    steps: Vec<Step>,
}

/// What happens before a version is seen, the version, and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// The trigger is edited.
    #[serde(default)]
    edit: Option<Vec<(String, String)>>,
    /// Other subscriptions from now on.
    #[serde(default)]
    subscribe: Option<BTreeMap<String, String>>,
    /// Somebody writes the state annotation.
    #[serde(default)]
    annotation: Option<String>,
    /// What was planned arrives.
    #[serde(default)]
    deliver: bool,
    /// Another object of the same name.
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    health: Option<String>,
    #[serde(default)]
    phase: Option<String>,
    #[serde(default)]
    revision: Option<String>,
    #[serde(default)]
    revisions: Option<Vec<String>>,
    /// Destinations that are planned for.
    planned: Vec<String>,
    /// The keys upstream would see; not looked at if absent. `#` is the hash of a condition as it is now.
    #[serde(default)]
    keys: Option<Vec<String>>,
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn conditions(list: &[(String, String)]) -> Vec<(&str, &str)> {
    list.iter().map(|(when, once)| (when.as_str(), once.as_str())).collect()
}

/// The status a step describes; what it does not name stays as it was.
fn status(step: &Step, before: &Json) -> Json {
    let mut status = before.clone();
    if let Some(word) = &step.health {
        status["health"] = json!({"status": word});
    }
    if let Some(phase) = &step.phase {
        status["operationState"]["phase"] = json!(phase);
        status["operationState"]["startedAt"] = json!("2026-05-01T12:00:00Z");
        status["operationState"]["finishedAt"] = json!(EARLY);
        status["reconciledAt"] = json!(EARLY);
    }
    if let Some(revision) = &step.revision {
        status["operationState"]["syncResult"] = json!({"revision": revision});
    }
    if let Some(revisions) = &step.revisions {
        status["operationState"]["syncResult"] = json!({"revision": "", "revisions": revisions});
    }
    status
}

#[test]
fn st_01_st_02_st_03_st_04_st_05_st_06_st_07_st_08_st_09_st_10_st_11_st_12_st_13_st_14_st_16_st_17_st_18_state_vectors()
{
    let text = include_str!("../../../../tests/fixtures/notify/state_vectors.json");
    let sequences: Vec<Sequence> = serde_json::from_str(text).expect("a readable table");
    let named: BTreeSet<&str> = sequences.iter().flat_map(|s| s.rule.split([' ', ','])).collect();
    for n in (1..=18).filter(|n| *n != 15) {
        assert!(named.contains(format!("ST-{n:02}").as_str()), "ST-{n:02} has no sequence");
    }
    for sequence in sequences {
        let mut s = Script::new(&conditions(&sequence.conditions), &pairs(&sequence.subscribe));
        if sequence.multi_source {
            s.object["spec"]["sources"] = json!([{"repoURL": "a"}, {"repoURL": "b"}]);
        }
        for (number, step) in sequence.steps.iter().enumerate() {
            let place = format!("{}, step {}", sequence.rule, number + 1);
            if let Some(list) = &step.edit {
                s.edit(&conditions(list));
            }
            if let Some(subscribed) = &step.subscribe {
                s.subscribe(&pairs(subscribed));
            }
            if let Some(text) = &step.annotation {
                s.object["metadata"]["annotations"][STATE_ANNOTATION] = json!(text);
            }
            if let Some(uid) = &step.uid {
                s.object["metadata"]["uid"] = json!(uid);
                s.ledger = Ledger::default();
            }
            let before = s.object["status"].clone();
            let before = if before.is_null() { json!({}) } else { before };
            let planned = s.see(status(step, &before));
            assert_eq!(planned, step.planned, "{place}");
            if step.deliver {
                s.deliver();
            }
            if let Some(keys) = &step.keys {
                assert_eq!(&s.keys(), keys, "{place}");
            }
        }
    }
}

/// A random life: health, phase and revision of each version.
fn life() -> impl proptest::strategy::Strategy<Value = Vec<(usize, usize, usize)>> {
    proptest::collection::vec((0..3usize, 0..3usize, 0..3usize), 1..30)
}

fn random_status((health_word, phase, revision): (usize, usize, usize)) -> Json {
    let mut status = operation(["Failed", "Succeeded", "Running"][phase], ["r", "s", "t"][revision]);
    status["health"] = health(["Degraded", "Healthy", "Progressing"][health_word])["health"].clone();
    status
}

/// Everything that one evaluation decides.
fn decided(s: &Script) -> Vec<String> {
    s.last.rows.iter().map(|row| format!("{} {}:{} {}", row.id, row.service, row.recipient, row.state_key)).collect()
}

proptest::proptest! {
    /// However versions arrive, one by one or many at once, with how many of them evaluated in between: within the bounds
    /// of the queue the events are the same.
    #[test]
    fn st_17_ct_01_random_sequences_give_the_same_events_for_any_batching(
        life in life(), taken in proptest::collection::vec(0..4usize, 30)
    ) {
        let conditions = [(DEGRADED, ""), (FAILED, REVISION)];
        let subscribed = [("on-x.slack", "a;b"), ("on-x.hook", "")];
        let mut alone = Script::new(&conditions, &subscribed);
        let mut one_by_one = Vec::new();
        let mut versions = Versions::within(Limits::default());
        let mut batched = Script::new(&conditions, &subscribed);
        let mut in_batches = Vec::new();
        let mut evaluate = |versions: &mut Versions| {
            let Some(app) = versions.take() else { return };
            batched.version = app.resource_version.parse::<i64>().expect("a number") - 1;
            batched.see(app.json()["status"].clone());
            in_batches.extend(decided(&batched));
            versions.done(&app.key);
        };
        for (step, taken) in life.into_iter().zip(taken) {
            alone.see(random_status(step));
            one_by_one.extend(decided(&alone));
            let app = Application::decode(&alone.object.to_string()).expect("an Application");
            proptest::prop_assert_eq!(versions.push(std::sync::Arc::new(app)), 0);
            (0..taken).for_each(|_| evaluate(&mut versions));
        }
        while !versions.is_idle() {
            evaluate(&mut versions);
        }
        proptest::prop_assert_eq!(one_by_one, in_batches);
        proptest::prop_assert_eq!(alone.keys(), batched.keys());
    }
}
