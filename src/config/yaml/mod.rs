//! YAML as Argo CD's Go code reads users' documents: YAML 1.1 words, numbers in Go's own text form, field names in any
//! case, the last of two equal keys wins (notifications.md §2.4). Every node knows where it stands.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::core::problem::{Problem, nearest};

/// The most nodes one document may have, aliases counted as often as they are used. A document of the greatest
/// possible size (1 MiB) stays far below; nested aliases that multiply do not.
pub const MAX_NODES: usize = 200_000;

/// Where a node begins: line and column, both 1-based, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Position {
    /// Writes this position into a problem.
    pub fn mark(self, problem: Problem) -> Problem {
        problem.at(self.line, self.column)
    }
}

/// One node of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins. For an alias: where the alias stands.
    pub at: Position,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Nothing, `~` or `null`: a field with this value counts as absent.
    Null,
    /// One value.
    Scalar(Scalar),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping, in document order, each key once.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key as text: numbers in their text form, words like `yes` and `n` as written.
    pub key: String,
    /// Where the key begins.
    pub at: Position,
    /// Its value.
    pub value: Node,
}

/// A value with the type that YAML 1.1 gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Text: quoted, a block, or plain and nothing else.
    Text(String),
    /// `true`, `yes`, `on`, `y` and their opposites.
    Bool(bool),
    /// A whole number between `i64::MIN` and `u64::MAX`.
    Int(i128),
    /// Any other number.
    Float(f64),
}

impl Scalar {
    /// The text that a text field receives.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Scalar::Text(text) => Cow::Borrowed(text),
            Scalar::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Scalar::Int(number) => Cow::Owned(number.to_string()),
            Scalar::Float(number) => Cow::Owned(float_text(*number)),
        }
    }
}

impl Node {
    /// The text a text field receives; `None` for null, lists and mappings.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar.text()),
            _ => None,
        }
    }

    /// The text only if it is text in YAML's eyes: where numbers and booleans are not turned into text
    /// (`subscriptions`).
    pub fn as_strict_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.content {
            Content::Scalar(Scalar::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// The whole number, if it is one (`5.0` is).
    pub fn as_i64(&self) -> Option<i64> {
        match &self.content {
            Content::Scalar(Scalar::Int(number)) => i64::try_from(*number).ok(),
            Content::Scalar(Scalar::Float(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
                Some(*number as i64)
            }
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match &self.content {
            Content::Scalar(Scalar::Int(number)) => Some(*number as f64),
            Content::Scalar(Scalar::Float(number)) => Some(*number),
            _ => None,
        }
    }

    /// Whether it is null, that is: absent.
    pub fn is_null(&self) -> bool {
        matches!(self.content, Content::Null)
    }

    /// The items, if it is a list.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.content {
            Content::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if it is a mapping.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of exactly this key of a mapping whose keys are the user's own; null counts as absent.
    pub fn value(&self, key: &str) -> Option<&Node> {
        let entry = self.entries()?.iter().find(|entry| entry.key == key)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// The value of a field: the key of exactly this name, else one that differs only in case. Null counts as absent.
    pub fn field(&self, name: &str) -> Option<&Node> {
        self.value(name).or_else(|| {
            let entries = self.entries()?.iter();
            let mut matching = entries.filter(|entry| entry.key.eq_ignore_ascii_case(name) && !entry.value.is_null());
            matching.next().map(|entry| &entry.value)
        })
    }

    /// `UnknownField` remarks for every key of this mapping that is no field of these names; `what` says whose
    /// fields they would be ("a condition").
    pub fn unknown_fields(&self, what: &str, known: &[&str]) -> Vec<Problem> {
        let entries = self.entries().unwrap_or_default().iter();
        entries
            .filter(|entry| !known.iter().any(|name| name.eq_ignore_ascii_case(&entry.key)))
            .map(|entry| {
                let problem = Problem::info("UnknownField", format!("`{}` is no field of {what}; ignored", entry.key));
                let problem = entry.at.mark(problem);
                match nearest(&entry.key, known.iter().copied()) {
                    Some(word) => problem.hint(format!("did you mean `{word}`?")),
                    None => problem,
                }
            })
            .collect()
    }

    /// What kind of thing it is, for a sentence: "a list".
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Scalar(Scalar::Text(_)) => "a text",
            Content::Scalar(Scalar::Bool(_)) => "a boolean",
            Content::Scalar(Scalar::Int(_) | Scalar::Float(_)) => "a number",
            Content::Seq(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }
}

/// Reads the first document of a text. The problems are warnings (a key given twice); an empty text is null.
///
/// # Errors
/// One problem `YamlInvalid` with its position: not YAML, a key that is no scalar, an alias that is not defined or
/// contains itself, more than [`MAX_NODES`] nodes.
pub fn parse(text: &str) -> Result<(Node, Vec<Problem>), Problem> {
    // The last line of a block without line break at the end of the text has none either, as for Go's reader: the
    // hash of a condition depends on it.
    let options = granit_parser::options! { emit_comments: false, block_scalar_eof_without_line_feed: true };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| syntax(&error))?;
        if let Some(document) = builder.event(event, span)? {
            return Ok((document, builder.problems));
        }
    }
    Ok((Node { at: Position { line: 1, column: 1 }, content: Content::Null }, builder.problems))
}

fn syntax(error: &ScanError) -> Problem {
    let at = error.marker();
    invalid(
        format!("not valid YAML: {}", error.info()),
        Position { line: at.line() as u32, column: at.col() as u32 + 1 },
    )
}

fn invalid(text: impl Into<String>, at: Position) -> Problem {
    at.mark(Problem::error("YamlInvalid", text)).upstream_rejects()
}

/// A collection being read.
struct Open {
    at: Position,
    anchor: usize,
    /// Of a mapping: the key whose value comes next.
    key: Option<Key>,
    content: Content,
}

struct Key {
    text: String,
    at: Position,
    merge: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: Vec<Problem>,
}

impl Builder {
    /// Takes one event; gives the document once its root is complete.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Problem> {
        let at = Position { line: span.start.line() as u32, column: span.start.col() as u32 + 1 };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = (style == ScalarStyle::Plain).then(|| text.to_string());
                let content = scalar(text.into_owned(), style, tag.as_deref());
                self.place(Node { at, content }, anchor, 1, plain)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(at, anchor, Content::Seq(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.begin(at, anchor, Content::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => self.place(Node { at: done.at, content: done.content }, done.anchor, 1, None),
                None => Ok(None),
            },
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some((node, size)) => self.place(Node { at, ..node }, 0, size, None),
                None => Err(invalid("an alias inside the very node it names", at)),
            },
            _ => Ok(None),
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, content: Content) -> Result<Option<Node>, Problem> {
        if let Some(Open { content: Content::Map(_), key: None, .. }) = self.open.last() {
            return Err(invalid("a key must be a single value", at));
        }
        self.open.push(Open { at, anchor, key: None, content });
        Ok(None)
    }

    /// Puts a finished node where it belongs; a root is handed back. `plain` is an unquoted value as written.
    fn place(
        &mut self,
        node: Node,
        anchor: usize,
        size: usize,
        plain: Option<String>,
    ) -> Result<Option<Node>, Problem> {
        self.nodes += size;
        if self.nodes > MAX_NODES {
            return Err(invalid(format!("more than {MAX_NODES} values; aliases count as often as used"), node.at));
        }
        if anchor != 0 {
            let size = size_of(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else { return Ok(Some(node)) };
        match (&mut open.content, open.key.take()) {
            (Content::Map(_), None) => {
                let text = match (&node.content, &plain) {
                    // `n: 5` names a variable n; Go's reader would call it `false`, which nobody can mean.
                    (Content::Scalar(Scalar::Bool(_)), Some(word)) => word.clone(),
                    (Content::Scalar(scalar), _) => scalar.text().into_owned(),
                    _ => return Err(invalid(format!("a key must be a single value, not {}", node.kind()), node.at)),
                };
                open.key = Some(Key { text, at: node.at, merge: plain.as_deref() == Some("<<") });
            }
            (Content::Map(entries), Some(key)) if key.merge => merge_into(entries, node)?,
            (Content::Map(entries), Some(key)) => {
                if put(entries, Entry { key: key.text.clone(), at: key.at, value: node }) {
                    let text = format!("`{}` is given twice; the last one counts", key.text);
                    self.problems.push(key.at.mark(Problem::warning("YamlDuplicateKey", text)));
                }
            }
            (Content::Seq(items), _) => items.push(node),
            (Content::Null | Content::Scalar(_), _) => {}
        }
        Ok(None)
    }
}

/// Adds an entry; a later one replaces an earlier one of the same key, which gives `true`.
fn put(entries: &mut Vec<Entry>, entry: Entry) -> bool {
    let before = entries.len();
    entries.retain(|other| other.key != entry.key);
    entries.push(entry);
    entries.len() == before
}

/// `<<: *base`, `<<: [*a, *b]`: in document order like any other entry, the first of a list weighing most.
fn merge_into(entries: &mut Vec<Entry>, source: Node) -> Result<(), Problem> {
    let at = source.at;
    let sources = match source.content {
        Content::Seq(items) => items,
        _ => vec![source],
    };
    for source in sources.into_iter().rev() {
        let Content::Map(merged) = source.content else {
            return Err(invalid("`<<` takes a mapping or a list of mappings", at));
        };
        for entry in merged {
            put(entries, entry);
        }
    }
    Ok(())
}

fn size_of(node: &Node) -> usize {
    match &node.content {
        Content::Seq(items) => 1 + items.iter().map(size_of).sum::<usize>(),
        Content::Map(entries) => 1 + entries.iter().map(|entry| 1 + size_of(&entry.value)).sum::<usize>(),
        _ => 1,
    }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Content {
    let plain = match tag.and_then(Tag::core_suffix) {
        Some("str") => false,
        Some("int" | "float" | "bool" | "null") => true,
        _ => style == ScalarStyle::Plain,
    };
    if plain { resolve(text) } else { Content::Scalar(Scalar::Text(text)) }
}

/// The type of a plain value, by the rules of Go's YAML 1.1 reader. Things that look like a date stay text.
fn resolve(text: String) -> Content {
    let scalar = match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => number(&text).unwrap_or(Scalar::Text(text)),
    };
    Content::Scalar(scalar)
}

fn number(text: &str) -> Option<Scalar> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).map(Scalar::Int).or_else(|| {
        let number = is_float(&digits).then(|| digits.parse().ok()).flatten()?;
        Some(Scalar::Float(number))
    })
}

/// Go's `ParseInt(text, 0, 64)`, then `ParseUint`: `0x`, `0b`, `0o` and the octal leading zero.
fn integer(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| char::from(byte).is_digit(base)) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_good =
        digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && unsigned != ".";
    let exponent_good = exponent.is_none_or(|exponent| {
        let unsigned = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !unsigned.is_empty() && digits(unsigned)
    });
    mantissa_good && exponent_good
}

/// A float as Go's `FormatFloat(x, 'g', -1, 32)` writes it: the shortest digits that give the same 32-bit number, with
/// an exponent below 0.0001 and from a million on (`1e+06`).
pub fn float_text(number: f64) -> String {
    let number = number as f32;
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) || number == 0.0 {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests;
