//! Texts made to do harm: to the stack, to the clock, to headers and dialogues (notifications.md §18).

use std::time::{Duration, Instant};

use lynceus::adapters::services::Class;
use lynceus::core::application::Application;
use lynceus::core::expr::Program;
use lynceus::core::notify::message::{EmailPart, Message, Part, SlackPart, WebhookPart};
use lynceus::core::template::{Functions, Template};
use lynceus::core::value::time::Moment;
use lynceus::core::value::{Map, MapKind, Value};
use lynceus::demo::inbox::Item;
use serde_json::json;

use crate::house::{configured, context, inbox, items};

fn now() -> Moment {
    Moment::utc("2026-05-01T12:00:00Z".parse().unwrap())
}

fn data(app: serde_json::Value) -> Map {
    let map = Map::new(MapKind::Any);
    map.insert("app", Value::from_json(&app));
    map
}

/// On a thread with a small stack: what recursed without a limit would end the process.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn sec_03_deep_data_and_deep_programs_overflow_no_stack() {
    on_a_small_stack(|| {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for levels in [100, 120, 1_000, 100_000] {
            let object = format!(
                r#"{{"metadata": {{"name": "web", "namespace": "a", "uid": "u"}}, "status": {{"deep": {}}}}}"#,
                deep(levels)
            );
            // Taken or refused; never a crash.
            let Ok(app) = Application::decode(&object) else { continue };
            let map = Map::new(MapKind::Any);
            map.insert("app", app.object());
            for source in ["{{.app.status.deep}}", "{{.app | toJson}}", "{{deepCopy .app}}", "{{deepEqual .app .app}}"]
            {
                let template = Template::parse(source, Functions::Full).unwrap();
                let _ = template.render(&Value::Map(map.clone()), &now());
            }
            for source in ["app.status.deep == app.status.deep", "toJSON(app)", "flatten(app.status.deep)"] {
                let _ = Program::compile(source).map(|program| program.eval(&map, &now()));
            }
        }
        for levels in [100, 10_000] {
            let nested =
                |open: &str, core: &str, close: &str| format!("{}{core}{}", open.repeat(levels), close.repeat(levels));
            let _ = Program::compile(&nested("(", "1", ")"));
            let _ = Program::compile(&nested("[", "1", "]"));
            let _ = Program::compile(&nested("!", "true", ""));
            let _ = Template::parse(&format!("{{{{{}}}}}", nested("(", "1", ")")), Functions::Full);
            let _ = Template::parse(&nested("{{if true}}", "x", "{{end}}"), Functions::Full);
        }
    });
}

#[test]
fn sec_04_no_regular_expression_takes_longer_than_its_text() {
    let long = format!("{}!", "a".repeat(50_000));
    let map = data(json!({"text": long}));
    for pattern in ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){12}$", "([a-z]+)*$", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        let begun = Instant::now();
        let template =
            format!("{{{{regexMatch \"{pattern}\" .app.text}}}}{{{{regexReplaceAll \"{pattern}\" .app.text \"\"}}}}");
        let _ = Template::parse(&template, Functions::Full).unwrap().render(&Value::Map(map.clone()), &now());
        if let Ok(program) = Program::compile(&format!("app.text matches \"{pattern}\"")) {
            let _ = program.eval(&map, &now());
        }
        // A backtracking engine takes longer than the universe is old.
        assert!(begun.elapsed() < Duration::from_secs(20), "{pattern}: {:?}", begun.elapsed());
    }
    let lock = include_str!("../../Cargo.lock");
    for engine in ["fancy-regex", "pcre2", "onig", "hyperscan"] {
        assert!(!lock.contains(&format!("name = \"{engine}\"")), "{engine} backtracks");
    }
}

/// Texts of conditions and commits that try to become headers, recipients or commands.
const INJECTIONS: [&str; 14] = [
    "x\r\nBcc: evil@example.net",
    "x\nBcc: evil@example.net",
    "x\rBcc: evil@example.net",
    "x\r\n\r\nbody of somebody else",
    "x\r\n.\r\nMAIL FROM:<evil@example.net>",
    "x\u{0}Bcc: evil@example.net",
    "x\u{b}\u{c}Bcc: evil@example.net",
    "x\u{85}Bcc: evil@example.net",
    "x\u{2028}Bcc: evil@example.net",
    "=?utf-8?q?=0D=0ABcc:_evil@example.net?=",
    "x\r\n Bcc: folded@example.net",
    "\r\nContent-Type: text/html",
    "x\r\nlynceus-attempt: 99\r\nHost: evil.example.net",
    ".\r\nQUIT\r\n",
];

#[tokio::test]
async fn sec_06_header_injection_corpus() {
    let inbox = inbox().await;
    let mail =
        configured("service.email", &format!("host: localhost\nport: {}\nfrom: ops@example.com", inbox.mail().port()));
    for text in INJECTIONS {
        let part = Part::Email(EmailPart { subject: text.into(), body: text.into() });
        mail.send("a@example.com", &Message { text: text.into(), part }, &context()).await.unwrap();
        let Some(Item::Mail { from, to, content, .. }) = items(&inbox).pop() else { panic!() };
        assert_eq!(
            (from.as_str(), to.as_slice()),
            ("ops@example.com", ["a@example.com".to_owned()].as_slice()),
            "{text:?}"
        );
        let (head, _) = content.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("{text:?}: {line:?}")).0)
            .collect();
        let mut known = vec![
            "From",
            "Subject",
            "Message-ID",
            "Date",
            "Content-Type",
            "Content-Transfer-Encoding",
            "Auto-Submitted",
            "To",
            "MIME-Version",
        ];
        known.retain(|name| names.contains(name));
        assert_eq!(names.len(), known.len(), "{text:?}: one of each and no other: {names:?}");
        for recipient in
            [format!("a@example.com{text}"), format!("{text}@example.com"), format!("a@example.com,{text}")]
        {
            let error = mail.send(&recipient, &Message::default(), &context()).await.unwrap_err();
            assert_eq!(error.class, Class::RejectedHealable, "{recipient:?}");
        }
    }
    let accepted = inbox.accepted().len();
    assert_eq!(accepted, INJECTIONS.len(), "no mail but those that were meant");

    let hook =
        configured("service.webhook.x", &format!("url: {}/base\nheaders: [{{name: X-A, value: a}}]", inbox.url()));
    let slack = configured("service.slack", &format!("token: t\napiURL: {}/api", inbox.url()));
    for text in INJECTIONS {
        let part = Part::Webhook(WebhookPart { method: "POST".into(), path: text.into(), body: text.into() });
        hook.send(text, &Message { text: text.into(), part }, &context()).await.unwrap();
        let Some(Item::Webhook { target, headers, body, .. }) = items(&inbox).pop() else { panic!() };
        assert!(target.starts_with("/base/") && !target.contains(char::is_control), "{target:?}");
        assert_eq!(body, text);
        let mut names: Vec<&str> = headers.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "content-length", "host", "user-agent", "x-a"], "{text:?}");
        let part =
            SlackPart { username: text.into(), icon: text.into(), grouping_key: text.into(), ..SlackPart::default() };
        slack.send(text, &Message { text: text.into(), part: Part::Slack(part) }, &context()).await.unwrap();
        let Some(Item::Slack { fields, .. }) = items(&inbox).pop() else { panic!() };
        assert_eq!((fields["channel"].as_str(), fields["text"].as_str()), (text, text), "one field, whatever is in it");
        // A method out of a template is a word or nothing.
        let part = Part::Webhook(WebhookPart { method: text.into(), ..WebhookPart::default() });
        let error = hook.send("", &Message { text: String::new(), part }, &context()).await.unwrap_err();
        assert_eq!(error.class, Class::RejectedHealable, "{text:?}");
    }
}
