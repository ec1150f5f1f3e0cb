//! The built-in catalog: what it fires on, what it says, and that it says it in valid JSON and valid links.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::{Notifications, compile};
use super::*;
use crate::core::application::Application;
use crate::core::event::{Earlier, Event, Kind, Place};
use crate::core::notify::catalog::{Rendering, ServiceKind, Topic, render};
use crate::core::notify::ledger::Ledger;
use crate::core::notify::message::Part;
use crate::core::notify::row::{Payload, Row};
use crate::core::notify::variables::Facts;
use crate::core::notify::{self, Rules, image};
use crate::core::value::time::Moment;
use crate::core::value::{Map, MapKind, Value};

fn compiled(entries: &[(&str, &str)], mode: CatalogMode) -> Notifications {
    let config = entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    compile(&config, &BTreeMap::new(), &BTreeMap::new(), mode)
}

fn facts(app: &Application, url: &str) -> Facts {
    let mut context = BTreeMap::new();
    if !url.is_empty() {
        context.insert("argocdUrl".to_owned(), url.to_owned());
    }
    Facts {
        app: app.object(),
        project: Value::map::<&str>([]),
        context,
        secrets: Map::new(MapKind::Bytes),
        commits: Default::default(),
        wanted: Default::default(),
        placeholders: false,
        image: Value::Nil,
        now: Moment::utc("2026-05-01T12:00:00Z".parse().unwrap()),
    }
}

const SLACK: &str = "token: xoxb-1";

/// Services, and a subscription of everybody to every built-in image trigger.
fn everybody(extra: &[(&str, &str)]) -> Rules {
    let names: Vec<&str> = IMAGE_CATALOG.iter().filter_map(|(key, _)| key.strip_prefix("trigger.")).collect();
    let subscriptions = format!("- recipients: [slack:a, 'hook:']\n  triggers: [{}]", names.join(", "));
    let mut entries =
        vec![("service.slack", SLACK), ("service.webhook.hook", "url: http://h"), ("subscriptions", &subscriptions)];
    entries.extend(extra);
    let compiled = compiled(&entries, CatalogMode::Auto);
    assert_eq!(compiled.problems, []);
    compiled.rules
}

/// An operation that the skip rule would wait for.
fn unsettled() -> Application {
    Application::decode(
        &json!({
            "metadata": {"name": "web", "namespace": "argocd", "uid": "u"},
            "spec": {"project": "p", "source": {"repoURL": "https://h/r.git"}},
            "status": {"health": {"status": "Degraded"}, "operationState": {"phase": "Succeeded"}},
        })
        .to_string(),
    )
    .unwrap()
}

fn event(kind: Kind, text: &str) -> Event {
    Event {
        id: format!("img_{}", kind.word()),
        kind,
        at: "2026-05-01T12:01:30Z".parse().unwrap(),
        app: unsettled().key,
        app_uid: "u".into(),
        project: "p".into(),
        change: "chg_1".into(),
        alias: String::new(),
        image: "ghcr.io/acme/web".into(),
        old: "1.0.0".into(),
        new: "1.1.0".into(),
        reason: if matches!(kind, Kind::Failed | Kind::Refused | Kind::Recovered) { "git-auth" } else { "" }.into(),
        message: text.into(),
        place: Some(Place {
            method: "git".into(),
            repository: "https://github.com/acme/deploy".into(),
            branch: "main".into(),
            commit: "c0ffee".into(),
            file: "web/values.yaml".into(),
            message: String::new(),
            diff: String::new(),
        }),
        count: 1,
        earlier: Some(Earlier { id: "img_0".into(), at: "2026-05-01T12:00:00Z".parse().unwrap() }),
        apps: Vec::new(),
        strategy: String::new(),
        first_seen: None,
        revision: String::new(),
        owner: String::new(),
        beside: Vec::new(),
    }
}

fn rows(rules: &Rules, event: &Event) -> Vec<Row> {
    let app = unsettled();
    let evaluation = image::evaluate(event, &app, None, rules, || facts(&app, "https://argocd.test"));
    assert_eq!(evaluation.changes, [], "no ledger, no annotation (IMG-02)");
    assert_eq!(evaluation.problems, []);
    evaluation.rows
}

#[test]
fn img_01_img_02_image_event_each_kind() {
    let rules = everybody(&[]);
    assert!(notify::skip(&unsettled()).is_some(), "the skip rule would wait");
    for (kind, trigger, said) in [
        (Kind::Found, "", ""),
        (Kind::Held, "", ""),
        (Kind::Synced, "", ""),
        (Kind::Committed, "on-image-updated", "web was updated from 1.0.0 to 1.1.0."),
        (
            Kind::Healthy,
            "on-image-healthy",
            "web is healthy with image ghcr.io/acme/web 1.1.0, 1m30s after the commit.",
        ),
        (
            Kind::Degraded,
            "on-image-degraded",
            "web has degraded after image ghcr.io/acme/web was updated to 1.1.0: why",
        ),
        (Kind::Refused, "on-image-update-failed", "Image updates of application web were refused (git-auth): why"),
        (Kind::Failed, "on-image-update-failed", "Image updates of application web failed (git-auth): why"),
        (Kind::Recovered, "on-image-recovered", "application web work again (git-auth, after 1m30s)."),
    ] {
        let rows = rows(&rules, &event(kind, "why"));
        if trigger.is_empty() {
            assert_eq!(rows, [], "{}", kind.word());
            continue;
        }
        let to: Vec<&str> = rows.iter().map(|row| row.service.as_str()).collect();
        assert_eq!(to, ["slack", "hook"], "{}", kind.word());
        for row in &rows {
            assert_eq!((row.trigger.as_str(), row.state_key.as_str()), (trigger, ""));
            let Payload::Rendered(message) = &row.payload else { panic!("{row:?}") };
            assert!(message.text.contains(said), "{}", message.text);
            assert!(message.text.contains("https://argocd.test/applications/argocd/web"), "{}", message.text);
        }
        // The same record again is the same event for the same destination.
        let again: Vec<String> = self::rows(&rules, &event(kind, "why")).into_iter().map(|row| row.id).collect();
        assert_eq!(again, rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>());
        let other = Event { id: "img_other".into(), ..event(kind, "why") };
        assert!(self::rows(&rules, &other).iter().all(|row| !again.contains(&row.id)));
    }
}

#[test]
fn img_01_only_conditions_that_read_image_and_shared_keys_win() {
    let own = "- when: image?.event == 'committed' and image.change == 'minor'\n  send: [mine]\n\
               - when: app.status.health.status == 'Degraded'\n  send: [mine]\n";
    let rules = everybody(&[
        ("trigger.on-image-updated", own),
        ("template.mine", "message: mine {{.image.changes | len}} {{.image.commit.url}}"),
    ]);
    let rows = rows(&rules, &event(Kind::Committed, ""));
    assert_eq!(rows.len(), 2, "one condition, two destinations: the other one does not read `image`");
    for row in rows {
        let Payload::Rendered(message) = row.payload else { panic!() };
        assert_eq!(message.text, "mine 1 https://github.com/acme/deploy/commit/c0ffee");
    }
}

#[test]
fn img_01_image_trigger_in_upstream_inert() {
    let rules = everybody(&[]);
    let app = Application::decode(
        r#"{"metadata":{"name":"web","namespace":"argocd","uid":"u"},"status":{"health":{"status":"Healthy"}}}"#,
    )
    .unwrap();
    let now = "2026-05-01T12:00:00Z".parse().unwrap();
    let evaluation =
        notify::evaluate(&app, notify::Inherited::default(), &rules, &Ledger::default(), || facts(&app, ""), now);
    assert_eq!((evaluation.evaluated.len(), evaluation.rows.len(), evaluation.problems.len()), (0, 0, 0));
    // Upstream has no variable of this name at all: what it evaluates is false, or an error; never true.
    let variables = Map::new(MapKind::Any);
    variables.insert("app", app.object());
    let triggers: Vec<_> = rules.triggers.iter().filter(|(name, _)| name.starts_with("on-image-")).collect();
    assert_eq!(triggers.len(), 5);
    for (name, trigger) in triggers {
        for condition in &trigger.conditions {
            let outcome = condition.evaluate(&variables, &Moment::utc(now));
            assert_eq!(outcome.result, Some(false), "{name}: {:?}", outcome.error);
        }
    }
}

#[test]
fn img_05_own_annotation_subscribes_to_image_triggers_as_the_shared_one() {
    let notifications = compiled(&[("service.slack", SLACK)], CatalogMode::Auto);
    for prefix in ["lynceus.dev/notify-", "notifications.argoproj.io/"] {
        let app = Application::decode(
            &json!({"metadata": {"name": "web", "namespace": "argocd", "uid": "u",
                "annotations": {format!("{prefix}subscribe.on-image-updated.slack"): "a;b"}}})
            .to_string(),
        )
        .unwrap();
        let event = event(Kind::Committed, "");
        let evaluation = image::evaluate(&event, &app, None, &notifications.rules, || facts(&app, ""));
        let to: Vec<&str> = evaluation.rows.iter().map(|row| row.recipient.as_str()).collect();
        assert_eq!(to, ["a", "b"], "{prefix}");
    }
}

#[test]
fn section_19_catalog_auto_mode() {
    let own = ("trigger.mine", "- when: 'true'\n  send: [app-created]\n");
    for (mode, entries, applications, images) in [
        (CatalogMode::Auto, vec![], 8, 5),
        (CatalogMode::Auto, vec![own], 0, 5),
        (CatalogMode::Auto, vec![("template.x", "message: x")], 8, 5),
        (CatalogMode::All, vec![own], 8, 5),
        (CatalogMode::Image, vec![], 0, 5),
        (CatalogMode::None, vec![], 0, 0),
    ] {
        let rules = compiled(&entries, mode).rules;
        let count = |image: bool| {
            let own = rules.triggers.keys().filter(|name| *name != "mine");
            own.filter(|name| name.starts_with("on-image-") == image).count()
        };
        assert_eq!((count(false), count(true)), (applications, images), "{mode:?} {entries:?}");
        // A template of its own goes with each trigger; two conditions share the failed one.
        let sent = |name: &String| name.starts_with("app-") || name.starts_with("image-");
        assert_eq!(rules.templates.keys().filter(|name| sent(name)).count(), applications + images);
    }
    // A key of the ConfigMap always wins, also a template of its own beside the built-in triggers.
    let rules = compiled(&[("template.app-deployed", "message: mine")], CatalogMode::All).rules;
    assert!(rules.templates["app-deployed"].slack.is_none());
}

#[test]
fn section_19_catalog_hashes() {
    let rules = compiled(&[], CatalogMode::Auto).rules;
    let revision = "app.status.operationState?.syncResult?.revision";
    for (trigger, hash, template, once_per) in [
        ("on-created", "X_5TO4MPCKAyY0ipFgr6_IraRNs", "app-created", "app.metadata.name"),
        ("on-deleted", "BmlU8P6R19BGtNv5gj8udVypmxQ", "app-deleted", "app.metadata.name"),
        ("on-deployed", "qyWrLKXYec9qR5FVB0ylUEJLjFg", "app-deployed", revision),
        ("on-health-degraded", "zoG5zUjYGjimkwCGgIQGjx1hO5s", "app-health-degraded", revision),
        ("on-sync-failed", "QocUZC1QzO--b2WEwALX85YPE5o", "app-sync-failed", revision),
        ("on-sync-running", "ic91dZU3WrtgRdlZCpg-L8ARI0Q", "app-sync-running", revision),
        ("on-sync-status-unknown", "6SzWb05EK-0v90hwjyytTbN7S6A", "app-sync-status-unknown", revision),
        ("on-sync-succeeded", "IwKhHw9Hu8IE3z5Y8CQE4vReLYs", "app-sync-succeeded", revision),
    ] {
        let [condition] = &rules.triggers[trigger].conditions[..] else { panic!("{trigger}") };
        assert_eq!(condition.key, format!("[0].{hash}"), "{trigger}");
        assert_eq!(condition.send, [template], "{trigger}");
        assert_eq!(condition.once_per.as_ref().map(|program| program.source()), Some(once_per), "{trigger}");
    }
}

fn rendered(rules: &Rules, template: &str, service: &str, facts: &Facts) -> Rendering {
    let kind = match service {
        "slack" => ServiceKind::Slack,
        "email" => ServiceKind::Email,
        _ => ServiceKind::Other { human: true },
    };
    let topic = Topic { trigger: "t", app: "argocd/web" };
    render(&rules.templates, &[template.to_owned()], service, kind, "r", facts, topic)
}

/// What stands in every free text: an Application's and an event's.
const HOSTILE: [&str; 6] = [
    "plain",
    "a \"quoted\" \\ back\nslash\t<&>\u{1}\u{7f}\u{2028}",
    "{{.app}} ${x} $(y) `z`",
    "'],\"x\": [{\"y\": \"",
    "\u{feff}\u{202e}\u{1f600} ünïcode",
    "trailing \\",
];

fn hostile(text: &str, many: bool) -> Application {
    let (source, revision) = match many {
        true => (
            json!({"sources": [{"repoURL": format!("https://a/{text}")}, {"repoURL": "git@h:b/c.git"}]}),
            json!({"revisions": [text, "2"], "status": text}),
        ),
        false => (json!({"source": {"repoURL": text}}), json!({"revision": text, "status": text})),
    };
    Application::decode(
        &json!({
            "metadata": {"name": "web", "namespace": "argocd", "uid": "u"},
            "spec": source,
            "status": {"sync": revision, "health": {"status": text, "message": text},
                "conditions": [{"type": text, "message": text}, {"type": "B", "message": text}],
                "operationState": {"phase": "Failed", "message": text, "startedAt": text, "finishedAt": text,
                    "syncResult": {"revision": text}}},
        })
        .to_string(),
    )
    .unwrap()
}

/// Every block of a catalog's template, as the plain texts in which it is written.
fn json_fields(source: &str) -> Vec<(String, String)> {
    let (node, _) = crate::config::yaml::parse(source).unwrap();
    let mut fields = Vec::new();
    for block in node.entries().unwrap() {
        for field in block.value.entries().unwrap_or_default() {
            if ["attachments", "facts", "potentialAction"].contains(&field.key.as_str()) {
                fields.push((format!("{}.{}", block.key, field.key), field.value.as_text().unwrap().into_owned()));
            }
        }
    }
    fields
}

#[test]
fn cat_02_catalog_json_always_valid() {
    let templates = || CATALOG.iter().chain(IMAGE_CATALOG).filter(|(key, _)| key.starts_with("template."));
    let mut seen = 0;
    for text in HOSTILE {
        for many in [false, true] {
            let app = hostile(text, many);
            for url in ["", "https://argocd.test"] {
                let mut facts = facts(&app, url);
                for kind in Kind::ALL {
                    let hostile = Event { image: text.into(), new: text.into(), ..event(kind, text) };
                    facts.image = Value::from_json(&image::variable(&hostile));
                    for (key, source) in templates() {
                        if key.starts_with("template.app-") && kind != Kind::Found {
                            continue;
                        }
                        for (field, template) in json_fields(source) {
                            let template = crate::core::template::Template::parse(
                                &template,
                                crate::core::template::Functions::Full,
                            )
                            .unwrap();
                            let data = Value::Map(facts.for_templates("slack", "r"));
                            // Plain text, as upstream renders it: valid without any repair (§8.3).
                            let text = template.render(&data, &facts.now).unwrap_or_else(|e| panic!("{}", e.text));
                            let json: Json =
                                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{key} {field}: {e}\n{text}"));
                            assert!(json.is_array(), "{key} {field}");
                            seen += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(seen > 1_000, "{seen}");
}

#[test]
fn cat_01_every_template_has_its_parts() {
    for (key, source) in CATALOG.iter().chain(IMAGE_CATALOG).filter(|(key, _)| key.starts_with("template.")) {
        let (node, problems) = crate::config::yaml::parse(source).unwrap();
        assert_eq!(problems, [], "{key}");
        let text = |block: &str, field: &str| {
            let found = node.field(block).and_then(|block| block.field(field)).and_then(|field| field.as_text());
            found.map(|text| text.into_owned()).unwrap_or_default()
        };
        assert!(node.field("message").is_some(), "{key}");
        for (block, field) in [("email", "subject"), ("teams", "title"), ("teams-workflows", "title")] {
            assert!(!text(block, field).is_empty(), "{key}: {block}.{field}");
        }
        assert!(node.field("webhook").is_none(), "{key}: no webhook block");
        if ["template.app-created", "template.app-deleted"].contains(key) {
            continue;
        }
        assert!(text("slack", "attachments").contains("title_link"), "{key}");
        for block in ["teams", "teams-workflows"] {
            assert!(text(block, "potentialAction").contains("Open application"), "{key}: {block}");
            assert!(!text(block, "facts").is_empty(), "{key}: {block}");
            if key.starts_with("template.app-") {
                for fact in ["Repository", "Revision", ".app.status.conditions", "status"] {
                    assert!(text(block, "facts").contains(fact), "{key}: {block} {fact}");
                }
            }
        }
    }
}

#[test]
fn cat_02_catalog_links_valid() {
    let rules = compiled(&[], CatalogMode::Auto).rules;
    for many in [false, true] {
        let app = hostile("plain", many);
        let mut facts = facts(&app, "https://argocd.test");
        facts.image = Value::from_json(&image::variable(&event(Kind::Committed, "")));
        for name in rules.templates.keys() {
            let slack = rendered(&rules, name, "slack", &facts);
            assert!(slack.errors.is_empty() && !slack.fallback, "{name}: {:?}", slack.errors);
            let words = slack.message.text.split_whitespace().filter(|word| word.contains("://"));
            let mut links: Vec<String> = words.map(str::to_owned).collect();
            if let Part::Slack(part) = &slack.message.part {
                let json: Json = serde_json::from_str(&part.attachments).unwrap();
                links.extend(json[0]["title_link"].as_str().map(str::to_owned));
            }
            let quiet = ["app-created", "app-deleted"].contains(&name.as_str());
            assert!(quiet || !links.is_empty(), "{name}");
            for link in links {
                let url = reqwest::Url::parse(&link).unwrap_or_else(|e| panic!("{name}: {e}: {link}"));
                assert!(!link.contains(['<', '>', '|', '*', '_']) && url.host_str().is_some(), "{name}: {link}");
            }
        }
    }
    // Each source has a line of its own.
    let two = rendered(&rules, "app-deployed", "slack", &facts(&hostile("plain", true), ""));
    let Part::Slack(part) = two.message.part else { panic!() };
    assert_eq!(part.attachments.matches("\"Repository\"").count(), 2, "{}", part.attachments);
}
