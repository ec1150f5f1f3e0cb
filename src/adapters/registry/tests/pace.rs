//! REG-11, REG-12 and `limit`: silence, budgets, retries, rates.

use super::*;
use crate::adapters::registry::limiter::{Limiter, Patience};
use crate::config::registries::Limit;
use crate::core::retry::Retry;
use crate::demo::registry::{Fault, On};
use std::time::Instant;

fn impatient() -> Options {
    Options { patience: Duration::ZERO, ..Options::default() }
}

#[tokio::test]
async fn retry_after_silence_reg_11() {
    for status in [429, 503] {
        let stage = Stage::with("", impatient()).await;
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
        stage.registry.script(On::Tags, Fault::Status(status, vec![("retry-after", "30".into())]));
        let error = stage.tags("team/app").await.expect_err("throttled");
        assert_eq!(error.kind(), "registry-rate-limited", "{status}");
        let Retry::After(wait) = error.retry() else { panic!("{error:?}") };
        assert!(wait > Duration::from_secs(28) && wait <= Duration::from_secs(30), "{wait:?}");
        // Nothing more is sent, for any repository.
        for path in ["team/app", "team/other"] {
            assert_eq!(stage.tags(path).await.expect_err("silence").kind(), "registry-rate-limited");
        }
        assert_eq!(stage.registry.log().len(), 1);
        assert_eq!(stage.endpoint().requests().throttled, 1);
        // Another credential is not concerned (its state is its own).
        let other = credential("bot", "hunter2");
        assert!(stage.list("team/app", Access::from(Some(&other))).await.is_ok());
    }
}

#[tokio::test]
async fn reg_11_a_date_is_understood_too() {
    let stage = Stage::with("", impatient()).await;
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    let at = jiff::Timestamp::now() + Duration::from_secs(120);
    let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    stage.registry.script(On::Tags, Fault::throttle(&date));
    let error = stage.tags("team/app").await.expect_err("throttled");
    let Retry::After(wait) = error.retry() else { panic!("{error:?}") };
    assert!(wait > Duration::from_secs(110) && wait <= Duration::from_secs(120), "{wait:?}");
}

#[tokio::test]
async fn reg_11_a_short_silence_is_waited_for() {
    let stage = Stage::new().await;
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    stage.registry.script(On::Tags, Fault::throttle("1"));
    assert_eq!(stage.tags("team/app").await.expect("a listing"), ["a"]);
    let log = stage.registry.log();
    assert_eq!(log.len(), 2);
    assert!(log[1].at.duration_since(log[0].at) >= Duration::from_secs(1));
}

#[tokio::test]
async fn reg_11_head_429_is_never_answered_by_a_get() {
    let stage = Stage::with("", impatient()).await;
    stage.registry.push("team/app", "a", "2026-01-01T00:00:00Z", &["linux/amd64"]);
    stage.registry.script(On::Head, Fault::throttle("60"));
    let error = stage.registries.digest(&stage.endpoint(), "team/app", "a", Access::default()).await;
    assert_eq!(error.expect_err("throttled").kind(), "registry-rate-limited");
    assert_eq!(stage.asked(), ["HEAD /v2/team/app/manifests/a 429"]);
}

#[test]
fn reg_11_without_a_time_the_wait_doubles_to_five_minutes() {
    let now = tokio::time::Instant::now();
    let mut patience = Patience::default();
    for (nth, seconds) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (40, 300)] {
        let mut fresh = Patience::default();
        let mut at = now;
        for _ in 0..nth {
            at += fresh.silence(false, at).unwrap_or_default();
            assert!(fresh.throttled(None, 1.0, at), "{nth}");
            // Nineteen more that were on their way.
            assert!((0..19).all(|_| !fresh.throttled(None, 1.0, at)), "{nth}");
        }
        assert_eq!(fresh.silence(false, at), Some(Duration::from_secs(seconds)), "{nth}");
    }
    patience.throttled(Some(Duration::from_secs(5)), 0.0, now);
    assert_eq!(patience.silence(true, now), Some(Duration::from_secs(5)));
    assert_eq!(patience.silence(true, now + Duration::from_secs(5)), None);
    // A later, shorter wait does not shorten the silence.
    patience.throttled(Some(Duration::from_secs(60)), 0.0, now);
    patience.throttled(Some(Duration::from_secs(1)), 0.0, now);
    assert_eq!(patience.silence(false, now), Some(Duration::from_secs(60)));
    patience.throttled(Some(Duration::from_secs(1_000_000)), 0.0, now);
    assert_eq!(patience.silence(false, now), Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn docker_hub_budget_reg_11() {
    let stage = Stage::with("", impatient()).await;
    stage.registry.behave(|habits| habits.budget = Some((100, 12)));
    for tag in ["1", "2", "3", "4"] {
        stage.registry.push("team/app", tag, "2026-01-01T00:00:00Z", &["linux/amd64"]);
    }
    // 11 left after the first, 10 after the second: a tenth.
    stage.describe(&["1"], Detail::Created, &["linux/amd64"]).await.expect("a candidate");
    assert_eq!(stage.endpoint().budget_remaining(), Some(11));
    stage.describe(&["2"], Detail::Created, &["linux/amd64"]).await.expect_err("its configuration is not fetched");
    assert_eq!(stage.endpoint().budget_remaining(), Some(10));
    stage.asked();
    let error = stage.describe(&["3"], Detail::Created, &["linux/amd64"]).await.expect_err("the budget is low");
    assert_eq!(error.kind(), "registry-rate-limited");
    assert!(stage.asked().is_empty());
    // The tag in use is asked about all the same, and so is what a webhook names.
    let tags = ["1".to_owned()];
    let platforms = stage.platforms(&["linux/amd64"]);
    let question =
        Question { tags: &tags, detail: Detail::Created, platforms: &platforms, desired: &tags, ..Question::default() };
    let found = stage.registries.describe(&stage.endpoint(), "team/app", question, Access::default()).await;
    assert_eq!(found.expect("described").len(), 1);
    assert_eq!(stage.asked(), ["HEAD /v2/team/app/manifests/1 200"]);
    let image = stage.image("team/app");
    let urgent = Access { credential: None, urgent: true };
    let platforms = stage.platforms(&["linux/amd64"]);
    let found = stage.registries.candidates(&image, &["3".to_owned()], Detail::Created, &platforms, urgent).await;
    assert_eq!(found.expect("a candidate").len(), 1);
}

#[test]
fn reg_11_budgets_end_with_their_window() {
    let now = tokio::time::Instant::now();
    let headers = |pairs: &[(&str, &str)]| {
        let mut headers = crate::adapters::http::HeaderMap::new();
        for (name, value) in pairs {
            let name: crate::adapters::http::HeaderName = name.parse().expect("a name");
            headers.insert(name, value.parse().expect("a value"));
        }
        headers
    };
    let hub = headers(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "10;w=21600")]);
    let draft = headers(&[("ratelimit-limit", "100"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "50")]);
    for (label, headers, seconds) in [
        ("Docker Hub", &hub, Some(21_600)),
        ("draft", &draft, Some(50)),
        ("plenty", &headers(&[("ratelimit-limit", "100"), ("ratelimit-remaining", "11")]), None),
        ("no limit said", &headers(&[("ratelimit-remaining", "0")]), None),
        ("limit 0", &headers(&[("ratelimit-limit", "0"), ("ratelimit-remaining", "0")]), None),
        ("garbage", &headers(&[("ratelimit-limit", "lots"), ("ratelimit-remaining", "-5")]), None),
    ] {
        let mut patience = Patience::default();
        patience.answered(headers, now);
        assert_eq!(patience.silence(false, now), seconds.map(Duration::from_secs), "{label}");
        assert_eq!(patience.silence(true, now), None, "{label}");
        assert_eq!(patience.silence(false, now + Duration::from_secs(21_601)), None, "{label}");
    }
    // A rolling window does not move on with every answer.
    let mut patience = Patience::default();
    patience.answered(&hub, now);
    patience.answered(&hub, now + Duration::from_secs(600));
    assert_eq!(patience.silence(false, now + Duration::from_secs(600)), Some(Duration::from_secs(21_000)));
}

#[tokio::test]
async fn reg_12_two_retries_then_it_is_said() {
    let stage = Stage::new().await;
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    stage.registry.script_times(2, On::Tags, &Fault::status(500));
    assert_eq!(stage.tags("team/app").await.expect("third time lucky"), ["a"]);
    assert_eq!(stage.registry.log().len(), 3);
    stage.registry.clear_log();
    stage.registry.script_times(5, On::Tags, &Fault::status(502));
    let error = stage.tags("team/app").await.expect_err("an outage");
    assert_eq!((error.kind(), error.retry()), ("registry-unreachable", Retry::Backoff));
    assert_eq!(stage.registry.log().len(), 3);
    assert_eq!(stage.endpoint().requests().failed, 5);
}

#[tokio::test]
async fn reg_12_a_dead_registry_is_unreachable() {
    let stage = Stage::new().await;
    let endpoint = stage.endpoint();
    drop(stage.registry);
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        // The stand-in's socket closes a moment after it was dropped.
        match stage.registries.tags(&endpoint, "team/app", Access::default()).await {
            Err(error @ Error::Unreachable { .. }) => break error,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    };
    assert_eq!((error.kind(), error.retry()), ("registry-unreachable", Retry::Backoff));
}

#[tokio::test]
async fn reg_3_a_faulty_entry_asks_nothing() {
    let stage = Stage::with("  limit: much\n", Options::default()).await;
    let error = stage.tags("team/app").await.expect_err("a fault");
    assert_eq!(error.kind(), "config-invalid");
    assert!(stage.registry.log().is_empty());
    let stage = Stage::with("  ca_file: /nonexistent/ca.pem\n", Options::default()).await;
    assert!(stage.tags("team/app").await.expect_err("no file").to_string().contains("ca_file"));
}

#[tokio::test]
async fn reg_3_reload_keeps_what_did_not_change() {
    let stage = Stage::new().await;
    let before = stage.endpoint();
    let text = format!("registries:\n{}", stage.registry.entry());
    stage.registries.reload(conf::Registries::parse(&text).expect("a file"));
    assert!(Arc::ptr_eq(&before, &stage.endpoint()));
    stage.registries.reload(conf::Registries::parse(&format!("{text}  limit: 5\n")).expect("a file"));
    assert!(!Arc::ptr_eq(&before, &stage.endpoint()));
    assert_eq!(stage.endpoint().rate(), Some(5.0));
}

#[tokio::test(start_paused = true)]
async fn reg_11_a_fixed_limit_spaces_requests_and_an_adaptive_one_gives_way() {
    let fixed = Limiter::new(Limit::Fixed(10.0));
    let begun = tokio::time::Instant::now();
    for _ in 0..31 {
        fixed.turn().await;
    }
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(2_900) && taken <= Duration::from_millis(3_100), "{taken:?}");

    let unlimited = Limiter::new(Limit::Unlimited);
    let begun = tokio::time::Instant::now();
    for _ in 0..1_000 {
        unlimited.turn().await;
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);

    let adaptive = Limiter::new(Limit::Adaptive);
    assert_eq!(adaptive.rate(), Some(100.0));
    adaptive.throttled();
    adaptive.throttled();
    assert_eq!(adaptive.rate(), Some(25.0));
    tokio::time::advance(Duration::from_secs(61)).await;
    adaptive.turn().await;
    assert!(adaptive.rate().is_some_and(|rate| (27.4..27.6).contains(&rate)), "{:?}", adaptive.rate());
    tokio::time::advance(Duration::from_secs(3600)).await;
    adaptive.turn().await;
    assert_eq!(adaptive.rate(), Some(100.0));
    for _ in 0..50 {
        adaptive.throttled();
    }
    assert_eq!(adaptive.rate(), Some(1.0));
    fixed.throttled();
    assert_eq!(fixed.rate(), Some(10.0));
}

#[tokio::test]
async fn compat_q6_an_unset_limit_adapts_and_minus_one_is_upstreams_none() {
    for (line, rate) in [
        ("", Some(100.0)),
        ("  limit: 0\n", Some(100.0)),
        ("  limit: 20\n", Some(20.0)),
        ("  limit: 0.5\n", Some(0.5)),
        ("  limit: -1\n", None),
    ] {
        let stage = Stage::with(line, Options::default()).await;
        assert_eq!(stage.endpoint().rate(), rate, "{line:?}");
        let problems = &stage.registries.conf().problems;
        let notice = problems.iter().any(|problem| problem.code == "registry-unlimited");
        assert_eq!(notice, rate.is_none(), "{line:?}: {problems:?}");
    }
    // One not configured adapts as well (upstream: 20 a second); throttling halves the rate of those that adapt only.
    for (line, after) in [("", Some(50.0)), ("  limit: 20\n", Some(20.0)), ("  limit: -1\n", None)] {
        let stage = Stage::with(line, impatient()).await;
        stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
        stage.registry.script(On::Tags, Fault::throttle("30"));
        stage.tags("team/app").await.expect_err("throttled");
        assert_eq!(stage.endpoint().rate(), after, "{line:?}");
    }
    let inferred = ImageRef::parse_reference("registry.example.com/x").expect("a reference");
    let registries = Registries::new(Http::new(Gate::Central), conf::Registries::builtin(), Options::default());
    assert_eq!(registries.endpoint_of(&inferred).rate(), Some(100.0));
}

#[tokio::test]
async fn reg_11_every_request_is_observed_and_the_budget_known() {
    let seen: Arc<Mutex<Vec<(String, bool, bool)>>> = Arc::default();
    let told = seen.clone();
    let observe = move |request: &Observed<'_>| {
        told.lock().unwrap().push((request.registry.to_owned(), request.answered, request.throttled));
    };
    let stage = Stage::with("", Options { observe: Some(Arc::new(observe)), ..impatient() }).await;
    stage.registry.behave(|habits| habits.budget = Some((100, 90)));
    stage.registry.push("team/app", "a", "2026-01-01T00:00:00Z", &["linux/amd64"]);
    stage.describe(&["a"], Detail::Created, &["linux/amd64"]).await.expect("a candidate");
    stage.registry.script(On::Tags, Fault::status(500));
    stage.tags("team/app").await.expect("the second try");
    stage.registry.script(On::Tags, Fault::throttle("30"));
    stage.tags("team/app").await.expect_err("throttled");
    let seen = seen.lock().unwrap().clone();
    let host = stage.registry.host();
    assert!(seen.iter().all(|(registry, ..)| *registry == host), "{seen:?}");
    let outcomes: Vec<(bool, bool)> = seen.iter().map(|(_, answered, throttled)| (*answered, *throttled)).collect();
    // Manifest, configuration, the failure, its second try, the one that was throttled.
    assert_eq!(outcomes, [(true, false), (true, false), (false, false), (true, false), (true, true)]);
    assert_eq!(stage.endpoint().budget_remaining(), Some(89));
}
