//! New content for a document: maps, lists and strings as block lines or as flow text (YML-5, FMT-O).

use super::document::{Kind, Node, Style};
use super::scalar;

/// What is to be inserted.
#[derive(Clone, Debug)]
pub(super) enum Fresh {
    /// A string, quoted where it must be.
    Text(String),
    /// The boolean true.
    True,
    /// Entries in order.
    Map(Vec<(String, Fresh)>),
    /// Items in order.
    List(Vec<Fresh>),
}

impl Fresh {
    /// The value as the end of a chain of new keys: `[a, b]` gives `a: {b: value}`'s inner part below `a`.
    pub(super) fn below(self, keys: &[String]) -> Fresh {
        keys.iter().rev().fold(self, |value, key| Fresh::Map(vec![(key.clone(), value)]))
    }

    /// As flow text.
    pub(super) fn flow(&self) -> String {
        match self {
            Fresh::Text(text) => scalar::write(text, Style::Plain, true),
            Fresh::True => "true".to_owned(),
            Fresh::Map(entries) => {
                let inner: Vec<String> = entries
                    .iter()
                    .map(|(k, v)| format!("{}: {}", scalar::write(k, Style::Plain, true), v.flow()))
                    .collect();
                format!("{{{}}}", inner.join(", "))
            }
            Fresh::List(items) => format!("[{}]", items.iter().map(Fresh::flow).collect::<Vec<_>>().join(", ")),
        }
    }

    /// `key: value` as lines at a column.
    pub(super) fn block_entry(&self, key: &str, column: usize, step: usize) -> Vec<String> {
        let head = format!("{}{}:", " ".repeat(column), scalar::write(key, Style::Plain, false));
        match self.inline() {
            Some(text) => vec![format!("{head} {text}")],
            None => std::iter::once(head).chain(self.block_value(column, step)).collect(),
        }
    }

    /// The lines below the line of a key that stands at `column`: maps one step in, lists not indented.
    pub(super) fn block_value(&self, column: usize, step: usize) -> Vec<String> {
        match self {
            Fresh::Map(entries) => entries.iter().flat_map(|(k, v)| v.block_entry(k, column + step, step)).collect(),
            Fresh::List(items) => items.iter().flat_map(|item| item.block_item(column, 2, step)).collect(),
            Fresh::Text(_) | Fresh::True => Vec::new(),
        }
    }

    /// `- …` as lines; `gap` columns lie between the dash and its content.
    pub(super) fn block_item(&self, column: usize, gap: usize, step: usize) -> Vec<String> {
        let dash = format!("{}-{}", " ".repeat(column), " ".repeat(gap - 1));
        if let Some(text) = self.inline() {
            return vec![format!("{dash}{text}")];
        }
        let mut lines = match self {
            Fresh::Map(entries) => entries.iter().flat_map(|(k, v)| v.block_entry(k, column + gap, step)).collect(),
            _ => self.block_value(column + gap, step),
        };
        if let Some(first) = lines.first_mut() {
            *first = format!("{dash}{}", first.trim_start_matches(' '));
        }
        lines
    }

    fn inline(&self) -> Option<String> {
        match self {
            Fresh::Text(text) => Some(scalar::write(text, Style::Plain, false)),
            Fresh::True => Some("true".to_owned()),
            Fresh::Map(entries) => entries.is_empty().then(|| "{}".to_owned()),
            Fresh::List(items) => items.is_empty().then(|| "[]".to_owned()),
        }
    }

    /// The node it must read as.
    pub(super) fn node(&self) -> Node {
        match self {
            Fresh::Text(text) => string(text),
            Fresh::True => Node::fresh(Kind::Scalar { text: "true".to_owned(), style: Style::Plain }),
            Fresh::Map(entries) => Node::fresh(Kind::Map {
                flow: false,
                entries: entries.iter().map(|(k, v)| (string(k), v.node())).collect(),
            }),
            Fresh::List(items) => {
                Node::fresh(Kind::Seq { flow: false, items: items.iter().map(Fresh::node).collect() })
            }
        }
    }
}

/// A node that reads as this string.
pub(super) fn string(text: &str) -> Node {
    Node::fresh(Kind::Scalar { text: text.to_owned(), style: Style::AnyString })
}
