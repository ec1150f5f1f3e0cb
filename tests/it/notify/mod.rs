//! The notification half from end to end: the built daemon, a real API server under the shipped Role, a real mail
//! server, a stand-in on the wire for Slack and webhooks.

mod bad_input;
mod canary;
mod config;
mod cutover;
mod deliveries;
mod faults;
mod files;
mod handover;
mod images;
mod kill;
mod outage;
mod quiet;
mod stage;
mod standalone;
mod walk;
