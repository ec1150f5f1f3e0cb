//! The weight of a repository: one update of one Application on a warm mirror, in a small repository, in one of many
//! files and in one of many bytes. It must cost the same.

use std::io::Write;
use std::process::{Command, Stdio};

use super::yard::{self, Layout, UNLIMITED, Yard};
use crate::sample;

/// Updates whose cost is added up: processor time comes in hundredths of a second.
const UPDATES: usize = 5;

/// Files of the wide repository.
const FILES: usize = 20_000;

/// Blobs of the heavy one; together a little below the largest pack that is fetched (1 GiB).
const BLOBS: usize = 250;
const BLOB_BYTES: usize = 4 << 20;

pub async fn measure() {
    println!("{UPDATES} updates of one Application, one after the other, on a warm mirror; the clone stands beside");
    println!(
        "{:>24} {:>9} {:>7} {:>10} {:>9} {:>7} {:>9} {:>11} {:>10} {:>9} {:>9}",
        "",
        "clone s",
        "CPU s",
        "peak MiB",
        "update ms",
        "CPU ms",
        "KB of Git",
        "KB written",
        "ref ads",
        "fetches",
        "peak MiB"
    );
    one("100 files", |yard| wide(yard, 100)).await;
    one("20,000 files", |yard| wide(yard, FILES)).await;
    one("1,000 MiB", heavy).await;
    yard::load();
}

fn wide(yard: &Yard, files: usize) {
    let file = |n: usize| (format!("other/{:03}/file-{n:05}.yaml", n / 100), format!("number: {n}\n"));
    yard.commit(&(0..files).map(file).collect::<Vec<_>>());
}

/// Nothing of it can be compressed.
fn heavy(yard: &Yard) {
    let tip = yard.repository.tip("main").expect("a branch");
    let mut child = Command::new("git")
        .args(["-c", "core.compression=0", "-c", "core.bigFileThreshold=1m", "fast-import", "--quiet", "--done"])
        .current_dir(yard.repository.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("git is installed");
    let mut pipe = std::io::BufWriter::with_capacity(1 << 20, child.stdin.take().expect("a pipe"));
    let mut random = fastrand::Rng::with_seed(1);
    let mut blob = vec![0; BLOB_BYTES];
    write!(
        pipe,
        "commit refs/heads/main\ncommitter Test <test@example.com> 1767225600 +0000\ndata 5\nheavy\nfrom {tip}\n"
    )
    .expect("git reads");
    for n in 0..BLOBS {
        random.fill(&mut blob);
        write!(pipe, "M 100644 inline blobs/{n:03}.bin\ndata {BLOB_BYTES}\n").expect("git reads");
        pipe.write_all(&blob).expect("git reads");
        pipe.write_all(b"\n").expect("git reads");
    }
    pipe.write_all(b"done\n").expect("git reads");
    drop(pipe);
    assert!(child.wait().expect("git ends").success());
}

async fn one(what: &str, fill: impl Fn(&Yard)) {
    let yard = Yard::new("trees").await;
    yard.applications(1, Layout::Flat).await;
    fill(&yard);
    let house = yard.house(UNLIMITED, &["--interval=20s", "--loglevel=warn"]).await;
    // The front before Git hands an answer on when it has the whole of it: of a gigabyte that is half a minute of silence.
    let house = house.variable("ARGOCD_GIT_REQUEST_TIMEOUT", "120s").variable("ARGOCD_EXEC_TIMEOUT", "300s");
    let first = yard.first_round(&house).await;
    let mib = |field| house.memory_kib(field) as f64 / 1024.0;
    let cloned = (first.seconds, first.cpu, mib("VmHWM:"));
    assert_eq!(first.fetches(), 1, "it is cloned\n{}", house.log());
    // The next round may have begun while this one took long.
    yard.round(&house).await;
    house.forget_peak();
    let (mut seconds, mut cpu, mut bytes, mut ads, mut fetches) = (0.0, 0.0, 0, 0, 0);
    let written = house.disk_writes();
    for n in 1..=UPDATES {
        let tag = format!("1.0.{n}");
        yard.tag_all(&tag).await;
        let round = yard.round(&house).await;
        assert_eq!(
            yard.repository.read("main", "apps/app-00000/values.yaml"),
            yard.values(&sample::name(0), &tag),
            "{}",
            house.log()
        );
        seconds += round.seconds;
        cpu += round.cpu;
        bytes += round.git_bytes();
        ads += round.advertisements();
        fetches += round.fetches();
    }
    let each = 1e3 / UPDATES as f64;
    println!(
        "{what:>24} {:>9.1} {:>7.1} {:>10.1} {:>9.0} {:>7.0} {:>9.1} {:>11.1} {:>10} {:>9} {:>9.1}",
        cloned.0,
        cloned.1,
        cloned.2,
        seconds * each,
        cpu * each,
        bytes as f64 / 1e3 / UPDATES as f64,
        (house.disk_writes() - written) as f64 / 1e3 / UPDATES as f64,
        ads,
        fetches,
        mib("VmHWM:"),
    );
    house.stop().await;
}
