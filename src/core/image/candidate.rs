//! Candidate: what a registry said of one tag; Detail: what a strategy has to know of it.

use jiff::Timestamp;

/// One tag of a repository, with as much as was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The tag's text.
    pub tag: String,
    /// Digest of what it names, as delivered (an index, if it is one).
    pub digest: Option<String>,
    /// When it was built; with `tagsortmode` its place in the list stands for the date (TAG-6).
    pub created: Option<Timestamp>,
    /// Whether it holds one of the platforms asked for; `None` if that was not looked up.
    pub platform_ok: Option<bool>,
    /// Why something above is missing although it was asked: such a tag is dropped with this reason (REG-9).
    pub note: Option<String>,
}

impl Candidate {
    /// A tag of which nothing else is known.
    pub fn named(tag: impl Into<String>) -> Candidate {
        Candidate { tag: tag.into(), ..Candidate::default() }
    }
}

/// What a strategy needs beyond the names of tags (TAG-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Nothing.
    Names,
    /// The date of each tag, and which platforms it holds.
    Created,
    /// The digest of the one tag, and which platforms it holds.
    Digest,
}

/// Whether the text is a tag by the OCI grammar (TAG-1).
pub fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 128
        && bytes.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b))
}
