//! hostile_registry_corpus: each input of §25 and reliability.md F24, F25, F27 to F29, with what it may cost in
//! requests and bytes. Seconds are not asserted: they are the machine's.

use super::*;
use crate::demo::registry::{Fault, On};

const AMD: &str = "linux/amd64";

struct Case {
    label: &'static str,
    fault: Fault,
    kind: &'static str,
    /// Requests that may go out.
    requests: usize,
}

fn case(label: &'static str, fault: Fault, kind: &'static str, requests: usize) -> Case {
    Case { label, fault, kind, requests }
}

/// Much more than any limit; of what is poured, no more than a limit and what the sockets hold may be taken.
const FLOOD: usize = 256 << 20;
const TAKEN: u64 = 64 << 20;

/// Whoever waits for ever fails here, and not the whole run.
async fn ends<T>(label: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), work).await.unwrap_or_else(|_| panic!("{label}: no end"))
}

#[tokio::test]
async fn hostile_registry_corpus_listings_reg_6() {
    let many: String = (0..200_001).map(|n| format!(",\"{n}\"")).collect();
    let many = format!("{{\"tags\":[{}]}}", &many[1..]);
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"tags\":[\"{}\"]}}", "a".repeat(9 << 20));
    let body = |text: String| Fault::Body(Vec::new(), text.into_bytes());
    let redirect = |to: &str| Fault::Redirect(to.into());
    let header = |name, value: String| Fault::Headers(vec![(name, value)]);
    let cases = [
        case("endless page", Fault::Huge(FLOOD), "listing-incomplete", 1),
        case("9 MiB tag", body(long), "listing-incomplete", 1),
        case("gzip bomb of 200 MiB", Fault::Bomb(200 << 20), "listing-incomplete", 1),
        case("gzip bomb of 7 MiB, past the ratio", Fault::Bomb(7 << 20), "listing-incomplete", 1),
        case("200,001 tags", body(many), "listing-incomplete", 1),
        case("nested JSON", body(deep), "listing-incomplete", 1),
        case("one byte a second", Fault::Drip(Duration::from_secs(1)), "listing-incomplete", 1),
        case("cut in the middle", Fault::Truncate(12), "listing-incomplete", 3),
        case("redirect in a circle", redirect("/v2/team/app/tags/list"), "registry-unreachable", 6),
        case("redirect to a file", redirect("file:///etc/passwd"), "registry-unreachable", 1),
        case("redirect to metadata", redirect("http://169.254.169.254/latest"), "registry-unreachable", 1),
        case("redirect to hidden metadata", redirect("http://[::ffff:a9fe:a9fe]/"), "registry-unreachable", 1),
        case("unknown compression", header("content-encoding", "br".into()), "listing-incomplete", 1),
        case("gzip that is none", header("content-encoding", "gzip".into()), "listing-incomplete", 1),
        case("headers without end", header("x-long", "y".repeat(1 << 20)), "registry-unreachable", 3),
    ];
    // Each on its own stage, all at once: the slow ones take their time together.
    futures::future::join_all(cases.into_iter().map(|case| async move {
        let stage = Stage::new().await;
        // More tags than the drip gets through: a client that waits for the end waits for hours.
        let tags: Vec<String> = (0..2_000).map(|n| format!("v{n:06}")).collect();
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", tags.iter().map(String::as_str));
        stage.registry.script_times(20, On::Tags, &case.fault);
        let error = ends(case.label, stage.tags("team/app")).await.expect_err(case.label);
        assert_eq!(error.kind(), case.kind, "{}: {error}", case.label);
        assert!(stage.registry.log().len() <= case.requests, "{}: {:?}", case.label, stage.asked());
        assert!(stage.registry.poured() <= TAKEN, "{}: {} bytes", case.label, stage.registry.poured());
        assert!(error.to_string().len() < 1_000, "{}: {error}", case.label);
    }))
    .await;
}

#[tokio::test]
async fn hostile_registry_corpus_metadata_reg_8() {
    for (label, on, fault) in [
        ("endless manifest", On::Manifest, Fault::Huge(FLOOD)),
        ("endless configuration", On::Blob, Fault::Huge(FLOOD)),
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
        let described = ends(label, stage.describe(&["a", "b"], Detail::Created, &[AMD])).await;
        let found = described.unwrap_or_else(|e| panic!("{label}: {e}"));
        assert!(found[0].note.is_some() && found[0].created.is_none(), "{label}: {found:?}");
        assert!(found[1].note.is_none() && found[1].created.is_some(), "{label}: {found:?}");
        assert!(stage.registry.poured() <= TAKEN, "{label}: {} bytes", stage.registry.poured());
        // Two for b, one look at it again, and at most three tries of a's manifest or of its configuration.
        assert!(stage.registry.log().len() <= 7, "{label}: {:?}", stage.asked());
    }
}

#[tokio::test]
async fn hostile_registry_corpus_tokens_reg_14() {
    let realm =
        |realm: &str| Fault::Status(401, vec![("www-authenticate", format!("Bearer realm=\"{realm}\",service=\"x\""))]);
    for (label, on, fault, said) in [
        ("endless token", On::Token, Fault::Huge(FLOOD), "larger than"),
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
        let error = ends(label, stage.list("team/app", Access::from(Some(&bot)))).await.expect_err(label);
        assert!(error.to_string().contains(said), "{label}: {error}");
        assert!(matches!(error.kind(), "registry-auth" | "registry-unreachable"), "{label}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{label}: {error}");
        assert!(stage.registry.log().len() <= 6, "{label}: {:?}", stage.asked());
    }
}
