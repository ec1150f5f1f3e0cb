//! The editor: one splice at a time, each proved. After every splice the text is read again and must mean exactly what
//! was intended (YML-1, YML-6); what cannot be proved is refused.

use std::ops::Range;

use super::Refusal;
use super::document::{Anchor, Kind, LARGEST, Node, Stream, Style, Tag, Way, same};
use super::fresh::{self, Fresh};
use super::scalar;
use crate::core::problem::Problem;

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
        if old == text && !node.is_null() && !(node.tag.is_some() && !is_str(node)) {
            return Ok(None);
        }
        if node.tag.is_some() && !is_str(node) {
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
                None => self.into_empty(node, &entry),
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
                    None => self.into_empty(node, &value.flow()),
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

    fn node(&self, way: &[usize]) -> Result<&Node, Refusal> {
        self.root().and_then(|r| r.at(way)).ok_or_else(|| Refusal::new("internal", "an edit lost its place"))
    }

    /// The key in front of the node at `way`, and whether its map is a flow map.
    fn key(&self, way: &[usize]) -> Option<(&Node, bool)> {
        let (last, parent) = way.split_last()?;
        match &self.root()?.at(parent)?.kind {
            Kind::Map { flow, entries } => Some((&entries.get(*last)?.0, *flow)),
            _ => None,
        }
    }

    fn key_text(&self, way: &[usize]) -> String {
        (1..=way.len())
            .rev()
            .find_map(|n| self.key(&way[..n]))
            .and_then(|(key, _)| key.text())
            .unwrap_or_default()
            .to_owned()
    }

    fn in_flow(&self, way: &[usize]) -> bool {
        let Some(root) = self.root() else { return false };
        (0..way.len()).filter_map(|n| root.at(&way[..n])).any(is_flow)
    }

    /// YML-4: what else changes its meaning because the node at `way`, or one around it, is anchored. `from` is the
    /// alias through which the edit came.
    fn sharing(&self, way: &[usize], from: Option<&[usize]>) -> Vec<Problem> {
        let Some(root) = self.root() else { return Vec::new() };
        let anchored = (0..=way.len()).filter_map(|n| Some((n, root.at(&way[..n])?.anchor?)));
        anchored.filter_map(|(n, anchor)| self.shared_anchor(way, n, anchor, from)).collect()
    }

    fn shared_anchor(&self, way: &[usize], depth: usize, anchor: usize, from: Option<&[usize]>) -> Option<Problem> {
        let mut uses = self.stream.uses(anchor);
        if uses.is_empty() {
            return None;
        }
        let line = self.node(way).map_or(1, |n| n.line);
        if let Some(from) = from.filter(|_| depth == way.len()) {
            uses.retain(|(way, _)| way != from);
            uses.insert(0, (way.to_vec(), line));
        }
        let places: Vec<String> =
            uses.iter().map(|(way, line)| format!("{} (line {line})", self.dotted(way))).collect();
        let name = self.stream.anchors.get(&anchor).map_or("", |a| a.name.as_str());
        let what = if depth == way.len() { "the value" } else { "a map around the value" };
        let count = if uses.len() == 1 { "1 other use".to_owned() } else { format!("{} other uses", uses.len()) };
        let text = format!("{what} is anchored as &{name} and has {count}: {}", places.join(", "));
        let mut problem = Problem::warning("anchor-shared", text);
        problem.line = Some(line);
        Some(problem)
    }

    /// A way as people write it.
    fn dotted(&self, way: &[usize]) -> String {
        let mut text = String::new();
        for n in 1..=way.len() {
            match self.key(&way[..n]) {
                Some((key, _)) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(key.text().unwrap_or("?"));
                }
                None => text.push_str(&format!("[{}]", way[n - 1])),
            }
        }
        text
    }

    fn properties_end(&self, node: &Node) -> Option<usize> {
        let anchor = node.anchor.and_then(|a| self.stream.anchors.get(&a)).map(|a| a.span.end);
        anchor.max(node.tag.as_ref().map(|t: &Tag| t.end))
    }

    /// The byte behind the last content of an entry.
    fn entry_end(&self, key: &Node, value: &Node) -> usize {
        let empty = matches!(value.kind, Kind::Scalar { .. }) && value.start == value.end;
        if !empty {
            return self.content_end(value);
        }
        if let Some(end) = self.properties_end(value) {
            return end;
        }
        let rest = &self.text[key.end..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest[blank..].starts_with(':') { key.end + blank + 1 } else { key.end }
    }

    /// The byte behind the last content of a node; nothing of the line after it.
    fn content_end(&self, node: &Node) -> usize {
        match &node.kind {
            Kind::Map { flow: false, entries } => entries.last().map_or(node.start, |(k, v)| self.entry_end(k, v)),
            Kind::Seq { flow: false, items } => items.last().map_or(node.start, |i| self.content_end(i)),
            Kind::Scalar { style: Style::Block, .. } => self.block_scalar_end(node),
            Kind::Scalar { .. } if node.start == node.end => self.properties_end(node).unwrap_or(node.start),
            _ => node.end,
        }
    }

    fn block_scalar_end(&self, node: &Node) -> usize {
        let body = &self.text[node.start..node.end];
        let header = self.text[..node.start].trim_end().lines().next_back().unwrap_or_default();
        let keeps = header
            .rfind(['|', '>'])
            .is_some_and(|at| header[at + 1..].chars().take_while(|c| !c.is_whitespace()).any(|c| c == '+'));
        if body.trim().is_empty() {
            return self.text[..node.start].trim_end().len();
        }
        if keeps {
            // Its trailing blank lines are content.
            let body = &body[..body.rfind('\n').unwrap_or(body.len())];
            return node.start + body.trim_end_matches('\r').len();
        }
        node.start + body.trim_end().len()
    }

    /// The dash of a block item, if only blanks or comment lines stand between.
    fn dash(&self, item: &Node) -> Option<usize> {
        let anchor = item.anchor.and_then(|a| self.stream.anchors.get(&a)).map(|a| a.span.start);
        let mut end = anchor.unwrap_or(item.start).min(item.start);
        loop {
            let start = self.line_start(end);
            let before = self.text[start..end].trim_end();
            let code = before.split(" #").next().unwrap_or_default().trim_end();
            if before.ends_with('-') {
                return Some(start + before.len() - 1);
            }
            if code.ends_with('-') {
                return Some(start + code.len() - 1);
            }
            // A tag before the value: `- !!map`.
            if let Some(at) = before.rfind("- !") {
                return Some(start + at);
            }
            if start == 0 || !(before.trim().is_empty() || before.trim_start().starts_with('#')) {
                return None;
            }
            end = start - 1;
        }
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |n| n + 1)
    }

    /// The byte behind the line break of the line that `at` is in.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |n| at + n + 1)
    }

    fn column(&self, at: usize) -> usize {
        self.text[self.line_start(at)..at].chars().count()
    }

    /// The line ending of the line before `at`, else the file's first (YML-5).
    fn eol(&self, at: usize) -> &'static str {
        let before = &self.text[..at];
        let crlf = match before.rfind('\n').or_else(|| self.text.find('\n')) {
            Some(n) => self.text[..n].ends_with('\r'),
            None => false,
        };
        if crlf { "\r\n" } else { "\n" }
    }

    /// New lines behind the line that holds `at`; a missing final newline stays missing (YML-5).
    fn lines_after(&self, at: usize, lines: &[String]) -> Splice {
        let end = self.line_end(at);
        let eol = self.eol(end);
        let block = lines.join(eol);
        if self.text[..end].ends_with('\n') {
            (end..end, format!("{block}{eol}"))
        } else {
            (end..end, format!("{eol}{block}"))
        }
    }

    /// New lines before the first item of a list, above the comments that lead to it.
    fn lines_before(&self, dash: usize, lines: &[String]) -> Result<Splice, Refusal> {
        let mut start = self.line_start(dash);
        if !self.text[start..dash].trim().is_empty() {
            let line = self.text[..dash].matches('\n').count() as u32 + 1;
            return Err(Refusal::new("yaml-unsafe", "the list begins inside another line").at(line));
        }
        while start > 0 {
            let above = self.line_start(start - 1);
            let line = self.text[above..start].trim();
            if !(line.is_empty() || line.starts_with('#')) {
                break;
            }
            start = above;
        }
        let eol = self.eol(start);
        Ok((start..start, format!("{}{eol}", lines.join(eol))))
    }

    /// Text into an empty `{}` or `[]`, keeping a blank inside it on both sides.
    fn into_empty(&self, node: &Node, text: &str) -> Splice {
        let inside = &self.text[node.start + 1..node.end - 1];
        let blank = if !inside.is_empty() && inside.chars().all(|c| c == ' ') { inside } else { "" };
        let at = node.start + 1;
        (at..at, format!("{blank}{text}"))
    }

    /// The dominant step of indentation between nested maps (YML-5).
    fn step(&self) -> usize {
        let mut votes = std::collections::BTreeMap::new();
        let mut count = |outer: usize, inner: usize| {
            if let Some(step) = inner.checked_sub(outer).filter(|s| *s > 0) {
                *votes.entry(step).or_insert(0usize) += 1;
            }
        };
        let mut visit = |_: &[usize], node: &Node| {
            let Kind::Map { flow: false, entries } = &node.kind else { return };
            let Some(outer) = entries.first().map(|(k, _)| self.column(k.start)) else { return };
            for (_, value) in entries {
                if let Kind::Map { flow: false, entries } = &value.kind
                    && let Some((key, _)) = entries.first()
                {
                    count(outer, self.column(key.start));
                }
            }
        };
        for root in &self.stream.roots {
            super::document::walk(root, &mut Vec::new(), &mut visit);
        }
        let best = votes.iter().max_by_key(|(step, n)| (**n, usize::MAX - **step));
        best.map_or(2, |(step, _)| *step)
    }

    /// The end of the document whose content would begin at `at`.
    fn document_end(&self, at: usize) -> usize {
        let mut offset = self.line_end(at);
        while offset < self.text.len() {
            let rest = &self.text[offset..];
            let marker = rest.starts_with("---") || rest.starts_with("...");
            if marker && rest[3..].starts_with([' ', '\t', '\r', '\n']) || rest == "---" || rest == "..." {
                break;
            }
            offset = self.line_end(offset);
        }
        offset
    }
}

fn names(anchors: &std::collections::BTreeMap<usize, Anchor>) -> impl Iterator<Item = &str> {
    anchors.values().map(|a| a.name.as_str())
}

fn is_flow(node: &Node) -> bool {
    matches!(node.kind, Kind::Map { flow: true, .. } | Kind::Seq { flow: true, .. })
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
