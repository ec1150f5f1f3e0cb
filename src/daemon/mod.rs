//! Conducts: when, in what order, what if it fails. The only place that spawns long-lived tasks.

pub mod annotator;
pub mod command;
pub mod delivery;
pub mod metrics;
pub mod notifier;
pub mod rules;
pub mod status;
pub mod watcher;
