//! Polls by the number of requests they cost, and who may use which credential: the poller and the credentials of the
//! daemon over a stand-in registry and folders of Secrets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lynceus::adapters::git::{self, Git};
use lynceus::adapters::http::{Gate, Http};
use lynceus::adapters::registry::{Credential, Options, Registries};
use lynceus::adapters::store::Store;
use lynceus::config::registries;
use lynceus::config::secret::Secret;
use lynceus::config::settings::{Settings, Source};
use lynceus::core::application::Application;
use lynceus::core::image::{ImageRef, Selection, Strategy};
use lynceus::daemon::credentials;
use lynceus::daemon::poller::{self, Answer, Ask, Extent, Turn};
use lynceus::daemon::world::{Secrets, World};
use lynceus::demo::registry::{Fault, On, Registry};
use serde_json::json;

use crate::support::control_plane::ControlPlane;
use crate::support::front::{self, Front};

/// A world over one stand-in registry.
struct Stage {
    registry: Registry,
    world: World,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Stage {
        crate::support::tls_provider();
        let registry = Registry::start().await.expect("a port");
        let (world, folder) = world(&format!("registries:\n{}  limit: -1\n", registry.entry()), Settings::default());
        Stage { registry, world, _folder: folder }
    }

    fn ask(&self, path: &str, strategy: &str, constraint: &str) -> Ask {
        let image = ImageRef::parse_reference(&format!("{}/{path}", self.registry.host())).expect("a reference");
        Ask { image, selection: selection(strategy, constraint), credential: None, in_use: None }
    }

    fn turn(&self, group: &str, shared: &[&Ask]) -> Turn {
        let shared: BTreeSet<_> = shared.iter().map(|ask| ask.image.canonical()).collect();
        Turn { group: group.to_owned(), shared: Arc::new(shared), fresh: false, ..alone() }
    }

    async fn poll(&self, turn: &Turn, asks: &[Ask]) -> Vec<Answer> {
        poller::ask(&self.world, turn, asks).await
    }

    /// Listings, and all other requests, since the last call.
    fn asked(&self) -> (usize, usize) {
        let log = self.registry.log();
        self.registry.clear_log();
        let listings = log.iter().filter(|seen| seen.path.ends_with("/tags/list")).count();
        (listings, log.len() - listings)
    }
}

fn world(conf: &str, settings: Settings) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let http = Http::new(Gate::Central);
    let conf = registries::Registries::parse(conf).expect("a file");
    let git = Git::new(git::Settings::new(folder.path()), http.clone());
    (World::new(settings, Registries::new(http.clone(), conf, Options::default()), git, http), folder)
}

/// The only round there is; every tag is told.
fn alone() -> Turn {
    Turn { extent: Extent::Everything, ..Turn::default() }
}

fn selection(strategy: &str, constraint: &str) -> Selection {
    let (strategy, _) = Strategy::parse(strategy).expect("a strategy");
    let (selection, problem) = Selection::new(strategy, Some(constraint).filter(|text| !text.is_empty()), "app");
    assert_eq!(problem, None);
    selection
}

#[tokio::test(flavor = "multi_thread")]
async fn one_poll_for_500_apps_reg_4() {
    let stage = Stage::new().await;
    for n in 0..30 {
        stage.registry.push(
            "team/app",
            &format!("1.0.{n}"),
            &format!("2026-01-{:02}T00:00:00Z", n + 1),
            &["linux/amd64"],
        );
    }
    stage.registry.push_tags("team/other", "2026-01-01T00:00:00Z", ["1.0.0"]);
    // The union of what the users need: names, dates of some, the digest of one.
    let mut asks: Vec<Ask> = (0..500)
        .map(|n| match n % 3 {
            0 => stage.ask("team/app", "semver", "~1.0"),
            1 => stage.ask("team/app", "newest-build", ""),
            _ => stage.ask("team/app", "digest", "1.0.7"),
        })
        .collect();
    let answers = stage.poll(&alone(), &asks).await;
    assert!(answers.iter().all(Result::is_ok));
    // One listing; manifest and configuration of each tag; one HEAD for the digest, which is known by then.
    assert_eq!(stage.asked(), (1, 61));
    stage.poll(&alone(), &asks).await;
    assert_eq!(stage.asked(), (1, 11));
    // Another repository and another credential are other polls.
    asks.truncate(1);
    asks.push(stage.ask("team/other", "semver", "~1.0"));
    for password in ["one", "one", "two"] {
        let credential = Credential { user: "bot".into(), password: Secret::new(password) };
        asks.push(Ask { credential: Some(credential), ..stage.ask("team/app", "semver", "~1.0") });
    }
    stage.poll(&alone(), &asks).await;
    assert_eq!(stage.asked(), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_4_cyc_5_an_answer_younger_than_half_the_interval_serves_other_remotes_too() {
    let stage = Stage::new().await;
    for n in 0..20 {
        stage.registry.push(
            "team/app",
            &format!("1.0.{n}"),
            &format!("2026-01-{:02}T00:00:00Z", n + 1),
            &["linux/amd64"],
        );
    }
    let asks: Vec<Ask> = [("semver", "~1.0"), ("newest-build", ""), ("digest", "1.0.3")]
        .iter()
        .flat_map(|(strategy, constraint)| vec![stage.ask("team/app", strategy, constraint); 100])
        .collect();
    let (one, two, three) =
        (stage.turn("one", &[&asks[0]]), stage.turn("two", &[&asks[0]]), stage.turn("three", &[&asks[0]]));
    // At the same time: whoever comes first asks, the others wait for it.
    let (a, b, c) = tokio::join!(stage.poll(&one, &asks), stage.poll(&two, &asks), stage.poll(&three, &asks));
    assert_eq!((&a, &a), (&b, &c));
    assert!(a.iter().all(Result::is_ok));
    let (listings, others) = stage.asked();
    assert!(listings == 1 && others <= 41, "{listings} listings, {others} others");
    // One remote's answer serves the others; its own next round asks anew.
    assert_eq!(stage.poll(&two, &asks).await, a);
    assert_eq!(stage.asked(), (0, 0));
    assert_eq!(stage.poll(&one, &asks).await, a);
    assert_eq!(stage.asked(), (1, 11));
    stage.registry.push("team/app", "1.0.20", "2026-02-01T00:00:00Z", &["linux/amd64"]);
    assert_eq!(stage.poll(&three, &asks[..1]).await[0].as_ref().map(Vec::len), Ok(20));
    assert_eq!(stage.asked(), (0, 0));
    assert_eq!(stage.poll(&one, &asks[..1]).await[0].as_ref().map(Vec::len), Ok(21));
    assert_eq!(stage.asked(), (1, 0));
    // Somebody wants to know now; or nobody else uses it, so nothing was kept.
    stage.poll(&Turn { fresh: true, ..two.clone() }, &asks[..1]).await;
    assert_eq!(stage.asked(), (1, 0));
    stage.poll(&stage.turn("four", &[]), &asks[..1]).await;
    assert_eq!(stage.asked(), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_5_an_answer_older_than_half_the_interval_serves_nobody_else() {
    let mut stage = Stage::new().await;
    stage.world.settings = Arc::new(Settings { interval: Some(Duration::from_millis(200)), ..Settings::default() });
    stage.registry.push_tags("team/app", "2026-01-01T00:00:00Z", ["1.0.0"]);
    let asks = [stage.ask("team/app", "semver", "~1.0")];
    stage.poll(&stage.turn("one", &[&asks[0]]), &asks).await;
    tokio::time::sleep(Duration::from_millis(110)).await;
    stage.poll(&stage.turn("two", &[&asks[0]]), &asks).await;
    assert_eq!(stage.asked(), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_12_a_failing_repository_is_left_alone_and_its_last_answer_is_never_written_from() {
    let mut stage = Stage::new().await;
    let store = Store::memory().expect("a store");
    stage.world.store = Some(store.clone());
    for path in ["team/app", "team/other"] {
        stage.registry.push_tags(path, "2026-01-01T00:00:00Z", ["1.0.0"]);
    }
    let (app, other) = (stage.ask("team/app", "semver", "~1.0"), stage.ask("team/other", "semver", "~1.0"));
    let digest = stage.ask("team/app", "digest", "1.0.0");
    let asks = [app, digest, other];
    let good = stage.poll(&alone(), &asks).await;
    assert!(good.iter().all(Result::is_ok), "{good:?}");
    stage.asked();
    stage.registry.script_times(3, On::Tags, &Fault::status(502));
    let failed = stage.poll(&alone(), &asks[..1]).await;
    // Two retries in the poll, then it is said. What was good before is no answer: nothing may be written from it.
    assert_eq!(stage.asked(), (3, 0));
    assert_eq!(failed[0].as_ref().map_err(|trouble| trouble.kind), Err("registry-unreachable"));
    assert_eq!(stage.poll(&alone(), &asks[..1]).await, failed);
    assert_eq!(stage.asked(), (0, 0));
    // Whoever needs no listing, and other repositories, go on.
    let answers = stage.poll(&alone(), &asks).await;
    assert!(answers[0] == failed[0] && answers[1..].iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(stage.asked(), (1, 1));
    // A person who asks is answered.
    assert_eq!(stage.poll(&Turn { fresh: true, ..alone() }, &asks[..1]).await, good[..1]);
    assert_eq!(stage.asked(), (1, 0));
    // A command that explains shows the last list instead, and says so.
    stage.world.store = None;
    stage.world.past = Some(store);
    stage.registry.script_times(3, On::Tags, &Fault::status(502));
    assert_eq!(stage.poll(&alone(), &asks[..1]).await, good[..1]);
    let said = format!("{:?}", stage.world.board.status().problems);
    assert!(said.contains("registry-unreachable") && said.contains("as listed since"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_13_a_secret_that_changes_during_a_round_is_read_anew_and_asked_with_once() {
    let ns = ControlPlane::get().await.namespace("reg13").await;
    let (asked, mut asking) = tokio::sync::mpsc::unbounded_channel::<tokio::sync::oneshot::Sender<()>>();
    let users = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = users.clone();
    // A registry that knows the new password only, and answers the old one after the Secret has changed.
    let registry = Front::start(None, move |request| {
        let (asked, seen) = (asked.clone(), seen.clone());
        async move {
            let Some((_, password)) = front::basic(&request) else {
                let mut answer = front::text(401, "{}");
                answer.headers_mut().insert("www-authenticate", "Basic realm=\"x\"".parse().expect("a header"));
                return Ok(answer);
            };
            seen.lock().unwrap().push(password.clone());
            if password == "new" {
                return Ok(front::text(200, r#"{"tags":["1.0.0","1.0.1"]}"#));
            }
            let (changed, done) = tokio::sync::oneshot::channel();
            asked.send(changed).ok();
            done.await.ok();
            let mut answer = front::text(401, "{}");
            answer.headers_mut().insert("www-authenticate", "Basic realm=\"x\"".parse().expect("a header"));
            Ok(answer)
        }
    });
    let host = registry.address().to_string();
    let form = format!("secret:{}/login#value", ns.name);
    let secret = |password: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" },
            "stringData": { "value": format!("bot:{password}") },
        })
    };
    ns.apply_json(secret("old")).await;
    let conf = format!("registries:\n- name: x\n  prefix: {host}\n  api_url: http://{host}\n  credentials: {form}\n");
    let (mut world, _folder) =
        world(&conf, Settings { source: Source::Cluster, argocd_namespace: ns.name.clone(), ..Settings::default() });
    let kubeconfig = ns.kubeconfig_admin();
    let cluster = lynceus::adapters::cluster::Cluster::connect(Some(&kubeconfig)).await.expect("the cluster");
    world.secrets = Secrets::Cluster(cluster, Arc::default());
    let app = app(&ns.name, &[("image-list", &format!("app={host}/team/web:~1.0"))]);
    let apps = [app];
    let round = lynceus::daemon::round::look(&world, &apps);
    let change = async {
        let changed = asking.recv().await.expect("the registry is asked");
        ns.patch("v1", "Secret", "login", &json!({ "stringData": { "value": "bot:new" } })).await;
        changed.send(()).ok();
        // A second answer to the old password would wait for ever.
        asking.recv().await
    };
    let round = tokio::select! { round = round => round, _ = change => panic!("asked with the old one again") };
    assert_eq!(*users.lock().unwrap(), ["old", "new"]);
    let trouble = &round.looked[0].survey.images[0].trouble;
    assert!(trouble.as_ref().is_none_or(|trouble| !trouble.kind.starts_with("registry")), "{trouble:?}");
}

/// An Application of this namespace with these annotations.
fn app(namespace: &str, annotations: &[(&str, &str)]) -> Arc<Application> {
    let prefixed = |(key, value): &(&str, &str)| (format!("argocd-image-updater.argoproj.io/{key}"), json!(value));
    let annotations: serde_json::Map<String, serde_json::Value> = annotations.iter().map(prefixed).collect();
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": { "name": "web", "namespace": namespace, "uid": "u", "annotations": annotations },
        "spec": { "project": "default", "source": { "repoURL": "https://git.invalid/x.git", "path": "." } },
    });
    Arc::new(Application::decode(&object.to_string()).expect("an Application"))
}

/// How a form is written.
type Spell = fn(&str) -> String;

#[tokio::test(flavor = "multi_thread")]
async fn cross_namespace_matrix_cred_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = r#"{"auths":{"ghcr.io":{"username":"u","password":"p"}}}"#;
    for (namespace, name, shared) in [
        ("team-a", "own", None),
        ("team-b", "closed", None),
        ("team-b", "other", Some("team-c")),
        ("team-b", "open", Some("team-c, team-a")),
        ("team-b", "all", Some("*")),
        ("team-b", "prefix", Some("team-a-and-more")),
    ] {
        let annotations = shared.map(|list| json!({ "lynceus.dev/share-with": list }));
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "namespace": namespace, "annotations": annotations },
            "stringData": { "f": "u:p", ".dockerconfigjson": config },
        });
        std::fs::write(folder.path().join(format!("{name}.yaml")), secret.to_string()).expect("a file");
    }
    // Whoever reads the form reads it whatever its spelling; so does whoever decides about it.
    let spellings: [(&str, Spell); 4] = [
        ("plain", |form| form.to_owned()),
        ("kind in capitals", |form| {
            let (kind, place) = form.split_once(':').expect("a kind");
            format!("{}:{place}", kind.to_uppercase())
        }),
        ("old prefix", |form| format!("ghcr.io={form}")),
        ("blanks around", |form| format!("  {form} ")),
    ];
    let forms: [(&str, Spell); 2] =
        [("pullsecret", |secret| format!("pullsecret:{secret}")), ("secret", |secret| format!("secret:{secret}#f"))];
    let image = ImageRef::parse_reference("ghcr.io/team/web").expect("a reference");
    for switch in [false, true] {
        let settings = Settings { cross_namespace_secrets: switch, ..Settings::default() };
        let (mut world, _mirrors) = world("registries: []\n", settings);
        world.secrets = Secrets::from_directory(folder.path(), "argocd").expect("Secrets");
        for (secret, granted) in [
            ("team-a/own", true),
            ("team-b/closed", switch),
            ("team-b/other", switch),
            ("team-b/open", true),
            ("team-b/all", true),
            ("team-b/prefix", switch),
        ] {
            for ((spelling, spell), (kind, form)) in
                spellings.iter().flat_map(|spelling| forms.iter().map(move |form| (spelling, form)))
            {
                let label = format!("{secret}, {kind}, {spelling}, switch {switch}");
                let text = spell(&form(secret));
                let app = app("team-a", &[]);
                let found = credentials::for_registry(&world, &app, &image, Some(&text)).await;
                match found {
                    Ok(Some(credential)) => assert!(granted && credential.user == "u", "{label}"),
                    Err(trouble) => {
                        assert!(!granted && trouble.kind == "credential-forbidden", "{label}: {trouble:?}");
                        assert!(trouble.text.contains("lynceus.dev/share-with: team-a"), "{label}: {trouble:?}");
                    }
                    Ok(None) => panic!("{label}: nothing"),
                }
            }
        }
        // A Secret of another namespace that is not there is not told from one that is.
        let text = "secret:team-b/nowhere#f";
        let found = credentials::for_registry(&world, &app("team-a", &[]), &image, Some(text)).await;
        let kind = found.expect_err("no Secret").kind;
        assert_eq!(kind, if switch { "credentials-invalid" } else { "credential-forbidden" });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cred_3_variables_are_open_to_tenants_only_by_name_and_cred_6_nothing_falls_back() {
    let conf = "registries:\n- name: a\n  prefix: ghcr.io/op\n  api_url: https://ghcr.io\n  credentials: env:LYNCEUS_TEST_ABSENT\n";
    let settings = Settings { tenant_credential_env: vec!["LYNCEUS_TEST_ALLOWED".to_owned()], ..Settings::default() };
    let (world, _mirrors) = world(conf, settings);
    for (image, form, kind) in [
        ("ghcr.io/t/web", Some("env:PATH"), "credential-forbidden"),
        ("ghcr.io/t/web", Some("ENV:PATH"), "credential-forbidden"),
        ("ghcr.io/t/web", Some("ghcr.io=env:PATH"), "credential-forbidden"),
        // Allowed, but nobody set it; the operator's entry needs no permission.
        ("ghcr.io/t/web", Some("env:LYNCEUS_TEST_ALLOWED"), "credentials-invalid"),
        ("ghcr.io/op/web", None, "credentials-invalid"),
        ("ghcr.io/t/web", Some("secret:argocd/login"), "credentials-invalid"),
        ("ghcr.io/t/web", Some("pull-secret:argocd/login"), "credentials-invalid"),
    ] {
        let image = ImageRef::parse_reference(image).expect("a reference");
        let found = credentials::for_registry(&world, &app("argocd", &[]), &image, form).await;
        assert_eq!(found.expect_err("no anonymous access instead").kind, kind, "{form:?}");
    }
    let image = ImageRef::parse_reference("ghcr.io/t/web").expect("a reference");
    let found = credentials::for_registry(&world, &app("argocd", &[]), &image, None).await;
    assert_eq!(found, Ok(None), "none is wanted");
}
