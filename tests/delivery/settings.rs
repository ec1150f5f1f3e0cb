//! What a service's `lynceus:` block changes, and how trouble of one place stays there.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use lynceus::adapters::store::Store;
use lynceus::core::notify::message::{Message, Part, WebhookPart};
use lynceus::core::notify::row::{Payload, Row, RowState};
use lynceus::demo::inbox::{Fault, Item};

use crate::executor::*;
use crate::house::{PATIENCE, configured, context, inbox, items};

/// With one call at a time and every answer a failure, all are tried while all wait.
#[tokio::test]
async fn lan_03_waiting_for_a_retry_occupies_no_worker() {
    let inbox = inbox().await;
    inbox.script((0..30).map(|_| Fault::status(425)));
    let slow = hook("x", &inbox, "retryMax: -1\nlynceus: {concurrency: 1}");
    let house = open(Store::memory().unwrap(), &[slow]).await;
    let begun = Instant::now();
    house.plan((0..30).map(|n| event(&format!("e{n}"), &format!("a{n}"), "x", ""))).await;
    assert!(inbox.wait(PATIENCE, |_, calls| calls >= 30).await, "{}", inbox.calls());
    // Each waits a second at least; one after the other that would be half a minute.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    house.plan([event("late", "late", "x", "")]).await;
    house.done("late").await;
    house.task.abort();
}

#[tokio::test]
async fn lan_03_an_attempt_ends_at_its_time_limit() {
    let inbox = inbox().await;
    for (more, fault) in
        [("lynceus: {timeout: 300ms}", Fault::Stall), ("lynceus: {timeout: 300ms}", Fault::StallAfterAccepting)]
    {
        inbox.script([fault]);
        let begun = Instant::now();
        let service = configured("service.webhook.x", &format!("url: {}\n{more}", inbox.url()));
        let message = Message { text: "t".into(), part: Part::None };
        let error = service.send("", &message, &context()).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(error.class.word(), "unknown");
    }
    let delivery = &configured("service.webhook.x", "url: http://h").config().delivery.clone();
    assert_eq!((delivery.connect_timeout.as_secs(), delivery.timeout.as_secs()), (5, 30), "the defaults");
    // An address of the documentation range: nobody answers, or the network says so at once.
    let hole = "url: http://192.0.2.1/\nlynceus: {connectTimeout: 300ms, timeout: 20s}";
    let begun = Instant::now();
    let message = Message { text: "t".into(), part: Part::None };
    let error = configured("service.webhook.x", hole).send("", &message, &context()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(error.class.word(), "not_sent", "{error}");
}

#[tokio::test]
async fn lan_04_a_throttled_credential_pauses_its_service_and_no_other() {
    let (busy, calm) = (inbox().await, inbox().await);
    busy.script([Fault::retry_after(429, "6")]);
    let house = open(Store::memory().unwrap(), &[hook("busy", &busy, ""), hook("calm", &calm, "")]).await;
    house.plan([event("first", "a", "busy", "1")]).await;
    house.until("first", "waiting", |row| matches!(row.state, RowState::RetryAt { .. })).await;
    // The lanes hear of the answer a moment after the row holds it; what is planned in between may still go out.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    house.plan([event("second", "b", "busy", "2"), event("other", "c", "calm", "")]).await;
    house.done("other").await;
    assert!(begun.elapsed() < Duration::from_millis(5000), "{:?}", begun.elapsed());
    assert_eq!(busy.calls(), 1, "another lane of the same credential waits too");
    house.done("second").await;
    house.done("first").await;
    assert!(begun.elapsed() >= Duration::from_millis(4000));
    house.close().await.unwrap();
}

#[tokio::test]
async fn lan_01_concurrency_is_the_service_s_to_say() {
    let inbox = inbox().await;
    inbox.always(Some(Fault::Stall));
    let services =
        [hook("one", &inbox, "lynceus: {concurrency: 1}"), hook("many", &inbox, "lynceus: {concurrency: 12}")];
    let house = open(Store::memory().unwrap(), &services).await;
    house.plan((0..20).map(|n| event(&format!("o{n}"), &format!("a{n}"), "one", ""))).await;
    house.plan((0..20).map(|n| event(&format!("m{n}"), &format!("a{n}"), "many", ""))).await;
    assert!(inbox.wait(PATIENCE, |_, calls| calls >= 13).await, "{}", inbox.calls());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(inbox.calls(), 13, "1 and 12");
    house.task.abort();
}

#[tokio::test]
async fn lan_04_rate_per_second_holds_back() {
    let inbox = inbox().await;
    let house = open(Store::memory().unwrap(), &[hook("x", &inbox, "lynceus: {ratePerSecond: 4}")]).await;
    let begun = Instant::now();
    house.plan((0..12).map(|n| event(&format!("e{n}"), &format!("a{n}"), "x", ""))).await;
    assert!(inbox.wait(PATIENCE, |accepted, _| accepted.len() == 12).await);
    // Four at once, then four a second.
    assert!(begun.elapsed() >= Duration::from_millis(1800), "{:?}", begun.elapsed());
    house.close().await.unwrap();
}

/// The configuration is repaired while an attempt with the old one is under way: it must not wait a quarter of an hour.
#[tokio::test]
async fn section_12_2_a_repair_during_an_attempt_is_noticed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url: http://{}/", listener.local_addr().unwrap());
    let (asked, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let (answer, mut answers) = tokio::sync::mpsc::unbounded_channel::<&str>();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            asked.send(()).unwrap();
            let Some(status) = answers.recv().await else { return };
            let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let house = open(Store::memory().unwrap(), &[configured("service.webhook.x", &url)]).await;
    house.plan([event("e1", "web", "x", "")]).await;
    hears.recv().await.unwrap();
    house.store.heal(None, true, Timestamp::now()).await.unwrap();
    answer.send("401 Unauthorized").unwrap();
    tokio::time::timeout(PATIENCE, hears.recv()).await.expect("a second attempt at once").unwrap();
    answer.send("200 OK").unwrap();
    let row = house.done("e1").await;
    assert_eq!(row.attempts, 2);
    house.close().await.unwrap();
    server.abort();
}

#[tokio::test]
async fn http_06_wh_03_bodies_of_services_are_not_templates() {
    let inbox = inbox().await;
    let body = format!(
        "url: {}/{{{{.app}}}}/$secret\nheaders: [{{name: X-T, value: '{{{{.app.metadata.name}}}} $secret'}}]",
        inbox.url()
    );
    let part = Part::Webhook(WebhookPart { path: "p".into(), ..WebhookPart::default() });
    let message = Message { text: String::new(), part };
    configured("service.webhook.x", &body).send("", &message, &context()).await.unwrap();
    let Some(Item::Webhook { target, headers, .. }) = items(&inbox).pop() else { panic!() };
    assert_eq!(headers["x-t"], "{{.app.metadata.name}} s3cret-value");
    assert_eq!(target, "/%7B%7B.app%7D%7D/s3cret-value/p");
}

#[tokio::test]
async fn out_05_a_finished_step_is_not_repeated_after_a_failure_of_the_next() {
    use lynceus::core::notify::message::{DeliveryPolicy, SlackPart};
    let inbox = inbox().await;
    let slack = configured("service.slack", &format!("token: t\napiURL: {}/api", inbox.url()));
    let house = open(Store::memory().unwrap(), &[slack]).await;
    let grouped = |id: &str, app: &str| {
        let delivery_policy = DeliveryPolicy::PostAndUpdate;
        let part = SlackPart { grouping_key: "k".into(), delivery_policy, ..SlackPart::default() };
        Row {
            payload: Payload::Rendered(Message { text: id.into(), part: Part::Slack(part) }),
            ..event(id, app, "slack", "c")
        }
    };
    house.plan([grouped("root", "a")]).await;
    house.done("root").await;
    inbox.script([Fault::None, Fault::status(503)]);
    house.plan([grouped("reply", "a")]).await;
    let row = house.done("reply").await;
    assert_eq!((row.attempts, row.steps.as_slice()), (2, ["post".to_owned()].as_slice()));
    let methods: Vec<String> = items(&inbox)
        .into_iter()
        .map(|item| match item {
            Item::Slack { method, .. } => method,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(methods, ["chat.postMessage", "chat.postMessage", "chat.update"]);
    house.close().await.unwrap();
}

/// Counts connections to a server that keeps them open.
#[tokio::test]
async fn http_01_idle_connections_are_kept_as_long_as_the_service_says() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            CONNECTIONS.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    let message = Message { text: "t".into(), part: Part::None };
    for (more, connections) in [("", 1), ("\nidleConnTimeout: 90s", 1), ("\nidleConnTimeout: 100ms", 2)] {
        CONNECTIONS.store(0, Ordering::Relaxed);
        let service = configured("service.webhook.x", &format!("url: {url}{more}"));
        for _ in 0..2 {
            service.send("", &message, &context()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        assert_eq!(CONNECTIONS.load(Ordering::Relaxed), connections, "{more:?}");
    }
    server.abort();
}
