//! ImageRef: an image as people write it; Repository: what it means. Two spellings with one canonical repository are
//! one image (image-updates.md §7).

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

use crate::core::problem::Problem;

/// The registry that is meant when none is written.
pub const DOCKER_HUB: &str = "docker.io";

/// One image reference in the spelling it was written with. In an image list the tag part may be a version
/// constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    /// The alias in front of the `=`, if there is one.
    pub alias: Option<String>,
    /// The registry as written; none on the default one.
    pub registry: Option<String>,
    /// The path in the registry, in the user's spelling, without an implied `library/`.
    pub name: String,
    /// Tag or constraint; empty text if the reference ends in `:`.
    pub tag: Option<String>,
    /// Digest with its algorithm.
    pub digest: Option<String>,
}

/// A repository in canonical form. Prints as `docker.io/library/nginx`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// Host, lower case, with its port; `docker.io` for the Hub.
    pub registry: String,
    /// Path, as written but with the Hub's `library/`.
    pub path: String,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

static ALIAS: LazyLock<Regex> = LazyLock::new(|| grammar("[A-Za-z0-9][A-Za-z0-9._/-]*"));
static PATH: LazyLock<Regex> = LazyLock::new(|| grammar(PATH_GRAMMAR));
static REGISTRY: LazyLock<Regex> =
    LazyLock::new(|| grammar(r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[A-Fa-f0-9:]+\])(?::[0-9]+)?"));
/// The distribution grammar: domain, path, tag, digest.
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    let label = "(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)";
    let domain = format!(r"(?:{label}(?:\.{label})*|\[[A-Fa-f0-9:]+\])(?::[0-9]+)?");
    let tag = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
    let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}";
    grammar(&format!("({domain})/({PATH_GRAMMAR})(?::({tag}))?(?:@({digest}))?"))
});

const PATH_GRAMMAR: &str = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*";
const LONGEST_PATH: usize = 255;

#[allow(clippy::expect_used)] // constants of this file; the tests compile each
fn grammar(pattern: &str) -> Regex {
    Regex::new(&format!(r"\A(?:{pattern})\z")).expect("a valid expression")
}

impl ImageRef {
    /// Reads one item of an image list: `[alias=]reference` (REF-2…REF-6).
    pub fn parse(item: &str) -> Result<ImageRef, Problem> {
        let item = item.trim();
        let (alias, text) = match item.split_once('=') {
            Some(("", text)) => (None, text),
            Some((alias, text)) if ALIAS.is_match(alias) => (Some(alias), text),
            _ => (None, item),
        };
        if text.is_empty() {
            return Err(Problem::error("config-invalid", format!("image {item:?} has no reference after the `=`")));
        }
        let mut image = ImageRef::parse_reference(text)?;
        image.alias = alias.map(str::to_owned);
        Ok(image)
    }

    /// Reads a reference that carries no alias: a live image, a value of a target.
    pub fn parse_reference(text: &str) -> Result<ImageRef, Problem> {
        if text.contains(['\n', '\r']) {
            return Err(Problem::error("reference-invalid", format!("{text:?} contains a line break"))
                .hint("items are separated by commas"));
        }
        match normalised(text) {
            Some(image) => Ok(image),
            None => lenient(text),
        }
    }

    /// The repository it means (REF-5).
    pub fn canonical(&self) -> Repository {
        let registry = self.registry.as_deref().unwrap_or_default().to_ascii_lowercase();
        if !matches!(registry.as_str(), "" | DOCKER_HUB | "index.docker.io") {
            return Repository { registry, path: self.name.clone() };
        }
        let library = if self.name.contains('/') { "" } else { "library/" };
        Repository { registry: DOCKER_HUB.to_owned(), path: format!("{library}{}", self.name) }
    }

    /// Registry and path (REF-7).
    pub fn full_name(&self) -> String {
        match &self.registry {
            Some(registry) if !begins_with_segment(&self.name, registry) => format!("{registry}/{}", self.name),
            _ => self.name.clone(),
        }
    }

    /// Full name, then `:tag`, then `@digest`, each if present (REF-7).
    pub fn full_reference(&self) -> String {
        let mut text = self.full_name();
        if let Some(tag) = self.tag.as_deref().filter(|t| !t.is_empty()) {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest);
        }
        text
    }

    /// Whether no registry is written (REF-8).
    pub fn is_short(&self) -> bool {
        self.registry.as_deref().is_none_or(|registry| !is_registry(registry))
    }

    /// The same image with another tag and digest.
    pub fn with_tag(&self, tag: Option<String>, digest: Option<String>) -> ImageRef {
        ImageRef { tag, digest, ..self.clone() }
    }

    /// The text for places that hold only a tag (REF-9): `tag`, `tag@digest`; a digest without tag becomes
    /// `latest@digest`. Empty if there is neither.
    pub fn tag_text(&self) -> String {
        tag_text(self.tag.as_deref(), self.digest.as_deref())
    }

    /// Whether a tag-only place cannot say this image without inventing the tag `latest` (REF-9,
    /// `--compat-digest-only-tag=refuse`).
    pub fn is_digest_only(&self) -> bool {
        self.digest.is_some() && self.tag.as_deref().unwrap_or_default().is_empty()
    }

    /// The alias, or empty text.
    pub fn alias_text(&self) -> &str {
        self.alias.as_deref().unwrap_or_default()
    }
}

/// Prints as in an image list.
impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(alias) = &self.alias {
            write!(f, "{alias}=")?;
        }
        f.write_str(&self.full_reference())
    }
}

/// Tag and digest as one text for a tag-only place (REF-9).
pub fn tag_text(tag: Option<&str>, digest: Option<&str>) -> String {
    match (tag.filter(|t| !t.is_empty()), digest) {
        (Some(tag), Some(digest)) => format!("{tag}@{digest}"),
        (Some(tag), None) => tag.to_owned(),
        (None, Some(digest)) => format!("latest@{digest}"),
        (None, None) => String::new(),
    }
}

/// Reads an image list (REF-1): the usable items, and a problem for each that is not. Aliases are not compared here.
pub fn parse_list(text: &str) -> (Vec<ImageRef>, Vec<Problem>) {
    let (mut images, mut problems) = (Vec::new(), Vec::new());
    let mut items = 0;
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        items += 1;
        match ImageRef::parse(item) {
            Ok(image) => images.push(image),
            Err(problem) => problems.push(problem),
        }
    }
    if items == 0 {
        problems.push(Problem::error("config-invalid", "the image list names no image"));
    }
    (images, problems)
}

/// Stage 1 (REF-3): the normalised grammar that container tools share.
fn normalised(text: &str) -> Option<ImageRef> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None; // an image id, no name
    }
    let (domain, remainder) = match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DOCKER_HUB, rest.to_owned()),
        // An upper-case first segment cannot be a path and so is taken for a host.
        Some((first, rest)) if is_registry(first) || first.to_lowercase() != first => (first, rest.to_owned()),
        _ => (DOCKER_HUB, text.to_owned()),
    };
    let implied = if domain == DOCKER_HUB && !remainder.contains('/') { "library/" } else { "" };
    let whole = format!("{domain}/{implied}{remainder}");
    let parts = REFERENCE.captures(&whole)?;
    let part = |i: usize| parts.get(i).map(|m| m.as_str().to_owned());
    let (domain, path, tag, digest) = (part(1)?, part(2)?, part(3), part(4));
    if path.len() > LONGEST_PATH || digest.as_deref().is_some_and(|d| !is_digest(d)) {
        return None;
    }
    let registry = Some(domain).filter(|d| d != DOCKER_HUB || text.starts_with(DOCKER_HUB));
    Some(named(text, registry, &path, tag, digest))
}

/// Stage 2 (REF-4): constraints, upper case, short digests.
fn lenient(text: &str) -> Result<ImageRef, Problem> {
    let (registry, rest) = match text.split_once('/') {
        Some((first, rest)) if is_registry(first) => (Some(first.to_owned()), rest),
        _ => (None, text),
    };
    let (path, tag, digest) = match rest.split_once('@') {
        Some((named, digest)) => match named.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag), Some(digest)),
            _ => (named, None, Some(digest)),
        },
        None => match rest.split_once(':') {
            Some((path, constraint)) => (path, Some(constraint), None),
            None => (rest, None, None),
        },
    };
    if let Some(registry) = registry.as_deref().filter(|r| !REGISTRY.is_match(r)) {
        return Err(Problem::error("reference-invalid", format!("{text:?}: {registry:?} is no registry host")));
    }
    let lower = path.to_lowercase();
    if lower.len() > LONGEST_PATH || !PATH.is_match(&lower) {
        return Err(Problem::error("reference-invalid", format!("{text:?}: {path:?} is no repository path")));
    }
    if digest == Some("") {
        return Err(Problem::error("reference-invalid", format!("{text:?}: nothing follows the `@`")));
    }
    Ok(named(text, registry, path, tag.map(str::to_owned), digest.map(str::to_owned)))
}

/// Takes the implied `library/` away on the Hub, unless the user began with it.
fn named(text: &str, registry: Option<String>, path: &str, tag: Option<String>, digest: Option<String>) -> ImageRef {
    let mut image = ImageRef { alias: None, registry, name: path.to_owned(), tag, digest };
    if image.canonical().registry == DOCKER_HUB
        && !text.starts_with("library/")
        && let Some(short) = path.strip_prefix("library/").filter(|rest| !rest.contains('/'))
    {
        image.name = short.to_owned();
    }
    image
}

/// Whether the first of several segments is a registry (REF-4, REF-8).
fn is_registry(segment: &str) -> bool {
    segment == "localhost" || segment.contains(['.', ':'])
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn begins_with_segment(path: &str, segment: &str) -> bool {
    path.strip_prefix(segment).is_some_and(|rest| rest.starts_with('/'))
}
