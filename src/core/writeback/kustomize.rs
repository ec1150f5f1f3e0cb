//! Kustomization files (FMT-K): the elements of `images:`.

use super::document::{Kind, Node};
use super::editor::{Editor, unexpected};
use super::fresh::Fresh;
use super::{Desired, ImageEdit, Refusal, Slot};
use crate::core::image::ImageRef;
use crate::core::problem::Problem;

/// The value of the element with the image's name; unknown without element, or if it has neither tag nor digest.
pub(super) fn desired(editor: &Editor, slot: &Slot) -> Result<Option<Desired>, Refusal> {
    one_document(editor)?;
    let Some((list, _)) = list(editor)? else { return Ok(None) };
    let Some(index) = element(list, slot, &slot.image)? else { return Ok(None) };
    let element = &list.items()[index];
    let text = |key: &str| element.value(key).filter(|n| !n.is_null()).and_then(Node::text).map(str::to_owned);
    let (tag, digest) = (text("newTag"), text("digest"));
    if tag.is_none() && digest.is_none() {
        return Ok(None);
    }
    let name = text("newName").or_else(|| text("name")).filter(|_| slot.names.kustomize_name.is_some());
    Ok(Some(Desired { name, tag, digest, place: format!("images[{index}] (line {})", element.line) }))
}

/// Who else the fields of an image's element serve (YML-4).
pub(super) fn standing(editor: &Editor, slot: &Slot) -> Vec<Problem> {
    let Ok(Some((list, number))) = list(editor) else { return Vec::new() };
    let Ok(Some(index)) = element(list, slot, &slot.image) else { return Vec::new() };
    let fields = ["newTag", "digest"].into_iter().filter_map(|key| list.items()[index].entry(key).ok()?);
    fields.flat_map(|field| editor.shared_at(&[number, index, field])).collect()
}

/// Sets the due images (FMT-K1 to K3).
pub(super) fn edit(editor: &mut Editor, images: &[ImageEdit]) -> Result<Vec<Problem>, Refusal> {
    one_document(editor)?;
    let mut warnings = Vec::new();
    let mut written: Vec<(usize, &ImageEdit)> = Vec::new();
    for edit in images.iter().filter(|i| i.due) {
        let found = match list(editor)? {
            Some((list, _)) => element(list, &edit.slot, &edit.value)?,
            None => None,
        };
        let index = match found {
            Some(index) => index,
            None => append(editor, edit)?,
        };
        match written.iter().find(|(n, _)| *n == index) {
            Some((_, other)) if alike(other, edit) => continue,
            Some((_, other)) => {
                return Err(super::collision(&format!("images[{index}]"), &other.value, &edit.value));
            }
            None => written.push((index, edit)),
        }
        if found.is_some() {
            warnings.extend(update(editor, index, edit)?);
        }
    }
    Ok(warnings)
}

fn alike(a: &ImageEdit, b: &ImageEdit) -> bool {
    a.value.full_reference() == b.value.full_reference() && a.slot.names.kustomize_name == b.slot.names.kustomize_name
}

fn one_document(editor: &Editor) -> Result<(), Refusal> {
    match editor.documents() {
        0 | 1 => Ok(()),
        n => Err(Refusal::new("yaml-ambiguous", format!("the kustomization holds {n} documents")).hint("keep one")),
    }
}

/// The `images` list and the number of its entry; `None` if it is absent or null.
fn list(editor: &Editor) -> Result<Option<(&Node, usize)>, Refusal> {
    let Some(root) = editor.root().filter(|r| !r.is_null()) else { return Ok(None) };
    if !matches!(root.kind, Kind::Map { .. }) {
        return Err(unexpected(root, String::new()));
    }
    let Some(number) = root.entry("images")? else { return Ok(None) };
    let node = &root.entries()[number].1;
    match node.kind {
        Kind::Seq { .. } => Ok(Some((node, number))),
        _ if node.is_null() => Ok(None),
        _ => Err(unexpected(node, "images".to_owned())),
    }
}

/// The number of the element for an image: by the very name, else by its canonical repository.
fn element(list: &Node, slot: &Slot, value: &ImageRef) -> Result<Option<usize>, Refusal> {
    let full = value.full_name();
    let wanted = slot.names.kustomize_name.as_deref().unwrap_or(&full);
    let names: Vec<Option<&str>> = list.items().iter().map(|i| i.value("name").and_then(Node::text)).collect();
    let only = |matches: Vec<usize>| match matches.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        [_, second, ..] => {
            let text = format!("two elements of images name {wanted:?}");
            Err(Refusal::new("yaml-ambiguous", text).at(list.items()[*second].line))
        }
    };
    let exact: Vec<usize> = (0..names.len()).filter(|n| names[*n] == Some(wanted)).collect();
    if !exact.is_empty() {
        return only(exact);
    }
    let Ok(canonical) = ImageRef::parse_reference(wanted).map(|r| r.canonical()) else { return Ok(None) };
    only(
        (0..names.len())
            .filter(|n| {
                let other = names[*n].and_then(|name| ImageRef::parse_reference(name).ok());
                other.is_some_and(|o| o.tag.is_none() && o.canonical() == canonical)
            })
            .collect(),
    )
}

fn update(editor: &mut Editor, index: usize, edit: &ImageEdit) -> Result<Option<Problem>, Refusal> {
    let value = &edit.value;
    let full = value.full_name();
    if let Some(original) = &edit.slot.names.kustomize_name {
        let renamed = field(editor, index, "newName").map(|(_, text)| text);
        let same_name = |text: &str| ImageRef::parse_reference(text).is_ok_and(|r| r.canonical() == value.canonical());
        let stands = match &renamed {
            Some(text) => same_name(text),
            None => *original == full,
        };
        if !stands {
            put(editor, index, "newName", &full, &["name"])?;
        }
    }
    let tagless = field(editor, index, "newTag").is_none() && field(editor, index, "digest").is_some();
    if let Some(tag) = value.tag.as_deref().filter(|t| !t.is_empty()).filter(|_| !edit.by_digest || !tagless) {
        put(editor, index, "newTag", tag, &["newName", "name"])?;
    }
    match (&value.digest, field(editor, index, "digest")) {
        (Some(digest), _) => put(editor, index, "digest", digest, &["newTag", "newName", "name"])?,
        (None, Some((number, old))) => {
            let list = list(editor)?.map_or(0, |(_, n)| n);
            editor.remove_entry(&[list, index], number)?;
            let text = format!("the digest {old} of {full} no longer held and was removed with the change of the tag");
            return Ok(Some(Problem::warning("digest-removed", text)));
        }
        (None, None) => {}
    }
    Ok(None)
}

/// A field of an element: its number and text.
fn field(editor: &Editor, index: usize, key: &str) -> Option<(usize, String)> {
    let element = list(editor).ok()??.0.items().get(index)?;
    let number = element.entry(key).ok()??;
    Some((number, element.entries()[number].1.text().unwrap_or_default().to_owned()))
}

/// Sets a field, or adds it behind the first of `behind` that exists.
fn put(editor: &mut Editor, index: usize, key: &str, text: &str, behind: &[&str]) -> Result<(), Refusal> {
    let Some((node, list)) = list(editor)? else { return Ok(()) };
    let element = &node.items()[index];
    if !matches!(element.kind, Kind::Map { .. }) {
        return Err(unexpected(element, "images".to_owned()));
    }
    if let Some(number) = element.entry(key)? {
        editor.set(&[list, index, number], text)?;
        return Ok(());
    }
    let mut after = None;
    for name in behind {
        after = after.or(element.entry(name)?);
    }
    editor.add_entry(&[list, index], after.map_or(usize::MAX, |n| n + 1), key, Fresh::Text(text.to_owned()))
}

/// A new element at the end (FMT-K2): its number.
fn append(editor: &mut Editor, edit: &ImageEdit) -> Result<usize, Refusal> {
    let full = edit.value.full_name();
    let name = edit.slot.names.kustomize_name.clone().unwrap_or_else(|| full.clone());
    let mut entries = vec![("name".to_owned(), Fresh::Text(name.clone()))];
    if name != full {
        entries.push(("newName".to_owned(), Fresh::Text(full)));
    }
    let tag = edit.value.tag.clone().filter(|t| !t.is_empty());
    entries.extend(tag.map(|tag| ("newTag".to_owned(), Fresh::Text(tag))));
    entries.extend(edit.value.digest.clone().map(|digest| ("digest".to_owned(), Fresh::Text(digest))));
    let item = Fresh::Map(entries);
    if let Some((node, number)) = list(editor)? {
        let count = node.items().len();
        editor.add_item(&[number], usize::MAX, item)?;
        return Ok(count);
    }
    let root = editor.root().filter(|r| !r.is_null());
    match root.map(|r| r.entry("images")).transpose()?.flatten() {
        Some(number) => editor.fill(&[number], Fresh::List(vec![item]))?,
        None if root.is_some() => editor.add_entry(&[], usize::MAX, "images", Fresh::List(vec![item]))?,
        None => editor.begin("images", Fresh::List(vec![item]), "")?,
    }
    Ok(0)
}
