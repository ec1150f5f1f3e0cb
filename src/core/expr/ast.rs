//! The tree of an expression, and its text for suggestions and for comparing two parts.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use super::builtins::Function;
use super::lexer::identifier;
use super::search::Search;
use crate::core::value::Value;

/// Deepest tree that is accepted; chains of binary operators count as one level, since all walks go along them in a
/// loop.
pub(super) const MAX_DEPTH: u16 = 250;

/// A part of an expression.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Names the node in the table of static kinds; shared by copies.
    pub id: u32,
    /// Where it stands, in characters from the start.
    pub at: u32,
    /// Levels below and including it.
    pub depth: u16,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    /// A list of constants.
    Constant(Value),
    /// The right side of `in`: texts only.
    TextSet(Arc<HashSet<Arc<str>>>),
    /// The right side of `in`: integers only, when the left side is one.
    IntSet(Arc<HashSet<i64>>),
    Name(Arc<str>),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    /// `matches` with a constant pattern.
    Matches(Box<Node>, Search),
    /// The reach of `?.`: a nil inside makes the whole of it nil.
    Chain(Box<Node>),
    Member {
        base: Box<Node>,
        property: Box<Node>,
        optional: bool,
        /// It is called.
        method: bool,
    },
    Slice {
        base: Box<Node>,
        from: Option<Box<Node>>,
        to: Option<Box<Node>>,
    },
    Call {
        callee: Box<Node>,
        arguments: Vec<Node>,
        /// The function is known when compiling and takes no nil.
        typed: bool,
    },
    Builtin(Box<Call>),
    Predicate(Box<Node>),
    Pointer(Arc<str>),
    Let {
        name: Arc<str>,
        value: Box<Node>,
        body: Box<Node>,
    },
    Sequence(Vec<Node>),
    If {
        ternary: bool,
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Box<Node>,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// `sum` of a written list: a + (b + (c + d)), which also joins texts.
    Sum(Vec<Node>),
}

/// A call of a built-in.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub name: &'static str,
    /// What it does; those with a predicate are done by the machine itself.
    pub run: Option<Function>,
    pub arguments: Vec<Node>,
    /// What the found elements of `filter`, `find`, `findLast` become.
    pub map: Option<Node>,
    /// `find` and `findLast` that stand for an index: nothing found is an error.
    pub throws: bool,
    /// `count` may stop here.
    pub threshold: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Plus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    /// Both sides are `int` by their static kinds: anything else is an error.
    EqualInt,
    /// Likewise for texts.
    EqualText,
    Unequal,
    UnequalInt,
    UnequalText,
    Less,
    More,
    LessOrEqual,
    MoreOrEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Otherwise,
}

impl Binary {
    /// The operator of a token, with its precedence.
    pub fn of(word: &str) -> Option<(Binary, u16)> {
        Some(match word {
            "or" | "||" => (Binary::Or, 10),
            "and" | "&&" => (Binary::And, 15),
            "==" => (Binary::Equal, 20),
            "!=" => (Binary::Unequal, 20),
            "<" => (Binary::Less, 20),
            ">" => (Binary::More, 20),
            ">=" => (Binary::MoreOrEqual, 20),
            "<=" => (Binary::LessOrEqual, 20),
            "in" => (Binary::In, 20),
            "matches" => (Binary::Matches, 20),
            "contains" => (Binary::Contains, 20),
            "startsWith" => (Binary::StartsWith, 20),
            "endsWith" => (Binary::EndsWith, 20),
            ".." => (Binary::Range, 25),
            "+" => (Binary::Add, 30),
            "-" => (Binary::Subtract, 30),
            "*" => (Binary::Multiply, 60),
            "/" => (Binary::Divide, 60),
            "%" => (Binary::Modulo, 60),
            "**" | "^" => (Binary::Power, 100),
            "??" => (Binary::Otherwise, 500),
            _ => return None,
        })
    }

    /// How it is written.
    pub fn word(self) -> &'static str {
        match self {
            Binary::Or => "or",
            Binary::And => "and",
            Binary::Equal | Binary::EqualInt | Binary::EqualText => "==",
            Binary::Unequal | Binary::UnequalInt | Binary::UnequalText => "!=",
            Binary::Less => "<",
            Binary::More => ">",
            Binary::LessOrEqual => "<=",
            Binary::MoreOrEqual => ">=",
            Binary::In => "in",
            Binary::Matches => "matches",
            Binary::Contains => "contains",
            Binary::StartsWith => "startsWith",
            Binary::EndsWith => "endsWith",
            Binary::Range => "..",
            Binary::Add => "+",
            Binary::Subtract => "-",
            Binary::Multiply => "*",
            Binary::Divide => "/",
            Binary::Modulo => "%",
            Binary::Power => "**",
            Binary::Otherwise => "??",
        }
    }

    fn precedence(self) -> u16 {
        Binary::of(self.word()).map_or(0, |(_, precedence)| precedence)
    }
}

impl Node {
    /// The nodes directly below.
    pub fn children(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::Unary(_, node) | Kind::Chain(node) | Kind::Predicate(node) | Kind::Matches(node, _) => vec![node],
            Kind::Binary(_, left, right) => vec![left, right],
            Kind::Member { base, property, .. } => vec![base, property],
            Kind::Slice { base, from, to } => {
                [Some(base), from.as_ref(), to.as_ref()].into_iter().flatten().map(Box::as_ref).collect()
            }
            Kind::Call { callee, arguments, .. } => std::iter::once(callee.as_ref()).chain(arguments).collect(),
            Kind::Builtin(call) => call.arguments.iter().chain(call.map.as_ref()).collect(),
            Kind::Let { value, body, .. } => vec![value, body],
            Kind::Sequence(nodes) | Kind::List(nodes) | Kind::Sum(nodes) => nodes.iter().collect(),
            Kind::If { condition, then, otherwise, .. } => vec![condition, then, otherwise],
            Kind::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => Vec::new(),
        }
    }

    /// The depth that its children give it.
    pub fn measure(&self) -> u16 {
        match &self.kind {
            Kind::Binary(_, left, right) => left.depth.max(right.depth + 1),
            _ => 1 + self.children().iter().map(|child| child.depth).max().unwrap_or(0),
        }
    }

    /// How many nodes it consists of.
    pub fn size(&self) -> usize {
        let (mut count, mut open) = (0, vec![self]);
        while let Some(node) = open.pop() {
            count += 1;
            open.extend(node.children());
        }
        count
    }

    /// The text of a text constant.
    pub fn as_text(&self) -> Option<&Arc<str>> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The expression as one would write it: parentheses only where they are needed.
pub(super) fn print(node: &Node) -> String {
    let mut out = String::new();
    write(&mut out, node, 0);
    out
}

/// Writes it so that it stands beside an operator of precedence `around`.
fn write(out: &mut String, node: &Node, around: u16) {
    match &node.kind {
        Kind::Nil => out.push_str("nil"),
        Kind::Bool(b) => _ = write!(out, "{b}"),
        Kind::Int(n) => _ = write!(out, "{n}"),
        Kind::Float(f) => _ = write!(out, "{f}"),
        Kind::Text(text) => quote(out, text),
        Kind::Bytes(bytes) => _ = write!(out, "b{:?}", String::from_utf8_lossy(bytes)),
        Kind::Constant(value) => _ = write!(out, "{value:?}"),
        Kind::TextSet(_) | Kind::IntSet(_) => out.push_str("[…]"),
        Kind::Name(name) => out.push_str(name),
        Kind::Unary(op, operand) => {
            out.push_str(match op {
                Unary::Not => "not ",
                Unary::Minus => "-",
                Unary::Plus => "+",
            });
            write(out, operand, if *op == Unary::Not { 50 } else { 90 });
        }
        Kind::Binary(op, left, right) => binary(out, *op, left, right, around),
        Kind::Matches(left, pattern) => {
            write(out, left, 21);
            out.push_str(" matches ");
            quote(out, pattern.as_str());
        }
        Kind::Chain(inner) | Kind::Predicate(inner) => write(out, inner, around),
        Kind::Member { base, property, optional, .. } => member(out, base, property, *optional),
        Kind::Slice { base, from, to } => {
            write(out, base, 1000);
            out.push('[');
            from.iter().for_each(|from| write(out, from, 0));
            out.push(':');
            to.iter().for_each(|to| write(out, to, 0));
            out.push(']');
        }
        Kind::Call { callee, arguments, .. } => {
            write(out, callee, 1000);
            list(out, "(", arguments, ")");
        }
        Kind::Builtin(call) => {
            out.push_str(call.name);
            list(out, "(", &call.arguments, ")");
        }
        Kind::Pointer(name) => _ = write!(out, "#{name}"),
        Kind::Let { name, value, body } => {
            _ = write!(out, "let {name} = ");
            write(out, value, 0);
            out.push_str("; ");
            write(out, body, 0);
        }
        Kind::Sequence(nodes) => {
            for (i, node) in nodes.iter().enumerate() {
                out.push_str(if i > 0 { "; " } else { "" });
                write(out, node, 0);
            }
        }
        Kind::If { condition, then, otherwise, .. } => {
            out.push('(');
            write(out, condition, 1);
            out.push_str(" ? ");
            write(out, then, 1);
            out.push_str(" : ");
            write(out, otherwise, 1);
            out.push(')');
        }
        Kind::List(nodes) => list(out, "[", nodes, "]"),
        Kind::Sum(nodes) => list(out, "sum([", nodes, "])"),
        Kind::Map(pairs) => map(out, pairs),
    }
}

fn map(out: &mut String, pairs: &[(Node, Node)]) {
    out.push('{');
    for (i, (key, value)) in pairs.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        match key.as_text() {
            Some(word) if identifier(word) => out.push_str(word),
            Some(word) => quote(out, word),
            None => {
                out.push('(');
                write(out, key, 0);
                out.push(')');
            }
        }
        out.push_str(": ");
        write(out, value, 0);
    }
    out.push('}');
}

fn binary(out: &mut String, op: Binary, left: &Node, right: &Node, around: u16) {
    // Left chains are written in a loop, innermost first.
    let mut spine = vec![(op, right)];
    let mut first = left;
    let mut closers = 0;
    let own = op.precedence();
    if own < around {
        out.push('(');
        closers += 1;
    }
    while let Kind::Binary(op, left, right) = &first.kind {
        let above = spine.last().map_or(Binary::Or, |(above, _)| *above);
        if op.precedence() < above.precedence() || (*op == Binary::Otherwise && above != Binary::Otherwise) {
            break;
        }
        spine.push((*op, right.as_ref()));
        first = left.as_ref();
    }
    write(out, first, spine.last().map_or(0, |(op, _)| op.precedence() + 1));
    for (op, right) in spine.into_iter().rev() {
        if op == Binary::Range {
            out.push_str("..");
        } else {
            _ = write!(out, " {} ", op.word());
        }
        write(out, right, op.precedence() + 1);
    }
    (0..closers).for_each(|_| out.push(')'));
}

fn member(out: &mut String, base: &Node, property: &Node, optional: bool) {
    let pointer = matches!(&base.kind, Kind::Pointer(name) if name.is_empty());
    match property.as_text() {
        Some(word) if identifier(word) => {
            if !pointer {
                write(out, base, 1000);
            }
            out.push_str(if optional { "?." } else { "." });
            out.push_str(word);
        }
        _ => {
            write(out, base, 1000);
            out.push_str(if optional { "?.[" } else { "[" });
            write(out, property, 0);
            out.push(']');
        }
    }
}

fn list(out: &mut String, open: &str, nodes: &[Node], close: &str) {
    out.push_str(open);
    for (i, node) in nodes.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write(out, node, 0);
    }
    out.push_str(close);
}

/// People write single quotes.
fn quote(out: &mut String, text: &str) {
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('\'');
}
