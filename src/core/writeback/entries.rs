//! What an image is in Argo CD's own lists: Helm parameters and Kustomize image entries, in the Application or in an
//! override file (ARG-2, ARG-3, FMT-O).

use super::{Desired, Refusal, Slot};
use crate::core::image::ImageRef;

/// The Helm parameters of an image, name before tag; an empty tag is none (ARG-2).
pub(super) fn parameters(slot: &Slot, value: &ImageRef) -> Vec<(String, String)> {
    if let Some(spec) = &slot.names.helm_spec {
        return vec![(spec.clone(), value.full_reference())];
    }
    let mut list = vec![(slot.names.helm_name.clone(), value.full_name())];
    let tag = value.tag_text();
    if !tag.is_empty() {
        list.push((slot.names.helm_tag.clone(), tag));
    }
    list
}

/// Adds a parameter to what is to be written; two images may share one only with one value (OWN-6).
pub(super) fn claim(
    list: &mut Vec<(String, String, ImageRef)>,
    name: String,
    text: String,
    value: &ImageRef,
) -> Result<(), Refusal> {
    match list.iter().find(|(n, ..)| *n == name) {
        Some((_, other, _)) if *other == text => Ok(()),
        Some((_, _, other)) => Err(super::collision(&name, other, value)),
        None => {
            list.push((name, text, value.clone()));
            Ok(())
        }
    }
}

/// What parameters say of an image; unknown if the one that decides is absent.
pub(super) fn desired_parameter(list: &[(String, String)], slot: &Slot, place: &str) -> Option<Desired> {
    let value = |name: &str| list.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let place = |name: &str| format!("{place} {name}");
    if let Some(spec) = &slot.names.helm_spec {
        return value(spec).map(|text| Desired::of_reference(text, place(spec)));
    }
    let tag = value(&slot.names.helm_tag)?;
    let name = value(&slot.names.helm_name).filter(|n| !n.is_empty()).map(str::to_owned);
    Some(Desired::of_parts(name, tag, place(&slot.names.helm_tag)))
}

/// One entry of `kustomize.images`: `[original=]image[:tag][@digest]`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The name in the manifests, if the entry states one.
    pub(super) original: Option<String>,
    /// What it becomes.
    pub(super) image: ImageRef,
}

impl Entry {
    /// Reads an entry; `None` if it is no reference.
    pub(super) fn parse(text: &str) -> Option<Entry> {
        let (original, image) = match text.split_once('=') {
            Some((original, image)) => (Some(original.trim().to_owned()), image.trim()),
            None => (None, text.trim()),
        };
        Some(Entry { original, image: ImageRef::parse_reference(image).ok()? })
    }

    /// The same name when both state one, else the same canonical repository (ARG-3).
    pub(super) fn is(&self, original: Option<&str>, image: &ImageRef) -> bool {
        match (self.original.as_deref(), original) {
            (Some(a), Some(b)) => a == b,
            _ => self.image.canonical() == image.canonical(),
        }
    }

    /// Whether it says which version.
    pub(super) fn is_versioned(&self) -> bool {
        self.image.digest.is_some() || self.image.tag.as_deref().is_some_and(|t| !t.is_empty())
    }
}

/// The number of the entry that is this image's.
pub(super) fn position(list: &[String], original: Option<&str>, image: &ImageRef) -> Option<usize> {
    let entries: Vec<Option<Entry>> = list.iter().map(|text| Entry::parse(text)).collect();
    // An entry with the very name goes before one that merely has the repository.
    let named = entries
        .iter()
        .position(|e| e.as_ref().is_some_and(|e| original.is_some() && e.original.as_deref() == original));
    named.or_else(|| entries.iter().position(|e| e.as_ref().is_some_and(|e| e.is(original, image))))
}

/// The text of an image's entry; an entry that names its original keeps doing so.
pub(super) fn entry_text(slot: &Slot, value: &ImageRef, old: Option<&str>) -> String {
    let kept = old.and_then(|text| text.split_once('=')).map(|(original, _)| original.trim());
    match slot.names.kustomize_name.as_deref().or(kept) {
        Some(original) => format!("{original}={}", value.full_reference()),
        None => value.full_reference(),
    }
}

/// What `kustomize.images` says of an image.
pub(super) fn desired_entry(list: &[String], slot: &Slot, place: &str) -> Option<Desired> {
    let index = position(list, slot.names.kustomize_name.as_deref(), &slot.image)?;
    let image = Entry::parse(&list[index])?.image;
    Some(Desired {
        name: Some(image.full_name()),
        tag: image.tag.clone().filter(|t| !t.is_empty()),
        digest: image.digest.clone(),
        place: format!("{place}[{index}]"),
    })
}
