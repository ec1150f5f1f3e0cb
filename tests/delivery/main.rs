//! Services and the delivery of events, against the stage's inbox.

mod house;

mod email;
mod lanes;
mod slack;
mod webhook;
