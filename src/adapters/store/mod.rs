//! The durable store: ledger, outbox, journal, open pushes (notifications.md §11, image-updates.md GIT-15).
