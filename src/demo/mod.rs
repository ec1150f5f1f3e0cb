//! The stage: stand-ins for the world around Lynceus, with scripted faults. Used by `cli/demo.rs` and by tests.

pub mod inbox;
pub mod registry;
pub mod remote;
