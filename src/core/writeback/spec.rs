//! The same change as a narrow patch of the Application itself (ARG-1 to ARG-7, method `argocd`).

use serde_json::{Value as Json, json};

use super::entries;
use super::{Desired, ImageEdit, Patch, Refusal, Slot};
use crate::core::application::source::Route;
use crate::core::application::{Application, SourceType};

/// What the Application's own lists say of an image (DES-1).
pub(super) fn desired(app: &Application, route: &Route, slot: &Slot) -> Result<Option<Desired>, Refusal> {
    let Some(source) = app.sources.get(route.source_index) else { return Ok(None) };
    Ok(match route.kind {
        SourceType::Helm => {
            let list: Vec<(String, String)> =
                source.helm.iter().flat_map(|h| &h.parameters).map(|p| (p.name.clone(), p.value.clone())).collect();
            entries::desired_parameter(&list, slot, "Application parameter")
        }
        SourceType::Kustomize => entries::desired_entry(
            source.kustomize.as_deref().unwrap_or_default(),
            slot,
            "Application kustomize.images",
        ),
        SourceType::Directory | SourceType::Plugin => None,
    })
}

/// The patch, or `None` if the lists say so already.
pub(super) fn patch(app: &Application, route: &Route, images: &[ImageEdit]) -> Result<Option<Patch>, Refusal> {
    let place = place(app, route);
    let whole = app.json();
    let source = whole.pointer(&place).cloned().unwrap_or(Json::Null);
    let due: Vec<&ImageEdit> = images.iter().filter(|i| i.due).collect();
    let (block, key, before, after, show): (_, _, _, _, fn(&Json) -> String) = match route.kind {
        SourceType::Helm => {
            let before = array(&source["helm"]["parameters"]);
            let after = helm(before.clone(), &due)?;
            ("helm", "parameters", before, after, show_parameter)
        }
        SourceType::Kustomize => {
            let before = array(&source["kustomize"]["images"]);
            let after = kustomize(before.clone(), &due)?;
            ("kustomize", "images", before, after, |entry| entry.as_str().unwrap_or_default().to_owned())
        }
        other => return Err(super::unsupported(other)),
    };
    if before == after {
        return Ok(None);
    }
    let mut operations = Vec::new();
    if !app.resource_version.is_empty() {
        // A replaced resourceVersion makes the API server answer 409 to a stale patch.
        let version = &app.resource_version;
        operations.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
    }
    operations.push(if source[block].is_object() {
        json!({"op": "add", "path": format!("{place}/{block}/{key}"), "value": after})
    } else {
        json!({"op": "add", "path": format!("{place}/{block}"), "value": {key: after}})
    });
    Ok(Some(Patch {
        operations: Json::Array(operations),
        before: before.iter().map(show).collect(),
        after: after.iter().map(show).collect(),
    }))
}

fn place(app: &Application, route: &Route) -> String {
    if app.hydrated {
        "/spec/sourceHydrator/drySource".to_owned()
    } else if app.multi_source {
        format!("/spec/sources/{}", route.source_index)
    } else {
        "/spec/source".to_owned()
    }
}

fn helm(mut list: Vec<Json>, due: &[&ImageEdit]) -> Result<Vec<Json>, Refusal> {
    let mut wanted = Vec::new();
    for edit in due {
        for (name, text) in entries::parameters(&edit.slot, &edit.value) {
            entries::claim(&mut wanted, name, text, &edit.value)?;
        }
    }
    for (name, text, _) in wanted {
        match list.iter_mut().rev().find(|p| p["name"] == Json::String(name.clone())) {
            Some(Json::Object(entry)) => {
                entry.insert("value".to_owned(), Json::String(text));
                entry.insert("forceString".to_owned(), Json::Bool(true));
            }
            _ => list.push(json!({"name": name, "value": text, "forceString": true})),
        }
    }
    Ok(list)
}

fn kustomize(list: Vec<Json>, due: &[&ImageEdit]) -> Result<Vec<Json>, Refusal> {
    let mut texts: Vec<String> = list.iter().map(|e| e.as_str().unwrap_or_default().to_owned()).collect();
    let mut touched: Vec<(usize, &ImageEdit)> = Vec::new();
    for edit in due {
        let found = entries::position(&texts, edit.slot.names.kustomize_name.as_deref(), &edit.value);
        let text = entries::entry_text(&edit.slot, &edit.value, found.map(|n| texts[n].as_str()));
        let index = found.unwrap_or(texts.len());
        match touched.iter().find(|(n, _)| *n == index) {
            Some((_, other)) if other.value != edit.value => {
                return Err(super::collision(&texts[index], &other.value, &edit.value));
            }
            _ => touched.push((index, edit)),
        }
        match found {
            Some(index) => texts[index] = text,
            None => texts.push(text),
        }
    }
    Ok(texts.into_iter().map(Json::String).collect())
}

fn array(json: &Json) -> Vec<Json> {
    json.as_array().cloned().unwrap_or_default()
}

/// What is shown behind a parameter that is a text whatever it looks like.
pub const FORCED: &str = " (forceString)";

fn show_parameter(entry: &Json) -> String {
    let text = |key: &str| entry[key].as_str().unwrap_or_default();
    let force = if entry["forceString"] == Json::Bool(true) { FORCED } else { "" };
    format!("{}={}{force}", text("name"), text("value"))
}
