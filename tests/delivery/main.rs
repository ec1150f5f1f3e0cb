//! Services and the delivery of events, against the stage's inbox.

mod executor;
mod house;

mod email;
mod hostile;
mod lanes;
mod settings;
mod slack;
mod webhook;
