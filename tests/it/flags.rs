//! Flags and variables of `run`, as people and the Deployments of Argo CD Image Updater give them, on the built program
//! (image-updates.md §23). It logs at debug level what all of them have come to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lynceus");

/// Nobody can be reached by it: whatever is understood ends with that.
const NOWHERE: (&str, &str) = ("KUBECONFIG", "/nowhere/config");

fn run(program: &Path, arguments: &[String], environment: &[(String, String)]) -> Output {
    let mut command = Command::new(program);
    // Its own: two processes never share a state directory.
    let home = tempfile::tempdir().expect("a folder");
    command.env_clear().env("HOME", home.path()).envs(environment.iter().cloned()).env(NOWHERE.0, NOWHERE.1);
    command.args(arguments).output().expect("the program starts")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the settings came to, by flag.
fn settings(output: &Output) -> BTreeMap<String, String> {
    let text = err(output);
    let line = text.lines().find_map(|line| line.split_once("settings: ")).unwrap_or_else(|| panic!("{text}")).1;
    let flags = line.split(' ').filter_map(|word| word.strip_prefix("--")?.split_once('='));
    flags.map(|(flag, value)| (flag.to_owned(), value.to_owned())).collect()
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

struct Row {
    /// The setting it is shown under.
    setting: &'static str,
    default: &'static str,
    variable: (&'static str, &'static str, &'static str),
    flag: (&'static str, &'static str),
    /// A value that the variable cannot have.
    bad: Option<&'static str>,
}

const fn row(
    setting: &'static str,
    default: &'static str,
    variable: (&'static str, &'static str, &'static str),
    flag: (&'static str, &'static str),
    bad: Option<&'static str>,
) -> Row {
    Row { setting, default, variable, flag, bad }
}

/// Setting, default; variable, its value and what it comes to; flag and what it comes to; what the variable cannot be.
const ROWS: &[Row] = &[
    row("interval", "120s", ("IMAGE_UPDATER_INTERVAL", "3m", "180s"), ("--interval=4m", "240s"), Some("soon")),
    row("watch-namespaces", "", ("IMAGE_UPDATER_WATCH_NAMESPACES", "a,b", "a,b"), ("--watch-namespaces=c", "c"), None),
    row("argocd-namespace", "argocd", ("ARGOCD_NAMESPACE", "ops", "ops"), ("--argocd-namespace=cd", "cd"), None),
    row(
        "max-concurrent-apps",
        "10",
        ("MAX_CONCURRENT_APPS", "20", "20"),
        ("--max-concurrent-apps=30", "30"),
        Some("101"),
    ),
    // True disables (Q7).
    row(
        "kube-events",
        "true",
        ("IMAGE_UPDATER_KUBE_EVENTS", "True", "false"),
        ("--disable-kube-events=false", "true"),
        Some("yes"),
    ),
    row(
        "git-commit-user",
        "argocd-image-updater",
        ("GIT_COMMIT_USER", "bot", "bot"),
        ("--git-commit-user=me", "me"),
        None,
    ),
    row(
        "git-commit-email",
        "noreply@argoproj.io",
        ("GIT_COMMIT_EMAIL", "bot@h", "bot@h"),
        ("--git-commit-email=me@h", "me@h"),
        None,
    ),
    row(
        "git-commit-sign-off",
        "false",
        ("GIT_COMMIT_SIGN_OFF", "TRUE", "true"),
        ("--git-commit-sign-off=false", "false"),
        Some("1"),
    ),
    row("images", "on", ("LYNCEUS_IMAGES", "off", "off"), ("--images=on", "on"), Some("perhaps")),
    row("notifications", "on", ("LYNCEUS_NOTIFICATIONS", "off", "off"), ("--notifications=on", "on"), Some("1")),
    row(
        "native-annotations",
        "auto",
        ("LYNCEUS_NATIVE_ANNOTATIONS", "true", "true"),
        ("--native-annotations=false", "false"),
        Some("maybe"),
    ),
    row(
        "allow-downgrade",
        "false",
        ("LYNCEUS_ALLOW_DOWNGRADE", "true", "true"),
        ("--allow-downgrade=false", "false"),
        Some("1"),
    ),
    row(
        "default",
        "",
        ("LYNCEUS_DEFAULT", "refresh=hard", "refresh=hard"),
        ("--default=refresh=off", "refresh=off"),
        None,
    ),
    row(
        "compat-digest-only-tag",
        "latest",
        ("LYNCEUS_COMPAT_DIGEST_ONLY_TAG", "refuse", "refuse"),
        ("--compat-digest-only-tag=latest", "latest"),
        Some("no"),
    ),
    row("registry-realm", "", ("LYNCEUS_REGISTRY_REALM", "a=b,c=d", "a=b,c=d"), ("--registry-realm=e=f", "e=f"), None),
    row(
        "cross-namespace-secrets",
        "false",
        ("LYNCEUS_CROSS_NAMESPACE_SECRETS", "true", "true"),
        ("--cross-namespace-secrets=0", "false"),
        Some("2"),
    ),
    row(
        "tenant-credential-env",
        "",
        ("LYNCEUS_TENANT_CREDENTIAL_ENV", "A, B", "A,B"),
        ("--tenant-credential-env=C", "C"),
        None,
    ),
    row(
        "tenant-credential-ext",
        "",
        ("LYNCEUS_TENANT_CREDENTIAL_EXT", "/a", "/a"),
        ("--tenant-credential-ext=/b", "/b"),
        None,
    ),
    row(
        "allow-any-git-repository",
        "false",
        ("LYNCEUS_ALLOW_ANY_GIT_REPOSITORY", "true", "true"),
        ("--allow-any-git-repository=false", "false"),
        Some("on"),
    ),
    row(
        "allow-local-git",
        "false",
        ("LYNCEUS_ALLOW_LOCAL_GIT", "true", "true"),
        ("--allow-local-git=false", "false"),
        Some("on"),
    ),
    row(
        "git-commit-per",
        "application",
        ("LYNCEUS_GIT_COMMIT_PER", "push", "push"),
        ("--git-commit-per=application", "application"),
        Some("day"),
    ),
    row(
        "git-batch-window",
        "30s",
        ("LYNCEUS_GIT_BATCH_WINDOW", "5s", "5s"),
        ("--git-batch-window=0s", "0s"),
        Some("5"),
    ),
    row(
        "registries-conf-path",
        "/app/config/registries.conf",
        ("LYNCEUS_REGISTRIES_CONF_PATH", "/r", "/r"),
        ("--registries-conf-path=/s", "/s"),
        None,
    ),
    row("max-calls", "64", ("LYNCEUS_MAX_CALLS", "7", "7"), ("--max-calls=8", "8"), Some("many")),
    row(
        "processors-count",
        "",
        ("ARGOCD_NOTIFICATION_CONTROLLER_PROCESSORS_COUNT", "3", "3"),
        ("--processors-count=4", "4"),
        Some("-1"),
    ),
];

#[test]
fn section_23_compat_q7_flag_env_precedence_table() {
    let program = Path::new(PROGRAM);
    let base = texts(&["run", "--loglevel=debug", "--logformat=text"]);
    let with = |more: Vec<String>| base.iter().cloned().chain(more).collect::<Vec<_>>();
    let variables = |value: fn(&Row) -> Option<&'static str>| {
        let each = ROWS.iter().filter_map(|row| Some((row.variable.0.to_owned(), value(row)?.to_owned())));
        each.collect::<Vec<_>>()
    };
    let good = variables(|row| Some(row.variable.1));
    let empty = variables(|_| Some(""));
    let bad = variables(|row| row.bad);
    let flags = with(ROWS.iter().map(|row| row.flag.0.to_owned()).collect());

    let check = |output: &Output, wanted: fn(&Row) -> &'static str, what: &str| {
        assert_eq!(output.status.code(), Some(1), "{what}: {}", err(output));
        let found = settings(output);
        for row in ROWS.iter().filter(|row| !wanted(row).is_empty() || row.setting != "processors-count") {
            assert_eq!(found[row.setting], wanted(row), "{what}: {}", row.setting);
        }
    };
    check(&run(program, &base, &[]), |row| row.default, "defaults");
    check(&run(program, &base, &empty), |row| row.default, "empty variables");
    check(&run(program, &base, &good), |row| row.variable.2, "variables");
    check(&run(program, &flags, &good), |row| row.flag.1, "flags over variables");
    let before: Vec<String> = flags.iter().skip(1).cloned().chain(texts(&["run"])).collect();
    check(&run(program, &before, &good), |row| row.flag.1, "flags before the word run");
    let unusable = run(program, &base, &bad);
    check(&unusable, |row| row.default, "unusable variables");
    for row in ROWS.iter().filter(|row| row.bad.is_some()) {
        let warned = err(&unusable).lines().any(|line| line.contains("WARN") && line.contains(row.variable.0));
        assert!(warned, "{} is not warned of: {}", row.variable.0, err(&unusable));
    }
    // A flag with the same value ends the start.
    for row in ROWS {
        let Some(bad) = row.bad.filter(|bad| !matches!(*bad, "1")) else { continue };
        let (flag, _) = row.flag.0.split_once('=').expect("a value");
        let output = run(program, &with(vec![format!("{flag}={bad}")]), &[]);
        assert_eq!(output.status.code(), Some(64), "{flag}={bad}: {}", err(&output));
    }
    // The clearer name of Q7's switch wins over the variable.
    let events = vec![("IMAGE_UPDATER_KUBE_EVENTS".to_owned(), "true".to_owned())];
    let clear = run(program, &with(texts(&["--kube-events=true"])), &events);
    assert_eq!(settings(&clear)["kube-events"], "true");
}

/// A Deployment's container, as a fixture has it.
struct Container {
    name: PathBuf,
    arguments: Vec<String>,
    /// Variable and key.
    environment: Vec<(String, String)>,
    probes: u64,
    _folder: tempfile::TempDir,
}

impl Container {
    fn read(file: &str) -> Container {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/commands").join(file);
        let text = std::fs::read_to_string(path).expect("a fixture");
        let value: Value = serde_saphyr::from_str(&text).expect("YAML");
        let word = |value: &Value| value.as_str().expect("text").to_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let command = word(&value["command"][0]);
        let name = folder.path().join(Path::new(&command).file_name().expect("a name"));
        std::os::unix::fs::symlink(PROGRAM, &name).expect("a link");
        let arguments = value["args"].as_array().expect("a list").iter().map(word).collect();
        let environment = value["env"].as_object().expect("a map").iter();
        let environment = environment.map(|(variable, key)| (variable.clone(), word(key))).collect();
        Container { name, arguments, environment, probes: value["probes"].as_u64().expect("a port"), _folder: folder }
    }

    /// Starts it with these keys in the ConfigMap or Secret.
    fn start(&self, keys: &[(&str, &str)]) -> Output {
        let value = |key: &String| keys.iter().find(|(name, _)| name == key).map(|(_, value)| (*value).to_owned());
        let environment = self.environment.iter().filter_map(|(name, key)| Some((name.clone(), value(key)?)));
        run(&self.name, &self.arguments, &environment.collect::<Vec<_>>())
    }
}

const KEYS: &[(&str, &str)] = &[
    ("interval", "5m"),
    ("log.level", "debug"),
    ("log.format", "text"),
    ("max_concurrent_apps", "4"),
    ("max_concurrent_reconciles", "2"),
    ("git.user", "robot"),
    ("git.email", "robot@example.com"),
    ("git.commit-sign-off", "true"),
    ("git.commit-signing-method", "openpgp"),
    ("kube.events", "false"),
    ("webhook.enable", "true"),
    ("webhook.port", "8082"),
    ("webhook.docker-secret", "hunter2hunter2"),
    ("webhook.ratelimit-allowed", "10"),
    ("applications_api", "kubernetes"),
    ("argocd.server_addr", "argocd-server.argocd"),
    ("argocd.grpc_web", "true"),
    ("argocd.insecure", "false"),
    ("argocd.token", "hunter2hunter2"),
];

#[test]
fn section_23_upstream_deployment_args_accepted() {
    for (file, interval, apps) in [("image-updater-0.16.yaml", "120s", "10"), ("image-updater-1.0.yaml", "300s", "4")] {
        let container = Container::read(file);
        // With nothing configured it logs at info, and ends where the cluster is missing.
        let bare = container.start(&[]);
        assert_eq!(bare.status.code(), Some(1), "{file}: {}", err(&bare));
        assert!(err(&bare).contains("no cluster"), "{file}: {}", err(&bare));
        let output = container.start(KEYS);
        let text = err(&output);
        assert_eq!(output.status.code(), Some(1), "{file}: {text}");
        assert!(text.contains("no cluster") && !text.contains("hunter2") && !text.starts_with('{'), "{file}: {text}");
        let found = settings(&output);
        for (flag, value) in [
            ("images", "on"),
            ("notifications", "off"),
            ("leader-election", "true"),
            ("interval", interval),
            ("max-concurrent-apps", apps),
            ("git-commit-user", "robot"),
            ("git-commit-email", "robot@example.com"),
            ("git-commit-sign-off", "true"),
            ("kube-events", "true"),
            ("watch-namespaces", ""),
            ("health-probe-bind-address", &*format!(":{}", container.probes)),
        ] {
            assert_eq!(found[flag], value, "{file}: --{flag}");
        }
        // Unsigned commits are not what was asked for.
        let signed = container.start(&[("git.commit-signing-key", "/app/ssh-keys/id_rsa")]);
        assert_eq!(signed.status.code(), Some(64), "{file}");
        assert!(err(&signed).contains("unsigned"), "{file}: {}", err(&signed));
    }
    let served = err(&Container::read("image-updater-1.0.yaml").start(KEYS));
    for part in ["webhooks are not served yet", "not served yet: nothing is on :8443", "not processed one by one"] {
        assert!(served.contains(part), "{part}: {served}");
    }
    let old = err(&Container::read("image-updater-0.16.yaml").start(KEYS));
    assert!(old.contains("Argo CD's API is not used"), "{old}");
}

/// All flags of both lines.
const FLAGS: &[&str] = &[
    "--interval=2m",
    "--once=false",
    "--dry-run=false",
    "--loglevel=debug",
    "--logformat=text",
    "--argocd-namespace=argocd",
    "--watch-namespaces=*",
    "--registries-conf-path=/app/config/registries.conf",
    "--max-concurrent-apps=10",
    "--max-concurrent-reconciles=1",
    "--warmup-cache=true",
    "--disable-kube-events",
    "--git-commit-user=u",
    "--git-commit-email=e",
    "--git-commit-signing-key=",
    "--git-commit-signing-method=openpgp",
    "--git-commit-sign-off=true",
    "--git-commit-message-path=/app/config/commit.template",
    "--git-commit-method=git",
    "--metrics-bind-address=:8443",
    "--metrics-secure=true",
    "--enable-http2=false",
    "--health-probe-bind-address=:8081",
    "--leader-election=true",
    "--leader-election-namespace=argocd",
    "--enable-webhook=true",
    "--webhook-port=8082",
    "--webhook-require-secret=true",
    "--docker-webhook-secret=s",
    "--ghcr-webhook-secret=s",
    "--quay-webhook-secret=s",
    "--harbor-webhook-secret=s",
    "--aliyun-acr-webhook-secret=s",
    "--acr-webhook-secret=s",
    "--cloudevents-webhook-secret=s",
    "--webhook-ratelimit-allowed=0",
    "--disable-tls=false",
    "--tlsminversion=1.3",
    "--tlsmaxversion=1.3",
    "--tlsciphers=",
    "--health-port=8080",
    "--max-concurrency=10",
    "--match-application-name=web-*,api",
    "--match-application-label=team=a",
    "--argocd-server-addr=a",
    "--argocd-grpc-web",
    "--argocd-insecure",
    "--argocd-plaintext",
    "--argocd-auth-token=t",
    "--disable-kubernetes=false",
    "--applications-api=kubernetes",
    // Own ones without a row in the table above.
    "--state-dir=:memory:",
    "--root=a",
    "--kube-events=true",
    "--git-cache-size=2GiB",
    "--commit-wait=10s",
];

#[test]
fn section_23_every_flag_of_both_lines_under_every_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, word) in [("manager", true), ("argocd-image-updater", true), ("lynceus", true), ("lynceus", false)] {
        let program = folder.path().join(name);
        if !program.exists() {
            std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
        }
        let flags = texts(FLAGS);
        let all = if word { [texts(&["run"]), flags].concat() } else { flags };
        let output = run(&program, &all, &[]);
        let text = err(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {text}");
        let found = settings(&output);
        assert_eq!((&*found["metrics-bind-address"], &*found["app-label-selector"]), ("0", "team=a"), "{name}");
        assert_eq!(found["notifications"], if name == "lynceus" { "on" } else { "off" });
        for flag in ["--nope", "--max-concurrent-reconciles=11", "--interval=soon", "--loglevel=loud"] {
            assert_eq!(run(&program, &texts(&["run", flag]), &[]).status.code(), Some(64), "{name} {flag}");
        }
    }
    // Where the faces listen, by the name and what is said.
    let manager = folder.path().join("manager");
    let old = folder.path().join("argocd-image-updater");
    let own = folder.path().join("lynceus");
    for (program, flags, probes, metrics) in [
        (&manager, vec![], ":8081", "0"),
        (&manager, vec!["--metrics-bind-address=:8443"], ":8081", "0"),
        (&manager, vec!["--metrics-bind-address=:8080", "--metrics-secure=false"], ":8081", ":8080"),
        (&manager, vec!["--health-probe-bind-address=0"], "0", "0"),
        (&old, vec![], ":8080", ":8081"),
        (&old, vec!["--health-port=0", "--metrics-port=0"], "0", "0"),
        (&old, vec!["--health-port=7000", "--metrics-port=7001"], ":7000", ":7001"),
        (&own, vec![], ":8081", ":9001"),
        (&own, vec!["--metrics-bind-address=:7000"], ":8081", ":7000"),
        (&own, vec!["--metrics-secure"], ":8081", "0"),
    ] {
        let all = [texts(&["run", "--loglevel=debug", "--logformat=text"]), texts(&flags)].concat();
        let found = settings(&run(program, &all, &[]));
        let faces = (&*found["health-probe-bind-address"], &*found["metrics-bind-address"]);
        assert_eq!(faces, (probes, metrics), "{} {flags:?}", program.display());
    }
    // Where Applications are watched: 0.x's flag for one namespace, whose empty value was all of them.
    for (flags, watched) in [
        (vec![], ""),
        (vec!["--application-namespace="], "*"),
        (vec!["--application-namespace=team-a"], "team-a"),
        (vec!["--application-namespace=", "--watch-namespaces=b"], "b"),
    ] {
        let all = [texts(&["run", "--loglevel=debug", "--logformat=text"]), texts(&flags)].concat();
        assert_eq!(settings(&run(&old, &all, &[]))["watch-namespaces"], watched, "{flags:?}");
    }
}

#[test]
fn section_23_what_must_not_be_passed_over_ends_the_start() {
    for (flags, variable, part) in [
        (vec!["--git-commit-signing-key=k"], None, "cannot be signed"),
        (vec![], Some(("GIT_COMMIT_SIGNING_KEY", "k")), "cannot be signed"),
        (vec!["--git-commit-method=svn"], None, "write git or api"),
        (vec![], Some(("GIT_COMMIT_METHOD", "svn")), "write git or api"),
        (vec!["--applications-api=argocd"], None, "applications.argoproj.io"),
        (vec![], Some(("APPLICATIONS_API", "argocd")), "applications.argoproj.io"),
        (vec!["--default=nope=1"], None, "nope"),
        (vec!["--default=refresh"], None, "<key>=<value>"),
        (vec!["--watch-namespaces= , "], None, "names no namespace"),
        (vec!["--match-application-name=[a"], None, "glob"),
    ] {
        let environment: Vec<(String, String)> =
            variable.into_iter().map(|(name, value): (&str, &str)| (name.to_owned(), value.to_owned())).collect();
        let output = run(Path::new(PROGRAM), &[texts(&["run"]), texts(&flags)].concat(), &environment);
        assert_eq!(output.status.code(), Some(64), "{flags:?} {variable:?}: {}", err(&output));
        assert!(err(&output).contains(part), "{flags:?}: {}", err(&output));
    }
    // Flags of `run` before another command would be lost.
    let output = run(Path::new(PROGRAM), &texts(&["--dry-run", "plan"]), &[]);
    assert_eq!(output.status.code(), Some(64), "{}", err(&output));
    assert!(err(&output).contains("--dry-run"), "{}", err(&output));
}

#[test]
fn section_23_template_renders_and_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let good = file("good", "{{.AppName}}:{{range .AppChanges}} {{.Image}} {{.OldTag}}->{{.NewTag}}{{end}}");
    let (unparsable, failing) = (file("unparsable", "{{.AppName"), file("failing", "{{.Nope}}"));
    let out = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let template = |words: &[&str]| run(Path::new(PROGRAM), &[texts(&["template"]), texts(words)].concat(), &[]);
    let default = template(&[]);
    assert_eq!(default.status.code(), Some(0));
    let text = "build: automatic update of example-app\n\nupdates image example/example tag '1.0.0' to '1.0.1'\n\
                updates image example/updater tag \
                'sha256:01d09d19c2139a46aebfb577780d123d7396e97201bc7ead210a2ebff8239dee' to \
                'sha256:7aa7a5359173d05b63cfd682e3c38487f3cb4f7f1d60659fe59fab1505977d4c'\n";
    assert_eq!(out(&default), text);
    let own = template(&[&good, "--app", "web", "--change", "ghcr.io/acme/web=1.2:1.3", "--change=h:5000/b=2:3"]);
    assert_eq!((own.status.code(), &*out(&own)), (Some(0), "web: acme/web 1.2->1.3 b 2->3\n"));
    for (words, status, part) in [
        (vec![&*unparsable], 1, "line 1"),
        (vec![&*failing], 1, "Nope"),
        (vec!["/nowhere/file"], 1, "/nowhere/file"),
        (vec![&*good, "--change", "web"], 64, "<image>=<old>:<new>"),
        (vec![&*good, &*good], 64, ""),
    ] {
        let output = template(&words);
        assert_eq!(output.status.code(), Some(status), "{words:?}");
        assert!(err(&output).contains(part), "{words:?}: {}", err(&output));
    }
    // lint finds the same in the file and in the ConfigMap.
    let conf = file("commit.template", "{{.Nope}}");
    let map = file(
        "cm.yaml",
        "kind: ConfigMap\nmetadata: {name: argocd-image-updater-config}\ndata:\n  git.commit-message-template: '{{.AppName'\n",
    );
    for path in [conf, map] {
        let output = run(Path::new(PROGRAM), &texts(&["lint", &path]), &[]);
        assert_eq!(output.status.code(), Some(3), "{path}: {}", out(&output));
        assert!(out(&output).contains("template"), "{}", out(&output));
    }
}
