//! Trust and credentials: certificates, passwords, redirects, ssh keys and host keys.

use super::*;
use crate::support::real::{Fault, Sshd};
use crate::support::tls::Authority;
use lynceus::adapters::git::{Error, PushError};
use std::time::{Duration, Instant};

#[tokio::test]
async fn git_2_git_16_compat_q31_tls_verified_with_every_credential_kind() {
    let stranger = Authority::new("somebody else");
    let server = GitHttp::start_signed_by(&stranger);
    server.repository("config.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let url = server.url("config.git");
    for pairs in [
        &[][..],
        &[("username", "robot"), ("password", "canary")][..],
        &[("bearerToken", "canary")][..],
        &[("insecure", "false"), ("username", "robot"), ("password", "canary")][..],
    ] {
        let error = bench.git.advertise(&remote(&url, pairs)).await.unwrap_err();
        assert_eq!(error.kind(), "git-unreachable");
        let text = error.to_string();
        assert!(text.contains("certificate not trusted") && text.contains("argocd-tls-certs-cm"), "{text}");
        assert!(!text.contains("canary"));
    }
    assert!(server.requests().is_empty(), "nothing was sent to an unknown host");
    let insecure = remote(&url, &[("insecure", "true")]);
    assert_eq!(insecure.credentials().notices().len(), 1);
    assert!(bench.git.advertise(&insecure).await.unwrap().branches.contains_key("main"));
}

#[tokio::test]
async fn wrong_and_missing_passwords_are_tried_once() {
    let server = GitHttp::start("robot", "secret");
    server.repository("config.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting_with(&server, |settings| settings.attempts = 5);
    let url = server.url("config.git");
    for (pairs, words) in [
        (&[("username", "robot"), ("password", "canary")][..], "does not accept the credentials"),
        (&[("bearerToken", "canary")][..], "does not accept the credentials"),
        (&[][..], "needs credentials and has none"),
    ] {
        let error = bench.git.advertise(&remote(&url, pairs)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), ("git-auth", lynceus::core::retry::Retry::Never));
        assert!(error.to_string().contains(words) && !error.to_string().contains("canary"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
    let absent = remote(&server.url("absent.git"), &[("username", "robot"), ("password", "secret")]);
    let error = bench.git.advertise(&absent).await.unwrap_err();
    assert_eq!(error.kind(), "git-auth", "{error}");
}

#[tokio::test]
async fn ten_3_inv_6_rogue_git_host_receives_no_authorization() {
    let server = GitHttp::start("robot", "secret");
    server.repository("config.git").commit("main", "first", &[("a", "1")]);
    let rogue = GitHttp::start("robot", "secret");
    rogue.repository("config.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let remote = remote(&server.url("config.git"), &[("username", "robot"), ("password", "secret")]);
    server.fail_next(Fault::Redirect(rogue.url("").trim_end_matches('/').to_owned()));
    let error = bench.git.advertise(&remote).await.unwrap_err();
    assert_eq!(error.kind(), "config-invalid");
    assert!(error.to_string().contains("another host"), "{error}");
    assert!(rogue.requests().is_empty(), "not even asked");
    assert!(bench.git.advertise(&remote).await.is_ok());
}

#[tokio::test]
async fn git_3_a_redirect_on_the_host_is_followed_with_credentials_only_inside_their_place() {
    let server = GitHttp::start("robot", "secret");
    server.repository("moved/config.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting(&server);
    let host = server.url("");
    // The front puts the prefix before the whole path: /config.git becomes /moved/config.git.
    for (stored_for, works) in [(host.as_str(), true), (&*server.url("config.git"), false)] {
        let pairs = [("url", stored_for), ("username", "robot"), ("password", "secret")];
        let remote = remote(&server.url("config.git"), &pairs);
        server.fail_next(Fault::Redirect(format!("{}/moved", host.trim_end_matches('/'))));
        match bench.git.advertise(&remote).await {
            Ok(found) => assert!(works && found.branches.contains_key("main")),
            Err(error) => {
                assert!(!works && error.kind() == "git-auth", "{error}");
                assert!(error.to_string().contains("which the credentials were not stored for"), "{error}");
            }
        }
    }
    let pairs = [("url", host.as_str()), ("username", "robot"), ("password", "secret")];
    let remote = remote(&server.url("config.git"), &pairs);
    for _ in 0..8 {
        server.fail_next(Fault::Redirect(host.trim_end_matches('/').to_owned()));
    }
    let error = bench.git.advertise(&remote).await.unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
}

#[tokio::test]
async fn git_13_passing_failures_are_tried_again_and_silence_ends() {
    let server = GitHttp::start("robot", "secret");
    server.repository("config.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::trusting_with(&server, |settings| {
        settings.attempts = 3;
        settings.retry_first = Duration::from_millis(1);
        settings.request_timeout = Duration::from_millis(500);
    });
    let remote = remote(&server.url("config.git"), &[("username", "robot"), ("password", "secret")]);
    server.fail_next(Fault::Refuse(502, "bad gateway".into()));
    server.fail_next(Fault::Refuse(503, "busy".into()));
    bench.git.advertise(&remote).await.unwrap();
    assert_eq!(server.requests().len(), 3);
    for (status, kind) in [(418, "git-unreachable"), (403, "git-auth"), (404, "git-auth")] {
        server.fail_next(Fault::Refuse(status, "no".into()));
        assert_eq!(bench.git.advertise(&remote).await.unwrap_err().kind(), kind);
        assert_eq!(server.requests().len(), 1, "{status} is not tried again");
    }
    let started = Instant::now();
    for _ in 0..3 {
        server.fail_next(Fault::Delay(Duration::from_secs(30)));
    }
    let error = bench.git.advertise(&remote).await.unwrap_err();
    assert_eq!(error.kind(), "git-unreachable", "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

fn ssh_remote(server: &Sshd, name: &str) -> Remote {
    let key = std::fs::read_to_string(server.private_key_file()).unwrap();
    remote(&server.url(name), &[("sshPrivateKey", &key)])
}

fn know(bench: &Bench, line: &str) {
    std::fs::write(bench.git.settings().known_hosts.clone(), format!("{line}\n")).unwrap();
}

#[tokio::test]
async fn ssh_fetches_and_pushes() {
    let server = Sshd::start().await;
    let repository = server.repository("app.git");
    repository.commit("main", "first", &[("a", "1"), ("d/b", "1")]);
    let bench = Bench::new();
    know(&bench, &server.known_host());
    let remote = ssh_remote(&server, "app.git");
    let tip = bench.tip(&remote, "main").await;
    assert_eq!(tip.read("d/b").unwrap(), b"1");
    let made = chain(&bench.git, &tip, &[("a", "2"), ("c", "2")]).await;
    bench.git.push(&remote, "main", Some(tip.id()), &made).await.unwrap();
    assert_eq!(repository.log("main").len(), 3);
    let theirs = repository.commit("main", "theirs", &[("e", "1")]);
    let lost = chain(&bench.git, &bench.tip(&remote, "main").await, &[("a", "3")]).await;
    assert_eq!(lost.base, id(&theirs));
    repository.commit("main", "more", &[("e", "2")]);
    let moved = bench.git.push(&remote, "main", Some(lost.base), &lost).await;
    assert_eq!(moved, Err(PushError::Moved));
    assert_eq!(bench.git.metadata(&remote, None, &theirs).await.unwrap().message, "theirs");
    repository.check();
    let absent = bench.git.advertise(&ssh_remote(&server, "absent.git")).await.unwrap_err();
    assert_eq!(absent.kind(), "git-auth", "{absent}");
}

#[tokio::test]
async fn git_2_compat_q31_unknown_host_key_refused() {
    let server = Sshd::start().await;
    server.repository("app.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::new();
    let remote = ssh_remote(&server, "app.git");
    let unknown = bench.git.advertise(&remote).await.unwrap_err();
    assert_eq!(unknown.kind(), "git-host-key");
    let text = unknown.to_string();
    assert!(text.contains("SHA256:") && text.contains("ssh_known_hosts"), "{text}");
    know(&bench, &server.known_host_with_other_key());
    let other = bench.git.advertise(&remote).await.unwrap_err();
    assert_eq!(other.kind(), "git-host-key");
    assert!(other.to_string().contains("somebody may be in between"), "{other}");
    let line = text.split('`').nth(1).expect("the line to add");
    know(&bench, line);
    bench.git.advertise(&remote).await.expect("the line offered makes the host known");
    know(&bench, "");
    let key = std::fs::read_to_string(server.private_key_file()).unwrap();
    let careless = super::remote(&server.url("app.git"), &[("sshPrivateKey", &key), ("insecureIgnoreHostKey", "true")]);
    bench.git.advertise(&careless).await.expect("switched off in the credential itself");
}

#[tokio::test]
async fn ssh_keys_that_will_not_do() {
    let server = Sshd::start().await;
    server.repository("app.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::new();
    know(&bench, &server.known_host());
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, arguments: &[&str]| {
        let path = folder.path().join(name);
        let made = std::process::Command::new("ssh-keygen").args(["-q", "-f"]).arg(&path).args(arguments).status();
        assert!(made.unwrap().success());
        std::fs::read_to_string(path).unwrap()
    };
    let stranger = make("stranger", &["-t", "ed25519", "-N", ""]);
    let locked = make("locked", &["-t", "ed25519", "-N", "passphrase"]);
    for (key, words) in [
        (stranger.as_str(), "does not accept the key"),
        (locked.as_str(), "passphrase"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----\n", "cannot be used"),
    ] {
        let error = bench.git.advertise(&remote(&server.url("app.git"), &[("sshPrivateKey", key)])).await.unwrap_err();
        assert_eq!(error.kind(), "git-auth", "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = bench.git.advertise(&remote(&server.url("app.git"), &[("password", "x")])).await.unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
}

#[tokio::test]
async fn git_4_ssh_config_gives_host_user_port_and_key() {
    let server = Sshd::start().await;
    server.repository("app.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::new();
    know(&bench, &server.known_host());
    let url = server.url("app.git");
    let parsed = url::Url::parse(&url).unwrap();
    let text = format!(
        "Host config.example\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  StrictHostKeyChecking no\n",
        parsed.port().unwrap(),
        parsed.username(),
        server.private_key_file().display()
    );
    std::fs::write(&bench.git.settings().ssh_config, text).unwrap();
    std::fs::write(&bench.git.settings().known_hosts, server.known_host() + "\nnonsense\n").unwrap();
    let notices = bench.git.notices();
    let lines: Vec<Option<u32>> = notices.iter().map(|notice| notice.line).collect();
    assert_eq!(lines, [Some(6), Some(2)], "{notices:?}");
    let short = remote(&format!("ssh://config.example{}", parsed.path()), &[("insecure", "false")]);
    assert!(bench.git.advertise(&short).await.unwrap().branches.contains_key("main"));
}

#[tokio::test]
async fn ssh_a_silent_host_ends_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let bench = Bench::with(|settings| settings.request_timeout = Duration::from_millis(300));
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----";
    let remote = remote(&format!("ssh://git@127.0.0.1:{port}/a.git"), &[("sshPrivateKey", key)]);
    let started = Instant::now();
    let error = bench.git.advertise(&remote).await.unwrap_err();
    assert_eq!(error.kind(), "git-unreachable", "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn ssh_lost_answers_are_looked_up() {
    use std::os::unix::fs::PermissionsExt;
    let server = Sshd::start().await;
    let repository = server.repository("app.git");
    repository.commit("main", "first", &[("a", "1")]);
    let bench = Bench::new();
    know(&bench, &server.known_host());
    let remote = ssh_remote(&server, "app.git");
    for (hook, landed) in [("pre-receive", false), ("post-receive", true)] {
        let path = repository.path().join("hooks").join(hook);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "#!/bin/sh\nkill -9 $PPID\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let tip = bench.tip(&remote, "main").await;
        let made = chain(&bench.git, &tip, &[("a", hook)]).await;
        let outcome = bench.git.push(&remote, "main", Some(tip.id()), &made).await;
        match landed {
            true => assert_eq!(outcome, Ok(())),
            false => assert!(matches!(outcome, Err(PushError::Unknown(_))), "{outcome:?}"),
        }
        assert_eq!(repository.read("main", "a") == hook, landed, "{hook}");
        std::fs::remove_file(path).unwrap();
    }
}

fn ssh_keygen(path: &Path, arguments: &[&str]) {
    let made = std::process::Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(path).args(arguments).status();
    assert!(made.unwrap().success());
}

#[tokio::test]
async fn ssh_keys_of_every_type_log_in() {
    let server = Sshd::start().await;
    server.repository("app.git").commit("main", "first", &[("a", "1")]);
    let bench = Bench::new();
    know(&bench, &server.known_host());
    let folder = server.private_key_file().parent().unwrap().to_owned();
    for (name, arguments) in [
        ("rsa", &["-t", "rsa", "-b", "3072"][..]),
        ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("ecdsa", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa-521-pem", &["-t", "ecdsa", "-b", "521", "-m", "PEM"]),
    ] {
        let path = folder.join(name);
        ssh_keygen(&path, arguments);
        std::fs::copy(path.with_extension("pub"), folder.join("authorized")).unwrap();
        // Trailing white space gets lost in Secrets.
        let key = std::fs::read_to_string(&path).unwrap();
        let remote = remote(&server.url("app.git"), &[("sshPrivateKey", key.trim())]);
        bench.git.advertise(&remote).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[tokio::test]
async fn git_2_the_host_is_asked_for_a_key_of_a_type_that_is_known() {
    use crate::support::process::{Process, listening};
    let server = Sshd::start().await;
    server.repository("app.git").commit("main", "first", &[("a", "1")]);
    let folder = server.private_key_file().parent().unwrap().to_owned();
    let types = ["ecdsa", "rsa"];
    types.iter().for_each(|kind| ssh_keygen(&folder.join(format!("host-{kind}")), &["-t", kind]));
    let config = std::fs::read_to_string(folder.join("config")).unwrap();
    let (_many, port) = listening("sshd-many", |port| {
        let mut text = config.replace(&format!("Port {}", server.port()), &format!("Port {port}"));
        types
            .iter()
            .for_each(|kind| text.push_str(&format!("HostKey {}\n", folder.join(format!("host-{kind}")).display())));
        std::fs::write(folder.join("config-many"), text).unwrap();
        let arguments = ["-D", "-e", "-f", &folder.join("config-many").display().to_string()];
        Process::start("sshd-many", &folder, Path::new("/usr/sbin/sshd"), &arguments)
    })
    .await;
    let bench = Bench::new();
    let key = server.private_key();
    let url = server.url("app.git").replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let remote = remote(&url, &[("sshPrivateKey", &key)]);
    for kind in ["host", "host-ecdsa", "host-rsa"] {
        let public = std::fs::read_to_string(folder.join(format!("{kind}.pub"))).unwrap();
        know(&bench, &format!("[127.0.0.1]:{port} {public}"));
        bench.git.advertise(&remote).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
    }
}
