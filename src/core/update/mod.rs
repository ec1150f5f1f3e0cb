//! The image half's decisions: tracked images, the desired state, the decision, the plan (image-updates.md §8, §12, §17).

pub mod claims;
mod commit;
pub mod decision;
pub mod diff;
pub mod follow;
pub mod ownership;
pub mod parent;
pub mod plan;
pub mod report;
pub mod survey;
mod tracked;

pub use commit::{BranchData, BranchSetting, CommitMessage, DEFAULT_TEMPLATE, Trailers};
pub use decision::{
    Change, Decision, Facts, Held, HeldReason, LiveSet, Reverted, State, collisions, decide, live_images, live_set,
};
pub use tracked::{AppSettings, Discover, GitCredentials, Method, Refresh, TrackedImage, UnreadableItem};

#[cfg(test)]
mod tests;
