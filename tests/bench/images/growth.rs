//! Processor time per Application of a round that updates all of them, as they become more: one commit for all, one
//! commit each, and one commit each where all lie in one folder. Up to the push's answer; what follows, two small
//! requests to the API server for each, stands beside.

use super::yard::{self, Layout, UNLIMITED, Yard};
use super::{incumbent, ratio};

/// Applications, unless sizes are given.
const SIZES: [usize; 4] = [100, 500, 2_000, 5_000];

pub async fn measure(sizes: &[usize]) {
    println!(
        "{:>12} {:>28} {:>7} {:>7} {:>9} {:>9} {:>13} {:>9} {:>10} {:>9} {:>10}",
        "applications",
        "",
        "pushes",
        "commits",
        "to push s",
        "CPU s",
        "CPU ms each",
        "all CPU s",
        "quiet CPU",
        "peak MiB",
        "incumbent"
    );
    for size in if sizes.is_empty() { &SIZES[..] } else { sizes } {
        one(*size, "push", Layout::Folders, "one commit").await;
        one(*size, "application", Layout::Folders, "a commit each").await;
        one(*size, "application", Layout::Flat, "a commit each, one folder").await;
    }
    yard::load();
}

async fn one(size: usize, per: &str, layout: Layout, what: &str) {
    let yard = Yard::new("growth").await;
    yard.applications(size, layout).await;
    let interval = format!("--interval={}s", 6 + size / 100);
    let house = yard.house(UNLIMITED, &[&interval, &format!("--git-commit-per={per}"), "--loglevel=warn"]).await;
    yard.first_round(&house).await;
    let quiet = yard.round(&house).await;
    let before = yard.repository.log("main").len();
    yard.tag_all("1.0.1").await;
    house.forget_peak();
    let round = yard.round(&house).await;
    assert_eq!(yard.written("1.0.1"), size, "all are written\n{}", house.log());
    let (seconds, cpu) = (round.pushed.unwrap_or(round.seconds), round.cpu_pushed.unwrap_or(round.cpu));
    println!(
        "{size:>12} {what:>28} {:>7} {:>7} {seconds:>9.2} {cpu:>9.2} {:>13.2} {:>9.2} {:>10.2} {:>9.1} {:>10}",
        round.pushes(),
        yard.repository.log("main").len() - before,
        cpu * 1e3 / size as f64,
        round.cpu,
        quiet.cpu,
        house.memory_kib("VmHWM:") as f64 / 1024.0,
        incumbent(size).map_or("-".to_owned(), |other| ratio(seconds, other)),
    );
    house.stop().await;
}
