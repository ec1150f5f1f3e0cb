//! Conducts: when, in what order, what if it fails. The only place that spawns long-lived tasks.

pub mod annotator;
pub mod command;
pub mod commits;
pub mod committer;
pub mod credentials;
pub mod delivery;
pub mod metrics;
pub mod notifier;
pub mod offline;
pub mod poller;
pub mod round;
pub mod rules;
pub mod status;
pub mod watcher;
pub mod world;
