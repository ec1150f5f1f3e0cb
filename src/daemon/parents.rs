//! Parents of Applications that are patched: who they are, and what they put back (image-updates.md ARG-8). A value that
//! was put back is remembered in the store, so that a restart does not write it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::round::{Governed, Input};
use super::world::World;
use crate::core::application::{AppKey, Application};
use crate::core::event::Kind;
use crate::core::update::Method;
use crate::core::update::decision::{Reverted, State};
use crate::core::update::parent::{self, INSTANCE_LABEL, Named, Parent};
use crate::core::update::survey::{ImageReport, Survey};

/// Keys of values that were put back, in the store.
const PUT_BACK: &str = "images/reverted/";

/// Argo CD's own configuration, and the key of the label in it.
const ARGOCD_CM: &str = "argocd-cm";
const LABEL_KEY: &str = "application.instanceLabelKey";

/// Argo CD's configuration is asked again after this long.
const LABEL_AGE: Duration = Duration::from_secs(600);

/// Events of an Application looked through for the last write.
const LOOK_BACK: usize = 200;

/// Who manages each of these Applications, as far as it matters: none for those written to Git.
pub(super) async fn find(world: &World, governed: &[Governed]) -> Vec<Option<Parent>> {
    let mut known: BTreeMap<AppKey, Option<Parent>> = BTreeMap::new();
    let mut label = None;
    let mut found = Vec::new();
    for (app, settings) in governed {
        if settings.method != Method::Argocd || world.offline() || world.cluster.is_none() {
            found.push(None);
            continue;
        }
        let label = match &label {
            Some(label) => label,
            None => label.insert(instance_label(world).await),
        };
        let mut own = None;
        for named in parent::named(app, label, &world.settings.argocd_namespace) {
            own = match named {
                Named::ApplicationSet(name) => {
                    Some(Parent { name: format!("ApplicationSet {name}"), app: None, unread: false })
                }
                Named::Application(key) => match known.get(&key) {
                    Some(parent) => parent.clone(),
                    None => {
                        let parent = application(world, &key).await;
                        known.insert(key, parent.clone());
                        parent
                    }
                },
            };
            if own.is_some() {
                break;
            }
        }
        found.push(own);
    }
    found
}

async fn application(world: &World, key: &AppKey) -> Option<Parent> {
    // What is watched need not be asked for.
    let known = world.applications.by_key(key);
    let complete = world.watches(&key.namespace) && world.board.status().ready.contains("applications");
    if known.is_some() || complete {
        return known.map(|app| Parent { name: app.label(), app: Some(app), unread: false });
    }
    let read = world.cluster.as_ref()?.application(key).await;
    match read {
        Ok(app) => app.map(|app| Parent { name: app.label(), app: Some(Arc::new(app)), unread: false }),
        Err(error) => {
            tracing::debug!("the parent {key} cannot be read: {error}");
            Some(Parent { name: format!("Application {key}"), app: None, unread: true })
        }
    }
}

/// The label that Argo CD is configured to use.
async fn instance_label(world: &World) -> String {
    let asked = world.instance_label.lock().unwrap_or_else(|e| e.into_inner()).clone();
    if let Some((_, label)) = asked.filter(|(at, _)| at.elapsed() < LABEL_AGE) {
        return label;
    }
    let mut label = INSTANCE_LABEL.to_owned();
    if let Some(cluster) = &world.cluster {
        match cluster.one_config_map(&world.settings.argocd_namespace, ARGOCD_CM).await {
            Ok(Some(map)) => {
                let own = map.data.get(LABEL_KEY).map(|label| label.trim()).filter(|label| !label.is_empty());
                label = own.map_or(label, str::to_owned);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!("{ARGOCD_CM} cannot be read: {error}"),
        }
    }
    *world.instance_label.lock().unwrap_or_else(|e| e.into_inner()) = Some((Instant::now(), label.clone()));
    label
}

fn key(app: &Application, image: &ImageReport) -> String {
    named_key(app, image.image.alias(), &image.image.image.full_name())
}

fn named_key(app: &Application, alias: &str, image: &str) -> String {
    format!("{PUT_BACK}{}|{alias}|{image}", crate::core::update::report::uid(app))
}

/// The holds of one Application, by the position of the image.
#[derive(Clone, Default)]
pub(super) struct Holds {
    /// What a parent put back.
    pub(super) held: BTreeMap<usize, Reverted>,
    /// When a hold ended: what was written before says nothing any more.
    pub(super) released: BTreeMap<usize, Timestamp>,
}

/// Gives each Application what its parent put back and nothing has changed since. What has changed ends a hold.
pub(super) async fn put_back(world: &World, inputs: &mut [Input]) {
    let Some(store) = world.store.as_ref().filter(|_| inputs.iter().any(|input| input.parent.is_some())) else {
        return;
    };
    let texts = match store.texts(PUT_BACK).await {
        Ok(texts) => texts,
        Err(error) => {
            tracing::warn!("values that were put back are not known: {error}");
            return;
        }
    };
    let now = Timestamp::now();
    for Input { app, settings, parent, holds, .. } in inputs {
        let Some(parent) = parent else { continue };
        let print = parent::fingerprint(app, parent);
        for (index, image) in settings.images.iter().enumerate() {
            let key = named_key(app, image.alias(), &image.image.full_name());
            let Some(json) = texts.get(&key).and_then(|text| serde_json::from_str::<Json>(text).ok()) else { continue };
            // What cannot be read now may have changed or not: a hold stays until that is known.
            if parent.unread || json["print"] == print.as_str() {
                let value = json["value"].as_str().unwrap_or_default().to_owned();
                holds.held.insert(index, Reverted { value, parent: parent.name.clone() });
                continue;
            }
            // That it was put back before says nothing any more, also if this look has to begin anew.
            let at = json["released"].as_str().and_then(|at| at.parse().ok()).unwrap_or(now);
            holds.released.insert(index, at);
            let released = json!({ "released": at.to_string() }).to_string();
            if json.get("released").is_none()
                && let Err(error) = store.set_text(&key, &released).await
            {
                tracing::warn!("a hold that has ended stays on record: {error}");
            }
        }
    }
}

/// Which due changes of a survey the parent has just put back: they were written within the last two intervals, and
/// what stands is the old value again. They are remembered.
pub(super) async fn notice(
    world: &World,
    app: &Application,
    parent: &Parent,
    survey: &Survey,
    released: &BTreeMap<usize, Timestamp>,
) -> BTreeMap<usize, Reverted> {
    let mut found = BTreeMap::new();
    let Some(store) = world.store.as_ref().filter(|_| !survey.parameters.is_empty()) else { return found };
    let Ok(history) = store.history(Some(app.key.clone()), LOOK_BACK).await else { return found };
    let (now, within) = (Timestamp::now(), 2 * world.settings.pace());
    for (index, report) in survey.images.iter().enumerate() {
        let Some(change) = report.decision.as_ref().and_then(|d| d.change.as_ref()) else { continue };
        let own = |event: &&crate::core::event::Event| {
            event.kind == Kind::Committed
                && event.alias == report.image.alias()
                && event.image == change.new.full_name()
                && event.place.as_ref().is_some_and(|place| place.method == "argocd")
        };
        let Some(last) = history.iter().find(own) else { continue };
        if released.get(&index).is_some_and(|at| last.at <= *at) {
            continue;
        }
        let age = Duration::try_from(now.duration_since(last.at)).unwrap_or_default();
        if report.state == State::UpdateDue && last.new == change.new_text() && age <= within {
            found.insert(index, Reverted { value: last.new.clone(), parent: parent.name.clone() });
        }
    }
    found
}

/// Forgets holds that a newer candidate has ended.
pub(super) async fn outrun(world: &World, app: &Application, survey: &Survey, holds: &BTreeMap<usize, Reverted>) {
    let Some(store) = world.store.as_ref().filter(|_| !world.settings.dry_run) else { return };
    for (index, reverted) in holds {
        let report = &survey.images[*index];
        let chosen = report.choice.as_ref().and_then(|choice| choice.chosen.as_ref());
        let other = chosen.is_some_and(|chosen| reverted.value.split('@').next() != Some(chosen.tag.as_str()));
        if other && let Err(error) = store.remove_text(&key(app, report)).await {
            tracing::warn!("a hold that has ended stays on record: {error}");
        }
    }
}

/// Remembers what was put back.
pub(super) async fn remember(
    world: &World,
    app: &Application,
    parent: &Parent,
    survey: &Survey,
    held: &BTreeMap<usize, Reverted>,
) {
    let Some(store) = world.store.as_ref().filter(|_| !world.settings.dry_run) else { return };
    let print = parent::fingerprint(app, parent);
    for (index, reverted) in held {
        let text = json!({ "value": reverted.value, "print": print }).to_string();
        if let Err(error) = store.set_text(&key(app, &survey.images[*index]), &text).await {
            tracing::warn!("a value that was put back may be written once more: {error}");
        }
    }
}
