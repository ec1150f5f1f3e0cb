//! Documents that commands read from files: the notifications' ConfigMap and Secret, Applications.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::config::documents;
use crate::config::secret::Secret;
use crate::core::application::Application;

/// What cannot be read, and the exit status that says so.
#[derive(Debug)]
pub struct Unreadable {
    /// 2 for unreadable files, 4 for something named that is not there.
    pub status: u8,
    /// For people.
    pub text: String,
}

impl Unreadable {
    fn file(path: &str, why: impl std::fmt::Display) -> Unreadable {
        Unreadable { status: 2, text: format!("{path}: {why}") }
    }
}

/// The text of a file; `-` is standard input.
pub fn text(path: &str) -> Result<String, Unreadable> {
    if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|e| Unreadable::file("standard input", e))?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(|e| Unreadable::file(path, e))
}

/// The entries of the notifications' ConfigMap.
pub fn config_map(path: &str, name: &str) -> Result<BTreeMap<String, String>, Unreadable> {
    documents::config_map(&text(path)?, name).map(|found| said(path, found)).map_err(|p| Unreadable::file(path, p))
}

/// The entries of the notifications' Secret; `:empty` has none.
pub fn secret(path: &str, name: &str) -> Result<BTreeMap<String, Secret>, Unreadable> {
    if path == ":empty" {
        return Ok(BTreeMap::new());
    }
    documents::secret(&text(path)?, name).map(|found| said(path, found)).map_err(|p| Unreadable::file(path, p))
}

/// What is not readable in the file is said beside the result.
fn said<V>(path: &str, found: documents::Entries<V>) -> BTreeMap<String, V> {
    for problem in found.problems {
        eprintln!("{}", problem.in_object(path));
    }
    found.entries
}

/// The one Application of a file.
pub fn application(path: &str) -> Result<Application, Unreadable> {
    let documents = documents::all(&text(path)?).map_err(|p| Unreadable::file(path, p))?;
    let found = documents.iter().find(|d| d["kind"].as_str() == Some("Application")).or_else(|| {
        // `kubectl get -o json` pipes may carry an object whose kind was cut away.
        documents.first().filter(|d| d.get("kind").is_none() && d.get("metadata").is_some())
    });
    let Some(found) = found else {
        return Err(Unreadable { status: 2, text: format!("{path}: the file holds no Application") });
    };
    Application::decode(&found.to_string()).map_err(|p| Unreadable::file(path, p))
}

/// Whether an argument is meant as a file.
pub fn is_file(argument: &str) -> bool {
    argument == "-" || Path::new(argument).is_file()
}
