//! A sync that fails becomes one message per destination, over restarts, foreign edits and a cut-over.

use serde_json::json;

use super::stage::*;
use crate::support::real::{Smtp, SmtpMode};

#[tokio::test(flavor = "multi_thread")]
async fn dlv_02_dlv_03_dlv_10_dlv_13_wrb_01_st_18_a_failed_sync_is_told_once_by_slack_mail_and_webhook() {
    let mut stage = Stage::new("failed").await;
    let mail = Smtp::start(SmtpMode::StartTls, "robot", "mail-secret").await;
    stage.house = stage.house.trusting(&mail.ca());
    let mut config = stage.services();
    config.insert(
        "service.email".into(),
        format!("host: 127.0.0.1\nport: {}\nusername: robot\npassword: $mail\nfrom: argocd@example.com", mail.port()),
    );
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1\n"), ("mail", "mail-secret")]).await;
    let subscribed =
        [("on-sync-failed.slack", "alerts"), ("on-sync-failed.email", "ops@example.com"), ("on-sync-failed.hook", "")];
    stage.ns.apply_json(application("web", &subscribed)).await;
    stage.house.start().await;

    // The webhook's receiver is down at first: its key must wait for it.
    stage.hook.always(Some(lynceus::demo::inbox::Fault::status(503)));
    stage.status("web", synced("Failed", "rev1")).await;
    let key = |revision: &str, to: &str| format!("{revision}:on-sync-failed:{SYNC_FAILED}:{to}");
    let (slack, email, hook) =
        (key("rev1", "slack:alerts"), key("rev1", "email:ops@example.com"), key("rev1", "hook:"));
    stage.keys("web", &[slack.clone(), email.clone()]).await;
    stage.hook.always(None);
    stage.keys("web", &[slack.clone(), email.clone(), hook.clone()]).await;

    let text = format!(
        "The sync of application web failed at 2026-05-01T12:00:05Z: Failed at rev1\n\
         Details: https://argocd.test/applications/{}/web",
        stage.ns.name
    );
    assert_eq!(accepted(&stage, &stage.slack, 1).await[0].trim_end(), format!(":x: {text}"));
    assert_eq!(accepted(&stage, &stage.hook, 1).await[0].trim_end(), text);
    let mails = mail.wait_for_mails(1).await;
    assert!(mails[0].tls && mails[0].login == "robot" && mails[0].to == ["ops@example.com"], "{mails:?}");
    assert!(mails[0].content.contains("Subject: Sync of application web failed\r\n"), "{}", mails[0].content);
    let body = mails[0].content.replace("=\r\n", "").replace("\r\n", "\n");
    assert!(body.contains(&text), "{body}");

    // Other edits, somebody's broom, a restart: none of them is news.
    stage.metadata("web", json!({ "labels": { "team": "a" } })).await;
    stage.status("web", json!({ "summary": { "images": ["nginx:1"] }, "health": { "status": "Progressing" } })).await;
    stage.metadata("web", json!({ "annotations": { STATE: null } })).await;
    stage.keys("web", &[slack.clone(), email.clone(), hook.clone()]).await;
    assert_eq!(stage.house.stop().await, 0);
    stage.metadata("web", json!({ "annotations": { STATE: "{\"foreign\":1}" } })).await;
    stage.house.start().await;
    stage.keys("web", &[slack.clone(), email.clone(), hook.clone()]).await;

    // The next failure is one message more for everybody, and nothing else was in between.
    stage.status("web", synced("Failed", "rev2")).await;
    let both = |to: &str| [key("rev1", to), key("rev2", to)];
    let all: Vec<String> = ["slack:alerts", "email:ops@example.com", "hook:"].into_iter().flat_map(both).collect();
    stage.keys("web", &all).await;
    assert_eq!((texts(&stage.slack).len(), texts(&stage.hook).len(), mail.mails().len()), (2, 2, 2));
    assert!(!texts(&stage.slack)[1].contains("possible repeat"));
    stage.house.until("nothing waits", |s| s["outbox"]["done"] == 6 && s["outbox"]["retry_at"].is_null()).await;
    assert!(stage.house.metric("argocd_notifications_deliveries_total").await >= 3.0);
    assert!(stage.house.metric("lynceus_notifications_delivery_seconds_count").await >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn p_4_lan_06_a_dead_endpoint_delays_nobody() {
    let stage = Stage::new("dead").await;
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hole_port = hole.local_addr().expect("its address").port();
    // Accepts, and never answers.
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = hole.accept().await {
            held.push(connection);
        }
    });
    let mut config = stage.services();
    config.insert("service.webhook.hole".into(), format!("url: http://127.0.0.1:{hole_port}/"));
    let closed = crate::support::process::free_port();
    config.insert("service.webhook.refused".into(), format!("url: http://127.0.0.1:{closed}/"));
    stage.configure(&config).await;
    stage.secret(&[("slack-token", "xoxb-1")]).await;
    for n in 0..20 {
        let channel = format!("c{n}");
        let subscribed = [
            ("on-sync-failed.hole", ""),
            ("on-sync-failed.refused", ""),
            ("on-sync-failed.hook", ""),
            ("on-sync-failed.slack", channel.as_str()),
        ];
        stage.ns.apply_json(application(&format!("app-{n:02}"), &subscribed)).await;
    }
    stage.house.start().await;
    let start = std::time::Instant::now();
    for n in 0..20 {
        stage.status(&format!("app-{n:02}"), synced("Failed", "rev1")).await;
    }
    accepted(&stage, &stage.hook, 20).await;
    accepted(&stage, &stage.slack, 20).await;
    // A call into the hole takes 30 s to give up.
    assert!(start.elapsed().as_secs() < 15, "{:?}", start.elapsed());
    let status = stage.house.until("the dead are said", |s| !House::problems(s, "DeliveryFailing").is_empty()).await;
    assert!(House::problems(&status, "DeliveryFailing")[0].starts_with("service refused: "), "{status}");
    holding.abort();
}

use crate::support::house::House;
