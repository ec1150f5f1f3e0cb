//! REG-6, TAG-1, TAG-6: listings.

use super::*;
use crate::demo::registry::{Fault, On};

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("1.0.{n:05}")).collect()
}

#[tokio::test]
async fn reg_6_all_pages_make_one_listing() {
    let stage = Stage::new().await;
    let tags = numbered(2_350);
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", tags.iter().map(String::as_str));
    let listing = stage.list("team/app", Access::default()).await.expect("a listing");
    assert_eq!(listing.tags, tags);
    assert!(!listing.from_cache && !listing.sorted && listing.dropped == 0);
    let queries: Vec<String> = stage.registry.log().iter().map(|seen| seen.query.clone()).collect();
    assert_eq!(queries, ["n=1000", "n=1000&last=1.0.00999", "n=1000&last=1.0.01999"]);
    assert_eq!(stage.endpoint().requests(), Counts { tags: 3, ..Counts::default() });
    assert!(stage.registry.log().iter().all(|seen| seen.user_agent.starts_with("Lynceus/")));
}

#[tokio::test]
async fn reg_15_small_pages_as_quay_serves_them() {
    let stage = Stage::new().await;
    stage.registry.behave(|habits| habits.page = 50);
    let tags = numbered(499);
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", tags.iter().map(String::as_str));
    assert_eq!(stage.tags("team/app").await.expect("a listing"), tags);
    assert_eq!(stage.endpoint().requests().tags, 10);
}

#[tokio::test]
async fn reg_6_a_registry_that_rejects_n_is_asked_without_from_then_on() {
    let stage = Stage::new().await;
    stage.registry.behave(|habits| habits.rejects_n = true);
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a", "b"]);
    for _ in 0..2 {
        assert_eq!(stage.tags("team/app").await.expect("a listing"), ["a", "b"]);
    }
    let queries: Vec<String> = stage.registry.log().iter().map(|seen| seen.query.clone()).collect();
    assert_eq!(queries, ["n=1000", "", ""]);
}

#[tokio::test]
async fn reg_6_an_unchanged_listing_is_not_sent_again() {
    let stage = Stage::new().await;
    stage.registry.behave(|habits| {
        habits.page = 2;
        habits.etags = true;
    });
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a", "b", "c"]);
    let first = stage.list("team/app", Access::default()).await.expect("a listing");
    stage.asked();
    let second = stage.list("team/app", Access::default()).await.expect("a listing");
    assert!(!first.from_cache && second.from_cache);
    assert_eq!(second.tags, first.tags);
    assert_eq!(stage.asked(), vec!["GET /v2/team/app/tags/list 304"; 2]);

    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["d", "e"]);
    let third = stage.list("team/app", Access::default()).await.expect("a listing");
    assert!(!third.from_cache);
    assert_eq!(third.tags, ["a", "b", "c", "d", "e"]);
    // One credential's pages are not another's.
    let other = credential("someone", "else");
    stage.asked();
    stage.list("team/app", Access::from(Some(&other))).await.expect("a listing");
    assert!(stage.registry.log().iter().all(|seen| seen.if_none_match.is_none()));
}

#[tokio::test]
async fn tag_1_names_outside_the_grammar_are_dropped_and_counted() {
    let stage = Stage::new().await;
    let long = "x".repeat(129);
    for name in ["ok", "-bad", "with blank", "ctrl\u{7}", "a/b", ".dot", long.as_str(), &"y".repeat(128)] {
        stage.registry.list_name("team/app", name);
    }
    let listing = stage.list("team/app", Access::default()).await.expect("a listing");
    assert_eq!(listing.tags, ["ok".to_owned(), "y".repeat(128)]);
    assert_eq!(listing.dropped, 6);
}

#[tokio::test]
async fn tag_6_with_tagsortmode_the_place_is_the_date() {
    for (mode, order) in [("latest-first", ["c", "b", "a"]), ("latest-last", ["a", "b", "c"])] {
        let stage = Stage::with(&format!("  tagsortmode: {mode}\n"), Options::default()).await;
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a", "b", "c"]);
        let listing = stage.list("team/app", Access::default()).await.expect("a listing");
        assert!(listing.sorted && stage.endpoint().sorted());
        assert_eq!(listing.tags, order, "{mode}");
        let mut dated = listing.candidates();
        dated.sort_by_key(|candidate| candidate.created);
        let names: Vec<&str> = dated.iter().map(|candidate| candidate.tag.as_str()).collect();
        assert_eq!(names, order, "{mode}");
        assert_eq!(stage.endpoint().requests().total(), 1);
    }
}

#[tokio::test]
async fn reg_6_no_tags_at_all_is_a_complete_listing() {
    let stage = Stage::new().await;
    for body in [r#"{"name":"team/app","tags":null}"#, r#"{"tags":[]}"#] {
        stage.registry.script(On::Tags, Fault::Body(Vec::new(), body.into()));
        assert_eq!(stage.tags("team/app").await, Ok(Vec::new()), "{body}");
    }
    let missing = stage.tags("no/such").await.expect_err("nothing there");
    assert_eq!(missing.kind(), "reference-invalid");
}

#[tokio::test]
async fn reg_6_links_of_a_registry_behind_a_proxy_are_followed_by_their_query() {
    let stage = Stage::new().await;
    let host = stage.registry.host();
    let bare = host.split(':').next().expect("a host").to_owned();
    for origin in [format!("http://{host}"), format!("https://{host}"), format!("http://{bare}")] {
        stage.registry.behave(|habits| {
            habits.page = 2;
            habits.link_origin = Some(origin.clone());
        });
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a", "b", "c"]);
        assert_eq!(stage.tags("team/app").await.expect("a listing"), ["a", "b", "c"], "{origin}");
    }
}

#[tokio::test]
async fn pagination_loop_and_foreign_link_reg_6() {
    for (label, link, asked) in [
        ("another host", "<http://127.0.0.2:1/v2/team/app/tags/list?last=a>; rel=\"next\"", 1),
        ("another port", "<http://127.0.0.1:1/v2/team/app/tags/list?last=a>; rel=\"next\"", 1),
        ("another scheme", "<ftp://127.0.0.1/v2/team/app/tags/list?last=a>; rel=\"next\"", 1),
        ("another repository", "</v2/team/secret/tags/list?last=a>; rel=\"next\"", 1),
        ("another path", "</v2/team/app/tags/list/../../x?last=a>; rel=\"next\"", 1),
        ("itself", "</v2/team/app/tags/list?n=1000>; rel=\"next\"", 1),
        ("no URL", "<http://[>; rel=\"next\"", 1),
    ] {
        let stage = Stage::new().await;
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
        stage.registry.script(On::Tags, Fault::Headers(vec![("link", link.to_owned())]));
        let error = stage.tags("team/app").await.expect_err(label);
        assert_eq!(error.kind(), "listing-incomplete", "{label}: {error}");
        assert_eq!(stage.registry.log().len(), asked, "{label}");
    }
    // A circle over two pages.
    let stage = Stage::new().await;
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    for last in ["x", "y", "x"] {
        let link = format!("</v2/team/app/tags/list?last={last}>; rel=\"next\"");
        stage.registry.script(On::Tags, Fault::Headers(vec![("link", link)]));
    }
    let error = stage.tags("team/app").await.expect_err("a circle");
    assert!(error.to_string().contains("in a circle"), "{error}");
    assert_eq!(stage.registry.log().len(), 3);
}

#[tokio::test]
async fn reg_6_only_the_link_called_next_is_followed() {
    let stage = Stage::new().await;
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a", "b"]);
    let links = "<http://elsewhere/x>; rel=\"prev\", </v2/team/app/tags/list?last=a>; title=\"a,b\"; rel=next";
    stage.registry.script(On::Tags, Fault::Headers(vec![("link", links.to_owned())]));
    // Both pages name b: it is listed once.
    assert_eq!(stage.tags("team/app").await.expect("a listing"), ["a", "b"]);
    assert_eq!(stage.registry.log().len(), 2);
}

#[tokio::test]
async fn incomplete_listing_is_not_used_reg_6() {
    for (label, fault, kind, asked) in [
        ("refused", Fault::status(400), "listing-incomplete", 2),
        ("gone", Fault::status(404), "listing-incomplete", 2),
        ("broken JSON", Fault::Body(Vec::new(), b"{\"tags\":[\"a\",".to_vec()), "listing-incomplete", 2),
        ("tags are numbers", Fault::Body(Vec::new(), b"{\"tags\":[1]}".to_vec()), "listing-incomplete", 2),
        ("no tags in it", Fault::Body(Vec::new(), b"{\"status\":\"ok\"}".to_vec()), "listing-incomplete", 2),
        ("no JSON", Fault::Body(Vec::new(), b"<html>".to_vec()), "listing-incomplete", 2),
    ] {
        let stage = Stage::new().await;
        stage.registry.behave(|habits| habits.page = 1);
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a", "b", "c"]);
        stage.registry.script(On::Tags, Fault::Headers(Vec::new()));
        stage.registry.script(On::Tags, fault);
        let error = stage.tags("team/app").await.expect_err(label);
        assert_eq!(error.kind(), kind, "{label}: {error}");
        assert_eq!(stage.registry.log().len(), asked, "{label}");
        // The next poll starts anew and is whole.
        assert_eq!(stage.tags("team/app").await.expect("a listing"), ["a", "b", "c"], "{label}");
    }
    // Server errors have their retries first.
    let stage = Stage::new().await;
    stage.registry.behave(|habits| habits.page = 1);
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a", "b"]);
    stage.registry.script(On::Tags, Fault::Headers(Vec::new()));
    stage.registry.script_times(3, On::Tags, &Fault::status(500));
    let error = stage.tags("team/app").await.expect_err("three times 500");
    assert_eq!((error.kind(), stage.registry.log().len()), ("listing-incomplete", 4), "{error}");
}
