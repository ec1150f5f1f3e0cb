//! How values print: Go's `%v` and `%T` (notifications.md §6.5, §7.2). Verbs with flags are in `core/template`.

use super::number::float_text;
use super::time::{month_name, weekday_name};
use super::{Func, IntKind, ListKind, MapKind, Object, Param, Value, duration};

/// Nesting below this prints as `...`: a map can be made to hold itself.
const DEPTH: usize = 100;
/// Nor is more than this printed, in bytes: it could hold itself twice.
const LENGTH: usize = 4 << 20;

/// What `%v` prints. A nil is `<nil>`; templates print a missing value themselves.
pub fn display(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out
}

fn write(out: &mut String, value: &Value, depth: usize) {
    if depth > DEPTH || out.len() > LENGTH {
        if !out.ends_with("...") {
            out.push_str("...");
        }
        return;
    }
    match value {
        Value::Nil => out.push_str("<nil>"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(kind, n) => out.push_str(&integer_text(*kind, *n)),
        Value::Float(f) => out.push_str(&float_text(*f)),
        Value::Complex(re, im) => out.push_str(&complex_text(*re, *im)),
        Value::Str(text) => out.push_str(text),
        Value::Bytes(bytes) => {
            let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
            out.push_str(&format!("[{}]", numbers.join(" ")));
        }
        Value::List(list) => {
            out.push('[');
            for (i, item) in list.items.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                write(out, item, depth + 1);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (i, (key, item)) in map.entries().iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write(out, item, depth + 1);
            }
            out.push(']');
        }
        Value::Time(moment) => out.push_str(&moment.text()),
        Value::Duration(nanos) => out.push_str(&duration::text(*nanos)),
        Value::Func(func) => out.push_str(&func_type(func)),
        Value::Object(object) => write_object(out, object.as_ref(), depth),
    }
}

fn write_object(out: &mut String, object: &dyn Object, depth: usize) {
    if let Some(text) = object.text() {
        out.push_str(&text);
        return;
    }
    // Host objects are pointers to structs in Go: shown whole at the top, as an address below.
    if object.type_name().starts_with('*') && depth == 0 {
        out.push('&');
    }
    out.push('{');
    for (i, name) in object.field_names().iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        write(out, &object.field(name).unwrap_or(Value::Nil), depth + 1);
    }
    out.push('}');
}

/// An integer of a Go type: unsigned ones read their bit pattern, months and weekdays print their names.
pub(super) fn integer_text(kind: IntKind, n: i64) -> String {
    match kind {
        IntKind::Month => month_name(n),
        IntKind::Weekday => weekday_name(n),
        kind if kind.unsigned() => (n as u64).to_string(),
        _ => n.to_string(),
    }
}

fn complex_text(re: f64, im: f64) -> String {
    let imaginary = float_text(im);
    let sign = if imaginary.starts_with(['+', '-']) { "" } else { "+" };
    format!("({}{sign}{imaginary}i)", float_text(re))
}

/// What `%T` prints.
pub fn type_name(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(kind, _) => kind.type_name(),
        Value::Float(_) => "float64",
        Value::Complex(..) => "complex128",
        Value::Str(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::List(list) => match list.kind {
            ListKind::Any => "[]interface {}",
            ListKind::Text => "[]string",
            ListKind::Int => "[]int",
            ListKind::Lists => "[][]interface {}",
            ListKind::Pair => "[2]interface {}",
            ListKind::Pairs => "[][2]interface {}",
        },
        Value::Map(map) => match map.kind {
            MapKind::Any => "map[string]interface {}",
            MapKind::Text => "map[string]string",
            MapKind::Bytes => "map[string][]uint8",
        },
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
        Value::Func(func) => return func_type(func),
        Value::Object(object) => return object.type_name().to_owned(),
    }
    .to_owned()
}

impl IntKind {
    /// The Go type name.
    pub fn type_name(self) -> &'static str {
        match self {
            IntKind::Int => "int",
            IntKind::Int8 => "int8",
            IntKind::Int16 => "int16",
            IntKind::Int32 => "int32",
            IntKind::Int64 => "int64",
            IntKind::Uint => "uint",
            IntKind::Uint8 => "uint8",
            IntKind::Uint16 => "uint16",
            IntKind::Uint32 => "uint32",
            IntKind::Uint64 => "uint64",
            IntKind::Month => "time.Month",
            IntKind::Weekday => "time.Weekday",
        }
    }
}

impl Param {
    /// Whether a value may be passed without a conversion. Nil is no value of any type but `interface {}` here.
    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Param::Any, _)
            | (Param::Text, Value::Str(_))
            | (Param::Int, Value::Int(IntKind::Int, _))
            | (Param::Int64, Value::Int(IntKind::Int64, _))
            | (Param::Float, Value::Float(_))
            | (Param::Bool, Value::Bool(_))
            | (Param::Time, Value::Time(_))
            | (Param::Duration, Value::Duration(_)) => true,
            (Param::Map, Value::Map(map)) => map.kind == MapKind::Any,
            (Param::List, Value::List(list)) => list.kind == ListKind::Any,
            (Param::TextList, Value::List(list)) => list.kind == ListKind::Text,
            (Param::Object(name), Value::Object(object)) => object.type_name() == name,
            _ => false,
        }
    }

    /// The Go type name, for error texts.
    pub fn type_name(self) -> &'static str {
        match self {
            Param::Any => "interface {}",
            Param::Text => "string",
            Param::Int => "int",
            Param::Int64 => "int64",
            Param::Float => "float64",
            Param::Bool => "bool",
            Param::Time => "time.Time",
            Param::Duration => "time.Duration",
            Param::Map => "map[string]interface {}",
            Param::List => "[]interface {}",
            Param::TextList => "[]string",
            Param::Object(name) => name,
        }
    }
}

/// `func(string, ...interface {})`; what it returns is not known.
fn func_type(func: &Func) -> String {
    let last = func.params.len().wrapping_sub(1);
    let params: Vec<String> = func
        .params
        .iter()
        .enumerate()
        .map(|(i, p)| format!("{}{}", if func.variadic && i == last { "..." } else { "" }, p.type_name()))
        .collect();
    format!("func({})", params.join(", "))
}
