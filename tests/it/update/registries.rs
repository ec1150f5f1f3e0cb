//! Registries and their credentials under the running daemon: what a round asks and what a restart asks again, a
//! registries.conf and Secrets that change, labels in commit messages.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{PREFIX, Stage, application, repository_secret};
use crate::support::counting::Counting;
use crate::support::house::House;
use crate::support::real::{Access, Image};
use crate::support::wait_for;

/// Requests by kind: listings, HEADs, manifests, blobs.
fn kinds(requests: &[String]) -> [usize; 4] {
    let count =
        |method: &str, part: &str| requests.iter().filter(|r| r.starts_with(method) && r.contains(part)).count();
    [count("GET", "/tags/list"), count("HEAD", "/manifests/"), count("GET", "/manifests/"), count("GET", "/blobs/")]
}

/// The daemon over a folder of Applications, without a cluster.
fn offline(stage: &Stage, apps: &[Value], interval: &str) -> House {
    let house = stage.house();
    for app in apps {
        let name = app["metadata"]["name"].as_str().expect("a name");
        house.file(&format!("applications/{name}.yaml"), &app.to_string());
    }
    let secret = repository_secret("repository", &stage.url(), &[("username", "robot"), ("password", "secret")]);
    house.file("secrets/repository.yaml", &secret.to_string());
    let at = |name: &str| house.folder().join(name).display().to_string();
    let arguments = [
        format!("--applications={}", at("applications")),
        format!("--secrets={}", at("secrets")),
        format!("--interval={interval}"),
    ];
    house.with(arguments)
}

fn annotated(mut app: Value, pairs: &[(&str, &str)]) -> Value {
    for (key, value) in pairs {
        app["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
    }
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_cache_survives_restart_reg_10_and_reg_12_explain_shows_the_last_list() {
    const TAGS: usize = 40;
    let stage = Stage::new().await;
    for n in 0..TAGS {
        let created = format!("2026-01-{:02}T{:02}:00:00Z", n / 24 + 1, n % 24);
        stage.registry.push("team/web", &format!("build-{n:03}"), &Image::new(&n.to_string(), &created)).await;
    }
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "build-000"))]);
    let mut app = annotated(stage.helm_app("web", ""), &[("app.update-strategy", "newest-build")]);
    app["metadata"]["annotations"][format!("{PREFIX}image-list")] = json!(format!("app={}", stage.image("web")));
    app["status"]["summary"]["images"] = json!([format!("{}:build-000", stage.image("web"))]);
    let house = offline(&stage, &[app], "3s");
    stage.front.requests();
    house.start().await;
    house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
    let newest = format!("build-{:03}", TAGS - 1);
    assert_eq!(stage.repository.read("main", "apps/web/values.yaml"), stage.values("web", &newest), "{}", house.log());
    let first = stage.front.requests();
    assert_eq!(kinds(&first), [1, 0, TAGS, TAGS], "{first:?}");

    // Quiet rounds: a listing and eleven HEADs at most, and not a byte for the disk.
    let log = house.state().join("state.db-wal");
    house.rounds(1).await;
    stage.front.requests();
    let written = || std::fs::read(&log).expect("the log of the store");
    let before = written();
    house.rounds(2).await;
    let quiet = stage.front.requests();
    let [listings, heads, manifests, blobs] = kinds(&quiet);
    assert!(listings >= 2 && (10 * (listings - 1)..=11 * listings).contains(&heads), "{quiet:?}");
    assert_eq!((manifests, blobs), (0, 0), "{quiet:?}");
    assert!(!before.is_empty() && written() == before, "a quiet round writes nothing");
    let metrics = house.metrics().await;
    let host = stage.front.host();
    let count = format!("lynceus_registry_request_seconds_count{{registry=\"{host}\"}}");
    let seen = metrics.lines().find_map(|line| line.strip_prefix(&count)).expect("the series");
    assert!(seen.trim().parse::<usize>().is_ok_and(|n| n >= first.len() + quiet.len()), "{seen}");
    assert!(metrics.contains(&format!("lynceus_registry_throttled_total{{registry=\"{host}\"}} 0")), "{metrics}");

    assert_eq!(house.stop().await, 0);
    stage.front.requests();
    house.start().await;
    house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
    let restarted = stage.front.requests();
    let [listings, heads, manifests, blobs] = kinds(&restarted);
    assert!(listings >= 1 && heads <= 11 * listings && (manifests, blobs) == (0, 0), "{restarted:?}");
    assert_eq!(house.stop().await, 0);
    stage.front.requests();

    // Commands read what the daemon knows, and write nothing there.
    let at = |name: &str| house.folder().join(name).display().to_string();
    let (apps, secrets, conf) = (at("applications"), at("secrets"), at("registries.conf"));
    let state = house.state().display().to_string();
    let shared = ["--applications", &apps, "--secrets", &secrets, "--registries-conf-path", &conf];
    let plan = house.command(&[&["plan", "--state-dir", &state][..], &shared].concat()).await;
    assert_eq!(plan.code, 0, "{plan:?}");
    assert_eq!(kinds(&stage.front.requests())[2..], [0, 0]);
    stage.front.set_down(true);
    let explain = [&["explain", "web", "--all", "-o", "json", "--state-dir", &state][..], &shared].concat();
    let explained = house.command(&explain).await;
    let json = explained.json();
    let image = &json["images"][0];
    assert_eq!((&image["state"], &image["candidate"]), (&json!("up-to-date"), &json!(newest)), "{explained:?}");
    assert_eq!(image["tags"].as_array().map(Vec::len), Some(TAGS));
    let said = json["problems"].to_string();
    assert!(said.contains("registry-unreachable") && said.contains("as listed since 2"), "{said}");
    // What would be written is never taken from there.
    let plan = house.command(&[&["plan", "--state-dir", &state][..], &shared].concat()).await;
    assert_eq!(plan.code, 1, "{plan:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_10_of_old_tags_the_one_in_git_is_looked_at_in_every_poll() {
    const TAGS: usize = 20;
    let stage = Stage::new().await;
    for n in 0..TAGS {
        let created = format!("2026-01-{:02}T00:00:00Z", n + 1);
        stage.registry.push("team/web", &format!("build-{n:03}"), &Image::new(&n.to_string(), &created)).await;
    }
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "build-001"))]);
    let mut app = annotated(stage.helm_app("web", ""), &[("app.update-strategy", "newest-build")]);
    app["metadata"]["annotations"][format!("{PREFIX}image-list")] = json!(format!("app={}", stage.image("web")));
    app["status"]["summary"]["images"] = json!([format!("{}:build-003", stage.image("web"))]);
    let house = offline(&stage, &[app], "2s").with(["--dry-run".to_owned()]);
    house.start().await;
    house.until("the first round ends", |status| status["rounds"].as_u64() >= Some(1)).await;
    house.rounds(1).await;
    stage.front.requests();
    house.rounds(1).await;
    let requests = stage.front.requests();
    let [listings, heads, manifests, blobs] = kinds(&requests);
    assert!(listings >= 1 && heads >= 11 && (manifests, blobs) == (0, 0), "{requests:?}");
    let asked = |tag: &str| requests.iter().any(|r| r.starts_with("HEAD") && r.contains(&format!("/manifests/{tag}")));
    assert!(asked("build-001") && asked("build-010") && asked("build-019"), "{requests:?}");
    assert!(!asked("build-000") && !asked("build-003") && !asked("build-009"), "{requests:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_rotation_without_restart_cred_5_cred_6_reg_2_with_and_without_credsexpire() {
    let stage = Stage::with(Access::Basic("robot".into(), "pa:ss".into())).await;
    let names = ["tenant", "plain", "expiring"];
    for name in names {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
        let file = format!("apps/{name}/values.yaml");
        stage.repository.commit("main", "first", &[(&file, &stage.values(name, "1.0.0"))]);
    }
    let (ns, house) = stage.installed("rotation", "1s").await;
    let host = stage.front.host();
    let entry = |name: &str, more: &str| {
        format!(
            "- name: {name}\n  prefix: {host}/team/{name}\n  api_url: http://{host}\n  limit: 1000\n  credentials: secret:{}/endpoint#value\n{more}",
            ns.name
        )
    };
    let conf = format!("{}{}{}", stage.registries(), entry("plain", ""), entry("expiring", "  credsexpire: 10h\n"));
    house.file("registries.conf", &conf);
    for secret in ["tenant", "endpoint"] {
        ns.apply_json(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret }, "stringData": { "value": "robot:old-guess" },
        }))
        .await;
    }
    for name in names {
        let mut app = stage.helm_app(name, "~1.0");
        if name == "tenant" {
            app = annotated(app, &[("app.pull-secret", &format!("secret:{}/tenant#value", ns.name))]);
        }
        ns.apply_json(app).await;
    }
    house.start().await;
    let status = house.until("all are denied", |s| House::problems(s, "registry-auth").len() == 3).await;
    assert!(!status.to_string().contains("old-guess"), "{status}");
    // No silent fall-back: a credential that is not there is a problem of its images, and nobody is asked without one.
    let wrong = json!({ "data": { "value": null } });
    ns.patch("v1", "Secret", "tenant", &wrong).await;
    house.until("the field is missed", |s| House::problems(s, "credentials-invalid").len() == 1).await;
    assert_eq!(stage.repository.log("main").len(), 3);
    for secret in ["tenant", "endpoint"] {
        let right = json!({ "stringData": { "value": "robot:pa:ss" } });
        ns.patch("v1", "Secret", secret, &right).await;
    }
    wait_for("all are written", Duration::from_secs(40), || async {
        (stage.repository.log("main").len() == 6).then_some(())
    })
    .await;
    // Argo CD Image Updater would have asked the host's entry for what the path's entry serves: that is said (REG-2).
    let choice = |s: &Value| House::problems(s, "registry-choice-differs").len();
    let well = |s: &Value| choice(s) == 2 && s["problems"].as_array().is_some_and(|all| all.len() == 2);
    house.until("nothing is wrong any more", well).await;
    for name in names {
        let file = format!("apps/{name}/values.yaml");
        assert_eq!(stage.repository.read("main", &file), stage.values(name, "1.0.1"));
    }
    assert!(!house.log().contains("pa:ss"));
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_3_registries_conf_is_taken_over_when_it_changes_and_its_last_good_version_stays() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    let other = Counting::start(stage.registry.base());
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let image = format!("{}/team/web", other.host());
    let annotations = [
        ("image-list", format!("app={image}:~1.0")),
        ("app.helm.image-tag", "image.tag".to_owned()),
        ("write-back-method", "git".to_owned()),
        ("write-back-target", "helmvalues:values.yaml".to_owned()),
    ];
    let annotations: Vec<(&str, &str)> = annotations.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let app = application("web", &stage.url(), "apps/web", &annotations, &[&format!("{image}:1.0.0")]);
    let house = offline(&stage, &[app], "1s");
    house.start().await;
    // Nobody speaks https there.
    house.until("the registry is missing", |s| !House::problems(s, "registry-unreachable").is_empty()).await;
    let entry = |more: &str| format!("- name: other\n  prefix: {0}\n  api_url: http://{0}\n{more}", other.host());
    let conf = |more: &str| format!("{}{}", stage.registries(), entry(more));
    let holds = |tag: &str| {
        let text = stage.repository.read("main", "apps/web/values.yaml");
        text.contains(&format!("tag: \"{tag}\"")).then_some(())
    };
    house.file("registries.conf", &conf(""));
    wait_for("the new entry serves", Duration::from_secs(30), || async { holds("1.0.1") }).await;
    house.until("nothing is wrong", |s| s["problems"] == json!([])).await;

    let path = house.file("registries.conf", &conf("  limt: 5\n"));
    let wrong = |s: &Value| House::problems(s, "config-invalid").concat();
    let status = house.until("the file is refused", |s| !wrong(s).is_empty()).await;
    let text = wrong(&status);
    assert!(text.contains("limt") && text.contains(&path.display().to_string()), "{text}");
    assert!(text.contains("did you mean `limit`?") && text.contains("last good"), "{text}");
    stage.tag("web", "1.0.2").await;
    wait_for("the last good one serves", Duration::from_secs(30), || async { holds("1.0.2") }).await;

    // What is wrong in one entry is that entry's, and says what would help; a notice stays as long as its cause.
    let more = "- name: spare\n  prefix: spare.example.com\n  api_url: https://spare.example.com\n";
    let more = format!("{more}  credentials: pull-secret:argocd/login\n  limit: -1\n  insecure: true\n");
    house.file("registries.conf", &format!("{}{more}", conf("")));
    let all = ["credentials-invalid", "registry-unlimited", "TlsVerificationOff"];
    let status = house.until("they are shown", |s| all.iter().all(|code| !House::problems(s, code).is_empty())).await;
    let text = House::problems(&status, "credentials-invalid").concat();
    assert!(text.contains("spare") && text.contains("did you mean \"pullsecret\"?"), "{text}");
    stage.tag("web", "1.0.3").await;
    wait_for("its neighbour serves", Duration::from_secs(30), || async { holds("1.0.3") }).await;
    house.file("registries.conf", &conf(""));
    house.until("all is well again", |s| s["problems"] == json!([])).await;
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tag_7_labels_are_in_the_message_for_every_strategy_and_cost_nothing_where_nobody_asks() {
    let table = [
        ("semver", "~1.0", "1.0.1"),
        ("alphabetical", "", "1.0.1"),
        ("newest-build", "", "1.0.1"),
        ("digest", "latest", "latest"),
    ];
    for (asks, template) in [
        (true, "{{range .AppChanges}}{{.Image}} is {{index .Labels \"org.opencontainers.image.revision\"}}{{end}}\n"),
        (false, "{{range .AppChanges}}{{.Image}} is {{.NewTag}}{{end}}\n"),
    ] {
        let stage = Stage::new().await;
        let mut apps = Vec::new();
        for (strategy, constraint, _) in table {
            let repository = format!("team/{strategy}");
            let push = |tag: &'static str, created: &'static str, revision: String| {
                let image = Image::new(&format!("{strategy} {tag}"), created);
                let image = image.label("org.opencontainers.image.revision", &revision);
                let (registry, repository) = (&stage.registry, repository.clone());
                async move { registry.push(&repository, tag, &image).await.digest }
            };
            push("1.0.0", "2026-01-01T00:00:00Z", "old".to_owned()).await;
            let tag = if strategy == "digest" { "latest" } else { "1.0.1" };
            push(tag, "2026-01-02T00:00:00Z", format!("rev-of-{strategy}")).await;
            let file = format!("apps/{strategy}/values.yaml");
            stage.repository.commit("main", "first", &[(&file, &stage.values(strategy, "1.0.0"))]);
            let list = format!("app={}", stage.image(strategy));
            let list = if constraint.is_empty() { list } else { format!("{list}:{constraint}") };
            let app = stage.helm_app(strategy, constraint);
            let own = [
                ("image-list", list.as_str()),
                ("app.update-strategy", strategy),
                ("app.allow-tags", "regexp:^(1|latest)"),
            ];
            apps.push(annotated(app, &own));
        }
        let house = offline(&stage, &apps, "1h");
        let file = house.file("commit.template", template);
        let house = house.with([format!("--git-commit-message-path={}", file.display())]);
        stage.front.requests();
        house.start().await;
        wait_for("all are written", Duration::from_secs(40), || async {
            (stage.repository.log("main").len() == 2 * table.len()).then_some(())
        })
        .await;
        let messages: String =
            stage.repository.log("main").iter().map(|commit| stage.repository.message(commit)).collect();
        let requests = stage.front.requests();
        let mut costs = BTreeMap::new();
        for (strategy, _, _) in table {
            let labelled = messages.contains(&format!("team/{strategy} is rev-of-{strategy}"));
            assert_eq!(labelled, asks, "{strategy}: {messages}");
            let of = format!("/team/{strategy}/");
            let own: Vec<String> = requests.iter().filter(|r| r.contains(&of)).cloned().collect();
            costs.insert(strategy, kinds(&own));
        }
        // Listings, HEADs, manifests, configurations. Only of the chosen tag, and only where they are not known already.
        let labels = usize::from(asks);
        let wanted = BTreeMap::from([
            ("semver", [1, 0, labels, labels]),
            ("alphabetical", [1, 0, labels, labels]),
            ("newest-build", [1, 0, 2, 2]),
            ("digest", [0, 0, 1, 1]),
        ]);
        assert_eq!(costs, wanted, "{requests:?}");
        assert_eq!(house.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_16_proxy_variables_are_honoured_and_no_proxy_too() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    let proxy = Counting::start(stage.registry.base());
    for (excluded, code, through) in [("", 0, 1), (".example,registry.test", 1, 0)] {
        let house = House::new().variable("HTTP_PROXY", &format!("http://{}", proxy.host()));
        let house = house.variable("NO_PROXY", excluded);
        let entry = "registries:\n- name: far\n  prefix: registry.test\n  api_url: http://registry.test\n";
        let conf = house.file("registries.conf", entry).display().to_string();
        let ran = house.command(&["test", "registry.test/team/web", "--registries-conf-path", &conf]).await;
        let requests = proxy.requests();
        assert_eq!((ran.code, kinds(&requests)[0]), (code, through), "{excluded}: {ran:?} {requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cyc_5_cyc_1_a_late_registry_keeps_the_others_waiting_for_the_batch_window_only() {
    let stage = Stage::new().await;
    let names = ["early", "eager", "late"];
    let values = names.map(|name| (format!("apps/{name}/values.yaml"), stage.values(name, "1.0.0")));
    for name in names {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
    }
    let files: Vec<(&str, &str)> = values.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    stage.repository.commit("main", "first", &files);
    let house = offline(&stage, &names.map(|name| stage.helm_app(name, "~1.0")), "1h");
    let house = house.with(["--git-batch-window=1s".to_owned()]);
    stage.front.hold(Some("team/late/"));
    house.start().await;
    let pushed = |status: &Value| status["pushes"].as_array().map_or(0, Vec::len);
    let status = house.until("two are written", |status| pushed(status) == 1).await;
    assert_eq!(status["rounds"], 0, "the round goes on: {status}");
    let read = |name: &str| stage.repository.read("main", &format!("apps/{name}/values.yaml"));
    for (name, tag) in [("early", "1.0.1"), ("eager", "1.0.1"), ("late", "1.0.0")] {
        assert_eq!(read(name), stage.values(name, tag), "{}", house.log());
    }
    assert_eq!(stage.repository.log("main").len(), 3);
    stage.front.hold(None);
    let status = house.until("the round ends", |status| status["rounds"] == 1).await;
    assert_eq!((pushed(&status), read("late")), (2, stage.values("late", "1.0.1")), "{}", house.log());
    let asked = stage.front.requests();
    assert_eq!(kinds(&asked)[0], 3, "one listing each: {asked:?}");
    assert_eq!(house.events("committed").await.len(), 3);
    assert_eq!(house.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_template_is_taken_over_while_the_daemon_runs_and_a_broken_one_is_not() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.0.1"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let house = offline(&stage, &[stage.helm_app("web", "~1")], "2s");
    let template = house.file("commit.template", "before: {{.AppName}}");
    let house = house.with([format!("--git-commit-message-path={}", template.display())]);
    let message = async |count: usize| {
        wait_for("it is committed", Duration::from_secs(40), || async {
            (stage.repository.log("main").len() == count).then_some(())
        })
        .await;
        stage.repository.message(&stage.repository.log("main")[0])
    };
    house.start().await;
    assert!(message(2).await.starts_with("before: web\n"));
    house.file("commit.template", "{{if .AppName}}after: {{.AppName}}");
    let status = house.until("the mistake is named", |s| !House::problems(s, "config-invalid").is_empty()).await;
    let told = House::problems(&status, "config-invalid").concat();
    assert!(told.contains("commit.template") && told.contains("last good version stays"), "{told}");
    stage.tag("web", "1.0.2").await;
    assert!(message(3).await.starts_with("before: web\n"));
    house.file("commit.template", "after: {{.AppName}}");
    house.until("it is mended", |s| s["problems"] == json!([])).await;
    stage.tag("web", "1.0.3").await;
    assert!(message(4).await.starts_with("after: web\n"));
    std::fs::remove_file(&template).expect("it was there");
    wait_for("its absence is seen", Duration::from_secs(20), || async {
        (house.log().matches("commit template applied").count() == 2).then_some(())
    })
    .await;
    stage.tag("web", "1.0.4").await;
    assert!(message(5).await.starts_with("build: automatic update of web\n"));
    assert_eq!(house.stop().await, 0);
}
