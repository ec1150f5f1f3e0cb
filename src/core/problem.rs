//! What is wrong with something a person wrote, said so that he can mend it: where, what, what would help.

use std::fmt;

/// How much a [`Problem`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Info,
    /// Works, but probably not as meant.
    Warning,
    /// The thing named does not work until it is corrected.
    Error,
}

impl Severity {
    /// The word used in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// A visible defect of configuration or operation.
///
/// `code` is stable: the kinds of image-updates.md §22 in kebab case (`config-invalid`), those of
/// notifications.md in camel case (`SecretKeyMissing`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// Stable kind.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The file or object it is in, as a person would name it: `ConfigMap argocd/argocd-notifications-cm`,
    /// `apps/web.yaml`, `Application argocd/web`. Filled in by whoever knows it; may be empty below that.
    pub object: String,
    /// The key inside the object; empty if the object as a whole is meant.
    pub key: String,
    /// 1-based position inside the key's text, where known.
    pub line: Option<u32>,
    /// 1-based column in characters, where known.
    pub column: Option<u32>,
    /// What is wrong.
    pub text: String,
    /// What would help; empty if nothing useful can be said.
    pub hint: String,
    /// The all-or-nothing parser of Argo CD Notifications would reject this (notifications.md CFG-16).
    pub upstream_rejects: bool,
}

impl Problem {
    /// An error without place, position or hint; add those with the methods below.
    pub fn error(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, text)
    }

    /// Why a text is not readable as YAML, and where.
    pub fn yaml(code: &'static str, error: &serde_saphyr::Error) -> Self {
        let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        let first = text.lines().next().unwrap_or_default();
        // The position is given by itself.
        let words = first.rsplit_once(" at line ").map_or(first, |(words, _)| words);
        let words = words.strip_prefix("error: ").unwrap_or(words);
        let words = words.split_once(": ").filter(|(place, _)| place.starts_with("line ")).map_or(words, |(_, w)| w);
        let problem = Problem::error(code, format!("not readable as YAML: {words}"));
        match error.location() {
            Some(location) => problem.at(location.line() as u32, location.column() as u32),
            None => problem,
        }
    }

    /// A warning, likewise.
    pub fn warning(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, text)
    }

    /// A remark, likewise.
    pub fn info(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Info, text)
    }

    fn new(code: &'static str, severity: Severity, text: impl Into<String>) -> Self {
        Problem {
            code,
            severity,
            object: String::new(),
            key: String::new(),
            line: None,
            column: None,
            text: text.into(),
            hint: String::new(),
            upstream_rejects: false,
        }
    }

    /// Names the file or object.
    pub fn in_object(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    /// Names the key.
    pub fn at_key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Names the position inside the key's text (1-based).
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self
    }

    /// Says what would help.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Says one more thing that would help.
    pub fn and_hint(mut self, hint: &str) -> Self {
        self.hint = if self.hint.is_empty() { hint.to_owned() } else { format!("{}; {hint}", self.hint) };
        self
    }

    /// Whether it is about a name that somebody subscribes with and nobody defines (notifications.md CFG-14).
    pub fn names_undefined(&self) -> bool {
        matches!(self.code, "TriggerUndefined" | "ServiceUndefined")
    }

    /// Marks it as something upstream's parser rejects whole (CFG-16).
    pub fn upstream_rejects(mut self) -> Self {
        self.upstream_rejects = true;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.object.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(column) = self.column {
                write!(f, ", column {column}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.text)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

/// The known word nearest to `wrong`, if it is near enough to be what was meant: at most a third of its letters
/// differ (Damerau-Levenshtein, case ignored).
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let limit = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (distance(&wrong, &word.to_lowercase()), word))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, word)| word)
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word_is_found_only_when_near() {
        let known = ["trunc", "toJson", "default", "image-list"];
        for (wrong, right) in [
            ("truncate", None),
            ("tojson", Some("toJson")),
            ("defualt", Some("default")),
            ("image-lsit", Some("image-list")),
            ("zebra", None),
        ] {
            assert_eq!(nearest(wrong, known), right, "{wrong}");
        }
    }

    #[test]
    fn a_problem_reads_from_place_to_help() {
        let p = Problem::error("config-invalid", "bad boolean \"yess\"")
            .in_object("Application argocd/web")
            .at_key("force-update")
            .at(1, 3)
            .hint("write true or false");
        assert_eq!(
            p.to_string(),
            "Application argocd/web: force-update: line 1, column 3: bad boolean \"yess\" (write true or false)"
        );
    }
}
