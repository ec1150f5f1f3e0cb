//! What is fuzzed: one function per input that people or the network write. Each takes any bytes and panics if a promise
//! is broken. `tests/fuzz/main.rs` runs them on seeded inputs in the ordinary tests, `fuzz_targets/*.rs` under cargo-fuzz.

pub mod commits;
pub mod files;
pub mod git;
pub mod images;
pub mod languages;
pub mod notifications;
pub mod registry;

use std::sync::OnceLock;

use lynceus::core::value::time::Moment;
use lynceus::core::value::{Map, MapKind, Value};

/// Takes any bytes; panics if a promise is broken.
pub type Target = fn(&[u8]);

/// The target of this name, as `make fuzz TARGET=…` and the files in `fuzz_targets` call it.
pub const TARGETS: &[(&str, Target)] = &[
    ("expr_parse", languages::expr_parse),
    ("expr_eval", languages::expr_eval),
    ("tpl_parse", languages::tpl_parse),
    ("tpl_exec", languages::tpl_exec),
    ("sprig", languages::sprig),
    ("json_interpolation", languages::json_interpolation),
    ("config_map", notifications::config_map),
    ("subscriptions", notifications::subscriptions),
    ("state_annotation", notifications::state_annotation),
    ("application", notifications::application),
    ("secrets", notifications::secrets),
    ("image_reference", images::image_reference),
    ("tag_selection", images::tag_selection),
    ("image_annotations", images::image_annotations),
    ("registries", images::registries),
    ("constraint", images::constraint),
    ("writeback", files::writeback),
    ("yaml_splice", files::yaml_splice),
    ("override_file", files::override_file),
    ("kustomization", files::kustomization),
    ("commit_template", commits::commit_template),
    ("branch_template", commits::branch_template),
    ("challenge", registry::challenge),
    ("manifest", registry::manifest),
    ("docker_config", registry::docker_config),
    ("credentials", registry::credentials),
    ("packets", git::packets),
];

/// A part of the input: up to the next NUL.
pub struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub fn of(input: &'a [u8]) -> Parts<'a> {
        Parts(input)
    }

    /// The next part as text; what is no UTF-8 is replaced.
    pub fn text(&mut self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        let (part, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        String::from_utf8_lossy(part).into_owned()
    }

    /// Whether something is left.
    pub fn more(&self) -> bool {
        !self.0.is_empty()
    }
}

pub fn noon() -> Moment {
    Moment::utc("2026-05-01T12:00:00Z".parse().expect("a time"))
}

/// An Application as Argo CD writes them, and below `deep` what nobody should write.
fn application_json() -> &'static serde_json::Value {
    static APP: OnceLock<serde_json::Value> = OnceLock::new();
    APP.get_or_init(|| {
        let text = include_str!("../../fixtures/expr/app-full.json");
        let mut app: serde_json::Value = serde_json::from_str(text).expect("a fixture");
        let mut deep = serde_json::json!("bottom");
        for level in 0..400 {
            deep = if level % 2 == 0 { serde_json::json!([deep]) } else { serde_json::json!({ "deep": deep }) };
        }
        app["deep"] = deep;
        app
    })
}

/// The variables of conditions and templates, with two texts of the input.
pub fn variables(a: &str, b: &str) -> Map {
    let map = Map::new(MapKind::Any);
    map.insert("app", Value::from_json(application_json()));
    map.insert("context", Value::text_map([("a", a), ("url", "https://cd.example")]));
    map.insert("a", Value::text(a));
    map.insert("b", Value::text(b));
    map.insert("now", Value::Time(noon()));
    map
}

/// A place must lie inside the source, or just behind it.
pub fn inside(source: &str, line: u32, column: u32) {
    let found = source.split('\n').nth(line as usize - 1);
    let width = found.unwrap_or_else(|| panic!("line {line} of {source:?}")).chars().count();
    assert!(column >= 1 && column as usize <= width + 2, "column {column} of line {line} of {source:?}");
}
