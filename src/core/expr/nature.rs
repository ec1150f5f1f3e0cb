//! What is known about a value before anything runs: only constants, results of built-ins and of methods of times have
//! a static kind; everything that comes from variables is unknown and fits everywhere.

use std::sync::Arc;

use crate::core::value::IntKind;

/// The static kind of a part.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Nature {
    /// Nothing is known.
    Unknown,
    /// Known to be of Go's `interface {}`: fits everywhere too, but other kinds can be assigned to it.
    Any,
    Nil,
    Bool,
    Int(IntKind),
    Float,
    Text,
    Bytes,
    /// `[]interface {}`, perhaps with known elements.
    List(Option<Arc<Nature>>),
    /// `[]string`
    Texts,
    /// `map[string]interface {}`
    Map,
    /// `map[interface {}]interface {}` (`fromPairs`)
    Pairs,
    /// `map[interface {}][]interface {}` (`groupBy`)
    Groups,
    Time,
    Duration,
    Zone,
    Func(Arc<Signature>),
}

/// A function known when compiling.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Signature {
    pub name: String,
    pub params: Vec<Nature>,
    pub out: Nature,
    /// How many results it has; more than two cannot be used.
    pub results: usize,
    /// It is a built-in used as if it were a variable.
    pub builtin: bool,
}

/// Go's `reflect.Kind`, as far as natures have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoKind {
    Invalid,
    Interface,
    Bool,
    Int(IntKind),
    Float,
    Text,
    Slice,
    Map,
    Struct,
    Pointer,
    Func,
}

use Nature::*;

impl Nature {
    pub const INT: Nature = Int(IntKind::Int);

    pub fn list_of(element: Nature) -> Nature {
        List(Some(Arc::new(element)))
    }

    pub fn unknown(&self) -> bool {
        matches!(self, Unknown | Any)
    }

    pub fn integer(&self) -> bool {
        matches!(self, Int(kind) if !matches!(kind, IntKind::Month | IntKind::Weekday))
    }

    pub fn number(&self) -> bool {
        *self == Float || self.integer()
    }

    pub fn array(&self) -> bool {
        matches!(self, List(_) | Texts | Bytes)
    }

    pub fn map(&self) -> bool {
        matches!(self, Map | Pairs | Groups)
    }

    pub fn kind(&self) -> GoKind {
        match self {
            Unknown | Nil => GoKind::Invalid,
            Any => GoKind::Interface,
            Bool => GoKind::Bool,
            Int(IntKind::Month | IntKind::Weekday) => GoKind::Int(IntKind::Int),
            Int(kind) => GoKind::Int(*kind),
            Duration => GoKind::Int(IntKind::Int64),
            Float => GoKind::Float,
            Text => GoKind::Text,
            Bytes | List(_) | Texts => GoKind::Slice,
            Map | Pairs | Groups => GoKind::Map,
            Time => GoKind::Struct,
            Zone => GoKind::Pointer,
            Func(_) => GoKind::Func,
        }
    }

    /// The same without what only the checker knows: elements of lists. An unknown kind becomes `interface {}`.
    pub fn erased(&self) -> Nature {
        match self {
            Unknown => Any,
            List(_) => List(None),
            other => other.clone(),
        }
    }

    /// What its elements are, if it is a list or map.
    pub fn element(&self) -> Nature {
        match self {
            List(Some(element)) => (**element).clone(),
            List(None) | Map | Pairs => Any,
            Texts => Text,
            Bytes => Int(IntKind::Uint8),
            Groups => List(None),
            _ => Unknown,
        }
    }

    /// Go's assignability.
    pub fn assignable(&self, to: &Nature) -> bool {
        if *self == Nil {
            return matches!(to, Any | Zone | Func(_) | Map | Pairs | Groups | List(_) | Texts | Bytes);
        }
        match (self, to) {
            (Unknown, _) | (_, Unknown | Nil) => false,
            (_, Any) => true,
            (List(_), List(_)) => true,
            (Func(a), Func(b)) => a.params == b.params && a.out == b.out,
            (a, b) => a == b,
        }
    }

    pub fn comparable(&self, to: &Nature) -> bool {
        self.unknown()
            || to.unknown()
            || *self == Nil
            || *to == Nil
            || self.number() && to.number()
            || self.array() && to.array()
            || self.assignable(to)
    }

    /// One or both are unknown and the other is one of these.
    pub fn fits(&self, other: &Nature, allowed: impl Fn(&Nature) -> bool) -> bool {
        match (self.unknown(), other.unknown()) {
            (true, true) => true,
            (true, false) => allowed(other),
            (false, true) => allowed(self),
            (false, false) => false,
        }
    }

    /// The kind of `+ - *` of two numbers.
    pub fn promote(&self, other: &Nature) -> Nature {
        if *self == Float || *other == Float { Float } else { Nature::INT }
    }

    /// What people call it.
    pub fn word(&self) -> &'static str {
        match self {
            Unknown | Any => "something unknown",
            Nil => "nil",
            Bool => "a boolean",
            Int(IntKind::Month) => "a month",
            Int(IntKind::Weekday) => "a weekday",
            Int(_) => "an integer",
            Float => "a float",
            Text => "a text",
            Bytes => "bytes",
            List(_) | Texts => "a list",
            Map | Pairs | Groups => "a map",
            Time => "a time",
            Duration => "a duration",
            Zone => "a time zone",
            Func(_) => "a function",
        }
    }
}

/// The method `name` of a value of this nature.
pub(super) fn method(of: &Nature, name: &str) -> Option<Signature> {
    let int64 = || Int(IntKind::Int64);
    let (params, out, results): (Vec<Nature>, Nature, usize) = match (of, name) {
        (Time, "Add" | "Round" | "Truncate") => (vec![Duration], Time, 1),
        (Time, "Sub") => (vec![Time], Duration, 1),
        (Time, "After" | "Before" | "Equal") => (vec![Time], Bool, 1),
        (Time, "Compare") => (vec![Time], Nature::INT, 1),
        (Time, "AddDate") => (vec![Nature::INT, Nature::INT, Nature::INT], Time, 1),
        (Time, "Format") => (vec![Text], Text, 1),
        (Time, "In") => (vec![Zone], Time, 1),
        (Time, "Local" | "UTC") => (vec![], Time, 1),
        (Time, "Location") => (vec![], Zone, 1),
        (Time, "IsZero" | "IsDST") => (vec![], Bool, 1),
        (Time, "Unix" | "UnixMilli" | "UnixMicro" | "UnixNano") => (vec![], int64(), 1),
        (Time, "Year" | "Day" | "Hour" | "Minute" | "Second" | "Nanosecond" | "YearDay") => (vec![], Nature::INT, 1),
        (Time, "Month") => (vec![], Int(IntKind::Month), 1),
        (Time, "Weekday") => (vec![], Int(IntKind::Weekday), 1),
        (Time, "Clock" | "Date") => (vec![], Nature::INT, 3),
        (Time, "ISOWeek") => (vec![], Nature::INT, 2),
        (Time, "Zone") => (vec![], Text, 2),
        (Time, "ZoneBounds") => (vec![], Time, 2),
        (Time, "MarshalJSON" | "MarshalText" | "MarshalBinary" | "GobEncode") => (vec![], Bytes, 2),
        (Time, "AppendText" | "AppendBinary") => (vec![Bytes], Bytes, 2),
        (Time, "AppendFormat") => (vec![Bytes, Text], Bytes, 1),
        (Time, "GoString" | "String") => (vec![], Text, 1),
        (Duration, "Hours" | "Minutes" | "Seconds") => (vec![], Float, 1),
        (Duration, "Milliseconds" | "Microseconds" | "Nanoseconds") => (vec![], int64(), 1),
        (Duration, "Round" | "Truncate") => (vec![Duration], Duration, 1),
        (Duration, "Abs") => (vec![], Duration, 1),
        (Duration | Zone | Int(IntKind::Month | IntKind::Weekday), "String") => (vec![], Text, 1),
        _ => return None,
    };
    Some(Signature { name: name.to_owned(), params, out, results, builtin: false })
}

impl Signature {
    /// Go calls functions of these shapes directly, so that a nil argument fails instead of becoming a zero value.
    pub fn typed(&self) -> bool {
        matches!(
            (self.params.as_slice(), &self.out),
            ([Duration], Time | Duration) | ([Time], Duration | Bool) | ([Text], Text)
        )
    }
}
