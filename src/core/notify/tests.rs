//! Scripted sequences of Application versions: what each plans and what the ledger holds afterwards (notifications.md
//! §9.2, §9.3, §10.2).

mod edits;
mod endings;
mod import;
mod once;
mod vectors;
mod versions;

use serde_json::{Value as Json, json};

use super::ledger::export;
use super::*;
use crate::core::value::time::Moment;
use crate::core::value::{Map, MapKind, Value};

/// One Application under observation: the rules, the ledger, and the last version.
struct Script {
    rules: Rules,
    ledger: Ledger,
    object: Json,
    project: Option<BTreeMap<String, String>>,
    upstream: Option<BTreeMap<String, String>>,
    adopt: bool,
    version: i64,
    /// Seconds beyond one per version.
    later: i64,
    last: Evaluation,
}

/// `(when, oncePer)` pairs of one trigger.
fn trigger(conditions: &[(&str, &str)]) -> Trigger {
    let compile = |(index, (when, once)): (usize, &(&str, &str))| {
        Condition::compile(index, when, once, vec!["t".into()], String::new()).expect("it compiles")
    };
    Trigger { conditions: conditions.iter().enumerate().map(compile).collect(), ..Trigger::default() }
}

const DEGRADED: &str = "app.status.health.status == 'Degraded'";
const FAILED: &str = "app.status.operationState.phase in ['Failed']";
const REVISION: &str = "app.status.operationState.syncResult.revision";

impl Script {
    /// One trigger `on-x`, subscribed by annotations like `on-x.slack: a`.
    fn new(conditions: &[(&str, &str)], subscribed: &[(&str, &str)]) -> Script {
        let mut rules = Rules::default();
        rules.triggers.insert("on-x".into(), trigger(conditions));
        let message = crate::core::template::Template::parse("hi", crate::core::template::Functions::Full);
        let message = Some(catalog::Field::Good(std::sync::Arc::new(message.expect("it parses"))));
        rules.templates.insert("t".into(), MessageTemplate { message, ..MessageTemplate::default() });
        rules.services.insert("slack".into(), ServiceKind::Slack);
        rules.services.insert("hook".into(), ServiceKind::Webhook { json: false });
        let object = json!({"metadata": {"name": "web", "namespace": "argocd", "uid": "u", "annotations": {}}});
        let (ledger, last) = (Ledger::default(), Evaluation::default());
        let (project, upstream, adopt, version, later) = (None, None, false, 0, 0);
        let mut script = Script { rules, ledger, object, project, upstream, adopt, version, later, last };
        script.configured();
        script.subscribe(subscribed);
        script
    }

    /// What the project gives.
    fn inherited(&self) -> Inherited<'_> {
        let (project, upstream) = (self.project.as_ref(), self.upstream.as_ref());
        Inherited { project, upstream, adopt: self.adopt }
    }

    /// The configuration is edited: the trigger is another one from now on.
    fn edit(&mut self, conditions: &[(&str, &str)]) {
        self.rules.triggers.insert("on-x".into(), trigger(conditions));
        self.configured();
    }

    /// The daemon has read the configuration.
    fn configured(&mut self) {
        self.rules.known = self.rules.known.observe(&self.rules.triggers, self.now().as_second());
        self.rules.known.equip(&mut self.rules.triggers);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + self.version + self.later).expect("a time")
    }

    fn subscribe(&mut self, subscribed: &[(&str, &str)]) {
        let annotations = self.object["metadata"]["annotations"].as_object_mut().expect("a map");
        annotations.retain(|key, _| !key.contains("subscribe"));
        for (key, recipients) in subscribed {
            annotations.insert(format!("notifications.argoproj.io/subscribe.{key}"), json!(recipients));
        }
    }

    fn import(mut self, text: &str) -> Script {
        self.object["metadata"]["annotations"][STATE_ANNOTATION] = json!(text);
        self
    }

    /// Evaluates the next version with this status; the planned destinations.
    fn see(&mut self, status: Json) -> Vec<String> {
        self.version += 1;
        self.object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.object["status"] = status;
        let app = Application::decode(&self.object.to_string()).expect("an Application");
        let now = self.now();
        let facts = || Facts {
            app: app.object(),
            project: Value::Map(Map::new(MapKind::Any)),
            context: BTreeMap::new(),
            secrets: Map::new(MapKind::Bytes),
            commits: Default::default(),
            wanted: Default::default(),
            placeholders: false,
            image: Value::Nil,
            now: Moment { at: now, zone: jiff::tz::TimeZone::UTC },
        };
        self.last = evaluate(&app, self.inherited(), &self.rules, &self.ledger, facts, now);
        self.ledger.apply(&self.last.changes);
        self.last.rows.iter().map(|row| format!("{}:{}", row.service, row.recipient)).collect()
    }

    /// Everything planned so far was delivered.
    fn deliver(&mut self) {
        let told = |(key, mark): (&String, &mut Mark)| mark.told |= shown_upstream(key);
        self.ledger.marks.iter_mut().for_each(told);
    }

    /// The keys upstream would see, each hash shortened to `#`.
    fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ledger.marks.keys().filter(|k| shown_upstream(k)).cloned().collect();
        for condition in self.rules.triggers.values().flat_map(|t| &t.conditions) {
            let hash = condition.key.split_once('.').expect("index and hash").1;
            keys.iter_mut().for_each(|key| *key = key.replace(hash, "#"));
        }
        keys
    }

    fn problem_codes(&self) -> Vec<&'static str> {
        self.last.problems.iter().map(|p| p.code).collect()
    }
}

fn health(word: &str) -> Json {
    json!({"health": {"status": word}})
}

/// A finished operation that the status knows of.
fn operation(phase: &str, revision: &str) -> Json {
    json!({
        "operationState": {"phase": phase, "startedAt": "2026-05-01T12:00:00Z", "finishedAt": "2026-05-01T12:00:05Z",
            "syncResult": {"revision": revision}, "operation": {"sync": {"revision": revision}}},
        "reconciledAt": "2026-05-01T12:00:06Z",
    })
}

fn multi(phase: &str, revisions: &[&str], finished: &str) -> Json {
    let mut status = operation(phase, "");
    status["operationState"]["syncResult"] = json!({"revision": "", "revisions": revisions});
    status["operationState"]["finishedAt"] = json!(finished);
    status
}

const EARLY: &str = "2026-05-01T12:00:05Z";

const NONE: [&str; 0] = [];

#[test]
fn st_01_st_02_st_03_a_plain_condition_fires_once_per_edge() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    for (word, planned, keys) in [
        ("Healthy", vec![], vec![]),
        ("Degraded", vec!["slack:a"], vec!["on-x:[0].#:slack:a"]),
        ("Degraded", vec![], vec!["on-x:[0].#:slack:a"]),
        ("Healthy", vec![], vec![]),
        ("Degraded", vec!["slack:a"], vec!["on-x:[0].#:slack:a"]),
    ] {
        assert_eq!(s.see(health(word)), planned, "{word} at {}", s.version);
        assert_eq!(s.keys(), keys, "{word} at {}", s.version);
    }
}

#[test]
fn st_02_an_unchanged_answer_changes_nothing() {
    let mut s = Script::new(&[(DEGRADED, ""), (FAILED, REVISION)], &[("on-x.slack", "a")]);
    s.see(operation("Failed", "r1"));
    for _ in 0..3 {
        s.see(operation("Failed", "r1"));
        assert!(s.last.changes.is_empty() && s.last.rows.is_empty());
    }
}

#[test]
fn st_03_st_17_each_edge_is_an_event_of_its_own() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    let mut ids = BTreeSet::new();
    for word in ["Degraded", "Healthy", "Degraded", "Healthy", "Degraded"] {
        s.see(health(word));
        ids.extend(s.last.rows.iter().map(|row| row.id.clone()));
    }
    assert_eq!(ids.len(), 3);
}

#[test]
fn st_04_an_error_is_false_and_is_said() {
    let mut s = Script::new(&[("app.status.health.status contains 'Degr'", "")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
    assert_eq!(s.see(json!({"health": {"status": 5}})), NONE);
    assert_eq!(s.keys(), NONE);
    assert_eq!(s.problem_codes(), ["ConditionFailed"]);
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
    assert_eq!(s.problem_codes(), NONE);
}

#[test]
fn st_04_hlp_06_an_undetermined_condition_leaves_the_state() {
    let commit = "repo.GetCommitMetadata(app.status.operationState.syncResult.revision).Author contains 'x'";
    let mut s = Script::new(&[(commit, ""), (DEGRADED, "")], &[("on-x.slack", "a")]);
    let key = format!("on-x:{}:slack:a", s.rules.triggers["on-x"].conditions[0].key);
    let mark = Mark { origin: Origin::Planned, at: 1, told: true };
    s.ledger.apply(&[LedgerChange::Put(key.clone(), mark.clone())]);
    let mut status = operation("Running", "0123456789012345678901234567890123456789");
    status["health"] = json!({"status": "Healthy"});
    assert_eq!(s.see(status), NONE);
    assert_eq!(s.ledger.marks.get(&key), Some(&mark));
    assert_eq!(s.last.wanted, ["0123456789012345678901234567890123456789"]);
    assert_eq!(s.problem_codes(), NONE);
}

#[test]
fn hlp_05_planning_does_not_wait_for_what_a_template_asks() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    let source = "{{(call .repo.GetCommitMetadata \"0123456\").Author}}";
    let field = crate::core::template::Template::parse(source, crate::core::template::Functions::Full);
    let field = catalog::Field::Good(std::sync::Arc::new(field.expect("it parses")));
    s.rules.templates.insert("t".into(), MessageTemplate { message: Some(field), ..MessageTemplate::default() });
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
    assert_eq!(s.last.rows[0].payload, Payload::Deferred);
    assert_eq!(s.last.wanted, NONE);
}

#[test]
fn st_11_a_new_recipient_gets_its_own_first_message_only() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
    s.subscribe(&[("on-x.slack", "a; b"), ("on-x.hook", "")]);
    assert_eq!(s.see(health("Degraded")), ["hook:", "slack:b"]);
    assert_eq!(s.keys(), ["on-x:[0].#:hook:", "on-x:[0].#:slack:a", "on-x:[0].#:slack:b"]);
    assert_eq!(s.see(health("Degraded")), NONE);
}

#[test]
fn st_12_a_later_subscription_sees_new_occurrences() {
    let mut s = Script::new(&[(DEGRADED, "")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
    s.subscribe(&[]);
    assert_eq!(s.see(health("Degraded")), NONE);
    assert_eq!(s.keys(), ["on-x:[0].#:slack:a"], "still true, still held");
    assert_eq!(s.see(health("Healthy")), NONE);
    assert_eq!(s.keys(), NONE, "nobody subscribes, and it turned false");
    s.subscribe(&[("on-x.slack", "a")]);
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
}

#[test]
fn ct_06_without_subscribers_nothing_is_evaluated() {
    let mut s = Script::new(&[(FAILED, REVISION)], &[("on-x.slack", "a")]);
    s.see(operation("Failed", "v"));
    s.subscribe(&[]);
    s.see(operation("Failed", "w"));
    assert_eq!(s.last.skipped, Some("nobody subscribed"));
    assert!(s.last.evaluated.is_empty());
}

#[test]
fn p_7_a_hundred_runs_give_the_same() {
    let run = |seed: usize| {
        let mut s = Script::new(&[("true", "app.metadata.name"), (DEGRADED, "")], &[]);
        let mut pairs: Vec<(String, String)> = ["a", "b", "c", "d", "e"]
            .iter()
            .flat_map(|trigger| ["slack", "hook"].map(|to| (format!("on-{trigger}.{to}"), "z;y;x".to_owned())))
            .collect();
        let turn = seed % pairs.len();
        pairs.rotate_left(turn);
        if seed % 2 == 1 {
            pairs.reverse();
        }
        for (key, recipients) in &pairs {
            let name = key.split('.').next().expect("a trigger").to_owned();
            s.rules.triggers.insert(name, trigger(&[("true", "app.metadata.name"), (DEGRADED, "")]));
            s.object["metadata"]["annotations"][format!("notifications.argoproj.io/subscribe.{key}")] =
                json!(recipients);
        }
        s.see(health("Degraded"));
        format!("{:?} {:?} {:?}", s.last.changes, s.last.rows, s.last.problems)
    };
    let first = run(0);
    assert!(first.matches("evt_").count() >= 60, "{first}");
    (1..100).for_each(|seed| assert_eq!(run(seed), first, "{seed}"));
}

#[test]
fn ct_08_a_deletion_with_finalizers_is_a_version_like_any() {
    let mut s = Script::new(&[("app.metadata.deletionTimestamp != nil", "app.metadata.name")], &[("on-x.slack", "a")]);
    s.object["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    assert_eq!(s.see(health("Healthy")), NONE);
    s.object["metadata"]["deletionTimestamp"] = json!("2026-05-01T12:00:00Z");
    assert_eq!(s.see(health("Healthy")), ["slack:a"]);
    assert_eq!(s.see(health("Healthy")), NONE);
}

#[test]
fn exp_04_an_evaluation_says_whether_it_read_the_clock() {
    let clocks = [
        ("time.Now().Year() > 2000", "", true),
        ("now().Year() > 2000", "", true),
        ("true", "time.Now().Format('2006-01-02')", true),
        (DEGRADED, "", false),
    ];
    for (when, once, reads) in clocks {
        let mut s = Script::new(&[(when, once)], &[("on-x.slack", "a")]);
        s.see(health("Degraded"));
        assert_eq!(s.last.reads_clock, reads, "{when} {once}");
        s.subscribe(&[("on-other.slack", "a")]);
        s.ledger = Ledger::default();
        s.see(health("Degraded"));
        assert!(!s.last.reads_clock, "nobody asks for {when} {once}");
    }
}

#[test]
fn st_14_a_first_subscription_of_a_true_condition_is_told_at_once() {
    let mut s = Script::new(&[(DEGRADED, "")], &[]);
    assert_eq!(s.see(health("Degraded")), NONE);
    s.subscribe(&[("on-x.slack", "a")]);
    assert_eq!(s.see(health("Degraded")), ["slack:a"]);
}

#[test]
fn st_16_trg_01_conditions_of_one_trigger_fire_each() {
    let mut s = Script::new(&[(DEGRADED, ""), ("false", ""), ("app.status != nil", "")], &[("on-x.slack", "a")]);
    assert_eq!(s.see(health("Degraded")), ["slack:a", "slack:a"]);
    assert_eq!(s.keys(), ["on-x:[0].#:slack:a", "on-x:[2].#:slack:a"]);
    assert_eq!(s.see(health("Healthy")), NONE);
    assert_eq!(s.keys(), ["on-x:[2].#:slack:a"]);
}

#[test]
fn st_18_what_others_do_to_the_annotation_plans_nothing() {
    let mut s = Script::new(&[(DEGRADED, ""), (FAILED, REVISION)], &[("on-x.slack", "a")]);
    let status = json!({"health": {"status": "Degraded"}, "operationState": {"phase": "Failed",
        "finishedAt": EARLY, "syncResult": {"revision": "v"}}, "reconciledAt": EARLY});
    assert_eq!(s.see(status.clone()).len(), 2);
    s.deliver();
    let ours = export(&s.ledger, |_| true).expect("told");
    for text in [json!(ours), json!("{}"), json!("{"), json!("{\"other\":5}"), Json::Null] {
        s.object["metadata"]["annotations"][STATE_ANNOTATION] = text.clone();
        assert_eq!(s.see(status.clone()), NONE, "{text}");
        assert!(s.last.changes.is_empty(), "{text}");
    }
}

#[test]
fn trg_02_order_is_by_trigger_then_index_then_destination() {
    let mut s = Script::new(&[("true", ""), ("true", "'v'")], &[("on-x.slack", "b;a"), ("on-a.hook", "")]);
    s.rules.triggers.insert("on-a".into(), trigger(&[("true", "")]));
    s.see(json!({}));
    let order: Vec<(&str, &str, &str)> = s
        .last
        .rows
        .iter()
        .map(|row| (row.trigger.as_str(), row.condition.split('.').next().unwrap(), row.recipient.as_str()))
        .collect();
    let wanted =
        [("on-a", "[0]", ""), ("on-x", "[0]", "b"), ("on-x", "[0]", "a"), ("on-x", "[1]", "b"), ("on-x", "[1]", "a")];
    assert_eq!(order, wanted);
}

#[test]
fn cfg_14_cfg_15_undefined_names_leave_the_others_alone() {
    let subscribed = [("on-x.slack", "a"), ("on-gone.slack", "a"), ("on-x.nobody", "b")];
    let mut s = Script::new(&[(DEGRADED, "")], &subscribed);
    assert_eq!(s.see(health("Degraded")), ["nobody:b", "slack:a"]);
    assert_eq!(s.last.undefined_triggers, ["on-gone".to_owned()].into());
    assert_eq!(s.last.undefined_services, ["nobody".to_owned()].into());
    assert_eq!(s.last.rows[0].payload, Payload::Deferred, "parked until the service is defined");
    assert_eq!(s.see(health("Degraded")), NONE);
    assert_eq!(s.last.undefined_services, ["nobody".to_owned()].into(), "said as long as it is so");
}

#[test]
fn img_01_only_conditions_on_the_image_event_wait_for_one() {
    let conditions = [("image != nil", ""), ("$env['app'] != nil", ""), ("app.metadata.name == 'web'", "")];
    let mut s = Script::new(&conditions, &[("on-x.slack", "a")]);
    s.see(json!({}));
    assert_eq!(s.keys(), ["on-x:[1].#:slack:a", "on-x:[2].#:slack:a"]);
}

#[test]
fn section_11_1_the_occurrence_names_the_edge_or_the_value() {
    let mut s = Script::new(&[(FAILED, REVISION), (FAILED, "")], &[("on-x.slack", "a")]);
    s.see(operation("Failed", "v"));
    let condition = |n: usize| s.rules.triggers["on-x"].conditions[n].key.clone();
    let wanted = [
        identity::occurrence_id("u", "", "on-x", &condition(0), "once:v"),
        identity::occurrence_id("u", "", "on-x", &condition(1), "edge:2026-05-01T12:00:00Z|v@1"),
    ];
    let found: Vec<&str> = s.last.rows.iter().map(|row| row.occurrence.as_str()).collect();
    assert_eq!(found, wanted);
}

proptest::proptest! {
    /// Versions that only repeat what is known change nothing, wherever they come.
    #[test]
    fn st_17_repeated_versions_give_the_same_events(
        words in proptest::collection::vec((0..3usize, 0..3usize, 1..4usize), 1..12)
    ) {
        let conditions = [(DEGRADED, ""), (FAILED, REVISION)];
        let mut once = Script::new(&conditions, &[("on-x.slack", "a")]);
        let mut again = Script::new(&conditions, &[("on-x.slack", "a")]);
        for (state, revision, repeats) in words {
            let mut status = operation(["Failed", "Succeeded", "Running"][state], ["r", "s", "t"][revision]);
            status["health"] = health(["Degraded", "Healthy", "Degraded"][(state + revision) % 3])["health"].clone();
            let planned = once.see(status.clone());
            let mut others: Vec<String> = Vec::new();
            for _ in 0..repeats {
                others.extend(again.see(status.clone()));
            }
            proptest::prop_assert_eq!(planned, others);
        }
        proptest::prop_assert_eq!(once.keys(), again.keys());
    }
}
