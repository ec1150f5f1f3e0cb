//! The loose typing rules of users' documents (notifications.md §2.4).
