//! A service's body: one arm per type (notifications.md §13).
