//! What surveys of one round mean for each other and for what came before: values that a parent put back, places that
//! several images claim.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Input, Views, survey_all};
use crate::core::update::claims::{self, Claim};
use crate::core::update::survey::Survey;
use crate::daemon::parents;
use crate::daemon::world::World;

/// What a parent has just put back is held instead of written again. The Application is read once more for that: the
/// version at hand may be older than our own write.
pub(super) async fn hold_back(world: &World, inputs: &mut [Arc<Input>], views: &Views, surveys: &mut [Option<Survey>]) {
    for index in 0..inputs.len() {
        let (Some(parent), Some(survey)) = (inputs[index].parent.clone(), surveys[index].clone()) else { continue };
        parents::outrun(world, &inputs[index].app, &survey, &inputs[index].holds.held).await;
        if parents::notice(world, &inputs[index].app, &parent, &survey, &inputs[index].holds.released).await.is_empty()
        {
            continue;
        }
        let Some(cluster) = &world.cluster else { continue };
        match cluster.application(&inputs[index].app.key).await {
            Ok(Some(app)) => Arc::make_mut(&mut inputs[index]).app = Arc::new(app),
            Ok(None) | Err(_) => continue,
        }
        for (at, done) in survey_all(world, inputs, views, vec![index]).await {
            surveys[at] = Some(done);
        }
        let Some(survey) = &surveys[index] else { continue };
        let held = parents::notice(world, &inputs[index].app, &parent, survey, &inputs[index].holds.released).await;
        parents::remember(world, &inputs[index].app, &parent, survey, &held).await;
        Arc::make_mut(&mut inputs[index]).holds.held.extend(held);
        for (at, done) in survey_all(world, inputs, views, vec![index]).await {
            surveys[at] = Some(done);
        }
    }
}

/// Images of any Applications that want different values at one place are not written (OWN-6). What those want that
/// are not looked at now is known from when they were.
pub(super) fn collide(world: &World, inputs: &[Arc<Input>], surveys: &mut [Option<Survey>]) {
    let mut known = world.claims.lock().unwrap_or_else(|e| e.into_inner());
    for (input, survey) in inputs.iter().zip(surveys.iter_mut()) {
        let own = survey.as_mut().map(|survey| std::mem::take(&mut survey.claims)).unwrap_or_default();
        known.insert(input.app.key.clone(), own);
    }
    let all: Vec<&Claim> = known.values().flatten().collect();
    let met = claims::meet(&all);
    for (input, survey) in inputs.iter().zip(surveys) {
        let own: BTreeMap<usize, String> = met
            .iter()
            .filter(|(at, _)| all[**at].app == input.app.key)
            .map(|(at, text)| (all[*at].image, text.clone()))
            .collect();
        if let Some(survey) = survey.as_mut().filter(|_| !own.is_empty()) {
            claims::refuse(survey, &own);
        }
    }
}
