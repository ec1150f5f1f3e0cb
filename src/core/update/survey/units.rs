//! Due changes become units of a push or patches of the Application (image-updates.md §12 DEC-8, §13).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{ImageReport, Inputs, Parameters, Place, Routed, Stop, Survey, Trouble, Want, image, said, standing_value};
use crate::core::application::source::normalise_repo_url;
use crate::core::image::{ImageRef, Strategy};
use crate::core::problem::Problem;
use crate::core::update::commit::BranchData;
use crate::core::update::decision::{Change, State};
use crate::core::update::plan::Unit;
use crate::core::writeback::{self, ImageEdit, Target};

/// The value an image's place shall hold, and whether that is a change.
fn edit(report: &ImageReport) -> Option<ImageEdit> {
    let slot = report.image.slot();
    let by_digest = report.image.selection.strategy == Strategy::Digest;
    let decision = report.decision.as_ref()?;
    if let (State::UpdateDue, Some(change)) = (decision.state, &decision.change) {
        return Some(ImageEdit { slot, value: change.new.clone(), by_digest, due: true });
    }
    // The others keep what they have: the list of an override file replaces the whole one (FMT-O1).
    if !matches!(decision.state, State::UpToDate | State::Held | State::NoCandidate) || decision.old.is_empty() {
        return None;
    }
    Some(ImageEdit { slot, value: standing_value(report, decision), by_digest, due: false })
}

fn changes_of(reports: &[&ImageReport]) -> Vec<Change> {
    reports.iter().filter_map(|r| r.decision.as_ref().filter(|d| d.state == State::UpdateDue)?.change.clone()).collect()
}

/// Due changes by target become units (DEC-8).
pub(super) fn units(inputs: &Inputs<'_>, places: &[Option<Place>], survey: &mut Survey) {
    let mut groups: BTreeMap<(String, String, Target), Vec<usize>> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        if let Some(Place { target: Some(target), repo_url, base, .. }) = place {
            let key = (normalise_repo_url(repo_url), base.clone(), target.clone());
            groups.entry(key).or_default().push(index);
        }
    }
    for ((remote, base, target), members) in groups {
        let reports: Vec<&ImageReport> = members.iter().map(|index| &survey.images[*index]).collect();
        let changes = changes_of(&reports);
        if changes.is_empty() {
            continue;
        }
        let edits: Vec<ImageEdit> = reports.iter().filter_map(|report| edit(report)).collect();
        let Some(place) = places[members[0]].clone() else { continue };
        let branch = match branch_for(inputs, &remote, &base, target.path(), &changes) {
            Ok(branch) => branch,
            Err(problem) => {
                for index in
                    members.iter().filter(|i| survey.images[**i].state == State::UpdateDue).copied().collect::<Vec<_>>()
                {
                    survey.images[index].state = State::Failed;
                    survey.images[index].trouble = Some(Trouble { kind: problem.code, text: said(&problem) });
                }
                continue;
            }
        };
        for index in &members {
            if let Some(destination) = &mut survey.images[*index].destination {
                destination.branch.clone_from(&branch);
            }
        }
        let unit = Unit { app: inputs.app.clone(), route: place.route, target, edits, changes };
        survey.units.push(Routed { repo_url: place.repo_url, base, branch, unit });
    }
}

fn branch_for(
    inputs: &Inputs<'_>,
    remote: &str,
    base: &str,
    file: &str,
    changes: &[Change],
) -> Result<String, Problem> {
    let Some(setting) = &inputs.settings.git_branch else { return Ok(base.to_owned()) };
    let key = Sha256::digest(format!("{remote}|{base}|{file}"));
    let target_key: String = key[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let data = BranchData { app: &inputs.app.key, changes, target_key: &target_key };
    setting.push_branch(base, &data)
}

/// Where the push branch exists already, what it holds counts (DES-2): its files are wanted, and the images are
/// decided once more against them.
pub(super) fn push_branches(
    inputs: &Inputs<'_>,
    live: &[ImageRef],
    places: &mut Vec<Option<Place>>,
    survey: &mut Survey,
) {
    let mut at = BTreeMap::new();
    for routed in &survey.units {
        let remote = normalise_repo_url(&routed.repo_url);
        let Some(Ok(view)) = inputs.remotes.get(&remote) else { continue };
        if routed.branch == routed.base || !view.branches.contains(&routed.branch) {
            continue;
        }
        if view.trees.contains_key(&routed.branch) {
            at.insert((remote, routed.base.clone()), routed.branch.clone());
        } else {
            survey.wants.insert(Want::Branch(remote, routed.branch.clone()));
        }
    }
    if at.is_empty() {
        return;
    }
    let named: BTreeMap<usize, String> = survey
        .images
        .iter()
        .enumerate()
        .filter_map(|(i, r)| Some((i, r.destination.as_ref()?.branch.clone())))
        .collect();
    let mut again = Survey { wants: std::mem::take(&mut survey.wants), ..Survey::default() };
    places.clear();
    for index in 0..inputs.settings.images.len() {
        let (mut report, place) = image(inputs, index, live, &at, &mut again);
        if let (Some(destination), Some(branch)) = (&mut report.destination, named.get(&index)) {
            destination.branch.clone_from(branch);
        }
        again.images.push(report);
        places.push(place);
    }
    units(inputs, places, &mut again);
    again.problems = std::mem::take(&mut survey.problems);
    *survey = again;
}

/// Due changes of method `argocd`, one patch per source.
pub(super) fn parameters(inputs: &Inputs<'_>, places: &[Option<Place>], survey: &mut Survey) {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        if let Some(place) = place {
            groups.entry(place.route.source_index).or_default().push(index);
        }
    }
    for members in groups.into_values() {
        let reports: Vec<&ImageReport> = members.iter().map(|index| &survey.images[*index]).collect();
        let changes = changes_of(&reports);
        let Some(place) = places[members[0]].as_ref().filter(|_| !changes.is_empty()) else { continue };
        let edits: Vec<ImageEdit> = reports.iter().filter_map(|report| edit(report)).filter(|e| e.due).collect();
        let due: Vec<usize> = members.iter().copied().filter(|i| survey.images[*i].state == State::UpdateDue).collect();
        match writeback::parameters_patch(inputs.app, &place.route, &edits) {
            Ok(Some(patch)) => {
                if inputs.offline {
                    let text = "method argocd changes the Application in the cluster, and there is none".to_owned();
                    for index in due {
                        survey.images[index].state = State::Refused;
                        survey.images[index].trouble =
                            Some(Trouble { kind: "kubernetes-unavailable", text: text.clone() });
                    }
                }
                survey.parameters.push(Parameters { changes, patch });
            }
            Ok(None) => due.into_iter().for_each(|index| survey.images[index].state = State::UpToDate),
            Err(refusal) => {
                for index in due {
                    let report = survey.images[index].clone();
                    survey.images[index] = Stop::Refused(refusal.clone()).into_report(report);
                }
            }
        }
    }
}
