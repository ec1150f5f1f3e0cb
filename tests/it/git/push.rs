//! Writing: chains, races, refusals, lost answers.

use super::*;
use crate::support::real::Fault;
use lynceus::adapters::git::PushError;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

fn https(server: &GitHttp) -> Remote {
    remote(&server.url("config.git"), &[("username", "robot"), ("password", "secret")])
}

#[tokio::test]
async fn git_7_two_hundred_apps_one_push() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    let files: Vec<(String, String)> =
        (0..500).map(|n| (format!("apps/app-{n:03}.yaml"), format!("tag: {n}\n"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect();
    repository.commit("main", "first", &files);
    let bench = Bench::trusting(&server);
    let remote = https(&server);
    let tip = bench.tip(&remote, "main").await;
    server.requests();
    let new: Vec<(&str, &str)> = files.iter().map(|(path, _)| (*path, "tag: new\n")).collect();
    let packs = bench.packs().len();
    let chain = chain(&bench.git, &tip, &new).await;
    assert_eq!(bench.packs().len(), packs + 1, "the chain is one pack");
    assert!(!bench.mirror().join("objects/00").exists(), "no loose objects");
    let started = Instant::now();
    bench.git.push(&remote, "main", Some(tip.id()), &chain).await.unwrap();
    println!("500 commits pushed in {:?}", started.elapsed());
    assert_eq!(
        server.requests(),
        ["GET /config.git/info/refs?service=git-receive-pack", "POST /config.git/git-receive-pack"]
    );
    let log = repository.log("main");
    assert_eq!((log.len(), id(&log[0])), (501, chain.tip));
    let ids: Vec<CommitId> = log[..500].iter().rev().map(|text| id(text)).collect();
    assert_eq!(ids, chain.ids);
    assert_eq!(repository.read("main", "apps/app-499.yaml"), "tag: new\n");
    assert_eq!(repository.message("main"), "change apps/app-499.yaml");
    assert_eq!(
        repository.git(&["log", "-1", "--format=%an %ae %cn %ce %ct", "main"]).trim(),
        "Lynceus noreply@lynceus.example Lynceus noreply@lynceus.example 1767225600"
    );
    repository.check();
    assert_eq!(bench.tip(&remote, "main").await.read("apps/app-000.yaml").unwrap(), b"tag: new\n");
    assert_eq!(bench.counts().fetches, 1, "what was pushed is not fetched");
}

#[tokio::test]
async fn git_6_modes_are_kept_and_new_files_are_regular() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("plain", "1"), ("run", "1")]);
    let tree = repository.git(&["ls-tree", "main"]).replace("100644 blob", "100755 blob");
    assert!(tree.contains("100755"));
    let changed = tree
        .lines()
        .filter(|l| l.ends_with("\trun"))
        .chain(
            repository
                .git(&["ls-tree", "main", "plain"])
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str),
        )
        .collect::<Vec<_>>()
        .join("\n")
        + "\n";
    let index = folder.path().join("tree");
    std::fs::write(&index, changed).unwrap();
    let made = std::process::Command::new("sh")
        .args(["-c", "t=$(git mktree < \"$1\") && c=$(git -c user.name=T -c user.email=t@x commit-tree -m m $t) && git update-ref refs/heads/main $c", "sh"])
        .arg(&index)
        .current_dir(repository.path())
        .status()
        .unwrap();
    assert!(made.success());
    let bench = Bench::new();
    let remote = local(repository.path());
    let tip = bench.tip(&remote, "main").await;
    let one = commit(&tip, "m", &[("plain", "2"), ("run", "2"), ("new/folder/file", "2")]);
    let chain = bench.git.build(&tip, vec![one]).await.unwrap();
    bench.git.push(&remote, "main", Some(tip.id()), &chain).await.unwrap();
    let modes = repository.git(&["ls-tree", "-r", "--format=%(objectmode) %(path)", "main"]);
    assert_eq!(modes, "100644 new/folder/file\n100644 plain\n100755 run");
    assert_eq!(
        repository.git(&["diff-tree", "--no-commit-id", "--name-status", "-r", "main"]),
        "A\tnew/folder/file\nM\tplain\nM\trun"
    );
}

#[tokio::test]
async fn git_8_a_commit_that_changes_nothing_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("a", "1"), ("b", "1")]);
    let bench = Bench::new();
    let remote = local(repository.path());
    let tip = bench.tip(&remote, "main").await;
    let made = chain(&bench.git, &tip, &[("a", "1"), ("b", "2"), ("a", "1")]).await;
    assert_eq!(made.ids, [tip.id(), made.tip, made.tip]);
    let nothing = chain(&bench.git, &tip, &[("a", "1")]).await;
    assert!(nothing.is_empty());
    bench.git.push(&remote, "main", Some(tip.id()), &nothing).await.unwrap();
    assert_eq!(bench.counts().pushes, 0);
    bench.git.push(&remote, "main", Some(tip.id()), &made).await.unwrap();
    assert_eq!(repository.log("main").len(), 2);
}

#[tokio::test]
async fn git_9_a_branch_that_moved_is_written_with_as_little_as_can_be_between_the_look_and_the_push() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let remote = https(&server);
    let short = |requests: Vec<String>| {
        let of = |request: &str| request.replace("/config.git/", "").replace("info/refs?service=git-", "");
        requests.iter().map(|request| of(request)).collect::<Vec<_>>()
    };
    let (found, tip) = bench.git.newest(&remote, &["main"]).await.unwrap();
    let tip = tip.expect("a branch");
    assert_eq!(short(server.requests()), ["GET upload-pack", "POST git-upload-pack"], "one conversation");
    assert_eq!(found.branches["main"], tip.id());
    assert_eq!(bench.git.newest(&remote, &["none", "main"]).await.unwrap().1.map(|tip| tip.id()), Some(tip.id()));
    assert_eq!(short(server.requests()), ["GET upload-pack"], "nothing is fetched twice");
    assert!(bench.git.newest(&remote, &["none"]).await.unwrap().1.is_none());
    server.requests();

    let asked = "GET receive-pack";
    let sent = "POST git-receive-pack";
    for (round, requests) in [vec![asked], vec![sent, "GET upload-pack"]].into_iter().enumerate() {
        let (_, tip) = bench.git.newest(&remote, &["main"]).await.unwrap();
        let tip = tip.expect("a branch");
        let ours = chain(&bench.git, &tip, &[("ours", "1")]).await;
        repository.commit("main", "theirs", &[("theirs", &round.to_string())]);
        server.requests();
        assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &ours).await, Err(PushError::Moved), "{round}");
        assert_eq!(short(server.requests()), requests, "{round}");
    }
    for requests in [vec![sent], vec![asked, sent]] {
        let (_, tip) = bench.git.newest(&remote, &["main"]).await.unwrap();
        let tip = tip.expect("a branch");
        let ours = chain(&bench.git, &tip, &[("ours", &requests.len().to_string())]).await;
        server.requests();
        assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &ours).await, Ok(()));
        assert_eq!(short(server.requests()), requests, "after a success it asks first again");
    }
    assert_eq!(repository.log("main").len(), 5);
    repository.check();
}

#[tokio::test]
async fn git_9_a_lost_race_is_moved_and_loses_nothing() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let remote = https(&server);

    let tip = bench.tip(&remote, "main").await;
    let ours = chain(&bench.git, &tip, &[("ours", "1")]).await;
    let theirs = repository.commit("main", "before the advertisement", &[("theirs", "1")]);
    assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &ours).await, Err(PushError::Moved));
    assert!(!server.requests().iter().any(|r| r.starts_with("POST /config.git/git-receive-pack")), "nothing was sent");

    let tip = bench.tip(&remote, "main").await;
    assert_eq!(tip.id(), id(&theirs));
    let ours = chain(&bench.git, &tip, &[("ours", "1")]).await;
    let packs = bench.packs().len();
    server.fail_next(Fault::MoveBranch("main".into(), "between".into(), "1".into()));
    assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &ours).await, Err(PushError::Moved));
    assert_eq!(repository.read("main", "between"), "1");
    assert_eq!(bench.packs().len(), packs - 1, "a chain that lost its race is removed");
    assert_eq!(tip.read("a").unwrap(), b"1", "readers do not mind");

    let tip = bench.tip(&remote, "main").await;
    let ours = chain(&bench.git, &tip, &[("ours", "1")]).await;
    bench.git.push(&remote, "main", Some(tip.id()), &ours).await.unwrap();
    assert_eq!(repository.log("main").len(), 4);
    assert!(repository.log("main").contains(&theirs));
    repository.check();
}

#[tokio::test]
async fn inv_3_git_9_compat_q25_five_foreign_writers_all_land() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let remote = https(&server);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..5 {
        let (git, remote) = (bench.git.clone(), remote.clone());
        writers.spawn(async move {
            for n in 0..3 {
                loop {
                    let found = git.advertise(&remote).await.unwrap();
                    let tip = git.tip(&remote, "main", found.branches["main"]).await;
                    let Ok(tip) = tip else { continue };
                    let file = format!("w{writer}-{n}");
                    let chain = chain(&git, &tip, &[(&file, "1")]).await;
                    match git.push(&remote, "main", Some(tip.id()), &chain).await {
                        Ok(()) => break,
                        Err(PushError::Moved) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(120), async {
        while let Some(done) = writers.join_next().await {
            done.unwrap()
        }
    })
    .await
    .expect("everybody lands");
    assert_eq!(repository.log("main").len(), 16);
    assert_eq!(repository.git(&["ls-tree", "-r", "--name-only", "main"]).lines().count(), 16);
    repository.check();
}

#[tokio::test]
async fn git_10_hooks_and_protection_are_refusals_with_their_words() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let remote = https(&server);
    let tip = bench.tip(&remote, "main").await;
    let chain = chain(&bench.git, &tip, &[("a", "2")]).await;
    for (hook, script, words) in [
        ("pre-receive", "echo 'only on \x1b[31mMondays'; exit 1", "pre-receive hook declined: only on [31mMondays"),
        ("update", "echo protected branch >&2; exit 1", "hook declined: protected branch"),
        ("pre-receive", "head -c 100000 /dev/zero | tr '\\0' x; exit 1", "pre-receive hook declined: xxxx"),
    ] {
        let path = repository.path().join("hooks").join(hook);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        match bench.git.push(&remote, "main", Some(tip.id()), &chain).await {
            Err(PushError::Refused(text)) => assert!(text.starts_with(words) && text.len() <= 1024, "{text}"),
            other => panic!("{hook}: {other:?}"),
        }
        std::fs::remove_file(path).unwrap();
    }
    repository.git(&["config", "http.receivepack", "false"]);
    match bench.git.push(&remote, "main", Some(tip.id()), &chain).await {
        Err(PushError::Refused(text)) => assert!(text.contains("may not be written to"), "{text}"),
        other => panic!("{other:?}"),
    }
    repository.git(&["config", "http.receivepack", "true"]);
    bench.git.push(&remote, "main", Some(tip.id()), &chain).await.unwrap();
    assert_eq!(repository.log("main").len(), 2);
}

#[tokio::test]
async fn git_11_push_lost_reply_not_repeated() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let remote = https(&server);

    // The branch moved and the answer was lost: one look tells.
    let tip = bench.tip(&remote, "main").await;
    let landed = chain(&bench.git, &tip, &[("a", "2")]).await;
    server.fail_next(Fault::CutAfterPush);
    assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &landed).await, Ok(()));

    // It did not move, and the answer was lost: nothing is known.
    let tip = bench.tip(&remote, "main").await;
    let dropped = chain(&bench.git, &tip, &[("a", "3")]).await;
    server.fail_next(Fault::CutBeforePush);
    let unknown = bench.git.push(&remote, "main", Some(tip.id()), &dropped).await.unwrap_err();
    assert!(matches!(unknown, PushError::Unknown(_)), "{unknown}");
    let now = bench.tip(&remote, "main").await;
    assert!(!bench.git.descends(&now, dropped.tip).await.unwrap());

    let again = bench.git.push(&remote, "main", Some(tip.id()), &dropped).await;
    assert_eq!(again, Ok(()), "the same chain can be pushed after all");
    assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &dropped).await, Ok(()), "and is there already");
    assert_eq!(repository.log("main").len(), 3);
    repository.check();
}

#[tokio::test]
async fn git_12_a_new_branch_is_made_only_if_absent() {
    for over_https in [false, true] {
        let server = GitHttp::start("robot", "secret");
        let repository = server.repository("config.git");
        let first = repository.commit("main", "first", &[("a", "1")]);
        let bench = Bench::trusting(&server);
        let remote = if over_https { https(&server) } else { local(repository.path()) };
        let tip = bench.tip(&remote, "main").await;
        let made = chain(&bench.git, &tip, &[("a", "2")]).await;
        bench.git.push(&remote, "update/web", None, &made).await.unwrap();
        assert_eq!(repository.log("update/web"), [made.tip.to_string(), first.clone()]);
        let other = chain(&bench.git, &tip, &[("a", "3")]).await;
        assert_eq!(bench.git.push(&remote, "update/web", None, &other).await, Err(PushError::Moved));
        assert_eq!(bench.git.push(&remote, "gone", Some(tip.id()), &other).await, Err(PushError::Moved));
        let nothing = chain(&bench.git, &tip, &[("a", "1")]).await;
        bench.git.push(&remote, "same/as/main", None, &nothing).await.unwrap();
        assert_eq!(repository.tip("same/as/main").as_deref(), Some(first.as_str()));
        for name in ["a..b", "-x y", "x.lock", "", "a//b", "HEAD^"] {
            let refused = bench.git.push(&remote, name, None, &made).await;
            assert!(matches!(refused, Err(PushError::Failed(_))), "{name:?}: {refused:?}");
        }
        let on_other = bench.git.push(&remote, "main", Some(made.tip), &made).await;
        assert!(matches!(on_other, Err(PushError::Failed(_))), "{on_other:?}");
        repository.check();
    }
}

#[tokio::test]
async fn git_12_foreign_branch_never_forced() {
    // A server that accepts everything: only the comparison protects the foreign commit.
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.git(&["config", "receive.denyNonFastForwards", "false"]);
    let first = repository.commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let remote = https(&server);
    let tip = bench.tip(&remote, "main").await;
    let ours = chain(&bench.git, &tip, &[("a", "2")]).await;
    let theirs = repository.commit("main", "theirs", &[("a", "3")]);
    for _ in 0..3 {
        assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &ours).await, Err(PushError::Moved));
    }
    assert_eq!(repository.log("main"), [theirs, first]);
}

#[tokio::test]
async fn git_3_a_checked_out_branch_of_a_working_tree_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let bare = repository(folder.path(), &[("a", "1")]);
    let work = folder.path().join("work");
    let cloned = std::process::Command::new("git").arg("clone").arg("-q").arg(bare.path()).arg(&work).status().unwrap();
    assert!(cloned.success());
    let bench = Bench::new();
    let remote = local(&work);
    let tip = bench.tip(&remote, "main").await;
    let chain = chain(&bench.git, &tip, &[("a", "2")]).await;
    let refused = bench.git.push(&remote, "main", Some(tip.id()), &chain).await;
    assert!(matches!(refused, Err(PushError::Refused(_))), "{refused:?}");
    bench.git.push(&remote, "other", None, &chain).await.unwrap();
}

#[tokio::test]
async fn git_7_a_chain_ends_at_2000_commits() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("a", "1")]);
    let bench = Bench::new();
    let remote = local(repository.path());
    let tip = bench.tip(&remote, "main").await;
    let names: Vec<String> = (0..2_010).map(|n| format!("d{}/f{n}", n % 50)).collect();
    let commits: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let started = Instant::now();
    let chain = chain(&bench.git, &tip, &commits).await;
    println!("2000 commits built in {:?}: {chain:?}", started.elapsed());
    assert_eq!(chain.ids.len(), 2_000);
    bench.git.push(&remote, "main", Some(tip.id()), &chain).await.unwrap();
    assert_eq!(repository.log("main").len(), 2_001);
    repository.check();
}

#[tokio::test]
async fn git_7_a_chain_is_one_pack_though_it_is_built_in_parts() {
    const FILES: usize = 400;
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.git(&["config", "transfer.fsckObjects", "true"]);
    let names: Vec<String> = (0..FILES).map(|n| format!("all/f{n:03}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let first = repository.commit("main", "first", &files);
    let bench = Bench::trusting(&server);
    let remote = https(&server);
    let tip = bench.tip(&remote, "main").await;
    let before = bench.packs().len();
    // Every file there and back again: blobs and folders of one part come again in others, the last one is the first.
    let change = |name: &String, before: &str, after: &str| {
        let (before, after) = (Some(before.into()), after.into());
        let change = FileChange { path: name.clone(), before, after, executable: false };
        new_commit(&format!("{name} {}", change.after.len()), vec![change])
    };
    let there = names.iter().map(|name| change(name, "1", "22"));
    let back = names.iter().map(|name| change(name, "22", "1"));
    let nothing = change(&names[0], "1", "1");
    let commits: Vec<NewCommit> = std::iter::once(nothing.clone()).chain(there).chain(back).chain([nothing]).collect();
    let chain = bench.git.build(&tip, commits).await.unwrap();
    assert_eq!(chain.ids.len(), 2 * FILES + 2);
    assert_eq!((chain.ids[0], chain.ids[2 * FILES]), (tip.id(), chain.ids[2 * FILES + 1]));
    assert_eq!(bench.packs().len(), before + 1);
    bench.git.push(&remote, "main", Some(tip.id()), &chain).await.unwrap();
    let log = repository.log("main");
    assert_eq!((log.len(), log.last()), (2 * FILES + 1, Some(&first)));
    let tree = |revision: &str| repository.git(&["rev-parse", &format!("{revision}^{{tree}}")]);
    assert_eq!(tree("main"), tree(&first));
    assert_eq!(repository.read(&format!("main~{FILES}"), "all/f399"), "22");
    repository.check();
    // Deltas span the commits of a part: whole, the folders alone would weigh ten megabytes.
    let pack = bench.packs().into_iter().map(|pack| std::fs::metadata(pack).unwrap().len()).max().unwrap();
    assert!(pack < 600_000, "{pack} bytes");
    // The mirror reads what it made.
    let next = super::chain(&bench.git, &bench.tip(&remote, "main").await, &[("all/f000", "3")]).await;
    assert_eq!(next.base, chain.tip);
}

fn hook(repository: &Repository, name: &str, script: &str) {
    let path = repository.path().join("hooks").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn git_11_a_slow_hook_is_waited_for_and_then_the_outcome_is_looked_up() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.commit("main", "first", &[("a", "1")]);
    let remote = https(&server);
    // Longer than the request time-out, shorter than the operation: a hook's work is no silence of the network.
    let patient = Bench::trusting_with(&server, |settings| settings.request_timeout = Duration::from_millis(700));
    let tip = patient.tip(&remote, "main").await;
    let first = chain(&patient.git, &tip, &[("a", "2")]).await;
    hook(&repository, "post-receive", "sleep 1.5");
    patient.git.push(&remote, "main", Some(tip.id()), &first).await.unwrap();
    // Longer than the operation: the branch has moved, and one look after the end tells.
    let hasty = Bench::trusting_with(&server, |settings| settings.operation_timeout = Duration::from_secs(1));
    let tip = hasty.tip(&remote, "main").await;
    let second = chain(&hasty.git, &tip, &[("a", "3")]).await;
    hook(&repository, "post-receive", "sleep 4");
    assert_eq!(hasty.git.push(&remote, "main", Some(tip.id()), &second).await, Ok(()));
    // Longer than the operation and before the branch moves: nobody can tell yet.
    std::fs::remove_file(repository.path().join("hooks/post-receive")).unwrap();
    hook(&repository, "pre-receive", "sleep 3");
    let tip = patient.tip(&remote, "main").await;
    let third = chain(&hasty.git, &hasty.tip(&remote, "main").await, &[("a", "4")]).await;
    let unknown = hasty.git.push(&remote, "main", Some(tip.id()), &third).await;
    assert!(matches!(unknown, Err(PushError::Unknown(_))), "{unknown:?}");
}
