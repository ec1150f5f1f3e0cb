//! The notification half's decisions: subscriptions, triggers, identity, messages (notifications.md §3-§11).
