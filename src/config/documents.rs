//! Kubernetes documents in files: the ConfigMap and the Secret among the documents of a file, with `stringData` and
//! base64 `data` (notifications.md §20).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::secret::Secret;
use crate::core::problem::Problem;

/// The readable documents of a YAML or JSON text, and a problem with its position for each other: a broken document
/// costs none of its neighbours.
pub fn each(text: &str) -> (Vec<Json>, Vec<Problem>) {
    let whole = match all(text) {
        Ok(documents) => return (documents, Vec::new()),
        Err(problem) => problem,
    };
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for document in split(text) {
        match all(&document) {
            Ok(documents) => found.extend(documents),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        problems.push(whole);
    }
    (found, problems)
}

/// A text cut before its document markers, each piece with the empty lines in front that keep its line numbers.
/// `---` at the start of a line is a marker even inside a block scalar or brackets (YAML 1.2, 9.1.2).
fn split(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
            pieces.push("\n".repeat(number));
        }
        pieces.last_mut().expect("there is always one").push_str(line);
    }
    pieces
}

/// All documents of a YAML or JSON text as JSON; `List` objects are opened. A text of which a part is not readable is
/// a problem with its position.
pub fn all(text: &str) -> Result<Vec<Json>, Problem> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let documents: Vec<Json> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| Problem::yaml("YamlInvalid", &error))?;
    let mut found = Vec::new();
    for document in documents {
        let list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match document.get("items").and_then(Json::as_array).filter(|_| list) {
            Some(items) => found.extend(items.iter().cloned()),
            None if document.is_null() => {}
            None => found.push(document),
        }
    }
    Ok(found)
}

/// The entries of one document of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries<V> {
    /// By key.
    pub entries: BTreeMap<String, V>,
    /// What else in the file, or in the document, is not readable.
    pub problems: Vec<Problem>,
}

/// The entries of the ConfigMap among a text's documents: the one of this name, else the only one.
///
/// # Errors
/// If it is not there; where a document is not readable, that is the reason given.
pub fn config_map(text: &str, name: &str) -> Result<Entries<String>, Problem> {
    let (object, problems) = one(text, "ConfigMap", name)?;
    let entries = object["data"].as_object().into_iter().flatten();
    Ok(Entries { entries: entries.map(|(key, value)| (key.clone(), plain(value))).collect(), problems })
}

/// The entries of the Secret among a text's documents, likewise. `stringData` wins over `data`.
///
/// # Errors
/// As [`config_map`].
pub fn secret(text: &str, name: &str) -> Result<Entries<Secret>, Problem> {
    let (object, mut problems) = one(text, "Secret", name)?;
    let entries: BTreeMap<String, Secret> =
        secret_entries(&object).into_iter().map(|(key, value)| (key, Secret::new(value))).collect();
    let given = object["data"].as_object().into_iter().flatten().map(|(key, _)| key);
    let lost = given.filter(|key| !entries.contains_key(*key));
    problems.extend(lost.map(|key| {
        let problem = Problem::error("SecretValueInvalid", "not base64; the value is left out").at_key(key.as_str());
        problem.hint("plain texts are written below stringData")
    }));
    Ok(Entries { entries, problems })
}

/// The entries of a Secret object. A value of `data` that is no base64 is left out.
pub fn secret_entries(object: &Json) -> BTreeMap<String, Vec<u8>> {
    let mut entries = BTreeMap::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let text: String = plain(value).chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if let Ok(bytes) = STANDARD.decode(text) {
            entries.insert(key.clone(), bytes);
        }
    }
    for (key, value) in object["stringData"].as_object().into_iter().flatten() {
        entries.insert(key.clone(), plain(value).into_bytes());
    }
    entries
}

fn one(text: &str, kind: &str, name: &str) -> Result<(Json, Vec<Problem>), Problem> {
    let (documents, problems) = each(text);
    let mut candidates: Vec<Json> = documents.into_iter().filter(|d| d["kind"].as_str() == Some(kind)).collect();
    if let Some(at) = candidates.iter().position(|d| d["metadata"]["name"].as_str() == Some(name)) {
        return Ok((candidates.swap_remove(at), problems));
    }
    if candidates.len() == 1 && problems.is_empty() {
        return Ok((candidates.remove(0), problems));
    }
    // The document that is not readable may be the one that is meant.
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem);
    }
    match candidates.len() {
        0 => Err(Problem::error("DocumentMissing", format!("the file holds no {kind}"))),
        n => Err(Problem::error("DocumentMissing", format!("the file holds {n} {kind}s and none is called {name}"))),
    }
}

/// The texts of a mapping, as annotations and `data` have them; what is no text is left out.
pub fn texts(object: &Json) -> BTreeMap<String, String> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_20_documents_of_a_file() {
        let text = "kind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n---\nkind: List\nitems:\n- kind: ConfigMap\n  metadata: {name: b}\n  data: {n: 5}\n---\nkind: Secret\nmetadata: {name: s}\ndata: {t: aGk=, bad: '%'}\nstringData: {u: x}\n";
        assert_eq!(all(text).unwrap().len(), 3);
        assert_eq!(config_map(text, "a").unwrap().entries["k"], "v");
        assert_eq!(config_map(text, "b").unwrap().entries["n"], "5");
        assert!(config_map(text, "c").is_err());
        let secrets = secret_entries(&one(text, "Secret", "other").unwrap().0);
        assert_eq!(secrets["t"], b"hi");
        assert_eq!(secrets["u"], b"x");
        assert!(!secrets.contains_key("bad"));
        let found = secret(text, "s").unwrap();
        assert_eq!(found.entries.len(), 2);
        let codes: Vec<(&str, &str)> = found.problems.iter().map(|p| (p.code, p.key.as_str())).collect();
        assert_eq!(codes, [("SecretValueInvalid", "bad")]);
        assert_eq!(each(text), (all(text).unwrap(), Vec::new()));
        let problem = all("a: [1\nb: 2").unwrap_err();
        assert!(problem.line.is_some(), "{problem}");
    }

    #[test]
    fn a_broken_document_beside_the_one_that_is_meant_costs_it_nothing() {
        let good = "kind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n";
        for (text, name, entries, line) in [
            (good.to_owned(), "a", 1, None),
            (format!("{good}---\nkind: ["), "a", 1, Some(5)),
            (format!("kind: [\n---\n{good}"), "a", 1, Some(1)),
            // The broken one may be the one that is meant.
            (format!("{good}---\nkind: ["), "b", 0, Some(5)),
            ("kind: [".to_owned(), "a", 0, Some(1)),
        ] {
            let found = config_map(&text, name);
            let (count, at) = match &found {
                Ok(found) => (found.entries.len(), found.problems.first().and_then(|p| p.line)),
                Err(problem) => (0, problem.line),
            };
            assert_eq!((count, at.is_some()), (entries, line.is_some()), "{text}: {found:?}");
            assert!(at.unwrap_or_default() >= line.unwrap_or_default(), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_broken_document_costs_none_of_its_neighbours() {
        for (text, kinds, lines) in [
            ("kind: A\n---\nkind: [\n---\nkind: B\n", vec!["A", "B"], vec![3]),
            ("kind: [\n---\nkind: B\n--- # c\nkind: {\n", vec!["B"], vec![1, 5]),
            ("--- \nkind: A\ntext: |\n  ---\n  x\n---\r\nkind: B\n---\n\tx: [\n", vec!["A", "B"], vec![9]),
            ("kind: [", vec![], vec![1]),
        ] {
            let (found, problems) = each(text);
            assert_eq!(found.iter().map(|d| d["kind"].as_str().unwrap()).collect::<Vec<_>>(), kinds, "{text}");
            assert_eq!(problems.iter().map(|p| p.line.unwrap()).collect::<Vec<_>>(), lines, "{text}: {problems:?}");
        }
    }
}
