//! Five others push to the same branch, each twice a second: how long until every update is there, and whether any of
//! their commits is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use git2::{ErrorCode, Oid, Repository, Signature};

use super::yard::{self, Layout, UNLIMITED, Yard};

/// Applications, unless a size is given.
const SIZE: usize = 100;

const WRITERS: usize = 5;
const PACE: Duration = Duration::from_millis(500);
const WAVES: usize = 5;

pub async fn measure(sizes: &[usize]) {
    let size = sizes.first().copied().unwrap_or(SIZE);
    let yard = Yard::new("writers").await;
    yard.applications(size, Layout::Folders).await;
    let house = yard.house(UNLIMITED, &["--interval=8s", "--loglevel=warn"]).await;
    yard.first_round(&house).await;
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let threads: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (path, stop) = (yard.repository.path().to_owned(), stop.clone());
            std::thread::spawn(move || write(&path, writer, &stop))
        })
        .collect();
    println!("{size} Applications, {WRITERS} foreign writers with a commit every {PACE:?} each");
    println!("{:>12} {:>12} {:>8} {:>8} {:>8}", "wave", "landed s", "pushes", "fetches", "lost races");
    for wave in 1..=WAVES {
        let tag = format!("1.0.{wave}");
        let repeated = house.metric("lynceus_git_push_retries_total").await;
        yard.tag_all(&tag).await;
        let round = yard.round(&house).await;
        println!(
            "{wave:>12} {:>12.2} {:>8} {:>8} {:>8}",
            round.pushed.unwrap_or(f64::NAN),
            round.pushes(),
            round.fetches(),
            house.metric("lynceus_git_push_retries_total").await - repeated
        );
        assert_eq!(yard.written(&tag), size, "all are there\n{}", house.log());
    }
    stop.store(true, Ordering::Relaxed);
    let seconds = start.elapsed().as_secs_f64();
    let foreign: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().expect("a writer ends")).collect();
    let history: std::collections::BTreeSet<String> = yard.repository.log("main").into_iter().collect();
    let lost = foreign.iter().filter(|commit| !history.contains(*commit)).count();
    println!(
        "{} foreign commits in {seconds:.0} s ({:.1} a second), {lost} lost",
        foreign.len(),
        foreign.len() as f64 / seconds
    );
    yard::load();
    house.stop().await;
    yard.repository.check();
}

/// Commits a file of its own at the newest tip, again if the branch moved meanwhile, as a server does for a push.
fn write(path: &std::path::Path, writer: usize, stop: &AtomicBool) -> Vec<String> {
    let repository = Repository::open_bare(path).expect("the repository");
    let mut commits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let content = format!("{writer} {}\n", commits.len());
        loop {
            match once(&repository, writer, &content) {
                Ok(id) => {
                    commits.push(id.to_string());
                    break;
                }
                Err(error) if matches!(error.code(), ErrorCode::Modified | ErrorCode::Locked) => {}
                // What somebody packs at this moment is there at the next look.
                Err(error) if error.code() == ErrorCode::NotFound => {}
                Err(error) => panic!("{error}"),
            }
        }
        std::thread::sleep(PACE);
    }
    commits
}

fn once(repository: &Repository, writer: usize, content: &str) -> Result<Oid, git2::Error> {
    let tip = repository.refname_to_id("refs/heads/main")?;
    let parent = repository.find_commit(tip)?;
    let mut root = repository.treebuilder(Some(&parent.tree()?))?;
    let mut folder = match parent.tree()?.get_name("foreign") {
        Some(entry) => repository.treebuilder(Some(&repository.find_tree(entry.id())?))?,
        None => repository.treebuilder(None)?,
    };
    folder.insert(format!("writer-{writer}"), repository.blob(content.as_bytes())?, 0o100_644)?;
    root.insert("foreign", folder.write()?, 0o040_000)?;
    let tree = repository.find_tree(root.write()?)?;
    let author = Signature::now("Somebody Else", "else@example.com")?;
    let id = repository.commit(None, &author, &author, "foreign", &tree, &[&parent])?;
    repository.reference_matching("refs/heads/main", id, true, tip, "")?;
    Ok(id)
}
