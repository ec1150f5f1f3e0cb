//! Each key compiles alone; the catalog; the example configuration.

mod corpus;
mod isolation;
mod remarks;
mod rendering;

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
fn cfg_09_cfg_10_cfg_11_cfg_12_what_is_tolerated_works_and_is_said() {
    use crate::config::services::Body;
    use crate::core::notify::message::DeliveryPolicy;
    let secrets: BTreeMap<String, Secret> =
        [("tok", "xoxb-1\n"), ("port", "587"), ("pem", "-----BEGIN\nab\n-----END\n")]
            .map(|(key, value)| (key.to_owned(), Secret::from(value.to_owned())))
            .into();
    let entries = config(&[
        ("service.email", "host: h\nport: '465'\nfrom: a@h"),
        ("service.email.named", "host: h\nport: $port\nfrom: a@h"),
        ("service.slack", "token: $tok"),
        ("service.slack.pem", "token: $pem"),
        ("service.slack.nobody", "token: $nope"),
        ("template.t", "message: m\nslack: {groupingKey: k, deliveryPolicy: Foo}"),
    ]);
    let notifications = compile(&entries, &secrets, &BTreeMap::new(), CatalogMode::None);
    let port = |name: &str| match &notifications.services[name].body {
        Body::Email(mail) => mail.port,
        _ => 0,
    };
    assert_eq!((port("email"), port("named")), (465, 587));
    let token = |name: &str| match &notifications.services[name].body {
        Body::Slack(slack) => slack.token.clone(),
        _ => panic!("{name}"),
    };
    for (name, wanted) in [("slack", "xoxb-1"), ("pem", "-----BEGIN\nab\n-----END"), ("nobody", "$nope")] {
        assert_eq!(token(name), Secret::from(wanted.to_owned()), "{name}");
    }
    let slack = notifications.rules.templates["t"].slack.as_ref().unwrap();
    assert_eq!(slack.delivery_policy, DeliveryPolicy::Post);
    let found: Vec<_> =
        notifications.problems.iter().map(|p| (p.key.as_str(), p.code, p.severity, p.upstream_rejects)).collect();
    assert_eq!(
        found,
        [
            ("service.email", "ServiceTolerated", Severity::Info, true),
            ("service.email.named", "ServiceTolerated", Severity::Info, true),
            ("service.slack", "SecretWhitespaceTrimmed", Severity::Info, false),
            ("service.slack.nobody", "SecretKeyMissing", Severity::Warning, false),
            ("service.slack.pem", "SecretWhitespaceTrimmed", Severity::Info, false),
            ("template.t: slack.deliveryPolicy", "DeliveryPolicyUnknown", Severity::Warning, false),
        ]
    );
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
            for name in rules.templates.keys().filter(|name| name.starts_with("app-")) {
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
    let Part::Slack(part) = &slack.message.part else { panic!("{slack:?}") };
    assert_eq!((part.attachments.as_str(), part.blocks.as_str()), ("", ""));
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

/// Receivers without a type of their own are reached through `webhook` (§13.1): what the examples send is what each of
/// them reads, whatever an Application's texts hold.
#[test]
fn section_13_1_examples_for_other_receivers_are_valid_json() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example/argocd-notifications-cm.yaml");
    let entries = crate::config::documents::config_map(&std::fs::read_to_string(path).unwrap(), "x").unwrap().entries;
    let rules = compile(&entries, &BTreeMap::new(), &BTreeMap::new(), CatalogMode::Auto).rules;
    let context = [("argocdUrl", "https://argocd.example.com"), ("environment", "production")];
    let mut seen = 0;
    for mut state in states() {
        state["spec"]["source"] = serde_json::json!({"repoURL": "git@github.com:acme/shop.git"});
        state["status"]["operationState"]["syncResult"] = serde_json::json!({"revision": "c0ffee"});
        let facts = facts(state.clone(), &context);
        let message = &state["status"]["operationState"]["message"];
        for (template, word) in [("sync-failed", "failed"), ("deployed", "deployed")] {
            for service in ["discord", "telegram", "github", "teams", "deployments"] {
                let rendering = rendered(&rules, template, service, &facts);
                assert_eq!((&rendering.errors, &rendering.problems), (&vec![], &vec![]), "{template} {service}");
                let Part::Webhook(part) = rendering.message.part else { panic!("{template} {service}") };
                let body: serde_json::Value = serde_json::from_str(&part.body).unwrap();
                assert_eq!(part.method, "POST", "{service}");
                let text = |path: &str| body.pointer(path).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
                match service {
                    "discord" => assert!(text("/content").contains(word), "{body}"),
                    "telegram" => {
                        assert_eq!((part.path.as_str(), text("/parse_mode").as_str()), ("/sendMessage", "HTML"));
                        assert!(text("/text").contains("<b>web</b>") && !text("/text").contains("<&>"), "{body}");
                    }
                    "github" => {
                        assert_eq!(part.path, "/repos/acme/shop/statuses/c0ffee");
                        let state = if word == "failed" { "failure" } else { "success" };
                        assert_eq!((text("/state").as_str(), text("/context").as_str()), (state, "argocd/web"));
                    }
                    "teams" => {
                        let kind = "application/vnd.microsoft.card.adaptive";
                        assert_eq!(
                            (text("/type").as_str(), text("/attachments/0/contentType").as_str()),
                            ("message", kind)
                        );
                        let card = body.pointer("/attachments/0/content").unwrap();
                        assert_eq!(card["type"], "AdaptiveCard");
                        assert!(card["body"][0]["text"].as_str().unwrap().contains(word), "{card}");
                        let url = "https://argocd.example.com/applications/argocd/web";
                        assert_eq!(card["actions"][0]["url"], url);
                        if word == "failed" {
                            let facts = card["body"][1]["facts"].as_array().unwrap();
                            assert_eq!(facts.last().unwrap()["value"], *message);
                        }
                    }
                    _ => {}
                }
                seen += 1;
            }
        }
    }
    assert_eq!(seen, states().len() * 10);
}

#[test]
fn example_configuration_has_no_problem() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let entries = crate::config::documents::config_map(&read("argocd-notifications-cm.yaml"), "x").unwrap().entries;
    let secrets = crate::config::documents::secret(&read("argocd-notifications-secret.yaml"), "x").unwrap().entries;
    let notifications = compile(&entries, &secrets, &BTreeMap::new(), CatalogMode::Auto);
    assert_eq!(notifications.problems, []);
    assert_eq!(notifications.services.len(), 7);
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
