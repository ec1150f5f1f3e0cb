//! The expression language of `when` and `oncePer` (notifications.md §6): compile once, evaluate often.
