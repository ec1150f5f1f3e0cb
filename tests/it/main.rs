//! The integration tests, one binary: every adapter against real parts, the walks, the commands. `tests/setup`
//! prepares the machine; what it prepares is required here, so a missing part is a failure and no skipped test.

mod support;

mod parts;

mod cli;
mod cluster;
mod commands;
mod demo;
mod flags;
mod git;
mod lint;
mod notify;
mod polls;
mod registry;
mod update;
