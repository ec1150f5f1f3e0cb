//! Reading a mapping field by field: typed, secrets filled in, mistakes collected, what nobody asked for remarked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::config::secret::{Reference, Secret, fill, mask};
use crate::config::yaml::{Content, Node, Position, Scalar};
use crate::core::problem::{Problem, Severity, nearest};

/// A mapping being read. Blocks inside it share its problems.
pub(super) struct Fields<'a> {
    node: Node,
    asked: Vec<String>,
    own: Option<Box<Fields<'a>>>,
    shared: Rc<Shared<'a>>,
}

struct Shared<'a> {
    problems: RefCell<&'a mut Vec<Problem>>,
    used: RefCell<BTreeMap<String, Secret>>,
}

impl<'a> Fields<'a> {
    /// Fills secrets into the texts of a document, keys included; `None` with a problem if it is no mapping.
    pub(super) fn new(
        mut root: Node,
        secrets: &BTreeMap<String, Secret>,
        problems: &'a mut Vec<Problem>,
    ) -> Option<Fields<'a>> {
        if root.is_null() {
            root.content = Content::Map(Vec::new());
        }
        if root.entries().is_none() {
            let text = format!("a service is a mapping, not {}", root.kind());
            problems.push(root.at.mark(Problem::error("ServiceInvalid", text)).upstream_rejects());
            return None;
        }
        let shared = Rc::new(Shared { problems: RefCell::new(problems), used: RefCell::default() });
        let mut fields = Fields::of(root, &shared);
        let mut node = std::mem::replace(&mut fields.node, Node { at: Position::default(), content: Content::Null });
        shared.substitute(&mut node, secrets);
        let own = node.field("lynceus").cloned();
        fields.node = node;
        fields.asked.push("lynceus".into());
        if let Some(own) = own {
            if own.entries().is_some() {
                fields.own = Some(Box::new(Fields::of(own, &shared)));
            } else {
                shared.push(own.at.mark(Problem::error("ServiceInvalid", "`lynceus` is a mapping")));
            }
        }
        Some(fields)
    }

    fn of(node: Node, shared: &Rc<Shared<'a>>) -> Fields<'a> {
        Fields { node, asked: Vec::new(), own: None, shared: shared.clone() }
    }

    fn field(&mut self, name: &str) -> Option<Node> {
        self.asked.push(name.to_owned());
        self.node.field(name).cloned()
    }

    /// A field that takes any single value as text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let node = self.field(name)?;
        let text = node.as_text().map(|text| text.into_owned());
        if text.is_none() {
            self.wrong(name, "a text", &node);
        }
        text
    }

    /// A field that is accepted and has no use.
    pub(super) fn unused(&mut self, name: &str) {
        self.asked.push(name.to_owned());
    }

    /// A boolean; absent is false.
    pub(super) fn bool(&mut self, name: &str) -> bool {
        self.optional_bool(name).unwrap_or(false)
    }

    /// A boolean; `"true"` as text is taken too, which Argo CD Notifications refuses.
    pub(super) fn optional_bool(&mut self, name: &str) -> Option<bool> {
        let node = self.field(name)?;
        let written = match &node.content {
            Content::Scalar(Scalar::Text(text)) => text.parse().ok(),
            _ => None,
        };
        if written.is_some() {
            self.tolerated(name, "a boolean", node.at);
        }
        let value = node.as_bool().or(written);
        if value.is_none() {
            self.wrong(name, "true or false", &node);
        }
        value
    }

    /// A whole number; as text too (CFG-09).
    pub(super) fn int(&mut self, name: &str) -> Option<i64> {
        let node = self.field(name)?;
        let written = match &node.content {
            Content::Scalar(Scalar::Text(text)) => text.trim().parse().ok(),
            _ => None,
        };
        if written.is_some() {
            self.tolerated(name, "a number", node.at);
        }
        let value = node.as_i64().or(written);
        if value.is_none() {
            self.wrong(name, "a whole number", &node);
        }
        value
    }

    /// A number.
    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        let node = self.field(name)?;
        let value = node.as_f64().or_else(|| node.as_text()?.trim().parse().ok()).filter(|n| n.is_finite());
        if value.is_none() {
            self.wrong(name, "a number", &node);
        }
        value
    }

    /// A span: a number of nanoseconds, as Go's encoding has it, or `1m30s` (CFG-08).
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        let node = self.field(name)?;
        if let Some(nanos) = node.as_i64() {
            return Some(Duration::from_nanos(nanos.max(0).unsigned_abs()));
        }
        let found = node.as_text().and_then(|text| span(&text));
        match found {
            Some(_) if !self.is_own() => self.tolerated(name, "a number of nanoseconds", node.at),
            Some(_) => {}
            None => self.wrong(name, "a duration such as 5s", &node),
        }
        found
    }

    /// A span that counts as absent where it cannot be read.
    pub(super) fn lenient_duration(&mut self, name: &str) -> Option<Duration> {
        let node = self.field(name)?;
        let found = node.as_text().and_then(|text| span(&text));
        if found.is_none() {
            let text = format!("`{name}` is no duration; the default is used");
            self.shared.push(node.at.mark(Problem::warning("ServiceInvalid", text)));
        }
        found
    }

    /// A list of mappings; others in it are errors.
    pub(super) fn list(&mut self, name: &str) -> Vec<Fields<'a>> {
        let Some(node) = self.field(name) else { return Vec::new() };
        let Some(items) = node.items() else {
            self.wrong(name, "a list", &node);
            return Vec::new();
        };
        let mut all = Vec::new();
        for item in items {
            if item.entries().is_some() {
                all.push(Fields::of(item.clone(), &self.shared));
            } else {
                self.wrong(name, "a list of mappings", item);
            }
        }
        all
    }

    /// A mapping in a field.
    pub(super) fn block<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
        let node = self.field(name)?;
        if node.entries().is_none() {
            self.wrong(name, "a mapping", &node);
            return None;
        }
        Some(read(&mut Fields::of(node, &self.shared)))
    }

    /// The `lynceus:` block; an empty one where there is none.
    pub(super) fn own<T>(&mut self, read: impl FnOnce(&mut Fields<'a>) -> T) -> T {
        let shared = self.shared.clone();
        let at = self.node.at;
        let own = self
            .own
            .get_or_insert_with(|| Box::new(Fields::of(Node { at, content: Content::Map(Vec::new()) }, &shared)));
        read(own)
    }

    fn is_own(&self) -> bool {
        // Only the block itself has no block of its own and no `lynceus` among the fields asked for.
        !self.asked.iter().any(|name| name == "lynceus")
    }

    /// Remarks what was not asked for. The texts of a block name it.
    pub(super) fn close(&mut self, what: &str) {
        let asked: Vec<&str> = self.asked.iter().map(String::as_str).collect();
        for problem in self.node.unknown_fields(what, &asked) {
            self.shared.push(problem);
        }
    }

    /// Remarks what was not asked for, here and in the own block, and gives the secrets that were used; `None` if any
    /// error was found.
    pub(super) fn finish(mut self, kind: &str) -> Option<Vec<Secret>> {
        let article = if kind == "email" { "an" } else { "a" };
        self.close(&format!("{article} {kind} service"));
        if let Some(own) = &mut self.own {
            own.close("`lynceus`");
        }
        let failed = self.shared.problems.borrow().iter().any(|problem| problem.severity == Severity::Error);
        let used = std::mem::take(&mut *self.shared.used.borrow_mut());
        (!failed).then(|| used.into_values().collect())
    }

    /// An error at this mapping: the service does not work.
    pub(super) fn error(&mut self, code: &'static str, text: &str) {
        self.shared.push(self.node.at.mark(Problem::error(code, text)));
    }

    /// A warning at this mapping.
    pub(super) fn warn(&mut self, code: &'static str, text: &str) {
        self.shared.push(self.node.at.mark(Problem::warning(code, text)));
    }

    fn wrong(&self, name: &str, wanted: &str, found: &Node) {
        let text = format!("`{name}` must be {wanted}, not {}", found.kind());
        self.shared.push(found.at.mark(Problem::error("ServiceInvalid", text)).upstream_rejects());
    }

    fn tolerated(&self, name: &str, wanted: &str, at: Position) {
        let text = format!("`{name}` is read although Argo CD Notifications wants {wanted} here");
        self.shared.push(at.mark(Problem::info("ServiceTolerated", text)).upstream_rejects());
    }
}

impl Shared<'_> {
    /// Keys are filled in too, so what is said about a wrong one would tell the secret in it (SEC-01).
    fn push(&self, mut problem: Problem) {
        let used = self.used.borrow();
        problem.text = mask(&problem.text, used.values());
        problem.hint = mask(&problem.hint, used.values());
        self.problems.borrow_mut().push(problem);
    }

    fn substitute(&self, node: &mut Node, secrets: &BTreeMap<String, Secret>) {
        let at = node.at;
        match &mut node.content {
            Content::Scalar(Scalar::Text(text)) => self.fill(text, at, secrets),
            Content::Seq(items) => items.iter_mut().for_each(|item| self.substitute(item, secrets)),
            Content::Map(entries) => {
                for entry in entries {
                    self.fill(&mut entry.key, entry.at, secrets);
                    self.substitute(&mut entry.value, secrets);
                }
            }
            _ => {}
        }
    }

    fn fill(&self, text: &mut String, at: Position, secrets: &BTreeMap<String, Secret>) {
        if !text.contains('$') {
            return;
        }
        let (filled, found) = fill(text, secrets);
        *text = filled;
        for (key, outcome) in found {
            let problem = match outcome {
                Reference::Filled => None,
                Reference::Trimmed => Some(Problem::info(
                    "SecretWhitespaceTrimmed",
                    format!("the line break at the end of the Secret's `{key}` was left out"),
                )),
                Reference::Missing => Some(
                    Problem::warning(
                        "SecretKeyMissing",
                        format!("the Secret has no key `{key}`; `${key}` stays as it is"),
                    )
                    .hint(match nearest(&key, secrets.keys().map(String::as_str)) {
                        Some(near) => format!("did you mean `${near}`?"),
                        None => "a key with a dot cannot be named this way".to_owned(),
                    }),
                ),
                Reference::OtherSecret => Some(
                    Problem::warning(
                        "SecretKeyMissing",
                        format!("`${key}:…` names another Secret, which is not possible here"),
                    )
                    .hint("add the key to the notifications Secret and write `$<key>`"),
                ),
                Reference::NotText => Some(Problem::warning(
                    "SecretKeyMissing",
                    format!("the Secret's `{key}` is not text; `${key}` stays"),
                )),
            };
            match (problem, secrets.get(&key)) {
                (Some(problem), _) if outcome != Reference::Trimmed => self.push(at.mark(problem)),
                (problem, Some(secret)) => {
                    problem.into_iter().for_each(|problem| self.push(at.mark(problem)));
                    self.used.borrow_mut().insert(key, secret.clone());
                }
                _ => {}
            }
        }
    }
}

/// Go's duration text: `1.5h`, `2m30s`, `500ms`. Negative ones are none.
pub(super) fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0.0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(total).ok()
}
