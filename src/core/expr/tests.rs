//! The expression language against what the real one said (tests/fixtures/expr).
//!
//! Shown here and in the files below: EXP-01 (golden tables), EXP-02 and EXP-03 and EXP-04 (messages.rs), EXP-05
//! (limits.rs), HLP-06.

mod limits;
mod messages;

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::*;
use crate::core::value::{CallError, Func, List, ListKind, MapKind, Param, duration, time, type_name};

/// One line of a fixture; see tests/oracle/expr/main.go.
#[derive(Deserialize)]
struct Row {
    expr: String,
    env: String,
    verdict: String,
    #[serde(default)]
    text: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    said: String,
}

fn moment(text: &str) -> Moment {
    Moment::utc(text.parse::<Timestamp>().unwrap())
}

fn now() -> Moment {
    moment("2026-05-01T12:00:00Z")
}

/// A file of tests/fixtures/expr, or of the folder in `LYNCEUS_EXPR_ROWS`: longer ones, written by tests/oracle/expr.
fn fixture(name: &str) -> String {
    let folder = std::env::var("LYNCEUS_EXPR_ROWS");
    let folder = folder.unwrap_or_else(|_| format!("{}/tests/fixtures/expr", env!("CARGO_MANIFEST_DIR")));
    std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
}

/// The `(line:column)` at the end of what the real one said.
fn place(said: &str) -> Option<(u32, u32)> {
    let (line, column) = said.strip_suffix(')')?.rsplit_once('(')?.1.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// The variables that the real one was given.
fn environment(name: &str) -> Map {
    let app: serde_json::Value = serde_json::from_str(&fixture(&format!("app-{name}.json"))).unwrap();
    let text = |a: &[Value], i: usize| a[i].as_text().unwrap_or_default().to_owned();
    let map = Map::new(MapKind::Any);
    map.insert("app", Value::from_json(&app));
    map.insert(
        "context",
        Value::text_map([("argocdUrl", "https://cd.example"), ("empty", ""), ("notificationType", "")]),
    );
    let bytes = |b: &[u8]| Value::Bytes(Arc::from(b));
    map.insert(
        "secrets",
        Value::Map(Map::from_entries(
            MapKind::Bytes,
            [("k".into(), bytes(b"s3")), ("empty".into(), bytes(b""))].into_iter().collect(),
        )),
    );
    let mut helpers = vec![
        ("Now", Value::Func(Func::new("Now", &[], |_| Ok(Value::Time(now()))))),
        (
            "Parse",
            Value::Func(Func::new("Parse", &[Param::Text], move |a| {
                time::parse_rfc3339(&text(a, 0), &jiff::tz::TimeZone::UTC).map(Value::Time).map_err(CallError::Failed)
            })),
        ),
        ("RFC3339", Value::text(time::RFC3339)),
        ("RFC1123", Value::text("Mon, 02 Jan 2006 15:04:05 MST")),
        ("Kitchen", Value::text("3:04PM")),
    ];
    for (name, nanos) in [
        ("Nanosecond", 1),
        ("Microsecond", 1_000),
        ("Millisecond", 1_000_000),
        ("Second", duration::SECOND),
        ("Minute", duration::MINUTE),
        ("Hour", duration::HOUR),
    ] {
        helpers.push((name, Value::Duration(nanos)));
    }
    map.insert("time", Value::map(helpers));
    map.insert(
        "strings",
        Value::map([
            (
                "ReplaceAll",
                func("ReplaceAll", &[Param::Text; 3], move |a| {
                    Value::text(text(a, 0).replace(&text(a, 1), &text(a, 2)))
                }),
            ),
            ("ToUpper", func("ToUpper", &[Param::Text], move |a| Value::text(text(a, 0).to_uppercase()))),
            ("ToLower", func("ToLower", &[Param::Text], move |a| Value::text(text(a, 0).to_lowercase()))),
        ]),
    );
    map.insert("v", values());
    map.insert("fn", functions());
    map
}

fn func(name: &str, params: &[Param], body: impl Fn(&[Value]) -> Value + Send + Sync + 'static) -> Value {
    Value::Func(Func::new(name, params, move |a| Ok(body(a))))
}

fn values() -> Value {
    let json = |text: &str| Value::from_json(&serde_json::from_str(text).unwrap());
    let ints = List { kind: ListKind::Int, items: Arc::new([3, 1, 2].map(Value::int).to_vec()) };
    Value::map([
        ("i", Value::int(3)),
        ("j", Value::int64(3)),
        ("k", Value::int64(0)),
        ("f", Value::Float(1.5)),
        ("g", Value::Float(3.0)),
        ("s", Value::text("text")),
        ("n", Value::text("10")),
        ("e", Value::text("")),
        ("t", Value::Bool(true)),
        ("u", Value::Bool(false)),
        ("nil", Value::Nil),
        ("list", json(r#"[1, "a", null, true, 2.5]"#)),
        ("nums", json("[3, 1, 2]")),
        ("texts", Value::text_list(["b", "a", "c"])),
        ("ints", Value::List(ints)),
        ("none", json("[]")),
        ("nested", json("[[1], [2, [3]]]")),
        ("bytes", Value::Bytes(Arc::from(&b"hi"[..]))),
        ("m", json(r#"{"a": 1, "b": "x", "c": null}"#)),
        ("tm", Value::text_map([("a", "1")])),
        ("time", Value::Time(moment("2026-05-01T11:58:00Z"))),
        ("dur", Value::Duration(90 * duration::SECOND)),
        (
            "objs",
            json(
                r#"[{"name": "web", "n": 2, "ok": true, "tags": ["x", "y"]}, {"name": "db", "n": 1, "ok": false, "tags": []},
                    {"name": "job", "n": 2, "ok": true}]"#,
            ),
        ),
    ])
}

fn functions() -> Value {
    let int = |value: &Value| if let Value::Int(_, n) | Value::Duration(n) = value { *n } else { 0 };
    Value::map([
        (
            "Two",
            func("Two", &[Param::Text, Param::Int], move |a| {
                Value::text(format!("{}{}", a[0].as_text().unwrap_or_default(), int(&a[1])))
            }),
        ),
        ("Sum", Value::Func(Func::variadic("Sum", &[Param::Int], move |a| Ok(Value::int(a.iter().map(int).sum()))))),
        ("Fail", Value::Func(Func::new("Fail", &[], |_| Err(CallError::Failed("failed on purpose".into()))))),
        ("Any", func("Any", &[Param::Any], |a| a[0].clone())),
        ("Dur", func("Dur", &[Param::Duration], move |a| Value::text(duration::text(int(&a[0]))))),
        ("Big", func("Big", &[Param::Int64], |a| a[0].clone())),
        (
            "Half",
            func("Half", &[Param::Float], |a| match a[0] {
                Value::Float(f) => Value::Float(f / 2.0),
                _ => Value::Nil,
            }),
        ),
        (
            "Not",
            func("Not", &[Param::Bool], |a| match a[0] {
                Value::Bool(b) => Value::Bool(!b),
                _ => Value::Nil,
            }),
        ),
    ])
}

/// Compares a fixture; gives what differs.
fn differences(name: &str) -> (usize, Vec<String>) {
    let environments: std::collections::HashMap<&str, Map> =
        ["full", "min", "none"].into_iter().map(|name| (name, environment(name))).collect();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in fixture(name).lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        count += 1;
        let mut at = None;
        let got = match Program::compile(&row.expr) {
            Err(error) => {
                at = Some((error.line, error.column));
                ("compile", error.to_string(), String::new())
            }
            Ok(program) => match program.eval(&environments[row.env.as_str()], &now()) {
                Err(error) => {
                    at = Some((error.line, error.column));
                    ("run", error.to_string(), String::new())
                }
                Ok(Value::Func(_)) => ("value", String::new(), "func".to_owned()),
                Ok(value) => ("value", text(&value), type_name(&value)),
            },
        };
        // The last digit of a fractional power depends on the machine's logarithm.
        let power = row.expr.contains(['^', '*'])
            && matches!((got.1.parse::<f64>(), row.text.parse::<f64>()), (Ok(a), Ok(b)) if (a - b).abs() <= b.abs() * 1e-15);
        let placed = at.is_none() || place(&row.said).is_none_or(|place| at == Some(place));
        let same =
            placed && got.0 == row.verdict && (got.0 != "value" || ((got.1 == row.text || power) && got.2 == row.kind));
        if !same {
            wrong.push(format!(
                "{} [{}]\n    real: {} {:?} {} {}\n    here: {} {:?} {}",
                row.expr, row.env, row.verdict, row.text, row.kind, row.said, got.0, got.1, got.2
            ));
        }
    }
    (count, wrong)
}

/// All rows of a fixture must be as the real one says.
#[track_caller]
fn as_the_real_one(name: &str, at_least: usize) {
    let (count, wrong) = differences(name);
    assert!(count >= at_least, "{name} has only {count} rows");
    assert!(wrong.is_empty(), "{} of {count} rows of {name} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn exp_01_vectors_of_nil_and_errors() {
    as_the_real_one("nil_6_3.jsonl", 160);
}

#[test]
fn exp_01_texts_of_values() {
    as_the_real_one("format_6_5.jsonl", 60);
}

#[test]
fn exp_01_syntax_and_compile_verdicts() {
    as_the_real_one("syntax.jsonl", 440);
}

#[test]
fn exp_01_precedence_of_every_pair() {
    as_the_real_one("precedence.jsonl", 1900);
}

#[test]
fn exp_01_builtins() {
    as_the_real_one("builtins.jsonl", 650);
}

#[test]
fn exp_01_rewritings_that_show() {
    as_the_real_one("rewriting.jsonl", 140);
}

#[test]
fn exp_01_conditions_as_people_write_them() {
    as_the_real_one("conditions.jsonl", 180);
}

#[test]
fn exp_01_operators_between_all_kinds() {
    as_the_real_one("generated.jsonl", 1000);
}

#[test]
fn exp_01_expressions_grown_by_chance() {
    as_the_real_one("random.jsonl", 800);
}

/// What people write with a few tokens left out, doubled or exchanged.
#[test]
fn exp_01_expressions_that_are_nearly_right() {
    as_the_real_one("mutants.jsonl", 2000);
}
