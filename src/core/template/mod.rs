//! A template language: parse once, render often, over data of any shape (notifications.md §7).
//!
//! It is Go's `text/template` (no escaping for HTML) in its default mode, where a missing key prints `<no value>`, with
//! the text functions of [sprig](https://masterminds.github.io/sprig/) 3.3, but not `env` and `expandenv`.
//!
//! ```
//! use lynceus::core::template::{Functions, Template};
//! use lynceus::core::value::Value;
//! use lynceus::core::value::time::Moment;
//!
//! let data = Value::from_json(&serde_json::json!({"name": "shop", "images": ["web:1", "db:2"]}));
//! let now = Moment::utc("2026-05-01T12:00:00Z".parse().unwrap());
//!
//! let source = "{{ .name | upper }}:{{ range $i, $image := .images }} {{ add1 $i }}. {{ $image }}{{ end }} {{ .nope }}";
//! let template = Template::parse(source, Functions::Full).unwrap();
//! assert_eq!(template.render(&data, &now).unwrap(), "SHOP: 1. web:1 2. db:2 <no value>");
//! assert!(template.reads("images") && !template.reads("secrets"));
//!
//! let error = Template::parse("{{ truncate 3 .name }}", Functions::Full).unwrap_err();
//! assert_eq!((error.line, error.column, error.hint.as_str()), (1, 4, "did you mean trunc?"));
//! ```
//!
//! # What is promised
//!
//! - **The same output.** Parsing and rendering succeed where Go's succeed and give the same text; where Go fails, this
//!   fails, at the same line (and, when rendering, column). `printf` has Go's verbs, flags and `%!` remarks.
//! - **Purity.** A rendering reads its data and the given clock, and calls the functions in the data. Functions that
//!   change maps (`set`, `merge` …) do so for this rendering only (TLP-03). The same input gives the same text; therefore
//!   functions of chance, and those that use the network or make keys, parse and then refuse to run.
//! - **Limits** (TLP-02). Source 64 KiB ([`MAX_SOURCE`]), output 256 KiB ([`MAX_OUTPUT`]), 1,000,000 steps
//!   ([`MAX_STEPS`]; functions pay for what they read and make, a step for 8 bytes), depth 64 ([`MAX_DEPTH`]) of the source and of templates
//!   that call templates. They count work, not time. Patterns are matched in linear time. Data may be nested as deeply
//!   as it likes.
//! - **Help.** An unknown function is told with the nearest known one (TLP-01).
//!
//! # Differences from the original
//!
//! - The limits; depth of templates that call templates is 100,000 in Go.
//! - Every template stands alone: `define` and `template` do not reach other ones.
//! - Texts are UTF-8: where `trunc` or `substr` cut a character in two, its bytes become U+FFFD.
//! - `shuffle` gives the same order again; `keys` and `values` give keys in order. A function prints as its type, in Go
//!   as its address.
//! - `%#v` and the verbs of numbers print objects of the host without the names of their type and fields.
//!
//! [`interpolate_json`] renders templates of JSON text so that values cannot break it (§8.3).
//!
//! # How it works
//!
//! `lexer` → `parser` (items, pipelines, operands; `literal`) → `exec` (a walk with steps; `call`, `arg`), `builtin`,
//! `printf` and `functions`, by family.

mod arg;
mod builtin;
mod call;
mod cast;
mod exec;
mod functions;
mod json;
mod lexer;
mod literal;
mod node;
mod parser;
mod printf;
mod text;
mod val;

#[cfg(test)]
mod tests;

pub use exec::Piece;
pub use json::{JsonFault, JsonOutcome, JsonRendering, interpolate_json};

use super::value::Value;
use super::value::time::Moment;
use node::OperandKind;
use std::sync::Arc;

/// Longest template source, in bytes (TLP-02).
pub const MAX_SOURCE: usize = 64 * 1024;
/// Longest output of one rendering, in bytes (TLP-02).
pub const MAX_OUTPUT: usize = 256 * 1024;
/// Most steps of one rendering (TLP-02).
pub const MAX_STEPS: u64 = 1_000_000;
/// Deepest nesting, of the source as well as of templates that call templates (TLP-02).
pub const MAX_DEPTH: usize = 64;

/// Which functions a template may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// Those of text/template and sprig's, without `env` and `expandenv`.
    Full,
    /// Those of text/template only.
    Plain,
}

/// Why a source is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// 1-based line.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// What is wrong.
    pub text: String,
    /// What would help; may be empty.
    pub hint: String,
}

/// Why a template could not be rendered with this data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderError {
    /// 1-based line.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// What went wrong, and with which part of the template.
    pub text: String,
    /// It may work later (notifications.md HLP-06): a host function said so.
    pub undetermined: bool,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

impl std::fmt::Display for RenderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)
    }
}

impl std::error::Error for ParseError {}
impl std::error::Error for RenderError {}

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    source: String,
    parsed: parser::Parsed,
    mutates: bool,
}

impl Template {
    /// Parses a source. Function names are checked, so an unknown one is found here (TLP-01).
    pub fn parse(source: &str, functions: Functions) -> Result<Template, ParseError> {
        if source.len() > MAX_SOURCE {
            let text = format!("template is longer than {MAX_SOURCE} bytes");
            return Err(ParseError { line: 1, column: 1, text, hint: String::new() });
        }
        let parsed = parser::parse(source, functions).map_err(|fault| {
            let (line, column) = position(source, fault.at);
            ParseError { line, column, text: fault.text, hint: fault.hint }
        })?;
        let mut template = Template { source: source.to_owned(), parsed, mutates: false };
        let mut mutates = false;
        template.visit(&mut |kind, _| {
            if let OperandKind::Function(function) = kind {
                mutates |= functions::MUTATING.contains(&function.name);
            }
        });
        template.mutates = mutates;
        Ok(template)
    }

    /// Renders with `data` as dot. `now` is the clock; its zone is the local one.
    pub fn render(&self, data: &Value, now: &Moment) -> Result<String, RenderError> {
        let mut out = String::new();
        self.render_pieces(data, now, |piece| out.push_str(piece.text()))?;
        Ok(out)
    }

    /// Renders piece by piece, telling the template's own text from what its actions print. What was emitted before an
    /// error is to be thrown away.
    pub fn render_pieces(
        &self,
        data: &Value,
        now: &Moment,
        mut emit: impl FnMut(Piece<'_>),
    ) -> Result<(), RenderError> {
        // Functions that change maps must not reach beyond this rendering (TLP-03).
        let own = if self.mutates { data.deep_copy(functions::COPY_DEPTH) } else { data.clone() };
        exec::run(&self.parsed, own, now, &mut emit).map_err(|stop| {
            let (line, column) = position(&self.source, stop.at);
            RenderError { line, column, text: stop.text, undetermined: stop.undetermined }
        })
    }

    /// Whether it may read this part of its data: `.root`, `$.root`, a field `root` of any value, or the data as a whole
    /// (`toJson .`, `index $ "root"`). Rather says yes than misses one.
    pub fn reads(&self, root: &str) -> bool {
        let mut found = self.calls(&[root]);
        self.visit(&mut |kind, at_root| {
            found |= match kind {
                OperandKind::Dot => at_root,
                OperandKind::Variable(names) => at_root && names.len() == 1 && &*names[0] == "$",
                _ => false,
            };
        });
        found
    }

    /// Whether it may use what lies at this path (`["repo", "GetCommitMetadata"]`): a chain of fields that starts with
    /// the path, or a value on the way to it that is used as a whole (`index .repo $name`).
    pub fn calls(&self, path: &[&str]) -> bool {
        let touches =
            |names: &[Arc<str>]| !names.is_empty() && names.iter().zip(path).all(|(name, wanted)| **name == **wanted);
        let mut found = false;
        self.visit(&mut |kind, _| {
            found |= match kind {
                OperandKind::Field(names) | OperandKind::Chain(_, names) => touches(names),
                OperandKind::Variable(names) => touches(&names[1..]),
                _ => false,
            };
        });
        found
    }

    fn visit<'t>(&'t self, visit: &mut dyn FnMut(&'t OperandKind, bool)) {
        node::visit_operands(&self.parsed.root, true, &mut |operand, root| visit(&operand.kind, root));
        for body in self.parsed.defined.values() {
            node::visit_operands(body, false, &mut |operand, root| visit(&operand.kind, root));
        }
    }

    /// The source it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// 1-based line and column, in characters, of a byte offset.
fn position(source: &str, at: usize) -> (u32, u32) {
    let mut end = at.min(source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let before = &source[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u32, column as u32)
}
