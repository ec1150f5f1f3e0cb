//! The house rules that a machine can check: import directions, purity, file heads, forbidden names, no test switches
//! in `src`, no derived `Serialize` in `core`, secrets exposed only in `adapters`. It also checks the licences and
//! sources of every dependency.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which top rooms a room may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("core", &["core"]),
    ("config", &["core", "config"]),
    ("adapters", &["core", "config", "adapters"]),
    ("daemon", &["core", "config", "adapters", "daemon"]),
    ("web", &["core", "daemon", "web"]),
    ("demo", &["core", "config", "demo"]),
    ("cli", &["core", "config", "adapters", "daemon", "web", "demo", "cli"]),
];

/// The rooms of `core`; each may name only those before it, and itself.
const CORE_ORDER: &[&str] = &[
    "problem",
    "retry",
    "value",
    "expr",
    "template",
    "image",
    "application",
    "writeback",
    "event",
    "update",
    "notify",
];

/// Rooms of `adapters` that every sibling may name.
const SHARED_ADAPTERS: &[&str] = &["http", "redact"];

/// The doors that `web` may use of `daemon`.
const WEB_MAY_USE: &[&str] = &["Handle", "Status", "Command", "status", "command"];

const FORBIDDEN_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "types", "manager", "handler", "impl", "imp", "data",
    "info",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A source file: its path below `src`, its text, and the text without its `mod tests` and comments.
struct File {
    path: String,
    text: String,
    code: String,
}

impl File {
    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// The room inside `core` or `adapters`.
    fn inner(&self) -> &str {
        self.path.split(['/', '.']).nth(1).unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }
}

fn sources() -> Vec<File> {
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, &mut |path| {
        if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(path).expect("a readable source file");
            let code = strip(&text);
            let path = path.strip_prefix(&src).expect("below src").to_string_lossy().replace('\\', "/");
            files.push(File { path, text, code });
        }
    });
    assert!(files.len() > 20, "only {} files found: the walk is broken", files.len());
    files
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a readable folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// Drops line comments and everything from `#[cfg(test)]` to the end (tests stand last).
fn strip(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// Paths below `crate::` that a file names, also those inside `use crate::{…}`.
fn crate_paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        let mut path = Vec::new();
        let mut tail = rest;
        loop {
            let end = tail.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(tail.len());
            if end == 0 {
                break;
            }
            path.push(tail[..end].to_owned());
            tail = &tail[end..];
            match tail.strip_prefix("::") {
                Some(next) => tail = next,
                None => break,
            }
        }
        if let Some(group) = tail.strip_prefix('{') {
            for name in group.split(['{', '}', ',', ';']).take_while(|part| !part.contains(')')) {
                let first: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if !first.is_empty() {
                    found.push(path.iter().cloned().chain([first]).collect());
                }
                if name.ends_with('\n') {
                    break;
                }
            }
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|f| !matches!(f.path.as_str(), "main.rs" | "lib.rs")) {
        let room = file.room();
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: `{room}` is no room of the plan", file.path));
            continue;
        };
        for path in crate_paths(&file.code) {
            let Some(target) = path.first() else { continue };
            let inner = path.get(1).map(String::as_str).unwrap_or_default();
            // Tests of a room may use the stage.
            if file.is_test() && target == "demo" {
                continue;
            }
            let bad = !allowed.contains(&target.as_str())
                || (room == "core" && target == "core" && !core_may(file.inner(), inner))
                || (room == "adapters"
                    && target == "adapters"
                    && inner != file.inner()
                    && !SHARED_ADAPTERS.contains(&inner))
                || (room == "web" && target == "daemon" && !WEB_MAY_USE.contains(&inner));
            if bad {
                wrong.push(format!("{} names crate::{}", file.path, path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the plan:\n{}", wrong.join("\n"));
}

fn core_may(from: &str, to: &str) -> bool {
    let place = |room: &str| CORE_ORDER.iter().position(|r| *r == room);
    match (place(from), place(to)) {
        (Some(from_at), Some(to_at)) => {
            to_at <= from_at && !(from == "notify" && (to == "update" || to == "writeback"))
        }
        _ => false,
    }
}

#[test]
fn only_cli_uses_the_stage() {
    for file in sources().into_iter().filter(|file| !file.is_test()) {
        let uses = crate_paths(&file.code).iter().any(|path| path.first().is_some_and(|p| p == "demo"));
        assert!(!uses || file.room() == "demo" || file.path.starts_with("cli/demo"), "{} uses the stage", file.path);
    }
}

#[test]
fn core_and_config_are_pure() {
    const IMPURE: &[&str] = &[
        "async fn",
        "async move",
        ".await",
        "tokio::",
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "ToSocketAddrs",
        "std::process",
        "std::thread",
        "std::env::var",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "tracing::",
        "println!",
        "eprintln!",
        "fastrand::",
        "reqwest::",
        "git2::",
        "kube::",
        "rusqlite::",
    ];
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|f| matches!(f.room(), "core" | "config") && !f.is_test()) {
        for word in IMPURE.iter().filter(|word| file.code.contains(**word)) {
            wrong.push(format!("{}: {word}", file.path));
        }
    }
    assert!(wrong.is_empty(), "impure words in pure rooms:\n{}", wrong.join("\n"));
}

#[test]
fn core_derives_no_serialize_and_secrets_open_only_in_adapters() {
    for file in sources().iter().filter(|f| !f.is_test()) {
        if file.room() == "core" {
            assert!(!file.code.contains("Serialize"), "{} derives Serialize", file.path);
        }
        let opens = file.code.contains(".expose()") || file.code.contains(".expose_text()");
        let may = matches!(file.room(), "adapters") || file.path.starts_with("config/secret");
        assert!(!opens || may, "{} opens a secret", file.path);
    }
}

#[test]
fn every_file_has_a_head_and_no_forbidden_name() {
    for file in sources() {
        assert!(file.text.starts_with("//! "), "{} has no head", file.path);
        for part in file.path.trim_end_matches(".rs").split('/') {
            assert!(!FORBIDDEN_NAMES.contains(&part), "{}: `{part}` says nothing", file.path);
        }
        for line in file.code.lines() {
            let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let Some(rest) = line.strip_prefix("struct ").or_else(|| line.strip_prefix("enum ")) else { continue };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            let lower = name.to_lowercase();
            assert!(!FORBIDDEN_NAMES.contains(&lower.as_str()), "{}: type `{name}` says nothing", file.path);
        }
    }
}

#[test]
fn nothing_compiles_differently_under_test() {
    const SWITCHES: &[&str] = &["cfg(test)", "cfg(not(test))", "cfg!(test)", "failpoint", "fail_point"];
    for file in sources() {
        let code: String =
            file.text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for switch in SWITCHES {
            for (at, _) in code.match_indices(switch) {
                let after = &code[at..];
                let next = after.lines().nth(1).unwrap_or_default().trim_start();
                let module = *switch == "cfg(test)" && next.starts_with("mod ");
                assert!(module, "{}: `{switch}` before `{next}`", file.path);
            }
        }
    }
}

#[test]
fn unfinished_marks_are_absent() {
    const MARKS: &[&str] = &["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX", "#[ignore"];
    for file in sources() {
        for mark in MARKS {
            assert!(!file.text.contains(mark), "{} holds `{mark}`", file.path);
        }
    }
}

#[test]
fn dependencies_have_known_licences_and_sources() {
    const LICENCES: &[&str] = &[
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "MPL-2.0",
        "CC0-1.0",
        "0BSD",
        "MIT-0",
        "BSL-1.0",
        "Unlicense",
        "CDLA-Permissive-2.0",
        "OpenSSL",
    ];
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "only {} packages", packages.len());
    let mut wrong = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if name == "lynceus" {
            continue;
        }
        let source = package["source"].as_str().unwrap_or_default();
        if !source.starts_with("registry+") {
            wrong.insert(format!("{name}: source `{source}` is no registry"));
        }
        // In an SPDX expression one alternative of each OR must be known; AND needs all.
        let licence = package["license"].as_str().unwrap_or_default().replace('/', " OR ").replace(['(', ')'], "");
        let known = licence.split(" AND ").all(|all| {
            all.split(" OR ").any(|one| LICENCES.contains(&one.trim().split(" WITH ").next().unwrap_or_default()))
        });
        if !known {
            wrong.insert(format!("{name}: licence `{licence}`"));
        }
        // SEC-04: patterns of users run in linear time, whichever crate brings the engine.
        if matches!(name, "fancy-regex" | "pcre" | "pcre2" | "onig" | "regress" | "hyperscan") {
            wrong.insert(format!("{name}: an engine for patterns that backtracks"));
        }
        if matches!(name, "aws-lc-rs" | "aws-lc-sys" | "native-tls") {
            wrong.insert(format!("{name}: a second TLS provider"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_rule_is_named_by_a_test() {
    let mut named = String::new();
    for folder in ["src", "tests"] {
        walk(&root().join(folder), &mut |path| {
            if path.extension().is_some_and(|e| e == "rs") {
                named.extend(test_names(&fs::read_to_string(path).expect("a readable file")));
            }
        });
    }
    let lists = fs::read_dir(root().join("tests/fixtures/rules")).expect("the lists of rules");
    let mut rules = 0;
    let mut silent = Vec::new();
    for list in lists.flatten() {
        let text = fs::read_to_string(list.path()).expect("a readable list");
        for rule in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            rules += 1;
            if !named.contains(&format!("_{rule}_")) {
                silent.push(rule.to_owned());
            }
        }
    }
    assert!(rules > 100, "only {rules} rules are listed");
    assert!(silent.is_empty(), "no test names these rules: {}", silent.join(", "));
}

/// `_name_` of every test function of a file.
fn test_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with("//")) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            names.push(format!("_{name}_"));
            is_test = false;
        }
    }
    names
}
