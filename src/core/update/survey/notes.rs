//! What a survey says beside its decisions: warnings of places, parents that put values back, who claims what.

use std::collections::{BTreeMap, BTreeSet};

use super::{ImageReport, Inputs, Place, Survey, standing_value};
use crate::core::application::source::normalise_repo_url;
use crate::core::image::ImageRef;
use crate::core::problem::Problem;
use crate::core::update::claims::Claim;
use crate::core::update::decision::{self, Decision, State};
use crate::core::update::parent;
use crate::core::writeback::{self, Slot, Target};

/// What is to be said of the places themselves, due or not (EVT-4).
pub(super) fn standing_problems(inputs: &Inputs<'_>, places: &[Option<Place>], survey: &mut Survey) {
    let mut groups: BTreeMap<(String, String, Target), Vec<usize>> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        if let Some(Place { target: Some(target), repo_url, base, .. }) = place {
            groups.entry((repo_url.clone(), base.clone(), target.clone())).or_default().push(index);
        }
    }
    for ((repo_url, base, target), members) in groups {
        let Some(place) = &places[members[0]] else { continue };
        let branch = survey.images[members[0]].destination.as_ref().map(|d| d.branch.clone());
        let view = inputs.remotes.get(&normalise_repo_url(&repo_url)).and_then(|view| view.as_ref().ok());
        let tree = view.and_then(|v| branch.and_then(|branch| v.trees.get(&branch)).or_else(|| v.trees.get(&base)));
        let Some(tree) = tree else { continue };
        let slots: Vec<Slot> = members.iter().map(|index| survey.images[*index].image.slot()).collect();
        let slots: Vec<&Slot> = slots.iter().collect();
        let mut found = writeback::standing(tree.as_ref(), &target, inputs.app, &place.route, &slots);
        if found.is_empty() && matches!(target, Target::Override { .. }) {
            // A file that is still to be made.
            let unit = survey.units.iter().find(|routed| routed.unit.target == target && routed.base == base);
            let edited = unit
                .map(|routed| writeback::edit(tree.as_ref(), &target, inputs.app, &place.route, &routed.unit.edits));
            found = edited.and_then(Result::ok).map(|edited| edited.warnings).unwrap_or_default();
        }
        survey.problems.extend(found);
    }
}

/// ARG-8, and settings of other methods that this one does not heed (§14).
pub(super) fn parent_problems(inputs: &Inputs<'_>, places: &[Option<Place>], survey: &mut Survey) {
    let settings = inputs.settings;
    let set = [
        ("write-back-target", !settings.write_back_target.is_empty()),
        ("git-branch", settings.git_branch.is_some()),
        ("git-repository", settings.git_repository.is_some()),
    ];
    for (key, _) in set.into_iter().filter(|(_, set)| *set) {
        let problem = Problem::info("config-invalid", format!("{key} is ignored by write-back-method argocd"))
            .in_object(inputs.app.label())
            .at_key(key)
            .hint("set write-back-method: git, or remove it");
        survey.problems.push(problem);
    }
    let Some(parent) = inputs.parent else { return };
    let fields: BTreeSet<String> =
        places.iter().flatten().map(|place| parent::edited_field(inputs.app, &place.route)).collect();
    let fields: Vec<String> = fields.into_iter().collect();
    if !fields.is_empty() {
        survey.problems.push(parent::warning(inputs.app, parent, &fields));
    }
}

/// What every image wants at its place: the new value where a change is due, else the one that stands.
pub(super) fn claims(inputs: &Inputs<'_>, places: &[Option<Place>], survey: &Survey) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (index, (report, place)) in survey.images.iter().zip(places).enumerate() {
        let (Some(place), Some(decision)) = (place, &report.decision) else { continue };
        let value = match (decision.state, &decision.change) {
            (State::UpdateDue, Some(change)) => change.new.clone(),
            (State::UpToDate, _) if report.desired.is_some() => standing_value(report, decision),
            _ => continue,
        };
        let slot = report.image.slot();
        let (inner, value) = writeback::claim(place.target.as_ref(), place.route.kind, &slot, &value);
        let outer = match (&place.target, &report.destination) {
            (Some(target), Some(to)) => {
                format!("{} of {} in {}", target.path(), to.branch, normalise_repo_url(&to.repo_url))
            }
            _ => format!("source {} of Application {}", place.route.source_index, inputs.app.key),
        };
        claims.push(Claim { app: inputs.app.key.clone(), image: index, place: (outer, inner), value });
    }
    claims
}

/// ROUTE-8: the place holds the candidate, the Application was synced, and something else runs because nobody reads the
/// place.
pub(super) fn ineffective(
    inputs: &Inputs<'_>,
    report: &ImageReport,
    decision: &Decision,
    place: &Place,
    live: &[ImageRef],
) -> Option<String> {
    if decision.state != State::UpToDate || inputs.app.status.sync != "Synced" {
        return None;
    }
    let desired = report.desired.as_ref()?;
    let why = writeback::unread(place.target.as_ref()?, inputs.app, &place.route)?;
    let own = decision::live_set(&report.image, &inputs.settings.images, live).own;
    let other = own.iter().find(|live| live.tag != desired.tag)?;
    Some(format!("{} runs, because Argo CD does not read the file: {why}", other.full_reference()))
}
