//! §8.2 from the ConfigMap's text to the rendered message.

use super::*;

/// The rules of these templates, all sent in order by one trigger.
fn rules(templates: &[(&str, &str)]) -> Rules {
    let keys: Vec<(String, &str)> = templates.iter().map(|(name, body)| (format!("template.{name}"), *body)).collect();
    let entries: Vec<(&str, &str)> = keys.iter().map(|(key, body)| (key.as_str(), *body)).collect();
    compiled(&entries).rules
}

fn sent(rules: &Rules, names: &[&str], service: &str, json: bool) -> Rendering {
    let kind = match service {
        "slack" => ServiceKind::Slack,
        "email" => ServiceKind::Email,
        _ => ServiceKind::Webhook { json },
    };
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let topic = Topic { trigger: "t", app: "argocd/web" };
    render(&rules.templates, &names, service, kind, "r", &facts(states()[1].clone(), &[]), topic)
}

fn slack(rendering: &Rendering) -> &crate::core::notify::message::SlackPart {
    match &rendering.message.part {
        Part::Slack(part) => part,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tpl_01_merge_rules_table() {
    let first = "message: one\nslack: {attachments: '[1]', username: bot, groupingKey: k}\n\
                 email: {subject: s1, body: b1}\nwebhook: {hook: {method: PUT, path: /a, body: x}, other: {body: o}}";
    let second = "message: ''\nslack: {blocks: '[2]'}\nemail: {subject: '', body: b2}\nwebhook: {hook: {body: why}}";
    let rules = rules(&[("one", first), ("two", second)]);
    let both = ["one", "two"];
    let rendering = sent(&rules, &both, "slack", false);
    assert_eq!(rendering.message.text, "one", "later non-empty wins");
    let part = slack(&rendering);
    let fields = [&part.attachments, &part.blocks, &part.username, &part.grouping_key].map(String::as_str);
    assert_eq!(fields, ["", "[2]", "", ""], "a later block overwrites all, even with empty");
    let Part::Email(mail) = sent(&rules, &both, "email", false).message.part else { panic!() };
    assert_eq!((mail.subject.as_str(), mail.body.as_str()), ("s1", "b2"), "later non-empty wins, per field");
    let Part::Webhook(hook) = sent(&rules, &both, "hook", false).message.part else { panic!() };
    let fields = (hook.method.as_str(), hook.path.as_str(), hook.body.as_str());
    assert_eq!(fields, ("", "", "why"), "per service name, later replaces");
    let Part::Webhook(hook) = sent(&rules, &both, "other", false).message.part else { panic!() };
    assert_eq!(hook.body, "o");
    assert_eq!(sent(&rules, &["two", "one"], "slack", false).message.text, "one");
}

#[test]
fn tpl_01_missing_and_no_templates() {
    let rules = rules(&[("there", "message: hello")]);
    for (service, names, text, failed) in [
        ("slack", vec!["nope", "there"], "hello", false),
        ("hook", vec!["nope", "there"], "hello", false),
        (
            "slack",
            vec!["nope"],
            "Trigger t fired for argocd/web\n(template problem: send: none of the templates nope exists)",
            false,
        ),
        ("hook", vec!["nope"], "", true),
        ("slack", vec![], "Trigger t fired for argocd/web", false),
        ("hook", vec![], "", false),
    ] {
        let rendering = sent(&rules, &names, service, false);
        assert_eq!(
            (rendering.message.text.as_str(), rendering.failed.is_some()),
            (text, failed),
            "{service} {names:?}"
        );
        let noted = rendering.problems.iter().filter(|p| p.code == "TemplateUndefined").count();
        assert_eq!(noted, names.iter().filter(|name| **name == "nope").count(), "{names:?}");
    }
}

#[test]
fn tpl_02_render_only_needed_block() {
    let body = "message: m\nslack: {attachments: '{{fail \"slack\"}}'}\nemail: {body: '{{fail \"email\"}}'}\n\
                webhook: {bad: {body: '{{fail \"bad\"}}'}, good: {body: fine}}";
    let rules = rules(&[("x", body)]);
    for (service, failing) in [("slack", true), ("email", true), ("bad", true), ("good", false), ("unnamed", false)] {
        let rendering = sent(&rules, &["x"], service, false);
        assert_eq!(!rendering.errors.is_empty(), failing, "{service}: {:?}", rendering.errors);
        assert!(rendering.errors.iter().all(|error| error.text.contains(&service[..3])), "{:?}", rendering.errors);
    }
}

#[test]
fn tpl_03_tpl_04_nothing_is_trimmed_and_white_space_counts() {
    let rules =
        rules(&[("block", "message: |\n  line\n\n"), ("keep", "message: |+\n  line\n\n"), ("white", "message: ' '")]);
    assert_eq!(sent(&rules, &["block"], "slack", false).message.text, "line\n");
    assert_eq!(sent(&rules, &["keep"], "slack", false).message.text, "line\n\n");
    assert_eq!(sent(&rules, &["block", "white"], "slack", false).message.text, " ", "not empty, so it wins");
}

/// §8.3 holds for slack's arrays and for webhook bodies that are JSON by their service's word or their own look.
#[test]
fn tpl_05_which_fields_are_json() {
    let quoted = "{{.app.status.health.message}}";
    let template = format!(
        "message: '{{\"m\":\"{quoted}\"}}'\nslack: {{blocks: '[{{\"t\":\"{quoted}\"}}]', username: '{quoted}'}}\n\
         webhook: {{obj: {{body: '{{\"a\":\"{quoted}\"}}'}}, list: {{body: ' [\"{quoted}\"]'}}, text: {{body: 'a=\"{quoted}\"'}}}}"
    );
    let rules = rules(&[("x", &template)]);
    let hostile = "a \"quoted\" \\ back\nslash\t<&>\u{1}";
    let rendering = sent(&rules, &["x"], "slack", false);
    let blocks: serde_json::Value = serde_json::from_str(&slack(&rendering).blocks).unwrap();
    assert_eq!(blocks[0]["t"], hostile);
    assert_eq!(slack(&rendering).username, hostile, "not JSON: as it is");
    assert_eq!(rendering.message.text, format!("{{\"m\":\"{hostile}\"}}"), "message is never JSON");
    for (service, json, is_json) in [
        ("obj", false, true),
        ("list", false, true),
        ("obj", true, true),
        ("text", false, false),
        ("text", true, false),
    ] {
        let rendering = sent(&rules, &["x"], service, json);
        let Part::Webhook(part) = &rendering.message.part else { panic!() };
        assert_eq!(serde_json::from_str::<serde_json::Value>(&part.body).is_ok(), is_json, "{service}: {}", part.body);
        let said = rendering.problems.iter().any(|p| p.code == "JsonInvalid");
        assert_eq!(said, json && !is_json, "only where the service says that it is JSON: {service} {json}");
        if !is_json {
            assert_eq!(part.body, format!("a=\"{hostile}\""), "sent unchanged");
        }
    }
}

#[test]
fn tpl_06_valid_json_passes_through_unchanged() {
    let raw = r#"[ {"unknown_field": 1.50, "text":"ü\u00e4\/",  "b": [] }, {"z":1,"a":2} ]"#;
    let template = format!("slack: {{attachments: '{raw}', blocks: '{raw}'}}\nwebhook: {{hook: {{body: '{raw}'}}}}");
    let rules = rules(&[("x", &template)]);
    let rendering = sent(&rules, &["x"], "slack", false);
    assert_eq!((slack(&rendering).attachments.as_str(), slack(&rendering).blocks.as_str()), (raw, raw));
    assert_eq!(rendering.problems, []);
    let Part::Webhook(hook) = sent(&rules, &["x"], "hook", true).message.part else { panic!() };
    assert_eq!(hook.body, raw);
}

#[test]
fn tpl_07_the_block_falls_back_to_the_message_and_keeps_its_ornaments() {
    let good = "slack: {attachments: '[1]'}";
    let bad =
        "message: text\nslack: {attachments: '[{{.app.metadata.name', blocks: '[2]', username: bot, groupingKey: k}";
    let broken = "message: text\nslack: {attachments: 'no json', blocks: '[2]', username: bot, groupingKey: k}";
    for (name, reason) in
        [("bad", "template problem: slack.attachments: "), ("broken", "slack.attachments: invalid JSON")]
    {
        let rules = rules(&[("good", good), ("bad", bad), ("broken", broken)]);
        let rendering = sent(&rules, &["good", name], "slack", false);
        let part = slack(&rendering);
        assert_eq!((part.attachments.as_str(), part.blocks.as_str()), ("", ""), "Slack shows no text beside blocks");
        assert_eq!((part.username.as_str(), part.grouping_key.as_str()), ("bot", "k"));
        let (text, note) = rendering.message.text.split_once('\n').unwrap();
        assert!(text == "text" && note.contains(reason), "{note}");
        assert!(rendering.fallback);
    }
}
