//! registries.conf, entry by entry (image-updates.md §9).
