//! An expression language: compile once, evaluate often, over data of any shape (notifications.md §6).
//!
//! It is [expr](https://expr-lang.org) 1.17 for Go, compiled **without an environment**: names are only known when
//! running, an unknown one is nil, and kinds are checked at compile time only between constants and what built-ins give.
//!
//! ```
//! use lynceus::core::expr::{Program, text};
//! use lynceus::core::value::time::Moment;
//! use lynceus::core::value::{Map, MapKind, Value};
//!
//! let order = serde_json::json!({"items": [{"name": "tea", "count": 3}, {"name": "milk", "count": 0}]});
//! let env = Map::new(MapKind::Any);
//! env.insert("order", Value::from_json(&order));
//! let now = Moment::utc("2026-05-01T12:00:00Z".parse().unwrap());
//!
//! let program = Program::compile("map(filter(order.items, .count > 0), upper(.name))").unwrap();
//! assert_eq!(text(&program.eval(&env, &now).unwrap()), "[TEA]");
//! assert_eq!(program.read_paths(), [["order", "items"]]);
//!
//! let error = Program::compile("order.total = 5").unwrap_err();
//! assert_eq!((error.line, error.column), (1, 13));
//! assert_eq!(error.hint, "compare with `==`");
//! ```
//!
//! # What is promised
//!
//! - **Verdicts.** What the original refuses to compile is refused here, what fails there fails here, at the same line
//!   and column; everything else has the same value, the same type and the same text (EXP-01). Its rewritings (constant
//!   folding, `len(filter(…))` into a count …) are kept because they show in which operand is looked at.
//! - **Purity.** An evaluation reads its variables and the given clock, and calls the functions among the variables;
//!   it changes nothing and gives the same result again.
//! - **Limits** (EXP-05). Source 8 KiB, 2,000 nodes, 64 levels of nesting, of the source as well as of values that are
//!   built; 100,000 steps (nodes visited, elements touched, 256 bytes of text read each count one); texts and lists up
//!   to 1 MiB; patterns of at most 10 KiB compiled, matched in linear time. They count work, not time, so that a result
//!   does not depend on load. Data may be nested as deeply as it likes.
//! - **Help.** Errors say where and, for usual mistakes, what to write instead (EXP-02); [`Program::warnings`] tells what
//!   compiles and is probably not meant (EXP-03); [`Program::read_paths`] what it depends on (EXP-04).
//!
//! # Differences from the original
//!
//! - The limits. The original has one on memory and one on nodes, others than these.
//! - No operator overloading, custom functions at compile time, or typed environments: functions are values among the
//!   variables ([`Func`](crate::core::value::Func)).
//! - Maps print and are walked in the order of their keys; the order of `keys`, `values` and `toPairs` is no accident.
//! - After its first complaint the original sometimes reads on and tells of a later, unreadable token instead.
//!
//! # How it works
//!
//! `lexer` → `parser` (precedence climbing; `postfix`) → `check` (kinds of constants, `signature`, `nature`) → `lint`,
//! `reads` → `optimize` → `machine` (a walk over the tree with a budget; `operators`, `builtins`, `predicates`).

mod ast;
mod builtins;
mod calls;
mod check;
mod fold;
mod json;
mod keyed;
mod lexer;
mod lint;
mod lists;
mod machine;
mod nature;
mod operators;
mod optimize;
mod parser;
mod postfix;
mod predicates;
mod reads;
mod reject;
mod search;
mod signature;
mod sorting;
mod texts;
mod weight;

#[cfg(test)]
mod tests;

use std::fmt;

use ast::{Binary, Node};
pub use lint::{Vocabulary, Warning};
use machine::{Machine, Stop};
use nature::Nature;
use reject::Reject;

use crate::core::value::time::Moment;
use crate::core::value::{Map, Value, display};

/// Longest source, in bytes (EXP-05).
const MAX_SOURCE: usize = 8 * 1024;

/// A compiled expression. Cheap to share, safe to evaluate from several threads.
#[derive(Clone, Debug)]
pub struct Program {
    source: String,
    root: Node,
    never_boolean: bool,
    reads: reads::Reads,
}

/// Why an expression is rejected (EXP-02). Positions are 1-based, columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// What is wrong.
    pub text: String,
    /// What to write instead; empty if nothing useful can be said.
    pub hint: String,
}

/// Why an evaluation gave no value. Positions are 1-based, columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError {
    /// What went wrong, with a suggestion where there is one.
    pub text: String,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// It may work later: neither true nor false follows from it (HLP-06).
    pub undetermined: bool,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)
    }
}

impl std::error::Error for CompileError {}
impl std::error::Error for EvalError {}

impl Program {
    /// Compiles a source. An error says where and what to write instead; the limits of EXP-05 are errors too.
    pub fn compile(source: &str) -> Result<Program, CompileError> {
        let rejected = |reject: Reject| {
            let (line, column) = position(source, reject.at);
            CompileError { line, column, text: reject.text, hint: reject.hint }
        };
        if source.len() > MAX_SOURCE {
            let text = format!("longer than {MAX_SOURCE} bytes");
            return Err(rejected(Reject::new(0, text, "split the condition in several")));
        }
        let (root, ids) = parser::parse(source).map_err(rejected)?;
        let natures = check::check(&root, ids).map_err(rejected)?;
        let nature = natures.get(root.id as usize).cloned().unwrap_or(Nature::Unknown);
        let reads = reads::reads(&root);
        let root = optimize::optimize(root, natures).map_err(rejected)?;
        let never_boolean = nature != Nature::Bool && !nature.unknown();
        Ok(Program { source: source.to_owned(), root, never_boolean, reads })
    }

    /// Evaluates it. `env` holds the variables; `now` is what the built-in `now()` gives, its zone is the local one.
    /// Costs at most 100,000 steps.
    pub fn eval(&self, env: &Map, now: &Moment) -> Result<Value, EvalError> {
        let mut machine = Machine::new(env, now);
        let failed = |text: String, at: u32, undetermined: bool| {
            let (line, column) = position(&self.source, at);
            EvalError { text, line, column, undetermined }
        };
        match machine.eval(&self.root) {
            Ok(value) => match weight::weigh(&value) {
                Ok(()) => Ok(value),
                Err(text) => Err(failed(text, self.root.at, false)),
            },
            Err(Stop::Fail(failure)) => Err(failed(failure.text, failure.at, failure.undetermined)),
            Err(Stop::Chain) => Ok(Value::Nil),
        }
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether its value may change with time alone: it calls `now()` or `time.Now` (EXP-04).
    pub fn reads_clock(&self) -> bool {
        self.reads.clock
    }

    /// Whether it reads the variable `root` (`image`, `appProject`), or may read any (`$env`).
    pub fn reads(&self, root: &str) -> bool {
        self.reads.paths.iter().any(|path| path.first().is_none_or(|first| first == root))
    }

    /// What it reads: `["app", "status", "health", "status"]`. A path stands for everything below it; an empty one for
    /// everything there is (EXP-04).
    pub fn read_paths(&self) -> &[Vec<String>] {
        &self.reads.paths
    }

    /// What is probably not meant as written (EXP-03), given what is known of the data.
    pub fn warnings(&self, known: &Vocabulary) -> Vec<Warning> {
        // The tree kept for evaluation is rewritten; remarks are about what was written.
        parser::parse(&self.source).map_or_else(|_| Vec::new(), |(root, _)| lint::warnings(&self.source, &root, known))
    }

    /// Whether its value is certainly no boolean: as a condition it never holds (EXP-03).
    pub fn never_boolean(&self) -> bool {
        self.never_boolean
    }
}

/// The text of a value as it becomes part of a state key: Go's `%v` (§6.5).
pub fn text(value: &Value) -> String {
    display(value)
}

/// 1-based line and column of a character.
fn position(source: &str, at: u32) -> (u32, u32) {
    let (mut line, mut column) = (1, 1);
    for c in source.chars().take(at as usize) {
        if c == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    (line, column)
}
