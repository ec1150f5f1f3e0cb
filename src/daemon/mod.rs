//! Conducts: when, in what order, what if it fails. The only place that spawns long-lived tasks.

pub mod delivery;
