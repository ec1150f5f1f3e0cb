//! Each key compiles alone; the catalog; the example configuration.

mod isolation;
mod remarks;

use super::*;
use crate::core::application::Application;
use crate::core::notify::catalog::{Rendering, Topic, render};
use crate::core::notify::message::Part;
use crate::core::notify::variables::Facts;
use crate::core::problem::Severity;
use crate::core::value::time::Moment;
use crate::core::value::{Map, MapKind, Value};

fn config(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn compiled(entries: &[(&str, &str)]) -> Notifications {
    compile(&config(entries), &BTreeMap::new(), &BTreeMap::new(), CatalogMode::Auto)
}

/// Code and key of each problem, without remarks.
fn problems(notifications: &Notifications) -> Vec<String> {
    let worth = notifications.problems.iter().filter(|p| p.severity > Severity::Info);
    worth.map(|p| format!("{} {}", p.code, p.key)).collect()
}

#[test]
fn cfg_01_a_broken_key_harms_no_other() {
    let good = [
        ("trigger.good", "- when: app.metadata.name == 'x'\n  send: [good]\n"),
        ("template.good", "message: hi\n"),
        ("context", "a: b\n"),
    ];
    for (key, broken, code) in [
        ("trigger.bad", "- when: '1 +'\n  send: [good]\n", "ExpressionInvalid"),
        ("trigger.bad", "just text", "TriggerInvalid"),
        ("trigger.bad", "- [", "YamlInvalid"),
        ("template.bad", "message: '{{.app'\n", "TemplateInvalid"),
        ("template.bad", "- a\n", "YamlInvalid"),
        ("service.webhook.bad", "url: [", "YamlInvalid"),
        ("service.a.b.c", "url: x", "ServiceKeyInvalid"),
        ("service.nope", "x: y", "ServiceTypeUnknown"),
        ("subscriptions", "- recipients: [slack:x]\n  selector: 'a in x'\n", "SubscriptionsInvalid"),
        ("defaultTriggers", "a: b", "YamlInvalid"),
    ] {
        let mut entries = good.to_vec();
        entries.push((key, broken));
        let notifications = compiled(&entries);
        assert!(notifications.rules.triggers.contains_key("good"), "{key}");
        assert!(notifications.rules.templates.contains_key("good"), "{key}");
        assert_eq!(notifications.rules.context["a"], "b", "{key}");
        let found = notifications.problems.iter().find(|p| p.code == code);
        let found = found.unwrap_or_else(|| panic!("{key}: no {code} in {:?}", notifications.problems));
        assert!(found.key.starts_with(key), "{found}");
    }
    let mut entries = good.to_vec();
    entries.push(("context", "a: {b: c}"));
    assert_eq!(problems(&compiled(&entries)), ["ContextInvalid context"]);
}

#[test]
fn cfg_01_the_last_good_text_stays_in_force() {
    let first = compiled(&[("trigger.t", "- when: 'true'\n  send: [m]\n"), ("template.m", "message: one\n")]);
    let broken = config(&[("trigger.t", "- when: '('\n"), ("template.m", "message: two\n")]);
    let second = compile(&broken, &BTreeMap::new(), &first.good, CatalogMode::Auto);
    assert_eq!(second.rules.triggers["t"].conditions[0].when.as_ref().unwrap().source(), "true");
    assert!(second.problems.iter().any(|p| p.code == "LastGoodInForce" && p.key == "trigger.t"));
    assert_eq!(second.good["trigger.t"], "- when: 'true'\n  send: [m]\n");
    let gone = compile(&config(&[]), &BTreeMap::new(), &second.good, CatalogMode::None);
    assert!(gone.rules.triggers.is_empty() && gone.good.is_empty());
}

#[test]
fn trg_03_a_bad_condition_keeps_the_others_indexes() {
    let notifications =
        compiled(&[("trigger.t", "- when: '('\n- when: 'true'\n  send: [m]\n"), ("template.m", "message: x\n")]);
    let conditions = &notifications.rules.triggers["t"].conditions;
    assert_eq!(conditions.len(), 1);
    assert_eq!(conditions[0].index, 1);
    assert!(conditions[0].key.starts_with("[1]."));
}

#[test]
fn cfg_07_a_mapping_is_a_list_of_one_and_upstream_rejects_it() {
    let notifications = compiled(&[("trigger.t", "when: 'true'\nsend: [m]\n"), ("template.m", "message: x\n")]);
    assert_eq!(notifications.rules.triggers["t"].conditions.len(), 1);
    assert!(notifications.problems.iter().any(|p| p.code == "TriggerIsMapping" && p.upstream_rejects));
}

#[test]
fn cfg_06_cfg_13_cfg_14_clashes_and_undefined_names() {
    let notifications = compiled(&[
        ("service.slack", "token: a"),
        ("service.webhook.slack", "url: https://h"),
        ("service.webhook.hook", "url: https://h"),
        ("trigger.t", "- when: 'true'\n  send: [mesage]\n"),
        ("template.message", "message: x\n"),
        ("subscriptions", "- recipients: [webhook:hook, 'slack:a:b']\n  triggers: [tt]\n"),
        ("defaultTriggers", "[gone]"),
    ]);
    assert_eq!(notifications.service_keys["slack"], "service.slack");
    let found = |code: &str, part: &str| {
        let all = notifications.problems.iter().filter(|p| p.code == code);
        assert!(all.clone().any(|p| p.to_string().contains(part)), "{code} {part}: {:?}", notifications.problems);
    };
    found("ServiceNameClash", "service.webhook.slack");
    found("TemplateUndefined", "did you mean `message`?");
    found("ServiceUndefined", "the service is called `hook`");
    found("TriggerUndefined", "`tt`");
    found("TriggerUndefined", "`gone`");
    found("SubscriptionsInvalid", "only the first two parts count");
}

#[test]
fn trg_04_restless_once_per_warns() {
    for (once_per, warned) in [
        ("app.status.reconciledAt", true),
        ("app.metadata.resourceVersion", true),
        ("app.status.health.status", true),
        ("app.status.operationState?.syncResult?.revision", false),
        ("app.metadata.name", false),
    ] {
        let trigger = format!("- when: 'true'\n  oncePer: {once_per}\n  send: [m]\n");
        let notifications = compiled(&[("trigger.t", &trigger), ("template.m", "message: x\n")]);
        let found = notifications.problems.iter().any(|p| p.code == "OncePerIsNotAnIdentity");
        assert_eq!(found, warned, "{once_per}");
    }
}

#[test]
fn section_19_catalog_auto_mode_and_hashes() {
    let auto = compiled(&[]);
    assert_eq!(auto.rules.triggers.len(), 8);
    assert!(problems(&auto).is_empty(), "{:?}", auto.problems);
    for (trigger, hash) in [
        ("on-created", "X_5TO4MPCKAyY0ipFgr6_IraRNs"),
        ("on-deleted", "BmlU8P6R19BGtNv5gj8udVypmxQ"),
        ("on-deployed", "qyWrLKXYec9qR5FVB0ylUEJLjFg"),
        ("on-health-degraded", "zoG5zUjYGjimkwCGgIQGjx1hO5s"),
        ("on-sync-failed", "QocUZC1QzO--b2WEwALX85YPE5o"),
        ("on-sync-running", "ic91dZU3WrtgRdlZCpg-L8ARI0Q"),
        ("on-sync-status-unknown", "6SzWb05EK-0v90hwjyytTbN7S6A"),
        ("on-sync-succeeded", "IwKhHw9Hu8IE3z5Y8CQE4vReLYs"),
    ] {
        assert_eq!(auto.rules.triggers[trigger].conditions[0].key, format!("[0].{hash}"), "{trigger}");
    }
    let own = [("trigger.mine", "- when: 'true'\n  send: [m]\n"), ("template.m", "message: x\n")];
    assert_eq!(compiled(&own).rules.triggers.len(), 1);
    let all = compile(&config(&own), &BTreeMap::new(), &BTreeMap::new(), CatalogMode::All);
    assert_eq!(all.rules.triggers.len(), 9);
}

fn facts(app: serde_json::Value, context: &[(&str, &str)]) -> Facts {
    Facts {
        app: Value::from_json(&app),
        project: Value::map::<&str>([]),
        context: config(context),
        secrets: Map::new(MapKind::Bytes),
        commits: Default::default(),
        wanted: Default::default(),
        placeholders: false,
        image: Value::Nil,
        now: Moment::utc("2026-05-01T12:00:00Z".parse().unwrap()),
    }
}

fn rendered(rules: &Rules, template: &str, service: &str, facts: &Facts) -> Rendering {
    let kind = match service {
        "slack" => ServiceKind::Slack,
        "email" => ServiceKind::Email,
        _ => ServiceKind::Webhook { json: true },
    };
    let topic = Topic { trigger: "t", app: "argocd/web" };
    render(&rules.templates, &[template.to_owned()], service, kind, "r", facts, topic)
}

/// States an Application can be in, among them ones with hostile texts.
fn states() -> Vec<serde_json::Value> {
    let full = |message: &str| {
        serde_json::json!({
            "metadata": {"name": "web", "namespace": "argocd", "uid": "u"},
            "spec": {"project": "p", "source": {"repoURL": "https://h/r.git"}},
            "status": {"sync": {"status": "OutOfSync", "revision": "abc"}, "health": {"status": "Degraded", "message": message},
                "conditions": [{"type": "SyncError", "message": message}],
                "operationState": {"phase": "Failed", "message": message, "startedAt": "2026-05-01T11:59:00Z",
                    "finishedAt": "2026-05-01T12:00:00Z"}},
        })
    };
    let many = serde_json::json!({
        "metadata": {"name": "web", "namespace": "argocd"},
        "spec": {"sources": [{"repoURL": "https://a"}, {"repoURL": "https://b"}]},
        "status": {"sync": {"revisions": ["1", "2"]}},
    });
    let bare = serde_json::json!({"metadata": {"name": "web", "namespace": "argocd"}, "spec": {}});
    vec![full("plain"), full("a \"quoted\" \\ back\nslash\t<&>\u{1}"), many, bare]
}

#[test]
fn cat_01_cat_02_catalog_renders_for_every_state_and_its_json_is_valid() {
    let rules = compiled(&[]).rules;
    for state in states() {
        for context in [vec![], vec![("argocdUrl", "https://argocd.example.com")]] {
            let facts = facts(state.clone(), &context);
            for name in rules.templates.keys() {
                let slack = rendered(&rules, name, "slack", &facts);
                assert!(slack.errors.is_empty() && !slack.fallback, "{name} {state}: {:?}", slack.errors);
                assert!(!slack.message.text.contains("<no value>/applications"), "{}", slack.message.text);
                if let Part::Slack(part) = &slack.message.part {
                    let json: serde_json::Value = serde_json::from_str(&part.attachments)
                        .unwrap_or_else(|e| panic!("{name}: {e}\n{}", part.attachments));
                    assert!(json[0]["title"] == "web");
                    let link = json[0]["title_link"].as_str();
                    let expected = "https://argocd.example.com/applications/argocd/web";
                    assert_eq!(link, (!context.is_empty()).then_some(expected));
                }
                let mail = rendered(&rules, name, "email", &facts);
                let Part::Email(part) = &mail.message.part else { panic!("{name} has no email block") };
                assert!(part.subject.contains("web"));
            }
        }
    }
    let failed = rendered(&rules, "app-sync-failed", "slack", &facts(states()[0].clone(), &[]));
    assert_eq!(failed.message.text.trim(), ":x: The sync of application web failed at 2026-05-01T12:00:00Z: plain");
}

#[test]
fn tpl_07_tpl_08_people_get_a_fall_back_and_programs_wait() {
    let rules = compiled(&[
        ("template.bad", "message: '{{.app.metadata.name.x.y}}'\nslack:\n  attachments: '[{{.app.spec.source | upper}}]'\nwebhook:\n  hook:\n    body: '{\"a\": {{.app.metadata.name.x}}}'\n"),
        ("trigger.t", "- when: 'true'\n  send: [bad]\n"),
    ])
    .rules;
    let facts = facts(states()[0].clone(), &[]);
    let slack = rendered(&rules, "bad", "slack", &facts);
    assert!(slack.fallback && slack.failed.is_none());
    assert!(slack.message.text.starts_with("Trigger t fired for argocd/web\n(template problem: message: "));
    assert_eq!(slack.message.part, Part::None);
    let hook = rendered(&rules, "bad", "hook", &facts);
    assert!(hook.failed.is_some());
}

#[test]
fn section_8_3_json_fields_are_repaired_or_left() {
    let template = "slack:\n  attachments: '[{\"text\":\"{{.app.status.health.message}}\",}]'\nwebhook:\n  hook:\n    body: '{\"a\": }'\n";
    let rules = compiled(&[("template.j", template), ("trigger.t", "- when: 'true'\n  send: [j]\n")]).rules;
    let facts = facts(states()[1].clone(), &[]);
    let slack = rendered(&rules, "j", "slack", &facts);
    let Part::Slack(part) = &slack.message.part else { panic!("{slack:?}") };
    let json: serde_json::Value = serde_json::from_str(&part.attachments).unwrap();
    assert_eq!(json[0]["text"], "a \"quoted\" \\ back\nslash\t<&>\u{1}");
    assert!(slack.problems.iter().any(|p| p.code == "JsonTrailingComma"), "{:?}", slack.problems);
    let hook = rendered(&rules, "j", "hook", &facts);
    let Part::Webhook(part) = &hook.message.part else { panic!() };
    assert_eq!(part.body, "{\"a\": }");
    assert!(hook.problems.iter().any(|p| p.code == "JsonInvalid"));
}

#[test]
fn example_configuration_has_no_problem() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let entries = crate::config::documents::config_map(&read("argocd-notifications-cm.yaml"), "x").unwrap().entries;
    let secrets = crate::config::documents::secret(&read("argocd-notifications-secret.yaml"), "x").unwrap().entries;
    let notifications = compile(&entries, &secrets, &BTreeMap::new(), CatalogMode::Auto);
    assert_eq!(notifications.problems, []);
    assert_eq!(notifications.services.len(), 4);
    let conf = crate::config::registries::Registries::parse(&read("registries.conf")).unwrap();
    assert!(conf.problems.is_empty() && conf.entries().len() == 3);
    for name in ["web-helm-values", "api-kustomize", "tools-parameters"] {
        let documents = crate::config::documents::all(&read(&format!("applications/{name}.yaml"))).unwrap();
        let app = Application::decode(&documents[0].to_string()).unwrap();
        let (settings, problems) = crate::config::annotations::settings(&app);
        assert_eq!(problems, [], "{name}");
        assert_eq!(settings.unwrap().images.len(), 1, "{name}");
        let (wanted, problems) = crate::core::notify::subscriptions(&app, None, &notifications.rules);
        assert_eq!(problems, [], "{name}");
        for destination in wanted.by_trigger.values().flatten() {
            assert!(notifications.services.contains_key(&destination.service), "{name}: {}", destination.service);
        }
    }
}
