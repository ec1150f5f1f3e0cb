//! What can go wrong with the store, and whether trying again helps.

use crate::core::retry::Retry;

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the folder.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// Written by a newer program.
    #[error("{path} has schema {found}; this program knows up to {known}: run the newer version")]
    Newer {
        /// The file.
        path: String,
        /// Its schema.
        found: i64,
        /// The newest one known here.
        known: i64,
    },
    /// Not what it should be. It is left untouched: nothing is emptied or repaired silently.
    #[error("{path} is damaged and was left as it is: {text}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        text: String,
    },
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The commit that held this write failed; nothing of it is stored.
    #[error("store: {0}")]
    Commit(String),
    /// A write of an older epoch: somebody else works now (OUT-04).
    #[error("store: epoch {held} has ended, {current} works now")]
    StaleEpoch {
        /// The writer's epoch.
        held: i64,
        /// The store's.
        current: i64,
    },
    /// The row is not in a state from which this move is legal, or is not there.
    #[error("store: event {id} cannot become {wanted}")]
    WrongState {
        /// The event.
        id: String,
        /// The state wanted.
        wanted: &'static str,
    },
    /// A stored value that this program cannot read.
    #[error("store: unreadable {0}")]
    Unreadable(String),
    /// Opened for reading only.
    #[error("store: opened for reading only")]
    ReadOnly,
    /// The writer has ended.
    #[error("store: closed")]
    Closed,
}

impl Error {
    /// Whether the same write may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Commit(_) | Error::Io { .. } | Error::Sqlite(_) => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}
