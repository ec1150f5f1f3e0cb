//! The template language of messages (notifications.md §7): Go text/template with sprig's text functions.
