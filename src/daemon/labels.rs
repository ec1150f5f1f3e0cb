//! Labels of the images that are about to be written, for commit templates that use `.Labels` (image-updates.md TAG-7):
//! looked up for due changes only, each image once a round, and only if the template asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};

use super::credentials;
use super::poller::{self, Ask, Labels};
use super::round::Input;
use super::world::World;
use crate::core::image::Repository;
use crate::core::update::Change;
use crate::core::update::decision::State;
use crate::core::update::survey::{Survey, Trouble};

/// Images asked at the same time.
const AT_ONCE: usize = 16;

/// Which image: repository, tag, platforms, and whose credential.
type Key = (Repository, String, Vec<String>, Option<String>, String);

/// What was found.
pub(super) struct Found(BTreeMap<Key, Result<Labels, Trouble>>);

/// The due changes of one survey, with the position of their image.
fn due(survey: &Survey) -> impl Iterator<Item = (usize, &Change)> {
    let each = survey.images.iter().enumerate();
    let due = each.filter(|(_, report)| report.state == State::UpdateDue);
    due.filter_map(|(index, report)| Some((index, report.decision.as_ref()?.change.as_ref()?)))
}

fn key(input: &Input, index: usize, tag: &str) -> Key {
    let tracked = &input.settings.images[index];
    let platforms = tracked.selection.platforms.iter().map(ToString::to_string).collect();
    let namespace = input.app.key.namespace.clone();
    (tracked.repository(), tag.to_owned(), platforms, tracked.pull_secret.clone(), namespace)
}

/// Looks up the labels of every due change.
pub(super) async fn look_up(world: &World, inputs: &[Arc<Input>], surveys: &[Option<Survey>]) -> Found {
    let mut wanted: BTreeMap<Key, Ask> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (input, survey) in inputs.iter().zip(surveys) {
        for (index, change) in survey.iter().flat_map(due) {
            let key = key(input, index, change.new.tag.as_deref().unwrap_or_default());
            if wanted.contains_key(&key) || found.contains_key(&key) {
                continue;
            }
            let tracked = &input.settings.images[index];
            let form = tracked.pull_secret.as_deref();
            match credentials::for_registry(world, &input.app, &tracked.image, form).await {
                Ok(credential) => {
                    let (image, selection) = (tracked.image.clone(), tracked.selection.clone());
                    wanted.insert(key, Ask { image, selection, credential, in_use: None });
                }
                Err(trouble) => drop(found.insert(key, Err(trouble))),
            }
        }
    }
    let asked = futures::stream::iter(wanted)
        .map(|(key, ask)| {
            async move {
                let labels = poller::labels(world, &ask, &key.1).await;
                (key, labels)
            }
            .boxed()
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    found.extend(asked);
    Found(found)
}

impl Found {
    /// A change whose labels could not be had for now waits for the next round: what a commit says stays for ever. Gives
    /// which surveys are to be made again.
    pub(super) fn withhold(&self, inputs: &mut [Arc<Input>], surveys: &[Option<Survey>]) -> Vec<usize> {
        let mut without = Vec::new();
        for (place, (input, survey)) in inputs.iter_mut().zip(surveys).enumerate() {
            let mut lacking = false;
            for (index, change) in survey.iter().flat_map(due) {
                let key = key(input, index, change.new.tag.as_deref().unwrap_or_default());
                if let Some(Err(trouble)) = self.0.get(&key) {
                    Arc::make_mut(input).candidates[index] = Err(trouble.clone());
                    lacking = true;
                }
            }
            without.extend(lacking.then_some(place));
        }
        without
    }

    /// Puts the labels into the changes that are written.
    pub(super) fn give(&self, inputs: &[Arc<Input>], surveys: &mut [Option<Survey>]) {
        for (input, survey) in inputs.iter().zip(surveys) {
            let Some(survey) = survey else { continue };
            let labelled: Vec<(Change, Labels)> = due(survey)
                .filter_map(|(index, change)| {
                    let key = key(input, index, change.new.tag.as_deref().unwrap_or_default());
                    Some((change.clone(), self.0.get(&key)?.as_ref().ok()?.clone()))
                })
                .collect();
            for change in survey.units.iter_mut().flat_map(|routed| &mut routed.unit.changes) {
                if let Some((_, labels)) = labelled.iter().find(|(known, _)| known == change) {
                    change.labels = (**labels).clone();
                }
            }
        }
    }
}
