//! Applications in one repository, each with its own image and one new tag: what the round that writes them asks and
//! takes, and the rounds after it.

use super::yard::{self, Layout, UNLIMITED, Yard};
use super::{incumbent, ratio};

/// Applications, unless sizes are given.
const SIZE: usize = 500;

/// Of the run under the tracer.
const TRACED: usize = 50;

/// What the incumbent takes for 500: processor seconds, registry requests, fetches, pushes, processes, MiB of its own.
const INCUMBENT_500: (f64, usize, usize, usize, usize, f64) = (245.0, 1_000, 500, 500, 10_501, 128.0);

/// Two rounds need to come to rest before the second begins.
fn interval(size: usize) -> String {
    format!("--interval={}s", 12 + size / 100)
}

pub async fn measure(sizes: &[usize]) {
    for size in if sizes.is_empty() { &[SIZE][..] } else { sizes } {
        one(*size).await;
    }
    processes().await;
}

async fn one(size: usize) {
    println!("{size} Applications, one image each, one repository, limit: -1");
    yard::head();
    let yard = Yard::new("round").await;
    yard.applications(size, Layout::Folders).await;
    let house = yard.house(UNLIMITED, &[&interval(size), "--loglevel=warn"]).await;
    let first = yard.first_round(&house).await;
    yard::line("start: clone, nothing to do", &first, &house);
    house.forget_peak();
    yard.tag_all("1.0.1").await;
    let update = yard.round(&house).await;
    yard::line("one new tag each", &update, &house);
    assert_eq!(yard.written("1.0.1"), size, "all are written\n{}", house.log());
    house.forget_peak();
    let waiting = yard.round(&house).await;
    yard::line("Argo CD has not synced yet", &waiting, &house);
    house.forget_peak();
    let (syncing, ()) = tokio::join!(yard.round(&house), yard.synced(size, "1.0.1"));
    yard::line("Argo CD syncs all", &syncing, &house);
    yard.round(&house).await;
    house.forget_peak();
    let quiet = yard.round(&house).await;
    yard::line("nothing new", &quiet, &house);
    yard.commit(&[("README.md".to_owned(), "somebody else\n".to_owned())]);
    yard.tag_all("1.0.2").await;
    let foreign = yard.round(&house).await;
    yard::line("a foreign commit and a new tag", &foreign, &house);
    assert_eq!(yard.written("1.0.2"), size, "all are written\n{}", house.log());
    beside(size, &update, &house);
    yard::load();
    house.stop().await;
    yard.repository.check();
}

/// Against the incumbent.
fn beside(size: usize, update: &yard::Round, house: &crate::support::house::House) {
    if let Some(seconds) = incumbent(size) {
        let own = update.pushed.unwrap_or(update.seconds);
        let cpu = update.cpu_pushed.unwrap_or(update.cpu);
        println!("to the push: {own:.2} s, {cpu:.2} CPU s; incumbent: {seconds:.0} s, {}", ratio(own, seconds));
    }
    if size != SIZE {
        return;
    }
    let (cpu, registry, fetches, pushes, processes, memory) = INCUMBENT_500;
    println!(
        "incumbent: {cpu:.0} CPU s, {}; {registry} registry requests, {}; {fetches} fetches, {pushes} pushes, {processes} \
         processes; {memory:.0} MB resident and 100 MB of children, {}",
        ratio(update.cpu, cpu),
        ratio(update.registry.len() as f64, registry as f64),
        ratio(house.memory_kib("VmHWM:") as f64 * 1024.0 / 1e6, memory),
    );
}

/// The kernel lists every program and process that the daemon starts through clone, push and quiet round.
async fn processes() {
    let yard = Yard::new("processes").await;
    yard.applications(TRACED, Layout::Folders).await;
    let house = yard.house(UNLIMITED, &["--interval=6s", "--loglevel=warn"]).await;
    let list = house.folder().join("calls");
    house.launch_listing("execve,execveat,fork,vfork,clone,clone3", &list);
    while yard::rounds(&house).await < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    yard.tag_all("1.0.1").await;
    yard.round(&house).await;
    yard.round(&house).await;
    assert_eq!(yard.written("1.0.1"), TRACED, "all are written");
    house.stop().await;
    let calls = std::fs::read_to_string(list).expect("the list");
    let threads = calls.lines().filter(|line| line.contains("CLONE_THREAD")).count();
    // The first is the daemon itself.
    let programs = calls.lines().filter(|line| line.contains("execve")).count().saturating_sub(1);
    let started = |line: &&str| [" fork(", " vfork(", " clone(", " clone3("].iter().any(|call| line.contains(call));
    let children = calls.lines().filter(started).filter(|line| !line.contains("CLONE_THREAD")).count();
    println!("{TRACED} Applications under strace: {children} child processes, {programs} programs, {threads} threads");
}
