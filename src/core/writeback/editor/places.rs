//! Where things stand in the text and where new ones go: ends of entries, dashes, columns, line ends, steps (YML-5), and
//! who else an anchor serves (YML-4).

use std::collections::BTreeMap;

use super::{Editor, Splice};
use crate::core::problem::Problem;
use crate::core::writeback::Refusal;
use crate::core::writeback::document::{Kind, Node, Style, Tag, walk};

impl Editor {
    pub(super) fn node(&self, way: &[usize]) -> Result<&Node, Refusal> {
        self.root().and_then(|r| r.at(way)).ok_or_else(|| Refusal::new("internal", "an edit lost its place"))
    }

    /// The key in front of the node at `way`, and whether its map is a flow map.
    pub(super) fn key(&self, way: &[usize]) -> Option<(&Node, bool)> {
        let (last, parent) = way.split_last()?;
        match &self.root()?.at(parent)?.kind {
            Kind::Map { flow, entries } => Some((&entries.get(*last)?.0, *flow)),
            _ => None,
        }
    }

    pub(super) fn key_text(&self, way: &[usize]) -> String {
        (1..=way.len())
            .rev()
            .find_map(|n| self.key(&way[..n]))
            .and_then(|(key, _)| key.text())
            .unwrap_or_default()
            .to_owned()
    }

    pub(super) fn in_flow(&self, way: &[usize]) -> bool {
        let Some(root) = self.root() else { return false };
        (0..way.len()).filter_map(|n| root.at(&way[..n])).any(is_flow)
    }

    /// YML-4: what else changes its meaning because the node at `way`, or one around it, is anchored. `from` is the
    /// alias through which the edit came.
    pub(super) fn sharing(&self, way: &[usize], from: Option<&[usize]>) -> Vec<Problem> {
        let Some(root) = self.root() else { return Vec::new() };
        let anchored = (0..=way.len()).filter_map(|n| Some((n, root.at(&way[..n])?.anchor?)));
        anchored.filter_map(|(n, anchor)| self.shared_anchor(way, n, anchor, from)).collect()
    }

    pub(super) fn shared_anchor(
        &self,
        way: &[usize],
        depth: usize,
        anchor: usize,
        from: Option<&[usize]>,
    ) -> Option<Problem> {
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
    pub(super) fn dotted(&self, way: &[usize]) -> String {
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

    pub(super) fn properties_end(&self, node: &Node) -> Option<usize> {
        let anchor = node.anchor.and_then(|a| self.stream.anchors.get(&a)).map(|a| a.span.end);
        anchor.max(node.tag.as_ref().map(|t: &Tag| t.end))
    }

    /// The byte behind the last content of an entry.
    pub(super) fn entry_end(&self, key: &Node, value: &Node) -> usize {
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
    pub(super) fn content_end(&self, node: &Node) -> usize {
        match &node.kind {
            Kind::Map { flow: false, entries } => entries.last().map_or(node.start, |(k, v)| self.entry_end(k, v)),
            Kind::Seq { flow: false, items } => items.last().map_or(node.start, |i| self.content_end(i)),
            Kind::Scalar { style: Style::Block, .. } => self.block_scalar_end(node),
            Kind::Scalar { .. } if node.start == node.end => self.properties_end(node).unwrap_or(node.start),
            _ => node.end,
        }
    }

    pub(super) fn block_scalar_end(&self, node: &Node) -> usize {
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
    pub(super) fn dash(&self, item: &Node) -> Option<usize> {
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

    pub(super) fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |n| n + 1)
    }

    /// The byte behind the line break of the line that `at` is in.
    pub(super) fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |n| at + n + 1)
    }

    pub(super) fn column(&self, at: usize) -> usize {
        self.text[self.line_start(at)..at].chars().count()
    }

    /// The line ending of the line before `at`, else the file's first (YML-5).
    pub(super) fn eol(&self, at: usize) -> &'static str {
        let before = &self.text[..at];
        let crlf = match before.rfind('\n').or_else(|| self.text.find('\n')) {
            Some(n) => self.text[..n].ends_with('\r'),
            None => false,
        };
        if crlf { "\r\n" } else { "\n" }
    }

    /// New lines behind the line that holds `at`; a missing final newline stays missing (YML-5).
    pub(super) fn lines_after(&self, at: usize, lines: &[String]) -> Splice {
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
    pub(super) fn lines_before(&self, dash: usize, lines: &[String]) -> Result<Splice, Refusal> {
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
    pub(super) fn inside_empty(&self, node: &Node, text: &str) -> Splice {
        let inside = &self.text[node.start + 1..node.end - 1];
        let blank = if !inside.is_empty() && inside.chars().all(|c| c == ' ') { inside } else { "" };
        let at = node.start + 1;
        (at..at, format!("{blank}{text}"))
    }

    /// The dominant step of indentation between nested maps (YML-5).
    pub(super) fn step(&self) -> usize {
        let mut votes = BTreeMap::new();
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
            walk(root, &mut Vec::new(), &mut visit);
        }
        let best = votes.iter().max_by_key(|(step, n)| (**n, usize::MAX - **step));
        best.map_or(2, |(step, _)| *step)
    }

    /// The end of the document whose content would begin at `at`.
    pub(super) fn document_end(&self, at: usize) -> usize {
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

fn is_flow(node: &Node) -> bool {
    matches!(node.kind, Kind::Map { flow: true, .. } | Kind::Seq { flow: true, .. })
}
