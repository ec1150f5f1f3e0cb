//! Edits as text in, text out: where a value is written, what stands there now, and the bytes after the change
//! (image-updates.md §8 desired values, §13-§16).

use super::application::Application;
use super::application::source::Route;
pub use super::application::tree::{Entry, MapTree, Overlay, Tree, TreeError};
use super::problem::Problem;

/// An image with what a registry or a file says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageValue {
    /// Registry host as written; `None` if not named.
    pub registry: Option<String>,
    /// Path.
    pub name: String,
    /// Tag.
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
}

/// One file to be changed or created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// From the repository's root.
    pub path: String,
    /// The bytes it replaces; `None` if the file does not exist yet.
    pub before: Option<Vec<u8>>,
    /// The bytes it will have.
    pub after: Vec<u8>,
    /// The mode bit of the existing file; false for a new one.
    pub executable: bool,
}

/// Lynceus will not make this write as things are; `kind` is one of the refused kinds of §22, or `config-invalid`, or
/// `internal` where the snapshot itself could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable kind.
    pub kind: &'static str,
    /// The file concerned, from the repository's root; empty if none is.
    pub path: String,
    /// 1-based line in it, where known.
    pub line: Option<u32>,
    /// What is in the way.
    pub text: String,
    /// What would help; empty if nothing useful can be said.
    pub hint: String,
}

/// The file an image of one Application is written to (§14), from the repository's root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Argo CD's parameter override file (FMT-O).
    Override {
        /// The file.
        path: String,
    },
    /// Helm values (FMT-V).
    HelmValues {
        /// The file.
        path: String,
    },
    /// A kustomization file (FMT-K).
    Kustomization {
        /// The file, which exists.
        path: String,
    },
}

/// The names an image has in the places it is written to (§3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Path of the name in the values or parameters (`helm.image-name`).
    pub helm_name: String,
    /// Whether that path was given, not defaulted (FMT-V2).
    pub helm_name_explicit: bool,
    /// Path of the tag (`helm.image-tag`).
    pub helm_tag: String,
    /// Path of the full reference (`helm.image-spec`); then the two above are ignored.
    pub helm_spec: Option<String>,
    /// Name in the manifests that Kustomize replaces (`kustomize.image-name`).
    pub kustomize_name: Option<String>,
}

/// One governed image of an Application, as far as places are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Alias; `None` if it has none.
    pub alias: Option<String>,
    /// The reference as configured.
    pub image: ImageValue,
    /// The names it has where it is written.
    pub names: Names,
}

/// One governed image and the value its places shall hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEdit {
    /// Which image.
    pub slot: Slot,
    /// What shall stand there.
    pub value: ImageValue,
    /// Whether it changes now. The others are written to override files only, which replace whole lists (FMT-O1).
    pub due: bool,
}

/// What an edit gave. No changes means that all values stand already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// The changed files.
    pub changes: Vec<FileChange>,
    /// `anchor-shared`, `parameters-shadowed`, `override-has-no-effect`.
    pub warnings: Vec<Problem>,
}

/// The value a target holds now (DES-1). A place may hold less than a whole reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Name as written there (with registry, without tag); `None` if the place holds none, which is no difference.
    pub name: Option<String>,
    /// Tag.
    pub tag: Option<String>,
    /// Digest.
    pub digest: Option<String>,
    /// Where it was read, for people: `values.yaml image.tag (line 7)`.
    pub place: String,
}

/// A narrow patch of an Application: method `argocd` (§13).
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// JSON Patch (RFC 6902) operations: the `resourceVersion` precondition, then one list of one source.
    pub operations: serde_json::Value,
    /// The list as it is, one entry a line (`image.tag=1.0`), for diffs.
    pub before: Vec<String>,
    /// The list as it will be.
    pub after: Vec<String>,
}

/// The file a `write-back-target` text means for a routed image (§14, PATH-1); `tree` is the repository routed to.
pub fn write_back_target(
    text: &str,
    app: &Application,
    route: &Route,
    argocd_namespace: &str,
    tree: &dyn Tree,
) -> Result<Target, Refusal> {
    let _ = (text, app, argocd_namespace, tree);
    Err(Refusal::new("internal", "not written yet").in_file(&route.path))
}

/// The value `target` holds now for an image (DES-1); `None` if unknown.
pub fn desired(
    tree: &dyn Tree,
    target: &Target,
    app: &Application,
    route: &Route,
    slot: &Slot,
) -> Result<Option<Desired>, Refusal> {
    let _ = (tree, target, app, route, slot);
    Ok(None)
}

/// The value the Application's own parameters hold now for an image (DES-1, method `argocd`); `None` if unknown.
pub fn desired_parameters(app: &Application, route: &Route, slot: &Slot) -> Result<Option<Desired>, Refusal> {
    let _ = (app, route, slot);
    Ok(None)
}

/// The changes that make `target` hold the images' values (§16).
pub fn edit(
    tree: &dyn Tree,
    target: &Target,
    app: &Application,
    route: &Route,
    images: &[ImageEdit],
) -> Result<Edited, Refusal> {
    let _ = (tree, target, app, route, images);
    Err(Refusal::new("internal", "not written yet"))
}

/// The patch that makes the Application's own parameters hold the due images' values (§13); `None` if they do.
pub fn parameters_patch(app: &Application, route: &Route, images: &[ImageEdit]) -> Result<Option<Patch>, Refusal> {
    let _ = (app, route, images);
    Ok(None)
}

impl Refusal {
    /// A refusal without file, line or hint.
    pub fn new(kind: &'static str, text: impl Into<String>) -> Refusal {
        Refusal { kind, path: String::new(), line: None, text: text.into(), hint: String::new() }
    }

    /// Names the file.
    pub fn in_file(mut self, path: impl Into<String>) -> Refusal {
        self.path = path.into();
        self
    }

    /// Names the line (1-based).
    pub fn at(mut self, line: u32) -> Refusal {
        self.line = Some(line);
        self
    }

    /// Says what would help.
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = hint.into();
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let mut problem = Problem::error(refusal.kind, refusal.text).at_key(refusal.path).hint(refusal.hint);
        problem.line = refusal.line;
        problem
    }
}

impl From<TreeError> for Refusal {
    fn from(error: TreeError) -> Refusal {
        Refusal::new("internal", format!("reading the repository: {error}"))
    }
}
