//! The notification half from end to end: the built daemon, a real API server under the shipped Role, a real mail
//! server, a stand-in on the wire for Slack and webhooks.

mod bad_input;
mod config;
mod cutover;
mod files;
mod kill;
mod quiet;
mod stage;
mod walk;
