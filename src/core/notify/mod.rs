//! The notification half's decisions: subscriptions, triggers, identity, messages (notifications.md §3-§11).

pub mod identity;
pub mod ledger;
pub mod message;
pub mod row;
