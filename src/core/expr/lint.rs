//! What compiles and is probably not meant (EXP-03).

use super::ast::Node;

/// A remark on an expression; positions are 1-based.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is odd.
    pub text: String,
    /// What to write instead.
    pub hint: String,
    /// Line.
    pub line: u32,
    /// Column in characters.
    pub column: u32,
}

pub(super) fn warnings(_source: &str, _root: &Node) -> Vec<Warning> {
    Vec::new()
}
