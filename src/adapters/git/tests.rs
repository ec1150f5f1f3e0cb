//! The room against repositories on disk.
