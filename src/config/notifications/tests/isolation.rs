//! Every kind of key with every kind of error: all other keys work, and the last good text goes on (CFG-01).

use super::*;

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
