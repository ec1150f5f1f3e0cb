//! Lynceus: one daemon for people who run Argo CD. It keeps container images up to date (a new tag in a
//! registry becomes a one-line commit in Git, or a patch of the Application) and sends notifications (an
//! Application's change becomes a Slack message, an e-mail, a webhook call).
//!
//! # The map
//!
//! ```text
//!      main.rs
//!         │
//!        cli ──────► demo ──┐       cli composes everything; owns flags and exit codes; demo is the stage
//!         │                 │
//!         │                web      shows Status, sends Command
//!         ▼                 │
//!       daemon ◄────────────┘       conducts: when, in what order, what if it fails
//!         │
//!         ▼
//!      adapters                     act on the world, decide nothing
//!         │
//!         ▼
//!       config                      what people wrote, as values and problems        ┐ pure: no I/O,
//!         │                                                                          │ no async,
//!         ▼                                                                          │ no clock,
//!        core                       decides                                          ┘ no logging
//! ```
//!
//! Read in this order: [`core`], [`config`], [`adapters`], [`daemon`], [`web`], [`cli`]. Seven files give the
//! whole product: this one, `core/update/mod.rs`, `daemon/updater.rs`, `daemon/committer.rs`,
//! `core/notify/mod.rs`, `daemon/notifier.rs`, `daemon/delivery/mod.rs`.
//!
//! # Invariants
//!
//! 1. `core` and `config` have no `async`, I/O, clock, environment or logging. *(tests/tidy.rs)*
//! 2. Imports follow the picture, never upwards. *(tests/tidy.rs)*
//! 3. Each foreign format is known in one place. Core types do not derive `Serialize`. *(tests/tidy.rs)*
//! 4. One owner per state; one writer per (remote, branch); long-lived tasks start in one function.
//! 5. Nothing is acknowledged, counted or announced before it is durable.
//! 6. Text from the network is a hint to look, never a fact to act on.
//! 7. Secrets are exposed only in `adapters`. *(tests/tidy.rs)*
//! 8. Nothing in `src` compiles differently under test except `mod tests`; there are no failpoints.
//! 9. Every ignored or held thing has a reason a person can read.
//!
//! # The two walks
//!
//! **A. A new tag becomes a commit.** `adapters/cluster` or `adapters/manifests` → `daemon/watcher` holds the
//! Applications → `daemon/updater` starts a round for a remote → `daemon/round`: annotations become tracked
//! images (`config/annotations`), each repository is asked once (`daemon/poller`, `adapters/registry`), the
//! branch tips are read (`adapters/git`), `core/update` surveys and decides → `daemon/committer`: newest tip,
//! `core/update/plan` applies the edits (`core/writeback`), write-ahead row, push; moved branch: again →
//! `Committed` in the journal.
//!
//! **B. An Application version becomes a message.** `adapters/cluster` → `daemon/watcher` →
//! `daemon/notifier`: `core/notify` evaluates → one durable write of ledger and rows (`adapters/store`) →
//! `daemon/delivery`: one lane per destination, `sending` is durable, `adapters/services` sends, the row is
//! settled, the compatible annotation follows.
//!
//! They meet in the journal: `daemon/image_events` reads it after its own mark and plans messages about what walk A did,
//! moving the mark in the same write.

pub mod core;

pub mod config;

pub mod adapters;

pub mod daemon;

pub mod web;

pub mod demo;

pub mod cli;
