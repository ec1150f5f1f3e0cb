//! Claims: which image wants which value where. Two that want different ones at one place would overwrite each other for
//! ever, so neither is written (image-updates.md OWN-6).

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::decision::{Change, State, collisions};
use super::survey::{Survey, Trouble};
use crate::core::application::AppKey;
use crate::core::image::ImageRef;

const HINT: &str = "give each image its own helm.image-tag, kustomize.image-name or write-back-target";

/// One image's claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its Application.
    pub app: AppKey,
    /// Its position there.
    pub image: usize,
    /// The file or source, and the place inside it.
    pub place: (String, String),
    /// What it wants there; spellings of one meaning are alike.
    pub value: String,
}

/// The claims that meet another value at their place, by their position, and what to say of each.
pub fn meet<C: Borrow<Claim>>(claims: &[C]) -> BTreeMap<usize, String> {
    let claims: Vec<&Claim> = claims.iter().map(Borrow::borrow).collect();
    let met = collisions(claims.iter().map(|claim| (&claim.place, &claim.value)));
    let mut at: BTreeMap<&(String, String), BTreeSet<String>> = BTreeMap::new();
    for index in &met {
        let claim = claims[*index];
        at.entry(&claim.place).or_default().insert(format!("{} of {}", claim.value, claim.app));
    }
    let text = |claim: &Claim| {
        let (outer, inner) = &claim.place;
        let values: Vec<String> = at[&claim.place].iter().cloned().collect();
        format!("different values are meant for {inner} in {outer}: {}", values.join(", "))
    };
    met.into_iter().map(|index| (index, text(claims[index]))).collect()
}

/// Takes back what a survey would write for these images, and for those that share a unit with one of them (DEC-8).
pub fn refuse(survey: &mut Survey, images: &BTreeMap<usize, String>) {
    let reports: Vec<ImageRef> = survey.images.iter().map(|report| report.image.image.with_tag(None, None)).collect();
    let members = |changes: &[Change]| -> Vec<usize> {
        let position = |change: &Change| reports.iter().position(|image| *image == change.new.with_tag(None, None));
        changes.iter().filter_map(position).collect()
    };
    let mut texts = images.clone();
    let units = survey.units.iter().map(|routed| &routed.unit.changes);
    for changes in units.chain(survey.parameters.iter().map(|parameters| &parameters.changes)) {
        let members = members(changes);
        let Some(text) = members.iter().find_map(|member| images.get(member)) else { continue };
        for member in members {
            texts.entry(member).or_insert_with(|| format!("it is written together with another image: {text}"));
        }
    }
    let stays = |changes: &[Change]| !members(changes).iter().any(|member| texts.contains_key(member));
    survey.units.retain(|routed| stays(&routed.unit.changes));
    survey.parameters.retain(|parameters| stays(&parameters.changes));
    for (image, text) in &texts {
        let text = format!("{text} ({HINT})");
        survey.images[*image].state = State::Refused;
        survey.images[*image].trouble = Some(Trouble { kind: "target-collision", text });
    }
}
