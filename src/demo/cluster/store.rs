//! What the server holds: objects with versions, and the history that watches read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Kind, text};

/// Changes kept for watches that lag behind.
const HISTORY: usize = 2_000;

/// Where an object is: plural, namespace, name.
type Key = (&'static str, String, String);

/// One change.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) plural: &'static str,
    pub(super) namespace: String,
    /// Before; `None` for a new object.
    pub(super) before: Option<Arc<Value>>,
    /// After; of a removed object the last state, with the version of the removal.
    pub(super) after: Arc<Value>,
    pub(super) removed: bool,
}

pub(super) struct Store {
    objects: BTreeMap<Key, Value>,
    version: u64,
    history: VecDeque<Change>,
    /// Changes up to this version are forgotten.
    forgotten: u64,
}

impl Default for Store {
    fn default() -> Self {
        // A server is never at its first version.
        Store { objects: BTreeMap::new(), version: 1000, history: VecDeque::new(), forgotten: 1000 }
    }
}

/// Why an object was not made.
pub(super) struct Exists;

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.plural, namespace.to_owned(), name.to_owned()))
    }

    /// Objects of a kind in a namespace or everywhere, by namespace and name.
    pub(super) fn all<'a>(&'a self, kind: &Kind, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Value> {
        let plural = kind.plural;
        let objects =
            self.objects.iter().filter(move |((p, ns, _), _)| *p == plural && namespace.is_none_or(|n| n == ns));
        objects.map(|(_, object)| object)
    }

    /// Makes an object; its version.
    pub(super) fn create(&mut self, kind: &'static Kind, mut object: Value) -> Result<Value, Exists> {
        let meta = &object["metadata"];
        let (namespace, name) = (text(&meta["namespace"]).to_owned(), text(&meta["name"]).to_owned());
        if self.get(kind, &namespace, &name).is_some() {
            return Err(Exists);
        }
        object["apiVersion"] = kind.api.into();
        object["kind"] = kind.name.into();
        object["metadata"]["uid"] = uid().into();
        object["metadata"]["creationTimestamp"] = now().into();
        if object.get("spec").is_some() {
            object["metadata"]["generation"] = 1.into();
        }
        Ok(self.put(kind, namespace, name, object))
    }

    /// Makes or replaces an object; the version afterwards.
    pub(super) fn apply(&mut self, kind: &'static Kind, mut object: Value) -> Result<u64, String> {
        let meta = &object["metadata"];
        let (namespace, name) = (text(&meta["namespace"]).to_owned(), text(&meta["name"]).to_owned());
        if namespace.is_empty() || name.is_empty() {
            return Err(format!("a {} needs a name and a namespace", kind.name));
        }
        encode_secret(&mut object);
        if self.get(kind, &namespace, &name).is_some() {
            return Ok(self.replace(kind, &namespace, &name, object));
        }
        // It was looked for just now.
        let _ = self.create(kind, object);
        Ok(self.version)
    }

    /// Puts a new state in the place of an object. What only the server sets stays as it was; no change, no version.
    pub(super) fn replace(&mut self, kind: &'static Kind, namespace: &str, name: &str, mut object: Value) -> u64 {
        let Some(before) = self.get(kind, namespace, name) else { return self.version };
        object["apiVersion"] = kind.api.into();
        object["kind"] = kind.name.into();
        for fixed in ["name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion"] {
            match before["metadata"].get(fixed) {
                Some(value) => object["metadata"][fixed] = value.clone(),
                None => drop(object["metadata"].as_object_mut().map(|meta| meta.remove(fixed))),
            }
        }
        if *before == object {
            return self.version;
        }
        if before.get("spec") != object.get("spec") {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = generation.into();
        }
        self.put(kind, namespace.to_owned(), name.to_owned(), object);
        self.version
    }

    /// Removes an object; the version afterwards.
    pub(super) fn remove(&mut self, kind: &'static Kind, namespace: &str, name: &str) -> Option<u64> {
        let before = self.objects.remove(&(kind.plural, namespace.to_owned(), name.to_owned()))?;
        self.version += 1;
        let mut after = before.clone();
        after["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.keep(Change {
            version: self.version,
            plural: kind.plural,
            namespace: namespace.to_owned(),
            before: Some(Arc::new(before)),
            after: Arc::new(after),
            removed: true,
        });
        Some(self.version)
    }

    /// Changes after a version, oldest first; `None` if some of them are forgotten.
    pub(super) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        (version >= self.forgotten).then(|| self.history.iter().filter(move |change| change.version > version))
    }

    pub(super) fn compact(&mut self) {
        // The next version is a new one even if nothing else happens, so that every earlier one is too old.
        self.version += 1;
        self.history.clear();
        self.forgotten = self.version;
    }

    fn put(&mut self, kind: &'static Kind, namespace: String, name: String, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let before = self.objects.insert((kind.plural, namespace.clone(), name), object.clone());
        self.keep(Change {
            version: self.version,
            plural: kind.plural,
            namespace,
            before: before.map(Arc::new),
            after: Arc::new(object.clone()),
            removed: false,
        });
        object
    }

    fn keep(&mut self, change: Change) {
        self.history.push_back(change);
        if self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.version;
        }
    }
}

/// `stringData` is for writing only: it is stored as base64 under `data`.
fn encode_secret(object: &mut Value) {
    let Some(plain) = object.as_object_mut().and_then(|fields| fields.remove("stringData")) else { return };
    if object.get("data").is_none() {
        object["data"] = json!({});
    }
    for (key, value) in plain.as_object().into_iter().flatten() {
        object["data"][key] = STANDARD.encode(text(value)).into();
    }
}

pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Random, in the form of a UUID of version 4.
fn uid() -> String {
    let mut bits = fastrand::u128(..);
    bits &= !(0xf << 76) & !(0x3 << 62);
    bits |= (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
