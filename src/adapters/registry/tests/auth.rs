//! REG-5, REG-13, REG-14, REG-15: challenges, tokens, and where credentials go.

use super::super::challenge::{Challenge, RealmRule, parse, realm_rule};
use super::*;
use crate::adapters::http::Url;
use crate::demo::registry::{Fault, On};
use base64::Engine;

fn basic(user: &str, password: &str) -> Option<String> {
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))))
}

#[test]
fn reg_5_challenges_are_read_however_they_are_written() {
    let bearer = |realm: &str, service: Option<&str>| {
        Some(Challenge::Bearer { realm: Url::parse(realm).expect("a URL"), service: service.map(str::to_owned) })
    };
    for (header, wanted) in [
        (
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
            bearer("https://auth.docker.io/token", Some("registry.docker.io")),
        ),
        (r#"bearer  Service="a, \"b\"" , realm="https://a/t""#, bearer("https://a/t", Some("a, \"b\""))),
        (r#"Bearer realm=https://a/t,service=x"#, bearer("https://a/t", Some("x"))),
        (r#"Bearer realm="https://a/t",error="invalid_token""#, bearer("https://a/t", None)),
        (r#"Basic realm="x", Bearer realm="https://a/t""#, bearer("https://a/t", None)),
        (r#"BASIC realm="Registry Realm""#, Some(Challenge::Basic)),
        ("Basic", Some(Challenge::Basic)),
        (r#"Bearer realm="not a url""#, None),
        (r#"Bearer service="x""#, None),
        ("Negotiate abc==", None),
        ("", None),
        (",,,=\"", None),
        (r#"Bearer realm="https://a/t"#, bearer("https://a/t", None)),
    ] {
        assert_eq!(parse([header].into_iter()), wanted, "{header}");
    }
    let two = [r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#];
    assert_eq!(parse(two.into_iter()), bearer("https://a/t", None));
}

#[test]
fn realm_rules_reg_14() {
    let allowed = [
        ("registry.example.com".to_owned(), "login.other.net".to_owned()),
        ("r.io:5000".to_owned(), "x.org".to_owned()),
    ];
    use RealmRule::{AnonymousOnly, Credential};
    for (registry, realm, wanted) in [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", Credential),
        ("https://index.docker.io", "https://auth.docker.io/token", Credential),
        ("https://registry.hub.docker.com", "https://auth.docker.io/token", Credential),
        ("https://evil.example", "https://auth.docker.io/token", AnonymousOnly),
        ("https://ghcr.io", "https://ghcr.io/token", Credential),
        ("https://harbor.example.com:8443", "https://harbor.example.com:8443/service/token", Credential),
        ("https://harbor.example.com:8443", "https://harbor.example.com/service/token", Credential),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", Credential),
        ("https://registry.example.co.uk", "https://auth.example.co.uk/t", Credential),
        ("https://a.co.uk", "https://b.co.uk/t", AnonymousOnly),
        ("https://me.github.io", "https://you.github.io/t", AnonymousOnly),
        ("https://a.azurecr.io", "https://b.azurecr.io/t", AnonymousOnly),
        ("https://registry.example.com", "https://registry.example.com.evil.net/t", AnonymousOnly),
        ("https://registry.example.com", "https://evilexample.com/t", AnonymousOnly),
        ("https://registry.example.com", "https://login.other.net/t", Credential),
        ("https://other.example.com", "https://login.other.net/t", AnonymousOnly),
        ("https://r.io:5000", "https://x.org/t", Credential),
        ("https://10.0.0.1", "https://10.0.0.2/t", AnonymousOnly),
        ("https://registry.example.com", "http://registry.example.com/t", RealmRule::Nothing("it must be https")),
        ("http://registry.local:5000", "http://registry.local:5001/t", Credential),
        ("http://registry.local:5000", "https://registry.local/t", Credential),
        ("https://registry.example.com", "ftp://registry.example.com/t", RealmRule::Nothing("it must be https")),
        ("https://registry.example.com", "https://127.0.0.1/t", RealmRule::Nothing("it points back at this machine")),
        ("https://registry.example.com", "https://[::1]/t", RealmRule::Nothing("it points back at this machine")),
        (
            "https://registry.example.com",
            "https://localhost:8001/t",
            RealmRule::Nothing("it points back at this machine"),
        ),
        ("http://localhost:5000", "http://127.0.0.1:5001/t", AnonymousOnly),
    ] {
        let (base, url) = (Url::parse(registry).expect("a URL"), Url::parse(realm).expect("a URL"));
        assert_eq!(realm_rule(&base, &url, &allowed), wanted, "{registry} {realm}");
    }
}

#[tokio::test]
async fn reg_15_an_open_registry_never_sees_a_credential() {
    let stage = Stage::new().await;
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    let bot = credential("bot", "hunter2");
    stage.list("team/app", Access::from(Some(&bot))).await.expect("a listing");
    assert!(stage.registry.log().iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn reg_5_basic_is_sent_once_asked_for_and_from_then_on_at_once() {
    let stage = Stage::new().await;
    stage.registry.behave(|habits| habits.auth = Auth::Basic("org+robot".into(), "pa:ss".into()));
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    let robot = credential("org+robot", "pa:ss");
    for _ in 0..2 {
        assert_eq!(stage.list("team/app", Access::from(Some(&robot))).await.expect("a listing").tags, ["a"]);
    }
    let sent: Vec<Option<String>> = stage.registry.log().iter().map(|seen| seen.authorization.clone()).collect();
    assert_eq!(sent, [None, basic("org+robot", "pa:ss"), basic("org+robot", "pa:ss")]);
    let error = stage.tags("team/app").await.expect_err("nobody");
    assert_eq!(error.kind(), "registry-auth");
}

#[tokio::test]
async fn token_reuse_until_expiry_reg_5() {
    let stage = Stage::new().await;
    stage.registry.behave(|habits| habits.auth = token_auth());
    for path in ["team/app", "team/other"] {
        stage.registry.push_tags(path, "2026-01-01T00:00:00Z", ["a"]);
    }
    let bot = credential("bot", "hunter2");
    let access = Access::from(Some(&bot));
    stage.list("team/app", access).await.expect("a listing");
    assert_eq!(stage.asked(), ["GET /v2/team/app/tags/list 401", "GET /token 200", "GET /v2/team/app/tags/list 200"]);
    stage.list("team/app", access).await.expect("a listing");
    assert_eq!(stage.asked(), ["GET /v2/team/app/tags/list 200"]);
    // The challenge is known by now: another repository costs no 401.
    stage.list("team/other", access).await.expect("a listing");
    let log = stage.registry.log();
    assert_eq!(log.len(), 2);
    assert!(log[0].query.contains("scope=repository%3Ateam%2Fother%3Apull"), "{}", log[0].query);
    assert!(log[0].query.contains("service=stage%2C+the+registry"), "{}", log[0].query);
    assert_eq!(log[0].authorization, basic("bot", "hunter2"));
    assert!(log[1].authorization.as_deref().is_some_and(|a| a.starts_with("Bearer token-")));
    // Another credential has its own token.
    stage.registry.clear_log();
    let wrong = credential("bot", "hunter3");
    let error = stage.list("team/app", Access::from(Some(&wrong))).await.expect_err("wrong password");
    assert_eq!(error.kind(), "registry-auth");
    assert!(!error.to_string().contains("hunter3"), "{error}");
    assert_eq!(stage.asked(), ["GET /token 401"]);
}

#[tokio::test]
async fn reg_5_many_users_of_one_repository_share_one_token() {
    let stage = Stage::with("  limit: -1\n", Options::default()).await;
    stage.registry.behave(|habits| habits.auth = Auth::Token(None));
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    stage.tags("team/app").await.expect("a listing");
    stage.registry.revoke_tokens();
    stage.registry.clear_log();
    let all = futures::future::join_all((0..20).map(|_| stage.tags("team/app"))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let tokens = stage.registry.log().iter().filter(|seen| seen.path == "/token").count();
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn reg_13_a_revoked_token_is_renewed_once() {
    let stage = Stage::new().await;
    stage.registry.behave(|habits| habits.auth = token_auth());
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    let bot = credential("bot", "hunter2");
    stage.list("team/app", Access::from(Some(&bot))).await.expect("a listing");
    stage.registry.revoke_tokens();
    stage.asked();
    stage.list("team/app", Access::from(Some(&bot))).await.expect("a listing");
    assert_eq!(stage.asked(), ["GET /v2/team/app/tags/list 401", "GET /token 200", "GET /v2/team/app/tags/list 200"]);
    // 403 with a token: the same once, then it is said.
    stage.registry.script_times(2, On::Tags, &Fault::status(403));
    let error = stage.list("team/app", Access::from(Some(&bot))).await.expect_err("forbidden");
    assert_eq!(error.kind(), "registry-auth");
    assert_eq!(stage.asked(), ["GET /v2/team/app/tags/list 403", "GET /token 200", "GET /v2/team/app/tags/list 403"]);
    assert!(error.to_string().contains("as user \"bot\""), "{error}");
}

/// A registry with habits of its own.
struct Dialect {
    label: &'static str,
    /// What people write, without the registry.
    image: &'static str,
    /// The repository that is asked for.
    repository: &'static str,
    /// Who asks; nobody has no credential.
    who: Option<(&'static str, &'static str)>,
    /// Whether tokens are given to anybody.
    open: bool,
    token_path: &'static str,
    page: usize,
    /// More of its entry.
    entry: &'static str,
}

const DIALECTS: [Dialect; 7] = [
    Dialect {
        label: "generic distribution",
        image: "team/app",
        repository: "team/app",
        who: Some(("bot", "hunter2")),
        open: false,
        token_path: "/token",
        page: 1_000,
        entry: "",
    },
    Dialect {
        label: "Docker Hub: library/, anonymous tokens",
        image: "nginx",
        repository: "library/nginx",
        who: None,
        open: true,
        token_path: "/token",
        page: 1_000,
        entry: "  defaultns: library\n",
    },
    Dialect {
        label: "Docker Hub: a personal access token",
        image: "acme/app",
        repository: "acme/app",
        who: Some(("acme", "dckr_pat_123456")),
        open: false,
        token_path: "/token",
        page: 100,
        entry: "  defaultns: library\n",
    },
    Dialect {
        label: "GHCR: a token is needed even for public images",
        image: "org/public",
        repository: "org/public",
        who: None,
        open: true,
        token_path: "/token",
        page: 1_000,
        entry: "",
    },
    Dialect {
        label: "GHCR: any user name with a PAT",
        image: "org/private",
        repository: "org/private",
        who: Some(("whoever", "ghp_123456")),
        open: false,
        token_path: "/token",
        page: 1_000,
        entry: "",
    },
    Dialect {
        label: "Quay: org+robot, small pages",
        image: "org/app",
        repository: "org/app",
        who: Some(("org+robot", "QUAYPASS")),
        open: false,
        token_path: "/v2/auth",
        page: 50,
        entry: "",
    },
    Dialect {
        label: "Harbor: robot$name, /service/token",
        image: "proj/deep/app",
        repository: "proj/deep/app",
        who: Some(("robot$proj+ci", "s3cret")),
        open: false,
        token_path: "/service/token",
        page: 100,
        entry: "",
    },
];

#[tokio::test]
async fn registry_dialect_fakes_reg_15_reg_5() {
    for Dialect { label, image, repository, who, open, token_path, page, entry } in DIALECTS {
        let stage = Stage::with(entry, Options::default()).await;
        stage.registry.behave(|habits| {
            let account = who.filter(|_| !open).map(|(user, password)| (user.to_owned(), password.to_owned()));
            habits.auth = Auth::Token(account);
            habits.token_path = token_path.to_owned();
            habits.page = page;
        });
        let tags: Vec<String> = (0..120).map(|n| format!("v{n:04}")).collect();
        stage.registry.push_tags(repository, "2026-01-01T00:00:00Z", tags.iter().map(String::as_str));
        let image = stage.image(image);
        assert_eq!(stage.registries.repository_of(&image), repository, "{label}");
        let endpoint = stage.registries.endpoint_of(&image);
        let given = who.map(|(user, password)| credential(user, password));
        let access = Access::from(given.as_ref());
        let listing = stage.registries.tags(&endpoint, repository, access).await;
        assert_eq!(listing.unwrap_or_else(|e| panic!("{label}: {e}")).tags, tags, "{label}");
        let platforms = stage.platforms(&["linux/amd64"]);
        let question =
            Question { tags: &tags[..1], detail: Detail::Created, platforms: &platforms, ..Question::default() };
        let described = stage.registries.describe(&endpoint, repository, question, access).await;
        let described = described.unwrap_or_else(|e| panic!("{label}: {e}"));
        assert!(described[0].candidate(&platforms).created.is_some(), "{label}: {described:?}");
        // One challenge, one token with the account and the scope, one page after the other, manifest and configuration.
        let log = stage.registry.log();
        let pages = tags.len().div_ceil(page);
        assert_eq!((endpoint.requests().tokens, log.len()), (1, 2 + pages + 2), "{label}");
        assert_eq!((log[0].status, log[0].authorization.as_ref()), (401, None), "{label}");
        assert_eq!(log[1].path, token_path, "{label}");
        assert_eq!(log[1].authorization, who.and_then(|(user, password)| basic(user, password)), "{label}");
        let scope: String = url::form_urlencoded::byte_serialize(repository.as_bytes()).collect();
        assert!(log[1].query.contains(&format!("scope=repository%3A{scope}%3Apull")), "{label}: {}", log[1].query);
        let bearer = |seen: &crate::demo::registry::Seen| seen.authorization.as_deref() == Some("Bearer token-1");
        assert!(log[2..].iter().all(bearer), "{label}");
    }
}

#[test]
fn reg_15_docker_hub_is_asked_ten_times_a_second_at_most() {
    let hub = Registries::new(Http::new(Gate::Central), conf::Registries::builtin(), Options::default());
    let image = ImageRef::parse_reference("nginx").expect("a reference");
    assert_eq!(hub.endpoint_of(&image).rate(), Some(10.0));
    assert_eq!(hub.repository_of(&image), "library/nginx");
    assert_eq!(hub.endpoint_of(&image).host(), "registry-1.docker.io");
}

#[tokio::test]
async fn reg_14_a_foreign_realm_receives_no_credential() {
    let stage = Stage::new().await;
    // Both listen on this machine; the second is known by another name, so it is another host.
    let foreign = Registry::start().await.expect("a port");
    foreign.behave(|habits| habits.auth = Auth::Token(None));
    let port = foreign.host().rsplit(':').next().expect("a port").to_owned();
    stage.registry.behave(|habits| {
        habits.auth = token_auth();
        habits.realm = Some(format!("http://localhost:{port}/token"));
    });
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    let bot = credential("bot", "hunter2");
    let error = stage.list("team/app", Access::from(Some(&bot))).await.expect_err("an anonymous token does not help");
    assert_eq!(error.kind(), "registry-auth");
    assert!(error.to_string().contains("localhost"), "{error}");
    assert!(foreign.log().iter().all(|seen| seen.authorization.is_none()), "{:?}", foreign.log());
    assert_eq!(foreign.log().len(), 1);
    let problems = stage.endpoint().problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].hint.contains("--registry-realm"), "{problems:?}");
}

#[tokio::test]
async fn reg_14_an_allowed_realm_receives_it() {
    let foreign = Registry::start().await.expect("a port");
    foreign.behave(|habits| habits.auth = token_auth());
    let port = foreign.host().rsplit(':').next().expect("a port").to_owned();
    let options = Options { realms: vec![("127.0.0.1".into(), "localhost".into())], ..Options::default() };
    let stage = Stage::with("", options).await;
    stage.registry.behave(|habits| {
        habits.auth = token_auth();
        habits.realm = Some(format!("http://localhost:{port}/token"));
    });
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["a"]);
    let bot = credential("bot", "hunter2");
    // The stand-ins do not know each other's tokens; what counts is what was sent.
    let error = stage.list("team/app", Access::from(Some(&bot))).await.expect_err("tokens of another");
    assert_eq!(error.kind(), "registry-auth");
    assert_eq!(foreign.log()[0].authorization, basic("bot", "hunter2"));
    assert!(stage.endpoint().problems().is_empty());
}

#[tokio::test]
async fn reg_14_a_blob_elsewhere_is_fetched_without_authorization() {
    let stage = Stage::new().await;
    let store = Registry::start().await.expect("a port");
    stage.registry.behave(|habits| habits.auth = token_auth());
    stage.registry.push("team/app", "1", "2026-01-01T00:00:00Z", &["linux/amd64"]);
    // The same image elsewhere has the same blobs.
    store.push("team/app", "1", "2026-01-01T00:00:00Z", &["linux/amd64"]);
    let bot = credential("bot", "hunter2");
    let access = Access::from(Some(&bot));
    let platforms = stage.platforms(&["linux/amd64"]);
    let mut created = None;
    // A first look teaches the challenge; then the blob's request is scripted to lead away.
    let tags = ["1".to_owned()];
    stage.list("team/app", access).await.expect("a listing");
    let config = {
        let elsewhere = Stage { registry: store, registries: stage.registries.clone() };
        let digest = {
            let config = serde_json::json!({
                "os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z",
                "config": {"Labels": {"org.opencontainers.image.version": "1"}},
            });
            crate::demo::registry::digest_of(config.to_string().as_bytes())
        };
        stage.registry.script(
            On::Blob,
            Fault::Redirect(format!("http://{}/v2/team/app/blobs/{digest}", elsewhere.registry.host())),
        );
        let image = stage.image("team/app");
        let found = stage.registries.candidates(&image, &tags, Detail::Created, &platforms, access).await;
        created.clone_from(&found.expect("a candidate")[0].created);
        elsewhere.registry.log()
    };
    assert_eq!(config.len(), 1);
    assert_eq!((config[0].status, config[0].authorization.as_ref()), (200, None));
    assert!(created.is_some());
}
