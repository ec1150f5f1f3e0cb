//! The table of built-ins, and those for numbers, types, times and bits.

use std::sync::OnceLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::keyed::Keyed;
use super::machine::{MAX_LEVELS, Machine};
use super::operators::{Number, Op, compare, described, number, to_int};
use super::{Binary, json, lists, texts};
use crate::core::value::{IntKind, ListKind, Value, display, duration, time, type_name, zone_of, zone_value};

/// What a built-in does with its evaluated arguments.
pub(super) type Function = fn(&mut Machine<'_>, &[Value]) -> Op;

/// How a built-in is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    /// A list and a predicate.
    Predicate,
    /// The predicate may be missing.
    OptionalPredicate,
    /// One more may follow the predicate.
    PredicateAndMore,
}

/// A built-in.
#[derive(Debug)]
pub(super) struct Builtin {
    pub name: &'static str,
    pub shape: Shape,
    pub run: Option<Function>,
}

/// The built-in of this name.
pub(super) fn find(name: &str) -> Option<&'static Builtin> {
    TABLE.iter().find(|builtin| builtin.name == name)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|builtin| builtin.name)
}

const fn plain(name: &'static str, run: Function) -> Builtin {
    Builtin { name, shape: Shape::Plain, run: Some(run) }
}

const fn predicate(name: &'static str, shape: Shape) -> Builtin {
    Builtin { name, shape, run: None }
}

static TABLE: &[Builtin] = &[
    predicate("all", Shape::Predicate),
    predicate("none", Shape::Predicate),
    predicate("any", Shape::Predicate),
    predicate("one", Shape::Predicate),
    predicate("filter", Shape::Predicate),
    predicate("map", Shape::Predicate),
    predicate("find", Shape::Predicate),
    predicate("findIndex", Shape::Predicate),
    predicate("findLast", Shape::Predicate),
    predicate("findLastIndex", Shape::Predicate),
    predicate("count", Shape::OptionalPredicate),
    predicate("sum", Shape::OptionalPredicate),
    predicate("groupBy", Shape::Predicate),
    predicate("sortBy", Shape::PredicateAndMore),
    predicate("reduce", Shape::PredicateAndMore),
    plain("len", |_, a| lists::len(&a[0])),
    plain("type", |_, a| Ok(Value::text(kind(&a[0])))),
    plain("abs", |_, a| absolute(&a[0])),
    plain("ceil", |_, a| rounded(&a[0], f64::ceil)),
    plain("floor", |_, a| rounded(&a[0], f64::floor)),
    plain("round", |_, a| rounded(&a[0], f64::round)),
    plain("int", |_, a| integer(&a[0])),
    plain("float", |_, a| float(&a[0])),
    plain("string", |m, a| m.printed(&a[0])),
    plain("trim", texts::trim),
    plain("trimPrefix", texts::trim_prefix),
    plain("trimSuffix", texts::trim_suffix),
    plain("upper", |m, a| texts::mapped(m, a, texts::upper)),
    plain("lower", |m, a| texts::mapped(m, a, texts::lower)),
    plain("split", |m, a| texts::split(m, a, false)),
    plain("splitAfter", |m, a| texts::split(m, a, true)),
    plain("replace", texts::replace),
    plain("repeat", texts::repeat),
    plain("join", texts::join),
    plain("indexOf", |m, a| texts::index(m, a, false)),
    plain("lastIndexOf", |m, a| texts::index(m, a, true)),
    plain("hasPrefix", |_, a| Ok(Value::Bool(texts::text(&a[0])?.starts_with(texts::text(&a[1])?)))),
    plain("hasSuffix", |_, a| Ok(Value::Bool(texts::text(&a[0])?.ends_with(texts::text(&a[1])?)))),
    plain("max", |m, a| extreme(m, "max", Binary::Less, a, 0)),
    plain("min", |m, a| extreme(m, "min", Binary::More, a, 0)),
    plain("mean", mean),
    plain("median", median),
    plain("toJSON", |m, a| json::write(m, &a[0])),
    plain("fromJSON", |m, a| json::read(m, &a[0])),
    plain("toBase64", texts::to_base64),
    plain("fromBase64", texts::from_base64),
    plain("now", now),
    plain("duration", |_, a| duration::parse(texts::text(&a[0])?).map(Value::Duration)),
    plain("date", date),
    plain("timezone", |m, a| Ok(zone_value(zone(m, texts::text(&a[0])?)?))),
    plain("first", |m, a| Ok(m.fetch(&a[0], &Value::int(0)).unwrap_or(Value::Nil))),
    plain("last", |m, a| Ok(m.fetch(&a[0], &Value::int(-1)).unwrap_or(Value::Nil))),
    plain("get", lists::get),
    plain("take", lists::take),
    plain("keys", lists::keys),
    plain("values", lists::values),
    plain("toPairs", lists::to_pairs),
    plain("fromPairs", lists::from_pairs),
    plain("reverse", lists::reverse),
    plain("uniq", lists::uniq),
    plain("concat", lists::concat),
    plain("flatten", lists::flatten),
    plain("sort", lists::sort),
    plain("bitand", |_, a| bits(a, |x, y| Ok(x & y))),
    plain("bitor", |_, a| bits(a, |x, y| Ok(x | y))),
    plain("bitxor", |_, a| bits(a, |x, y| Ok(x ^ y))),
    plain("bitnand", |_, a| bits(a, |x, y| Ok(x & !y))),
    plain("bitshl", |_, a| bits(a, |x, y| Ok(x.checked_shl(shift(y)?).unwrap_or(0)))),
    plain("bitshr", |_, a| bits(a, |x, y| Ok(x >> shift(y)?.min(63)))),
    plain("bitushr", |_, a| bits(a, |x, y| Ok((x as u64).checked_shr(shift(y)?).unwrap_or(0) as i64))),
    plain("bitnot", |_, a| Ok(Value::int(!whole(&a[0])?))),
];

/// What `type(…)` says.
fn kind(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Int(IntKind::Month | IntKind::Weekday, _) | Value::Time(_) | Value::Duration(_) => type_name(value),
        Value::Int(kind, _) => if kind.unsigned() { "uint" } else { "int" }.to_owned(),
        Value::Float(_) => "float".to_owned(),
        Value::Str(_) => "string".to_owned(),
        Value::Bytes(_) | Value::List(_) => "array".to_owned(),
        Value::Map(_) => "map".to_owned(),
        Value::Func(_) => "func".to_owned(),
        Value::Object(_) if Keyed::of(value).is_some() => "map".to_owned(),
        other => type_name(other).trim_start_matches('*').to_owned(),
    }
}

fn absolute(value: &Value) -> Op {
    match value {
        Value::Int(kind, n) if number(value).is_some() && !kind.unsigned() => Ok(Value::Int(*kind, n.wrapping_abs())),
        Value::Int(..) if number(value).is_some() => Ok(value.clone()),
        Value::Float(f) if *f < 0.0 => Ok(Value::Float(-f)),
        Value::Float(_) => Ok(value.clone()),
        other => Err(format!("abs takes a number, not {}", described(other))),
    }
}

fn rounded(value: &Value, how: fn(f64) -> f64) -> Op {
    match number(value) {
        Some(Number::Float(f)) => Ok(Value::Float(how(f))),
        Some(n) => Ok(Value::Float(n.float())),
        None => Err(format!("only numbers can be rounded, not {}", described(value))),
    }
}

fn integer(value: &Value) -> Op {
    match value {
        Value::Str(text) => text.parse().map(Value::int).map_err(|_| format!("int: {text:?} is no integer")),
        Value::Int(_, n) | Value::Duration(n) => Ok(Value::int(*n)),
        other => to_int(other).map(Value::int),
    }
}

fn float(value: &Value) -> Op {
    match value {
        Value::Str(text) => parse_float(text).map(Value::Float).ok_or_else(|| format!("float: {text:?} is no number")),
        other => match number(other) {
            Some(n) => Ok(Value::Float(n.float())),
            None => Err(format!("float takes a number or text, not {}", described(other))),
        },
    }
}

/// Reads a float as Go does: also `inf`, `nan`, `0x1p4`, and `_` between digits.
fn parse_float(text: &str) -> Option<f64> {
    let lower = text.to_lowercase();
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
    let mut before = None;
    let mut chars = lower.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '_' && !((digit(before) || before == Some('x')) && digit(chars.peek().copied())) {
            return None;
        }
        before = Some(c);
    }
    let plain = lower.replace('_', "");
    let (sign, size) = match plain.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let number: f64 = match size.strip_prefix("0x") {
        Some(hex) => {
            let (mantissa, exponent) = hex.split_once('p')?;
            let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let bits = u64::from_str_radix(&format!("{whole}{part}"), 16).ok()?;
            let exponent = exponent.parse::<i32>().ok()?.checked_sub(4 * part.len() as i32)?;
            bits as f64 * 2f64.powi(exponent)
        }
        None if size.starts_with(['+', '-']) => return None,
        None => size.parse().ok()?,
    };
    // What is too large is no number, unless it says so.
    (number.is_finite() || !size.contains(|c: char| c.is_ascii_digit())).then_some(sign * number)
}

/// A number by its representation: also spans, months and weekdays.
fn by_kind(value: &Value) -> Option<f64> {
    match value {
        Value::Duration(n) | Value::Int(IntKind::Month | IntKind::Weekday, n) => Some(*n as f64),
        other => number(other).map(Number::float),
    }
}

fn level(depth: usize) -> Op<()> {
    if depth > MAX_LEVELS { Err(format!("nested deeper than {MAX_LEVELS} levels")) } else { Ok(()) }
}

fn extreme(machine: &mut Machine<'_>, name: &str, worse: Binary, arguments: &[Value], depth: usize) -> Op {
    level(depth)?;
    let mut best = Value::Nil;
    let keep = |best: &mut Value, candidate: &Value| -> Op<()> {
        if best.is_nil() || compare(worse, best, candidate)? {
            *best = candidate.clone();
        }
        Ok(())
    };
    let wrong = |value: &Value| Err(format!("{name} takes numbers, not {}", described(value)));
    for argument in arguments {
        machine.budget.spend(1)?;
        match argument {
            Value::List(list) => {
                for item in list.items.iter() {
                    machine.budget.spend(1)?;
                    match item {
                        item if number(item).is_some() => keep(&mut best, item)?,
                        Value::List(_) | Value::Bytes(_) if list.kind != ListKind::Text => {
                            let nested = extreme(machine, name, worse, std::slice::from_ref(item), depth + 1)?;
                            if !nested.is_nil() {
                                keep(&mut best, &nested)?;
                            }
                        }
                        other => return wrong(other),
                    }
                }
            }
            Value::Bytes(bytes) => {
                machine.budget.spend(bytes.len())?;
                for byte in bytes.iter() {
                    keep(&mut best, &Value::Int(IntKind::Uint8, i64::from(*byte)))?;
                }
            }
            value if by_kind(value).is_some() => keep(&mut best, value)?,
            // A single value of any other kind is its own extreme.
            value if arguments.len() == 1 => return Ok(value.clone()),
            other => return wrong(other),
        }
    }
    Ok(best)
}

fn mean(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let mut numbers = Vec::new();
    collect(machine, "mean", arguments, &mut numbers, 0)?;
    let sum: f64 = numbers.iter().sum();
    Ok(Value::Float(if numbers.is_empty() { 0.0 } else { sum / numbers.len() as f64 }))
}

fn median(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    let mut numbers = Vec::new();
    collect(machine, "median", arguments, &mut numbers, 0)?;
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    Ok(Value::Float(match numbers.len() {
        0 => 0.0,
        n if n % 2 == 1 => numbers[middle],
        _ => (numbers[middle - 1] + numbers[middle]) / 2.0,
    }))
}

fn collect(machine: &mut Machine<'_>, name: &str, values: &[Value], numbers: &mut Vec<f64>, depth: usize) -> Op<()> {
    level(depth)?;
    machine.budget.spend(values.len())?;
    for value in values {
        match value {
            Value::List(list) => collect(machine, name, &list.items, numbers, depth + 1)?,
            Value::Bytes(bytes) => {
                machine.budget.spend(bytes.len())?;
                numbers.extend(bytes.iter().map(|byte| f64::from(*byte)));
            }
            other => match by_kind(other) {
                Some(n) => numbers.push(n),
                None => return Err(format!("{name} takes numbers, not {}", described(other))),
            },
        }
    }
    Ok(())
}

/// An integer of any type.
fn whole(value: &Value) -> Op<i64> {
    match value {
        Value::Int(kind, n) if !matches!(kind, IntKind::Month | IntKind::Weekday) => Ok(*n),
        other => Err(format!("bits belong to integers, not to {}", described(other))),
    }
}

fn bits(arguments: &[Value], how: fn(i64, i64) -> Op<i64>) -> Op {
    how(whole(&arguments[0])?, whole(&arguments[1])?).map(Value::int)
}

fn shift(by: i64) -> Op<u32> {
    if by < 0 {
        return Err(format!("bits cannot be shifted by {by}"));
    }
    Ok(u32::try_from(by).unwrap_or(u32::MAX))
}

fn now(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    match arguments.first().map(zone_of) {
        None => Ok(Value::Time(machine.now.clone())),
        Some(Some(zone)) => Ok(Value::Time(machine.now.in_zone(&zone))),
        Some(None) => Err("now takes a time zone, if anything".to_owned()),
    }
}

/// The zone of a name: exactly as the database writes it.
fn zone(machine: &Machine<'_>, name: &str) -> Op<TimeZone> {
    // The built-in data, so that the result does not depend on the host.
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    match name {
        "" | "UTC" => return Ok(TimeZone::UTC),
        "Local" => return Ok(machine.now.zone.clone()),
        _ => {}
    }
    let zone = ZONES.get_or_init(TimeZoneDatabase::bundled).get(name).ok();
    zone.filter(|zone| zone.iana_name() == Some(name)).ok_or_else(|| format!("there is no time zone {name:?}"))
}

/// `date(text)`, `date(text, layout)`, `date(text, layout, zone)`; a zone may also come first.
fn date(machine: &mut Machine<'_>, arguments: &[Value]) -> Op {
    const LAYOUTS: [&str; 7] = [
        "2006-01-02",
        "15:04:05",
        "2006-01-02 15:04:05",
        time::RFC3339,
        "02 Jan 06 15:04 MST",
        "Monday, 02-Jan-06 15:04:05 MST",
        "Mon, 02 Jan 2006 15:04:05 MST",
    ];
    let (first, arguments) = match arguments.split_first() {
        Some((first, rest)) if zone_of(first).is_some() => (zone_of(first), rest),
        _ => (None, arguments),
    };
    let local = machine.now.zone.clone();
    let Some(source) = arguments.first() else { return Err("date needs a text".to_owned()) };
    let source = texts::text(source)?;
    let layout = arguments.get(1).map(texts::text).transpose()?;
    let zone = match arguments.get(2) {
        Some(name) => Some(zone(machine, texts::text(name)?)?),
        None => first,
    };
    let read = |layout: &str| match &zone {
        Some(zone) => time::parse_in(layout, source, zone, &local),
        None => time::parse(layout, source, &local),
    };
    match layout {
        Some(layout) => read(layout).map(Value::Time),
        None => LAYOUTS
            .iter()
            .find_map(|layout| read(layout).ok())
            .map(Value::Time)
            .ok_or_else(|| format!("date: cannot read {source:?}; give a layout such as '2006-01-02'")),
    }
}

impl Machine<'_> {
    /// A value as it prints.
    pub fn printed(&mut self, value: &Value) -> Op {
        super::weight::weigh(value)?;
        self.text(display(value))
    }
}
