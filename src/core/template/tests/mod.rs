//! The template language against what Go's own text/template and sprig printed (tests/fixtures/template, made by
//! tests/oracle/template), and against hostile input.

mod hostile;
mod json;
mod rules;
mod vectors;

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::*;
use crate::core::value::time::{LAYOUTS, parse_rfc3339};
use crate::core::value::{CallError, Func, Map, MapKind, Object, Param, display, duration};

/// 2026-05-01 12:00 UTC, shown in a zone.
pub(super) fn noon(zone: &str) -> Moment {
    let zone = TimeZone::get(zone).unwrap_or_else(|e| panic!("{zone}: {e}"));
    parse_rfc3339("2026-05-01T12:00:00Z", &TimeZone::UTC).unwrap_or_else(|e| panic!("{e}")).in_zone(&zone)
}

fn two_to_twelve() -> Moment {
    parse_rfc3339("2026-05-01T11:58:00Z", &TimeZone::UTC).unwrap_or_else(|e| panic!("{e}"))
}

#[derive(Debug)]
struct Commit;

impl Object for Commit {
    fn type_name(&self) -> &str {
        "*main.commit"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Message" => Value::text("Fix <it>\n\nnow"),
            "Author" => Value::text("Ann <ann@example.org>"),
            "Date" => Value::Time(two_to_twelve()),
            "Tags" => Value::text_list(["v1", "v2"]),
            _ => return None,
        })
    }

    fn method(&self, _: &str) -> Option<Func> {
        None
    }

    fn field_names(&self) -> &[&'static str] {
        &["Message", "Author", "Date", "Tags"]
    }
}

fn text_function(name: &str, map: fn(&str) -> String) -> (&str, Value) {
    let code = move |v: &[Value]| Ok(Value::text(map(v[0].as_text().unwrap_or_default())));
    (name, Value::Func(Func::new(name, &[Param::Text], code)))
}

fn functions_of_hosts() -> Value {
    let number = |value: &Value| match value {
        Value::Int(_, n) => *n,
        _ => 0,
    };
    Value::map([
        text_function("Up", str::to_uppercase),
        (
            "Add",
            Value::Func(Func::new("Add", &[Param::Int, Param::Int], move |v| {
                Ok(Value::int(number(&v[0]) + number(&v[1])))
            })),
        ),
        ("Err", Value::Func(Func::new("Err", &[], |_| Err(CallError::Failed("it broke".into()))))),
        ("Any", Value::Func(Func::new("Any", &[Param::Any], |v| Ok(Value::text(format!("<{}>", display(&v[0]))))))),
        (
            "Cat",
            Value::Func(Func::variadic("Cat", &[Param::Text, Param::Text], |v| {
                let parts: Vec<&str> = v[1..].iter().filter_map(Value::as_text).collect();
                Ok(Value::text(parts.join(v[0].as_text().unwrap_or_default())))
            })),
        ),
        ("Dur", Value::Func(Func::new("Dur", &[Param::Duration], |v| Ok(Value::text(display(&v[0])))))),
    ])
}

fn commit_of(arguments: &[Value]) -> Result<Value, CallError> {
    match arguments[0].as_text() {
        Some(sha) if sha.len() >= 7 => Ok(Value::Object(Arc::new(Commit))),
        _ => Err(CallError::Failed("no such commit".into())),
    }
}

/// The same data that the oracle renders with.
pub(super) fn data(now: &Moment) -> Value {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/fixtures/template/data.json")).expect("fixture");
    let Value::Map(root) = Value::from_json(&json) else { panic!("fixture is no object") };
    let bytes = Map::new(MapKind::Bytes);
    bytes.insert("token", Value::Bytes(Arc::from(&b"s3"[..])));
    bytes.insert("empty", Value::Bytes(Arc::from(&b""[..])));
    let layout =
        |wanted: &str| Value::text(LAYOUTS.iter().find(|(name, _)| *name == wanted).map_or("", |(_, layout)| *layout));
    let (clock, local) = (now.clone(), now.zone.clone());
    for (key, value) in [
        ("tm", Value::Time(two_to_twelve())),
        ("du", Value::Duration(90 * duration::SECOND)),
        (
            "context",
            Value::text_map([
                ("argocdUrl", "https://argo.example"),
                ("environmentName", "prod"),
                ("notificationType", "slack"),
                ("empty", ""),
            ]),
        ),
        ("secrets", Value::Map(bytes)),
        ("serviceType", Value::text("slack")),
        ("recipient", Value::text("#deploy")),
        ("fn", functions_of_hosts()),
        (
            "time",
            Value::map([
                ("Now", Value::Func(Func::new("Now", &[], move |_| Ok(Value::Time(clock.clone()))))),
                (
                    "Parse",
                    Value::Func(Func::new("Parse", &[Param::Text], move |v| {
                        let text = v[0].as_text().unwrap_or_default();
                        parse_rfc3339(text, &local).map(Value::Time).map_err(CallError::Failed)
                    })),
                ),
                ("Minute", Value::Duration(duration::MINUTE)),
                ("RFC1123", layout("RFC1123")),
            ]),
        ),
        (
            "strings",
            Value::map([
                text_function("ToUpper", str::to_uppercase),
                text_function("ToLower", str::to_lowercase),
                (
                    "ReplaceAll",
                    Value::Func(Func::new("ReplaceAll", &[Param::Text; 3], |v| {
                        let text = |i: usize| v[i].as_text().unwrap_or_default().to_owned();
                        Ok(Value::text(text(0).replace(&text(1), &text(2))))
                    })),
                ),
            ]),
        ),
        (
            "repo",
            Value::map([
                text_function("QueryEscape", super::builtin::url_query),
                ("GetCommitMetadata", Value::Func(Func::new("GetCommitMetadata", &[Param::Text], commit_of))),
            ]),
        ),
    ] {
        root.insert(key, value);
    }
    Value::Map(root)
}

pub(super) fn template(source: &str) -> Template {
    Template::parse(source, Functions::Full).unwrap_or_else(|e| panic!("{source}: {e}"))
}

pub(super) fn render(source: &str) -> Result<String, RenderError> {
    let now = noon("UTC");
    template(source).render(&data(&now), &now)
}
