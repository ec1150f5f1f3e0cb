//! When the image half works, and how it ends: what wakes it, a clock that jumps, SIGTERM in the middle of a push; and
//! what it logs and counts meanwhile (image-updates.md CYC-1, CYC-3, CYC-4, OBS-3, OBS-4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{ARGO, PREFIX, Stage, application};
use crate::support::control_plane::Ns;
use crate::support::house::House;
use crate::support::real::{Fault, Hook};
use crate::support::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

async fn one(stage: &Stage, label: &str, interval: &str) -> (Ns, House) {
    stage.push("web", &["1.0.0"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let (ns, house) = stage.installed(label, interval).await;
    ns.apply_json(stage.helm_app("web", "~1.0")).await;
    (ns, house)
}

async fn commits(stage: &Stage, count: usize) {
    let there = || async { (stage.repository.log("main").len() >= count).then_some(()) };
    wait_for("the commits", PATIENCE, there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_1_a_changed_application_is_looked_at_alone_and_at_once() {
    let stage = Stage::new().await;
    let (ns, house) = one(&stage, "event", "1h").await;
    stage.push("other", &["1.0.0"]).await;
    let list = format!("app={}:~1.0", stage.image("other"));
    let live = format!("{}:1.0.0", stage.image("other"));
    let annotations = [("image-list", list.as_str()), ("write-back-method", "argocd")];
    ns.apply_json(application("other", &stage.url(), "apps/other", &annotations, &[&live])).await;
    let house = house.with(["--warmup-cache=true"]);
    house.start().await;
    house.until("both are looked at", |status| status["rounds"].as_u64() >= Some(2)).await;
    stage.tag("web", "1.1.0").await;
    stage.front.requests();
    let changed = Instant::now();
    let list = format!("app={}:~1.1", stage.image("web"));
    ns.patch(
        ARGO,
        "Application",
        "web",
        &json!({ "metadata": { "annotations": { format!("{PREFIX}image-list"): list } } }),
    )
    .await;
    commits(&stage, 2).await;
    assert!(changed.elapsed() < Duration::from_secs(20), "{:?}", changed.elapsed());
    let asked = stage.front.requests();
    assert!(asked.iter().any(|r| r.contains("team/web/tags")), "{asked:?}");
    assert!(!asked.iter().any(|r| r.contains("team/other")), "its neighbour is left alone: {asked:?}");
    // Its state says nothing about its images: no look.
    ns.patch(ARGO, "Application", "web", &json!({ "status": { "sync": { "status": "OutOfSync" } } })).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.front.requests(), [""; 0]);
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn compat_q23_the_first_look_decides_without_a_warm_up() {
    let stage = Stage::new().await;
    let (_, house) = one(&stage, "no-warm-up", "1h").await;
    stage.tag("web", "1.0.1").await;
    let house = house.with(["--warmup-cache=true"]);
    stage.front.requests();
    house.start().await;
    commits(&stage, 2).await;
    let asked = stage.front.requests();
    let lists = asked.iter().filter(|request| request.contains("/tags/list")).count();
    assert_eq!(lists, 1, "listed once, and written by that: {asked:?}");
    assert!(house.log().contains("--warmup-cache: no effect"), "{}", house.log());
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_3_told_to_stop_a_running_push_ends_or_is_left_in_time() {
    // How long the push takes, and whether it ends in the time there is.
    for (label, lasts, ends) in [("stop-short", 3, true), ("stop-long", 15, false)] {
        let stage = Stage::new().await;
        let (_, house) = one(&stage, label, "1s").await;
        house.start().await;
        house.rounds(1).await;
        let left = Arc::new(AtomicBool::new(false));
        let seen = left.clone();
        let hook = Hook::new(move || seen.store(true, Ordering::SeqCst));
        stage.git.fail_next(Fault::BeforePush(hook, Duration::from_secs(lasts)));
        stage.tag("web", "1.0.1").await;
        wait_for("the push leaves", PATIENCE, || async { left.load(Ordering::SeqCst).then_some(()) }).await;
        if ends {
            stage.tag("web", "1.0.2").await;
        }
        let told = Instant::now();
        assert_eq!(house.stop().await, 0, "{label}: {}", house.log());
        let took = told.elapsed();
        assert!(took < Duration::from_millis(9_900), "{label}: {took:?}: a kubelet kills after ten seconds");
        assert_eq!(took < Duration::from_secs(7), ends, "{label}: {took:?}");
        assert_eq!(stage.repository.log("main").len(), if ends { 2 } else { 1 }, "{label}: no new write");
        // Whatever became of it: each once.
        house.start().await;
        let all = if ends { 3 } else { 2 };
        commits(&stage, all).await;
        house.rounds(3).await;
        let told = || async { (house.events("committed").await.len() == all - 1).then_some(()) };
        wait_for("it is told", PATIENCE, told).await;
        assert_eq!(stage.repository.log("main").len(), all, "{label}");
        assert_eq!(house.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_4_a_clock_that_jumps_a_day_brings_no_burst() {
    let stage = Stage::new().await;
    let (_, house) = one(&stage, "clock", "2s").await;
    let library = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    let mut library =
        library.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    let library = library.next().expect("libfaketime is installed by tests/setup").display().to_string();
    let clock = house.file("clock", "+0\n");
    let house = house
        .variable("LD_PRELOAD", &library)
        .variable("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .variable("DONT_FAKE_MONOTONIC", "1");
    house.start().await;
    house.rounds(1).await;
    for (n, jump) in ["+0", "+24h", "-24h", "+0"].into_iter().enumerate() {
        std::fs::write(&clock, format!("{jump}\n")).expect("the clock");
        let before = house.status().await.expect("a status")["rounds"].as_u64().expect("a number");
        stage.tag("web", &format!("1.0.{}", n + 1)).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let status = house.status().await.expect("a status");
        let rounds = status["rounds"].as_u64().expect("a number") - before;
        // Every two seconds, a tenth more or less; and one for what was written.
        assert!((2..=6).contains(&rounds), "{rounds} rounds after {jump}");
        assert_eq!(status["leader"]["role"], "leader", "{jump}");
    }
    commits(&stage, 5).await;
    assert_eq!(stage.repository.log("main").len(), 5, "each once");
    assert_eq!(house.stop().await, 0, "{}", house.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn section_23_status_obs_3_obs_4_lines_name_what_was_decided_and_labels_stay_few() {
    let stage = Stage::new().await;
    let (ns, house) = one(&stage, "lines", "1s").await;
    let house = house.with(["--logformat=json"]);
    stage.tag("web", "1.0.1").await;
    house.start().await;
    commits(&stage, 2).await;
    house.rounds(2).await;
    let log = house.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let decided: Vec<&Value> = lines.iter().filter(|line| line["message"] == "committed").collect();
    assert_eq!(decided.len(), 1, "{log}");
    let host = stage.front.host();
    for (field, value) in [
        ("application", format!("{}/web", ns.name)),
        ("image_name", format!("{host}/team/web")),
        ("image_alias", "app".to_owned()),
        ("image_tag", "1.0.1".to_owned()),
        ("image_registry", host),
        ("image_digest", String::new()),
    ] {
        assert_eq!(decided[0][field], value, "{field}: {}", decided[0]);
    }
    let summaries: Vec<&Value> = lines.iter().filter(|line| !line["images_considered"].is_null()).collect();
    assert_eq!(summaries.len(), 1, "only of a round in which something changed: {log}");
    for (field, value) in
        [("applications", 1), ("images_considered", 1), ("images_skipped", 0), ("images_updated", 1), ("errors", 0)]
    {
        assert_eq!(summaries[0][field], value, "{field}: {}", summaries[0]);
    }

    // The same for a terminal.
    let told = house.command(&["status", "--daemon", &house.daemon()]).await;
    assert_eq!(told.code, 0, "{told:?}");
    let pushed = format!("main {}", &stage.repository.tip("main").expect("a branch")[..9]);
    for part in [
        "ready\n",
        "images are written here",
        "1 applications governed",
        "1 images: 1 up-to-date",
        &pushed,
        "next rounds",
    ] {
        assert!(told.out.contains(part), "{part}: {}", told.out);
    }
    assert!(!told.out.contains("robot") && !told.out.contains("secret"), "{}", told.out);
    let json = house.command(&["status", "-o", "json", "--daemon", &house.daemon()]).await.json();
    for key in ["applications", "images", "problems", "outbox", "pushes", "nextRounds", "rounds", "leader", "notReady"]
    {
        assert!(json.get(key).is_some(), "{key}: {json}");
    }
    // And explain takes from it what it cannot know itself.
    let own = ["explain", "web", "-o", "json", "--daemon", &house.daemon()].map(str::to_owned);
    let explained = house.command(&[&own[..], &house.arguments()].concat()).await;
    assert_eq!(explained.code, 0, "{explained:?}");
    let image = &explained.json()["images"][0];
    assert!(image["nextPoll"].is_string() && image["lastChange"]["branch"] == "main", "{image}");
    assert_eq!(house.command(&["status", "--daemon", "127.0.0.1:1"]).await.code, 1);
    assert_eq!(house.command(&["status", "--daemon", "ftp://h"]).await.code, 64);

    let metrics = house.metrics().await;
    let labels: Vec<&str> =
        metrics.lines().filter_map(|line| line.split_once('{')?.1.split_once('}')).map(|(l, _)| l).collect();
    assert!(labels.len() > 10, "{metrics}");
    for label in &labels {
        for part in ["1.0.0", "1.0.1", "sha256:", "robot", "secret@", "updates image"] {
            assert!(!label.contains(part), "{part} in {label}");
        }
    }
    // More tags bring no more series.
    let series = metrics.lines().filter(|line| !line.starts_with('#')).count();
    for n in 2..=4 {
        stage.tag("web", &format!("1.0.{n}")).await;
        commits(&stage, n + 1).await;
    }
    let after = house.metrics().await.lines().filter(|line| !line.starts_with('#')).count();
    assert!(after <= series + 6, "{series} series became {after}");
    assert_eq!(house.stop().await, 0);
}
