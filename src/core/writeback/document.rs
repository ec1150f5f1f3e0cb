//! A YAML text as a tree of byte spans: what an edit needs to know to leave everything else alone, and the limits
//! below which a text is looked at at all (YML-7).

use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle, Tag as ParserTag};

use super::Refusal;

/// Largest text that is read (YML-7), in bytes.
pub(super) const LARGEST: usize = 2 * 1024 * 1024;
/// Deepest nesting (YML-7).
const DEEPEST: usize = 64;
/// Most alias references (YML-7).
const MOST_ALIASES: usize = 10_000;

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Block,
    /// Only in expectations: any form that reads as a string.
    AnyString,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `text` is the value after escapes and folding.
    Scalar {
        text: String,
        style: Style,
    },
    /// Entries in order, keys of any kind.
    Map {
        flow: bool,
        entries: Vec<(Node, Node)>,
    },
    Seq {
        flow: bool,
        items: Vec<Node>,
    },
    /// The number of the anchor it names.
    Alias {
        anchor: usize,
    },
}

/// An explicit tag.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    /// Resolved text, `tag:yaml.org,2002:str`.
    pub(super) name: String,
    /// Byte after the token.
    pub(super) end: usize,
}

/// A node with its place. `start..end` is the node without anchor and tag; of a block collection only `start` means
/// something (its first key or item).
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) line: u32,
    pub(super) anchor: Option<usize>,
    pub(super) tag: Option<Tag>,
    pub(super) kind: Kind,
}

/// The way from a document's root to a node: entry or item numbers.
pub(super) type Way = Vec<usize>;

/// An anchor's token.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    pub(super) name: String,
    pub(super) span: Range<usize>,
}

/// All documents of one text.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// The roots, one a document.
    pub(super) roots: Vec<Node>,
    /// Anchors by number; numbers run through the whole stream.
    pub(super) anchors: BTreeMap<usize, Anchor>,
}

impl Node {
    /// A node that stands nowhere, for expectations.
    pub(super) fn fresh(kind: Kind) -> Node {
        Node { start: 0, end: 0, line: 0, anchor: None, tag: None, kind }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is null: nothing written, or one of null's words, and no tag.
    pub(super) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, style: Style::Plain } => {
                self.tag.is_none()
                    && (self.start == self.end || matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
            }
            _ => false,
        }
    }

    /// Entries of a map, none for anything else.
    pub(super) fn entries(&self) -> &[(Node, Node)] {
        match &self.kind {
            Kind::Map { entries, .. } => entries,
            _ => &[],
        }
    }

    /// Items of a sequence, none for anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Seq { items, .. } => items,
            _ => &[],
        }
    }

    /// The node at the end of a way.
    pub(super) fn at(&self, way: &[usize]) -> Option<&Node> {
        let Some((first, rest)) = way.split_first() else { return Some(self) };
        match &self.kind {
            Kind::Map { entries, .. } => entries.get(*first)?.1.at(rest),
            Kind::Seq { items, .. } => items.get(*first)?.at(rest),
            _ => None,
        }
    }

    /// Likewise, to change an expectation.
    pub(super) fn at_mut(&mut self, way: &[usize]) -> Option<&mut Node> {
        let Some((first, rest)) = way.split_first() else { return Some(self) };
        match &mut self.kind {
            Kind::Map { entries, .. } => entries.get_mut(*first)?.1.at_mut(rest),
            Kind::Seq { items, .. } => items.get_mut(*first)?.at_mut(rest),
            _ => None,
        }
    }

    /// The number of the one entry with this key; two of them make the text ambiguous.
    pub(super) fn entry(&self, key: &str) -> Result<Option<usize>, Refusal> {
        let mut found = None;
        for (number, (k, _)) in self.entries().iter().enumerate() {
            if k.text() == Some(key) {
                if found.is_some() {
                    return Err(Refusal::new("yaml-ambiguous", format!("the key {key:?} stands twice")).at(k.line));
                }
                found = Some(number);
            }
        }
        Ok(found)
    }

    /// The value of a key, `None` also if it stands twice.
    pub(super) fn value(&self, key: &str) -> Option<&Node> {
        self.entry(key).ok().flatten().map(|n| &self.entries()[n].1)
    }
}

impl Stream {
    /// Reads a text, without byte order mark.
    pub(super) fn read(text: &str) -> Result<Stream, Refusal> {
        let mut options = Options::default();
        options.emit_comments = false;
        options.emit_anchor_events = true;
        let mut builder = Builder::default();
        for next in Parser::new_from_str_with_options(text, options) {
            match next {
                Ok((event, span)) => builder.take(event, span)?,
                Err(error) => return Err(unparsable(text, error.marker().line(), &error.info())),
            }
        }
        let stream = Stream { roots: builder.roots, anchors: builder.anchors };
        stream.no_tabs(text)?;
        Ok(stream)
    }

    /// Every use of an anchor by an alias: the way to it inside the first document, and its line.
    pub(super) fn uses(&self, anchor: usize) -> Vec<(Way, u32)> {
        let mut found = Vec::new();
        if let Some(root) = self.roots.first() {
            walk(root, &mut Vec::new(), &mut |way, node| {
                if matches!(node.kind, Kind::Alias { anchor: a } if a == anchor) {
                    found.push((way.to_vec(), node.line));
                }
            });
        }
        found
    }

    /// The way to the node that carries an anchor.
    pub(super) fn anchored(&self, anchor: usize) -> Option<Way> {
        let mut found = None;
        walk(self.roots.first()?, &mut Vec::new(), &mut |way, node| {
            if node.anchor == Some(anchor) {
                found = Some(way.to_vec());
            }
        });
        found
    }

    /// YML-7: the parser lets tabs pass as indentation in a few places where other parsers do not.
    fn no_tabs(&self, text: &str) -> Result<(), Refusal> {
        if !text.contains('\t') {
            return Ok(());
        }
        let mut free: Vec<Range<usize>> = Vec::new();
        for root in &self.roots {
            walk(root, &mut Vec::new(), &mut |_, node| {
                let flow = matches!(node.kind, Kind::Map { flow: true, .. } | Kind::Seq { flow: true, .. });
                if flow || matches!(node.kind, Kind::Scalar { .. }) {
                    free.push(node.start..node.end);
                }
            });
        }
        let mut offset = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let body = line.trim_start_matches([' ', '\t']);
            let indent = &line[..line.len() - body.len()];
            let content = !body.trim_end().is_empty() && !body.starts_with('#');
            if content && indent.contains('\t') && !free.iter().any(|r| r.start < offset && offset < r.end) {
                return Err(tab(number as u32 + 1));
            }
            offset += line.len();
        }
        Ok(())
    }
}

fn tab(line: u32) -> Refusal {
    Refusal::new("yaml-unsafe", "a tab is used as indentation").at(line).hint("indent with spaces")
}

fn unparsable(text: &str, line: usize, why: &str) -> Refusal {
    let lines: Vec<&str> = text.lines().collect();
    // A tab is often noticed only at the end of the line before it.
    for number in [line, line + 1] {
        let Some(body) = number.checked_sub(1).and_then(|n| lines.get(n)) else { continue };
        let indent = &body[..body.len() - body.trim_start_matches([' ', '\t']).len()];
        if indent.contains('\t') {
            return tab(number as u32);
        }
    }
    let refusal = Refusal::new("yaml-invalid", format!("not readable as YAML: {why}")).at(line as u32);
    if text.contains("{{") {
        refusal.hint("template text can be edited only where it is quoted or inside a block scalar")
    } else {
        refusal
    }
}

/// Calls `visit` for every value node, parents first; keys are passed over.
pub(super) fn walk<'n>(node: &'n Node, way: &mut Way, visit: &mut dyn FnMut(&[usize], &'n Node)) {
    visit(way, node);
    let children: Vec<&Node> = match &node.kind {
        Kind::Map { entries, .. } => entries.iter().map(|(_, v)| v).collect(),
        Kind::Seq { items, .. } => items.iter().collect(),
        _ => return,
    };
    for (number, child) in children.into_iter().enumerate() {
        way.push(number);
        walk(child, way, visit);
        way.pop();
    }
}

#[derive(Default)]
struct Builder {
    roots: Vec<Node>,
    anchors: BTreeMap<usize, Anchor>,
    open: Vec<(Node, Option<Node>)>,
    aliases: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Refusal> {
        let Some(bytes) = span.byte_range() else {
            return Err(Refusal::new("internal", "the parser gave no byte positions"));
        };
        let line = span.start.line() as u32;
        let node = |anchor: usize, tag: Option<&ParserTag>, kind| Node {
            start: bytes.start,
            end: bytes.end,
            line,
            anchor: (anchor != 0).then_some(anchor),
            tag: tag.map(|t| Tag {
                name: format!("{}{}", t.handle(), t.suffix()),
                end: span.tag_span().and_then(|s| s.byte_range()).map_or(bytes.start, |r| r.end),
            }),
            kind,
        };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                self.put(node(anchor, tag.as_deref(), Kind::Scalar { text: text.into_owned(), style }))
            }
            Event::Alias(anchor) => {
                self.aliases += 1;
                if self.aliases > MOST_ALIASES {
                    let text = format!("more than {MOST_ALIASES} alias references");
                    return Err(Refusal::new("yaml-unsafe", text).at(line));
                }
                self.put(node(0, None, Kind::Alias { anchor }))
            }
            Event::SequenceStart(style, anchor, tag) => {
                let kind = Kind::Seq { flow: style == StructureStyle::Flow, items: Vec::new() };
                self.start(node(anchor, tag.as_deref(), kind))
            }
            Event::MappingStart(style, anchor, tag) => {
                let kind = Kind::Map { flow: style == StructureStyle::Flow, entries: Vec::new() };
                self.start(node(anchor, tag.as_deref(), kind))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((mut done, _)) => {
                    done.end = bytes.end;
                    self.put(done)
                }
                None => Ok(()),
            },
            Event::Anchor(number, name) => {
                self.anchors.insert(number, Anchor { name: name.into_owned(), span: bytes });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, node: Node) -> Result<(), Refusal> {
        if self.open.len() >= DEEPEST {
            return Err(Refusal::new("yaml-unsafe", format!("nested deeper than {DEEPEST} levels")).at(node.line));
        }
        self.open.push((node, None));
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), Refusal> {
        let Some((parent, key)) = self.open.last_mut() else {
            self.roots.push(node);
            return Ok(());
        };
        match &mut parent.kind {
            Kind::Map { entries, .. } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    // `{{ .x }}` reads as a map that is the key of a map; no YAML of Kubernetes has such a key.
                    if matches!(node.kind, Kind::Map { flow: true, .. }) {
                        let text = "template text ({{ … }}) where a value stands";
                        return Err(Refusal::new("yaml-invalid", text)
                            .at(node.line)
                            .hint("template text can be edited only where it is quoted or inside a block scalar"));
                    }
                    *key = Some(node);
                }
            },
            Kind::Seq { items, .. } => items.push(node),
            Kind::Scalar { .. } | Kind::Alias { .. } => {}
        }
        Ok(())
    }
}

/// Whether two trees mean the same: values, the plainness of scalars, tags, anchors, order. Places and flow or block
/// form do not count. An [`Style::AnyString`] on the left accepts every form that reads as a string.
pub(super) fn same(expected: &Node, found: &Node) -> bool {
    let properties = expected.anchor == found.anchor
        && expected.tag.as_ref().map(|t| &t.name) == found.tag.as_ref().map(|t| &t.name);
    properties
        && match (&expected.kind, &found.kind) {
            (Kind::Scalar { text: a, style: Style::AnyString }, Kind::Scalar { text: b, style }) => {
                a == b && (*style != Style::Plain || found.tag.is_some() || super::scalar::is_string(b))
            }
            (Kind::Scalar { text: a, style: s }, Kind::Scalar { text: b, style: t }) => {
                a == b && (*s == Style::Plain) == (*t == Style::Plain)
            }
            (Kind::Map { entries: a, .. }, Kind::Map { entries: b, .. }) => {
                a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(&x.0, &y.0) && same(&x.1, &y.1))
            }
            (Kind::Seq { items: a, .. }, Kind::Seq { items: b, .. }) => {
                a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y))
            }
            (Kind::Alias { anchor: a }, Kind::Alias { anchor: b }) => a == b,
            _ => false,
        }
}
