//! The functions that text/template itself offers.

use crate::core::value::{IntKind, Param, Value, display, type_name};

use super::functions::{Body, text_of};
use super::functions::{Ctx, Failure, Function, Outcome, P, function, special, variadic};
use super::printf::{print, printf, println};
use super::text::{byte_slice, is_print};
use super::val::map_element;

const ANY: P = P::Typed(Param::Any);

pub(super) static TABLE: &[Function] = &[
    special("and", &[P::Raw, P::Raw], Body::And),
    special("or", &[P::Raw, P::Raw], Body::Or),
    special("call", &[P::Raw, P::Raw], Body::Call),
    function("not", &[P::Raw], |_, v| Ok(Value::Bool(!super::val::is_true(&v[0])))),
    function("len", &[P::Raw], |_, v| length(&v[0])),
    variadic("index", &[P::Raw, P::Raw], |_, v| index(&v[0], &v[1..])),
    variadic("slice", &[P::Raw, P::Raw], |_, v| slice(&v[0], &v[1..])),
    variadic("eq", &[P::Raw, P::Raw], |_, v| equal(&v[0], &v[1..]).map(Value::Bool)),
    function("ne", &[P::Raw, P::Raw], |_, v| equal(&v[0], &v[1..]).map(|e| Value::Bool(!e))),
    function("lt", &[P::Raw, P::Raw], |_, v| less(&v[0], &v[1]).map(Value::Bool)),
    function("le", &[P::Raw, P::Raw], |_, v| at_most(&v[0], &v[1]).map(Value::Bool)),
    function("gt", &[P::Raw, P::Raw], |_, v| at_most(&v[0], &v[1]).map(|le| Value::Bool(!le))),
    function("ge", &[P::Raw, P::Raw], |_, v| less(&v[0], &v[1]).map(|lt| Value::Bool(!lt))),
    variadic("print", &[ANY], |_, v| Ok(Value::text(print(v)))),
    variadic("println", &[ANY], |_, v| Ok(Value::text(println(v)))),
    variadic("printf", &[P::Typed(Param::Text), ANY], formatted),
    variadic("html", &[ANY], |_, v| Ok(Value::text(html(&print_missing(v))))),
    variadic("js", &[ANY], |_, v| Ok(Value::text(js(&print_missing(v))))),
    variadic("urlquery", &[ANY], |_, v| Ok(Value::text(url_query(&print_missing(v))))),
];

fn formatted(ctx: &Ctx<'_>, values: &[Value]) -> Outcome {
    let text = printf(text_of(values, 0), &values[1..]);
    ctx.charge(text.len() as u64 / 64)?;
    Ok(Value::text(text))
}

/// Escapers print a nil as `<no value>`.
fn print_missing(values: &[Value]) -> String {
    let shown: Vec<Value> =
        values.iter().map(|v| if v.is_nil() { Value::text("<no value>") } else { v.clone() }).collect();
    print(&shown)
}

fn length(value: &Value) -> Outcome {
    let length = match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Err("len of nil pointer".into()),
        other => return Err(format!("len of type {}", type_name(other)).into()),
    };
    Ok(Value::int(length as i64))
}

/// A number of the list, `cap` included: Go checks against the capacity and lets the access itself fail.
fn position(index: &Value, length: usize) -> Result<usize, Failure> {
    let n = match index {
        Value::Int(_, n) | Value::Duration(n) => *n,
        Value::Nil => return Err("cannot index slice/array with nil".into()),
        other => return Err(format!("cannot index slice/array with type {}", type_name(other)).into()),
    };
    usize::try_from(n).ok().filter(|n| *n <= length).ok_or_else(|| format!("index out of range: {n}").into())
}

fn index(item: &Value, indexes: &[Value]) -> Outcome {
    if item.is_nil() {
        return Err("index of untyped nil".into());
    }
    let mut item = item.clone();
    for index in indexes {
        let out_of_range = || Failure::from(format!("reflect: index out of range: {}", display(index)));
        item = match &item {
            Value::Nil => return Err("index of nil pointer".into()),
            Value::List(list) => {
                list.items.get(position(index, list.items.len())?).cloned().ok_or_else(out_of_range)?
            }
            Value::Str(text) => byte_at(text.as_bytes(), position(index, text.len())?).ok_or_else(out_of_range)?,
            Value::Bytes(bytes) => byte_at(bytes, position(index, bytes.len())?).ok_or_else(out_of_range)?,
            Value::Map(map) => {
                let key = match index {
                    Value::Str(key) => key,
                    Value::Nil => return Err("value is nil; should be of type string".into()),
                    other => {
                        return Err(format!("value has type {}; should be string", type_name(other)).into());
                    }
                };
                match map.get(key) {
                    Some(found) => map_element(map, found).value(),
                    None => zero_element(map.kind),
                }
            }
            other => return Err(format!("can't index item of type {}", type_name(other)).into()),
        };
    }
    Ok(item)
}

fn byte_at(bytes: &[u8], at: usize) -> Option<Value> {
    bytes.get(at).map(|b| Value::Int(IntKind::Uint8, i64::from(*b)))
}

/// The zero value of a map's elements.
pub(super) fn zero_element(kind: crate::core::value::MapKind) -> Value {
    use crate::core::value::MapKind;
    match kind {
        MapKind::Any => Value::Nil,
        MapKind::Text => Value::text(""),
        MapKind::Bytes => Value::Bytes(std::sync::Arc::from(&b""[..])),
    }
}

fn slice(item: &Value, indexes: &[Value]) -> Outcome {
    if item.is_nil() {
        return Err("slice of untyped nil".into());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()).into());
    }
    let length = match item {
        Value::Str(_) if indexes.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.items.len(),
        other => return Err(format!("can't slice item of type {}", type_name(other)).into()),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length)?;
    }
    for pair in bounds.windows(2) {
        if pair[0] > pair[1] {
            return Err(format!("invalid slice index: {} > {}", pair[0], pair[1]).into());
        }
    }
    let (start, end) = (bounds[0], bounds[1]);
    Ok(match item {
        Value::Str(text) => Value::text(byte_slice(text, start, end)),
        Value::Bytes(bytes) => Value::Bytes(bytes[start..end].into()),
        Value::List(list) => Value::List(crate::core::value::List {
            kind: list.kind,
            items: std::sync::Arc::new(list.items[start..end].to_vec()),
        }),
        other => other.clone(),
    })
}

/// The kinds that comparisons tell apart.
#[derive(PartialEq)]
enum Basic {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Complex(f64, f64),
    Text(std::sync::Arc<str>),
    Other,
}

impl Basic {
    fn of(value: &Value) -> Basic {
        match value {
            Value::Bool(b) => Basic::Bool(*b),
            Value::Int(kind, n) if kind.unsigned() => Basic::Uint(*n as u64),
            Value::Int(_, n) | Value::Duration(n) => Basic::Int(*n),
            Value::Float(f) => Basic::Float(*f),
            Value::Complex(re, im) => Basic::Complex(*re, *im),
            Value::Str(text) => Basic::Text(text.clone()),
            _ => Basic::Other,
        }
    }
}

fn incompatible(a: &Value, b: &Value) -> Failure {
    format!("incompatible types for comparison: {} and {}", type_name(a), type_name(b)).into()
}

fn equal(first: &Value, others: &[Value]) -> Result<bool, Failure> {
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        let same = match (Basic::of(first), Basic::of(other)) {
            (Basic::Int(a), Basic::Uint(b)) | (Basic::Uint(b), Basic::Int(a)) => a >= 0 && a as u64 == b,
            (Basic::Other, Basic::Other) => equal_other(first, other)?,
            (a, b) if std::mem::discriminant(&a) == std::mem::discriminant(&b) => a == b,
            _ if first.is_nil() || other.is_nil() => false,
            _ => return Err(incompatible(first, other)),
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Values that are no numbers, texts or booleans: nil, lists, maps, times, host objects.
fn equal_other(a: &Value, b: &Value) -> Result<bool, Failure> {
    let nil = |v: &Value| v.is_nil() || matches!(v, Value::List(list) if list.is_nil());
    let kind = super::cast::kind_name;
    if kind(a) != kind(b) && !a.is_nil() && !b.is_nil() {
        return Err(
            format!("non-comparable types {}: {}, {}: {}", display(a), type_name(a), type_name(b), display(b)).into()
        );
    }
    if nil(a) || nil(b) {
        return Ok(nil(a) && nil(b));
    }
    match (a, b) {
        (Value::Time(x), Value::Time(y)) => Ok(x.at == y.at && x.zone == y.zone),
        (Value::Object(x), Value::Object(y)) => Ok(std::sync::Arc::ptr_eq(x, y)),
        _ => Err(format!("non-comparable type {}: {}", display(b), type_name(b)).into()),
    }
}

fn less(a: &Value, b: &Value) -> Result<bool, Failure> {
    let invalid = || Failure::from("invalid type for comparison");
    match (Basic::of(a), Basic::of(b)) {
        (Basic::Other, _) | (_, Basic::Other) => Err(invalid()),
        (Basic::Int(x), Basic::Int(y)) => Ok(x < y),
        (Basic::Uint(x), Basic::Uint(y)) => Ok(x < y),
        (Basic::Int(x), Basic::Uint(y)) => Ok(x < 0 || (x as u64) < y),
        (Basic::Uint(x), Basic::Int(y)) => Ok(y >= 0 && x < y as u64),
        (Basic::Float(x), Basic::Float(y)) => Ok(x < y),
        (Basic::Text(x), Basic::Text(y)) => Ok(x < y),
        (Basic::Bool(_), Basic::Bool(_)) | (Basic::Complex(..), Basic::Complex(..)) => Err(invalid()),
        _ => Err(incompatible(a, b)),
    }
}

fn at_most(a: &Value, b: &Value) -> Result<bool, Failure> {
    Ok(less(a, b)? || equal(a, std::slice::from_ref(b))?)
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c.is_ascii() || is_print(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04X}", c as u32)),
        }
    }
    out
}

/// Go's `url.QueryEscape`.
pub(super) fn url_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
