//! A commit's name.

use git2::Oid;
use std::fmt;
use std::str::FromStr;

/// A commit's id (SHA-1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId([u8; 20]);

impl CommitId {
    /// What stands for "does not exist" on the wire.
    pub(super) const ZERO: CommitId = CommitId([0; 20]);
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not 40 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a commit id of 40 hex digits")]
pub struct NoCommitId;

impl FromStr for CommitId {
    type Err = NoCommitId;

    fn from_str(text: &str) -> Result<CommitId, NoCommitId> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| NoCommitId)?;
        bytes.try_into().map(CommitId).map_err(|_| NoCommitId)
    }
}

impl From<Oid> for CommitId {
    fn from(id: Oid) -> CommitId {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(id.as_bytes());
        CommitId(bytes)
    }
}

impl From<CommitId> for Oid {
    fn from(id: CommitId) -> Oid {
        Oid::from_bytes(&id.0).unwrap_or(Oid::ZERO_SHA1)
    }
}
