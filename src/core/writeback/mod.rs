//! Edits as text in, text out: where a value is written, what stands there now, and the bytes after the change
//! (image-updates.md §8 desired values, §13-§16).

pub use super::application::tree::{Entry, MapTree, Overlay, Tree, TreeError};
use super::application::{Application, SourceType, source::Route};
use super::image::ImageRef;
use super::problem::Problem;
use editor::Editor;

mod document;
mod editor;
mod entries;
mod fresh;
mod helm;
mod kustomize;
mod overrides;
mod path;
mod scalar;
mod spec;
mod target;

pub use helm::has_path;
pub use spec::FORCED;
pub use target::KUSTOMIZATION_FILES;

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
    /// The reference as configured, with its alias.
    pub image: ImageRef,
    /// The names it has where it is written.
    pub names: Names,
}

/// One governed image and the value its places shall hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEdit {
    /// Which image.
    pub slot: Slot,
    /// What shall stand there: name as configured, tag and digest as chosen.
    pub value: ImageRef,
    /// Strategy `digest`: only the digest moves. A kustomization element that has a digest and no tag gets none (K7).
    pub by_digest: bool,
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
    target::resolve(text, app, route, argocd_namespace, tree)
}

/// The value `target` holds now for an image (DES-1); `None` if unknown.
pub fn desired(
    tree: &dyn Tree,
    target: &Target,
    app: &Application,
    route: &Route,
    slot: &Slot,
) -> Result<Option<Desired>, Refusal> {
    let path = target.path();
    let Some((bytes, _)) = load(tree, path)? else {
        return match target {
            Target::Override { .. } => spec::desired(app, route, slot),
            Target::HelmValues { .. } | Target::Kustomization { .. } => Ok(None),
        };
    };
    let read = || {
        let editor = Editor::open(&bytes)?;
        match target {
            Target::Override { .. } => match overrides::desired(&editor, route.kind, slot)? {
                Some(found) => Ok((Some(found), true)),
                None => Ok((spec::desired(app, route, slot)?, false)),
            },
            Target::HelmValues { .. } => Ok((helm::desired(&editor, slot)?, true)),
            Target::Kustomization { .. } => Ok((kustomize::desired(&editor, slot)?, true)),
        }
    };
    let (found, in_file) = read().map_err(|refusal: Refusal| refusal.in_file(path))?;
    Ok(found.map(|mut desired| {
        if in_file {
            desired.place = format!("{path} {}", desired.place);
        }
        desired
    }))
}

/// The value the Application's own parameters hold now for an image (DES-1, method `argocd`); `None` if unknown.
pub fn desired_parameters(app: &Application, route: &Route, slot: &Slot) -> Result<Option<Desired>, Refusal> {
    spec::desired(app, route, slot)
}

/// The changes that make `target` hold the images' values (§16).
pub fn edit(
    tree: &dyn Tree,
    target: &Target,
    app: &Application,
    route: &Route,
    images: &[ImageEdit],
) -> Result<Edited, Refusal> {
    let path = target.path();
    let loaded = load(tree, path)?;
    let executable = loaded.as_ref().is_some_and(|(_, executable)| *executable);
    let before = loaded.map(|(bytes, _)| bytes);
    let splice = || {
        let mut editor = Editor::open(before.as_deref().unwrap_or_default())?;
        let mut warnings = match target {
            Target::Override { .. } => overrides::edit(&mut editor, app, route, path, images)?,
            Target::HelmValues { .. } => helm::edit(&mut editor, images).map(|()| Vec::new())?,
            Target::Kustomization { .. } => kustomize::edit(&mut editor, images)?,
        };
        let after = editor.bytes();
        warnings.extend(editor.into_warnings());
        Ok((after, warnings))
    };
    let (after, warnings) = splice().map_err(|refusal: Refusal| refusal.in_file(path))?;
    let warnings = warnings.into_iter().map(|w| w.in_object(app.label()).at_key(path)).collect();
    let same = before.as_deref().unwrap_or_default() == after;
    let change = FileChange { path: path.to_owned(), before, after, executable };
    Ok(Edited { changes: if same { Vec::new() } else { vec![change] }, warnings })
}

/// What is to be known of a place whether or not it is written now (EVT-4): `anchor-shared`, `parameters-shadowed`,
/// `override-has-no-effect`. `slots` are the images that go there.
pub fn standing(tree: &dyn Tree, target: &Target, app: &Application, route: &Route, slots: &[&Slot]) -> Vec<Problem> {
    let path = target.path();
    // What cannot be read is refused where it is decided about.
    let Ok(Some((bytes, _))) = load(tree, path) else { return Vec::new() };
    let Ok(editor) = Editor::open(&bytes) else { return Vec::new() };
    let mut found = match target {
        Target::Override { .. } => overrides::standing(&editor, app, route, path),
        Target::HelmValues { .. } => slots.iter().flat_map(|slot| helm::standing(&editor, slot)).collect(),
        Target::Kustomization { .. } => slots.iter().flat_map(|slot| kustomize::standing(&editor, slot)).collect(),
    };
    found.dedup();
    found.into_iter().map(|w| w.in_object(app.label()).at_key(path)).collect()
}

/// Why Argo CD will not read what is written to this place, if so (ROUTE-7).
pub fn unread(target: &Target, app: &Application, route: &Route) -> Option<String> {
    match target {
        Target::Override { path } => overrides::unread_because(app.sources.get(route.source_index)?, route, path),
        Target::HelmValues { .. } | Target::Kustomization { .. } => None,
    }
}

/// What an image claims inside a target (method `argocd`: inside its source): the place that decides which version runs,
/// and what it would mean there. Spellings of one meaning are one value (OWN-6).
pub fn claim(target: Option<&Target>, kind: SourceType, slot: &Slot, value: &ImageRef) -> (String, String) {
    let whole = || format!("{}:{}", value.canonical(), value.tag_text());
    let parameters = match target {
        Some(Target::HelmValues { .. }) => true,
        Some(Target::Kustomization { .. }) => false,
        Some(Target::Override { .. }) | None => kind == SourceType::Helm,
    };
    if !parameters {
        let name = slot.names.kustomize_name.clone().unwrap_or_else(|| value.canonical().to_string());
        return (format!("images[{name}]"), whole());
    }
    match &slot.names.helm_spec {
        Some(spec) => (spec.clone(), whole()),
        None => (slot.names.helm_tag.clone(), value.tag_text()),
    }
}

/// The patch that makes the Application's own parameters hold the due images' values (§13); `None` if they do.
pub fn parameters_patch(app: &Application, route: &Route, images: &[ImageEdit]) -> Result<Option<Patch>, Refusal> {
    spec::patch(app, route, images)
}

/// Begins every Git LFS pointer.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The bytes of a target and its mode bit; `None` if it does not exist.
fn load(tree: &dyn Tree, path: &str) -> Result<Option<(Vec<u8>, bool)>, Refusal> {
    let Some(Entry::File { executable }) = tree.entry(path)? else { return Ok(None) };
    let bytes = tree.read(path)?;
    if bytes.starts_with(LFS) {
        let base = path.rsplit('/').next().unwrap_or(path);
        let text = format!("{base} is a Git LFS pointer; its content is not in the repository");
        return Err(Refusal::new("lfs-pointer", text).in_file(path));
    }
    Ok(Some((bytes, executable)))
}

fn collision(place: &str, one: &ImageRef, other: &ImageRef) -> Refusal {
    let text = format!("{place} would be written with two values: {one} and {other}");
    Refusal::new("target-collision", text).hint("give each image places of its own")
}

fn unsupported(kind: SourceType) -> Refusal {
    Refusal::new("unsupported-source", format!("a source of type {} has no places for images", kind.word()))
        .hint("name a file with write-back-target helmvalues:<path> or kustomization:<path>")
}

impl Target {
    /// The file, from the repository's root.
    pub fn path(&self) -> &str {
        match self {
            Target::Override { path } | Target::HelmValues { path } | Target::Kustomization { path } => path,
        }
    }
}

impl Desired {
    /// From the text of a whole reference.
    fn of_reference(text: &str, place: String) -> Desired {
        match ImageRef::parse_reference(text) {
            Ok(image) => Desired {
                name: Some(image.full_name()),
                tag: image.tag.clone().filter(|t| !t.is_empty()),
                digest: image.digest,
                place,
            },
            Err(_) => Desired { name: Some(text.to_owned()).filter(|t| !t.is_empty()), tag: None, digest: None, place },
        }
    }

    /// From a name and the text of a tag-only place (REF-9).
    fn of_parts(name: Option<String>, tag: &str, place: String) -> Desired {
        let (tag, digest) = match tag.split_once('@') {
            Some((tag, digest)) => (tag, Some(digest.to_owned())),
            None if tag.starts_with("sha256:") => ("", Some(tag.to_owned())),
            None => (tag, None),
        };
        Desired { name, tag: Some(tag.to_owned()).filter(|t| !t.is_empty()), digest, place }
    }

    /// DES-3: whether it means this value. Names count by canonical repository (a short form of the same path is the
    /// same), an absent name is no difference, digests count when both sides have one.
    pub fn means(&self, value: &ImageRef) -> bool {
        let name = self.name.as_deref().is_none_or(|name| helm::says(name, value));
        let digest = match (&self.digest, &value.digest) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let tag = value.tag.as_deref().filter(|t| !t.is_empty());
        let same_tag = self.tag.as_deref() == tag || (tag.is_none() && self.digest.is_some() && value.digest.is_some());
        name && digest && same_tag
    }
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

#[cfg(test)]
mod tests;
