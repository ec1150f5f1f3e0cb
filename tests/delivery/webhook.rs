//! §13.2 and the class table of §12.2 as far as HTTP goes.

use std::time::Duration;

use lynceus::adapters::services::{Class, SendError, Throttle};
use lynceus::core::notify::message::{Message, Part, WebhookPart};
use lynceus::demo::inbox::{Fault, Inbox, Item};
use serde::Deserialize;

use crate::house::{configured, context, inbox, items};

#[derive(Deserialize)]
struct Vector {
    rule: String,
    url: String,
    text: String,
    block: Option<Block>,
    method: String,
    target: String,
    body: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Block {
    method: String,
    path: String,
    body: String,
}

fn plain(text: &str) -> Message {
    Message { text: text.into(), part: Part::None }
}

#[tokio::test]
async fn wh_01_wh_02_webhook_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../fixtures/services/webhook.json")).unwrap();
    let inbox = inbox().await;
    for (n, vector) in vectors.into_iter().enumerate() {
        let service = configured("service.webhook.x", &format!("url: {}{}", inbox.url(), vector.url));
        let part = vector.block.map_or(Part::None, |block| {
            Part::Webhook(WebhookPart { method: block.method, path: block.path, body: block.body })
        });
        service.send("", &Message { text: vector.text, part }, &context()).await.unwrap();
        let Item::Webhook { method, target, body, .. } = items(&inbox)[n].clone() else { panic!("{}", vector.rule) };
        assert_eq!((method, target, body), (vector.method, vector.target, vector.body), "{}", vector.rule);
    }
}

#[tokio::test]
async fn wh_04_wh_09_headers() {
    let inbox = inbox().await;
    let body = format!(
        "url: {}\nbasicAuth: {{username: u, password: $secret}}\nlynceus: {{headers: true}}\nheaders:\n\
         - {{name: X-A, value: first}}\n- {{name: x-a, value: $secret}}\n- {{name: Authorization, value: Bearer x}}\n\
         - {{name: User-Agent, value: mine}}\n",
        inbox.url()
    );
    let service = configured("service.webhook.x", &body);
    let mut again = context();
    (again.attempt, again.possible_repeat) = (3, true);
    service.send("", &plain("t"), &again).await.unwrap();
    let plainly = configured("service.webhook.y", &format!("url: {}", inbox.url()));
    plainly.send("", &plain("t"), &again).await.unwrap();
    let all = items(&inbox);
    let [Item::Webhook { headers: full, .. }, Item::Webhook { headers: bare, body, .. }] = &all[..] else { panic!() };
    for (name, value) in [
        ("x-a", Some("s3cret-value")),
        ("authorization", Some("Basic dTpzM2NyZXQtdmFsdWU=")),
        ("user-agent", Some("mine")),
        ("lynceus-attempt", Some("3")),
        ("lynceus-possible-repeat", Some("true")),
        ("content-type", None),
    ] {
        assert_eq!(full.get(name).map(String::as_str), value, "{name}");
    }
    assert!(bare["user-agent"].starts_with("Lynceus/"), "HTTP-05");
    assert!(!bare.contains_key("lynceus-attempt"));
    assert_eq!(body, "t", "LAN-07: programs get no marks in their text");
}

async fn failed(inbox: &Inbox, fault: Fault, more: &str) -> SendError {
    inbox.script([fault]);
    let service = configured("service.webhook.x", &format!("url: {}/token-path?key=q\n{more}", inbox.url()));
    service.send("", &plain("the message"), &context()).await.unwrap_err()
}

#[tokio::test]
async fn dlv_05_class_table_http() {
    let inbox = inbox().await;
    let table: [(&[u16], Class, bool, bool); 6] = [
        // class, whether a quick retry may follow, whether the breaker counts it
        (&[429], Class::NotSent, true, false),
        (&[400, 406, 410, 411, 413, 414, 415, 418, 422, 451], Class::RejectedFinal, false, false),
        (&[401, 402, 403, 404, 405, 407], Class::RejectedHealable, false, false),
        (&[408, 409, 421, 425], Class::Transient, false, false),
        (&[500, 503, 505, 599], Class::Transient, true, true),
        (&[502, 504], Class::Unknown, true, true),
    ];
    for (codes, class, quick, ill) in table {
        for code in codes {
            let error = failed(&inbox, Fault::status(*code), "").await;
            assert_eq!((error.class, error.quick, error.ill), (class, quick, ill), "{code}");
            let throttled = (*code == 429).then_some(Throttle::Service);
            assert_eq!((error.throttled, error.gone), (throttled, *code == 410), "{code}");
            assert!(error.text.contains(&format!("status {code}")), "WH-06: {error}");
            assert!(!error.text.contains("token-path") && !error.text.contains("the message"), "WH-06: {error}");
        }
    }
    let error = failed(&inbox, Fault::status(501), "").await;
    assert_eq!((error.class, error.quick), (Class::RejectedFinal, false));
    assert!(inbox.accepted().is_empty());
}

#[tokio::test]
async fn dlv_05_lan_03_class_table_connections() {
    let inbox = inbox().await;
    assert_eq!(failed(&inbox, Fault::Cut, "").await.class, Class::Unknown);
    let error = failed(&inbox, Fault::Stall, "lynceus: {timeout: 200ms}").await;
    assert_eq!(error.class, Class::Unknown, "{error}");
    let error = failed(&inbox, Fault::DieAfterAccepting, "").await;
    assert_eq!((error.class, error.ill), (Class::Unknown, true));
    assert_eq!(inbox.accepted().len(), 1, "only the one that died after accepting");
    let pending = configured("service.telegram", "token: t").send("1", &plain("t"), &context()).await.unwrap_err();
    assert_eq!((pending.class, pending.ill, pending.quick), (Class::RejectedHealable, false, false), "CFG-15");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, class) in [
        (format!("http://{free}"), Class::NotSent),
        ("http://no-such-host.invalid/".to_owned(), Class::NotSent),
        ("http://169.254.169.254/latest".to_owned(), Class::RejectedHealable),
    ] {
        let service = configured("service.webhook.x", &format!("url: {url}"));
        let error = service.send("", &plain("t"), &context()).await.unwrap_err();
        assert_eq!(error.class, class, "{error}");
        assert_eq!(error.quick, class == Class::NotSent, "WH-05: {error}");
    }
}

#[tokio::test]
async fn dlv_05_http_02_class_table_certificates() {
    let (tls, pem) = crate::house::certificate();
    let manners = lynceus::demo::inbox::Manners {
        tls: Some(tls),
        encrypted_web: true,
        ..lynceus::demo::inbox::Manners::default()
    };
    let inbox = Inbox::start(manners).await.unwrap();
    let url = format!("https://localhost:{}", inbox.web().port());
    let http = crate::house::http();
    let service = crate::house::with_http("service.webhook.x", &format!("url: {url}"), http.clone());
    let error = service.send("", &plain("t"), &context()).await.unwrap_err();
    assert_eq!((error.class, error.quick), (Class::RejectedHealable, false), "{error}");
    let blind = configured("service.webhook.x", &format!("url: {url}\ninsecureSkipVerify: true"));
    blind.send("", &plain("blind"), &context()).await.unwrap();
    http.set_host_roots([("localhost".to_owned(), vec![pem.into()])].into());
    service.send("", &plain("trusted"), &context()).await.unwrap();
    assert_eq!(inbox.accepted().len(), 2, "HTTP-02 heals it");
}

#[tokio::test]
async fn out_07_retry_after_is_heard_and_bounded() {
    let inbox = inbox().await;
    for (code, value, wait) in [
        (429, "7", Some(Duration::from_secs(7))),
        (503, "7", Some(Duration::from_secs(7))),
        (429, "999999", Some(Duration::from_secs(3600))),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", Some(Duration::ZERO)),
        (429, "soon", None),
        (500, "7", None),
    ] {
        let error = failed(&inbox, Fault::retry_after(code, value), "").await;
        assert_eq!(error.retry_after, wait, "{code} {value}");
    }
}

#[tokio::test]
async fn wh_07_sec_07_webhook_redirect_drops_headers() {
    let (near, far) = (inbox().await, inbox().await);
    let redirect =
        |code: u16, to: String| Fault::Status { code, headers: vec![("Location".into(), to)], body: "".into() };
    let body = format!("url: {}/a\nheaders: [{{name: X-Key, value: $secret}}]\n", near.url());
    let service = configured("service.webhook.x", &body);
    let post = Part::Webhook(WebhookPart { method: "POST".into(), path: String::new(), body: "b".into() });
    let message = Message { text: String::new(), part: post };
    for (code, elsewhere, method, sent) in
        [(307, true, "POST", "b"), (302, true, "GET", ""), (308, false, "POST", "b"), (303, false, "GET", "")]
    {
        let target = if elsewhere { &far } else { &near };
        near.script([redirect(code, format!("{}/next", target.url()))]);
        service.send("", &message, &context()).await.unwrap();
        let Some(Item::Webhook { method: seen, headers, body, .. }) = items(target).pop() else { panic!() };
        assert_eq!((seen.as_str(), body.as_str()), (method, sent), "{code}");
        assert_eq!(headers.contains_key("x-key"), !elsewhere, "{code}");
    }
    near.script([redirect(307, format!("{}/next", far.url()))]);
    let stay = configured("service.webhook.x", &format!("{body}lynceus: {{followRedirects: false}}"));
    let error = stay.send("", &message, &context()).await.unwrap_err();
    assert_eq!(error.class, Class::RejectedHealable, "{error}");
    near.script((0..12).map(|_| redirect(302, "/round".into())));
    let error = service.send("", &message, &context()).await.unwrap_err();
    assert_eq!((error.class, error.quick), (Class::RejectedHealable, false), "WH-05: {error}");
}

#[tokio::test]
async fn wh_05_webhook_retry_schedule() {
    let inbox = inbox().await;
    let transient = failed(&inbox, Fault::status(500), "").await;
    let last = failed(&inbox, Fault::status(400), "").await;
    let url = inbox.url();
    for (fields, waits) in [
        ("", vec![1000, 2000, 4000]),
        ("retryMax: 5", vec![1000, 2000, 4000, 5000, 5000]),
        ("retryMax: -1", vec![]),
        ("retryMax: 0", vec![1000, 2000, 4000]),
        ("retryWaitMin: 10\nretryWaitMax: 15ms\nretryMax: 2", vec![0, 0]),
        ("retryWaitMin: 2000000000\nretryWaitMax: 3000000000\nretryMax: 2", vec![2000, 3000]),
    ] {
        let service = configured("service.webhook.x", &format!("url: {url}\n{fields}"));
        let found: Vec<u128> =
            (1..20).map_while(|n| service.quick_wait(&transient, n)).map(|wait| wait.as_millis()).collect();
        assert_eq!(found, waits, "{fields}");
        assert_eq!(service.quick_wait(&last, 1), None, "a final rejection has none");
    }
}

#[tokio::test]
async fn wh_06_http_04_error_text_has_no_secret() {
    let inbox = inbox().await;
    let echo = Fault::Status {
        code: 400,
        headers: vec![],
        body: format!("you sent s3cret-value, czNjcmV0LXZhbHVl and more {}", "x".repeat(2000)),
    };
    let more = "headers: [{name: X, value: $secret}]\n";
    let error = failed(&inbox, echo, more).await;
    assert!(!error.text.contains("s3cret-value") && !error.text.contains("czNjcmV0LXZhbHVl"), "{error}");
    assert!(error.text.contains("***"), "{error}");
    assert!(error.text.chars().count() < 650, "HTTP-04: {}", error.text.len());
}

#[tokio::test]
async fn lan_05_endpoints_are_told_apart_by_place_and_credential() {
    let endpoint = |body: &str| configured("service.webhook.x", body).endpoint().clone();
    let one = endpoint("url: https://h/a");
    assert_eq!(one.place, "https://h");
    assert_eq!(one, endpoint("url: https://h/b"));
    assert_ne!(one, endpoint("url: https://h:8443/a"));
    assert_ne!(one, endpoint("url: https://h/a\nheaders: [{name: authorization, value: $secret}]"));
    assert!(!format!("{one:?}").contains("s3cret"));
}
