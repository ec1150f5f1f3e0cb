//! REG-7 to REG-10, TAG-7, TAG-8: what tags name.

use super::*;
use crate::demo::registry::{Fault, On};
use serde_json::json;

const AMD: &str = "linux/amd64";
const ARM: &str = "linux/arm64/v8";

fn date(text: &str) -> Option<jiff::Timestamp> {
    Some(text.parse().expect("a date"))
}

#[tokio::test]
async fn reg_9_dates_come_from_the_configuration() {
    let stage = Stage::new().await;
    let digest = stage.registry.push("team/app", "one", "2026-01-02T03:04:05.123456789Z", &[AMD]);
    let index = stage.registry.push("team/app", "many", "2026-02-02T00:00:00+02:00", &[AMD, ARM]);
    let found = stage.describe(&["one", "many"], Detail::Created, &[AMD]).await.expect("candidates");
    assert_eq!(found[0].created, date("2026-01-02T03:04:05.123456789Z"));
    assert_eq!(found[1].created, date("2026-02-01T22:00:00Z"));
    assert_eq!([&found[0].digest, &found[1].digest], [&Some(digest), &Some(index)]);
    assert!(found.iter().all(|c| c.platform_ok == Some(true) && c.note.is_none()), "{found:?}");
    // One manifest and one configuration; index, one of two entries, its configuration.
    let counts = stage.endpoint().requests();
    assert_eq!((counts.manifests, counts.blobs, counts.heads), (3, 2, 0));
}

#[tokio::test]
async fn reg_9_an_index_is_as_new_as_its_newest_matching_image() {
    let stage = Stage::new().await;
    let entry = |platform: &str, created: &str| {
        let digest = stage.registry.push("team/app", "scratch", created, &[platform]);
        let mut parts = platform.split('/');
        let mut next = || parts.next().unwrap_or_default();
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
               "platform": {"os": next(), "architecture": next(), "variant": next()}})
    };
    let index = json!({"schemaVersion": 2, "manifests": [
        entry("linux/amd64", "2026-01-01T00:00:00Z"), entry("linux/arm64/v8", "2026-03-01T00:00:00Z"),
        entry("linux/arm/v7", "2026-04-01T00:00:00Z"), entry("unknown/unknown", "2026-09-01T00:00:00Z"),
    ]});
    stage.registry.push_manifest("team/app", "x", "application/vnd.oci.image.index.v1+json", index.to_string());
    for (platforms, wanted) in [
        (vec![AMD], "2026-01-01T00:00:00Z"),
        (vec!["linux/arm64"], "2026-03-01T00:00:00Z"),
        (vec![AMD, ARM], "2026-03-01T00:00:00Z"),
        (vec!["linux/arm"], "2026-04-01T00:00:00Z"),
    ] {
        let found = stage.describe(&["x"], Detail::Created, &platforms).await.expect("a candidate");
        assert_eq!(found[0].created, date(wanted), "{platforms:?}");
    }
    for platforms in [vec!["windows/amd64"], vec!["linux/arm/v6"], vec!["unknown/unknown"], vec![]] {
        let found = stage.describe(&["x"], Detail::Created, &platforms).await.expect("a candidate");
        assert_eq!((found[0].platform_ok, found[0].created), (Some(false), None), "{platforms:?}");
    }
}

#[tokio::test]
async fn digest_strategy_is_one_head_reg_7() {
    let stage = Stage::new().await;
    let first = stage.registry.push("team/app", "stable", "2026-01-01T00:00:00Z", &[AMD, ARM]);
    let found = stage.describe(&["stable"], Detail::Digest, &[AMD]).await.expect("a candidate");
    assert_eq!((found[0].digest.as_ref(), found[0].platform_ok), (Some(&first), Some(true)));
    assert_eq!(stage.asked(), ["GET /v2/team/app/manifests/stable 200"]);
    for _ in 0..3 {
        stage.describe(&["stable"], Detail::Digest, &[AMD]).await.expect("a candidate");
        assert_eq!(stage.asked(), ["HEAD /v2/team/app/manifests/stable 200"]);
    }
    let second = stage.registry.push("team/app", "stable", "2026-02-01T00:00:00Z", &[AMD]);
    let found = stage.describe(&["stable"], Detail::Digest, &[AMD]).await.expect("a candidate");
    assert_eq!((found[0].digest.as_ref(), found[0].platform_ok), (Some(&second), Some(true)));
    let asked = stage.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[1].starts_with("GET /v2/team/app/manifests/sha256:") && asked[2].contains("/blobs/"), "{asked:?}");
}

#[tokio::test]
async fn reg_7_get_where_head_does_not_tell() {
    for (label, rejects_head, digest_header) in [("405", true, true), ("no header", false, false)] {
        let stage = Stage::new().await;
        stage.registry.behave(|habits| {
            habits.rejects_head = rejects_head;
            habits.digest_header = digest_header;
        });
        let digest = stage.registry.push("team/app", "a", "2026-01-01T00:00:00Z", &[AMD, ARM]);
        let found = stage.registries.digest(&stage.endpoint(), "team/app", "a", Access::default()).await;
        assert_eq!(found, Ok(digest), "{label}");
        let counts = stage.endpoint().requests();
        assert_eq!((counts.heads, counts.manifests), (1, 1), "{label}");
    }
}

#[tokio::test]
async fn reg_10_metadata_is_asked_once() {
    let stage = Stage::new().await;
    for n in 0..30 {
        stage.registry.push("team/app", &format!("{n:02}"), &format!("2026-01-{:02}T00:00:00Z", n + 1), &[AMD]);
    }
    let tags: Vec<String> = (0..30).map(|n| format!("{n:02}")).collect();
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    let first = stage.describe(&names, Detail::Created, &[AMD]).await.expect("candidates");
    assert!(first.iter().zip(&tags).all(|(c, tag)| c.tag == *tag && c.created.is_some()), "{first:?}");
    assert_eq!(stage.endpoint().requests().total(), 60);
    stage.asked();
    // A second poll looks at the ten newest and the one in use, by HEAD only.
    let desired = ["03".to_owned()];
    let platforms = stage.platforms(&[AMD]);
    let question = Question {
        tags: &tags,
        detail: Detail::Created,
        platforms: &platforms,
        desired: &desired,
        ..Question::default()
    };
    let second = stage.registries.describe(&stage.endpoint(), "team/app", question, Access::default()).await;
    let second: Vec<Candidate> = second.expect("described").iter().map(|d| d.candidate(&platforms)).collect();
    assert_eq!(second, first);
    let mut asked = stage.asked();
    asked.sort();
    let wanted: Vec<String> =
        std::iter::once(3).chain(20..30).map(|n| format!("HEAD /v2/team/app/manifests/{n:02} 200")).collect();
    assert_eq!(asked, wanted);
}

#[tokio::test]
async fn repushed_tag_detected_reg_10() {
    let stage = Stage::new().await;
    for (tag, created) in [("a", "2026-01-01T00:00:00Z"), ("b", "2026-01-02T00:00:00Z")] {
        stage.registry.push("team/app", tag, created, &[AMD]);
    }
    let first = stage.describe(&["a", "b"], Detail::Created, &[AMD]).await.expect("candidates");
    stage.registry.push("team/app", "a", "2026-06-01T00:00:00Z", &[AMD, ARM]);
    let second = stage.describe(&["a", "b"], Detail::Created, &[AMD]).await.expect("candidates");
    assert_eq!(first[1], second[1]);
    assert_eq!(second[0].created, date("2026-06-01T00:00:00Z"));
    assert_ne!(first[0].digest, second[0].digest);
    // Another platform's view of the same digests is right as well.
    let arm = stage.describe(&["a", "b"], Detail::Created, &["linux/arm64"]).await.expect("candidates");
    assert_eq!((arm[0].platform_ok, arm[1].platform_ok), (Some(true), Some(false)));
}

#[tokio::test]
async fn reg_10_a_tag_not_seen_for_a_day_is_looked_at_again() {
    let stage = Stage::new().await;
    let tags: Vec<String> = (0..12).map(|n| format!("{n:02}")).collect();
    for (n, tag) in tags.iter().enumerate() {
        stage.registry.push("team/app", tag, &format!("2026-01-{:02}T00:00:00Z", n + 1), &[AMD]);
    }
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    stage.describe(&names, Detail::Created, &[AMD]).await.expect("candidates");
    // The same memory, a day older: 00 and 01 are not among the ten newest.
    let day_ago = jiff::Timestamp::now().as_second() - 24 * 3600;
    stage.registries.metadata().load(seen_at(&stage, day_ago));
    stage.asked();
    stage.describe(&names, Detail::Created, &[AMD]).await.expect("candidates");
    assert_eq!(stage.asked().len(), 12);
    stage.describe(&names, Detail::Created, &[AMD]).await.expect("candidates");
    assert_eq!(stage.asked().len(), 10);
}

/// What was learnt, as it would be on the disk with every sight at this second.
fn seen_at(stage: &Stage, second: i64) -> Vec<Row> {
    let changes = stage.registries.metadata().take_changes(usize::MAX).into_iter();
    let moved = changes.map(|row| {
        let mut value: serde_json::Value = serde_json::from_slice(&row.value.expect("a value")).expect("JSON");
        if let Some(at) = value.pointer_mut("/Seen/at") {
            *at = second.into();
        }
        Row { key: row.key, value: Some(value.to_string().into_bytes()) }
    });
    moved.collect()
}

#[tokio::test]
async fn reg_10_looks_of_a_day_are_spread_over_hours() {
    let stage = Stage::with("  limit: -1\n", Options::default()).await;
    let tags: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", tags.iter().map(String::as_str));
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    stage.describe(&names, Detail::Created, &[AMD]).await.expect("candidates");
    let learnt = seen_at(&stage, 0);
    let now = jiff::Timestamp::now().as_second();
    let mut looks = Vec::new();
    for hours in [11, 15, 19, 23] {
        let memory = Registries::new(Http::new(Gate::Central), (*stage.registries.conf()).clone(), Options::default());
        let aged = learnt.iter().map(|row| {
            let text = String::from_utf8(row.value.clone().expect("a value")).expect("JSON");
            let text = text.replace("\"at\":0", &format!("\"at\":{}", now - hours * 3600));
            Row { key: row.key, value: Some(text.into_bytes()) }
        });
        memory.metadata().load(aged);
        let endpoint = memory.endpoint_of(&stage.image("team/app"));
        let platforms = stage.platforms(&[AMD]);
        let question = Question { tags: &tags, detail: Detail::Created, platforms: &platforms, ..Question::default() };
        memory.describe(&endpoint, "team/app", question, Access::default()).await.expect("described");
        looks.push(endpoint.requests().heads);
    }
    // The ten newest always; of the others a part by 15 and by 19 hours, and all by 23.
    assert_eq!((looks[0], looks[3]), (10, 200), "{looks:?}");
    assert!(looks[0] < looks[1] && looks[1] < looks[2] && looks[2] < looks[3], "{looks:?}");
}

#[tokio::test]
async fn reg_10_a_quiet_look_is_no_news_for_the_disk() {
    let stage = Stage::new().await;
    for (tag, created) in [("a", "2026-01-01T00:00:00Z"), ("b", "2026-01-02T00:00:00Z")] {
        stage.registry.push("team/app", tag, created, &[AMD]);
    }
    let metadata = stage.registries.metadata();
    stage.describe(&["a", "b"], Detail::Created, &[AMD]).await.expect("candidates");
    // Two sights, two images; what could not be kept is given back and comes again.
    let first = metadata.take_changes(3);
    assert_eq!((first.len(), metadata.changes()), (3, 1));
    metadata.give_back(&first);
    assert_eq!(metadata.take_changes(usize::MAX).len(), 4);
    stage.asked();
    for _ in 0..2 {
        stage.describe(&["a", "b"], Detail::Created, &[AMD]).await.expect("candidates");
        assert_eq!((stage.asked().len(), metadata.changes()), (2, 0));
    }
    stage.registry.push("team/app", "a", "2026-03-01T00:00:00Z", &[AMD]);
    stage.describe(&["a", "b"], Detail::Created, &[AMD]).await.expect("candidates");
    assert_eq!(metadata.take_changes(usize::MAX).len(), 2);
    // Half a day later the time on the disk is renewed, or a restart would look at everything.
    let seen = |at: i64| super::super::metadata::Seen { digest: "sha256:0".into(), at };
    for (at, news) in [(0, 1), (3_600, 0), (12 * 3_600 - 1, 0), (12 * 3_600, 1), (13 * 3_600, 0), (0, 1)] {
        metadata.saw("r", "p", "t", seen(at));
        assert_eq!(metadata.take_changes(9).len(), news, "{at}");
    }
}

#[tokio::test]
async fn cyc_5_what_was_seen_since_the_poll_began_is_not_looked_at_again() {
    let stage = Stage::new().await;
    let tags = ["a".to_owned(), "b".to_owned()];
    stage.registry.push("team/app", "a", "2026-01-01T00:00:00Z", &[AMD]);
    stage.registry.push("team/app", "b", "2026-01-02T00:00:00Z", &[AMD]);
    let platforms = stage.platforms(&[AMD]);
    for (detail, seen_within, requests) in [
        (Detail::Created, Duration::ZERO, 4),
        (Detail::Created, Duration::from_secs(3_600), 0),
        (Detail::Digest, Duration::from_secs(3_600), 0),
        (Detail::Created, Duration::ZERO, 2),
        (Detail::Digest, Duration::ZERO, 2),
    ] {
        let desired = &tags[..1];
        let question =
            Question { tags: &tags, detail, platforms: &platforms, desired, seen_within, from_memory: false };
        stage.registries.describe(&stage.endpoint(), "team/app", question, Access::default()).await.expect("described");
        assert_eq!(stage.asked().len(), requests, "{detail:?} {seen_within:?}");
    }
    // From memory nothing is asked at all.
    let tags = ["a".to_owned(), "new".to_owned()];
    let question = Question {
        tags: &tags,
        detail: Detail::Created,
        platforms: &platforms,
        from_memory: true,
        ..Question::default()
    };
    let described = stage.registries.describe(&stage.endpoint(), "team/app", question, Access::default()).await;
    let described = described.expect("described");
    assert!(stage.asked().is_empty());
    assert_eq!(described[0].candidate(&platforms).created, date("2026-01-01T00:00:00Z"));
    assert!(described[1].note.as_deref().is_some_and(|note| note.contains("not been looked at")), "{described:?}");
}

#[tokio::test]
async fn metadata_cache_survives_restart_reg_10() {
    let stage = Stage::new().await;
    stage.registry.push("team/app", "a", "2026-01-01T00:00:00Z", &[AMD, ARM]);
    stage.registry.push_manifest("team/app", "bad", "application/json", "{}");
    let before = stage.describe(&["a", "bad"], Detail::Created, &[AMD]).await.expect("candidates");
    assert!(before[1].note.is_some());
    let rows = stage.registries.metadata().take_changes(usize::MAX);
    assert!(stage.registries.metadata().take_changes(usize::MAX).is_empty());
    stage.asked();

    let fresh = Registries::new(Http::new(Gate::Central), (*stage.registries.conf()).clone(), Options::default());
    let garbage = Row { key: [7; 16], value: Some(b"not json".to_vec()) };
    fresh.metadata().load(rows.into_iter().chain([garbage]));
    // What nobody can read is removed where it was kept.
    assert_eq!(fresh.metadata().take_changes(9), [Row { key: [7; 16], value: None }]);
    let stage = Stage { registry: stage.registry, registries: fresh };
    let after = stage.describe(&["a", "bad"], Detail::Created, &[AMD]).await.expect("candidates");
    assert_eq!(after, before);
    assert_eq!(stage.asked(), ["HEAD /v2/team/app/manifests/a 200"]);
}

#[test]
fn reg_10_the_cache_is_bounded_and_keeps_what_is_used() {
    let metadata = Metadata::new(100);
    let seen = |n: i64| crate::adapters::registry::metadata::Seen { digest: format!("sha256:{n}"), at: n };
    metadata.saw("r", "p", "used", seen(0));
    for n in 0..1_000 {
        metadata.saw("r", "p", &format!("t{n}"), seen(n));
        assert!(metadata.tag("r", "p", "used").is_some(), "{n}");
        assert!(metadata.len() <= 100, "{n}");
    }
    assert!(metadata.tag("r", "p", "t999").is_some() && metadata.tag("r", "p", "t1").is_none());
    // The disk follows: what was forgotten is removed there, and more than fits is not taken over.
    let rows = metadata.take_changes(usize::MAX);
    let kept: Vec<Row> = rows.iter().filter(|row| row.value.is_some()).cloned().collect();
    assert_eq!((rows.len(), kept.len()), (1_001, metadata.len()));
    let smaller = Metadata::new(10);
    smaller.load(kept.iter().cloned());
    let gone = smaller.take_changes(usize::MAX);
    assert!(smaller.len() <= 10 && gone.iter().all(|row| row.value.is_none()));
    assert_eq!(gone.len(), kept.len() - smaller.len());
    assert!(metadata.tag("other", "p", "t999").is_none() && metadata.tag("r", "other", "t999").is_none());
}

#[tokio::test]
async fn tag_7_labels_of_the_matching_image() {
    let stage = Stage::new().await;
    stage.registry.push("team/app", "1.2.3", "2026-01-01T00:00:00Z", &[AMD, ARM]);
    let platforms = stage.platforms(&[AMD]);
    let tags = ["1.2.3".to_owned()];
    let question = Question { tags: &tags, detail: Detail::Created, platforms: &platforms, ..Question::default() };
    let found = stage.registries.describe(&stage.endpoint(), "team/app", question, Access::default()).await;
    let labels = found.expect("described")[0].labels(&platforms);
    assert_eq!(labels.get("org.opencontainers.image.version").map(String::as_str), Some("1.2.3"));
}

#[tokio::test]
async fn tag_6_names_cost_nothing() {
    let stage = Stage::new().await;
    let found = stage.describe(&["a", "b"], Detail::Names, &[AMD]).await.expect("candidates");
    assert_eq!(found, [Candidate::named("a"), Candidate::named("b")]);
    assert!(stage.registry.log().is_empty());
}

#[tokio::test]
async fn reg_9_a_defect_of_one_tag_drops_that_tag_with_a_reason() {
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let index = "application/vnd.oci.image.index.v1+json";
    let stage = Stage::new().await;
    let push = |tag: &str, kind: &str, body: serde_json::Value| {
        stage.registry.push_manifest("team/app", tag, kind, body.to_string());
    };
    stage.registry.push("team/app", "good", "2026-01-01T00:00:00Z", &[AMD]);
    let zero = format!("sha256:{}", "0".repeat(64));
    push("schema1", "application/vnd.docker.distribution.manifest.v1+prettyjws", json!({"schemaVersion": 1}));
    push("both", docker, json!({"schemaVersion": 2, "config": {"digest": zero}, "manifests": []}));
    push("empty", index, json!({"schemaVersion": 2, "manifests": []}));
    push(
        "crowd",
        index,
        json!({"manifests": vec![json!({"digest": zero, "platform": {"os": "linux", "architecture": "amd64"}}); 257]}),
    );
    push("odd-digest", index, json!({"manifests": [{"digest": "sha256:../../x"}]}));
    push("no-config", docker, json!({"config": {"digest": zero}}));
    push("artifact", "application/vnd.example+json", json!({"schemaVersion": 2}));
    let config = stage.registry.push_blob("team/app", r#"{"os":"linux","architecture":"amd64"}"#);
    push("undated", docker, json!({"config": {"digest": config}}));
    let config = stage.registry.push_blob("team/app", r#"{"os":"linux","architecture":"amd64","created":"yesterday"}"#);
    push("misdated", docker, json!({"config": {"digest": config}}));
    let config = stage.registry.push_blob("team/app", "[]");
    push("odd-config", docker, json!({"config": {"digest": config}}));
    // Index in index is fine, a third level is not.
    let leaf = stage.registry.push("team/app", "leaf", "2026-01-01T00:00:00Z", &[AMD]);
    let inner = json!({"manifests": [{"digest": leaf, "platform": {"os": "linux", "architecture": "amd64"}}]});
    let two = stage.registry.push_untagged("team/app", index, inner.to_string());
    let nest = |digest: &str| json!({"manifests": [{"mediaType": index, "digest": digest}]});
    push("depth2", index, nest(&two));
    let three = stage.registry.push_untagged("team/app", index, nest(&two).to_string());
    push("depth3", index, nest(&three));
    for (tag, reason) in [
        ("good", None),
        ("schema1", Some("schema 1")),
        ("both", Some("an image and an index at once")),
        ("empty", Some("index is empty")),
        ("crowd", Some("more than 256")),
        ("odd-digest", Some("invalid digest")),
        ("no-config", Some("not found")),
        ("artifact", Some("no image (application/vnd.example+json)")),
        ("undated", Some("holds no date")),
        ("misdated", Some("holds no date")),
        ("odd-config", Some("not readable")),
        ("gone", Some("not found")),
        ("depth2", None),
        ("depth3", None),
    ] {
        let found =
            stage.describe(&[tag, "good"], Detail::Created, &[AMD]).await.unwrap_or_else(|e| panic!("{tag}: {e}"));
        let note = found[0].note.as_deref();
        match reason {
            Some(reason) => assert!(note.is_some_and(|note| note.contains(reason)), "{tag}: {note:?}"),
            None => assert_eq!(note, None, "{tag}"),
        }
        assert_eq!((found[1].note.as_ref(), found[1].created), (None, date("2026-01-01T00:00:00Z")), "{tag}");
        if tag == "depth2" {
            assert_eq!(found[0].created, date("2026-01-01T00:00:00Z"));
        }
        if tag == "depth3" {
            assert_eq!(found[0].platform_ok, Some(false));
        }
    }
}

#[tokio::test]
async fn reg_8_what_is_not_what_its_digest_says_is_not_believed() {
    let other = format!("sha256:{}", "a".repeat(64));
    for (label, on, fault) in [
        ("header of another manifest", On::Manifest, Fault::Headers(vec![("docker-content-digest", other)])),
        ("header of unknown kind", On::Manifest, Fault::Headers(vec![("docker-content-digest", "md5:abc".into())])),
        ("body of another manifest", On::Manifest, Fault::Swapped),
        ("body of another configuration", On::Blob, Fault::Swapped),
    ] {
        let stage = Stage::new().await;
        stage.registry.push("team/app", "a", "2026-01-01T00:00:00Z", &[AMD]);
        stage.registry.script(on, fault);
        let found = stage.describe(&["a"], Detail::Created, &[AMD]).await.expect("a candidate");
        assert!(found[0].note.as_deref().is_some_and(|note| note.contains("is not what digest")), "{label}: {found:?}");
        assert_eq!(found[0].created, None, "{label}");
        // It is not remembered: the next look is right.
        let found = stage.describe(&["a"], Detail::Created, &[AMD]).await.expect("a candidate");
        assert_eq!(found[0].note, None, "{label}");
    }
}

#[tokio::test]
async fn inv_4_a_failure_that_may_hit_any_tag_fails_the_question() {
    for (label, fault, times, kind) in [
        ("throttled", Fault::throttle("60"), 1, "registry-rate-limited"),
        ("denied", Fault::status(403), 2, "registry-auth"),
        ("cut", Fault::Truncate(10), 3, "registry-unreachable"),
    ] {
        let stage = Stage::new().await;
        stage.registry.push("team/app", "a", "2026-01-01T00:00:00Z", &[AMD]);
        stage.registry.script_times(times, On::Manifest, &fault);
        let error = stage.describe(&["a"], Detail::Created, &[AMD]).await.expect_err(label);
        assert_eq!(error.kind(), kind, "{label}: {error}");
    }
}

#[tokio::test]
async fn reg_9_at_most_twenty_requests_are_in_flight() {
    let stage = Stage::with("  limit: -1\n", Options::default()).await;
    let tags: Vec<String> = (0..60).map(|n| format!("{n:02}")).collect();
    for tag in &tags {
        stage.registry.push("team/app", tag, "2026-01-01T00:00:00Z", &[AMD]);
    }
    // The first twenty wait for each other: fewer at once would wait for ever, more would be seen.
    let barrier = Arc::new(tokio::sync::Barrier::new(20));
    stage.registry.script_times(20, On::Manifest, &Fault::Together(barrier));
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    let looked = stage.describe(&names, Detail::Created, &[AMD]);
    let found = tokio::time::timeout(Duration::from_secs(300), looked).await.expect("twenty at once");
    assert_eq!((found.expect("candidates").len(), stage.registry.most_at_once()), (60, 20));
}
