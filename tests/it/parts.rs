//! Every real part starts and answers: if one of these fails, look at the machine before you look at the code.

use std::time::Duration;

use kube::api::{Api, DynamicObject, ListParams};
use serde_json::json;

use crate::support::control_plane::ControlPlane;
use crate::support::real::{Access, Fault, GitHttp, Image, Registry, Smtp, SmtpMode, Sshd};
use crate::support::tls_provider;

#[tokio::test]
async fn control_plane_serves_applications_with_rbac_on() {
    let ns = ControlPlane::get().await.namespace("parts").await;
    ns.apply("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web}\nspec: {project: default}\n")
        .await;
    let web = ns.object("argoproj.io/v1alpha1", "Application", "web").await.expect("it is there");
    assert_eq!(web["spec"], json!({ "project": "default" }));

    let nobody = ns.kubeconfig_for("nobody").await;
    let config = kube::config::Kubeconfig::read_from(&nobody).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.expect("a configuration");
    let client = kube::Client::try_from(config).expect("a client");
    let kind = kube::core::GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
    let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, "applications");
    let refused = Api::<DynamicObject>::default_namespaced_with(client, &resource).list(&ListParams::default()).await;
    let refused = refused.expect_err("nobody granted anything").to_string();
    assert!(refused.contains("forbidden") && refused.contains(":nobody"), "{refused}");
}

#[tokio::test]
async fn registry_lists_what_was_pushed_for_each_kind_of_access() {
    tls_provider();
    let (user, password) = ("robot".to_owned(), "pa:ss".to_owned());
    for access in
        [Access::Open, Access::Basic(user.clone(), password.clone()), Access::Token(user.clone(), password.clone())]
    {
        let registry = Registry::start(access.clone()).await;
        let image = Image::new("one", "2026-01-02T03:04:05Z");
        let pushed = registry.push("team/web", "1.0", &image).await;
        let arm = image.clone().platform("linux/arm64/v8");
        registry.push_index("team/web", "1.1", &[image, arm]).await;
        registry.tag("team/web", "1.0", ["1.0.1".to_owned(), "stable".to_owned()]).await;

        let client = reqwest::Client::new();
        let url = format!("{}/v2/team/web/tags/list", registry.base());
        let request = match &access {
            Access::Open => client.get(&url),
            _ => {
                let refused = client.get(&url).send().await.expect("an answer");
                assert_eq!(refused.status(), 401, "{access:?}");
                match &access {
                    Access::Basic(..) => client.get(&url).basic_auth(&user, Some(&password)),
                    _ => {
                        let challenge = refused.headers()["www-authenticate"].to_str().expect("text").to_owned();
                        assert!(challenge.contains(&registry.tokens().realm()), "{challenge}");
                        let scope = [("service", "registry.test"), ("scope", "repository:team/web:pull")];
                        let ask = client.get(registry.tokens().realm()).query(&scope);
                        let answer = ask.basic_auth(&user, Some(&password)).send().await.expect("an answer");
                        let answer: serde_json::Value = answer.json().await.expect("JSON");
                        client.get(&url).bearer_auth(answer["token"].as_str().expect("a token"))
                    }
                }
            }
        };
        let answer = request.send().await.expect("an answer");
        let list: serde_json::Value = answer.json().await.expect("JSON");
        let mut tags: Vec<&str> = list["tags"].as_array().expect("tags").iter().filter_map(|t| t.as_str()).collect();
        tags.sort();
        assert_eq!(tags, ["1.0", "1.0.1", "1.1", "stable"], "{access:?}");
        assert!(pushed.digest.starts_with("sha256:"));
    }
}

#[tokio::test]
async fn registry_speaks_tls_by_the_shared_authority() {
    let registry = Registry::start_tls(Access::Open).await;
    registry.push("web", "1.0", &Image::new("one", "2026-01-02T03:04:05Z")).await;
    let stranger = reqwest::Client::builder().no_proxy().build().expect("a client");
    stranger.get(format!("{}/v2/", registry.base())).send().await.expect_err("an unknown authority is refused");
}

#[test]
fn git_over_https_asks_for_the_password_and_fails_on_command() {
    let server = GitHttp::start("robot", "secret");
    let repository = server.repository("team/app.git");
    let first = repository.commit("main", "first", &[("a.txt", "one\n"), ("folder/b.txt", "two\n")]);
    let folder = tempfile::tempdir().expect("a folder");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, server.ca()).expect("a file");
    let git = |credentials: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.current_dir(folder.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_SSL_CAINFO", &authority);
        command.args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]);
        let url = server.url("team/app.git").replace("https://", &format!("https://{credentials}"));
        command.args(arguments.iter().map(|a| a.replace("URL", &url)));
        command.output().expect("git is installed")
    };
    assert!(!git("", &["clone", "--quiet", "URL", "refused"]).status.success(), "no password, no clone");
    let cloned = git("robot:secret@", &["clone", "--quiet", "URL", "clone"]);
    assert!(cloned.status.success(), "{}", String::from_utf8_lossy(&cloned.stderr));
    assert_eq!(std::fs::read_to_string(folder.path().join("clone/folder/b.txt")).expect("a file"), "two\n");
    assert!(server.requests()[0].starts_with("GET /team/app.git/info/refs"));

    for (n, fault, lands) in [(1, Fault::CutBeforePush, false), (2, Fault::CutAfterPush, true)] {
        let before = repository.tip("main");
        assert!(
            git("", &["-C", "clone", "commit", "--quiet", "--allow-empty", "-m", &format!("{n}")]).status.success()
        );
        server.fail_next(fault.clone());
        assert!(!git("", &["-C", "clone", "push", "--quiet", "origin", "main"]).status.success(), "{fault:?}");
        assert_eq!(repository.tip("main") != before, lands, "{fault:?}");
    }
    server.fail_next(Fault::MoveBranch("main".into(), "c.txt".into(), "three\n".into()));
    assert!(git("", &["-C", "clone", "commit", "--quiet", "--allow-empty", "-m", "3"]).status.success());
    let lost = git("", &["-C", "clone", "push", "--quiet", "origin", "main"]);
    assert!(!lost.status.success(), "somebody else was faster");
    assert_eq!(repository.read("main", "c.txt"), "three\n");
    assert_eq!(repository.log("main").last(), Some(&first));
    repository.check();
}

#[tokio::test]
async fn sshd_lets_the_key_in_and_shows_its_host_key() {
    let server = Sshd::start().await;
    server.repository("app.git").commit("main", "first", &[("a.txt", "one\n")]);
    let folder = tempfile::tempdir().expect("a folder");
    let known = folder.path().join("known_hosts");
    for (line, let_in) in [(server.known_host(), true), (server.known_host_with_other_key(), false)] {
        std::fs::write(&known, line + "\n").expect("a file");
        let ssh = format!(
            "ssh -F none -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes -i {} -o UserKnownHostsFile={}",
            server.private_key_file().display(),
            known.display()
        );
        let mut command = std::process::Command::new("git");
        command.args(["ls-remote", &server.url("app.git"), "main"]).env("GIT_SSH_COMMAND", ssh);
        let output = command.output().expect("git is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), let_in, "{errors}");
    }
}

#[tokio::test]
async fn smtp_wants_tls_and_a_login_and_keeps_what_it_accepts() {
    use lettre::transport::smtp::authentication::Credentials;
    use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
    use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
    tls_provider();
    for mode in [SmtpMode::Plain, SmtpMode::StartTls, SmtpMode::ImplicitTls] {
        let server = Smtp::start(mode, "robot", "secret").await;
        let authority = Certificate::from_pem(server.ca().as_bytes()).expect("a certificate");
        let tls = TlsParameters::builder("127.0.0.1".into()).add_root_certificate(authority).build_rustls();
        let tls = match mode {
            SmtpMode::Plain => Tls::None,
            SmtpMode::StartTls => Tls::Required(tls.expect("parameters")),
            SmtpMode::ImplicitTls => Tls::Wrapper(tls.expect("parameters")),
        };
        let transport = |password: &str| {
            let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1");
            builder = builder.port(server.port()).tls(tls.clone()).timeout(Some(Duration::from_secs(10)));
            if mode != SmtpMode::Plain {
                builder = builder.credentials(Credentials::new("robot".into(), password.into()));
            }
            builder.build()
        };
        let message = |to: &str| {
            let builder = Message::builder().from("a@example.com".parse().expect("an address"));
            builder.to(to.parse().expect("an address")).subject("hello").body("text\n".to_owned()).expect("a message")
        };
        let send = async |password: &str, to: &str| {
            let (transport, message) = (transport(password), message(to));
            let sent = tokio::time::timeout(Duration::from_secs(20), transport.send(message)).await;
            sent.unwrap_or_else(|_| panic!("{mode:?} {password} {to}: no end"))
        };
        send("secret", "b@example.com").await.unwrap_or_else(|e| panic!("{mode:?}: {e}"));
        if mode != SmtpMode::Plain {
            send("wrong", "b@example.com").await.expect_err("a wrong password");
        }
        send("secret", "refused@example.com").await.expect_err("refused");
        send("secret", "swallowed@example.com").await.expect_err("no answer");
        let mails = server.wait_for_mails(2).await;
        assert_eq!(mails.len(), 2, "{mode:?}");
        assert_eq!(
            (mails[0].from.as_str(), mails[0].to.as_slice()),
            ("a@example.com", ["b@example.com".to_owned()].as_slice())
        );
        assert_eq!(mails[0].tls, mode != SmtpMode::Plain, "{mode:?}");
        assert_eq!(mails[0].login, if mode == SmtpMode::Plain { "" } else { "robot" }, "{mode:?}");
        assert!(mails[0].content.contains("Subject: hello\r\n"), "{}", mails[0].content);
    }
}
