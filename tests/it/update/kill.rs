//! Updates under continuous load, the daemon killed at random moments and at the named steps of a push, and started
//! again in place; at the end the ledgers are compared. `LYNCEUS_KILLS` and `LYNCEUS_SEED` choose how often and which.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{ARGO, PREFIX, Stage};
use crate::support::control_plane::Ns;
use crate::support::house::{House, WALL_ONLY};
use crate::support::real::{Fault, Hook, Repository};
use crate::support::wait_for;

/// Applications whose values are in Git.
const IN_GIT: [&str; 4] = ["api", "shop", "web", "worker"];

/// The one that is patched.
const PATCHED: &str = "patched";

/// How long a new tag may take to arrive with a daemon that is killed all the time: generous, as a machine busy with
/// something else gives each life of the daemon a smaller part of a round.
const ARRIVES: Duration = Duration::from_secs(180);

/// How long a life may take to come to the call that ends it; then it is ended as it is.
const LIFE: Duration = Duration::from_secs(10);

/// The daemon ends within this time when it is told to (CYC-3), and the machine may be slow.
const DRAINS: Duration = Duration::from_secs(12);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a number"))
}

/// The load and what it wants to find in the end.
struct Load {
    stage: Stage,
    ns: Ns,
    stop: AtomicBool,
    /// Tags pushed to the registry, by Application.
    wanted: Mutex<BTreeMap<&'static str, Vec<String>>>,
    /// Commits of the foreign writer.
    foreign: Mutex<Vec<String>>,
}

impl Load {
    /// New tags of one Application, each after the one before has arrived.
    async fn push_tags(&self, name: &'static str) {
        for n in 1.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let tag = format!("1.0.{n}");
            self.wanted.lock().unwrap().entry(name).or_default().push(tag.clone());
            self.stage.tag(name, &tag).await;
            wait_for(&format!("{name} {tag} arrives"), ARRIVES, || async {
                tokio::time::sleep(Duration::from_millis(80)).await;
                self.value(name).await.contains(&tag).then_some(())
            })
            .await;
        }
    }

    /// What the desired state says, as text that holds the tag.
    async fn value(&self, name: &str) -> String {
        if name != PATCHED {
            return self.stage.repository.read("main", &format!("apps/{name}/values.yaml"));
        }
        let app = self.ns.object(ARGO, "Application", name).await.expect("it is there");
        app["spec"]["source"]["helm"].to_string()
    }

    /// Somebody else commits to the same branch, also to the same files.
    async fn write_foreign(&self) {
        for n in 1.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let file = format!("apps/{}/values.yaml", IN_GIT[n % IN_GIT.len()]);
            let own = |text: &str| {
                let line = text.lines().find(|line| line.starts_with("replicas:")).expect("the line");
                text.replace(line, &format!("replicas: {n}   # two"))
            };
            let commit = foreign_commit(&self.stage.repository, &file, &own, n);
            self.foreign.lock().unwrap().push(commit);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Changes one file at the newest tip, and again if the branch moved meanwhile, as a person with `git` would.
fn foreign_commit(repository: &Repository, file: &str, change: &dyn Fn(&str) -> String, n: usize) -> String {
    for attempt in 0.. {
        let tip = repository.tip("main").expect("a branch");
        let branch = format!("foreign-{n}-{attempt}");
        repository.git(&["update-ref", &format!("refs/heads/{branch}"), &tip]);
        let text = change(&repository.read(&tip, file));
        let commit = repository.commit(&branch, &format!("foreign {n}"), &[(file, &text)]);
        repository.git(&["update-ref", "-d", &format!("refs/heads/{branch}")]);
        let moved = Command::new("git")
            .args(["update-ref", "refs/heads/main", &commit, &tip])
            .current_dir(repository.path())
            .stderr(std::process::Stdio::null())
            .status();
        if moved.expect("git is installed").success() {
            return commit;
        }
    }
    unreachable!("the loop above returns")
}

/// What happens to the daemon next.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// Killed after so long.
    At(Duration),
    /// Told to stop, so long after it was ready; it ends in time and well.
    Told(Duration),
    /// Killed when a push has left and the branch did not move.
    BeforeTheBranchMoves,
    /// Killed when a push has left; the branch moves afterwards.
    WhileTheBranchMoves,
    /// Killed when a push has left, started again, and only then, after so long, the branch moves.
    LongBeforeTheBranchMoves(Duration),
    /// Killed when the branch has moved and the answer is on its way.
    AfterTheBranchMoved,
    /// Killed, and the life after it ends where it would make something durable for the so-manieth time.
    AtSync(u32),
}

impl Blow {
    fn draw(random: &mut fastrand::Rng) -> Blow {
        match random.u32(0..12) {
            0 | 1 => Blow::BeforeTheBranchMoves,
            2 | 3 => Blow::AfterTheBranchMoved,
            4 => Blow::WhileTheBranchMoves,
            6 => Blow::Told(Duration::from_millis(random.u64(0..1000))),
            10 | 11 => Blow::AtSync(random.u32(1..50)),
            5 => Blow::LongBeforeTheBranchMoves(Duration::from_millis(random.u64(0..1000))),
            _ => Blow::At(Duration::from_millis(random.u64(20..1800))),
        }
    }

    async fn strike(self, load: &Load, house: &Arc<House>) {
        if let Blow::At(moment) = self {
            tokio::time::sleep(moment).await;
            house.kill();
            house.launch();
            return;
        }
        if let Blow::Told(moment) = self {
            house.until("it is ready", |status| status["notReady"] == json!([])).await;
            tokio::time::sleep(moment).await;
            let told = Instant::now();
            assert_eq!(house.stop().await, 0, "{}", house.log());
            assert!(told.elapsed() < DRAINS, "stopped after {:?}", told.elapsed());
            house.launch();
            return;
        }
        if let Blow::AtSync(count) = self {
            house.kill();
            house.launch_to_die_at("fdatasync,fsync", count);
            let start = Instant::now();
            while !house.ended() && start.elapsed() < LIFE {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            house.kill();
            house.launch();
            return;
        }
        let struck = Arc::new(AtomicU32::new(0));
        let (victim, seen) = (house.clone(), struck.clone());
        let again = matches!(self, Blow::LongBeforeTheBranchMoves(_));
        let hook = Hook::new(move || {
            victim.kill();
            if again {
                victim.launch();
            }
            seen.fetch_add(1, Ordering::SeqCst);
        });
        load.stage.git.fail_next(match self {
            Blow::BeforeTheBranchMoves => Fault::InsteadOfPush(hook),
            Blow::LongBeforeTheBranchMoves(time) => Fault::BeforePush(hook, time),
            Blow::AfterTheBranchMoved => Fault::AfterPush(hook),
            Blow::At(_) | Blow::Told(_) | Blow::AtSync(_) | Blow::WhileTheBranchMoves => {
                Fault::BeforePush(hook, Duration::ZERO)
            }
        });
        let start = Instant::now();
        while struck.load(Ordering::SeqCst) == 0 {
            if start.elapsed() > ARRIVES {
                let log = house.log();
                let log: Vec<&str> = log.lines().rev().take(60).collect();
                panic!("no push leaves: {:?}\n{}", house.status().await, log.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if !again {
            house.launch();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_1_git_15_kills_of_the_image_half_lose_and_repeat_nothing() {
    let kills = number("LYNCEUS_KILLS").unwrap_or(20);
    let seed = number("LYNCEUS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("kills of the image half: LYNCEUS_KILLS={kills} LYNCEUS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (load, house) = prepared().await;
    let mut tasks = tokio::task::JoinSet::new();
    for name in IN_GIT.into_iter().chain([PATCHED]) {
        let load = load.clone();
        tasks.spawn(async move { load.push_tags(name).await });
    }
    tasks.spawn({
        let load = load.clone();
        async move { load.write_foreign().await }
    });
    house.start().await;
    let start = Instant::now();
    for n in 0..kills {
        let blow = Blow::draw(&mut random);
        if random.u32(0..4) == 0 {
            let cut = if random.bool() { Fault::CutBeforePush } else { Fault::CutAfterPush };
            load.stage.git.fail_next(cut);
        }
        println!("{:>6.1} s: kill {} of {kills}: {blow:?}", start.elapsed().as_secs_f64(), n + 1);
        blow.strike(&load, &house).await;
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap_or_else(|e| panic!("{e}\n{}", house.log()));
    }
    // A round after the last change settles what is open.
    house.until("it runs again", |status| status["rounds"].as_u64() >= Some(1)).await;
    house.rounds(2).await;
    compare(&load, &house).await;
    assert_eq!(house.stop().await, 0);
}

async fn prepared() -> (Arc<Load>, Arc<House>) {
    let stage = Stage::new().await;
    let (ns, house) = stage.installed("kill", "1s").await;
    for name in IN_GIT.into_iter().chain([PATCHED]) {
        stage.push(name, &["1.0.0"]).await;
        let mut app = stage.helm_app(name, "~1.0");
        if name == PATCHED {
            let annotations = app["metadata"]["annotations"].as_object_mut().expect("annotations");
            annotations.remove(&format!("{PREFIX}write-back-target"));
            annotations.insert(format!("{PREFIX}write-back-method"), json!("argocd"));
        } else {
            let file = format!("apps/{name}/values.yaml");
            stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
        }
        ns.apply_json(app).await;
    }
    let load = Load { stage, ns, stop: AtomicBool::new(false), wanted: Mutex::default(), foreign: Mutex::default() };
    (Arc::new(load), Arc::new(house))
}

/// (Application, new tag) of every `Lynceus-Image` line, with the commit it is in.
fn in_git(repository: &Repository) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for commit in repository.log("main") {
        let message = repository.message(&commit);
        for line in message.lines().filter_map(|line| line.strip_prefix("Lynceus-Image: ")) {
            let (name, tag) = line.split_once(" -> ").expect("old -> new");
            let name = name.split([' ', '/']).find(|word| IN_GIT.contains(word)).expect("one of ours");
            found.push((name.to_owned(), tag.to_owned(), commit.clone()));
        }
    }
    found
}

async fn compare(load: &Load, house: &House) {
    let repository = &load.stage.repository;
    repository.check();
    let reachable: BTreeSet<String> = repository.log("main").into_iter().collect();
    for commit in load.foreign.lock().unwrap().iter() {
        assert!(reachable.contains(commit), "foreign commit {commit} is lost");
    }
    let wanted: BTreeMap<&str, Vec<String>> = load.wanted.lock().unwrap().clone();
    let commits = in_git(repository);
    let committed = house.events("committed").await;
    let total: usize = wanted.values().map(Vec::len).sum();
    println!(
        "{total} new tags, {} commits of ours, {} foreign ones, {} committed events",
        commits.len(),
        load.foreign.lock().unwrap().len(),
        committed.len()
    );
    let mut wrong = Vec::new();
    for (name, tags) in &wanted {
        for tag in tags {
            let own: Vec<&str> = commits
                .iter()
                .filter(|(n, t, _)| n == name && t == tag)
                .map(|(_, _, commit)| commit.as_str())
                .collect();
            let told: Vec<&Value> = committed
                .iter()
                .filter(|event| event["image"] == load.stage.image(name).as_str() && event["new"] == tag.as_str())
                .collect();
            if *name != PATCHED && own.len() != 1 {
                wrong.push(format!("{name} {tag}: {} commits: {own:?}", own.len()));
            }
            if told.len() != 1 {
                wrong.push(format!("{name} {tag}: {} committed events: {told:?}", told.len()));
            } else if *name != PATCHED && own.first().copied() != told[0]["commit"]["sha"].as_str() {
                wrong.push(format!("{name} {tag}: commit {own:?}, event {}", told[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), house.whole_log());
    assert_eq!(committed.len(), total, "events of nothing");
    assert_eq!(commits.len(), total - wanted[PATCHED].len(), "commits of nothing");
    for (name, tags) in &wanted {
        let last = tags.last().expect("at least one");
        assert!(load.value(name).await.contains(last), "{name} is not at {last}");
        if *name != PATCHED {
            let text = repository.read("main", &format!("apps/{name}/values.yaml"));
            let kept = text.lines().filter(|line| !line.starts_with("replicas:")).collect::<Vec<_>>();
            let first = load.stage.values(name, last);
            assert_eq!(kept, first.lines().filter(|line| !line.starts_with("replicas:")).collect::<Vec<_>>());
        }
    }
}

/// One Application in Git with one new tag, and a daemon that is not started.
async fn one(label: &str) -> (Stage, Arc<House>) {
    let (stage, house) = one_house(label).await;
    (stage, Arc::new(house))
}

async fn one_house(label: &str) -> (Stage, House) {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let (ns, house) = stage.installed(label, "1s").await;
    ns.apply_json(stage.helm_app("web", "~1.0")).await;
    (stage, house)
}

async fn once_each(stage: &Stage, house: &House) {
    assert_eq!(stage.repository.log("main").len(), 2, "one commit");
    let committed = house.events("committed").await;
    assert_eq!(committed.len(), 1, "{committed:?}\n{}", house.whole_log());
    assert_eq!(committed[0]["commit"]["sha"], stage.repository.tip("main").expect("a branch").as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn git_15_a_push_that_landed_before_a_kill_is_told_after_it_though_nothing_else_is_written() {
    let (stage, house) = one("kill-after").await;
    let victim = house.clone();
    stage.git.fail_next(Fault::AfterPush(Hook::new(move || victim.kill())));
    house.launch();
    wait_for("the kill", ARRIVES, || async { house.ended().then_some(()) }).await;
    house.start().await;
    house.rounds(2).await;
    once_each(&stage, &house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_15_a_push_that_lands_long_after_the_kill_is_told_once() {
    let (stage, house) = one("kill-late").await;
    let victim = house.clone();
    let kill = Hook::new(move || {
        victim.kill();
        victim.launch();
    });
    // The second push, of the daemon started again, waits until the first one has landed.
    stage.git.fail_next(Fault::BeforePush(kill, Duration::from_millis(2000)));
    stage.git.fail_next(Fault::BeforePush(Hook::new(|| {}), Duration::from_millis(3000)));
    house.launch();
    let main = || stage.repository.log("main").len();
    wait_for("a push lands", ARRIVES, || async { (main() > 1).then_some(()) }).await;
    house.until("it runs", |_| true).await;
    house.rounds(2).await;
    once_each(&stage, &house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_15_a_push_that_the_next_life_makes_again_within_the_second_is_told_once() {
    // The clock stands, so both lives make the very same commit; the second one's push is refused because the first
    // one's has landed, long after its sender died.
    let (stage, house) = one_house("kill-again").await;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    let clock: Vec<(&str, &str)> = [("FAKETIME", now.as_str()), ("TZ", "UTC")].into_iter().chain(WALL_ONLY).collect();
    let house = Arc::new(house.with_fake_clock(&clock));
    let victim = house.clone();
    let kill = Hook::new(move || {
        victim.kill();
        victim.launch();
    });
    stage.git.fail_next(Fault::BeforePush(kill, Duration::from_secs(5)));
    let pushed = Arc::new(Mutex::new(None));
    let (moment, main) = (pushed.clone(), stage.repository.path().to_path_buf());
    // Whether the branch stood where both had found it when the second push arrived.
    let second = Hook::new(move || {
        let count = Command::new("git").args(["rev-list", "--count", "main"]).current_dir(&main).output();
        *moment.lock().unwrap() = count.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    });
    stage.git.fail_next(Fault::BeforePush(second, Duration::from_secs(7)));
    house.launch();
    wait_for("the second push arrives", ARRIVES, || async { pushed.lock().unwrap().clone() }).await;
    wait_for("a push lands", ARRIVES, || async { (stage.repository.log("main").len() > 1).then_some(()) }).await;
    house.until("it runs", |_| true).await;
    house.rounds(2).await;
    once_each(&stage, &house).await;
    assert_eq!(pushed.lock().unwrap().as_deref(), Some("1"), "the second push came before the first had landed");
}
