//! Operators on values: Go's arithmetic of mixed integer types, comparison, equality, membership, access.

use std::sync::{Arc, OnceLock};

use super::ast::Binary;
use super::keyed::Keyed;
use super::machine::{Budget, MAX_LEVELS};
use crate::core::value::{IntKind, List, ListKind, MapKind, Value, type_name};

/// An operator's complaint; the machine adds where.
pub(super) type Op<T = Value> = Result<T, String>;

/// Go's nil slice: equal to nil, and yet a list. It is what a missing key of a map of lists or bytes gives. Told from an
/// empty list by identity.
pub(super) fn nil_list(kind: ListKind) -> Value {
    static NIL: OnceLock<Arc<Vec<Value>>> = OnceLock::new();
    Value::List(List { kind, items: NIL.get_or_init(|| Arc::new(Vec::new())).clone() })
}

/// The nil slice of bytes.
pub(super) fn nil_bytes() -> Value {
    static NIL: OnceLock<Arc<[u8]>> = OnceLock::new();
    Value::Bytes(NIL.get_or_init(|| Arc::from([0u8; 0].as_slice())).clone())
}

/// Whether it is nil, or a nil slice.
pub(super) fn is_nil(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::List(list) if list.items.is_empty() => {
            matches!(nil_list(list.kind), Value::List(nil) if Arc::ptr_eq(&nil.items, &list.items))
        }
        Value::Bytes(bytes) if bytes.is_empty() => {
            matches!(nil_bytes(), Value::Bytes(nil) if Arc::ptr_eq(&nil, bytes))
        }
        _ => false,
    }
}

/// A number of one of Go's plain numeric types.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    /// A `uint64` that only differs from an integer when it meets a float.
    Unsigned(u64),
    Float(f64),
}

pub(super) fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Int(IntKind::Month | IntKind::Weekday, _) => None,
        Value::Int(IntKind::Uint | IntKind::Uint64, n) => Some(Number::Unsigned(*n as u64)),
        Value::Int(_, n) => Some(Number::Int(*n)),
        Value::Float(f) => Some(Number::Float(*f)),
        _ => None,
    }
}

impl Number {
    pub fn float(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Unsigned(n) => n as f64,
            Number::Float(f) => f,
        }
    }

    /// Go's `int(x)`.
    pub fn int(self) -> i64 {
        match self {
            Number::Int(n) => n,
            Number::Unsigned(n) => n as i64,
            Number::Float(f) => truncate(f),
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Number::Float(_))
    }
}

/// A float as an integer, as amd64 does it: what does not fit becomes the smallest.
pub(super) fn truncate(f: f64) -> i64 {
    if f.is_nan() || !(i64::MIN as f64..-(i64::MIN as f64)).contains(&f) {
        return i64::MIN;
    }
    f as i64
}

/// The value as an `int`, for indexes and counts: any number.
pub(super) fn to_int(value: &Value) -> Op<i64> {
    number(value).map(Number::int).ok_or_else(|| format!("{} is no number", described(value)))
}

/// A value for messages: its kind, and for nil what it probably is.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::Nil => "nil (something missing)".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Int(..) => "an integer".to_owned(),
        Value::Float(_) => "a float".to_owned(),
        Value::Str(_) => "a text".to_owned(),
        Value::Bytes(_) => "bytes".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        Value::Time(_) => "a time".to_owned(),
        Value::Duration(_) => "a duration".to_owned(),
        Value::Func(_) => "a function".to_owned(),
        other => type_name(other),
    }
}

/// `+ - * / % **`.
pub(super) fn arithmetic(op: Binary, a: &Value, b: &Value) -> Op {
    if let (Some(x), Some(y)) = (number(a), number(b)) {
        return numeric(op, x, y).unwrap_or_else(|| Err(mismatch(op, a, b)));
    }
    Ok(match (op, a, b) {
        (Binary::Add, Value::Str(x), Value::Str(y)) => Value::Str(Arc::from(format!("{x}{y}"))),
        (Binary::Add, Value::Time(t), Value::Duration(d)) | (Binary::Add, Value::Duration(d), Value::Time(t)) => {
            Value::Time(t.add(*d))
        }
        (Binary::Add, Value::Duration(x), Value::Duration(y)) => Value::Duration(x.wrapping_add(*y)),
        (Binary::Subtract, Value::Time(x), Value::Time(y)) => Value::Duration(x.sub(y)),
        (Binary::Subtract, Value::Time(t), Value::Duration(d)) => Value::Time(t.add(d.wrapping_neg())),
        (Binary::Subtract, Value::Duration(x), Value::Duration(y)) => Value::Duration(x.wrapping_sub(*y)),
        (Binary::Multiply, Value::Duration(x), Value::Duration(y)) => Value::Duration(x.wrapping_mul(*y)),
        (Binary::Multiply, Value::Duration(d), n) | (Binary::Multiply, n, Value::Duration(d)) => match number(n) {
            // A span times a float is a number, not a span.
            Some(Number::Float(f)) => Value::Float(*d as f64 * f),
            Some(n) => Value::Duration(d.wrapping_mul(n.int())),
            None => return Err(mismatch(op, a, b)),
        },
        _ => return Err(mismatch(op, a, b)),
    })
}

fn numeric(op: Binary, x: Number, y: Number) -> Option<Op> {
    let float = x.is_float() || y.is_float();
    Some(Ok(match op {
        Binary::Divide => Value::Float(x.float() / y.float()),
        Binary::Power => Value::Float(power(x.float(), y.float())),
        Binary::Add if float => Value::Float(x.float() + y.float()),
        Binary::Subtract if float => Value::Float(x.float() - y.float()),
        Binary::Multiply if float => Value::Float(x.float() * y.float()),
        Binary::Add => Value::int(x.int().wrapping_add(y.int())),
        Binary::Subtract => Value::int(x.int().wrapping_sub(y.int())),
        Binary::Multiply => Value::int(x.int().wrapping_mul(y.int())),
        Binary::Modulo if !float && y.int() == 0 => return Some(Err("an integer is divided by zero".to_owned())),
        Binary::Modulo if !float => Value::int(x.int().wrapping_rem(y.int())),
        _ => return None,
    }))
}

fn mismatch(op: Binary, a: &Value, b: &Value) -> String {
    format!("`{}` does not go between {} and {}", op.word(), described(a), described(b))
}

/// `< > <= >=`.
pub(super) fn compare(op: Binary, a: &Value, b: &Value) -> Op<bool> {
    use std::cmp::Ordering;
    let order = match (a, b) {
        (Value::Str(x), Value::Str(y)) => Some(x.cmp(y)),
        (Value::Time(x), Value::Time(y)) => Some(x.at.cmp(&y.at)),
        (Value::Duration(x), Value::Duration(y)) => Some(x.cmp(y)),
        _ => match (number(a), number(b)) {
            (Some(x), Some(y)) if x.is_float() || y.is_float() => x.float().partial_cmp(&y.float()),
            (Some(x), Some(y)) => Some(x.int().cmp(&y.int())),
            _ => return Err(mismatch(op, a, b)),
        },
    };
    // Nothing is less or more than what is not a number.
    let Some(order) = order else { return Ok(false) };
    Ok(match op {
        Binary::Less => order == Ordering::Less,
        Binary::More => order == Ordering::Greater,
        Binary::LessOrEqual => order != Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

/// `==`: numbers compare as numbers, also inside lists; inside maps everything must be of the same type.
pub(super) fn equal(a: &Value, b: &Value, budget: &mut Budget, level: usize) -> Op<bool> {
    deep(level)?;
    budget.spend(1)?;
    if let (Some(x), Some(y)) = (number(a), number(b)) {
        return Ok(if x.is_float() || y.is_float() { x.float() == y.float() } else { x.int() == y.int() });
    }
    match (a, b) {
        (Value::Str(x), Value::Str(y)) => Ok(x == y),
        (Value::Bool(x), Value::Bool(y)) => Ok(x == y),
        (Value::Time(x), Value::Time(y)) => Ok(x.at == y.at),
        (Value::Duration(x), Value::Duration(y)) => Ok(x == y),
        (Value::Bytes(x), Value::Bytes(y)) => Ok(x == y),
        (Value::Bytes(bytes), Value::List(list)) | (Value::List(list), Value::Bytes(bytes))
            if list.kind == ListKind::Any =>
        {
            if bytes.len() != list.items.len() {
                return Ok(false);
            }
            for (byte, item) in bytes.iter().zip(list.items.iter()) {
                if !equal(&Value::Int(IntKind::Uint8, i64::from(*byte)), item, budget, level + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::List(x), Value::List(y)) if loosely_equal(x.kind, y.kind) => {
            if x.items.len() != y.items.len() {
                return Ok(false);
            }
            for (x, y) in x.items.iter().zip(y.items.iter()) {
                if !equal(x, y, budget, level + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ if is_nil(a) && is_nil(b) => Ok(true),
        _ => same(a, b, budget, level),
    }
}

/// Whether lists of these types are compared element by element.
fn loosely_equal(a: ListKind, b: ListKind) -> bool {
    let plain = |kind| matches!(kind, ListKind::Any | ListKind::Text | ListKind::Int);
    plain(a) && plain(b) && (a == b || a == ListKind::Any || b == ListKind::Any)
}

fn deep(level: usize) -> Op<()> {
    if level > MAX_LEVELS { Err(format!("nested deeper than {MAX_LEVELS} levels")) } else { Ok(()) }
}

/// Go's `reflect.DeepEqual`: the same types all the way down.
fn same(a: &Value, b: &Value, budget: &mut Budget, level: usize) -> Op<bool> {
    deep(level)?;
    budget.spend(1)?;
    match (a, b) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Bool(x), Value::Bool(y)) => Ok(x == y),
        (Value::Int(k, x), Value::Int(l, y)) => Ok(k == l && x == y),
        (Value::Float(x), Value::Float(y)) => Ok(x == y),
        (Value::Str(x), Value::Str(y)) => Ok(x == y),
        (Value::Bytes(x), Value::Bytes(y)) => Ok(x == y && is_nil(a) == is_nil(b)),
        (Value::Duration(x), Value::Duration(y)) => Ok(x == y),
        (Value::Time(x), Value::Time(y)) => Ok(x.at == y.at && x.zone == y.zone),
        (Value::List(x), Value::List(y)) => {
            if x.kind != y.kind || x.items.len() != y.items.len() || is_nil(a) != is_nil(b) {
                return Ok(false);
            }
            for (x, y) in x.items.iter().zip(y.items.iter()) {
                if !same(x, y, budget, level + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(x), Value::Map(y)) => {
            if x.same(y) {
                return Ok(true);
            }
            if x.kind != y.kind || x.len() != y.len() {
                return Ok(false);
            }
            for ((k, x), (l, y)) in x.entries().iter().zip(y.entries().iter()) {
                if k != l || !same(x, y, budget, level + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(x), Value::Object(y)) => match (Keyed::of(a), Keyed::of(b)) {
            (Some(x), Some(y)) => {
                if x.grouped != y.grouped || x.entries.len() != y.entries.len() {
                    return Ok(false);
                }
                for ((k, (_, x)), (l, (_, y))) in x.entries.iter().zip(y.entries.iter()) {
                    if k != l || !same(x, y, budget, level + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => {
                Ok(Arc::ptr_eq(x, y) || (x.type_name() == y.type_name() && x.text().is_some() && x.text() == y.text()))
            }
        },
        _ => Ok(false),
    }
}

/// `needle in haystack`.
pub(super) fn contained(needle: &Value, haystack: &Value, budget: &mut Budget) -> Op<bool> {
    match haystack {
        Value::Nil => Ok(false),
        Value::List(list) => {
            for item in list.items.iter() {
                if equal(item, needle, budget, 0)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Bytes(bytes) => {
            for byte in bytes.iter() {
                if equal(&Value::Int(IntKind::Uint8, i64::from(*byte)), needle, budget, 0)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(map) => Ok(map.contains_key(map_key(needle)?)),
        Value::Object(object) => match Keyed::of(haystack) {
            Some(keyed) => Ok(keyed.get(needle)?.is_some()),
            None => match needle {
                Value::Str(name) => Ok(object.field(name).is_some()),
                _ => Err(format!("a field has a name, not {}", described(needle))),
            },
        },
        Value::Time(_) if matches!(needle, Value::Str(_)) => Ok(false),
        other => Err(format!("`in` looks into lists and maps, not into {}", described(other))),
    }
}

/// The key that a value is in a map with text keys: nil is the empty text.
pub(super) fn map_key(key: &Value) -> Op<&str> {
    match key {
        Value::Nil => Ok(""),
        Value::Str(text) => Ok(text),
        other => Err(format!("the keys of a map are texts, not {}", described(other))),
    }
}

/// `from[key]` without methods; `None` where nothing is.
pub(super) fn element(from: &Value, key: &Value) -> Op<Option<Value>> {
    let at = |length: usize| -> Op<Option<usize>> {
        let index = to_int(key)?;
        let index = if index < 0 { index.wrapping_add(length as i64) } else { index };
        Ok(usize::try_from(index).ok().filter(|index| *index < length))
    };
    Ok(match from {
        Value::List(list) => at(list.items.len())?.map(|i| list.items[i].clone()),
        Value::Bytes(bytes) => at(bytes.len())?.map(|i| byte(bytes[i])),
        Value::Str(text) => at(text.len())?.map(|i| byte(text.as_bytes()[i])),
        Value::Map(map) => map.get(map_key(key)?),
        Value::Object(object) => match Keyed::of(from) {
            Some(keyed) => keyed.get(key)?,
            None => match key {
                Value::Str(name) => object.field(name),
                other => return Err(format!("a field has a name, not {}", described(other))),
            },
        },
        _ => None,
    })
}

fn byte(byte: u8) -> Value {
    Value::Int(IntKind::Uint8, i64::from(byte))
}

/// What a missing key of this map gives.
pub(super) fn missing(from: &Value) -> Option<Value> {
    match from {
        Value::Map(map) => Some(match map.kind {
            MapKind::Any => Value::Nil,
            MapKind::Text => Value::text(""),
            MapKind::Bytes => nil_bytes(),
        }),
        Value::Object(_) => {
            Keyed::of(from).map(|keyed| if keyed.grouped { nil_list(ListKind::Any) } else { Value::Nil })
        }
        _ => None,
    }
}

/// `from[a:b]`: counts bytes in texts.
pub(super) fn slice(from: &Value, a: i64, b: i64) -> Op {
    let length = match from {
        Value::Str(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Bytes(bytes) => bytes.len(),
        other => return Err(format!("only texts and lists have parts, not {}", described(other))),
    } as i64;
    let bound = |n: i64| if n < 0 { n.wrapping_add(length).max(0) } else { n };
    let b = bound(b).min(length);
    let a = bound(a).min(b);
    if is_nil(from) {
        return Ok(from.clone());
    }
    let range = a as usize..b as usize;
    Ok(match from {
        Value::Str(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[range])),
        Value::List(list) => {
            let kind = if list.kind == ListKind::Pair { ListKind::Any } else { list.kind };
            Value::List(List { kind, items: Arc::new(list.items[range].to_vec()) })
        }
        Value::Bytes(bytes) => Value::Bytes(Arc::from(&bytes[range])),
        other => other.clone(),
    })
}

/// Unary minus.
pub(super) fn negate(value: &Value) -> Op {
    match value {
        Value::Int(kind, n) if !matches!(kind, IntKind::Month | IntKind::Weekday) => {
            Ok(Value::Int(*kind, wrap(*kind, n.wrapping_neg())))
        }
        Value::Float(f) => Ok(Value::Float(-f)),
        other => Err(format!("a sign needs a number, not {}", described(other))),
    }
}

/// Cuts an integer to its type.
pub(super) fn wrap(kind: IntKind, n: i64) -> i64 {
    match kind {
        IntKind::Int8 => i64::from(n as i8),
        IntKind::Int16 => i64::from(n as i16),
        IntKind::Int32 => i64::from(n as i32),
        IntKind::Uint8 => i64::from(n as u8),
        IntKind::Uint16 => i64::from(n as u16),
        IntKind::Uint32 => i64::from(n as u32),
        _ => n,
    }
}

/// x to the power of y, by repeated squaring of the mantissa as Go does it: the last digits differ from the C
/// library's.
pub(super) fn power(x: f64, y: f64) -> f64 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if !x.is_finite() || !y.is_finite() || x == 0.0 || y.abs() >= 9.2e18 {
        return x.powf(y);
    }
    if y == 0.5 {
        return x.sqrt();
    }
    if y == -0.5 {
        return 1.0 / x.sqrt();
    }
    let (mut whole, mut rest) = (y.abs().trunc(), y.abs().fract());
    if rest != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    let mut mantissa = 1.0;
    if rest != 0.0 {
        if rest > 0.5 {
            rest -= 1.0;
            whole += 1.0;
        }
        mantissa = (rest * x.ln()).exp();
    }
    let mut exponent = 0i64;
    let (mut square, mut shift) = split(x);
    let mut bits = whole as i64;
    while bits != 0 {
        if !(-(1 << 12)..=1 << 12).contains(&shift) {
            exponent += shift;
            break;
        }
        if bits & 1 == 1 {
            mantissa *= square;
            exponent += shift;
        }
        square *= square;
        shift <<= 1;
        if square < 0.5 {
            square += square;
            shift -= 1;
        }
        bits >>= 1;
    }
    if y < 0.0 {
        mantissa = 1.0 / mantissa;
        exponent = -exponent;
    }
    scale(mantissa, exponent)
}

/// A float as mantissa in [0.5, 1) and exponent.
fn split(x: f64) -> (f64, i64) {
    let (x, extra) = if x.abs() < f64::MIN_POSITIVE { (x * (1u64 << 52) as f64, -52) } else { (x, 0) };
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), exponent + extra)
}

/// mantissa × 2^exponent, in steps that do not lose digits early.
fn scale(mantissa: f64, exponent: i64) -> f64 {
    let (mantissa, shift) = split(mantissa);
    let exponent = exponent + shift;
    if exponent > 1024 {
        return mantissa.signum() * f64::INFINITY;
    }
    if exponent < -1080 {
        return mantissa.signum() * 0.0;
    }
    let half = exponent / 2;
    mantissa * 2f64.powi(half as i32) * 2f64.powi((exponent - half) as i32)
}
