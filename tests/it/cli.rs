//! Commands as users run them: exit codes, JSON shapes, texts (notifications.md §20, image-updates.md §23).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn lynceus(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
    command.args(arguments).env("NO_COLOR", "1").env_remove("KUBECONFIG").env("TZ", "UTC");
    command.output().expect("the program starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap_or_else(|e| panic!("{e}: {}\n{}", out(output), err(output)))
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

const CONFIG: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-notifications-cm}
data:
  context: "url: https://argocd"
  service.slack: "token: $tok"
  service.webhook.hook: |
    url: https://h
    headers: [{name: Content-Type, value: application/json}]
  trigger.on-failed: |
    - when: app.status.operationState.phase in ['Failed']
      oncePer: app.status.sync.revision
      send: [failed]
    - when: app.metadata.name ==
      send: [failed]
    - when: app.metadata.name
      send: [failed]
    - when: app.nope.deeper
      send: [failed]
  trigger.fires: |
    - when: app.metadata.name == 'web'
      send: [failed]
  template.failed: |
    message: "{{.app.metadata.name}} failed: {{.secrets.tok | toString}}"
    slack:
      attachments: '[{"text": "{{.app.status.operationState.message}}"}]'
    webhook:
      hook:
        method: POST
        body: '{"m": {{.app.status.operationState.message | toJson}}}'
  template.broken: |
    message: |
      one
      {{.app.metadata.name | nope}}
  template.runs-not: |
    message: "{{.app.metadata.name.x}}"
"#;

const SECRET: &str = "kind: Secret\nmetadata: {name: argocd-notifications-secret}\nstringData: {tok: hunter2hunter2}\n";

const APP: &str = r#"
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd}
spec: {source: {repoURL: https://h/r, path: p}}
status:
  sync: {revision: abc}
  operationState: {phase: Failed, message: 'say "no"'}
"#;

struct Notify {
    folder: Folder,
    config: String,
    secret: String,
    app: String,
}

impl Notify {
    fn new() -> Notify {
        let folder = Folder::new();
        let (config, secret) = (folder.write("cm.yaml", CONFIG), folder.write("secret.yaml", SECRET));
        let app = folder.write("app.yaml", APP);
        Notify { folder, config, secret, app }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let files = ["--config-map", &self.config, "--secret", &self.secret];
        lynceus(&[&["notify"], arguments, &files].concat())
    }
}

#[test]
fn section_20_trigger_run_json_and_exit_codes() {
    let notify = Notify::new();
    let output = notify.run(&["trigger", "run", "on-failed", &notify.app, "-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let rows = json(&output);
    assert_eq!(rows[0]["condition"], 0);
    assert_eq!(rows[0]["result"], true);
    assert_eq!(rows[0]["error"], Value::Null);
    assert_eq!(rows[0]["oncePer"], "abc");
    assert_eq!(rows[0]["templates"][0], "failed");
    assert!(rows[0]["key"].as_str().is_some_and(|key| key.starts_with("[0].")));
    assert_eq!(rows[1]["result"], Value::Null);
    assert_eq!(rows[1]["error"]["phase"], "compile");
    assert_eq!(rows[1]["error"]["line"], 1);
    assert_eq!(rows[2]["result"], false);
    assert!(rows[2]["note"].as_str().is_some_and(|note| note.contains("web")));
    assert_eq!(rows[3]["result"], Value::Null);
    assert_eq!(rows[3]["error"]["phase"], "run");
    for (arguments, status) in [
        (vec!["trigger", "run", "fires", &notify.app], 0),
        (vec!["trigger", "run", "fires", &notify.app, "--expect", "true"], 0),
        (vec!["trigger", "run", "fires", &notify.app, "--expect", "false"], 3),
        (vec!["trigger", "run", "fired", &notify.app], 4),
        (vec!["trigger", "run", "fires", "missing.yaml"], 2),
        (vec!["trigger", "run", "fires"], 64),
        (vec!["trigger", "get"], 0),
        (vec!["trigger", "get", "nope"], 4),
        (vec!["template", "get", "failed"], 0),
        (vec!["template", "get", "nope"], 4),
        (vec!["template", "render", "nope", &notify.app], 4),
        (vec!["template", "render", "runs-not", &notify.app], 1),
        (vec!["template", "render", "failed", &notify.app], 0),
    ] {
        let output = notify.run(&arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{}{}", out(&output), err(&output));
    }
    let near = notify.run(&["trigger", "run", "fired", &notify.app]);
    assert!(err(&near).contains("did you mean fires?"), "{}", err(&near));
}

#[test]
fn section_20_template_render_json_masks_secrets() {
    let notify = Notify::new();
    let render = |template: &str, recipient: &str| {
        let output = notify.run(&["template", "render", template, &notify.app, "--recipient", recipient, "-o", "json"]);
        (output.status.code(), json(&output))
    };
    let (status, slack) = render("failed", "slack:c");
    assert_eq!(status, Some(0));
    assert_eq!(slack["message"], "web failed: ***");
    assert_eq!(slack["fallback"], false);
    assert_eq!(slack["fields"]["slack.attachments"], r#"[{"text": "say \"no\""}]"#);
    assert_eq!(slack["payload"]["attachments"], slack["fields"]["slack.attachments"]);
    let (_, hook) = render("failed", "hook:");
    assert_eq!(hook["payload"]["method"], "POST");
    assert_eq!(hook["payload"]["body"], r#"{"m": "say \"no\""}"#);
    let (status, broken) = render("broken", "slack:c");
    assert_eq!(status, Some(1));
    assert_eq!(broken["errors"][0]["field"], "message");
    assert_eq!(broken["errors"][0]["phase"], "parse");
    assert_eq!(broken["errors"][0]["line"], 2);
    assert_eq!(broken["fallback"], true);
    let (status, failing) = render("runs-not", "slack:c");
    assert_eq!(status, Some(1));
    assert_eq!(failing["errors"][0]["phase"], "run");
    let everything = format!("{slack}{hook}{broken}{failing}");
    assert!(!everything.contains("hunter2"), "a secret is shown");
}

#[test]
fn section_20_golden_files_and_standard_input() {
    let notify = Notify::new();
    let golden = notify.folder.path().join("golden.txt").display().to_string();
    let run = |more: &[&str]| {
        notify.run(&[&["template", "render", "failed", &notify.app, "--golden", &golden], more].concat()).status.code()
    };
    assert_eq!(run(&[]), Some(2));
    assert_eq!(run(&["--update"]), Some(0));
    assert_eq!(run(&[]), Some(0));
    std::fs::write(&golden, "something else").expect("a file");
    assert_eq!(run(&[]), Some(3));
}

#[test]
fn section_23_lint_says_where_what_and_what_would_help() {
    let folder = Folder::new();
    folder.write("cm.yaml", CONFIG);
    folder.write(
        "app.yaml",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: a\n  annotations:\n    argocd-image-updater.argoproj.io/image-list: a=nginx:^1\n    argocd-image-updater.argoproj.io/a.update-stratgy: semver\n    argocd-image-updater.argoproj.io/force-update: 'yess'\n    notifications.argoproj.io/subscribe.on-fail.slack: x\nspec: {source: {repoURL: https://h/r, path: p}}\n",
    );
    folder.write("registries.conf", "registries:\n- name: a\n  api_url: nowhere\n  prefix: a\n  colour: red\n");
    folder.write(
        "rollout.yaml",
        "kind: Rollout\nmetadata:\n  annotations: {argocd-image-updater.argoproj.io/image-list: a}\n",
    );
    let output = lynceus(&["lint", &folder.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(3), "{}", out(&output));
    let text = out(&output);
    for part in [
        "cm.yaml: trigger.on-failed: [1].when",
        "cm.yaml: template.broken: message: line 2",
        "update-stratgy",
        "did you mean",
        "force-update",
        "there is no trigger `on-fail`",
        "registries.conf",
        "colour",
        "rollout.yaml",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let listed = lynceus(&["lint", &folder.path().display().to_string(), "-o", "json"]);
    let problems = json(&listed);
    let first = &problems.as_array().expect("a list")[0];
    for field in ["code", "severity", "object", "key", "line", "column", "text", "hint", "upstreamRejects"] {
        assert!(first.get(field).is_some(), "{field} is missing in {first}");
    }
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/example").display().to_string();
    let clean = lynceus(&["lint", "--strict", &example]);
    assert_eq!(clean.status.code(), Some(0), "{}", out(&clean));
    assert_eq!(lynceus(&["lint", "/nowhere/at/all"]).status.code(), Some(2));
    let notify = lynceus(&["notify", "lint", &example]);
    assert_eq!(notify.status.code(), Some(0));
}

#[test]
fn section_23_completion_version_help_and_history() {
    for shell in ["bash", "zsh", "fish"] {
        let output = lynceus(&["completion", shell]);
        assert!(output.status.success() && out(&output).contains("lynceus"), "{shell}");
    }
    assert_eq!(out(&lynceus(&["version", "--short"])).trim(), env!("CARGO_PKG_VERSION"));
    let help = out(&lynceus(&["--help"]));
    for command in ["run", "plan", "explain", "test", "notify", "lint", "history", "demo", "completion"] {
        assert!(help.contains(&format!("  {command} ")), "{command} is not in\n{help}");
    }
    let folder = Folder::new();
    let none = lynceus(&["history", "--state-dir", &folder.path().display().to_string()]);
    assert_eq!(none.status.code(), Some(2), "{}", err(&none));
}
