//! The decision about one image: is it in use, what does its place hold, is something else wanted, may it be written
//! (image-updates.md §8, §12).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::tracked::{Discover, TrackedImage};
use crate::core::application::Application;
use crate::core::image::{Candidate, Choice, ImageRef, Strategy, Version, tag_text};
use crate::core::writeback::Desired;

/// State of an image, a closed list (DEC-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nobody asked for it.
    Unmanaged,
    /// It did not pass the discovery gate.
    NotLive,
    /// No tag remains.
    NoCandidate,
    /// The desired value is the candidate.
    UpToDate,
    /// Something better is known and policy keeps it back.
    Held,
    /// A change is to be written.
    UpdateDue,
    /// The change waits in a pull request.
    PullRequestOpen,
    /// Lynceus or the Git host will not make the write as things are.
    Refused,
    /// Something needed does not work.
    Failed,
}

impl State {
    /// The word in JSON, metrics and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            State::Unmanaged => "unmanaged",
            State::NotLive => "not-live",
            State::NoCandidate => "no-candidate",
            State::UpToDate => "up-to-date",
            State::Held => "held",
            State::UpdateDue => "update-due",
            State::PullRequestOpen => "pull-request-open",
            State::Refused => "refused",
            State::Failed => "failed",
        }
    }
}

/// Why a candidate is kept back (§22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HeldReason {
    /// It ranks below what is in use (DEC-4).
    Downgrade,
    /// The Application's parent put the old value back (ARG-8).
    RevertedByParent,
}

impl HeldReason {
    /// The word of §22.
    pub fn word(self) -> &'static str {
        match self {
            HeldReason::Downgrade => "downgrade",
            HeldReason::RevertedByParent => "reverted-by-parent",
        }
    }
}

/// A candidate that is kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Why.
    pub reason: HeldReason,
    /// The value that would have been written, as text.
    pub candidate: String,
    /// The same for a person.
    pub text: String,
}

/// One image of one Application going from an old to a new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The image in its configured spelling, with its alias, at the new tag and digest.
    pub new: ImageRef,
    /// Tag before; `None` if there was none.
    pub old_tag: Option<String>,
    /// Digest before.
    pub old_digest: Option<String>,
    /// Labels of the new image's config, where a commit template asks for them (TAG-7).
    pub labels: BTreeMap<String, String>,
    /// The strategy that chose it, as annotations name it; empty where nothing was chosen.
    pub strategy: &'static str,
    /// When it was first found, as far as the journal knows.
    pub first_seen: Option<Timestamp>,
}

impl Change {
    /// A change that nobody has found yet.
    pub fn of(new: ImageRef, old_tag: Option<String>, old_digest: Option<String>, strategy: &'static str) -> Change {
        Change { new, old_tag, old_digest, labels: BTreeMap::new(), strategy, first_seen: None }
    }

    /// The value before, as text: empty if there was none.
    pub fn old_text(&self) -> String {
        value_text(self.old_tag.as_deref(), self.old_digest.as_deref())
    }

    /// The value after, as text.
    pub fn new_text(&self) -> String {
        self.new.tag_text()
    }
}

/// A value that stands somewhere: unlike in a place for tags only, a digest alone is just that.
fn value_text(tag: Option<&str>, digest: Option<&str>) -> String {
    match (tag, digest) {
        (None, Some(digest)) => digest.to_owned(),
        _ => tag_text(tag, digest),
    }
}

/// What was decided about one image, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The state it is in.
    pub state: State,
    /// What is to be written, in state [`State::UpdateDue`].
    pub change: Option<Change>,
    /// What is kept back, in state [`State::Held`].
    pub held: Option<Held>,
    /// The value in use as the record names it (DES-6); empty if there is none.
    pub old: String,
    /// The value in use is pinned to a digest and the new tag's digest is not known: ask for it and decide again, so
    /// that the pin is kept.
    pub wants_digest: bool,
    /// For a person, in the order in which it was found.
    pub reasons: Vec<String>,
}

/// What a decision is made from.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// All governed images of the Application, the one decided about among them.
    pub siblings: &'a [Arc<TrackedImage>],
    /// Every live image: [`live_images`].
    pub live: &'a [ImageRef],
    /// What the image's place holds; `None` if unknown.
    pub desired: Option<&'a Desired>,
    /// What the image's own selection chose among `candidates`.
    pub choice: &'a Choice,
    /// The repository's tags, for the date of the one in use.
    pub candidates: &'a [Candidate],
    /// Which lists the gate looks at when the image does not say.
    pub discover: Discover,
    /// The value that a parent of the Application took back, and that parent (ARG-8).
    pub reverted: Option<&'a Reverted>,
}

/// A value that was written and put back by the Application's parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverted {
    /// The value, as [`Change::new_text`] gives it.
    pub value: String,
    /// Who put it back, as people name it.
    pub parent: String,
}

/// The live entries that concern an image (DIS-2, DIS-5, DIS-6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveSet {
    /// Those that open the gate.
    pub gate: Vec<ImageRef>,
    /// Those that are this image's alone: the ones to compare with.
    pub own: Vec<ImageRef>,
}

/// Every entry of `status.summary.images` that can be read (DIS-1).
pub fn live_images(app: &Application) -> Vec<ImageRef> {
    app.status.images.iter().filter_map(|text| ImageRef::parse_reference(text.trim()).ok()).collect()
}

/// The live entries of an image. Where several governed images share the repository, an entry is an image's own only
/// if that image alone accepts its tag.
pub fn live_set(image: &TrackedImage, siblings: &[Arc<TrackedImage>], live: &[ImageRef]) -> LiveSet {
    let of = |repository| live.iter().filter(|l| l.canonical() == repository).cloned().collect::<Vec<_>>();
    let renamed = image.names.kustomize_name.as_deref().and_then(|name| ImageRef::parse_reference(name).ok());
    let mut repository = image.repository();
    let mut gate = Vec::new();
    if let Some(renamed) = renamed {
        gate = of(renamed.canonical());
        if !gate.is_empty() {
            repository = renamed.canonical();
        }
    }
    if gate.is_empty() {
        gate = of(repository.clone());
    }
    let sharing: Vec<&TrackedImage> =
        siblings.iter().map(AsRef::as_ref).filter(|s: &&TrackedImage| s.repository() == image.repository()).collect();
    if sharing.len() < 2 {
        return LiveSet { own: gate.clone(), gate };
    }
    let accepts = |s: &TrackedImage, entry: &ImageRef| entry.tag.as_deref().is_some_and(|t| s.selection.accepts(t));
    let own = gate
        .iter()
        .filter(|entry| accepts(image, entry) && sharing.iter().filter(|sibling| accepts(sibling, entry)).count() < 2)
        .cloned()
        .collect();
    LiveSet { gate, own }
}

/// Decides about one image.
pub fn decide(image: &TrackedImage, facts: &Facts<'_>) -> Decision {
    let set = live_set(image, facts.siblings, facts.live);
    let current = current(image, facts, &set);
    let mut reasons = Vec::new();
    let settled = |state, reasons| Decision {
        state,
        change: None,
        held: None,
        old: current.text(),
        wants_digest: false,
        reasons,
    };
    if let Some(problem) = &image.unusable {
        reasons.push(problem.to_string());
        return settled(State::Failed, reasons);
    }
    if let Err(why) = gate(image, facts, &set) {
        reasons.push(why);
        return settled(State::NotLive, reasons);
    }
    let Some(chosen) = &facts.choice.chosen else {
        reasons.push(why_none(facts.choice));
        return settled(State::NoCandidate, reasons);
    };
    let due = match facts.desired {
        Some(desired) => differs_from_desired(image, desired, chosen),
        None => differs_from_live(image, &set, chosen),
    };
    let Some(why) = due else {
        reasons.push(match facts.desired {
            Some(desired) => format!("{} holds it already", desired.place),
            None => "every live image of it runs it already".to_owned(),
        });
        return settled(State::UpToDate, reasons);
    };
    reasons.push(why);
    let pinned = image.selection.strategy != Strategy::Digest && current.digest.is_some();
    let digest = chosen.digest.clone().filter(|_| pinned || image.selection.strategy == Strategy::Digest);
    let wants_digest = pinned && digest.is_none();
    if wants_digest {
        reasons.push(format!("it is pinned to a digest now, and the digest of {} is not known", chosen.tag));
    }
    let new = image.image.with_tag(Some(chosen.tag.clone()), digest);
    let mut decision = settled(State::UpdateDue, Vec::new());
    decision.wants_digest = wants_digest;
    match downgrade(image, facts, &current, chosen).and(|| taken_back(facts, &new)) {
        Guard::Open(note) => {
            reasons.extend(note);
            decision.change = Some(Change::of(new, current.tag, current.digest, image.selection.strategy.word()));
        }
        Guard::Closed(reason, text) => {
            decision.state = State::Held;
            reasons.push(text.clone());
            decision.held = Some(Held { reason, candidate: new.tag_text(), text });
        }
    }
    decision.reasons = reasons;
    decision
}

/// The value in use (DES-6).
#[derive(Default)]
struct Current {
    tag: Option<String>,
    digest: Option<String>,
    /// It is of another repository than the one followed.
    elsewhere: bool,
}

impl Current {
    fn text(&self) -> String {
        value_text(self.tag.as_deref(), self.digest.as_deref())
    }
}

fn current(image: &TrackedImage, facts: &Facts<'_>, set: &LiveSet) -> Current {
    if let Some(desired) = facts.desired {
        return Current {
            tag: desired.tag.clone(),
            digest: desired.digest.clone(),
            elsewhere: desired.name.as_deref().is_some_and(|name| !names(image, name)),
        };
    }
    let date = |tag: &str| created(facts.candidates, tag);
    let highest = set.own.iter().max_by(|a, b| {
        let (x, y) = (a.tag.as_deref().unwrap_or_default(), b.tag.as_deref().unwrap_or_default());
        let by_date = match image.selection.strategy {
            Strategy::NewestBuild => date(x).cmp(&date(y)),
            _ => std::cmp::Ordering::Equal,
        };
        by_date.then_with(|| image.selection.compare_names(x, y)).then_with(|| a.digest.cmp(&b.digest))
    });
    highest.map_or_else(Current::default, |live| Current {
        tag: live.tag.clone(),
        digest: live.digest.clone(),
        elsewhere: live.canonical() != image.repository(),
    })
}

/// Whether a name as written in a place means the image's repository.
fn names(image: &TrackedImage, name: &str) -> bool {
    ImageRef::parse_reference(name).is_ok_and(|written| written.canonical() == image.repository())
}

/// DIS-3, DIS-4.
fn gate(image: &TrackedImage, facts: &Facts<'_>, set: &LiveSet) -> Result<(), String> {
    let live = !set.gate.is_empty();
    let desired = facts.desired.is_some_and(|desired| match desired.name.as_deref() {
        None => true,
        Some(name) => names(image, name) || image.names.kustomize_name.as_deref() == Some(name),
    });
    let mode = image.discover.unwrap_or(facts.discover);
    let open = match mode {
        Discover::Live => live,
        Discover::Desired => desired,
        Discover::Both => live || desired,
    };
    if open || image.force_update {
        return Ok(());
    }
    if mode == Discover::Desired {
        return Err(format!("its place does not name {}", image.image.full_name()));
    }
    let seen: BTreeSet<String> = facts.live.iter().map(ImageRef::full_reference).collect();
    Err(if seen.is_empty() {
        "the Application reports no live image".to_owned()
    } else {
        let seen: Vec<String> = seen.into_iter().collect();
        format!("{} is not among the live images: {}", image.image.full_name(), seen.join(", "))
    })
}

/// DES-3. The digest counts under strategy `digest` only: under any other a pin of the same tag is no difference.
fn differs_from_desired(image: &TrackedImage, desired: &Desired, chosen: &Candidate) -> Option<String> {
    if let Some(name) = desired.name.as_deref().filter(|name| !names(image, name)) {
        return Some(format!("{} names {name}, not {}", desired.place, image.image.full_name()));
    }
    let tag = desired.tag.as_deref();
    let differs = match image.selection.strategy {
        // A digest alone says nothing of the tag it came from.
        Strategy::Digest => desired.digest != chosen.digest || tag.is_some_and(|tag| tag != chosen.tag),
        _ => tag != Some(chosen.tag.as_str()),
    };
    differs.then(|| {
        let held = value_text(tag, desired.digest.as_deref());
        format!("{} holds {}", desired.place, if held.is_empty() { "no tag" } else { &held })
    })
}

/// DES-5, DEC-3: due if any live entry differs, or none has a tag or digest to compare.
fn differs_from_live(image: &TrackedImage, set: &LiveSet, chosen: &Candidate) -> Option<String> {
    if set.own.is_empty() {
        return Some("no live image of it is there to compare with".to_owned());
    }
    let differs = |live: &&ImageRef| {
        let renamed = image.names.kustomize_name.is_some() && live.canonical() != image.repository();
        let other = match image.selection.strategy {
            Strategy::Digest => live.digest.is_none() || live.digest != chosen.digest,
            _ => live.tag.as_deref() != Some(chosen.tag.as_str()),
        };
        renamed || other
    };
    set.own.iter().find(differs).map(|live| format!("live is {}", live.full_reference()))
}

/// An action gate (DEC-7): open, perhaps with a note, or closed.
enum Guard {
    Open(Option<String>),
    Closed(HeldReason, String),
}

impl Guard {
    /// The next gate, if this one is open.
    fn and(self, next: impl FnOnce() -> Guard) -> Guard {
        match self {
            Guard::Closed(..) => self,
            Guard::Open(note) => match next() {
                Guard::Open(other) => Guard::Open(note.or(other)),
                closed => closed,
            },
        }
    }
}

/// ARG-8: what a parent put back is not written again.
fn taken_back(facts: &Facts<'_>, new: &ImageRef) -> Guard {
    let value = new.tag_text();
    match facts.reverted.filter(|reverted| reverted.value == value) {
        None => Guard::Open(None),
        Some(Reverted { parent, .. }) => {
            let text = format!("{parent} put the old value back after {value} was written; it is not written again");
            Guard::Closed(HeldReason::RevertedByParent, text)
        }
    }
}

/// DEC-4.
fn downgrade(image: &TrackedImage, facts: &Facts<'_>, current: &Current, chosen: &Candidate) -> Guard {
    let ranked = matches!(image.selection.strategy, Strategy::SemVer | Strategy::NewestBuild);
    let Some(tag) = current.tag.as_deref().filter(|_| ranked && !image.allow_downgrade) else {
        return Guard::Open(None);
    };
    if current.elsewhere {
        return Guard::Open(Some("the value in use is of another repository: no downgrade is looked for".to_owned()));
    }
    let lower = match image.selection.strategy {
        Strategy::SemVer => match (Version::parse(&chosen.tag), Version::parse(tag)) {
            (Some(new), Some(old)) => Some(new < old),
            _ => None,
        },
        _ => match (chosen.created, created(facts.candidates, tag)) {
            (Some(new), Some(old)) => Some(new < old),
            _ => None,
        },
    };
    match lower {
        Some(true) => {
            let text = format!("{} ranks below {tag}, which is in use; allow-downgrade would let it pass", chosen.tag);
            Guard::Closed(HeldReason::Downgrade, text)
        }
        Some(false) => Guard::Open(None),
        None => Guard::Open(Some(format!("{} cannot be compared with {tag}: not held as a downgrade", chosen.tag))),
    }
}

fn created(candidates: &[Candidate], tag: &str) -> Option<Timestamp> {
    candidates.iter().find(|c| c.tag == tag)?.created
}

fn why_none(choice: &Choice) -> String {
    if choice.verdicts.is_empty() {
        return "the repository has no tag".to_owned();
    }
    let counts: Vec<String> = choice.counts().into_iter().map(|(rule, n)| format!("{rule} {n}")).collect();
    format!("every tag is rejected: {}", counts.join(", "))
}

/// The writes that meet another one at the same place with another value (OWN-6), by their position: none of them is
/// made. Equal values at one place are one write.
pub fn collisions<P: Ord, V: PartialEq>(writes: impl IntoIterator<Item = (P, V)>) -> BTreeSet<usize> {
    let mut places: BTreeMap<P, Vec<(usize, V)>> = BTreeMap::new();
    for (i, (place, value)) in writes.into_iter().enumerate() {
        places.entry(place).or_default().push((i, value));
    }
    places
        .into_values()
        .filter(|writes| writes.iter().any(|(_, value)| *value != writes[0].1))
        .flat_map(|writes| writes.into_iter().map(|(i, _)| i))
        .collect()
}
