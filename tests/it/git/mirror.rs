//! Reading: advertisements, mirrors, tips, commit metadata.

use super::*;
use lynceus::adapters::git::{Error, PushError};
use std::io::Write;
use std::process::{Command, Stdio};

#[tokio::test]
async fn git_5_a_round_is_one_advertisement_and_fetches_only_what_is_new() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    repository.commit("main", "first", &[("a.yaml", "one\n"), ("apps/b.yaml", "two\n")]);
    let bench = Bench::trusting(&server);
    let remote = remote(&server.url("config.git"), &[("username", "robot"), ("password", "secret")]);

    let tip = bench.tip(&remote, "main").await;
    assert_eq!(tip.read("apps/b.yaml").unwrap(), b"two\n");
    assert_eq!((bench.counts().advertisements, bench.counts().fetches), (1, 1));
    server.requests();

    for _ in 0..3 {
        bench.tip(&remote, "main").await;
    }
    assert_eq!(server.requests(), ["GET /config.git/info/refs?service=git-upload-pack"; 3]);
    assert_eq!((bench.counts().advertisements, bench.counts().fetches), (4, 1));

    repository.commit("main", "second", &[("a.yaml", "three\n")]);
    let tip = bench.tip(&remote, "main").await;
    assert_eq!(tip.read("a.yaml").unwrap(), b"three\n");
    let small = bench.packs().iter().map(|p| std::fs::metadata(p).unwrap().len()).min().unwrap();
    assert!(small < 1_000, "an increment, not the whole: {small} bytes");
}

#[tokio::test]
async fn git_5_default_branch_other_branches_and_tags_are_advertised() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("a", "1")]);
    repository.commit("feature/x", "other", &[("a", "2")]);
    repository.git(&["-c", "user.name=T", "-c", "user.email=t@example.com", "tag", "-a", "-m", "t", "v1", "main"]);
    repository.git(&["symbolic-ref", "HEAD", "refs/heads/feature/x"]);
    let bench = Bench::new();
    let found = bench.git.advertise(&local(repository.path())).await.unwrap();
    assert_eq!(found.default.as_deref(), Some("feature/x"));
    assert_eq!(found.branches.keys().collect::<Vec<_>>(), ["feature/x", "main"]);
    assert_eq!(found.tags["v1"], found.branches["main"]);
}

#[tokio::test]
async fn git_5_a_branch_that_was_rewound_is_followed() {
    let server = GitHttp::start_plain();
    let repository = server.repository("config.git");
    let first = repository.commit("main", "first", &[("a", "1")]);
    repository.commit("main", "second", &[("a", "2")]);
    let bench = Bench::new();
    let remote = remote(&server.url("config.git"), &[("insecure", "true")]);
    let old = bench.tip(&remote, "main").await;
    repository.git(&["update-ref", "refs/heads/main", &first]);
    repository.commit("main", "another", &[("a", "3")]);
    assert_eq!(bench.tip(&remote, "main").await.read("a").unwrap(), b"3");
    assert_eq!(old.read("a").unwrap(), b"2");
    let gone = bench.git.tip(&remote, "main", id(&"12".repeat(20))).await.unwrap_err();
    assert!(matches!(gone, Error::Missing { .. }), "{gone}");
    let gone = bench.git.tip(&remote, "nowhere", id(&"12".repeat(20))).await.unwrap_err();
    assert!(matches!(gone, Error::Missing { .. }), "{gone}");
}

#[tokio::test]
async fn git_5_mirror_corruption_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("a.yaml", "one\n")]);
    let bench = Bench::new();
    let remote = local(repository.path());
    let tip = bench.tip(&remote, "main").await.id();
    type Damage = fn(&Bench);
    let damages: [(&str, Damage); 5] = [
        ("packs cut", |bench| {
            for pack in bench.packs() {
                let whole = std::fs::read(&pack).unwrap();
                overwrite(&pack, &whole[..whole.len() / 2]);
            }
        }),
        ("packs scrambled", |bench| {
            for pack in bench.packs() {
                let length = std::fs::read(&pack).unwrap().len();
                overwrite(&pack, &vec![0xa5; length]);
            }
        }),
        ("packs gone", |bench| bench.packs().iter().for_each(|pack| std::fs::remove_file(pack).unwrap())),
        ("HEAD gone", |bench| std::fs::remove_file(bench.mirror().join("HEAD")).unwrap()),
        ("ref scrambled", |bench| overwrite(&bench.mirror().join("refs/tips/main"), b"nonsense")),
    ];
    for (n, (what, damage)) in damages.into_iter().enumerate() {
        damage(&bench);
        let again = bench.git.tip(&remote, "main", tip).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        if let Ok(text) = again.read("a.yaml") {
            assert_eq!(text, b"one\n", "{what}");
        }
        // A commit that can still be read hides damage until something new is fetched or read.
        repository.commit("main", "more", &[("n", &n.to_string())]);
        let tip = bench.tip(&remote, "main").await;
        assert_eq!(tip.read("n").unwrap(), n.to_string().as_bytes(), "{what}");
        assert_eq!(bench.tip(&remote, "main").await.read("a.yaml").unwrap(), b"one\n", "{what}");
        let chain = chain(&bench.git, &bench.tip(&remote, "main").await, &[("x", &n.to_string())]).await;
        let expected = Some(chain.base);
        bench.git.push(&remote, "main", expected, &chain).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    assert!(bench.counts().rebuilt >= 4, "{:?}", bench.counts());
    // The same where nobody asks for tips.
    bench.packs().iter().for_each(|pack| overwrite(pack, b"PACK"));
    let head = repository.tip("main").unwrap();
    assert_eq!(bench.git.metadata(&remote, None, &head).await.unwrap().message, "change x");
    repository.check();
}

fn overwrite(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn git_5_many_packs_are_put_together_when_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("a", "0")]);
    let bench = Bench::new();
    let remote = local(repository.path());
    let reader = bench.tip(&remote, "main").await;
    for n in 1..60 {
        repository.commit("main", "more", &[("a", &n.to_string())]);
        bench.tip(&remote, "main").await;
    }
    assert!(bench.packs().len() > 50 && bench.counts().consolidated == 0);
    assert_eq!(reader.read("a").unwrap(), b"0", "a reader keeps its packs");
    drop(reader);
    repository.commit("main", "more", &[("a", "60")]);
    bench.tip(&remote, "main").await;
    assert_eq!((bench.packs().len(), bench.counts().consolidated), (1, 1));
    assert_eq!(bench.tip(&remote, "main").await.read("a").unwrap(), b"60");
    let mirror = bench.mirror();
    let check = Command::new("git").args(["fsck", "--strict"]).current_dir(&mirror).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    assert_eq!(bench.counts().rebuilt, 0);
}

#[tokio::test]
async fn git_5_two_processes_share_a_mirror() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("a", "0")]);
    let one = Bench::new();
    let other = Git::new(one.git.settings().clone(), Http::new(Gate::Central));
    let remote = local(repository.path());
    for n in 0..20 {
        let tip = repository.commit("main", "more", &[("a", &n.to_string())]);
        let (a, b) = tokio::join!(one.git.tip(&remote, "main", id(&tip)), other.tip(&remote, "main", id(&tip)));
        assert_eq!(a.unwrap().read("a").unwrap(), b.unwrap().read("a").unwrap());
    }
    assert_eq!(one.counts().fetches + other.counts().fetches, 20, "the second finds what the first fetched");
    let lock = std::fs::File::create(one.mirror().with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let patient = Git::new(
        Settings { operation_timeout: std::time::Duration::from_millis(200), ..one.git.settings().clone() },
        Http::new(Gate::Central),
    );
    let tip = repository.commit("main", "more", &[("a", "x")]);
    let held = patient.tip(&remote, "main", id(&tip)).await.unwrap_err();
    assert!(matches!(held, Error::Mirror { .. }), "{held}");
}

/// A repository with everything that must not be followed or edited.
fn hostile(folder: &Path) -> Repository {
    let repository = Repository::create(folder, "hostile.git");
    let stream = "\
commit refs/heads/main\ncommitter T <t@example.com> 1 +0000\ndata 1\nx\n\
M 100644 inline regular.yaml\ndata 2\na\n\n\
M 100755 inline run.sh\ndata 2\n#\n\n\
M 120000 inline link.yaml\ndata 11\n/etc/passwd\n\
M 120000 inline linked\ndata 1\nd\n\
M 160000 1111111111111111111111111111111111111111 sub\n\
M 100644 inline d/e/f.yaml\ndata 2\nf\n\n\
M 100644 inline pointer.yaml\ndata 43\nversion https://git-lfs.github.com/spec/v1\n\n\
done\n";
    let mut child = Command::new("git")
        .args(["fast-import", "--quiet", "--done"])
        .current_dir(repository.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    repository
}

#[tokio::test]
async fn path_1_symlink_submodule_lfs_refused() {
    let folder = tempfile::tempdir().unwrap();
    let repository = hostile(folder.path());
    let bench = Bench::new();
    let remote = local(repository.path());
    let tip = bench.tip(&remote, "main").await;
    let kinds: BTreeMap<String, Entry> = tip.list("").unwrap().into_iter().collect();
    assert_eq!(kinds["link.yaml"], Entry::Symlink);
    assert_eq!(kinds["sub"], Entry::Submodule);
    assert_eq!(kinds["run.sh"], Entry::File { executable: true });
    assert_eq!(kinds["d"], Entry::Dir);
    assert!(tip.read("link.yaml").is_err() && tip.read("sub").is_err() && tip.read("d").is_err());
    assert_eq!(tip.entry("linked/e/f.yaml").unwrap(), None);
    assert_eq!(tip.entry("regular.yaml/x").unwrap(), None);

    for (path, before, kind) in [
        ("link.yaml", None, "path-not-regular"),
        ("linked/e/f.yaml", None, "path-not-regular"),
        ("sub", None, "path-not-regular"),
        ("sub/x.yaml", None, "path-not-regular"),
        ("regular.yaml/x", None, "path-not-regular"),
        ("d", None, "path-not-regular"),
        ("pointer.yaml", Some("version https://git-lfs.github.com/spec/v1\n"), "lfs-pointer"),
        (".git/config", None, "path-escape"),
        ("d/.GIT/hooks/pre-commit", None, "path-escape"),
        ("../x", None, "path-escape"),
        ("regular.yaml", Some("something else"), "internal"),
        ("regular.yaml", None, "internal"),
        ("absent.yaml", Some("x"), "internal"),
    ] {
        let before = before.map(|text: &str| text.as_bytes().to_vec());
        let change = FileChange { path: path.into(), before, after: b"x".to_vec(), executable: false };
        match bench.git.build(&tip, vec![new_commit("m", vec![change])]).await {
            Err(Error::Refused(refusal)) => assert_eq!((refusal.kind, refusal.path.as_str()), (kind, path)),
            other => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn limits_large_files_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("big", &"x".repeat(3 << 20)), ("small", "x")]);
    let bench = Bench::new();
    let tip = bench.tip(&local(repository.path()), "main").await;
    assert!(tip.read("big").unwrap_err().to_string().contains("2 MiB"));
    assert_eq!(tip.read("small").unwrap(), b"x");
    assert!(tip.entry(&vec!["d"; 100].join("/")).is_err());
    assert_eq!(bench.tip(&local(repository.path()), "main").await.read("small").unwrap(), b"x");
    assert_eq!(bench.counts().rebuilt, 0, "a limit is no damage");
}

#[tokio::test]
async fn hlp_01_hlp_02_hlp_04_commit_metadata_from_the_mirror() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    let first = repository.commit("main", "subject\n\nbody\n\n", &[("a", "1")]);
    let second = repository.commit("main", "second", &[("a", "2")]);
    let aside = repository.commit("aside", "aside", &[("b", "1")]);
    repository.git(&["tag", "v1.0", &first]);
    repository.git(&["-c", "user.name=T", "-c", "user.email=t@example.com", "tag", "-a", "-m", "t", "v1", &first]);
    let bench = Bench::trusting(&server);
    let remote = remote(&server.url("config.git"), &[("username", "robot"), ("password", "secret")]);
    let told = bench.git.metadata(&remote, None, &first).await.unwrap();
    assert_eq!(told.message, "subject\n\nbody");
    assert_eq!(told.author, "Test <test@example.com>");
    assert_eq!(told.date.to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(told.tags, ["v1", "v1.0"]);
    server.requests();
    bench.git.metadata(&remote, Some("main"), &first).await.unwrap();
    assert!(server.requests().is_empty(), "remembered");
    assert_eq!(bench.git.metadata(&remote, None, &second[..7]).await.unwrap().message, "second");
    assert_eq!(bench.git.metadata(&remote, None, &aside).await.unwrap().message, "aside");
    assert_eq!(bench.git.metadata(&remote, Some("aside"), &aside[..10]).await.unwrap().message, "aside");
    for (id, permanent) in [("abc", true), ("not-a-commit", true), (&"9".repeat(40), false)] {
        let error = bench.git.metadata(&remote, None, id).await.unwrap_err();
        assert_eq!(matches!(error, Error::Config { .. }), permanent, "{id}: {error}");
    }
}

#[tokio::test]
async fn git_15_descends_settles_an_open_push() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), &[("a", "1")]);
    let bench = Bench::new();
    let remote = local(repository.path());
    let tip = bench.tip(&remote, "main").await;
    let landed = chain(&bench.git, &tip, &[("b", "1")]).await;
    let lost = chain(&bench.git, &tip, &[("c", "1")]).await;
    bench.git.push(&remote, "main", Some(tip.id()), &landed).await.unwrap();
    repository.commit("main", "on top", &[("d", "1")]);
    assert_eq!(bench.git.push(&remote, "main", Some(tip.id()), &lost).await, Err(PushError::Moved));
    let now = bench.tip(&remote, "main").await;
    assert!(bench.git.descends(&now, landed.tip).await.unwrap());
    assert!(bench.git.descends(&now, now.id()).await.unwrap());
    assert!(!bench.git.descends(&now, lost.tip).await.unwrap());
    assert!(!bench.git.descends(&now, id(&"7".repeat(40))).await.unwrap());
}

#[tokio::test]
async fn git_5_with_a_depth_only_the_end_of_the_history_is_fetched() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("config.git");
    let mut commits = Vec::new();
    for n in 0..30 {
        commits.push(repository.commit("main", &format!("commit {n}"), &[("a", &n.to_string())]));
    }
    repository.git(&["branch", "old", &commits[5]]);
    let bench = Bench::trusting_with(&server, |settings| settings.depth = Some(3));
    let remote = remote(&server.url("config.git"), &[("username", "robot"), ("password", "secret")]);
    let log = || {
        let output =
            Command::new("git").args(["log", "--format=%s", "--glob=refs/tips"]).current_dir(bench.mirror()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    bench.tip(&remote, "main").await;
    assert_eq!(log(), ["commit 29", "commit 28", "commit 27"]);
    let head = repository.commit("main", "commit 30", &[("a", "30")]);
    let tip = bench.tip(&remote, "main").await;
    assert_eq!(log(), ["commit 30", "commit 29", "commit 28", "commit 27"], "later fetches bring what is new");
    assert!(bench.git.descends(&tip, id(&commits[29])).await.unwrap());
    assert!(!bench.git.descends(&tip, id(&commits[3])).await.unwrap());
    let old = bench.tip(&remote, "old").await;
    assert_eq!(old.read("a").unwrap(), b"5");
    assert_eq!(log().len(), 7, "{:?}", log());
    let made = chain(&bench.git, &bench.tip(&remote, "main").await, &[("a", "31"), ("b", "1")]).await;
    bench.git.push(&remote, "main", Some(id(&head)), &made).await.unwrap();
    assert_eq!(repository.log("main").len(), 33);
    repository.check();
    let again = bench.tip(&remote, "main").await;
    assert_eq!((again.id(), bench.counts().rebuilt), (made.tip, 0));
    assert_eq!(bench.git.metadata(&remote, None, &commits[10]).await.unwrap().message, "commit 10");
}
