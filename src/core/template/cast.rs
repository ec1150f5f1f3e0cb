//! What Go's libraries do to turn values into numbers and texts: sprig's `int64`, `float64`, `toString`.

use std::sync::Arc;

use crate::core::value::{IntKind, Value, display};

use super::literal::{Form, Number, float};
use super::text::lossy;

/// The first float above every `int64`.
pub(super) const TWO_63: f64 = (1u64 << 63) as f64;

/// sprig's `toInt64`: texts by Go's literal syntax, floats cut off, anything else 0.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(_, n) => *n,
        // Go's conversion is undefined out of range; on amd64 it gives the smallest integer.
        Value::Float(f) if f.is_nan() || *f >= TWO_63 || *f < -TWO_63 => i64::MIN,
        Value::Float(f) => *f as i64,
        Value::Bool(b) => i64::from(*b),
        Value::Str(text) => parse_int(without_zero_decimals(text)),
        _ => 0,
    }
}

/// sprig's `toFloat64`.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(kind, n) if kind.unsigned() => *n as u64 as f64,
        Value::Int(_, n) => *n as f64,
        Value::Float(f) => *f,
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::Str(text) => float(text).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// sprig's `strval`: bytes become text, what can print itself does, the rest prints as `%v`.
pub(super) fn to_text(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => lossy(bytes),
        other => display(other),
    }
}

/// `1.00` → `1`; only zeros may stand behind the point.
fn without_zero_decimals(text: &str) -> &str {
    let stripped = text.trim_end_matches('0');
    match stripped.strip_suffix('.') {
        Some(whole) if stripped.len() < text.len() => whole,
        _ => text,
    }
}

/// Go's `strconv.ParseInt(text, 0, 0)`, 0 for what is no number.
fn parse_int(text: &str) -> i64 {
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !plain.starts_with(|c: char| c.is_ascii_digit()) || text.contains(['.', 'i']) {
        return 0;
    }
    match Number::read(text, Form::Number) {
        Ok(number) if !number.looks_float() => number.int.unwrap_or(0),
        _ => 0,
    }
}

/// sprig's `empty`: the zero value of its type; times are never empty.
pub(super) fn is_empty(value: &Value) -> bool {
    !super::val::is_true(value)
}

/// Go's `reflect.DeepEqual`: types count. What takes more than `budget` comparisons counts as different; maps can be
/// made to hold themselves.
pub(super) fn deep_equal(a: &Value, b: &Value, budget: &mut u32) -> bool {
    if *budget == 0 {
        return false;
    }
    *budget -= 1;
    match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(ka, a), Value::Int(kb, b)) => ka == kb && a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Complex(ar, ai), Value::Complex(br, bi)) => ar == br && ai == bi,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Time(a), Value::Time(b)) => a.at == b.at && a.zone == b.zone,
        (Value::Object(a), Value::Object(b)) => Arc::ptr_eq(a, b) || (a.text().is_some() && a.text() == b.text()),
        (Value::List(a), Value::List(b)) => {
            a.kind == b.kind
                && a.is_nil() == b.is_nil()
                && a.items.len() == b.items.len()
                && a.items.iter().zip(b.items.iter()).all(|(a, b)| deep_equal(a, b, budget))
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.kind != b.kind || a.len() != b.len() {
                return false;
            }
            a.same(b)
                || a.entries()
                    .iter()
                    .zip(b.entries().iter())
                    .all(|((ka, va), (kb, vb))| ka == kb && deep_equal(va, vb, budget))
        }
        _ => false,
    }
}

/// Comparisons that one call may take.
pub(super) const COMPARISONS: u32 = 100_000;

/// Go's `reflect.Kind` of a value, as it prints.
pub(super) fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        // Months and weekdays are of types of their own, and of kind int.
        Value::Int(IntKind::Month | IntKind::Weekday, _) => "int",
        Value::Int(kind, _) => kind.type_name(),
        Value::Float(_) => "float64",
        Value::Complex(..) => "complex128",
        Value::Str(_) => "string",
        Value::Bytes(_) | Value::List(_) => "slice",
        Value::Map(_) => "map",
        Value::Time(_) => "struct",
        Value::Duration(_) => "int64",
        Value::Func(_) => "func",
        Value::Object(_) => "ptr",
    }
}
