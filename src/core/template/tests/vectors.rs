//! Every case renders to the text that Go printed, or fails where Go failed: at parsing or at rendering.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    template: String,
    #[serde(default)]
    plain: bool,
    zone: Option<String>,
    output: Option<String>,
    parse_error: Option<String>,
    exec_error: Option<String>,
}

impl Case {
    fn expected(&self) -> String {
        match (&self.output, &self.parse_error, &self.exec_error) {
            (Some(text), ..) => format!("output {text:?}"),
            (_, Some(error), _) => format!("parse error ({error})"),
            (_, _, error) => format!("exec error ({})", error.as_deref().unwrap_or("?")),
        }
    }

    /// Go counts bytes from 0.
    fn column(&self, line: u32, at: usize) -> u32 {
        let line = self.template.split('\n').nth(line as usize - 1).unwrap_or_default();
        1 + String::from_utf8_lossy(&line.as_bytes()[..at.min(line.len())]).chars().count() as u32
    }

    /// What is different, if anything is.
    fn difference(&self) -> Option<String> {
        let now = noon(self.zone.as_deref().unwrap_or("UTC"));
        let functions = if self.plain { Functions::Plain } else { Functions::Full };
        let (got, same) = match Template::parse(&self.template, functions) {
            Err(error) => {
                let same = self.parse_error.as_ref().is_some_and(|said| place(said).0 == error.line);
                (format!("parse error ({error})"), same)
            }
            Ok(template) => match template.render(&data(&now), &now) {
                Err(error) => {
                    let same = self.exec_error.as_ref().is_some_and(|said| {
                        let (line, at) = place(said);
                        line == error.line && at.is_none_or(|at| self.column(line, at) == error.column)
                    });
                    (format!("exec error ({error})"), same)
                }
                Ok(text) => {
                    let same = self.output.as_ref() == Some(&text);
                    (format!("output {text:?}"), same)
                }
            },
        };
        (!same).then(|| format!("{}: {}\n    want {}\n    got  {got}\n", self.name, self.template, self.expected()))
    }
}

/// The place in `template: t:1:5: …`; an error of parsing has no column.
fn place(said: &str) -> (u32, Option<usize>) {
    let mut parts = said.strip_prefix("template: t:").unwrap_or_default().split(':');
    let mut next = || parts.next()?.parse::<usize>().ok();
    (next().unwrap_or(0) as u32, next())
}

/// A file of tests/fixtures/template, or of the folder in `LYNCEUS_TEMPLATE_ROWS`.
fn check(name: &str) {
    let folder = std::env::var("LYNCEUS_TEMPLATE_ROWS");
    let folder = folder.unwrap_or_else(|_| format!("{}/tests/fixtures/template", env!("CARGO_MANIFEST_DIR")));
    let file = std::fs::read_to_string(format!("{folder}/{name}")).expect("a fixture");
    let cases: Vec<Case> =
        file.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect();
    assert!(cases.len() > 10, "the fixture file is nearly empty");
    let differences: Vec<String> = cases.iter().filter_map(Case::difference).collect();
    assert!(differences.is_empty(), "{} of {} differ\n{}", differences.len(), cases.len(), differences.concat());
}

#[test]
fn tpl_vectors_s_7_2() {
    check("s_7_2.jsonl");
}

#[test]
fn tpl_vectors_language() {
    check("language.jsonl");
}

#[test]
fn tpl_vectors_plain_functions() {
    check("plain.jsonl");
}

#[test]
fn tpl_sprig_per_function() {
    check("functions.jsonl");
}

/// Grammar put together at random, and the corners of formats: layouts, patterns, numbers, URLs, versions.
#[test]
fn tpl_vectors_random() {
    check("random.jsonl");
}

#[test]
fn tpl_vectors_local_zones() {
    check("zones.jsonl");
}

/// Every function with arguments of every kind, piped and not; formats put together at random.
#[test]
fn tpl_sprig_with_any_arguments() {
    check("calls.jsonl");
}

/// Cases of the other files with a few tokens left out, doubled or exchanged.
#[test]
fn tpl_vectors_that_are_nearly_right() {
    check("mutants.jsonl");
}
