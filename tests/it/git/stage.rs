//! The stage's Git host: what the adapter and the `git` program see of it is what they see of a real one.

use super::*;
use lynceus::adapters::git::PushError;
use lynceus::demo::remote::{Fault, GitHost};
use std::time::Duration;

#[tokio::test]
async fn the_stage_host_speaks_to_the_adapter_and_to_git() {
    let folder = tempfile::tempdir().unwrap();
    let host = GitHost::start(folder.path(), Some(("robot", "secret"))).await.unwrap();
    let repository = host.repository("team/config").unwrap();
    let bench = Bench::new();
    let pairs = [("username", "robot"), ("password", "secret"), ("insecure", "true")];
    let remote = remote(&host.url("team/config"), &pairs);
    assert!(bench.git.advertise(&remote).await.unwrap().branches.is_empty(), "an empty repository");
    repository.commit("main", "first", &[("apps/web.yaml", "tag: 1\n"), ("run", "x")]).unwrap();
    assert_eq!(bench.git.advertise(&remote).await.unwrap().default.as_deref(), Some("main"));
    let tip = bench.tip(&remote, "main").await;
    let made = chain(&bench.git, &tip, &[("apps/web.yaml", "tag: 2\n"), ("new", "1")]).await;
    bench.git.push(&remote, "main", Some(tip.id()), &made).await.unwrap();
    assert_eq!(repository.tip("main"), Some(made.tip.to_string()));
    assert_eq!(repository.read("main", "apps/web.yaml").as_deref(), Some("tag: 2\n"));
    let log = repository.log("main");
    assert_eq!((log.len(), log[0].author.as_str()), (3, "Lynceus"));
    assert!(repository.diff(&log[1].id).contains("-tag: 1\n+tag: 2\n"), "{}", repository.diff(&log[1].id));
    repository.commit("main", "more", &[("more", "1")]).unwrap();
    assert_eq!(bench.tip(&remote, "main").await.read("more").unwrap(), b"1");

    let url = host.url("team/config").replace("http://", "http://robot:secret@");
    let clone = folder.path().join("clone");
    let cloned = tokio::process::Command::new("git").args(["clone", "-q", &url]).arg(&clone).output().await.unwrap();
    assert!(cloned.status.success(), "{}", String::from_utf8_lossy(&cloned.stderr));
    assert_eq!(std::fs::read_to_string(clone.join("new")).unwrap(), "1");
    let pushed = tokio::process::Command::new("sh")
        .args(["-c", "echo 3 > new && git -c user.name=T -c user.email=t@x commit -qam m && git push -q origin main"])
        .current_dir(&clone)
        .output()
        .await
        .unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    repository.commit("main", "more", &[("more", "2")]).unwrap();
    let pulled = tokio::process::Command::new("git").args(["pull", "-q"]).current_dir(&clone).output().await.unwrap();
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    let check = tokio::process::Command::new("git").arg("fsck").current_dir(repository.path()).output().await.unwrap();
    assert!(check.status.success());
}

#[tokio::test]
async fn the_stage_hosts_faults_mean_what_real_ones_mean() {
    let folder = tempfile::tempdir().unwrap();
    let host = GitHost::start(folder.path(), None).await.unwrap();
    let repository = host.repository("config").unwrap();
    repository.commit("main", "first", &[("a", "1")]).unwrap();
    let bench = Bench::new();
    let remote = remote(&host.url("config"), &[("insecure", "true")]);
    let tip = bench.tip(&remote, "main").await;
    let made = chain(&bench.git, &tip, &[("a", "2")]).await;
    let moved = Fault::Moved { branch: "side".into(), path: "b".into(), content: "1".into() };
    for (fault, outcome) in [
        (Fault::Refuse("not today".into()), "refused by the remote: pre-receive hook declined: not today"),
        (Fault::CutBefore, "outcome unknown"),
        (Fault::Status(503), "answers with status 503"),
        (moved, "ok"),
    ] {
        host.script(fault.clone());
        let ended = match bench.git.push(&remote, "main", Some(tip.id()), &made).await {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(ended.contains(outcome), "{fault:?}: {ended}");
    }
    let tip = bench.tip(&remote, "main").await;
    let made = chain(&bench.git, &tip, &[("a", "3")]).await;
    host.script(Fault::Moved { branch: "main".into(), path: "b".into(), content: "2".into() });
    assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &made).await, Err(PushError::Moved));
    let tip = bench.tip(&remote, "main").await;
    let made = chain(&bench.git, &tip, &[("a", "3")]).await;
    host.script(Fault::CutAfter);
    assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &made).await, Ok(()));
    host.script(Fault::Stall(Duration::from_millis(50)));
    bench.git.advertise(&remote).await.unwrap();
    assert_eq!(host.unmet(), 0);
    assert_eq!(repository.log("main").len(), 4);
}

/// The test above runs no program of its own: its host is in the process. So whatever is started there, we started.
#[test]
fn git_6_no_process_and_no_worktree() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let ran = std::process::Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=execve,execveat,fork,vfork", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "git::stage::the_stage_hosts_faults_mean_what_real_ones_mean"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && output.contains("1 passed"), "{output}");
    let trace = std::fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> = trace.lines().filter(|line| line.contains("exec") || line.contains("fork(")).collect();
    assert_eq!(calls.len(), 1, "only the test itself is started:\n{}", calls.join("\n"));
}
