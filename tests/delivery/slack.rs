//! §13.3: forms, policies, threads, errors.

use std::collections::BTreeMap;

use lynceus::adapters::services::{Class, SendError, Sent, Service, ThreadNews, Throttle};
use lynceus::core::notify::message::{DeliveryPolicy, Message, Part, SlackPart, Thread};
use lynceus::demo::inbox::{Fault, Inbox, Item};
use serde::Deserialize;

use crate::house::{configured, context, inbox, items};

fn service(inbox: &Inbox, more: &str) -> Service {
    configured("service.slack", &format!("token: $secret\napiURL: {}/api\n{more}", inbox.url()))
}

fn calls(inbox: &Inbox) -> Vec<(String, BTreeMap<String, String>)> {
    let slack = items(inbox).into_iter().map(|item| match item {
        Item::Slack { method, fields, token, .. } => {
            assert_eq!(token, "s3cret-value");
            (method, fields)
        }
        other => panic!("{other:?}"),
    });
    slack.collect()
}

#[derive(Deserialize)]
struct Vector {
    rule: String,
    service: BTreeMap<String, String>,
    block: Option<BTreeMap<String, String>>,
    text: String,
    fields: BTreeMap<String, String>,
    #[serde(default)]
    note: bool,
}

#[tokio::test]
async fn sl_01_sl_04_slack_form_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../fixtures/services/slack_forms.json")).unwrap();
    let inbox = inbox().await;
    for (n, vector) in vectors.into_iter().enumerate() {
        let fields: String = vector.service.iter().map(|(name, value)| format!("{name}: \"{value}\"\n")).collect();
        let part = vector.block.map_or(Part::None, |block| {
            let text = |name: &str| block.get(name).cloned().unwrap_or_default();
            Part::Slack(SlackPart {
                attachments: text("attachments"),
                blocks: text("blocks"),
                username: text("username"),
                icon: text("icon"),
                notify_broadcast: block.contains_key("broadcast"),
                ..SlackPart::default()
            })
        });
        let sent = service(&inbox, &fields).send("general", &Message { text: vector.text, part }, &context()).await;
        assert_eq!(!sent.unwrap().note.is_empty(), vector.note, "{}", vector.rule);
        assert_eq!(calls(&inbox)[n], ("chat.postMessage".into(), vector.fields), "{}", vector.rule);
    }
}

fn grouped(policy: DeliveryPolicy, key: &str) -> Message {
    let part =
        SlackPart { grouping_key: key.into(), delivery_policy: policy, notify_broadcast: true, ..SlackPart::default() };
    Message { text: "t".into(), part: Part::Slack(part) }
}

/// Sends with all its steps, as the delivery does.
async fn deliver(
    service: &Service,
    message: &Message,
    mut thread: Option<Thread>,
) -> Result<Option<Thread>, SendError> {
    let mut steps = Vec::new();
    loop {
        let mut context = context();
        (context.thread, context.steps) = (thread.clone(), steps.clone());
        let Sent { more_after, thread: news, .. } = service.send("general", message, &context).await?;
        if let Some(ThreadNews::Is(news)) = news {
            thread = Some(news);
        }
        match more_after {
            Some(step) => steps.push(step.to_owned()),
            None => return Ok(thread),
        }
    }
}

#[tokio::test]
async fn sl_02_sl_03_slack_policy_matrix() {
    use DeliveryPolicy::{Post, PostAndUpdate, Update};
    for (policy, known, key, expected) in [
        (Post, false, "", vec!["post"]),
        (PostAndUpdate, false, "", vec!["post"]),
        (Update, false, "", vec!["post"]),
        (Post, false, "k", vec!["post"]),
        (Post, true, "k", vec!["reply"]),
        (PostAndUpdate, false, "k", vec!["post"]),
        (PostAndUpdate, true, "k", vec!["reply", "update"]),
        (Update, false, "k", vec!["post"]),
        (Update, true, "k", vec!["update"]),
    ] {
        let inbox = inbox().await;
        let slack = service(&inbox, "");
        let root = if known { deliver(&slack, &grouped(Post, key), None).await.unwrap() } else { None };
        let before = inbox.accepted().len();
        let thread = deliver(&slack, &grouped(policy, key), root.clone()).await.unwrap();
        let seen: Vec<&str> = calls(&inbox)[before..]
            .iter()
            .map(|(method, fields)| {
                assert_eq!(fields.contains_key("reply_broadcast"), method == "chat.postMessage", "SL-04");
                match (method.as_str(), fields.get("thread_ts")) {
                    ("chat.update", None) => {
                        assert_eq!(
                            (fields["channel"].as_str(), fields["as_user"].as_str()),
                            ("C-general", "true"),
                            "SL-03"
                        );
                        assert_eq!(fields["ts"], root.as_ref().unwrap().ts);
                        "update"
                    }
                    (_, Some(ts)) => {
                        assert_eq!(*ts, root.as_ref().unwrap().ts);
                        "reply"
                    }
                    _ => "post",
                }
            })
            .collect();
        assert_eq!(seen, expected, "{policy:?} {known} {key:?}");
        assert_eq!(thread.is_some(), !key.is_empty(), "SL-02: {policy:?} {known} {key:?}");
        if let Some(thread) = thread {
            assert_eq!(thread, root.unwrap_or(Thread { channel: "C-general".into(), ts: "1700000000.000001".into() }));
        }
    }
}

#[tokio::test]
async fn sl_07_a_thread_that_is_gone_begins_anew() {
    use DeliveryPolicy::{Post, Update};
    let stale = || Some(Thread { channel: "C-general".into(), ts: "1.1".into() });
    for word in ["message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"] {
        let inbox = inbox().await;
        inbox.script([Fault::Slack(word.into())]);
        let policy = if word == "thread_not_found" { Post } else { Update };
        let thread = deliver(&service(&inbox, ""), &grouped(policy, "k"), stale()).await.unwrap().unwrap();
        assert_eq!(thread.ts, "1700000000.000001", "{word}: the new root is remembered");
        let made = calls(&inbox);
        assert_eq!(made.len(), 1);
        assert!(!made[0].1.contains_key("thread_ts"));
        inbox.script([Fault::Slack(word.into()), Fault::status(500)]);
        let error = deliver(&service(&inbox, ""), &grouped(policy, "k"), stale()).await.unwrap_err();
        assert_eq!((error.class, error.thread), (Class::Transient, Some(ThreadNews::Gone)), "{word}");
    }
}

#[tokio::test]
async fn out_05_a_finished_post_is_not_repeated() {
    let inbox = inbox().await;
    let slack = service(&inbox, "");
    let root = deliver(&slack, &grouped(DeliveryPolicy::Post, "k"), None).await.unwrap();
    inbox.script([Fault::None, Fault::status(500)]);
    let message = grouped(DeliveryPolicy::PostAndUpdate, "k");
    let mut first = context();
    first.thread = root.clone();
    let sent = slack.send("general", &message, &first).await.unwrap();
    first.steps = vec![sent.more_after.unwrap().to_owned()];
    assert_eq!(slack.send("general", &message, &first).await.unwrap_err().class, Class::Transient);
    slack.send("general", &message, &first).await.unwrap();
    let methods: Vec<String> = calls(&inbox).into_iter().map(|(method, _)| method).collect();
    assert_eq!(methods, ["chat.postMessage", "chat.postMessage", "chat.update"]);
}

#[tokio::test]
async fn sl_06_sl_09_slack_error_table() {
    let inbox = inbox().await;
    let slack = service(&inbox, "");
    let message = Message { text: "t".into(), part: Part::None };
    for (words, class) in [
        (vec!["ratelimited"], Class::NotSent),
        (
            vec![
                "not_in_channel",
                "channel_not_found",
                "is_archived",
                "invalid_auth",
                "not_authed",
                "token_revoked",
                "token_expired",
                "account_inactive",
                "missing_scope",
                "restricted_action",
                "no_permission",
            ],
            Class::RejectedHealable,
        ),
        (vec!["service_unavailable"], Class::Transient),
        (vec!["internal_error", "fatal_error", "request_timeout"], Class::Unknown),
        (vec!["msg_too_long", "something_new"], Class::RejectedFinal),
    ] {
        for word in words {
            inbox.script([Fault::Slack(word.into())]);
            let error = slack.send("general", &message, &context()).await.unwrap_err();
            assert_eq!(error.class, class, "{word}");
            assert!(error.text.contains(word), "{error}");
            assert_eq!(error.throttled, (word == "ratelimited").then_some(Throttle::Lane));
            assert_eq!(error.text.len() > word.len() + 10, class == Class::RejectedHealable, "what to do: {error}");
        }
    }
    inbox.script([Fault::retry_after(429, "30")]);
    let error = slack.send("general", &message, &context()).await.unwrap_err();
    assert_eq!(
        (error.class, error.throttled, error.retry_after.unwrap().as_secs()),
        (Class::NotSent, Some(Throttle::Lane), 30),
        "SL-06"
    );
    inbox.script([Fault::Status { code: 200, headers: vec![], body: "<html>".into() }]);
    assert_eq!(slack.send("general", &message, &context()).await.unwrap_err().class, Class::Unknown);
}

#[tokio::test]
async fn sl_08_what_cannot_be_shown_is_sent_as_text_once() {
    let inbox = inbox().await;
    let slack = service(&inbox, "");
    let part = || Part::Slack(SlackPart { blocks: "[{}]".into(), attachments: "[{}]".into(), ..SlackPart::default() });
    for (word, text, line) in [
        ("invalid_blocks", "hello", "hello\n(template problem: slack: invalid_blocks)"),
        ("no_text", "", "Trigger on-deployed fired for argocd/web\n(template problem: slack: no_text)"),
    ] {
        inbox.script([Fault::Slack(word.into())]);
        slack.send("general", &Message { text: text.into(), part: part() }, &context()).await.unwrap();
        let (_, fields) = calls(&inbox).pop().unwrap();
        assert_eq!(fields.get("text").map(String::as_str), Some(line));
        assert!(!fields.contains_key("blocks") && !fields.contains_key("attachments"));
    }
    for word in ["invalid_attachments", "msg_blocks_too_long", "too_many_attachments"] {
        inbox.script([Fault::Slack(word.into()), Fault::Slack(word.into())]);
        let error = slack.send("general", &Message { text: "t".into(), part: part() }, &context()).await.unwrap_err();
        assert_eq!(error.class, Class::RejectedFinal, "{word}");
    }
}

#[tokio::test]
async fn lan_07_marks_for_people() {
    let inbox = inbox().await;
    let late = jiff::Timestamp::from_second(1_767_000_000).unwrap();
    let message = Message { text: "t".into(), part: Part::None };
    for (repeat, delayed, more, text) in [
        (false, None, "", "t"),
        (true, None, "", "t (possible repeat)"),
        (false, Some(late), "", "t (delayed, event at 2025-12-29T09:20:00Z)"),
        (true, Some(late), "", "t (possible repeat) (delayed, event at 2025-12-29T09:20:00Z)"),
        (true, Some(late), "lynceus: {marks: false}", "t"),
    ] {
        let mut context = context();
        (context.possible_repeat, context.delayed) = (repeat, delayed);
        service(&inbox, more).send("general", &message, &context).await.unwrap();
        assert_eq!(calls(&inbox).pop().unwrap().1["text"], text);
    }
}
