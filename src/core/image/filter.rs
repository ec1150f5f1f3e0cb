//! TagFilter and Glob: which tags a user lets in and which he keeps out (image-updates.md TAG-3, TAG-4).

use regex::Regex;

use crate::core::problem::Problem;
use crate::core::value::pattern;

/// What `allow-tags` lets in.
#[derive(Clone, Debug, Default)]
pub struct TagFilter {
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug, Default)]
enum Rule {
    #[default]
    All,
    Search(Regex),
    Nothing,
}

impl TagFilter {
    /// Reads a filter. Text that is no filter, or a bad expression, lets nothing in and comes with the problem
    /// `allow-tags-invalid`.
    pub fn parse(text: &str) -> (TagFilter, Option<Problem>) {
        const PREFIX: &str = "regexp:";
        let filter = |rule| TagFilter { text: text.to_owned(), rule };
        if text.is_empty() || text.eq_ignore_ascii_case("any") {
            return (filter(Rule::All), None);
        }
        let Some(source) = text.get(PREFIX.len()..).filter(|_| starts_with_any_case(text, PREFIX)) else {
            let problem = Problem::error("allow-tags-invalid", format!("{text:?} is no filter: no tag matches it"))
                .hint("write any, or regexp: and an expression such as regexp:^v[0-9]");
            return (filter(Rule::Nothing), Some(problem));
        };
        match pattern::compile(source) {
            Ok(expression) => (filter(Rule::Search(expression)), None),
            Err(why) => {
                let problem = Problem::error("allow-tags-invalid", format!("{text:?} matches no tag: {why}"));
                (filter(Rule::Nothing), Some(problem))
            }
        }
    }

    /// Whether the tag may be considered.
    pub fn allows(&self, tag: &str) -> bool {
        match &self.rule {
            Rule::All => true,
            Rule::Search(expression) => expression.is_match(tag),
            Rule::Nothing => false,
        }
    }

    /// The text it was read from; empty if every tag is let in by default.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Whether `text` begins with the ASCII `prefix`, whatever the case.
pub(super) fn starts_with_any_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A pattern of Go's `filepath.Match` on Unix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Any run of characters but `/`.
    Run,
    /// One character but `/`.
    One,
    /// One character in, or not in, the ranges; `/` is no exception.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// This character.
    Literal(char),
}

impl Glob {
    /// Reads a pattern; `None` if it is malformed, which in Go never matches anything.
    pub fn parse(text: &str) -> Option<Glob> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Run,
                '?' => Part::One,
                '[' => class(&mut chars)?,
                '\\' => Part::Literal(chars.next()?),
                c => Part::Literal(c),
            });
        }
        Some(Glob { text: text.to_owned(), parts })
    }

    /// The pattern's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut part, mut at) = (0, 0);
        // Where to resume when what follows the last run does not fit: its part, and where its text ends.
        let mut run: Option<(usize, usize)> = None;
        loop {
            match (self.parts.get(part), text.get(at)) {
                (Some(Part::Run), _) => {
                    run = Some((part + 1, at));
                    part += 1;
                    continue;
                }
                (Some(p), Some(c)) if p.admits(*c) => {
                    part += 1;
                    at += 1;
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            match run {
                Some((after, end)) if text.get(end).is_some_and(|c| *c != '/') => {
                    run = Some((after, end + 1));
                    (part, at) = (after, end + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Part {
    fn admits(&self, c: char) -> bool {
        match self {
            Part::Run => false,
            Part::One => c != '/',
            Part::Class { negated, ranges } => ranges.iter().any(|(lo, hi)| (*lo..=*hi).contains(&c)) != *negated,
            Part::Literal(literal) => *literal == c,
        }
    }
}

fn class(chars: &mut std::str::Chars<'_>) -> Option<Part> {
    let negated = chars.as_str().starts_with('^');
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.as_str().starts_with(']') {
            chars.next();
            return Some(Part::Class { negated, ranges });
        }
        let low = member(chars)?;
        let mut high = low;
        if chars.as_str().starts_with('-') {
            chars.next();
            high = member(chars)?;
        }
        ranges.push((low, high));
    }
}

fn member(chars: &mut std::str::Chars<'_>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}
