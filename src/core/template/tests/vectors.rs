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

    /// What is different, if anything is.
    fn difference(&self) -> Option<String> {
        let now = noon(self.zone.as_deref().unwrap_or("UTC"));
        let functions = if self.plain { Functions::Plain } else { Functions::Full };
        let (got, same) = match Template::parse(&self.template, functions) {
            Err(error) => (format!("parse error ({error})"), self.parse_error.is_some()),
            Ok(template) => match template.render(&data(&now), &now) {
                Err(error) => (format!("exec error ({error})"), self.exec_error.is_some()),
                Ok(text) => {
                    let same = self.output.as_ref() == Some(&text);
                    (format!("output {text:?}"), same)
                }
            },
        };
        (!same).then(|| format!("{}: {}\n    want {}\n    got  {got}\n", self.name, self.template, self.expected()))
    }
}

fn check(file: &str) {
    let cases: Vec<Case> =
        file.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect();
    assert!(cases.len() > 10, "the fixture file is nearly empty");
    let differences: Vec<String> = cases.iter().filter_map(Case::difference).collect();
    assert!(differences.is_empty(), "{} of {} differ\n{}", differences.len(), cases.len(), differences.concat());
}

#[test]
fn tpl_vectors_s_7_2() {
    check(include_str!("../../../../tests/fixtures/template/s_7_2.jsonl"));
}

#[test]
fn tpl_vectors_language() {
    check(include_str!("../../../../tests/fixtures/template/language.jsonl"));
}

#[test]
fn tpl_vectors_plain_functions() {
    check(include_str!("../../../../tests/fixtures/template/plain.jsonl"));
}

#[test]
fn tpl_sprig_per_function() {
    check(include_str!("../../../../tests/fixtures/template/functions.jsonl"));
}

/// Grammar put together at random, and the corners of formats: layouts, patterns, numbers, URLs, versions.
#[test]
fn tpl_vectors_random() {
    check(include_str!("../../../../tests/fixtures/template/random.jsonl"));
}

#[test]
fn tpl_vectors_local_zones() {
    check(include_str!("../../../../tests/fixtures/template/zones.jsonl"));
}
