//! What expressions yield, and when it counts as true.

use crate::core::value::{List, ListKind, Map, MapKind, Value};

/// What an expression yields. Go's reflection tells a value that is not there from a nil in an interface, and a value
/// in an interface from a plain one; templates can see the difference.
#[derive(Clone, Debug)]
pub(super) enum Val {
    /// No value: a missing key, or a nil that was taken out of its interface.
    Missing,
    /// A value held in an interface, possibly nil: an element of a map or list of anything.
    Boxed(Value),
    /// A value of its own type; never nil.
    Plain(Value),
}

impl Val {
    /// What is left when the interface around the value is forgotten.
    pub(super) fn unboxed(self) -> Val {
        match self {
            Val::Boxed(Value::Nil) => Val::Missing,
            Val::Boxed(value) => Val::Plain(value),
            other => other,
        }
    }

    /// The value; nil if there is none.
    pub(super) fn value(self) -> Value {
        match self {
            Val::Missing => Value::Nil,
            Val::Boxed(value) | Val::Plain(value) => value,
        }
    }

    pub(super) fn of(value: Value) -> Val {
        if value.is_nil() { Val::Boxed(value) } else { Val::Plain(value) }
    }
}

pub(super) fn map_element(map: &Map, item: Value) -> Val {
    if map.kind == MapKind::Any { Val::Boxed(item) } else { Val::of(item) }
}

pub(super) fn list_element(kind: ListKind, item: Value) -> Val {
    if kind == ListKind::Any { Val::Boxed(item) } else { Val::of(item) }
}

/// Go's truth: not the zero value of its type; structs are always true.
pub(super) fn truth(value: &Val) -> bool {
    match value {
        Val::Missing => false,
        Val::Boxed(value) | Val::Plain(value) => is_true(value),
    }
}

/// The same for a value.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Nil => false,
        Value::Bool(b) => *b,
        Value::Int(_, n) | Value::Duration(n) => *n != 0,
        Value::Float(f) => *f != 0.0,
        Value::Complex(re, im) => *re != 0.0 || *im != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(List { items, .. }) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        Value::Time(_) | Value::Func(_) | Value::Object(_) => true,
    }
}
