//! What compiles and is probably not meant (EXP-03).

use std::collections::HashSet;

use super::ast::{Binary, Kind, Node, Unary, print};
use super::builtins;
use super::position;

/// A remark on an expression; positions are 1-based, columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is odd.
    pub text: String,
    /// What to write instead.
    pub hint: String,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// The expression as a whole is no truth value: odd for a condition, and just what `oncePer` is.
    pub as_condition: bool,
}

/// What is known of the data that expressions look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vocabulary {
    /// Who writes the data, for sentences: "Argo CD".
    pub writer: &'static str,
    /// The variables there are.
    pub variables: &'static [&'static str],
    /// Fields that hold one of a few words, by their last two names.
    pub words: &'static [([&'static str; 2], &'static [&'static str])],
    /// Last names of fields that hold lists.
    pub lists: &'static [&'static str],
}

/// All remarks, in the order of the text.
pub(super) fn warnings(source: &str, root: &Node, known: &Vocabulary) -> Vec<Warning> {
    let mut found: Vec<(u32, String, String)> = Vec::new();
    let mut own: HashSet<&str> = known.variables.iter().copied().collect();
    let mut nodes = vec![root];
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        if let Kind::Let { name, .. } = &node.kind {
            own.insert(&**name);
        }
        let children = node.children();
        open.extend(&children);
        nodes.extend(children);
    }
    for node in nodes {
        match &node.kind {
            Kind::Binary(op @ (Binary::Equal | Binary::Unequal), left, right) => {
                for (a, b) in [(left, right), (right, left)] {
                    impossible_word(a, b, known, &mut found);
                    unquoted(b, &print_comparison(a, *op), &own, &mut found);
                }
            }
            Kind::Binary(Binary::In, left, right) => {
                if let Kind::List(items) = &right.kind {
                    for item in items {
                        impossible_word(left, item, known, &mut found);
                        unquoted(item, "in the list", &own, &mut found);
                    }
                }
            }
            Kind::Binary(Binary::Contains | Binary::StartsWith | Binary::EndsWith | Binary::Matches, left, right) => {
                text_operator(node, left, right, known, &mut found);
            }
            Kind::Binary(Binary::And | Binary::Or, left, right) => {
                for side in [left, right] {
                    not_boolean(side, known, &mut found);
                }
            }
            Kind::Unary(Unary::Not, operand) => not_boolean(operand, known, &mut found),
            Kind::Member { base, property, optional: false, method: false } => half_guarded(base, property, &mut found),
            _ => {}
        }
    }
    let mut whole = Vec::new();
    not_boolean(root, known, &mut whole);
    let all = found.into_iter().map(|found| (found, false)).chain(whole.into_iter().map(|found| (found, true)));
    let mut all: Vec<_> = all.collect();
    all.sort();
    all.dedup();
    all.into_iter()
        .map(|((at, text, hint), as_condition)| {
            let (line, column) = position(source, at);
            Warning { text, hint, line, column, as_condition }
        })
        .collect()
}

/// The names of an access from the end: `status`, `health` of `app.status?.health.status`.
fn last_names(node: &Node) -> (Option<&str>, Option<&str>) {
    let mut names = [None, None];
    let mut node = node;
    let mut count = 0;
    while count < 2 {
        match &node.kind {
            Kind::Chain(inner) => node = inner,
            Kind::Member { base, property, .. } => {
                names[count] = property.as_text().map(|text| &**text);
                count += 1;
                node = base;
            }
            Kind::Binary(Binary::Otherwise, left, _) if count == 0 => node = left,
            _ => break,
        }
    }
    (names[0], names[1])
}

/// The words that the field can hold that a node reads.
fn words(node: &Node, known: &Vocabulary) -> Option<&'static [&'static str]> {
    let (last, before) = last_names(node);
    let (last, before) = (last?, before?);
    known.words.iter().find(|(names, _)| *names == [before, last]).map(|(_, words)| *words)
}

fn impossible_word(field: &Node, value: &Node, known: &Vocabulary, found: &mut Vec<(u32, String, String)>) {
    let (Some(words), Some(text)) = (words(field, known), value.as_text()) else { return };
    // An empty text may stand for what is missing.
    if !text.is_empty() && !words.contains(&&**text) {
        let what = format!("{} never writes '{text}' into {}", known.writer, print(field));
        found.push((value.at, what, format!("possible are {}", words.join(", "))));
    }
}

fn print_comparison(side: &Node, op: Binary) -> String {
    format!("after `{} {}`", print(side), op.word())
}

fn unquoted(node: &Node, place: &str, own: &HashSet<&str>, found: &mut Vec<(u32, String, String)>) {
    let Kind::Name(name) = &node.kind else { return };
    if own.contains(&**name) || **name == *"$env" || builtins::find(name).is_some() {
        return;
    }
    let (text, hint) = match &**name {
        "null" | "none" | "None" | "undefined" | "NULL" => {
            (format!("`{name}` {place} is the name of a variable that does not exist"), "say `nil`".to_owned())
        }
        "True" | "TRUE" | "False" | "FALSE" | "yes" | "no" => {
            let right = if name.to_lowercase().starts_with(['t', 'y']) { "true" } else { "false" };
            (format!("`{name}` {place} is the name of a variable that does not exist"), format!("write `{right}`"))
        }
        _ => {
            let text = format!("`{name}` {place} is the name of a variable that does not exist, so it is nil");
            (text, format!("write '{name}' if the word is meant"))
        }
    };
    found.push((node.at, text, hint));
}

fn text_operator(node: &Node, left: &Node, right: &Node, known: &Vocabulary, found: &mut Vec<(u32, String, String)>) {
    let (Some(last), _) = last_names(left) else { return };
    let Kind::Binary(op, ..) = &node.kind else { return };
    if known.lists.contains(&last) {
        let text =
            format!("{} is a list, and `{}` looks into texts only: this is an error when run", print(left), op.word());
        let hint = match op {
            Binary::Contains => format!("write `{} in {}`", print(right), print(left)),
            _ => format!("write `any({}, # {} {})`", print(left), op.word(), print(right)),
        };
        found.push((node.at, text, hint));
    }
}

fn not_boolean(node: &Node, known: &Vocabulary, found: &mut Vec<(u32, String, String)>) {
    if matches!(&node.kind, Kind::Member { .. } | Kind::Chain(_)) && words(node, known).is_some() {
        let text = format!("{} is a text, never true or false", print(node));
        found.push((node.at, text, "compare it with a word".to_owned()));
    }
}

/// `a?.b.c`: if `b` is missing, this is still an error.
fn half_guarded(base: &Node, property: &Node, found: &mut Vec<(u32, String, String)>) {
    let Kind::Member { property: guarded, optional: true, .. } = &base.kind else { return };
    let (Some(name), Some(next)) = (guarded.as_text(), property.as_text()) else { return };
    let text = format!("`?.` guards only what stands before it: if `{name}` is missing, `.{next}` is an error");
    found.push((property.at, text, format!("write `{name}?.{next}`")));
}
