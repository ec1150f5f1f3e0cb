//! Decides. Pure: no I/O, no async, no clock, no environment, no logging; what touches nothing cannot fail for
//! outside reasons. The rooms, in reading order; each may name only those above it.

pub mod problem;
pub mod retry;
pub mod value;

pub mod expr;
pub mod template;

pub mod image;

pub mod application;

pub mod writeback;

pub mod event;

pub mod update;

pub mod notify;
