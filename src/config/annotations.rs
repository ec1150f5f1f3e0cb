//! Annotations of an Application become tracked images (image-updates.md §3, §4).
