//! The expression language of `when` and `oncePer` (notifications.md §6): compile once, evaluate often.
//!
//! It is the dialect of expr 1.17 compiled without an environment: names are only known when running, and what is
//! missing is nil. Where that dialect rejects, this rejects (EXP-01); its rewritings are kept, because they show.

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
pub use lint::Warning;
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
    warnings: Vec<Warning>,
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
        let warnings = lint::warnings(source, &root);
        let root = optimize::optimize(root, natures).map_err(rejected)?;
        let never_boolean = nature != Nature::Bool && !nature.unknown();
        Ok(Program { source: source.to_owned(), root, never_boolean, reads, warnings })
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

    /// What is probably not meant as written (EXP-03).
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether its value is certainly no boolean: as a `when` it never triggers (EXP-03).
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
