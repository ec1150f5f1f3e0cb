//! The process's own settings, as plain data.
