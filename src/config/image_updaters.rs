//! ImageUpdater objects, as far as they say which Applications are theirs (image-updates.md §5). A mistake in one ref
//! disables that ref and leaves its neighbours alone (CR-5).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::core::image::Glob;
use crate::core::problem::{Problem, Severity, nearest};
use crate::core::update::ownership::{Expression, Images, LabelSelector, Operator, Owner, OwnerKey, OwnerRef};

/// Fields of `spec`.
const SPEC: [&str; 5] =
    ["namespace", "applicationRefs", "commonUpdateSettings", "writeBackConfig", "imagesVerification"];
/// Fields of a ref.
const REF: [&str; 7] = [
    "namePattern",
    "labelSelectors",
    "useAnnotations",
    "images",
    "commonUpdateSettings",
    "writeBackConfig",
    "imagesVerification",
];

/// Reads one object. Whatever is wrong with it, it stands in its namespace: annotations count there as OWN-2 says.
pub fn owner(namespace: &str, name: &str, object: &Json) -> (Owner, Vec<Problem>) {
    let key = OwnerKey { namespace: namespace.to_owned(), name: name.to_owned() };
    let label = key.to_string();
    let mut owner = Owner { key, target: None, refs: Vec::new(), verifies: false };
    let mut reader = Reader::default();
    reader.object(&object["spec"], &mut owner);
    let problems = reader.problems.into_iter().map(|problem| problem.in_object(&label)).collect();
    (owner, problems)
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn bad(&mut self, key: &str, text: impl Into<String>, hint: &str) {
        self.problems.push(Problem::error("config-invalid", text).at_key(key).hint(hint));
    }

    fn object(&mut self, spec: &Json, owner: &mut Owner) {
        let Some(fields) = spec.as_object() else {
            return self.bad("spec", "there is none", "write spec.applicationRefs");
        };
        self.unknown("spec", fields, &SPEC);
        match fields.get("namespace") {
            None | Some(Json::Null) => {}
            Some(Json::String(named)) if named.trim().is_empty() || *named == owner.key.namespace => {}
            Some(Json::String(named)) => owner.target = Some(named.clone()),
            // Where it looks for Applications is not known: it looks nowhere.
            Some(_) => return self.bad("spec.namespace", "no text", "leave it out"),
        }
        owner.verifies = self.verifies("spec", fields);
        let refs = fields.get("applicationRefs").and_then(Json::as_array);
        let Some(refs) = refs.filter(|refs| !refs.is_empty()) else {
            return self.bad("spec.applicationRefs", "it selects nothing", "write a list of refs with namePattern");
        };
        for (place, own) in refs.iter().enumerate() {
            let key = format!("spec.applicationRefs[{place}]");
            let Some(fields) = own.as_object() else {
                self.bad(&key, "no ref", "write a namePattern");
                continue;
            };
            let before = self.problems.len();
            self.unknown(&key, fields, &REF);
            owner.verifies |= self.verifies(&key, fields) | self.images_verify(&key, fields);
            owner.refs.extend(self.one(&key, fields, before));
        }
    }

    /// One ref; none if it can select nothing.
    fn one(&mut self, key: &str, fields: &Map<String, Json>, before: usize) -> Option<OwnerRef> {
        let pattern = match fields.get("namePattern") {
            Some(Json::String(text)) => Glob::parse(text).or_else(|| {
                let text = format!("the pattern {text:?} is malformed: this ref selects nothing");
                self.bad(&format!("{key}.namePattern"), text, "patterns know *, ? and [a-z]");
                None
            }),
            _ => {
                self.bad(&format!("{key}.namePattern"), "missing: this ref selects nothing", "write a name, or *");
                None
            }
        };
        let selector = match fields.get("labelSelectors") {
            None | Some(Json::Null) => Some(None),
            Some(written) => self.selector(&format!("{key}.labelSelectors"), written).map(Some),
        };
        let annotations = match fields.get("useAnnotations") {
            None | Some(Json::Null) => false,
            Some(Json::Bool(value)) => *value,
            Some(_) => {
                self.bad(&format!("{key}.useAnnotations"), "no boolean", "write true or false");
                false
            }
        };
        for name in ["commonUpdateSettings", "writeBackConfig"] {
            if fields.get(name).is_some_and(|value| !value.is_null() && !value.is_object()) {
                self.bad(&format!("{key}.{name}"), "no map of settings", "");
            }
        }
        let images = match fields.get("images") {
            None | Some(Json::Null) => 0,
            Some(Json::Array(images)) => images.len(),
            Some(_) => {
                self.bad(&format!("{key}.images"), "no list", "write a list of alias and imageName");
                0
            }
        };
        let faulty = self.problems[before..].iter().any(is_error);
        if !annotations && images == 0 && !faulty {
            self.bad(
                key,
                "it has neither images nor useAnnotations",
                "write useAnnotations: true, or a list of images",
            );
        }
        let faulty = self.problems[before..].iter().any(is_error);
        let images = match (faulty, annotations) {
            (true, _) => Images::Unreadable,
            (false, true) => Images::Annotations,
            (false, false) => Images::Object,
        };
        Some(OwnerRef { pattern: pattern?, selector: selector?, images })
    }

    /// A LabelSelector as Kubernetes reads it; an invalid one selects nothing.
    fn selector(&mut self, key: &str, written: &Json) -> Option<LabelSelector> {
        let before = self.problems.len();
        let mut selector = LabelSelector::default();
        let Some(fields) = written.as_object() else {
            self.bad(key, "no selector: this ref selects nothing", "write matchLabels or matchExpressions");
            return None;
        };
        self.unknown(key, fields, &["matchLabels", "matchExpressions"]);
        match fields.get("matchLabels") {
            None | Some(Json::Null) => {}
            Some(Json::Object(labels)) => {
                for (name, value) in labels {
                    let key = format!("{key}.matchLabels.{name}");
                    match value.as_str() {
                        Some(value) if is_label(name) && is_value(value) => {
                            selector.labels.insert(name.clone(), value.to_owned());
                        }
                        _ => self.bad(&key, "no label: this ref selects nothing", "quote numbers and booleans"),
                    }
                }
            }
            Some(_) => self.bad(&format!("{key}.matchLabels"), "no map of labels: this ref selects nothing", ""),
        }
        match fields.get("matchExpressions") {
            None | Some(Json::Null) => {}
            Some(Json::Array(expressions)) => {
                for (place, written) in expressions.iter().enumerate() {
                    match expression(written) {
                        Ok(expression) => selector.expressions.push(expression),
                        Err(text) => {
                            let key = format!("{key}.matchExpressions[{place}]");
                            self.bad(&key, format!("{text}: this ref selects nothing"), "");
                        }
                    }
                }
            }
            Some(_) => self.bad(&format!("{key}.matchExpressions"), "no list: this ref selects nothing", ""),
        }
        (!self.problems[before..].iter().any(is_error)).then_some(selector)
    }

    /// Whether `imagesVerification` asks for anything. What cannot be read might.
    fn verifies(&mut self, key: &str, fields: &Map<String, Json>) -> bool {
        match fields.get("imagesVerification") {
            None | Some(Json::Null) => false,
            Some(Json::Object(verification)) => verification.get("enabled") != Some(&Json::Bool(false)),
            Some(_) => {
                self.bad(&format!("{key}.imagesVerification"), "no map of settings", "");
                true
            }
        }
    }

    fn images_verify(&mut self, key: &str, fields: &Map<String, Json>) -> bool {
        let images = fields.get("images").and_then(Json::as_array).into_iter().flatten().enumerate();
        let images = images.filter_map(|(place, image)| Some((format!("{key}.images[{place}]"), image.as_object()?)));
        images.fold(false, |any, (key, fields)| any | self.verifies(&key, fields))
    }

    fn unknown(&mut self, key: &str, fields: &Map<String, Json>, known: &[&str]) {
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            let hint = nearest(name, known.iter().copied()).map(|right| format!("did you mean {right}?"));
            let problem = Problem::warning("config-invalid", "no such field; it is ignored");
            self.problems.push(problem.at_key(format!("{key}.{name}")).hint(hint.unwrap_or_default()));
        }
    }
}

fn is_error(problem: &Problem) -> bool {
    problem.severity == Severity::Error
}

fn expression(written: &Json) -> Result<Expression, String> {
    let key = written["key"].as_str().filter(|key| is_label(key)).ok_or("its key is no label")?;
    let values: Option<Vec<String>> = match &written["values"] {
        Json::Null => Some(Vec::new()),
        Json::Array(values) => values.iter().map(|v| v.as_str().filter(|v| is_value(v)).map(str::to_owned)).collect(),
        _ => None,
    };
    let values = values.ok_or("its values are no list of label values")?;
    let operator = match written["operator"].as_str().unwrap_or_default() {
        "In" | "NotIn" if values.is_empty() => return Err("In and NotIn need values".to_owned()),
        "In" => Operator::In(values),
        "NotIn" => Operator::NotIn(values),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            return Err("Exists and DoesNotExist take no values".to_owned());
        }
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => return Err(format!("its operator {other:?} is none of In, NotIn, Exists, DoesNotExist")),
    };
    Ok(Expression { key: key.to_owned(), operator })
}

/// A label's name: an optional DNS name in front of a slash, and at most 63 characters.
fn is_label(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let dns = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|part| {
                let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-')
            })
    };
    !name.is_empty() && is_value(name) && prefix.is_none_or(dns)
}

/// A label's value: empty, or at most 63 letters, digits, `-`, `_`, `.`, the first and last of them alphanumeric.
fn is_value(text: &str) -> bool {
    let outer = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && outer(text.chars().next())
        && outer(text.chars().last())
}

/// The objects among documents, later ones with the same name in place of earlier ones, as `kubectl apply` would have it.
pub fn owners<'a>(documents: impl IntoIterator<Item = &'a Json>, namespace: &str) -> (Vec<Owner>, Vec<Problem>) {
    let mut found: BTreeMap<OwnerKey, (Owner, Vec<Problem>)> = BTreeMap::new();
    for document in documents {
        let text = |key: &str| document["metadata"][key].as_str().filter(|text| !text.is_empty());
        let read = owner(text("namespace").unwrap_or(namespace), text("name").unwrap_or_default(), document);
        found.insert(read.0.key.clone(), read);
    }
    let (owners, problems): (Vec<_>, Vec<_>) = found.into_values().unzip();
    (owners, problems.concat())
}

#[cfg(test)]
mod tests;
