//! The values that both users' languages see: expressions (`core/expr`) and templates (`core/template`). They are
//! Go's values as far as users can tell the difference: integers keep their Go type, maps of text give the zero
//! value for a missing key, a nil prints as `<no value>` or `<nil>`.
//!
//! Deliberately not here: operators and formatting verbs, which differ between the two languages.

pub mod duration;
pub mod json_read;
mod layout;
mod layout_parse;
mod method;
pub mod number;
pub mod pattern;
mod print;
pub mod time;

pub use method::{method, zone_of, zone_value};
pub use print::{display, type_name};

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, RwLock};

/// A Go integer type, as far as it shows in `%T` and in type checks of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum IntKind {
    Int,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    /// `time.Month`: an `int` that prints as its name.
    Month,
    /// `time.Weekday`: an `int` that prints as its name.
    Weekday,
}

impl IntKind {
    /// Whether it is one of the unsigned types.
    pub fn unsigned(self) -> bool {
        matches!(self, IntKind::Uint | IntKind::Uint8 | IntKind::Uint16 | IntKind::Uint32 | IntKind::Uint64)
    }
}

/// The Go type of a map's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// `map[string]interface {}`: a missing key is nil.
    Any,
    /// `map[string]string`: a missing key is the empty text for expressions (`context`, labels of sprig's `split`).
    Text,
    /// `map[string][]uint8` (`secrets`).
    Bytes,
}

/// The Go type of a list's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// `[]interface {}`
    Any,
    /// `[]string`
    Text,
    /// `[]int`
    Int,
    /// `[][]interface {}` (sprig's `chunk`)
    Lists,
    /// `[2]interface {}`: one of what `toPairs` gives, an array and no slice
    Pair,
    /// `[][2]interface {}` (`toPairs` of expressions)
    Pairs,
}

/// One value. Cloning is cheap: everything large is shared.
#[derive(Clone, Debug)]
pub enum Value {
    /// Go's nil, and JSON's null.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer. Unsigned 64-bit values above `i64::MAX` are kept as their bit pattern.
    Int(IntKind, i64),
    /// `float64`.
    Float(f64),
    /// `complex128`: only templates can write one.
    Complex(f64, f64),
    /// `string`.
    Str(Arc<str>),
    /// `[]uint8`: prints as a decimal list.
    Bytes(Arc<[u8]>),
    /// A slice.
    List(List),
    /// A map with text keys.
    Map(Map),
    /// `time.Time`.
    Time(time::Moment),
    /// `time.Duration`, in nanoseconds.
    Duration(i64),
    /// Something callable.
    Func(Func),
    /// A host object with fields and methods (commit metadata, application details).
    Object(Arc<dyn Object>),
}

/// A shared, immutable slice.
#[derive(Clone, Debug)]
pub struct List {
    /// Go type of the elements.
    pub kind: ListKind,
    /// The elements.
    pub items: Arc<Vec<Value>>,
}

/// What nil slices hold: Go tells them from empty ones, in JSON and in comparisons with nil.
static NIL_ITEMS: LazyLock<Arc<Vec<Value>>> = LazyLock::new(|| Arc::new(Vec::new()));

impl List {
    /// A nil slice: empty, prints `[]`, is `null` in JSON.
    pub fn nil(kind: ListKind) -> Self {
        List { kind, items: NIL_ITEMS.clone() }
    }

    /// Whether it was made by [`List::nil`].
    pub fn is_nil(&self) -> bool {
        Arc::ptr_eq(&self.items, &NIL_ITEMS)
    }
}

/// A shared map, ordered by key. It can change (`set`, `unset`, `merge`): all holders see it, as in Go. Whoever must
/// not see it takes a [`Map::deep_copy`].
#[derive(Clone)]
pub struct Map {
    /// Go type of the values.
    pub kind: MapKind,
    entries: Arc<RwLock<BTreeMap<Arc<str>, Value>>>,
}

impl Map {
    /// An empty map.
    pub fn new(kind: MapKind) -> Self {
        Self::from_entries(kind, BTreeMap::new())
    }

    /// A map of these entries.
    pub fn from_entries(kind: MapKind, entries: BTreeMap<Arc<str>, Value>) -> Self {
        Map { kind, entries: Arc::new(RwLock::new(entries)) }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.entries.read().unwrap_or_else(|e| e.into_inner()).get(key).cloned()
    }

    /// Whether the key is present.
    pub fn contains_key(&self, key: &str) -> bool {
        self.entries.read().unwrap_or_else(|e| e.into_inner()).contains_key(key)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.read().unwrap_or_else(|e| e.into_inner()).len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys, sorted.
    pub fn keys(&self) -> Vec<Arc<str>> {
        self.entries.read().unwrap_or_else(|e| e.into_inner()).keys().cloned().collect()
    }

    /// The entries as they are now, sorted by key.
    pub fn entries(&self) -> Vec<(Arc<str>, Value)> {
        self.entries.read().unwrap_or_else(|e| e.into_inner()).iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// Sets a key.
    pub fn insert(&self, key: impl Into<Arc<str>>, value: Value) {
        self.entries.write().unwrap_or_else(|e| e.into_inner()).insert(key.into(), value);
    }

    /// Removes a key.
    pub fn remove(&self, key: &str) -> Option<Value> {
        self.entries.write().unwrap_or_else(|e| e.into_inner()).remove(key)
    }

    /// Whether both are the same map (not merely equal ones).
    pub fn same(&self, other: &Map) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries)
    }

    /// Tells this map from all others that exist at the same time.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.entries).cast::<()>() as usize
    }

    /// A map that shares nothing changeable with this one. `depth` bounds the recursion: deeper levels stay shared.
    pub fn deep_copy(&self, depth: usize) -> Map {
        let copy = Map::new(self.kind);
        for (key, value) in self.entries() {
            copy.insert(key, value.deep_copy(depth));
        }
        copy
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries()).finish()
    }
}

/// A host object: something with fields and methods that is no map.
pub trait Object: Any + Send + Sync + fmt::Debug {
    /// The Go type name, for `%T` and error texts.
    fn type_name(&self) -> &str;
    /// A field; `None` if there is none of that name.
    fn field(&self, name: &str) -> Option<Value>;
    /// A method; `None` if there is none of that name.
    fn method(&self, name: &str) -> Option<Func>;
    /// The names of its fields, in the order in which they print and become JSON.
    fn field_names(&self) -> &[&'static str] {
        &[]
    }
    /// What it prints as, if it has a text of its own instead of its fields (Go's `String()`).
    fn text(&self) -> Option<String> {
        None
    }
}

/// What a host function failed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// It will fail again: counts as false in a condition, as an error in a template.
    Failed(String),
    /// It may work later: the evaluation that asked is undetermined (notifications.md HLP-06).
    Undetermined(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Failed(text) | CallError::Undetermined(text) => f.write_str(text),
        }
    }
}

/// The Go type of a host function's parameter: what templates check before a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// `interface {}`
    Any,
    /// `string`
    Text,
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `float64`
    Float,
    /// `bool`
    Bool,
    /// `time.Time`
    Time,
    /// `time.Duration`
    Duration,
    /// `map[string]interface {}`
    Map,
    /// `[]interface {}`
    List,
    /// `[]string`
    TextList,
    /// A host object of this Go type name.
    Object(&'static str),
}

/// The body of a host function. Arguments have been checked against the parameters.
pub type Body = dyn Fn(&[Value]) -> Result<Value, CallError> + Send + Sync;

/// A host function as a value (`time.Now`, `repo.RepoURLToHTTPS`, a method).
#[derive(Clone)]
pub struct Func {
    /// Its name, for error texts.
    pub name: Arc<str>,
    /// Its parameters.
    pub params: Arc<[Param]>,
    /// Whether the last parameter may be given any number of times.
    pub variadic: bool,
    body: Arc<Body>,
}

impl Func {
    /// A function of exactly these parameters.
    pub fn new(
        name: &str,
        params: &[Param],
        body: impl Fn(&[Value]) -> Result<Value, CallError> + Send + Sync + 'static,
    ) -> Self {
        Func { name: name.into(), params: params.into(), variadic: false, body: Arc::new(body) }
    }

    /// The same, the last parameter repeating.
    pub fn variadic(
        name: &str,
        params: &[Param],
        body: impl Fn(&[Value]) -> Result<Value, CallError> + Send + Sync + 'static,
    ) -> Self {
        Func { variadic: true, ..Func::new(name, params, body) }
    }

    /// Calls it. The caller has checked number and types of the arguments.
    pub fn call(&self, arguments: &[Value]) -> Result<Value, CallError> {
        (self.body)(arguments)
    }
}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "func {}", self.name)
    }
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Value::Str(Arc::from(text.as_ref()))
    }

    /// A Go `int`.
    pub fn int(n: i64) -> Self {
        Value::Int(IntKind::Int, n)
    }

    /// A Go `int64`, as integers of Kubernetes objects are.
    pub fn int64(n: i64) -> Self {
        Value::Int(IntKind::Int64, n)
    }

    /// An `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(List { kind: ListKind::Any, items: Arc::new(items) })
    }

    /// An `[]string`.
    pub fn text_list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Self {
        Value::List(List { kind: ListKind::Text, items: Arc::new(items.into_iter().map(Value::text).collect()) })
    }

    /// A `map[string]interface {}` of these entries.
    pub fn map<K: Into<Arc<str>>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        Value::Map(Map::from_entries(MapKind::Any, entries.into_iter().map(|(k, v)| (k.into(), v)).collect()))
    }

    /// A `map[string]string` of these entries.
    pub fn text_map<K: Into<Arc<str>>, V: AsRef<str>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        Value::Map(Map::from_entries(
            MapKind::Text,
            entries.into_iter().map(|(k, v)| (k.into(), Value::text(v))).collect(),
        ))
    }

    /// The value of a JSON document as Kubernetes' own decoder gives it: integral numbers are `int64`, all others
    /// `float64` (`1.0` is a float; an integer too large for 64 bits as well).
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Nil,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match n.as_i64() {
                Some(i) => Value::int64(i),
                None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Value::text(s),
            Json::Array(items) => Value::list(items.iter().map(Value::from_json).collect()),
            Json::Object(fields) => {
                Value::map(fields.iter().map(|(k, v)| (Arc::<str>::from(k.as_str()), Value::from_json(v))))
            }
        }
    }

    /// A value that shares nothing changeable with this one, down to `depth` levels.
    pub fn deep_copy(&self, depth: usize) -> Value {
        match self {
            _ if depth == 0 => self.clone(),
            Value::Map(map) => Value::Map(map.deep_copy(depth - 1)),
            Value::List(list) if list.is_nil() => self.clone(),
            Value::List(list) => Value::List(List {
                kind: list.kind,
                items: Arc::new(list.items.iter().map(|item| item.deep_copy(depth - 1)).collect()),
            }),
            other => other.clone(),
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is nil.
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }
}

#[cfg(test)]
mod tests;
