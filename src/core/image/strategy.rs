//! Strategy and Selection: of the tags a repository has, which one is wanted; and of every other, why not
//! (image-updates.md §11).

use std::cmp::Ordering;

use super::{Candidate, Constraint, Detail, Glob, Platform, TagFilter, Version, is_tag};
use crate::core::problem::Problem;

/// How tags are ordered; the last in order is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Precedence of semantic versions, ties by the bytes of the text.
    #[default]
    SemVer,
    /// Build date, ties by name.
    NewestBuild,
    /// Bytes of the text.
    Alphabetical,
    /// One tag, whose digest may move.
    Digest,
}

impl Strategy {
    /// Its name in annotations.
    pub fn word(self) -> &'static str {
        match self {
            Strategy::SemVer => "semver",
            Strategy::NewestBuild => "newest-build",
            Strategy::Alphabetical => "alphabetical",
            Strategy::Digest => "digest",
        }
    }

    /// Reads a name, whatever its case; the flag says that it is an old one. `None` if there is no such strategy.
    pub fn parse(text: &str) -> Option<(Strategy, bool)> {
        Some(match text.to_ascii_lowercase().as_str() {
            "semver" => (Strategy::SemVer, false),
            "newest-build" => (Strategy::NewestBuild, false),
            "latest" => (Strategy::NewestBuild, true),
            "alphabetical" => (Strategy::Alphabetical, false),
            "name" => (Strategy::Alphabetical, true),
            "digest" => (Strategy::Digest, false),
            _ => return None,
        })
    }
}

/// Everything a user said about which tags of an image are wanted.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The strategy.
    pub strategy: Strategy,
    bound: Bound,
    /// `allow-tags`.
    pub allow: TagFilter,
    /// `ignore-tags`: malformed patterns match nothing and are not in here.
    pub ignore: Vec<Glob>,
    /// Platforms of which at least one must be there; empty means that nothing matches (all were malformed).
    pub platforms: Vec<Platform>,
}

/// What the constraint means for the strategy.
#[derive(Clone, Debug)]
enum Bound {
    /// The strategy ignores constraints.
    None,
    Range(Constraint),
    Tag(String),
    /// Nothing can be chosen.
    Unusable,
}

/// How a tag fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It could be taken, but another one ranks higher.
    Accepted,
    /// It is the one.
    Chosen,
    /// A rule excludes it.
    Rejected,
}

impl Standing {
    /// The word in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Accepted => "accepted",
            Standing::Chosen => "chosen",
            Standing::Rejected => "rejected",
        }
    }
}

/// What became of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The tag.
    pub tag: String,
    /// How it fared.
    pub standing: Standing,
    /// The first rule that rejected it: `grammar`, `allow-tags`, `ignore-tags`, `version`, `constraint`, `platforms`
    /// or `metadata`; for others the strategy's name.
    pub rule: &'static str,
    /// The same for a person.
    pub reason: String,
}

/// The outcome of a selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The tag wanted, if any remains.
    pub chosen: Option<Candidate>,
    /// One verdict for every tag seen, the highest-ranking first, whether taken or not; tags that have no rank last.
    pub verdicts: Vec<Verdict>,
}

impl Choice {
    /// How many tags each rule rejected, by rule.
    pub fn counts(&self) -> std::collections::BTreeMap<&'static str, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for verdict in self.verdicts.iter().filter(|v| v.standing == Standing::Rejected) {
            *counts.entry(verdict.rule).or_default() += 1;
        }
        counts
    }
}

/// What one tag is compared by.
enum Rank<'a> {
    Version(Version, &'a str),
    Date(jiff::Timestamp, &'a str),
    Text(&'a str),
    /// Not comparable under the strategy.
    None(&'a str),
}

struct Rejection {
    rule: &'static str,
    reason: String,
}

impl Selection {
    /// A selection with this strategy and tag part of the reference, every tag allowed, for the daemon's own platform.
    /// `reference` is the image as written, for the problem: a constraint that cannot be read, or its absence under
    /// strategy `digest` (TAG-5). With a problem nothing will ever be chosen.
    pub fn new(strategy: Strategy, constraint: Option<&str>, reference: &str) -> (Selection, Option<Problem>) {
        let constraint = constraint.unwrap_or_default();
        let (bound, problem) = match strategy {
            Strategy::SemVer => match Constraint::parse(constraint) {
                Ok(range) => (Bound::Range(range), None),
                Err(problem) => (Bound::Unusable, Some(problem)),
            },
            Strategy::NewestBuild | Strategy::Alphabetical => (Bound::None, None),
            Strategy::Digest if constraint.is_empty() => (Bound::Unusable, Some(no_digest_tag(reference))),
            Strategy::Digest => (Bound::Tag(constraint.to_owned()), None),
        };
        let selection = Selection {
            strategy,
            bound,
            allow: TagFilter::default(),
            ignore: Vec::new(),
            platforms: vec![Platform::daemon_default()],
        };
        (selection, problem)
    }

    /// The version constraint, under strategy `semver`.
    pub fn constraint(&self) -> Option<&Constraint> {
        match &self.bound {
            Bound::Range(range) => Some(range),
            _ => None,
        }
    }

    /// The one tag of strategy `digest`.
    pub fn digest_tag(&self) -> Option<&str> {
        match &self.bound {
            Bound::Tag(tag) => Some(tag),
            _ => None,
        }
    }

    /// What must be known of the tags that [`Selection::wanted`] names; `sorted` if the registry's `tagsortmode`
    /// makes the place in the list the date.
    pub fn detail(&self, sorted: bool) -> Detail {
        match self.strategy {
            Strategy::SemVer | Strategy::Alphabetical => Detail::Names,
            Strategy::NewestBuild if sorted => Detail::Names,
            Strategy::NewestBuild => Detail::Created,
            Strategy::Digest => Detail::Digest,
        }
    }

    /// The tags whose names pass: only of these is metadata worth asking.
    pub fn wanted<'a>(&self, tags: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        tags.into_iter().filter(|tag| self.accepts(tag)).collect()
    }

    /// Whether filters, strategy and constraint accept the tag by its name alone (DIS-6).
    pub fn accepts(&self, tag: &str) -> bool {
        self.reject_name(tag).is_none()
    }

    /// Chooses among the tags of a repository and says of each what became of it.
    pub fn choose(&self, candidates: &[Candidate]) -> Choice {
        let mut judged: Vec<(&Candidate, Rank<'_>, Option<Rejection>)> =
            candidates.iter().map(|c| (c, self.rank(c), self.reject(c))).collect();
        judged.sort_by(|a, b| compare(&b.1, &a.1));
        let best = judged.iter().position(|(_, _, rejection)| rejection.is_none());
        let chosen = best.map(|i| judged[i].0.clone());
        let verdicts = judged
            .into_iter()
            .enumerate()
            .map(|(i, (candidate, _, rejection))| {
                let (standing, rule, reason) = match rejection {
                    Some(r) => (Standing::Rejected, r.rule, r.reason),
                    None if Some(i) == best => (Standing::Chosen, self.strategy.word(), self.why_chosen(candidate)),
                    None => {
                        let winner = chosen.as_ref().map_or("", |c| c.tag.as_str());
                        (Standing::Accepted, self.strategy.word(), format!("{winner} ranks higher"))
                    }
                };
                Verdict { tag: candidate.tag.clone(), standing, rule, reason }
            })
            .collect();
        Choice { chosen, verdicts }
    }

    /// The candidates that decide: whoever chooses among them chooses the same. A round holds the listings of all its
    /// repositories, and need not hold every name in them; the dates of tags that may be in use stay.
    pub fn essential(&self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        let accepted = candidates.iter().filter(|candidate| self.reject(candidate).is_none());
        let ranked = accepted.map(|candidate| (candidate, self.rank(candidate)));
        let best = ranked.reduce(|best, next| if compare(&next.1, &best.1).is_gt() { next } else { best });
        // Without any, every name counts as a reason.
        let Some(best) = best.map(|(candidate, _)| candidate.clone()) else { return candidates };
        match self.strategy {
            Strategy::NewestBuild => candidates.retain(|candidate| candidate.created.is_some()),
            _ => candidates = vec![best],
        }
        candidates.shrink_to_fit();
        candidates
    }

    /// Which of two tags ranks higher under the strategy, as far as their names tell; byte order otherwise (DES-6).
    pub fn compare_names(&self, a: &str, b: &str) -> Ordering {
        match (self.strategy, Version::parse(a), Version::parse(b)) {
            (Strategy::SemVer, Some(x), Some(y)) => x.cmp(&y).then_with(|| a.cmp(b)),
            (Strategy::SemVer, Some(_), None) => Ordering::Greater,
            (Strategy::SemVer, None, Some(_)) => Ordering::Less,
            _ => a.cmp(b),
        }
    }

    fn rank<'a>(&self, candidate: &'a Candidate) -> Rank<'a> {
        let tag = candidate.tag.as_str();
        match self.strategy {
            Strategy::SemVer => Version::parse(tag).map_or(Rank::None(tag), |v| Rank::Version(v, tag)),
            Strategy::NewestBuild => candidate.created.map_or(Rank::None(tag), |at| Rank::Date(at, tag)),
            Strategy::Alphabetical => Rank::Text(tag),
            Strategy::Digest if self.digest_tag() == Some(tag) => Rank::Text(tag),
            Strategy::Digest => Rank::None(tag),
        }
    }

    fn why_chosen(&self, candidate: &Candidate) -> String {
        match self.strategy {
            Strategy::SemVer => match self.constraint().map(Constraint::text).filter(|t| !t.is_empty()) {
                Some(constraint) => format!("the highest version that satisfies {constraint}"),
                None => "the highest release".to_owned(),
            },
            Strategy::NewestBuild => match candidate.created {
                Some(at) => format!("the newest build, of {at}"),
                None => "the newest build".to_owned(),
            },
            Strategy::Alphabetical => "the last in byte order".to_owned(),
            Strategy::Digest => format!("now {}", candidate.digest.as_deref().unwrap_or("unknown")),
        }
    }

    fn reject(&self, candidate: &Candidate) -> Option<Rejection> {
        self.reject_name(&candidate.tag).or_else(|| self.reject_metadata(candidate))
    }

    fn reject_name(&self, tag: &str) -> Option<Rejection> {
        let rejection = |rule, reason: String| Some(Rejection { rule, reason });
        if !is_tag(tag) {
            return rejection("grammar", "no tag by the OCI grammar".to_owned());
        }
        if !self.allow.allows(tag) {
            return rejection("allow-tags", format!("does not match {}", self.allow.text()));
        }
        if let Some(glob) = self.ignore.iter().find(|glob| glob.matches(tag)) {
            return rejection("ignore-tags", format!("matches {}", glob.text()));
        }
        match &self.bound {
            Bound::None => None,
            Bound::Unusable => rejection("constraint", "the constraint cannot be used".to_owned()),
            Bound::Tag(wanted) if wanted == tag => None,
            Bound::Tag(wanted) => rejection("constraint", format!("only {wanted} is followed")),
            Bound::Range(range) => {
                let Some(version) = Version::parse(tag) else {
                    return rejection("version", "not a version".to_owned());
                };
                if range.matches(&version) {
                    return None;
                }
                let wanted = if range.text().is_empty() { "*" } else { range.text() };
                if version.is_prerelease() && !range.considers_prereleases() {
                    return rejection("constraint", format!("a pre-release, and {wanted} looks at releases only"));
                }
                rejection("constraint", format!("does not satisfy {wanted}"))
            }
        }
    }

    fn reject_metadata(&self, candidate: &Candidate) -> Option<Rejection> {
        let missing = match self.strategy {
            Strategy::SemVer | Strategy::Alphabetical => return None,
            Strategy::NewestBuild => candidate.created.is_none().then_some("its build date is not known"),
            Strategy::Digest => candidate.digest.is_none().then_some("its digest is not known"),
        };
        if candidate.platform_ok == Some(false) || self.platforms.is_empty() {
            let platforms: Vec<String> = self.platforms.iter().map(Platform::to_string).collect();
            let reason = match platforms.len() {
                0 => "no platform that is asked for can be understood".to_owned(),
                _ => format!("holds nothing for {}", platforms.join(", ")),
            };
            return Some(Rejection { rule: "platforms", reason });
        }
        missing
            .map(|why| Rejection { rule: "metadata", reason: candidate.note.clone().unwrap_or_else(|| why.to_owned()) })
    }
}

fn no_digest_tag(reference: &str) -> Problem {
    Problem::error(
        "constraint-invalid",
        format!("cannot use update strategy 'digest' for image '{reference}' without a version constraint"),
    )
    .hint("name the tag to follow, for example :stable")
}

fn compare(a: &Rank<'_>, b: &Rank<'_>) -> Ordering {
    match (a, b) {
        (Rank::Version(a, x), Rank::Version(b, y)) => a.cmp(b).then_with(|| x.cmp(y)),
        (Rank::Date(a, x), Rank::Date(b, y)) => a.cmp(b).then_with(|| x.cmp(y)),
        (Rank::Text(a), Rank::Text(b)) | (Rank::None(a), Rank::None(b)) => a.cmp(b),
        (Rank::None(_), _) => Ordering::Less,
        (_, Rank::None(_)) => Ordering::Greater,
        // One strategy gives one kind of rank.
        _ => Ordering::Equal,
    }
}
