//! Plan: decisions grouped by (remote, branch), and what applying them to a tree gives. Pure and repeatable: a branch
//! that moved is simply planned again on its new tree (image-updates.md GIT-7 to GIT-9, OWN-6, DEC-8).

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decision::{self, Change};
use super::diff;
use crate::core::application::Application;
use crate::core::application::source::Route;
use crate::core::problem::Problem;
use crate::core::writeback::{self, FileChange, ImageEdit, Overlay, Refusal, Target, Tree};

/// All due changes of one Application that go to one target: written together or not at all (DEC-8).
#[derive(Clone, Debug)]
pub struct Unit {
    /// The Application as it was when decided.
    pub app: Arc<Application>,
    /// The source it is routed to.
    pub route: Route,
    /// The file.
    pub target: Target,
    /// Every governed image of the Application that goes there, due or not (FMT-O1).
    pub edits: Vec<ImageEdit>,
    /// The due ones, for messages and events.
    pub changes: Vec<Change>,
}

/// The units of one push.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The repository, as written.
    pub repo_url: String,
    /// The branch that is read and, if it does not exist, created from `base`.
    pub branch: String,
    /// The branch it starts from.
    pub base: String,
    /// Ordered by namespace and name of their Applications (GIT-8).
    pub units: Vec<Arc<Unit>>,
}

/// What applying one unit gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// These files change.
    Changed {
        /// The files.
        files: Vec<FileChange>,
        /// The change as a unified diff.
        diff: String,
        /// `anchor-shared`, `parameters-shadowed`, …
        warnings: Vec<Problem>,
    },
    /// An earlier unit of the same push wrote these very values: one write, credited to both (OWN-6). Its position.
    Shared(usize),
    /// The tree holds the values already: no commit.
    AlreadySo,
    /// Not written as things are.
    Refused(Refusal),
}

/// Applies units one after the other to a tree; later ones see what earlier ones wrote. A refused unit drops out alone.
pub fn apply(units: &[impl Borrow<Unit>], tree: &dyn Tree) -> Vec<Applied> {
    let mut overlay = Overlay::on(tree);
    let units: Vec<&Unit> = units.iter().map(Borrow::borrow).collect();
    let collisions = collisions(&units);
    let mut wrote: BTreeMap<&str, usize> = BTreeMap::new();
    units
        .iter()
        .zip(collisions)
        .enumerate()
        .map(|(index, (unit, collision))| {
            if let Some(refusal) = collision {
                return Applied::Refused(refusal);
            }
            let edit = |tree: &dyn Tree| writeback::edit(tree, &unit.target, &unit.app, &unit.route, &unit.edits);
            match edit(&overlay) {
                Err(refusal) => Applied::Refused(refusal),
                Ok(edited) if edited.changes.is_empty() => match wrote.get(unit.target.path()) {
                    Some(earlier) if edit(tree).is_ok_and(|alone| !alone.changes.is_empty()) => {
                        Applied::Shared(*earlier)
                    }
                    _ => Applied::AlreadySo,
                },
                Ok(edited) => {
                    let mut text = String::new();
                    for file in &edited.changes {
                        text.push_str(&diff::unified(&file.path, file.before.as_deref(), &file.after));
                        overlay.write(file.path.clone(), file.executable, file.after.clone());
                    }
                    wrote.insert(unit.target.path(), index);
                    Applied::Changed { files: edited.changes, diff: text, warnings: edited.warnings }
                }
            }
        })
        .collect()
}

/// Places that two governed images would write different values to: neither is written (OWN-6).
pub fn collisions(units: &[&Unit]) -> Vec<Option<Refusal>> {
    let mut writes = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        for edit in unit.edits.iter().filter(|edit| edit.due) {
            let (place, value) = writeback::claim(Some(&unit.target), unit.route.kind, &edit.slot, &edit.value);
            writes.push((index, (unit.target.path().to_owned(), place), value));
        }
    }
    let met = decision::collisions(writes.iter().map(|(_, place, value)| (place, value)));
    let mut refusals = vec![None; units.len()];
    for at in &met {
        let (index, (path, place), _) = &writes[*at];
        let others: BTreeSet<String> = met
            .iter()
            .map(|other| &writes[*other])
            .filter(|(_, (p, q), _)| p == path && q == place)
            .map(|(unit, _, value)| format!("{value} of {}", units[*unit].app.key))
            .collect();
        let others: Vec<String> = others.into_iter().collect();
        let text = format!("different values are meant for {place}: {}", others.join(", "));
        let refusal = Refusal::new("target-collision", text)
            .in_file(path.clone())
            .hint("give each image its own helm.image-tag, kustomize.image-name or write-back-target");
        refusals[*index] = Some(refusal);
    }
    refusals
}

/// Refusals that are the matter of whoever wrote to a push branch beside us (GIT-12).
pub fn is_theirs(kind: &str) -> bool {
    kind.starts_with("yaml") || matches!(kind, "target-missing" | "path-not-regular" | "lfs-pointer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::application::SourceType;
    use crate::core::image::ImageRef;
    use crate::core::writeback::{MapTree, Names, Slot};

    fn app(name: &str) -> Arc<Application> {
        let json = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"argocd"}},"spec":{{"source":{{"repoURL":"https://h/r","path":"p"}}}}}}"#
        );
        Arc::new(Application::decode(&json).unwrap())
    }

    fn unit(name: &str, path: &str, edits: Vec<(&str, &str)>) -> Unit {
        let edits = edits
            .into_iter()
            .map(|(tag_path, tag)| ImageEdit {
                slot: Slot {
                    image: ImageRef::parse("a=nginx").unwrap(),
                    names: Names {
                        helm_name: "image.name".into(),
                        helm_name_explicit: false,
                        helm_tag: tag_path.into(),
                        helm_spec: None,
                        kustomize_name: None,
                    },
                },
                value: ImageRef::parse(&format!("a=nginx:{tag}")).unwrap(),
                by_digest: false,
                due: true,
            })
            .collect();
        Unit {
            app: app(name),
            route: Route {
                source_index: 0,
                kind: SourceType::Helm,
                repo_url: "https://h/r".into(),
                path: "p".into(),
                revision: "main".into(),
                values_file: None,
            },
            target: Target::HelmValues { path: path.into() },
            edits,
            changes: Vec::new(),
        }
    }

    #[test]
    fn own_6_different_values_for_one_place_block_both() {
        let units = [
            unit("a", "v.yaml", vec![("image.tag", "1")]),
            unit("b", "v.yaml", vec![("image.tag", "2")]),
            unit("c", "w.yaml", vec![("image.tag", "2")]),
            unit("d", "w.yaml", vec![("image.tag", "2")]),
            unit("e", "x.yaml", vec![("image.tag", "1"), ("image.tag", "2")]),
            unit("f", "y.yaml", vec![("a.tag", "1"), ("b.tag", "2")]),
        ];
        let refused: Vec<bool> = collisions(&units.each_ref()).iter().map(Option::is_some).collect();
        assert_eq!(refused, [true, true, false, false, true, false]);
    }

    #[test]
    fn own_6_equal_values_are_one_write_credited_to_both() {
        let tree = MapTree::of([("v.yaml", b"image: {tag: '1'}\n".to_vec())]);
        let mut other = unit("b", "v.yaml", vec![("image.tag", "2")]);
        for edit in &mut other.edits {
            // Another alias and another spelling of the same image.
            edit.slot.image = ImageRef::parse("b=docker.io/library/nginx").unwrap();
            edit.value = ImageRef::parse("b=docker.io/library/nginx:2").unwrap();
        }
        let units =
            [unit("a", "v.yaml", vec![("image.tag", "2")]), other, unit("c", "v.yaml", vec![("image.tag", "2")])];
        let applied = apply(&units, &tree);
        assert!(matches!(applied[0], Applied::Changed { .. }), "{applied:?}");
        assert_eq!(applied[1..], [Applied::Shared(0), Applied::Shared(0)]);
        let after = MapTree::of([("v.yaml", b"image: {tag: '2'}\n".to_vec())]);
        assert_eq!(apply(&units, &after), [Applied::AlreadySo, Applied::AlreadySo, Applied::AlreadySo]);
    }

    #[test]
    fn git_8_units_on_one_file_build_on_each_other_and_repeat_as_nothing() {
        let before = b"a:\n  tag: \"1\" # keep\nb:\n  tag: \"1\"\n".to_vec();
        let tree = MapTree::of([("v.yaml", before)]);
        let units = [unit("a", "v.yaml", vec![("a.tag", "2")]), unit("b", "v.yaml", vec![("b.tag", "3")])];
        let applied = apply(&units, &tree);
        let Applied::Changed { files, diff, .. } = &applied[1] else { panic!("{applied:?}") };
        assert_eq!(files[0].after, b"a:\n  tag: \"2\" # keep\nb:\n  tag: \"3\"\n");
        assert_eq!(diff.lines().filter(|l| l.starts_with('+') && !l.starts_with("+++")).count(), 1);
        let after = MapTree::of([("v.yaml", files[0].after.clone())]);
        assert_eq!(apply(&units, &after), [Applied::AlreadySo, Applied::AlreadySo]);
    }
}
