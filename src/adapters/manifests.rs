//! Applications from a directory or a Git tree instead of a cluster (image-updates.md SRC-4 to SRC-7).
