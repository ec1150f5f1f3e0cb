//! What `lint` says of broken configurations, word by word: one file each below `tests/fixtures/lint`, with the list it
//! must give behind `#>` at its end (notifications.md §20). `LYNCEUS_BLESS=1` writes the lists anew; read them then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::root;

const MARK: &str = "#> ";

/// Every fixture, by name.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("tests/fixtures").join(folder)).expect("the folder");
    let mut files: Vec<PathBuf> = folder.map(|file| file.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    files
}

fn lint(arguments: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lynceus"));
    let output = command.arg("lint").args(arguments).env("NO_COLOR", "1").output().expect("the program starts");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `severity code[, upstream-rejects] | where | key | line:column | text | hint`
fn line(problem: &Value, file: &str) -> String {
    let word = |name: &str| problem[name].as_str().unwrap_or_default();
    let rejects = if problem["upstreamRejects"] == true { ", upstream-rejects" } else { "" };
    let place = match (problem["line"].as_u64(), problem["column"].as_u64()) {
        (Some(line), Some(column)) => format!("{line}:{column}"),
        (Some(line), None) => line.to_string(),
        _ => String::new(),
    };
    let object = word("object").strip_prefix(file).unwrap_or(word("object")).trim();
    let parts = [object, word("key"), &place, word("text"), word("hint")].map(|part| part.replace('\n', "⏎"));
    format!("{} {}{rejects} | {}", word("severity"), word("code"), parts.join(" | "))
}

fn problems(file: &Path) -> (i32, Vec<String>, Vec<Value>) {
    let path = file.display().to_string();
    let (code, out) = lint(&[&path, "-o", "json"]);
    let list: Vec<Value> = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{path}: {e}: {out}"));
    (code, list.iter().map(|problem| line(problem, &path)).collect(), list)
}

#[test]
fn section_20_lint_golden() {
    let files = fixtures("lint");
    assert!(files.len() >= 60, "{}", files.len());
    let codes = golden(&files, true);
    assert!(codes.len() >= 25, "{codes:?}");
}

/// The corpus of configurations as people write them: each loads, with these problems and no others.
#[test]
fn section_25_lint_golden_of_the_corpus() {
    let files = fixtures("corpus");
    assert!(files.len() >= 60, "{}", files.len());
    golden(&files, false);
}

/// Compares every file's list; gives the codes that were seen.
fn golden(files: &[PathBuf], broken: bool) -> BTreeSet<String> {
    let bless = std::env::var_os("LYNCEUS_BLESS").is_some();
    let (mut wrong, mut codes) = (Vec::new(), BTreeSet::new());
    for file in files {
        let text = std::fs::read_to_string(file).expect("a fixture");
        let wanted: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
        let (code, found, list) = problems(file);
        codes.extend(list.iter().map(|problem| problem["code"].as_str().unwrap_or_default().to_owned()));
        if bless {
            let body: Vec<&str> = text.lines().filter(|line| !line.starts_with(MARK.trim())).collect();
            let listed: String = found.iter().map(|line| format!("{MARK}{line}\n")).collect();
            std::fs::write(file, format!("{}\n{listed}", body.join("\n"))).expect("written");
            continue;
        }
        assert!(!broken || !wanted.is_empty(), "{}: a fixture without a problem", file.display());
        if found != wanted {
            wrong.push(format!("{}\n  wanted {wanted:#?}\n  found {found:#?}", file.display()));
        }
        let errors = list.iter().any(|problem| problem["severity"] == "error");
        assert_eq!(code, if errors { 3 } else { 0 }, "{}", file.display());
        let (strict, _) = lint(&["--strict", &file.display().to_string()]);
        let warned = list.iter().any(|problem| problem["severity"] == "warning");
        assert_eq!(strict, if errors || warned { 3 } else { 0 }, "--strict {}", file.display());
    }
    assert!(!bless && wrong.is_empty(), "{}", wrong.join("\n"));
    codes
}

/// What a whole installation is told that comes from Argo CD Notifications.
#[test]
fn cut_03_lint_says_what_will_be_different() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write(
        "cm.yaml",
        "kind: ConfigMap\nmetadata: {name: argocd-notifications-cm}\ndata:\n  \
         service.email: '{host: mail.example.com, port: 25, from: a@example.com}'\n  \
         service.email.old: '{host: mail.example.com, port: 465, from: a@example.com}'\n  \
         service.email.told: '{host: mail.example.com, port: 25, from: a@example.com, lynceus: {tls: none}}'\n  \
         service.webhook.ops: '{url: \"https://ops.test\", headers: [{name: A, value: b}]}'\n  \
         service.opsgenie: '{apiUrl: x}'\n  \
         trigger.once: '[{when: \"app.status.sync.status == ''Synced''\", oncePer: app.metadata.name, send: [note]}]'\n  \
         trigger.edge: '[{when: \"app.status.sync.status == ''Unknown''\", send: [note]}]'\n  \
         template.note: '{message: m, slack: {attachments: \"[{{.app.x}}]\", groupingKey: k}}'\n  \
         template.dead: '{message: \"{{\"}'\n",
    );
    write(
        "apps.yaml",
        "kind: Application\nmetadata: {name: many, namespace: team-a, annotations: \
         {notifications.argoproj.io/subscribe.once.ops: ''}}\nspec: {project: p, sources: [{repoURL: a}, {repoURL: b}]}\n\
         ---\nkind: AppProject\nmetadata: {name: p, namespace: argocd, annotations: \
         {notifications.argoproj.io/subscribe.edge.ops: ''}}\n",
    );
    let path = folder.path().display().to_string();
    let (code, out) = lint(&[&path]);
    assert_eq!(code, 3, "{out}");
    let (faults, differs) = out.split_once("Coming from Argo CD Notifications, this is different here:").expect(&out);
    let differs = differs.rsplit_once("\n").map_or(differs, |(rest, _)| rest);
    for (rule, part) in [
        ("CFG-01", "rejects template.dead"),
        ("EM-02", "on port 25 the server must offer STARTTLS"),
        ("EM-01", "port 465"),
        ("WH-07", "redirect"),
        ("DLV-03", "a message of once that fails"),
        ("ST-17", "edge tells every time"),
        ("SL-05", "threads"),
        ("TPL-05", "`slack.attachments`"),
        ("ST-08", "team-a/many has several sources"),
        ("SUB-10", "team-a/many inherits the subscriptions of its project `p`"),
    ] {
        let said = differs.lines().filter(|line| line.contains(&format!("{rule}: ")) && line.contains(part)).count();
        assert_eq!(said, 1, "{rule}: {part}\n{out}");
    }
    assert!(faults.contains("`opsgenie` is not delivered to yet"), "{out}");
    assert!(!differs.contains("service.email.told"), "{out}");
    assert!(out.ends_with("2 files read, 1 error, 1 warning, 0 remarks\n"), "{out}");
    // Of nothing that it does not hold: an installation with nothing of the kind is told nothing.
    std::fs::remove_file(folder.path().join("apps.yaml")).expect("gone");
    write(
        "cm.yaml",
        "kind: ConfigMap\nmetadata: {name: argocd-notifications-cm}\ndata: {service.slack: 'token: xoxb-12345'}\n",
    );
    let (code, out) = lint(&[&path]);
    assert_eq!((code, out.as_str()), (0, "1 file read, 0 errors, 0 warnings, 0 remarks\n"));
}
