//! Argo CD's parameter override files, `.argocd-source-<app>.yaml` (FMT-O): lists that replace those of the Application.

use super::document::{Kind, Node};
use super::editor::{Editor, unexpected};
use super::entries::{self, Entry};
use super::fresh::Fresh;
use super::{Desired, ImageEdit, Refusal, Slot};
use crate::core::application::source::{Route, normalise_repo_url};
use crate::core::application::{Application, Source, SourceType};
use crate::core::problem::Problem;

/// The entry of the file, if it has one.
pub(super) fn desired(editor: &Editor, kind: SourceType, slot: &Slot) -> Result<Option<Desired>, Refusal> {
    match kind {
        SourceType::Helm => {
            let pairs: Vec<(String, String)> = items(editor, "helm", "parameters")?
                .iter()
                .filter_map(|i| Some((i.value("name")?.text()?.to_owned(), i.value("value")?.text()?.to_owned())))
                .collect();
            Ok(entries::desired_parameter(&pairs, slot, "parameter"))
        }
        SourceType::Kustomize => {
            let texts = texts(items(editor, "kustomize", "images")?);
            Ok(entries::desired_entry(&texts, slot, "kustomize.images"))
        }
        SourceType::Directory | SourceType::Plugin => Ok(None),
    }
}

/// Writes all images (FMT-O1); at least one must be due, else nothing is.
pub(super) fn edit(
    editor: &mut Editor,
    app: &Application,
    route: &Route,
    path: &str,
    images: &[ImageEdit],
) -> Result<Vec<Problem>, Refusal> {
    if !images.iter().any(|i| i.due) {
        return Ok(Vec::new());
    }
    if let Some(root) = editor.root().filter(|r| !r.is_null() && !matches!(r.kind, Kind::Map { .. })) {
        return Err(unexpected(root, String::new()));
    }
    let none = Source::default();
    let source = app.sources.get(route.source_index).unwrap_or(&none);
    let mut warnings = Vec::new();
    match route.kind {
        SourceType::Helm => warnings.extend(helm(editor, source, images)?),
        SourceType::Kustomize => kustomize(editor, source, images)?,
        other => return Err(super::unsupported(other)),
    }
    warnings.extend(unread(source, route, path));
    Ok(warnings)
}

/// What is to be said of a file that stands.
pub(super) fn standing(editor: &Editor, app: &Application, route: &Route, path: &str) -> Vec<Problem> {
    let Some(source) = app.sources.get(route.source_index) else { return Vec::new() };
    let listed = route.kind == SourceType::Helm
        && items(editor, "helm", "parameters").is_ok_and(|parameters| !parameters.is_empty());
    let shadowed = if listed { shadowed(editor, source) } else { None };
    shadowed.into_iter().chain(unread(source, route, path)).collect()
}

fn unread(source: &Source, route: &Route, path: &str) -> Option<Problem> {
    let why = unread_because(source, route, path)?;
    let text = format!("Argo CD will not read {path}: {why}");
    Some(Problem::warning("override-has-no-effect", text).hint("set write-back-target to helmvalues:<path>"))
}

/// ROUTE-7: Argo CD reads such a file only beside the source's own manifests.
pub(super) fn unread_because(source: &Source, route: &Route, path: &str) -> Option<String> {
    let (dir, base) = path.rsplit_once('/').unwrap_or(("", path));
    let why = if source.chart.is_some() {
        "the source is a chart"
    } else if normalise_repo_url(&source.repo_url) != normalise_repo_url(&route.repo_url) {
        "it lies in another repository than the source"
    } else if dir != route.path || !base.starts_with(".argocd-source-") {
        "it lies outside the source's path"
    } else {
        return None;
    };
    Some(why.to_owned())
}

fn helm(editor: &mut Editor, source: &Source, images: &[ImageEdit]) -> Result<Option<Problem>, Refusal> {
    let mut wanted = Vec::new();
    for edit in images {
        for (name, text) in entries::parameters(&edit.slot, &edit.value) {
            entries::claim(&mut wanted, name, text, &edit.value)?;
        }
    }
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut missing = Vec::new();
    for (name, text, _) in wanted {
        if !update(editor, &name, &text)? {
            missing.push((name, text));
        }
    }
    if items(editor, "helm", "parameters")?.is_empty() {
        let list = missing.into_iter().map(|(name, text)| parameter(name, text)).collect();
        put_list(editor, "helm", "parameters", list)?;
    } else {
        for (name, text) in missing {
            let greater = items(editor, "helm", "parameters")?
                .iter()
                .position(|i| i.value("name").and_then(Node::text).is_some_and(|n| n > name.as_str()));
            let way = way(editor, "helm", "parameters")?;
            editor.add_item(&way, greater.unwrap_or(usize::MAX), parameter(name, text))?;
        }
    }
    Ok(shadowed(editor, source))
}

/// FMT-O2: the file's list replaces the Application's, so what only that one has goes.
fn shadowed(editor: &Editor, source: &Source) -> Option<Problem> {
    let written: Vec<&str> =
        items(editor, "helm", "parameters").ok()?.iter().filter_map(|i| i.value("name")?.text()).collect();
    let hidden: Vec<&str> = source.helm.iter().flat_map(|h| &h.parameters).map(|p| p.name.as_str()).collect();
    let hidden: Vec<&str> = hidden.into_iter().filter(|name| !written.contains(name)).collect();
    (!hidden.is_empty()).then(|| {
        let text = format!("the override file hides parameters of the Application: {}", hidden.join(", "));
        Problem::warning("parameters-shadowed", text).hint("move them to a values file, or into the override file")
    })
}

fn parameter(name: String, text: String) -> Fresh {
    Fresh::Map(vec![
        ("name".to_owned(), Fresh::Text(name)),
        ("value".to_owned(), Fresh::Text(text)),
        ("forcestring".to_owned(), Fresh::True),
    ])
}

/// Sets an existing parameter; false if there is none of that name.
fn update(editor: &mut Editor, name: &str, text: &str) -> Result<bool, Refusal> {
    let found: Vec<usize> = items(editor, "helm", "parameters")?
        .iter()
        .enumerate()
        .filter(|(_, i)| i.value("name").and_then(Node::text) == Some(name))
        .map(|(number, _)| number)
        .collect();
    let [index] = found.as_slice() else {
        let Some(second) = found.get(1) else { return Ok(false) };
        let line = items(editor, "helm", "parameters")?[*second].line;
        return Err(Refusal::new("yaml-ambiguous", format!("the parameter {name} stands twice")).at(line));
    };
    let mut at = way(editor, "helm", "parameters")?;
    at.push(*index);
    let item = &items(editor, "helm", "parameters")?[*index];
    let behind_name = item.entry("name")?.map_or(usize::MAX, |n| n + 1);
    match item.entry("value")? {
        Some(number) => {
            let way = [at.as_slice(), &[number]].concat();
            editor.set(&way, text)?;
        }
        None => editor.add_entry(&at, behind_name, "value", Fresh::Text(text.to_owned()))?,
    }
    let item = &items(editor, "helm", "parameters")?[*index];
    match item.entries().iter().position(|(k, _)| k.text().is_some_and(|k| k.eq_ignore_ascii_case("forcestring"))) {
        Some(number) => {
            let way = [at.as_slice(), &[number]].concat();
            editor.set_true(&way)?;
        }
        None => editor.add_entry(&at, usize::MAX, "forcestring", Fresh::True)?,
    }
    Ok(true)
}

/// FMT-O3: all entries of the Application, with the governed ones at their new value; then governed ones it lacks.
fn kustomize(editor: &mut Editor, source: &Source, images: &[ImageEdit]) -> Result<(), Refusal> {
    let spec = source.kustomize.clone().unwrap_or_default();
    let mut used: Vec<(usize, &ImageEdit)> = Vec::new();
    let mut lines: Vec<(Option<String>, String)> = Vec::new();
    for edit in images {
        if let Some(index) = entries::position(&spec, edit.slot.names.kustomize_name.as_deref(), &edit.value) {
            if let Some((_, other)) = used.iter().find(|(n, _)| *n == index) {
                if other.value != edit.value {
                    return Err(super::collision(&spec[index], &other.value, &edit.value));
                }
                continue;
            }
            used.push((index, edit));
        }
    }
    for (index, text) in spec.iter().enumerate() {
        match used.iter().find(|(n, _)| *n == index) {
            Some((_, edit)) => lines.push((None, entries::entry_text(&edit.slot, &edit.value, Some(text)))),
            None => lines.push((Some(text.clone()), text.clone())),
        }
    }
    for edit in images.iter().filter(|e| !used.iter().any(|(_, u)| u.slot == e.slot)) {
        let text = entries::entry_text(&edit.slot, &edit.value, None);
        if !lines.iter().any(|(_, line)| *line == text) {
            lines.push((None, text));
        }
    }
    let stands = texts(items(editor, "kustomize", "images")?);
    let mut fresh = Vec::new();
    let mut touched: Vec<usize> = Vec::new();
    for (foreign, mut text) in lines {
        let Some(entry) = Entry::parse(&text) else { continue };
        let found = entries::position(&stands, entry.original.as_deref(), &entry.image);
        let Some(index) = found else {
            fresh.push(Fresh::Text(text));
            continue;
        };
        if touched.contains(&index) {
            let text = format!("two images of the Application have the entry {:?}", stands[index]);
            return Err(Refusal::new("target-collision", text));
        }
        touched.push(index);
        let old = Entry::parse(&stands[index]);
        let keeps = foreign.is_some() && !entry.is_versioned() && old.as_ref().is_some_and(Entry::is_versioned);
        if keeps {
            continue;
        }
        if let (None, Some(original)) = (&entry.original, old.and_then(|o| o.original)) {
            text = format!("{original}={text}");
        }
        let way = [way(editor, "kustomize", "images")?.as_slice(), &[index]].concat();
        editor.set(&way, &text)?;
    }
    if stands.is_empty() {
        return put_list(editor, "kustomize", "images", fresh);
    }
    let way = way(editor, "kustomize", "images")?;
    for item in fresh {
        editor.add_item(&way, usize::MAX, item)?;
    }
    Ok(())
}

/// The items of `block.key`; none if either is absent or null.
fn items<'e>(editor: &'e Editor, block: &str, key: &str) -> Result<&'e [Node], Refusal> {
    let Some(root) = editor.root() else { return Ok(&[]) };
    let Some(number) = root.entry(block)? else { return Ok(&[]) };
    let outer = &root.entries()[number].1;
    if !outer.is_null() && !matches!(outer.kind, Kind::Map { .. }) {
        return Err(unexpected(outer, block.to_owned()));
    }
    let Some(number) = outer.entry(key)? else { return Ok(&[]) };
    let list = &outer.entries()[number].1;
    if !list.is_null() && !matches!(list.kind, Kind::Seq { .. }) {
        return Err(unexpected(list, key.to_owned()));
    }
    Ok(list.items())
}

fn way(editor: &Editor, block: &str, key: &str) -> Result<Vec<usize>, Refusal> {
    let lost = || Refusal::new("internal", "an edit lost its place");
    let root = editor.root().ok_or_else(lost)?;
    let outer = root.entry(block)?.ok_or_else(lost)?;
    let inner = root.entries()[outer].1.entry(key)?.ok_or_else(lost)?;
    Ok(vec![outer, inner])
}

fn texts(items: &[Node]) -> Vec<String> {
    items.iter().map(|i| i.text().unwrap_or_default().to_owned()).collect()
}

/// Makes `block.key` this list, where it is absent, null or empty.
fn put_list(editor: &mut Editor, block: &str, key: &str, list: Vec<Fresh>) -> Result<(), Refusal> {
    if list.is_empty() {
        return Ok(());
    }
    let list = Fresh::List(list);
    let under = |list| Fresh::Map(vec![(key.to_owned(), list)]);
    let Some(root) = editor.root().filter(|r| !r.is_null()) else { return editor.begin(block, under(list), "") };
    let Some(outer) = root.entry(block)? else { return editor.add_entry(&[], usize::MAX, block, under(list)) };
    let node = &root.entries()[outer].1;
    if node.is_null() {
        return editor.fill(&[outer], under(list));
    }
    let Some(inner) = node.entry(key)? else { return editor.add_entry(&[outer], usize::MAX, key, list) };
    let way = [outer, inner];
    if node.entries()[inner].1.is_null() {
        return editor.fill(&way, list);
    }
    let Fresh::List(items) = list else { return Ok(()) };
    for item in items {
        editor.add_item(&way, usize::MAX, item)?;
    }
    Ok(())
}
