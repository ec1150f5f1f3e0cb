//! Services that messages are sent to; one file each, all alike (notifications.md §13).
