//! Which objects a request wants, and the stream of their changes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::store::Change;
use super::{BOOKMARK, Kind, Shared, text};

/// The objects of a list or watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    namespace: Option<String>,
    labels: Vec<Term>,
    fields: Vec<(String, String, bool)>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq)]
enum Term {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Wanted {
    /// From the selectors of a query.
    pub(super) fn parse(namespace: Option<&str>, labels: &str, fields: &str) -> Result<Wanted, String> {
        let labels = split(labels).into_iter().map(term).collect();
        let fields = fields.split(',').filter(|f| !f.is_empty()).map(|field| {
            let (path, value, same) = match (field.split_once("!="), field.split_once('=')) {
                (Some((path, value)), _) => (path, value, false),
                (None, Some((path, value))) => (path, value.trim_start_matches('='), true),
                _ => return Err(format!("{field:?} is no field selector")),
            };
            if !matches!(path, "metadata.name" | "metadata.namespace") {
                return Err(format!("field label not supported: {path}"));
            }
            Ok((path.to_owned(), value.to_owned(), same))
        });
        Ok(Wanted { namespace: namespace.map(str::to_owned), labels, fields: fields.collect::<Result<_, _>>()? })
    }

    /// Whether it is one of them.
    pub(super) fn takes(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        let label = |key: &str| meta["labels"][key].as_str();
        let named = |(path, value, same): &(String, String, bool)| {
            let field = path.strip_prefix("metadata.").unwrap_or_default();
            (text(&meta[field]) == value) == *same
        };
        self.namespace.as_ref().is_none_or(|ns| text(&meta["namespace"]) == ns)
            && self.fields.iter().all(named)
            && self.labels.iter().all(|term| match term {
                Term::In(key, values) => label(key).is_some_and(|v| values.iter().any(|w| w == v)),
                Term::NotIn(key, values) => label(key).is_none_or(|v| !values.iter().any(|w| w == v)),
                Term::Exists(key) => label(key).is_some(),
                Term::Missing(key) => label(key).is_none(),
            })
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn term(text: &str) -> Term {
    let values = |list: &str| -> Vec<String> {
        list.trim().trim_start_matches('(').trim_end_matches(')').split(',').map(|v| v.trim().to_owned()).collect()
    };
    if let Some((key, list)) = text.split_once(" notin ") {
        return Term::NotIn(key.trim().to_owned(), values(list));
    }
    if let Some((key, list)) = text.split_once(" in ") {
        return Term::In(key.trim().to_owned(), values(list));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Term::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()]);
    }
    if let Some((key, value)) = text.split_once('=') {
        return Term::In(key.trim().to_owned(), vec![value.trim_start_matches('=').trim().to_owned()]);
    }
    match text.strip_prefix('!') {
        Some(key) => Term::Missing(key.trim().to_owned()),
        None => Term::Exists(text.to_owned()),
    }
}

/// How a watch was asked for.
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    pub(super) since: u64,
    pub(super) bookmarks: bool,
    pub(super) limit: Option<Duration>,
}

struct Watch {
    shared: Arc<Shared>,
    kind: &'static Kind,
    asked: Asked,
    versions: tokio::sync::watch::Receiver<u64>,
    ends: Option<Instant>,
    over: bool,
}

/// Streams the changes after a version, one JSON object a line.
pub(super) fn stream(shared: Arc<Shared>, kind: &'static Kind, asked: Asked) -> Response {
    let versions = shared.version.subscribe();
    let ends = asked.limit.map(|limit| Instant::now() + limit);
    let watch = Watch { shared, kind, asked, versions, ends, over: false };
    let lines = futures::stream::unfold(watch, |mut watch| async {
        let text = watch.next().await?;
        Some((Ok::<_, std::io::Error>(text), watch))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

impl Watch {
    /// The next lines; `None` at the end of the watch's time.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.over {
                return None;
            }
            // Marked as seen before reading: what comes after wakes up again.
            self.versions.borrow_and_update();
            let text = self.news();
            if !text.is_empty() {
                return Some(text);
            }
            let end = self.ends.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                changed = self.versions.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep_until(end) => return None,
                () = tokio::time::sleep(BOOKMARK), if self.asked.bookmarks => {
                    return Some(line("BOOKMARK", &self.bookmark()));
                }
            }
        }
    }

    fn news(&mut self) -> String {
        let store = self.shared.store();
        let Some(changes) = store.since(self.asked.since) else {
            self.over = true;
            return line("ERROR", &super::answer::expired(self.asked.since));
        };
        let mine = changes.filter(|change| change.plural == self.kind.plural);
        let text: String = mine.filter_map(|change| self.asked.told(change)).collect();
        self.asked.since = store.version();
        text
    }

    fn bookmark(&self) -> Value {
        json!({
            "apiVersion": self.kind.api, "kind": self.kind.name,
            "metadata": {"resourceVersion": self.asked.since.to_string(), "creationTimestamp": null},
        })
    }
}

impl Asked {
    /// What a watcher with these wishes sees of a change.
    fn told(&self, change: &Change) -> Option<String> {
        if self.wanted.namespace.as_ref().is_some_and(|ns| *ns != change.namespace) {
            return None;
        }
        let before = change.before.as_ref().is_some_and(|object| self.wanted.takes(object));
        let after = !change.removed && self.wanted.takes(&change.after);
        let word = match (before, after) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(line(word, &change.after))
    }
}

fn line(word: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": word, "object": object}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_take_what_they_say() {
        let object = json!({"metadata": {"name": "a", "namespace": "n", "labels": {"t": "x", "u": "y"}}});
        for (labels, fields, expected) in [
            ("", "", true),
            ("t=x,u==y", "metadata.name=a", true),
            ("t in (w, x),u notin (z)", "", true),
            ("t!=x", "", false),
            ("t,!v", "metadata.namespace=n,metadata.name!=b", true),
            ("v", "", false),
            ("", "metadata.name=b", false),
        ] {
            let wanted = Wanted::parse(Some("n"), labels, fields).unwrap();
            assert_eq!(wanted.takes(&object), expected, "{labels} {fields}");
        }
        assert!(!Wanted::parse(Some("m"), "", "").unwrap().takes(&object));
        assert!(Wanted::parse(None, "", "spec.project=x").is_err());
    }
}
