//! The editor: one splice at a time, each proved. After every splice the text is read again and must mean exactly what
//! was intended (YML-1, YML-6); what cannot be proved is refused.

use std::ops::Range;

use super::Refusal;
use super::document::{Anchor, Kind, LARGEST, Node, Stream, Style, Way, same};
use super::fresh::{self, Fresh};
use super::scalar;
use crate::core::problem::Problem;

mod places;

const BOM: &str = "\u{FEFF}";

/// A YAML text under change. Edits reach the first document only; the others keep their bytes.
pub(super) struct Editor {
    bom: bool,
    text: String,
    stream: Stream,
    warnings: Vec<Problem>,
}

type Splice = (Range<usize>, String);

impl Editor {
    /// Opens a file's bytes (YML-7).
    pub(super) fn open(bytes: &[u8]) -> Result<Editor, Refusal> {
        if bytes.len() > LARGEST {
            let text = format!("the file has {} bytes, at most {LARGEST} are edited", bytes.len());
            return Err(Refusal::new("yaml-unsafe", text));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Refusal::new("yaml-unsafe", "the file is not UTF-8 text"));
        };
        let (bom, text) = text.strip_prefix(BOM).map_or((false, text), |rest| (true, rest));
        Ok(Editor { bom, text: text.to_owned(), stream: Stream::read(text)?, warnings: Vec::new() })
    }

    /// The bytes as they are now.
    pub(super) fn bytes(&self) -> Vec<u8> {
        format!("{}{}", if self.bom { BOM } else { "" }, self.text).into_bytes()
    }

    /// `anchor-shared` warnings of the edits so far.
    pub(super) fn into_warnings(self) -> Vec<Problem> {
        self.warnings
    }

    /// The first document's root; `None` where the text holds no document.
    pub(super) fn root(&self) -> Option<&Node> {
        self.stream.roots.first()
    }

    /// How many documents there are.
    pub(super) fn documents(&self) -> usize {
        self.stream.roots.len()
    }

    /// Whether nothing but white space stands here.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// A node, following an alias to what it names.
    pub(super) fn resolved(&self, way: &[usize]) -> Option<&Node> {
        let root = self.root()?;
        let node = root.at(way)?;
        match node.kind {
            Kind::Alias { anchor } => root.at(&self.stream.anchored(anchor)?),
            _ => Some(node),
        }
    }

    /// The way to the node that an alias node names.
    pub(super) fn anchored(&self, anchor: usize) -> Option<Way> {
        self.stream.anchored(anchor)
    }

    /// Makes the scalar at `way` the string `text`; false if it says so already.
    pub(super) fn set(&mut self, way: &[usize], text: &str) -> Result<bool, Refusal> {
        let node = self.node(way)?;
        if let Kind::Alias { anchor } = node.kind {
            let line = node.line;
            let target = self
                .stream
                .anchored(anchor)
                .filter(|w| self.root().and_then(|r| r.at(w)).is_some_and(|n| matches!(n.kind, Kind::Scalar { .. })));
            let Some(target) = target else {
                return Err(
                    Refusal::new("yaml-unsafe", "the value is an alias of something that is no scalar").at(line)
                );
            };
            return self.set_shared(&target, text, Some(way));
        }
        self.set_shared(way, text, None)
    }

    /// `anchor-shared`, were the scalar at `way` set.
    pub(super) fn shared_at(&self, way: &[usize]) -> Vec<Problem> {
        match self.node(way).map(|node| &node.kind) {
            Ok(Kind::Alias { anchor }) => {
                self.stream.anchored(*anchor).map(|target| self.sharing(&target, Some(way))).unwrap_or_default()
            }
            Ok(_) => self.sharing(way, None),
            Err(_) => Vec::new(),
        }
    }

    fn set_shared(&mut self, way: &[usize], text: &str, from: Option<&[usize]>) -> Result<bool, Refusal> {
        let Some(replacement) = self.replacement(way, text)? else { return Ok(false) };
        let mut expected = self.stream.roots.clone();
        if let Some(node) = expected.first_mut().and_then(|r| r.at_mut(way)) {
            node.kind = Kind::Scalar { text: text.to_owned(), style: Style::AnyString };
        }
        let shared = self.sharing(way, from);
        self.apply(vec![replacement], expected)?;
        self.warnings.extend(shared);
        Ok(true)
    }

    /// Makes the scalar at `way` the boolean true; false if it is.
    pub(super) fn set_true(&mut self, way: &[usize]) -> Result<bool, Refusal> {
        let node = self.node(way)?;
        match &node.kind {
            Kind::Scalar { text, style: Style::Plain } if matches!(text.as_str(), "true" | "True" | "TRUE") => {
                Ok(false)
            }
            Kind::Scalar { style: Style::Plain | Style::Single | Style::Double, .. }
                if node.tag.is_none() && node.start < node.end =>
            {
                let splice = (node.start..node.end, "true".to_owned());
                let mut expected = self.stream.roots.clone();
                if let Some(node) = expected.first_mut().and_then(|r| r.at_mut(way)) {
                    node.kind = Kind::Scalar { text: "true".to_owned(), style: Style::Plain };
                }
                self.apply(vec![splice], expected)?;
                Ok(true)
            }
            _ => Err(Refusal::new("yaml-unsafe", "a boolean is expected here").at(node.line)),
        }
    }

    fn replacement(&self, way: &[usize], text: &str) -> Result<Option<Splice>, Refusal> {
        let node = self.node(way)?;
        let Kind::Scalar { text: old, style } = &node.kind else {
            return Err(unexpected(node, self.key_text(way)));
        };
        if old == text && !node.is_null() && is_str(node) {
            return Ok(None);
        }
        if !is_str(node) {
            let tag = node.tag.as_ref().map_or("", |t| t.name.as_str());
            return Err(Refusal::new("yaml-unsafe", format!("the value carries the tag {tag}")).at(node.line));
        }
        if *style == Style::Block {
            return Err(Refusal::new("yaml-unsafe", "the value is a block scalar").at(node.line));
        }
        if self.text[node.start..node.end].contains('\n') {
            return Err(Refusal::new("yaml-unsafe", "the value runs over several lines").at(node.line));
        }
        let flow = self.in_flow(way);
        let fresh = scalar::write(text, *style, flow);
        if node.start < node.end {
            return Ok(Some((node.start..node.end, fresh)));
        }
        let (at, prefix) = self.empty_place(way)?;
        Ok(Some((at..at, format!("{prefix}{fresh}"))))
    }

    /// Where a value that is not written yet goes, and what must stand before it.
    fn empty_place(&self, way: &[usize]) -> Result<(usize, &'static str), Refusal> {
        let node = self.node(way)?;
        if let Some(end) = self.properties_end(node) {
            return Ok((end, " "));
        }
        let Some((key, flow)) = self.key(way).map(|(key, flow)| (key.end, flow)) else {
            return Ok((node.start, " "));
        };
        let blank = self.text[key..].len() - self.text[key..].trim_start_matches([' ', '\t']).len();
        if self.text[key + blank..].starts_with(':') {
            return Ok((key + blank + 1, " "));
        }
        if flow {
            return Ok((key, ": "));
        }
        Err(Refusal::new("yaml-unsafe", "the key has no value and no colon").at(node.line))
    }

    /// Puts an entry behind the first `after` entries of the map at `way`.
    pub(super) fn add_entry(&mut self, way: &[usize], after: usize, key: &str, value: Fresh) -> Result<(), Refusal> {
        let node = self.node(way)?;
        let Kind::Map { flow, entries } = &node.kind else { return Err(unexpected(node, self.key_text(way))) };
        let after = if after == 0 { entries.len() } else { after.min(entries.len()) };
        let splice = if *flow {
            let entry = format!("{}: {}", scalar::write(key, Style::Plain, true), value.flow());
            match entries[..after].last() {
                Some((k, v)) => {
                    let end = self.entry_end(k, v);
                    (end..end, format!(", {entry}"))
                }
                None => self.inside_empty(node, &entry),
            }
        } else {
            let Some((k, v)) = entries[..after].last() else {
                return Err(Refusal::new("yaml-unsafe", "the map has no entry to write after").at(node.line));
            };
            let column = self.column(entries[0].0.start);
            self.lines_after(self.entry_end(k, v), &value.block_entry(key, column, self.step()))
        };
        let mut expected = self.stream.roots.clone();
        if let Some(Kind::Map { entries, .. }) = expected.first_mut().and_then(|r| r.at_mut(way)).map(|n| &mut n.kind) {
            entries.insert(after, (fresh::string(key), value.node()));
        }
        let shared = self.sharing(way, None);
        self.apply(vec![splice], expected)?;
        self.warnings.extend(shared);
        Ok(())
    }

    /// Puts a map or list where null stands as the value of a key.
    pub(super) fn fill(&mut self, way: &[usize], value: Fresh) -> Result<(), Refusal> {
        let node = self.node(way)?;
        if !node.is_null() || node.anchor.is_some() || self.key(way).is_none() {
            return Err(unexpected(node, self.key_text(way)));
        }
        let (at, prefix) = match node.start < node.end {
            true => (node.start, ""),
            false => self.empty_place(way)?,
        };
        let end = node.end.max(at);
        let splices = if self.in_flow(way) {
            vec![(at..end, format!("{prefix}{}", value.flow()))]
        } else {
            let column = way.len().checked_sub(1).and_then(|n| self.root()?.at(&way[..n]));
            let Some(column) = column.and_then(|m| m.entries().first()).map(|(k, _)| self.column(k.start)) else {
                return Err(unexpected(node, self.key_text(way)));
            };
            let lines = value.block_value(column, self.step());
            // An explicit null goes away together with the blanks before it.
            let start = at - (self.text[..at].len() - self.text[..at].trim_end_matches([' ', '\t']).len());
            let mut splices = vec![self.lines_after(end, &lines)];
            if node.start < node.end {
                splices.insert(0, (start..end, String::new()));
            }
            splices
        };
        let mut expected = self.stream.roots.clone();
        if let Some(node) = expected.first_mut().and_then(|r| r.at_mut(way)) {
            node.kind = value.node().kind;
        }
        self.apply(splices, expected)
    }

    /// Puts the first entries into a text whose first document holds nothing; `head` opens a text that is blank.
    pub(super) fn begin(&mut self, key: &str, value: Fresh, head: &str) -> Result<(), Refusal> {
        let lines = value.block_entry(key, 0, self.step());
        let end = match self.root() {
            None => self.text.len(),
            Some(root) if root.is_null() && root.start == root.end && root.anchor.is_none() => {
                self.document_end(root.start)
            }
            Some(root) => return Err(unexpected(root, String::new())),
        };
        let eol = self.eol(end);
        let mut text = String::new();
        let before = &self.text[..end];
        if self.is_blank() {
            text.push_str(head);
        } else {
            if !before.ends_with('\n') {
                text.push_str(eol);
            }
            if before.lines().next_back().is_some_and(|l| l.trim_start().starts_with('#')) {
                text.push_str(eol);
            }
        }
        for line in &lines {
            text.push_str(line);
            text.push_str(eol);
        }
        if !self.is_blank() && !self.text.ends_with('\n') && end == self.text.len() {
            text.truncate(text.len() - eol.len());
        }
        let start = if self.is_blank() { 0 } else { end };
        let map = Node::fresh(Kind::Map { flow: false, entries: vec![(fresh::string(key), value.node())] });
        let mut expected = self.stream.roots.clone();
        match expected.first_mut() {
            Some(root) => *root = map,
            None => expected.push(map),
        }
        self.apply(vec![(start..end, text)], expected)
    }

    /// Puts an item before item number `index` of the sequence at `way`, or at its end.
    pub(super) fn add_item(&mut self, way: &[usize], index: usize, value: Fresh) -> Result<(), Refusal> {
        let node = self.node(way)?;
        let Kind::Seq { flow, items } = &node.kind else { return Err(unexpected(node, self.key_text(way))) };
        let index = index.min(items.len());
        let splice = if *flow {
            match items.get(index) {
                Some(next) => {
                    let start =
                        next.anchor.and_then(|a| self.stream.anchors.get(&a)).map_or(next.start, |a| a.span.start);
                    (start..start, format!("{}, ", value.flow()))
                }
                None => match items.last() {
                    Some(last) => {
                        let end = self.content_end(last);
                        (end..end, format!(", {}", value.flow()))
                    }
                    None => self.inside_empty(node, &value.flow()),
                },
            }
        } else {
            let Some(dash) = items.first().and_then(|first| self.dash(first)) else {
                return Err(Refusal::new("yaml-unsafe", "the list has no plain first item").at(node.line));
            };
            let column = self.column(dash);
            let gap = items
                .iter()
                .filter(|i| matches!(i.kind, Kind::Map { flow: false, .. }))
                .filter_map(|i| Some((self.dash(i)?, i.start)))
                .find(|(dash, start)| self.line_start(*dash) == self.line_start(*start))
                .map_or(2, |(dash, start)| start - dash);
            let lines = value.block_item(column, gap, self.step());
            match index.checked_sub(1) {
                Some(before) => self.lines_after(self.content_end(&items[before]), &lines),
                None => self.lines_before(dash, &lines)?,
            }
        };
        let mut expected = self.stream.roots.clone();
        if let Some(Kind::Seq { items, .. }) = expected.first_mut().and_then(|r| r.at_mut(way)).map(|n| &mut n.kind) {
            items.insert(index, value.node());
        }
        self.apply(vec![splice], expected)
    }

    /// Takes one entry of the map at `way` away: its lines in a block, its text and one comma in a flow map.
    pub(super) fn remove_entry(&mut self, way: &[usize], index: usize) -> Result<(), Refusal> {
        let node = self.node(way)?;
        let Kind::Map { flow, entries } = &node.kind else { return Err(unexpected(node, self.key_text(way))) };
        let (Some((key, value)), true) = (entries.get(index), entries.len() > 1) else {
            return Err(Refusal::new("yaml-unsafe", "the only entry of a map cannot be removed").at(node.line));
        };
        let end = self.entry_end(key, value);
        let range = if *flow {
            match index.checked_sub(1).map(|n| &entries[n]) {
                Some((k, v)) => self.entry_end(k, v)..end,
                None => key.start..entries[1].0.start,
            }
        } else {
            let start = self.line_start(key.start);
            let alone = self.text[start..key.start].chars().all(|c| c == ' ');
            match (alone, entries.get(index + 1)) {
                (true, _) => {
                    let stop = self.line_end(end);
                    let tail = stop == self.text.len() && !self.text.ends_with('\n') && start > 0;
                    let before = self.text[..start].trim_end_matches('\n').trim_end_matches('\r').len();
                    if tail { before..stop } else { start..stop }
                }
                (false, Some((next, _))) if self.text[end..next.start].trim().is_empty() => key.start..next.start,
                (false, _) => {
                    let text = "the entry shares its line with other text and cannot be removed";
                    return Err(Refusal::new("yaml-unsafe", text).at(key.line));
                }
            }
        };
        let mut expected = self.stream.roots.clone();
        if let Some(Kind::Map { entries, .. }) = expected.first_mut().and_then(|r| r.at_mut(way)).map(|n| &mut n.kind) {
            entries.remove(index);
        }
        self.apply(vec![(range, String::new())], expected)
    }

    /// YML-6: splices, reads again, and compares the whole stream with what was intended.
    fn apply(&mut self, mut splices: Vec<Splice>, expected: Vec<Node>) -> Result<(), Refusal> {
        splices.sort_by_key(|(range, _)| range.start);
        let mut text = String::with_capacity(self.text.len() + 64);
        let mut done = 0;
        for (range, fresh) in &splices {
            if range.start < done {
                return Err(Refusal::new("yaml-unsafe", "two changes overlap"));
            }
            text.push_str(&self.text[done..range.start]);
            text.push_str(fresh);
            done = range.end;
        }
        text.push_str(&self.text[done..]);
        let line = splices.first().map_or(1, |(r, _)| self.text[..r.start].matches('\n').count() as u32 + 1);
        if text.len() > LARGEST {
            return Err(Refusal::new("yaml-unsafe", format!("the file would grow beyond {LARGEST} bytes")));
        }
        let stream = Stream::read(&text).map_err(|refusal| {
            Refusal::new("yaml-unsafe", format!("the change would break the file: {}", refusal.text)).at(line)
        })?;
        let alike = stream.roots.len() == expected.len()
            && expected.iter().zip(&stream.roots).all(|(a, b)| same(a, b))
            && names(&self.stream.anchors).eq(names(&stream.anchors));
        if !alike {
            return Err(Refusal::new("yaml-unsafe", "the change would alter more than the value").at(line));
        }
        self.text = text;
        self.stream = stream;
        Ok(())
    }
}

fn names(anchors: &std::collections::BTreeMap<usize, Anchor>) -> impl Iterator<Item = &str> {
    anchors.values().map(|a| a.name.as_str())
}

fn is_str(node: &Node) -> bool {
    node.tag.as_ref().is_none_or(|t| t.name == "tag:yaml.org,2002:str")
}

/// What a path leads to is not what can be edited there.
pub(super) fn unexpected(node: &Node, key: String) -> Refusal {
    let kind = match &node.kind {
        Kind::Map { .. } => "map",
        Kind::Seq { .. } => "sequence",
        Kind::Alias { .. } => "alias",
        Kind::Scalar { .. } if node.is_null() => "null",
        Kind::Scalar { .. } => "scalar",
    };
    let place = if key.is_empty() { "root".to_owned() } else { format!("key {key}") };
    Refusal::new("yaml-unsafe", format!("unexpected type {kind} for {place}")).at(node.line)
}
