//! Version: a tag read as a loose semantic version, with the precedence of Masterminds/semver v3.4.0
//! (image-updates.md §11).

use std::cmp::Ordering;

/// A loose semantic version: one to three numbers, missing ones are 0, leading zeros allowed in them.
///
/// Equality and order are semver precedence, as the tags' users mean it: build metadata does not count, so
/// `1.2.3+a` equals `1.2.3+b`, and `1.0` equals `v1.0.0`.
#[derive(Clone, Debug)]
pub struct Version {
    /// First number.
    pub major: u64,
    /// Second number.
    pub minor: u64,
    /// Third number.
    pub patch: u64,
    /// Pre-release without its dash; empty for a release.
    pub pre: String,
}

impl Version {
    /// Reads a tag; `None` if it is no version.
    pub fn parse(text: &str) -> Option<Version> {
        let text = text.strip_prefix('v').unwrap_or(text);
        // A dash may occur in metadata, so metadata goes first; a plus cannot occur in a pre-release.
        let (text, metadata) = match text.split_once('+') {
            Some((text, metadata)) => (text, Some(metadata)),
            None => (text, None),
        };
        let (core, pre) = match text.split_once('-') {
            Some((core, pre)) => (core, Some(pre)),
            None => (text, None),
        };
        if !metadata.is_none_or(|m| m.split('.').all(is_identifier)) {
            return None;
        }
        if !pre.is_none_or(|p| p.split('.').all(|part| is_identifier(part) && !has_leading_zero(part))) {
            return None;
        }
        let mut numbers = [0; 3];
        for (i, part) in core.split('.').enumerate() {
            *numbers.get_mut(i)? = number(part)?;
        }
        let [major, minor, patch] = numbers;
        Some(Version { major, minor, patch, pre: pre.unwrap_or_default().to_owned() })
    }

    /// Whether it carries a pre-release.
    pub fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }
}

fn number(text: &str) -> Option<u64> {
    // The standard parser would also take a plus sign.
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch)).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_prereleases(&self.pre, &other.pre),
            }
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

/// Precedence of pre-releases: part by part, numbers below words, fewer parts below more. A number too large for
/// 64 bits counts as a word, as in the library. Either side may be empty, which ranks lowest here.
pub(super) fn compare_prereleases(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let (a, b) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => (a.unwrap_or_default(), b.unwrap_or_default()),
        };
        let order = match (a.is_empty(), b.is_empty()) {
            (false, false) => match (number(a), number(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => a.cmp(b),
            },
            (a, b) => b.cmp(&a),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}
