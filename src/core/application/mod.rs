//! Application: the facts we keep of one Argo CD Application, plus the whole object, compressed. Users' templates and
//! conditions may read any path of the object, so nothing of it is dropped but `metadata.managedFields`.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::problem::Problem;
use super::value::Value;

mod decode;
pub mod source;
pub mod tree;

/// Namespace and name; prints as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppKey {
    /// Namespace; empty in a manifest that states none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What renders a source (`status.sourceType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SourceType {
    Helm,
    Kustomize,
    Directory,
    Plugin,
}

impl SourceType {
    /// Argo CD's word for it.
    pub fn word(self) -> &'static str {
        match self {
            SourceType::Helm => "Helm",
            SourceType::Kustomize => "Kustomize",
            SourceType::Directory => "Directory",
            SourceType::Plugin => "Plugin",
        }
    }
}

/// One Helm parameter of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Dotted path in the chart's values.
    pub name: String,
    /// Its value, as text.
    pub value: String,
    /// `forceString`.
    pub force_string: bool,
}

/// The `helm` block of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Helm {
    /// `parameters`, in order.
    pub parameters: Vec<Parameter>,
    /// `valueFiles`, in order; `$ref/path` names a file of another source.
    pub value_files: Vec<String>,
}

/// The `directory` block of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Whether sub-folders are read.
    pub recurse: bool,
    /// Glob of file names to read; empty means all.
    pub include: String,
    /// Glob of file names to leave out; empty means none.
    pub exclude: String,
}

/// One source of an Application: `spec.source`, an entry of `spec.sources`, or the dry source of a hydrator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `repoURL`.
    pub repo_url: String,
    /// `path`, as written.
    pub path: Option<String>,
    /// `chart`: then `repo_url` is no Git repository.
    pub chart: Option<String>,
    /// `targetRevision`, as written; empty if absent.
    pub target_revision: String,
    /// `name` (multi-source).
    pub name: Option<String>,
    /// `ref` (multi-source).
    pub ref_name: Option<String>,
    /// The `helm` block, if present.
    pub helm: Option<Helm>,
    /// `kustomize.images` if the block is present.
    pub kustomize: Option<Vec<String>>,
    /// `plugin.env` as name and value if the block is present.
    pub plugin: Option<Vec<(String, String)>>,
    /// The `directory` block, if present.
    pub directory: Option<Directory>,
}

impl Source {
    /// The type an explicit block names.
    pub fn explicit_type(&self) -> Option<SourceType> {
        if self.helm.is_some() || self.chart.is_some() {
            Some(SourceType::Helm)
        } else if self.kustomize.is_some() {
            Some(SourceType::Kustomize)
        } else if self.plugin.is_some() {
            Some(SourceType::Plugin)
        } else if self.directory.is_some() {
            Some(SourceType::Directory)
        } else {
            None
        }
    }
}

/// The running or last operation (`status.operationState`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// `Running`, `Succeeded`, `Failed`, `Error`, `Terminating`; empty if absent.
    pub phase: String,
    /// `message`.
    pub message: String,
    /// `startedAt`, as written.
    pub started_at: String,
    /// `finishedAt`, as written; empty while running.
    pub finished_at: String,
    /// `syncResult.revisions`, else the one `syncResult.revision`.
    pub synced_revisions: Vec<String>,
    /// `operation.sync.revisions`, else the one `operation.sync.revision`: what was asked for.
    pub asked_revisions: Vec<String>,
}

/// What `status` says, where present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `sourceTypes`, else the one `sourceType`.
    pub source_types: Vec<SourceType>,
    /// `summary.images`.
    pub images: Vec<String>,
    /// `sync.status`: `Synced`, `OutOfSync`, `Unknown`; empty if absent.
    pub sync: String,
    /// `sync.revisions`, else the one `sync.revision`.
    pub revisions: Vec<String>,
    /// `health.status`; empty if absent.
    pub health: String,
    /// `health.message`.
    pub health_message: String,
    /// `health.lastTransitionTime`, as written.
    pub health_since: String,
    /// `operationState`.
    pub operation: Option<Operation>,
    /// `reconciledAt`, as written.
    pub reconciled_at: String,
    /// `observedAt`, as written.
    pub observed_at: String,
}

/// One observed version of an Application.
#[derive(Clone, Debug)]
pub struct Application {
    /// Namespace and name.
    pub key: AppKey,
    /// `metadata.uid`; empty in a manifest.
    pub uid: String,
    /// `metadata.resourceVersion`; empty in a manifest.
    pub resource_version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations, without kubectl's last-applied copy of the object.
    pub annotations: BTreeMap<String, String>,
    /// Kind and name of each owner.
    pub owners: Vec<(String, String)>,
    /// `metadata.deletionTimestamp`.
    pub deletion: Option<Timestamp>,
    /// `spec.project`; empty if absent.
    pub project: String,
    /// The sources, in order; one for a single-source Application.
    pub sources: Vec<Source>,
    /// Whether they stand in `spec.sources`.
    pub multi_source: bool,
    /// Whether the one source is the dry source of `spec.sourceHydrator`.
    pub hydrated: bool,
    /// `spec.destination.namespace`.
    pub destination_namespace: String,
    /// `spec.syncPolicy.automated`: (self-heal) if present.
    pub automated: Option<bool>,
    /// Whether the object carries a `status` with anything in it.
    pub has_status: bool,
    /// The status.
    pub status: Status,
    packed: Packed,
}

impl Application {
    /// Reads one Application from JSON text. Wrong types in one place make that place absent where Argo CD itself
    /// would still run; an object without name, or one that is no object, is a problem (SRC-1, CT-13).
    pub fn decode(json: &str) -> Result<Application, Problem> {
        decode::application(json)
    }

    /// The whole object (without `managedFields`) as a value of the users' languages. Inflates each time: call it
    /// only where a condition or template really runs.
    pub fn object(&self) -> Value {
        Value::from_json(&self.json())
    }

    /// The whole object (without `managedFields`) as JSON.
    pub fn json(&self) -> Json {
        self.packed.inflate()
    }

    /// The compressed object and how to read it back: [`Application::unpack`].
    pub fn packed(&self) -> &[u8] {
        &self.packed.0
    }

    /// The same with one more field beside `metadata`, `spec` and `status`.
    ///
    /// # Errors
    /// If the object is too large to be packed.
    pub fn packed_with(&self, field: &str, value: Json) -> Result<Vec<u8>, Problem> {
        let mut object = self.json();
        if let Some(fields) = object.as_object_mut() {
            fields.insert(field.to_owned(), value);
        }
        decode::pack(&object).map(|packed| packed.0.into_vec())
    }

    /// Reads back what [`Application::packed`] gave.
    pub fn unpack(packed: &[u8]) -> Result<Application, Problem> {
        let text = decode::inflate(packed).map_err(|e| Problem::error("internal", e))?;
        Application::decode(&text)
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// `Application namespace/name`, as problems name it.
    pub fn label(&self) -> String {
        format!("Application {}", self.key)
    }
}

/// A JSON text as zstd bytes: 30 KB objects take 2 to 6 KB, against a megabyte and more as a tree of values.
#[derive(Clone)]
struct Packed(Box<[u8]>);

impl Packed {
    fn inflate(&self) -> Json {
        // What was packed here was valid JSON; a damaged byte would be a defect of memory.
        decode::inflate(&self.0).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Json::Null)
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A parsed RFC 3339 time of a status field; `None` if absent or unparsable.
pub fn status_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests;
