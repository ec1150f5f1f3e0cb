//! Maps whose keys are any value: what `groupBy` and `fromPairs` give.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::operators::{Op, described};
use crate::core::value::{Func, IntKind, Object, Value, display};

/// A key; equal only if the type is the same too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Nil,
    Bool(bool),
    Int(IntKind, i64),
    /// By bits, negative zero being zero.
    Float(i64),
    Text(Arc<str>),
    Duration(i64),
    Time(i128),
    /// A host object, by its text.
    Other(String),
}

/// Go's `map[interface {}]interface {}`, or `map[interface {}][]interface {}` if grouped.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyed {
    pub entries: BTreeMap<Key, (Value, Value)>,
    pub grouped: bool,
}

/// The key that a value is; lists, maps and functions are none.
pub(super) fn key(value: &Value) -> Op<Key> {
    Ok(match value {
        Value::Nil => Key::Nil,
        Value::Bool(b) => Key::Bool(*b),
        Value::Int(kind, n) => Key::Int(*kind, *n),
        Value::Float(f) => {
            // A total order of floats by their bits.
            let bits = if *f == 0.0 { 0 } else { f.to_bits() as i64 };
            Key::Float(bits ^ (((bits >> 63) as u64) >> 1) as i64)
        }
        Value::Str(text) => Key::Text(text.clone()),
        Value::Duration(d) => Key::Duration(*d),
        Value::Time(moment) => Key::Time(moment.at.as_nanosecond()),
        Value::Object(object) if Keyed::of(value).is_none() => Key::Other(object.text().unwrap_or_default()),
        other => return Err(format!("{} cannot be a key", described(other))),
    })
}

impl Keyed {
    /// The map in a value, if it is one of these.
    pub fn of(value: &Value) -> Option<&Keyed> {
        let Value::Object(object) = value else { return None };
        let any: &dyn Any = object.as_ref();
        any.downcast_ref::<Keyed>()
    }

    pub fn get(&self, by: &Value) -> Op<Option<Value>> {
        Ok(self.entries.get(&key(by)?).map(|(_, value)| value.clone()))
    }

    pub fn value(self) -> Value {
        Value::Object(Arc::new(self))
    }
}

impl Object for Keyed {
    fn type_name(&self) -> &str {
        if self.grouped { "map[interface {}][]interface {}" } else { "map[interface {}]interface {}" }
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.entries.get(&Key::Text(Arc::from(name))).map(|(_, value)| value.clone())
    }

    fn method(&self, _: &str) -> Option<Func> {
        None
    }

    fn text(&self) -> Option<String> {
        let entries: Vec<String> =
            self.entries.values().map(|(key, value)| format!("{}:{}", display(key), display(value))).collect();
        Some(format!("map[{}]", entries.join(" ")))
    }
}
