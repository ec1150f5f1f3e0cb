//! Constraint: which versions a user allows, with the meaning of Masterminds/semver v3.4.0 down to its degenerate
//! forms (image-updates.md §11). The grammar is that library's, expression by expression; where it reads oddly
//! (`1|2`, `*.1`, `1-2`), so does this.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;

use super::version::{Version, compare_prereleases};
use crate::core::problem::Problem;

/// Longest constraint text read, in bytes (the limit of regular expressions, §25).
const LONGEST: usize = 10 * 1024;

/// A parsed constraint: alternatives of comparators that must all hold.
#[derive(Clone, Debug)]
pub struct Constraint {
    text: String,
    alternatives: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    comparators: Vec<Comparator>,
    /// Some comparator carries a pre-release: then pre-releases are looked at.
    prereleases: bool,
}

#[derive(Clone, Debug)]
struct Comparator {
    operator: Operator,
    version: Version,
    wild: Wild,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Bare,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

/// The first part of a version that is a wildcard or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wild {
    No,
    Major,
    Minor,
    Patch,
}

const BLANK: &str = r"[\t\n\f\r ]";
const OPERATOR: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";
const VERSION: &str = concat!(
    r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?",
    r"(-([0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*))?",
    r"(\+([0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*))?"
);

static WHOLE_GROUP: LazyLock<Regex> = LazyLock::new(|| {
    let (s, o, v) = (BLANK, OPERATOR, VERSION);
    grammar(&format!(r"\A({s}*({o}){s}*({v}){s}*)((?:{s}+|,{s}*)({o}){s}*({v}){s}*)*\z"))
});
static ONE_IN_GROUP: LazyLock<Regex> = LazyLock::new(|| grammar(&format!("({OPERATOR}){BLANK}*({VERSION})")));
static RANGE: LazyLock<Regex> =
    LazyLock::new(|| grammar(&format!("{BLANK}*({VERSION}){BLANK}+-{BLANK}+({VERSION}){BLANK}*")));

#[allow(clippy::expect_used)] // constants of this file; the tests compile each
fn grammar(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid expression")
}

impl Constraint {
    /// Reads a constraint; empty text allows every release. The problem is `constraint-invalid`.
    pub fn parse(text: &str) -> Result<Constraint, Problem> {
        if text.is_empty() {
            let version = Version { major: 0, minor: 0, patch: 0, pre: String::new() };
            let all = Comparator { operator: Operator::Bare, version, wild: Wild::Major };
            let group = Group { comparators: vec![all], prereleases: false };
            return Ok(Constraint { text: String::new(), alternatives: vec![group] });
        }
        if text.len() > LONGEST {
            return Err(invalid("", format!("it is longer than {LONGEST} bytes")));
        }
        let plain = without_ranges(text);
        let alternatives = plain.split("||").map(|group| read_group(text, group)).collect::<Result<_, _>>()?;
        Ok(Constraint { text: text.to_owned(), alternatives })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the version satisfies it.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|group| {
            (group.prereleases || !version.is_prerelease()) && group.comparators.iter().all(|c| c.holds(version))
        })
    }

    /// Whether some alternative looks at pre-releases at all.
    pub fn considers_prereleases(&self) -> bool {
        self.alternatives.iter().any(|group| group.prereleases)
    }

    /// The word of a wildcard with a word (`*-dev`): people mean "tags that end in -dev", the library means every
    /// version and every pre-release from `0.0.0-dev` up.
    pub fn word_on_wildcard(&self) -> Option<&str> {
        self.alternatives
            .iter()
            .flat_map(|group| &group.comparators)
            .find(|c| c.wild == Wild::Major && c.version.pre.bytes().any(|b| b.is_ascii_alphabetic()))
            .map(|c| c.version.pre.as_str())
    }
}

fn invalid(constraint: &str, why: String) -> Problem {
    Problem::error("constraint-invalid", format!("version constraint {constraint:?}: {why}"))
}

/// Rewrites each hyphen range `a - b` to two comparators, in the text order and one occurrence each, as the library
/// does: the text found is replaced where it first occurs.
fn without_ranges(text: &str) -> String {
    let mut plain = text.to_owned();
    for range in RANGE.captures_iter(text) {
        let part = |i: usize| range.get(i).map_or("", |m| m.as_str());
        plain = plain.replacen(part(0), &format!(">= {}, <= {} ", part(1), part(11)), 1);
    }
    plain
}

fn read_group(text: &str, group: &str) -> Result<Group, Problem> {
    if !WHOLE_GROUP.is_match(group) {
        let why = if group.trim().is_empty() {
            "one alternative of `||` is empty".to_owned()
        } else {
            format!("{:?} is no list of comparators", group.trim())
        };
        return Err(invalid(text, why).hint("for example 1.x, ~1.2, ^1.2.3, >=1.2 <2, 1.2 - 1.4"));
    }
    let comparators =
        ONE_IN_GROUP.captures_iter(group).map(|c| read_comparator(text, &c)).collect::<Result<Vec<_>, _>>()?;
    let prereleases = comparators.iter().any(|c| c.version.is_prerelease());
    Ok(Group { comparators, prereleases })
}

fn read_comparator(text: &str, found: &regex::Captures<'_>) -> Result<Comparator, Problem> {
    let part = |i: usize| found.get(i).map_or("", |m| m.as_str());
    let (major, minor, patch, pre) = (part(3), part(4), part(5), part(6));
    // The library reads a `v` only in front of a version it takes whole.
    let (written, wild) = if is_wild(major) {
        (format!("0.0.0{pre}"), Wild::Major)
    } else if is_wild(minor) {
        (format!("{major}.0.0{pre}"), Wild::Minor)
    } else if is_wild(patch) {
        (format!("{major}{minor}.0{pre}"), Wild::Patch)
    } else {
        (part(2).to_owned(), Wild::No)
    };
    let version = Version::parse(&written).ok_or_else(|| invalid(text, format!("{:?} is no version", part(2))))?;
    let operator = match part(1) {
        "" | "=" => Operator::Bare,
        "!=" => Operator::NotEqual,
        ">" => Operator::Greater,
        "<" => Operator::Less,
        ">=" | "=>" => Operator::GreaterOrEqual,
        "<=" | "=<" => Operator::LessOrEqual,
        "~" | "~>" => Operator::Tilde,
        _ => Operator::Caret,
    };
    Ok(Comparator { operator, version, wild })
}

fn is_wild(part: &str) -> bool {
    matches!(part.strip_prefix('.').unwrap_or(part), "" | "x" | "X" | "*")
}

impl Comparator {
    /// Whether the version satisfies it; pre-releases have been admitted or refused by the group.
    fn holds(&self, v: &Version) -> bool {
        let c = &self.version;
        match self.operator {
            Operator::Bare if self.wild == Wild::No => v == c,
            Operator::Bare | Operator::Tilde => self.holds_tilde(v),
            Operator::NotEqual => self.holds_not_equal(v),
            Operator::Greater => match self.wild {
                Wild::No | Wild::Major => v > c,
                Wild::Minor => v.major > c.major,
                Wild::Patch => (v.major, v.minor) > (c.major, c.minor),
            },
            Operator::Less => v < c,
            Operator::GreaterOrEqual => v >= c,
            Operator::LessOrEqual => match self.wild {
                Wild::No => v <= c,
                Wild::Minor => v.major <= c.major,
                // A bare wildcard counts as 0.0 here: `<=*` allows 0.0.x only.
                Wild::Patch | Wild::Major => (v.major, v.minor) <= (c.major, c.minor),
            },
            Operator::Caret => self.holds_caret(v),
        }
    }

    fn holds_tilde(&self, v: &Version) -> bool {
        let c = &self.version;
        if v < c {
            return false;
        }
        // `~0.0.0` and the bare wildcard: everything from there up.
        if (c.major, c.minor, c.patch) == (0, 0, 0) && matches!(self.wild, Wild::No | Wild::Major) {
            return true;
        }
        v.major == c.major && (v.minor == c.minor || self.wild == Wild::Minor)
    }

    fn holds_not_equal(&self, v: &Version) -> bool {
        let c = &self.version;
        match self.wild {
            Wild::No | Wild::Major => v != c,
            Wild::Minor => v.major != c.major,
            Wild::Patch => {
                (v.major, v.minor) != (c.major, c.minor)
                    || (v.is_prerelease() || c.is_prerelease())
                        && compare_prereleases(&v.pre, &c.pre) != Ordering::Equal
            }
        }
    }

    fn holds_caret(&self, v: &Version) -> bool {
        let c = &self.version;
        if v < c {
            return false;
        }
        if c.major > 0 || self.wild == Wild::Minor {
            return v.major == c.major;
        }
        if v.major > 0 {
            return false;
        }
        if c.minor > 0 || self.wild == Wild::Patch {
            return v.minor == c.minor;
        }
        // `^*` lands here as well: only 0.0.0.
        v.minor == 0 && v.patch == c.patch
    }
}
