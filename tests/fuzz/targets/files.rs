//! Edits of people's files.

use lynceus::core::application::source::Route;
use lynceus::core::application::{Application, SourceType};
use lynceus::core::image::{ImageRef, is_tag};
use lynceus::core::writeback::{self, Edited, ImageEdit, MapTree, Names, Refusal, Slot, Target};

use super::Parts;

/// A file of one kind, an image with its places in it.
struct Case {
    target: Target,
    app: Application,
    route: Route,
    edit: ImageEdit,
}

impl Case {
    /// `None` if the tag is none.
    fn of(target: Target, source: SourceType, tag: &str, spec: Option<&str>) -> Option<Case> {
        let value = ImageRef::parse_reference(&format!("registry.example/web:{tag}")).ok()?;
        if !is_tag(tag) || value.tag.as_deref() != Some(tag) {
            return None;
        }
        let route = Route {
            source_index: 0,
            kind: source,
            repo_url: "https://git.example/a.git".to_owned(),
            path: String::new(),
            revision: "main".to_owned(),
            values_file: None,
        };
        let object = r#"{"metadata": {"name": "web", "namespace": "argocd"}, "spec": {"source": {"repoURL": "https://git.example/a.git", "path": "."}}}"#;
        let app = Application::decode(object).expect("an Application");
        let names = Names {
            helm_name: "image.name".to_owned(),
            helm_name_explicit: true,
            helm_tag: "image.tag".to_owned(),
            helm_spec: spec.map(str::to_owned),
            kustomize_name: None,
        };
        let slot = Slot { image: value.with_tag(None, None), names };
        let edit = ImageEdit { slot, value, by_digest: false, due: true };
        Some(Case { target, app, route, edit })
    }

    fn tree(&self, text: &str) -> MapTree {
        MapTree::of([(self.target.path(), text.as_bytes())])
    }

    fn edited(&self, text: &str) -> Result<Edited, Refusal> {
        writeback::edit(&self.tree(text), &self.target, &self.app, &self.route, std::slice::from_ref(&self.edit))
    }

    /// The text after the edit, if there is one to make: it holds the new value, and a second edit changes nothing.
    fn after(&self, before: &str) -> Option<String> {
        let edited = self.edited(before).ok()?;
        let [change] = edited.changes.as_slice() else { return None };
        let after = String::from_utf8(change.after.clone()).expect("text stays text");
        let held = writeback::desired(&self.tree(&after), &self.target, &self.app, &self.route, &self.edit.slot);
        let held = held.unwrap_or_else(|e| panic!("{e:?}: {after}"));
        let held = held.unwrap_or_else(|| panic!("nothing is held:\n{before}\n--\n{after}"));
        assert_eq!(held.tag, self.edit.value.tag, "\n{before}\n--\n{after}");
        let again = self.edited(&after).unwrap_or_else(|e| panic!("{e:?}: {after}"));
        assert!(again.changes.is_empty(), "edited twice:\n{after}");
        Some(after)
    }

    /// Comments and lines of others stand in the same order: each line taken away is one of the place itself.
    fn keeps_lines(&self, before: &str) {
        if let Some(after) = self.after(before) {
            let gone = lines_gone(before, &after);
            assert!(gone <= 4, "{gone} lines are gone:\n{before}\n--\n{after}");
        }
    }
}

fn values() -> Target {
    Target::HelmValues { path: "values.yaml".into() }
}

fn overrides() -> Target {
    Target::Override { path: ".argocd-source-web.yaml".into() }
}

fn kustomize() -> Target {
    Target::Kustomization { path: "kustomization.yaml".into() }
}

/// An edit of any file: it holds the new value, a second edit changes nothing, and the lines that do not hold it stay.
pub fn writeback(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (kind, tag, before) = (parts.text(), parts.text(), parts.text());
    let (target, source) = match kind.len() % 3 {
        0 => (values(), SourceType::Helm),
        1 => (kustomize(), SourceType::Kustomize),
        _ => (overrides(), SourceType::Helm),
    };
    if let Some(case) = Case::of(target, source, &tag, None) {
        case.keeps_lines(&before);
    }
}

/// The same for Argo CD's override files, of both kinds (FMT-O).
pub fn override_file(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (tag, before) = (parts.text(), parts.text());
    for source in [SourceType::Helm, SourceType::Kustomize] {
        if let Some(case) = Case::of(overrides(), source, &tag, None) {
            case.keeps_lines(&before);
        }
    }
}

/// The same for kustomizations (FMT-K).
pub fn kustomization(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (tag, before) = (parts.text(), parts.text());
    if let Some(case) = Case::of(kustomize(), SourceType::Kustomize, &tag, None) {
        case.keeps_lines(&before);
    }
}

/// One scalar that stands there is replaced: outside its span the bytes are identical, and a second parser reads the
/// same documents with this one value changed (YML-1, YML-6).
pub fn yaml_splice(input: &[u8]) {
    let mut parts = Parts::of(input);
    let (tag, before) = (parts.text(), parts.text());
    let Some(case) = Case::of(values(), SourceType::Helm, &tag, Some("image")) else { return };
    let Some(old) = documents(&before) else { return };
    // A shared value is changed where it is written, for all that refer to it; a block scalar is written anew. NEL, LS
    // and PS end a line in YAML 1.1 and are part of a word in 1.2 (§5.4), so the parsers differ before any edit.
    let image = old.first().and_then(|root| root.get("image")).and_then(yaml_serde::Value::as_str);
    let Some(text) = image.map(str::to_owned) else { return };
    if before.contains(['&', '*', '\u{85}', '\u{2028}', '\u{2029}']) || text.contains('\n') {
        return;
    }
    let Some(after) = case.after(&before) else { return };
    let mut wanted = old;
    let value = case.edit.value.full_reference();
    wanted[0]["image"] = yaml_serde::Value::String(value.clone());
    assert_eq!(documents(&after).as_ref(), Some(&wanted), "\n{before}\n--\n{after}");
    let (new, gone) = differing(&before, &after);
    let written = [format!("\"{value}\""), format!("'{value}'"), format!(" {value}")];
    assert!(written.iter().any(|text| text.contains(new)), "{new:?} is more than the value:\n{before}\n--\n{after}");
    assert!(gone.lines().count() <= text.lines().count().max(1) + 1, "{gone:?} went:\n{before}\n--\n{after}");
}

/// All documents, by another parser; `None` if it does not take them.
fn documents(text: &str) -> Option<Vec<yaml_serde::Value>> {
    use serde::Deserialize;
    yaml_serde::Deserializer::from_str(text).map(|one| yaml_serde::Value::deserialize(one).ok()).collect()
}

/// What stands between the common beginning and the common end, in the second text and in the first.
fn differing<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str) {
    let same = |a: &[u8], b: &[u8], back: bool| {
        let most = a.len().min(b.len());
        (0..most).find(|i| if back { a[a.len() - 1 - i] != b[b.len() - 1 - i] } else { a[*i] != b[*i] }).unwrap_or(most)
    };
    let mut start = same(before.as_bytes(), after.as_bytes(), false);
    while !before.is_char_boundary(start) || !after.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = same(&before.as_bytes()[start..], &after.as_bytes()[start..], true);
    while !before.is_char_boundary(before.len() - end) || !after.is_char_boundary(after.len() - end) {
        end -= 1;
    }
    (&after[start..after.len() - end], &before[start..before.len() - end])
}

/// How many lines of the first text are not, in order, in the second. Of a blank file nothing need stay: it is begun
/// anew (§16, "missing, empty or blank file").
fn lines_gone(before: &str, after: &str) -> usize {
    similar::TextDiff::from_lines(before, after)
        .iter_all_changes()
        .filter(|change| change.tag() == similar::ChangeTag::Delete && !change.value().trim().is_empty())
        .count()
}
