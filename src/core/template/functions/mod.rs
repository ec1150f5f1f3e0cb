//! The functions that templates can call: their names, parameters and bodies, by family. Which of them a template may
//! use is checked when it is parsed (notifications.md §7.1).

mod date;
mod decimal;
mod dict;
mod encode;
mod flow;
mod json;
mod later;
mod list;
mod math;
mod merge;
mod path;
mod regex;
mod semver;
mod text;
mod url;
mod words;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::core::value::time::Moment;
use crate::core::value::{Param, Value};

use super::{Functions, MAX_STEPS, builtin};

/// Functions that change a map they are given: templates that call one work on a copy of the data (TLP-03).
pub(super) const MUTATING: [&str; 6] = ["set", "unset", "merge", "mustMerge", "mergeOverwrite", "mustMergeOverwrite"];
/// How deep that copy goes; Kubernetes objects are far shallower.
pub(super) const COPY_DEPTH: usize = 200;
/// Longest text and largest list that a function may make.
const MAX_TEXT: usize = 1 << 20;

/// What functions may know besides their arguments.
pub(super) struct Ctx<'a> {
    /// The clock; its zone is the local one.
    pub now: &'a Moment,
    /// Steps taken so far.
    pub steps: Cell<u64>,
    /// Regular expressions compiled so far.
    pub patterns: RefCell<BTreeMap<String, ::regex::Regex>>,
}

impl Ctx<'_> {
    /// Counts steps against the limit of one rendering (TLP-02).
    pub(super) fn charge(&self, steps: u64) -> Result<(), Failure> {
        let total = self.steps.get().saturating_add(steps);
        self.steps.set(total);
        if total > MAX_STEPS {
            return Err(format!("template takes more than {MAX_STEPS} steps").into());
        }
        Ok(())
    }

    /// Steps that are left.
    pub(super) fn left(&self) -> u64 {
        MAX_STEPS.saturating_sub(self.steps.get())
    }

    /// Large arguments cost more: a function reads all of them.
    pub(super) fn charge_values(&self, values: &[Value]) -> Result<(), Failure> {
        self.charge(values.iter().map(weight).sum())
    }

    /// So do large results; texts also have a limit of their own, and every item of a list or map that was made is a
    /// piece of memory to be had and given back.
    pub(super) fn charge_result(&self, value: &Value) -> Result<(), Failure> {
        match value {
            Value::Str(text) => check_length(text.len()).and_then(|()| self.charge(weight(value))),
            Value::List(list) => self.charge(list.items.len() as u64),
            Value::Map(map) => self.charge(map.len() as u64),
            _ => self.charge(weight(value)),
        }
    }
}

/// A step buys so many bytes: with the slowest function that reads a text once (`snakecase`), all steps of a rendering
/// are gone well within the 100 ms of §25 of image-updates.md.
const BYTES_PER_STEP: u64 = 8;

fn weight(value: &Value) -> u64 {
    match value {
        Value::Str(text) => text.len() as u64 / BYTES_PER_STEP,
        Value::Bytes(bytes) => bytes.len() as u64 / BYTES_PER_STEP,
        Value::List(list) => list.items.len() as u64 / 4,
        Value::Map(map) => map.len() as u64 / 4,
        _ => 0,
    }
}

/// A text of this length would be too long to make.
fn check_length(bytes: usize) -> Result<(), Failure> {
    if bytes > MAX_TEXT {
        return Err(format!("result is longer than {MAX_TEXT} bytes").into());
    }
    Ok(())
}

/// Why a function gave no result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub text: String,
    pub undetermined: bool,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure { text, undetermined: false }
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A function's result; nil is a nil `interface {}`.
pub(super) type Outcome = Result<Value, Failure>;

/// The type of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum P {
    /// Go's `reflect.Value`: takes even what is not there.
    Raw,
    /// A Go type.
    Typed(Param),
}

impl P {
    pub(super) fn type_name(self) -> &'static str {
        match self {
            P::Raw => "reflect.Value",
            P::Typed(typed) => typed.type_name(),
        }
    }
}

const ANY: P = P::Typed(Param::Any);
const TEXT: P = P::Typed(Param::Text);
const INT: P = P::Typed(Param::Int);
const FLOAT: P = P::Typed(Param::Float);
const BOOL: P = P::Typed(Param::Bool);
const TIME: P = P::Typed(Param::Time);
const MAP: P = P::Typed(Param::Map);

type Code = fn(&Ctx<'_>, &[Value]) -> Outcome;

/// What a call does.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// Runs this with the checked arguments.
    Plain(Code),
    /// `and`, `or`, `call` decide about their arguments themselves.
    And,
    Or,
    Call,
}

/// A function of templates.
pub(super) struct Function {
    pub name: &'static str,
    pub params: &'static [P],
    /// The last parameter repeats, also not at all.
    pub variadic: bool,
    pub body: Body,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

pub(super) const fn function(name: &'static str, params: &'static [P], code: Code) -> Function {
    Function { name, params, variadic: false, body: Body::Plain(code) }
}

pub(super) const fn variadic(name: &'static str, params: &'static [P], code: Code) -> Function {
    Function { name, params, variadic: true, body: Body::Plain(code) }
}

pub(super) const fn special(name: &'static str, params: &'static [P], body: Body) -> Function {
    Function { name, params, variadic: true, body }
}

/// The text given for a text parameter.
pub(super) fn text_of(values: &[Value], index: usize) -> &str {
    values.get(index).and_then(Value::as_text).unwrap_or_default()
}

/// The number given for an integer parameter.
fn int_of(values: &[Value], index: usize) -> i64 {
    match values.get(index) {
        Some(Value::Int(_, n) | Value::Duration(n)) => *n,
        _ => 0,
    }
}

fn text(text: impl AsRef<str>) -> Outcome {
    Ok(Value::text(text))
}

type Names = BTreeMap<&'static str, &'static Function>;

static PLAIN: LazyLock<Names> = LazyLock::new(|| builtin::TABLE.iter().map(|f| (f.name, f)).collect());

static FULL: LazyLock<Names> = LazyLock::new(|| {
    let families = [
        builtin::TABLE,
        date::TABLE,
        dict::TABLE,
        encode::TABLE,
        flow::TABLE,
        later::TABLE,
        list::TABLE,
        math::TABLE,
        path::TABLE,
        regex::TABLE,
        semver::TABLE,
        text::TABLE,
        url::TABLE,
    ];
    // sprig's `slice` comes after the built-in one and replaces it.
    families.into_iter().flatten().map(|f| (f.name, f)).collect()
});

fn table(functions: Functions) -> &'static Names {
    match functions {
        Functions::Full => &FULL,
        Functions::Plain => &PLAIN,
    }
}

/// The function of this name.
pub(super) fn find(name: &str, functions: Functions) -> Option<&'static Function> {
    table(functions).get(name).copied()
}

/// All names, sorted.
pub(super) fn names(functions: Functions) -> impl Iterator<Item = &'static str> {
    table(functions).keys().copied()
}
