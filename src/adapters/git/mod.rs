//! Git as objects, never files: one bare mirror per remote (image-updates.md §17).
