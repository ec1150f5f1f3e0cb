//! What people write for notifications, and what Argo CD writes.

use std::collections::BTreeMap;

use lynceus::config::notifications::{CatalogMode, compile};
use lynceus::config::secret::{Secret, fill};
use lynceus::core::application::Application;
use lynceus::core::notify::ledger::{self, ANNOTATION_ENTRIES, Ledger};
use lynceus::core::notify::subscription::{self, Defaults, Destination};

use super::Parts;

/// Any text under any key: good neighbours stay, and what is not good is told by name.
pub fn config_map(input: &[u8]) {
    let mut parts = Parts::of(input);
    let mut config = BTreeMap::new();
    while parts.more() && config.len() < 6 {
        let (key, text) = (parts.text(), parts.text());
        config.insert(key, text);
    }
    let own: Vec<String> = config.keys().cloned().collect();
    let good = [
        ("trigger.neighbour", "[{when: app.metadata.name == 'x', send: [neighbour]}]"),
        ("template.neighbour", "message: hello"),
        ("service.webhook.neighbour", "url: http://h.example/"),
    ];
    for (key, text) in good {
        config.insert(key.to_owned(), text.to_owned());
    }
    let secrets = BTreeMap::from([("tok".to_owned(), Secret::new("s3cr3t-value"))]);
    let compiled = compile(&config, &secrets, &BTreeMap::new(), CatalogMode::Auto);
    assert!(compiled.rules.triggers.contains_key("neighbour"));
    assert!(compiled.rules.templates.contains_key("neighbour"));
    assert!(compiled.services.contains_key("neighbour"));
    for key in own.iter().filter(|key| !good.iter().any(|(known, _)| known == key)) {
        let told = compiled.problems.iter().any(|problem| problem.to_string().contains(key.as_str()));
        assert!(compiled.good.contains_key(key) || told, "{key:?}: {:?}", compiled.problems);
    }
    for problem in &compiled.problems {
        assert!(!problem.to_string().contains("s3cr3t-value"), "{problem}");
    }
    // What was good is good again, alone.
    let again = compile(&compiled.good, &secrets, &BTreeMap::new(), CatalogMode::Auto);
    assert_eq!(again.good, compiled.good);
}

/// Any annotations: no destination without a service, and the good neighbour's is there (SUB-06).
pub fn subscriptions(input: &[u8]) {
    let mut parts = Parts::of(input);
    let yaml = parts.text();
    let mut annotations = BTreeMap::new();
    while parts.more() && annotations.len() < 8 {
        let (key, value) = (parts.text(), parts.text());
        annotations.insert(format!("{}{key}", subscription::PREFIX), value.clone());
        annotations.insert(key, value);
    }
    annotations.insert("notifications.argoproj.io/subscribe.neighbour.slack".to_owned(), "general".to_owned());
    let config = BTreeMap::from([("subscriptions".to_owned(), yaml)]);
    let compiled = compile(&config, &BTreeMap::new(), &BTreeMap::new(), CatalogMode::None);
    let labels = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
    let defaults = Defaults { triggers: vec!["d".to_owned()], per_service: BTreeMap::new() };
    let globals = &compiled.rules.subscriptions;
    let (merged, _) = subscription::merge(globals, &defaults, &labels, &annotations, None);
    let neighbour = Destination { service: "slack".to_owned(), recipient: "general".to_owned() };
    assert!(merged.of("neighbour").contains(&neighbour));
    // Annotations alone never lead to nowhere (SUB-06). A recipient `:` of the ConfigMap does, by §4.2: "each split at
    // `:`; part 1 = service", kept as upstream has it; its row waits with the problem that there is no such service.
    let (alone, _) = subscription::merge(&[], &defaults, &labels, &annotations, None);
    for destination in alone.by_trigger.values().flatten() {
        assert!(!destination.service.is_empty(), "{destination:?}");
    }
    for list in merged.by_trigger.values() {
        assert!(list.len() <= subscription::MOST);
        let mut once = list.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), list.len(), "{list:?}");
    }
}

/// What was read is written again, and what was written is read again.
pub fn state_annotation(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (marks, wrong) = ledger::import(&text);
    let entries =
        serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|json| json.as_object().map(|o| o.len()));
    // Whatever is left out is said.
    assert_eq!(wrong.is_some(), entries.map_or(!text.is_empty(), |count| count != marks.len()), "{wrong:?}");
    let ledger = Ledger { known: true, marks };
    match ledger::export(&ledger, |_| false) {
        None => assert!(ledger.marks.is_empty()),
        Some(written) => {
            let (again, wrong) = ledger::import(&written);
            assert!(wrong.is_none() && again.len() == ledger.marks.len().min(ANNOTATION_ENTRIES), "{written}");
            assert!(again.iter().all(|(key, mark)| ledger.marks[key].at == mark.at), "{written}");
        }
    }
}

/// What is read keeps its name and is the same after packing.
pub fn application(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(app) = Application::decode(&text) else { return };
    assert!(!app.key.name.is_empty());
    let again = Application::unpack(app.packed()).expect("packed before");
    assert_eq!((&again.key, &again.annotations, &again.labels), (&app.key, &app.annotations, &app.labels));
    assert_eq!((&again.sources, &again.status), (&app.sources, &app.status));
    assert_eq!(again.json(), app.json());
    // Deep objects are walked without harm.
    assert!(!lynceus::core::value::display(&app.object()).is_empty());
}

/// Without secrets nothing changes; each secret stands exactly where its reference stood.
pub fn secrets(input: &[u8]) {
    let mut parts = Parts::of(input);
    let text = parts.text();
    let (same, references) = fill(&text, &BTreeMap::new());
    assert_eq!(same, text);
    let echo: BTreeMap<String, Secret> =
        references.iter().map(|(key, _)| (key.clone(), Secret::new(format!("${key}")))).collect();
    let (same, again) = fill(&text, &echo);
    assert_eq!(same, text);
    assert_eq!(again.len(), references.len());
    let marked: BTreeMap<String, Secret> =
        references.iter().map(|(key, _)| (key.clone(), Secret::new("\u{1}\n"))).collect();
    let (filled, _) = fill(&text, &marked);
    assert_eq!(filled.matches('\u{1}').count(), text.matches('\u{1}').count() + references.len());
}
