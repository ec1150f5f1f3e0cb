//! What is said of a configuration, what is marked as rejected by upstream, and where extensions sit.

use super::*;

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
    // Without the catalog, whose sets of words have no order to compare.
    let alone =
        |entries: &[(&str, &str)]| compile(&config(entries), &BTreeMap::new(), &BTreeMap::new(), CatalogMode::None);
    let (before, after) = (alone(&plain), alone(&extended));
    assert_eq!(after.problems, []);
    let shown = |compiled: &Notifications| format!("{:?}", compiled.rules);
    assert!(shown(&after) == shown(&before), "the rules are the same");
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
