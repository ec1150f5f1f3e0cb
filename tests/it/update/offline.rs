//! No cluster: Applications from a folder and from Git, the commands that write nothing, and one pass that does.

use serde_json::{Value, json};

use super::stage::{PREFIX, Stage, application, repository_secret};
use crate::support::house::{House, Ran};

/// What a folder of manifests and one of Secrets are given to a command by.
pub(super) struct Offline {
    pub(super) house: House,
    place: String,
    registries: String,
}

impl Offline {
    /// Applications in a folder, and this repository's Secret.
    pub(super) fn new(stage: &Stage, apps: &[Value]) -> Offline {
        let house = stage.house();
        for app in apps {
            let name = app["metadata"]["name"].as_str().expect("a name");
            house.file(&format!("applications/{name}.yaml"), &app.to_string());
        }
        let place = house.folder().join("applications").display().to_string();
        Offline::at(stage, house, place)
    }

    /// Applications in this place.
    pub(super) fn at(stage: &Stage, house: House, place: String) -> Offline {
        let secret = repository_secret("repository", &stage.url(), &[("username", "robot"), ("password", "secret")]);
        house.file("secrets/repository.yaml", &secret.to_string());
        let registries = house.folder().join("registries.conf").display().to_string();
        Offline { house, place, registries }
    }

    pub(super) async fn command(&self, name: &str, arguments: &[&str]) -> Ran {
        let secrets = self.house.folder().join("secrets").display().to_string();
        let mut all = vec![name, "--applications", &self.place, "--secrets", &secrets];
        all.extend(["--registries-conf-path", &self.registries]);
        all.extend(arguments);
        self.house.command(&all).await
    }

    /// `run --once` with the installation's state folder.
    pub(super) async fn once(&self) -> Ran {
        let state = self.house.state().display().to_string();
        self.command("run", &["--once", "--state-dir", &state]).await
    }
}

/// A diff as `git` and as `plan` print it, without what only one of them says.
fn plain(diff: &str) -> String {
    let said = |line: &&str| !line.starts_with("diff --git ") && !line.starts_with("index ");
    // Behind the second @@ is what the line belongs to, which readers of diffs guess differently.
    let short = |line: &str| match line.strip_prefix("@@").and_then(|rest| rest.split_once("@@")) {
        Some((range, _)) => format!("@@{range}@@"),
        None => line.to_owned(),
    };
    diff.lines().filter(said).map(|line| short(line) + "\n").collect()
}

fn two(stage: &Stage) -> [Value; 2] {
    ["api", "web"].map(|name| stage.helm_app(name, "~1.0"))
}

async fn staged() -> Stage {
    let stage = Stage::new().await;
    for name in ["api", "web"] {
        stage.push(name, &["1.0.0", "1.0.1", "1.1.0", "latest", "1.0.2-rc.1"]).await;
    }
    let files = ["api", "web"].map(|name| (format!("apps/{name}/values.yaml"), stage.values(name, "1.0.0")));
    let files = files.each_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    stage.repository.commit("main", "first", &files);
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_equals_next_run_and_is_empty_after_it() {
    let stage = staged().await;
    let offline = Offline::new(&stage, &two(&stage));
    let planned = offline.command("plan", &["-o", "json"]).await;
    assert_eq!(planned.code, 2, "{planned:?}");
    let diff = offline.command("plan", &["-o", "diff"]).await;
    assert_eq!(diff.code, 2, "{diff:?}");
    let text = offline.command("plan", &["web"]).await;
    assert_eq!(text.code, 2, "{text:?}");
    assert!(text.out.contains("+    tag: \"1.0.1\" # quoted on purpose") && !text.out.contains("apps/api"), "{text:?}");
    assert_eq!(stage.repository.log("main").len(), 1, "plan writes nothing");
    assert!(!offline.house.state().join("state.db").exists(), "not even its own state");

    let once = offline.once().await;
    assert_eq!(once.code, 0, "{once:?}");
    let commits: Vec<String> = stage.repository.log("main")[..2].iter().rev().cloned().collect();
    let pushed: Vec<String> =
        commits.iter().map(|commit| stage.repository.git(&["show", "--format=", commit]) + "\n").collect();
    assert_eq!(plain(&diff.out), plain(&pushed.concat()));
    let json = planned.json();
    let changes = json["changes"].as_array().expect("changes");
    assert_eq!(changes.len(), 2, "{json}");
    for ((name, change), (commit, pushed)) in ["api", "web"].iter().zip(changes).zip(commits.iter().zip(&pushed)) {
        let file = format!("apps/{name}/values.yaml");
        let images = json!([{ "alias": "app", "name": stage.image(name), "old": "1.0.0", "new": "1.0.1" }]);
        assert_eq!(change["application"], format!("argocd/{name}"));
        assert_eq!((&change["branch"], &change["file"], &change["images"]), (&json!("main"), &json!(file), &images));
        assert_eq!(plain(change["diff"].as_str().expect("text")), plain(pushed));
        let message = change["message"].as_str().expect("text");
        assert_eq!(message.trim_end(), stage.repository.message(commit).trim_end());
        let remote = change["remote"].as_str().expect("text");
        assert!(stage.url().contains(remote.trim_start_matches("https://")) && !remote.contains("secret"), "{remote}");
    }
    for empty in ["parameters", "held", "refused", "problems"] {
        assert_eq!(json[empty], json!([]), "{empty}");
    }
    stage.repository.check();

    let after = offline.command("plan", &["-o", "json"]).await;
    assert_eq!((after.code, &after.json()["changes"]), (0, &json!([])), "{after:?}");
    let again = offline.once().await;
    assert_eq!((again.code, stage.repository.log("main").len()), (0, 3), "{again:?}");
    assert_eq!(offline.house.events("committed").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn section_23_exit_codes_of_plan_and_every_tag_explained() {
    let stage = staged().await;
    let mut broken = stage.helm_app("broken", "~1.0");
    broken["metadata"]["annotations"]["argocd-image-updater.argoproj.io/write-back-target"] =
        json!("helmvalues:none.yaml");
    let offline = Offline::new(&stage, &[two(&stage).to_vec(), vec![broken]].concat());
    for (arguments, code) in [
        (vec!["web"], 2),
        (vec!["argocd/web", "api"], 2),
        (vec!["broken"], 1),
        (vec!["broken", "web"], 1),
        (vec!["nobody"], 1),
        (vec!["--no-such-flag"], 64),
        (vec!["-o", "yaml"], 64),
    ] {
        let ran = offline.command("plan", &arguments).await;
        assert_eq!(ran.code, code, "{arguments:?} {ran:?}");
    }
    let explained = offline.command("explain", &["web", "-o", "json"]).await;
    assert_eq!(explained.code, 0, "{explained:?}");
    let image = &explained.json()["images"][0];
    assert_eq!(
        (&image["alias"], &image["state"], &image["candidate"]),
        (&json!("app"), &json!("update-due"), &json!("1.0.1"))
    );
    assert_eq!(image["desired"]["value"], "1.0.0");
    let from = image["desired"]["from"].as_str().expect("text");
    assert!(from.contains("values.yaml") && from.contains("image.tag"), "{from}");
    assert_eq!((&image["route"]["branch"], &image["route"]["file"]), (&json!("main"), &json!("apps/web/values.yaml")));
    let mut tags: Vec<(&str, &str, &str)> = Vec::new();
    for tag in image["tags"].as_array().expect("tags") {
        let word = |key: &str| tag[key].as_str().expect("text");
        tags.push((word("tag"), word("verdict"), word("rule")));
    }
    tags.sort();
    let expected = [
        ("1.0.0", "accepted", "semver"),
        ("1.0.1", "chosen", "semver"),
        ("1.0.2-rc.1", "rejected", "constraint"),
        ("1.1.0", "rejected", "constraint"),
        ("latest", "rejected", "version"),
    ];
    assert_eq!(tags, expected);
    assert_eq!(offline.command("explain", &["nobody"]).await.code, 4);
}

/// A document that scripts rely on, as it is written down.
fn document(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/commands/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there")).expect("it is JSON")
}

/// What stands in the documents differs by the ports of the day only.
fn without_ports(stage: &Stage, ran: &Ran) -> Value {
    let git = stage.url().trim_end_matches("/config.git").to_owned();
    let known = [(stage.front.host(), "registry.test"), (git, "https://git.test")];
    let text = known.iter().fold(ran.json().to_string(), |text, (host, name)| text.replace(host, name));
    serde_json::from_str(&text).expect("it was JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn section_23_the_documents_of_plan_and_explain_field_by_field() {
    let stage = Stage::new().await;
    for name in ["ahead", "broken", "due", "patched"] {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
    }
    let files = [
        ("due", stage.values("due", "1.0.0")),
        ("ahead", stage.values("ahead", "1.0.5")),
        ("broken", "image: [\n".to_owned()),
    ];
    let files = files.map(|(name, text)| (format!("apps/{name}/values.yaml"), text));
    let files = files.each_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    stage.repository.commit("main", "first", &files);
    let mut apps = ["ahead", "broken", "due", "patched"].map(|name| stage.helm_app(name, "~1.0"));
    apps[0]["status"]["summary"]["images"] = json!([format!("{}:1.0.5", stage.image("ahead"))]);
    apps[3]["metadata"]["annotations"][format!("{PREFIX}write-back-method")] = json!("argocd");
    let offline = Offline::new(&stage, &apps);
    let plan = offline.command("plan", &["-o", "json"]).await;
    assert_eq!(plan.code, 1, "{plan:?}");
    assert_eq!(without_ports(&stage, &plan), document("plan"));
    let mut explained = Vec::new();
    for name in ["ahead", "broken", "due", "patched"] {
        let ran = offline.command("explain", &[name, "-o", "json"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        explained.push(without_ports(&stage, &ran));
    }
    assert_eq!(json!(explained), document("explain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn section_23_test_asks_the_registry() {
    let stage = staged().await;
    let offline = Offline::new(&stage, &[]);
    let image = stage.image("web");
    for (arguments, code, line) in [
        (vec!["--semver-constraint", "~1.0"], 0, format!("latest image according to constraint is {image}:1.0.1")),
        (vec!["--semver-constraint", ">2"], 0, "no newer version of image found".into()),
        (
            vec!["--update-strategy", "alphabetical"],
            0,
            format!("latest image according to constraint is {image}:latest"),
        ),
        (
            vec!["--allow-tags", "regexp:^1\\.0\\.0$"],
            0,
            format!("latest image according to constraint is {image}:1.0.0"),
        ),
        (
            vec!["--ignore-tags", "1.1.*", "--ignore-tags", "*-rc*"],
            0,
            format!("latest image according to constraint is {image}:1.0.1"),
        ),
        (vec!["--semver-constraint", "not a version"], 1, String::new()),
        (vec!["--allow-tags", "regexp:("], 1, String::new()),
        (vec!["--update-strategy", "newest"], 1, String::new()),
    ] {
        let mut all = vec!["test", &image, "--registries-conf-path", &offline.registries];
        all.extend(&arguments);
        let ran = offline.house.command(&all).await;
        assert_eq!(ran.code, code, "{arguments:?} {ran:?}");
        assert!(ran.out.contains(&line), "{arguments:?} {ran:?}");
    }
    let absent = stage.image("absent");
    let ran = offline.house.command(&["test", &absent, "--registries-conf-path", &offline.registries]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("absent"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn src_5_src_6_app_of_apps_from_git_is_followed_and_written() {
    let stage = staged().await;
    let root = application("root", &stage.url(), "children", &[], &[]);
    let mut children = two(&stage);
    for child in &mut children {
        child.as_object_mut().expect("an object").remove("status");
    }
    let text = children.each_ref().map(Value::to_string);
    let manifests = [
        ("root/root.yaml", root.to_string()),
        ("children/api.yaml", text[0].clone()),
        ("children/web.yaml", text[1].clone()),
    ];
    stage.repository.commit("main", "manifests", &manifests.each_ref().map(|(path, text)| (*path, text.as_str())));
    let place = format!("git+{}?ref=main&path=root", stage.url());
    let offline = Offline::at(&stage, stage.house(), place);
    let planned = offline.command("plan", &["-o", "json"]).await;
    assert_eq!(planned.code, 2, "{planned:?}");
    let names: Vec<Value> =
        planned.json()["changes"].as_array().expect("changes").iter().map(|c| c["application"].clone()).collect();
    assert_eq!(names, ["argocd/api", "argocd/web"]);
    let once = offline.once().await;
    assert_eq!(once.code, 0, "{once:?}");
    assert_eq!(stage.repository.log("main").len(), 4);
    assert_eq!(stage.repository.read("main", "apps/web/values.yaml"), stage.values("web", "1.0.1"));
    assert_eq!(offline.command("plan", &[]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn compat_q34_section_23_once_says_by_its_exit_status_what_became_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let stage = staged().await;
    let offline = Offline::new(&stage, &two(&stage));
    let hook = stage.repository.path().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().expect("a folder")).expect("a folder");
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("a file");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let refused = offline.once().await;
    assert_eq!((refused.code, stage.repository.log("main").len()), (1, 1), "{refused:?}");
    assert!(refused.err.contains("git-rejected") || refused.out.contains("git-rejected"), "{refused:?}");
    std::fs::remove_file(&hook).expect("the file");
    let written = offline.once().await;
    assert_eq!((written.code, stage.repository.log("main").len()), (0, 3), "{written:?}");
}

fn verdict(ran: &Ran, begin: &str, end: &str) -> (String, String) {
    let rows = ran.json();
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let named = |row: &&Value| word(row, "what").starts_with(begin) && word(row, "what").ends_with(end);
    let row = rows.as_array().expect("rows").iter().find(named).unwrap_or_else(|| panic!("{begin}: {rows}"));
    (word(row, "result"), word(row, "text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn section_23_check_connect_tries_registries_and_remotes_and_pushes_nothing() {
    let stage = staged().await;
    let offline = Offline::new(&stage, &two(&stage));
    let check = async || offline.command("check", &["--connect", "-o", "json"]).await;
    let well = check().await;
    assert_eq!(well.code, 0, "{well:?}");
    assert_eq!(verdict(&well, "Applications", "").1, "2 of 2 are managed");
    assert_eq!(verdict(&well, "registry", ""), ("ok".into(), "anonymous".into()));
    assert_eq!(verdict(&well, "Git", ": read"), ("ok".into(), "1 branches".into()));
    assert_eq!(verdict(&well, "Git", ": push").0, "ok");
    assert!(!well.out.contains("robot") && !well.out.contains(":secret"), "{}", well.out);
    let asked = stage.git.requests();
    assert!(asked.iter().any(|r| r.contains("service=git-receive-pack")), "{asked:?}");
    assert!(!asked.iter().any(|r| r.contains("POST") && r.contains("receive-pack")), "nothing was pushed: {asked:?}");

    // Reading is allowed, pushing is not.
    stage.repository.git(&["config", "http.receivepack", "false"]);
    let readable = check().await;
    assert_eq!(readable.code, 1, "{readable:?}");
    assert_eq!(
        (verdict(&readable, "Git", ": read").0, verdict(&readable, "Git", ": push").0),
        ("ok".into(), "fails".into())
    );

    let secret = repository_secret("repository", &stage.url(), &[("username", "robot"), ("password", "wrong")]);
    offline.house.file("secrets/repository.yaml", &secret.to_string());
    stage.front.set_down(true);
    let none = check().await;
    assert_eq!(none.code, 1, "{none:?}");
    for (begin, end) in [("registry", ""), ("Git", ": read"), ("Git", ": push")] {
        assert_eq!(verdict(&none, begin, end).0, "fails", "{begin}{end}: {none:?}");
    }
    assert!(!none.out.contains("wrong"), "{}", none.out);
}

/// What is different from 0.x, and how to have it back: pre-releases, the namespaces watched, Argo CD's API.
#[tokio::test(flavor = "multi_thread")]
async fn compat_q35_semver_without_constraint_watch_scope_and_argocds_api() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0", "1.1.0", "2.0.0-rc.1"]).await;
    let (house, image) = (stage.house(), stage.image("web"));
    let registries = house.folder().join("registries.conf").display().to_string();
    for (constraint, tag) in [(None, "1.1.0"), (Some("--semver-constraint=*-0"), "2.0.0-rc.1")] {
        let words = ["test", &image, "--registries-conf-path", &registries, "-o", "json"];
        let ran = house.command(&words.into_iter().chain(constraint).collect::<Vec<_>>()).await;
        assert_eq!((ran.code, &ran.json()["tag"]), (0, &json!(tag)), "{constraint:?} {ran:?}");
    }
    let run = ["run", "--loglevel=debug", "--logformat=text", "--state-dir=:memory:", "--kubeconfig=/nowhere/config"];
    for (flag, status, part) in [
        ("--images=on", 1, "--watch-namespaces= "),
        ("--watch-namespaces=*", 1, "--watch-namespaces=* "),
        ("--applications-api=kubernetes", 1, "--watch-namespaces= "),
        ("--applications-api=argocd", 64, "applications.argoproj.io"),
    ] {
        let ran = house.command(&run.into_iter().chain([flag]).collect::<Vec<_>>()).await;
        assert_eq!(ran.code, status, "{flag} {ran:?}");
        assert!(ran.err.contains(part), "{flag}: {}", ran.err);
    }
}

/// Daemon defaults stand below what an Application says; a key that does not exist ends the start.
#[tokio::test(flavor = "multi_thread")]
async fn section_4_daemon_defaults_hold_where_an_application_says_nothing() {
    let stage = Stage::new().await;
    let names = ["ahead", "careful"];
    for name in names {
        stage.push(name, &["1.0.0", "1.0.1"]).await;
    }
    let files = names.map(|name| (format!("apps/{name}/values.yaml"), stage.values(name, "1.0.5")));
    let files = files.each_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    stage.repository.commit("main", "first", &files);
    let mut apps = names.map(|name| stage.helm_app(name, "~1.0"));
    for app in &mut apps {
        let name = app["metadata"]["name"].as_str().expect("a name").to_owned();
        app["status"]["summary"]["images"] = json!([format!("{}:1.0.5", stage.image(&name))]);
    }
    apps[1]["metadata"]["annotations"]["lynceus.dev/app.allow-downgrade"] = json!("false");
    let offline = Offline::new(&stage, &apps);
    let plan = async |flags: &[&str]| {
        let ran = offline.command("plan", &[flags, &["-o", "json"]].concat()).await;
        let of = |list: &str| {
            let all = ran.json()[list].as_array().expect("a list").clone();
            all.iter().map(|item| item["application"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        (ran.code, of("changes"), of("held"))
    };
    let (ahead, careful) = ("argocd/ahead".to_owned(), "argocd/careful".to_owned());
    assert_eq!(plan(&[]).await, (0, vec![], vec![ahead.clone(), careful.clone()]));
    assert_eq!(plan(&["--default", "allow-downgrade=true"]).await, (2, vec![ahead], vec![careful]));
    // It is read with each Application: a bad one fails closed there, as if it stood in an annotation.
    let bad = offline.command("plan", &["--default", "allow-downgrade=perhaps", "-o", "json"]).await;
    assert_eq!((bad.code, &bad.json()["changes"]), (1, &json!([])), "{bad:?}");
    assert!(bad.out.contains("config-invalid") && bad.out.contains("allow-downgrade"), "{}", bad.out);
    let unknown = offline.command("plan", &["--default", "alow-downgrade=true"]).await;
    assert_eq!(unknown.code, 64, "{unknown:?}");
    assert!(unknown.err.contains("allow-downgrade"), "{}", unknown.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn section_23_explain_lists_twenty_tags_counts_the_others_and_all_of_them_when_asked() {
    let stage = Stage::new().await;
    let tags: Vec<String> = (0..30).map(|n| format!("1.0.{n}")).chain(["old".to_owned(), "2.0.0".to_owned()]).collect();
    stage.push("web", &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let offline = Offline::new(&stage, &[stage.helm_app("web", "~1.0")]);
    let explain = async |more: &[&str]| {
        let ran = offline.command("explain", &[&["web"], more].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let of = |word: &str| ran.out.lines().filter(|line| line.trim_start().starts_with(word)).count();
        ([of("chosen "), of("accepted "), of("rejected ")], ran.out)
    };
    let (counts, text) = explain(&[]).await;
    assert_eq!(counts, [1, 19, 0], "{text}");
    assert!(text.contains("12 more: 1 by constraint, 10 by semver, 1 by version (--all lists them)"), "{text}");
    assert!(text.contains(&format!("endpoint   http://{}", stage.front.host())), "{text}");
    let (counts, text) = explain(&["--all"]).await;
    assert_eq!(counts, [1, 29, 2], "{text}");
    assert!(!text.contains(" more: "), "{text}");
    let none = offline.command("explain", &["web", "other"]).await;
    assert_eq!((none.code, none.err.contains("no image with the alias other")), (4, true), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cmt_2_author_and_committer_are_the_configured_ones_and_empty_ones_fall_back() {
    let stage = Stage::new().await;
    stage.push("web", &["1.0.0"]).await;
    stage.repository.commit("main", "first", &[("apps/web/values.yaml", &stage.values("web", "1.0.0"))]);
    let offline = Offline::new(&stage, &[stage.helm_app("web", "~1")]);
    let default = "argocd-image-updater <noreply@argoproj.io>";
    for (n, (flags, who, signed)) in [
        (vec![], default, false),
        (vec!["--git-commit-user=", "--git-commit-email=", "--git-commit-sign-off"], default, true),
        (vec!["--git-commit-user=Release Robot"], "Release Robot <noreply@argoproj.io>", false),
        (
            vec!["--git-commit-user=robot", "--git-commit-email=r@example.org", "--git-commit-sign-off=true"],
            "robot <r@example.org>",
            true,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        stage.tag("web", &format!("1.0.{}", n + 1)).await;
        let ran = offline.command("run", &[&["--once", "--state-dir=:memory:"], &flags[..]].concat()).await;
        assert_eq!((ran.code, stage.repository.log("main").len()), (0, n + 2), "{flags:?} {ran:?}");
        let commit = &stage.repository.log("main")[0];
        let names = stage.repository.git(&["show", "--no-patch", "--format=%an <%ae>%n%cn <%ce>", commit]);
        assert_eq!(names.trim().lines().collect::<Vec<_>>(), [who, who], "{flags:?}");
        let message = stage.repository.message(commit);
        assert_eq!(message.contains(&format!("Signed-off-by: {who}")), signed, "{message}");
        assert_eq!(message.contains("Signed-off-by"), signed, "{message}");
    }
}
