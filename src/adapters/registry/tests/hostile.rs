//! hostile_registry_corpus: each input of §25 and reliability.md F24, F25, F27 to F29, with what it may cost.

use super::*;
use crate::demo::registry::{Fault, On};
use std::time::Instant;

const AMD: &str = "linux/amd64";

struct Case {
    label: &'static str,
    on: On,
    fault: Fault,
    times: usize,
    kind: &'static str,
    /// Requests that may go out.
    requests: usize,
    /// Seconds it may take.
    seconds: u64,
}

fn case(label: &'static str, on: On, fault: Fault, kind: &'static str, requests: usize, seconds: u64) -> Case {
    Case { label, on, fault, times: 3, kind, requests, seconds }
}

#[tokio::test]
async fn hostile_registry_corpus_listings_reg_6() {
    let many: String = (0..200_001).map(|n| format!(",\"{n}\"")).collect();
    let many = format!("{{\"tags\":[{}]}}", &many[1..]);
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"tags\":[\"{}\"]}}", "a".repeat(9 << 20));
    let cases = [
        case("9 MiB page", On::Tags, Fault::Huge(9 << 20), "listing-incomplete", 1, 10),
        case("9 MiB tag", On::Tags, Fault::Body(Vec::new(), long.into_bytes()), "listing-incomplete", 1, 10),
        case("gzip bomb of 200 MiB", On::Tags, Fault::Bomb(200 << 20), "listing-incomplete", 1, 10),
        case("gzip bomb of 7 MiB, past the ratio", On::Tags, Fault::Bomb(7 << 20), "listing-incomplete", 1, 10),
        case("200,001 tags", On::Tags, Fault::Body(Vec::new(), many.into_bytes()), "listing-incomplete", 1, 10),
        case("nested JSON", On::Tags, Fault::Body(Vec::new(), deep.into_bytes()), "listing-incomplete", 1, 10),
        case("one byte a second", On::Tags, Fault::Drip(Duration::from_secs(1)), "listing-incomplete", 1, 15),
        case("cut in the middle", On::Tags, Fault::Truncate(12), "listing-incomplete", 3, 10),
        case(
            "redirect in a circle",
            On::Tags,
            Fault::Redirect("/v2/team/app/tags/list".into()),
            "registry-unreachable",
            6,
            10,
        ),
        case(
            "redirect to a file",
            On::Tags,
            Fault::Redirect("file:///etc/passwd".into()),
            "registry-unreachable",
            1,
            10,
        ),
        case(
            "redirect to metadata",
            On::Tags,
            Fault::Redirect("http://169.254.169.254/latest".into()),
            "registry-unreachable",
            1,
            10,
        ),
        case(
            "redirect to hidden metadata",
            On::Tags,
            Fault::Redirect("http://[::ffff:a9fe:a9fe]/".into()),
            "registry-unreachable",
            1,
            10,
        ),
        case(
            "unknown compression",
            On::Tags,
            Fault::Headers(vec![("content-encoding", "br".into())]),
            "listing-incomplete",
            1,
            10,
        ),
        case(
            "gzip that is none",
            On::Tags,
            Fault::Headers(vec![("content-encoding", "gzip".into())]),
            "listing-incomplete",
            1,
            10,
        ),
        case(
            "headers without end",
            On::Tags,
            Fault::Headers(vec![("x-long", "y".repeat(1 << 20))]),
            "registry-unreachable",
            3,
            10,
        ),
    ];
    // Each on its own stage, all at once: the slow ones take their time together.
    futures::future::join_all(cases.into_iter().map(|case| async move {
        let stage = Stage::new().await;
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a", "b"]);
        let times = if case.label.contains("circle") { 20 } else { case.times };
        stage.registry.script_times(times, case.on, &case.fault);
        let begun = Instant::now();
        let error = stage.tags("team/app").await.expect_err(case.label);
        assert_eq!(error.kind(), case.kind, "{}: {error}", case.label);
        assert!(stage.registry.log().len() <= case.requests, "{}: {:?}", case.label, stage.asked());
        assert!(begun.elapsed() < Duration::from_secs(case.seconds), "{}: {:?}", case.label, begun.elapsed());
        assert!(error.to_string().len() < 1_000, "{}: {error}", case.label);
    }))
    .await;
}

#[tokio::test]
async fn hostile_registry_corpus_metadata_reg_8() {
    for (label, on, fault) in [
        ("5 MiB manifest", On::Manifest, Fault::Huge(5 << 20)),
        ("9 MiB configuration", On::Blob, Fault::Huge(9 << 20)),
        ("manifest bomb", On::Manifest, Fault::Bomb(100 << 20)),
        ("manifest of 500", On::Manifest, Fault::status(500)),
        ("blob of 404", On::Blob, Fault::status(404)),
        (
            "manifest with links",
            On::Manifest,
            Fault::Body(Vec::new(), br#"{"urls":["http://169.254.169.254/"]}"#.to_vec()),
        ),
    ] {
        let stage = Stage::new().await;
        stage.registry.push("team/app", "a", "2026-01-01T00:00:00Z", &[AMD]);
        stage.registry.push("team/app", "b", "2026-01-02T00:00:00Z", &[AMD]);
        stage.describe(&["b"], Detail::Created, &[AMD]).await.expect("b is known");
        stage.registry.script_times(3, on, &fault);
        let found =
            stage.describe(&["a", "b"], Detail::Created, &[AMD]).await.unwrap_or_else(|e| panic!("{label}: {e}"));
        assert!(found[0].note.is_some() && found[0].created.is_none(), "{label}: {found:?}");
        assert!(found[1].note.is_none() && found[1].created.is_some(), "{label}: {found:?}");
    }
}

#[tokio::test]
async fn hostile_registry_corpus_tokens_reg_14() {
    let realm =
        |realm: &str| Fault::Status(401, vec![("www-authenticate", format!("Bearer realm=\"{realm}\",service=\"x\""))]);
    for (label, on, fault, said) in [
        ("token of 65 KiB", On::Token, Fault::Huge(65 << 10), "larger than"),
        ("token bomb", On::Token, Fault::Bomb(10 << 20), "larger than"),
        ("no token", On::Token, Fault::Body(Vec::new(), b"{}".to_vec()), "no token"),
        ("no JSON", On::Token, Fault::Body(Vec::new(), b"<html>".to_vec()), "not the JSON"),
        ("token refused", On::Token, Fault::status(401), "refused the credentials"),
        ("token service down", On::Token, Fault::status(500), "status 500"),
        (
            "token with line break",
            On::Token,
            Fault::Body(Vec::new(), br#"{"token":"a\r\nx: y"}"#.to_vec()),
            "no header may hold",
        ),
        ("realm on metadata", On::Tags, realm("http://169.254.169.254/token"), "metadata"),
        ("realm as a file", On::Tags, realm("file:///etc/passwd"), "must be https"),
        ("realm without host", On::Tags, realm("data:,x"), "must be https"),
    ] {
        let stage = Stage::new().await;
        stage.registry.behave(|habits| habits.auth = token_auth());
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
        stage.registry.script_times(3, on, &fault);
        let bot = credential("bot", "hunter2");
        let begun = Instant::now();
        let error = stage.list("team/app", Access::from(Some(&bot))).await.expect_err(label);
        assert!(error.to_string().contains(said), "{label}: {error}");
        assert!(matches!(error.kind(), "registry-auth" | "registry-unreachable"), "{label}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{label}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{label}");
    }
}
