//! Each key compiles alone; the catalog; the example configuration.

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

/// What one configuration comes to, apart from one key: everything that could be harmed.
fn others(notifications: &Notifications, but: &str) -> BTreeMap<String, String> {
    let rules = &notifications.rules;
    let mut parts = BTreeMap::new();
    parts.extend(rules.triggers.iter().map(|(name, t)| (format!("trigger.{name}"), format!("{t:?}"))));
    parts.extend(rules.templates.iter().map(|(name, t)| (format!("template.{name}"), format!("{t:?}"))));
    let key = |name: &String| notifications.service_keys[name].clone();
    parts.extend(notifications.services.iter().map(|(name, service)| (key(name), format!("{service:?}"))));
    parts.insert("subscriptions".into(), format!("{:?}", rules.subscriptions));
    parts.insert("context".into(), format!("{:?}", rules.context));
    parts.insert("defaultTriggers".into(), format!("{:?}", rules.defaults.triggers));
    let own = rules.defaults.per_service.iter();
    parts.extend(own.map(|(service, list)| (format!("defaultTriggers.{service}"), format!("{list:?}"))));
    parts.remove(but);
    parts
}

#[test]
fn p_5_cfg_01_cfg_isolation_matrix() {
    const GOOD: &[(&str, &str)] = &[
        ("context", "argocdUrl: https://argocd.test"),
        ("defaultTriggers", "[good]"),
        ("defaultTriggers.hook", "[good]"),
        ("service.email", "host: mail.test\nport: 587\nfrom: a@b.test"),
        ("service.slack", "token: xoxb-1"),
        ("service.webhook.hook", "url: https://hook.test"),
        ("subscriptions", "- recipients: [slack:all]\n  triggers: [good]\n  selector: team=a"),
        ("template.good", "message: hi {{.app.metadata.name}}"),
        ("trigger.good", "- when: app.status.health.status == 'Degraded'\n  send: [good]"),
        ("unrelated", "x"),
    ];
    const KEYS: &[&str] = &[
        "context",
        "defaultTriggers",
        "defaultTriggers.hook",
        "defaultTriggers.other",
        "service.bad",
        "service.email",
        "service.slack",
        "service.slack.bad",
        "service.webhook.a.b",
        "service.webhook.bad",
        "service.webhook.hook",
        "subscriptions",
        "template.bad",
        "template.good",
        "trigger.bad",
        "trigger.good",
    ];
    const ERRORS: &[&str] = &[
        "a: [",
        "- [",
        "{",
        "\t- x",
        "*nowhere",
        "a: &x [*x]",
        "? ]",
        "%YAML 9",
        "just text",
        "5",
        "- a",
        "a: b",
        "a: {b: c}",
        "- {a: [b]}",
        "- when: '1 +'\n  send: [x]",
        "- when: [1]\n  send: 5",
        "- 5",
        "message: '{{.app'",
        "message: {a: b}",
        "url: 5",
        "port: x",
        "- recipients: 5",
        "- recipients: [5]\n  selector: 'a in x'",
        "\u{0}",
        "\u{feff}x: [",
    ];
    let plain =
        |entries: &[(&str, &str)]| compile(&config(entries), &BTreeMap::new(), &BTreeMap::new(), CatalogMode::None);
    for key in KEYS {
        let clean: Vec<_> = GOOD.iter().copied().filter(|(other, _)| other != key).collect();
        let untouched = others(&plain(&clean), key);
        let before = plain(GOOD);
        for error in ERRORS {
            let mut entries = clean.clone();
            entries.push((key, error));
            let broken = plain(&entries);
            assert_eq!(others(&broken, key), untouched, "{key} with {error:?}");
            // Whatever is not good is said, with its key; the last good text of a key goes on.
            // A name that nothing defines is no fault of the key that names it.
            let fault = |p: &Problem| p.severity == Severity::Error && !p.code.ends_with("Undefined");
            let own = |n: &Notifications| n.problems.iter().any(|p| fault(p) && p.key.starts_with(key));
            if !broken.good.contains_key(*key) {
                assert!(own(&broken), "{key} with {error:?}: {:?}", broken.problems);
            }
            if let Some(good) = before.good.get(*key) {
                let after = compile(&config(&entries), &BTreeMap::new(), &before.good, CatalogMode::None);
                assert_eq!(others(&after, key), untouched, "{key} with {error:?}");
                if own(&after) {
                    assert_eq!(after.good.get(*key), Some(good), "{key} with {error:?}");
                    assert_eq!(others(&after, "")[*key], others(&before, "")[*key], "{key} with {error:?}");
                }
            }
        }
    }
}

#[test]
fn cfg_01_items_of_subscriptions_compile_one_by_one() {
    let text = |second: &str, third: &str| {
        format!("- recipients: [slack:one]\n  triggers: [t]\n- {second}\n- recipients: [{third}]\n  triggers: [t]\n")
    };
    let good = "recipients: [slack:two]\n  triggers: [t]";
    let services = |n: &Notifications| -> Vec<String> {
        n.rules.subscriptions.iter().flat_map(|item| &item.destinations).map(|to| to.recipient.clone()).collect()
    };
    let with = |text: &str, last_good: &BTreeMap<String, String>| {
        let entries = [("trigger.t", "- when: 'true'"), ("service.slack", "token: x"), ("subscriptions", text)];
        compile(&config(&entries), &BTreeMap::new(), last_good, CatalogMode::Auto)
    };
    let first = with(&text(good, "slack:three"), &BTreeMap::new());
    assert_eq!(services(&first), ["one", "two", "three"]);
    // The second one is broken, the third one changed: each for itself.
    let broken = "recipients: [slack:two]\n  selector: 'a in x'";
    let second = with(&text(broken, "slack:new"), &first.good);
    assert_eq!(services(&second), ["one", "two", "new"]);
    assert_eq!(problems(&second), ["SubscriptionsInvalid subscriptions"]);
    assert_eq!(second.good["subscriptions"], first.good["subscriptions"]);
    assert_eq!(services(&with(&text(broken, "slack:new"), &BTreeMap::new())), ["one", "new"], "never was good");
    assert_eq!(services(&with("", &first.good)), [""; 0], "emptied on purpose");
    assert_eq!(services(&with("- [", &first.good)), ["one", "two", "three"]);
}

#[test]
fn cfg_01_a_template_with_a_broken_field_keeps_its_last_good_text() {
    let first = compiled(&[("template.m", "message: one\nemail:\n  subject: s")]);
    let broken = config(&[("template.m", "message: '{{.app'\nemail:\n  subject: new")]);
    let second = compile(&broken, &BTreeMap::new(), &first.good, CatalogMode::None);
    let (before, after) = (&first.rules.templates["m"], &second.rules.templates["m"]);
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    assert_eq!(problems(&second), ["TemplateInvalid template.m: message"]);
    assert!(!compile(&broken, &BTreeMap::new(), &BTreeMap::new(), CatalogMode::None).good.contains_key("template.m"));
}

#[test]
fn cfg_12_an_unknown_delivery_policy_is_post_and_said() {
    for (policy, posts, said) in
        [("Foo", true, true), ("Post", true, false), ("Update", false, false), ("", true, false)]
    {
        let template = format!("slack:\n  deliveryPolicy: {policy}\n  groupingKey: k");
        let notifications = compiled(&[("template.m", &template)]);
        let slack = notifications.rules.templates["m"].slack.as_ref().unwrap();
        use crate::core::notify::message::DeliveryPolicy::Post;
        assert_eq!((slack.delivery_policy == Post, problems(&notifications).len() == 1), (posts, said), "{policy}");
        assert!(notifications.good.contains_key("template.m"), "{policy}: only a warning");
    }
}

#[test]
fn cfg_16_what_upstream_s_parser_would_reject_is_marked() {
    for (key, text, rejected) in [
        ("trigger.t", "when: 'true'", true),
        ("trigger.t", "- when: 'a ='", true),
        ("trigger.t", "- when: 'true'\n  oncePer: '('", true),
        ("trigger.t", "- [", true),
        ("trigger.t", "text", true),
        ("trigger.t", "- when: 'true'\n  send: m", true),
        ("trigger.t", "- send: [m]", false),
        ("trigger.t", "- when: 'true'\n  sned: [m]", false),
        ("trigger.t", "- when: 'true'\n  oncePer: app.status.reconciledAt", false),
        ("template.x", "message: '{{.app'", true),
        ("template.x", "message: {a: b}", true),
        ("template.x", "mesage: a", false),
        ("template.x", "slack: {deliveryPolicy: Foo}", false),
        ("service.a.b.c", "x: y", true),
        ("service.nope", "x: y", true),
        ("service.webhook.h", "url: [", true),
        ("service.webhook.h", "url: https://h\nheaders: [{name: a, value: $nope}]", false),
        ("context", "a: {b: c}", true),
        ("defaultTriggers", "a: b", true),
        ("subscriptions", "- recipients: [5]", true),
        ("subscriptions", "- recipients: slack:a", true),
        ("subscriptions", "- selector: 'a in x'", true),
        ("subscriptions", "- trigger: [m]", false),
    ] {
        let notifications = compiled(&[(key, text), ("template.m", "message: x")]);
        let own = || notifications.problems.iter().filter(|p| p.key.starts_with(key));
        assert!(own().count() > 0, "{key}: {text}");
        assert_eq!(own().any(|p| p.upstream_rejects), rejected, "{key}: {text}: {:?}", notifications.problems);
    }
}

#[test]
fn p_8_whatever_is_ignored_is_said() {
    for (key, text, code) in [
        ("trigger.t", "- when: 'true'\n  sned: [m]", "UnknownField"),
        ("trigger.t", "- send: [m]", "ConditionNeverFires"),
        ("trigger.t", "- oncePer: app.metadata.name", "ConditionNeverFires"),
        ("trigger.t", "- when: \"'text'\"", "ConditionNeverFires"),
        ("trigger.t", "- when: 'true'\n  when: 'false'", "YamlDuplicateKey"),
        ("trigger.t", "- when: 'true'\n  lynceus: {identity: edge}", "SettingPending"),
        ("trigger.t", "- when: 'true'\n  lynceus: {identty: edge}", "UnknownField"),
        ("trigger.t", "- when: 'true'\n  send: [nowhere]", "TemplateUndefined"),
        ("template.x", "telegram: {text: a}", "UnknownField"),
        ("template.x", "slack: {blocs: '[]'}", "UnknownField"),
        ("template.x", "slack: {deliveryPolicy: Foo}", "DeliveryPolicyUnknown"),
        ("service.slack", "token: $nope", "SecretKeyMissing"),
        ("service.slack", "token: a\ntokn: b", "UnknownField"),
        ("service.telegram", "token: a", "ServiceTypePending"),
        ("subscriptions", "- recipients: ['slack:a:b']", "SubscriptionsInvalid"),
        ("subscriptions", "- trigger: [t]\n  recipients: [slack:a]", "SubscriptionsInvalid"),
        ("subscriptions", "- recipients: [slack:undefined]", "SubscriptionNotExpanded"),
        ("subscriptions", "- recipients: ['slack:${CHANNEL}']", "SubscriptionNotExpanded"),
        ("subscriptions", "- recipients: [a@b.test]", "ServiceUndefined"),
        ("defaultTriggers", "[nowhere]", "TriggerUndefined"),
    ] {
        let notifications = compiled(&[(key, text)]);
        let said = notifications.problems.iter().any(|p| p.code == code && p.key.starts_with(key));
        assert!(said, "{key}: {text}: {:?}", notifications.problems);
    }
}

#[test]
fn exp_03_suspicious_conditions_are_said_with_their_place() {
    for (when, part) in [
        ("app.status.operationState.phase in ['Progressing']", "Succeeded"),
        ("app.status.health.status == Healthy", "'Healthy'"),
        ("app.spec.x == null", "`nil`"),
        ("app.status?.operationState.phase == 'Running'", "operationState?.phase"),
        ("app.status.summary.images contains 'x'", "in app.status.summary.images"),
        ("len(app.metadata.name)", "yields no boolean"),
    ] {
        let trigger = format!("- when: {when}\n  send: [m]\n");
        let notifications = compiled(&[("trigger.t", &trigger), ("template.m", "message: x")]);
        let said: Vec<_> = notifications.problems.iter().filter(|p| p.severity == Severity::Warning).collect();
        assert!(said.iter().any(|p| p.to_string().contains(part)), "{when}: {:?}", notifications.problems);
        assert!(said.iter().all(|p| p.line.is_some() && p.key.starts_with("trigger.t: [0].when")), "{said:?}");
        assert_eq!(notifications.rules.triggers["t"].conditions.len(), 1, "{when} works all the same");
    }
}

#[test]
fn trg_01_trigger_grammar_table() {
    for (text, conditions, sends) in [
        ("- when: 'true'\n  send: [a, b]", 1, vec!["a", "b"]),
        ("- when: 'true'", 1, vec![]),
        ("- When: 'true'\n  SEND: [a]", 1, vec!["a"]),
        ("- when: true\n  send: [1, yes]", 1, vec!["1", "true"]),
        ("- when: a\n- when: b\n- when: a", 3, vec![]),
        ("[]", 0, vec![]),
        ("", 0, vec![]),
        ("- {}", 1, vec![]),
        ("- when: ''\n  oncePer: app.x\n  description: d\n  lynceus: {identity: edge}", 1, vec![]),
    ] {
        let notifications = compiled(&[("trigger.t", text)]);
        let trigger = &notifications.rules.triggers["t"];
        assert_eq!(trigger.conditions.len(), conditions, "{text}");
        let sent: Vec<&str> = trigger.conditions.iter().flat_map(|c| &c.send).map(String::as_str).collect();
        assert_eq!(sent, sends, "{text}");
        assert!(notifications.good.contains_key("trigger.t"), "{text}: {:?}", notifications.problems);
    }
}

#[test]
fn cfg_14_hints_name_the_likeliest_cause() {
    let base = [
        ("service.webhook.hook", "url: https://h"),
        ("service.webhook.other", "url: https://h"),
        ("service.email", "host: h\nport: 25\nfrom: a@b.test"),
        ("trigger.on-deployed", "- when: 'true'"),
    ];
    for (recipient, hint) in [
        ("webhook:other", "the service is called `other`"),
        ("webhook:else", "services are called by their names: `hook`, `other`"),
        ("on-deployed:x", "this is a trigger; add the service"),
        ("a@b.test", "write `email:a@b.test`"),
        ("emial:x", "did you mean `email`?"),
    ] {
        let text = format!("- recipients: ['{recipient}']\n  triggers: [on-deployed]");
        let mut entries = base.to_vec();
        entries.push(("subscriptions", &text));
        let notifications = compiled(&entries);
        let found: Vec<_> = notifications.problems.iter().filter(|p| p.code == "ServiceUndefined").collect();
        assert_eq!(found.len(), 1, "{recipient}: {:?}", notifications.problems);
        assert!(found[0].hint.starts_with(hint), "{recipient}: {}", found[0]);
    }
}

/// The names upstream's decoder looks for in a condition, a service's body and a template's blocks; what it does not look
/// for it passes over.
const UPSTREAM_LOOKS_AT: &[(&str, &[&str])] = &[
    ("condition", &["when", "oncePer", "send", "description"]),
    (
        "template",
        &[
            "message",
            "alertmanager",
            "awssqs",
            "email",
            "gcppubsub",
            "github",
            "googlechat",
            "mattermost",
            "newrelic",
            "opsgenie",
            "pagerduty",
            "pagerdutyv2",
            "rocketchat",
            "slack",
            "teams",
            "teams-workflows",
            "webhook",
        ],
    ),
    ("slack block", &["attachments", "blocks", "deliveryPolicy", "groupingKey", "icon", "notifyBroadcast", "username"]),
    ("email block", &["body", "subject"]),
    ("webhook block", &["body", "method", "path"]),
    (
        "slack",
        &["apiURL", "channels", "disableUnfurl", "icon", "insecureSkipVerify", "signingSecret", "token", "username"],
    ),
    ("webhook", &["basicAuth", "headers", "insecureSkipVerify", "retryMax", "retryWaitMax", "retryWaitMin", "url"]),
    ("email", &["from", "host", "html", "insecure_skip_verify", "password", "port", "username"]),
];

#[test]
fn p_2_cfg_extensions_sit_where_upstream_looks_at_nothing() {
    let plain = [
        ("service.slack", "token: t"),
        ("service.webhook.hook", "url: https://h"),
        ("service.email", "host: h\nport: 25\nfrom: a@b.test"),
        ("template.m", "message: x\nslack:\n  attachments: '[]'"),
        ("trigger.t", "- when: 'true'\n  send: [m]"),
    ];
    // Every extension that may stand in the shared keys.
    let extended = [
        ("service.slack", "token: t\nlynceus: {timeout: 5s, maxAge: 1h, marks: false, ratePerSecond: 2}"),
        (
            "service.webhook.hook",
            "url: https://h\nlynceus: {headers: true, followRedirects: false, unknownOutcome: hold}",
        ),
        ("service.email", "host: h\nport: 25\nfrom: a@b.test\nlynceus: {tls: opportunistic, heloName: me}"),
        ("template.m", "message: x\nslack:\n  attachments: '[]'\nlynceus: {}"),
        ("trigger.t", "- when: 'true'\n  send: [m]\n  lynceus: {}"),
        ("lynceus.settings", "a: b"),
    ];
    let (before, after) = (compiled(&plain), compiled(&extended));
    assert_eq!(after.problems, []);
    assert_eq!(format!("{:?}", after.rules), format!("{:?}", before.rules));
    for (name, service) in &after.services {
        assert_ne!(service, &before.services[name], "{name}: the block is read");
    }
    for (place, names) in UPSTREAM_LOOKS_AT {
        assert!(names.iter().all(|name| !name.eq_ignore_ascii_case("lynceus")), "{place}");
    }
    // Whole keys: upstream looks at these prefixes; annotations: at its own.
    for (key, _) in extended.iter().filter(|(key, _)| plain.iter().all(|(other, _)| other != key)) {
        let prefixes =
            ["service.", "template.", "trigger.", "defaultTriggers", "subscriptions", "context", "config.yaml"];
        assert!(prefixes.iter().all(|prefix| !key.starts_with(prefix)), "{key}");
    }
    let own = crate::core::notify::subscription::OWN_PREFIX;
    assert!(!own.starts_with("notifications.argoproj.io/") && !own.contains("recipients.argocd-notifications"));
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
