//! `toJSON` and `fromJSON`, as Go's encoding/json does them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::keyed::Keyed;
use super::machine::{MAX_LEVELS, Machine};
use super::operators::{Op, described, is_nil};
use super::{texts, weight};
use crate::core::value::{Value, json_read, number};

/// Pretty-printed with two spaces, keys sorted, `<`, `>` and `&` escaped.
pub(super) fn write(machine: &mut Machine<'_>, value: &Value) -> Op {
    weight::weigh(value)?;
    let mut out = String::new();
    put(machine, &mut out, value, 0)?;
    machine.text(out)
}

fn put(machine: &mut Machine<'_>, out: &mut String, value: &Value, depth: usize) -> Op<()> {
    if depth > MAX_LEVELS {
        return Err(format!("nested deeper than {MAX_LEVELS} levels"));
    }
    machine.budget.spend(1)?;
    if out.len() > 2 << 20 {
        return Err("builds a text of more than 1 MiB".to_owned());
    }
    match value {
        value if is_nil(value) => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(kind, n) if kind.unsigned() => out.push_str(&(*n as u64).to_string()),
        Value::Int(_, n) | Value::Duration(n) => out.push_str(&n.to_string()),
        Value::Float(f) => match number::json_float(*f) {
            Some(text) => out.push_str(&text),
            None => return Err(format!("JSON has no {}", number::float_text(*f))),
        },
        Value::Str(text) => quote(out, text),
        Value::Bytes(bytes) => quote(out, &STANDARD.encode(bytes)),
        Value::Time(moment) => quote(out, &moment.format("2006-01-02T15:04:05.999999999Z07:00")),
        Value::List(list) => {
            let items = list.items.iter().map(|item| (None, item.clone())).collect();
            block(machine, out, ['[', ']'], items, depth)?;
        }
        Value::Map(map) => {
            let items = map.entries().into_iter().map(|(key, item)| (Some(key), item)).collect();
            block(machine, out, ['{', '}'], items, depth)?;
        }
        Value::Object(object) if Keyed::of(value).is_none() => {
            let fields = object.field_names().iter();
            let items = fields.map(|name| (Some(Arc::from(*name)), object.field(name).unwrap_or(Value::Nil))).collect();
            block(machine, out, ['{', '}'], items, depth)?;
        }
        other => return Err(format!("{} cannot become JSON", described(other))),
    }
    Ok(())
}

fn block(
    machine: &mut Machine<'_>,
    out: &mut String,
    [open, close]: [char; 2],
    items: Vec<(Option<Arc<str>>, Value)>,
    depth: usize,
) -> Op<()> {
    out.push(open);
    let mut separator = "\n";
    for (key, item) in &items {
        out.push_str(separator);
        separator = ",\n";
        out.push_str(&"  ".repeat(depth + 1));
        if let Some(key) = key {
            quote(out, key);
            out.push_str(": ");
        }
        put(machine, out, item, depth + 1)?;
    }
    if !items.is_empty() {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(close);
    Ok(())
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", c as u32))
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Reads JSON; all numbers become floats.
pub(super) fn read(machine: &mut Machine<'_>, value: &Value) -> Op {
    let source = texts::text(value)?;
    machine.budget.read(source)?;
    let value = json_read::decode(source).map_err(|error| format!("fromJSON: {error}"))?;
    admit(machine, &value, 0)?;
    Ok(value)
}

/// Pays for what was read and notes how deep it is.
fn admit(machine: &mut Machine<'_>, value: &Value, depth: usize) -> Op<()> {
    if depth > MAX_LEVELS {
        return Err(format!("nested deeper than {MAX_LEVELS} levels"));
    }
    machine.budget.spend(1)?;
    match value {
        Value::List(list) => list.items.iter().try_for_each(|item| admit(machine, item, depth + 1))?,
        Value::Map(map) => map.entries().iter().try_for_each(|(_, item)| admit(machine, item, depth + 1))?,
        _ => {}
    }
    machine.tracked(value.clone()).map(|_| ())
}
