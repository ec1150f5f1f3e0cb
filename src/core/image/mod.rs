//! Images: references, tags, filters, versions and the strategies that choose among them (image-updates.md §7, §11).
//! A registry gives [`Candidate`]s; a [`Selection`] says of each tag why it was or was not taken ([`Choice`]).

mod candidate;
mod constraint;
mod filter;
mod platform;
mod reference;
mod strategy;
mod version;

pub use candidate::{Candidate, Detail, is_tag};
pub use constraint::Constraint;
pub use filter::{Glob, TagFilter};
pub use platform::Platform;
pub use reference::{DOCKER_HUB, ImageRef, Repository, parse_list, tag_text};
pub use strategy::{Choice, Selection, Standing, Strategy, Verdict};
pub use version::Version;

#[cfg(test)]
mod tests;
