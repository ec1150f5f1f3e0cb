//! A pack put together from parts, so that what goes into it need not stand in memory all at once. libgit2 packs each
//! part; it writes deltas against ids, never against places in the file, so one part after the other is a pack.

use super::CommitId;
use git2::{Buf, Oid, Repository};
use sha1::{Digest, Sha1};
use std::collections::HashSet;

/// `PACK`, version, number of objects.
const HEADER: usize = 12;

/// SHA-1 of all that stands before.
const TRAILER: usize = 20;

pub(super) struct Pack {
    bytes: Vec<u8>,
    /// What is in it: an object stands in a pack once.
    objects: HashSet<Oid>,
}

impl Default for Pack {
    fn default() -> Pack {
        Pack { bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), objects: HashSet::new() }
    }
}

impl Pack {
    /// Adds these commits, the oldest first, and these trees and blobs with the path each stands at; all can be read
    /// from the repository.
    pub(super) fn add(
        &mut self,
        repository: &Repository,
        commits: &[CommitId],
        others: &[(Oid, String)],
    ) -> Result<(), git2::Error> {
        let mut builder = repository.packbuilder()?;
        builder.set_threads(1);
        // All objects are known; a walk would look at every entry of every folder once more.
        let commits = commits.iter().rev().map(|id| (Oid::from(*id), None));
        for (id, path) in commits.chain(others.iter().rev().map(|(id, path)| (*id, Some(path.as_str())))) {
            if self.objects.insert(id) {
                builder.insert_object(id, path)?;
            }
        }
        if builder.object_count() == 0 {
            return Ok(());
        }
        let mut part = Buf::new();
        builder.write_buf(&mut part)?;
        let entries = HEADER..part.len().saturating_sub(TRAILER);
        self.bytes.extend_from_slice(part.get(entries).unwrap_or_default());
        Ok(())
    }

    /// The whole pack.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let count = u32::try_from(self.objects.len()).unwrap_or(u32::MAX);
        self.bytes[HEADER - 4..HEADER].copy_from_slice(&count.to_be_bytes());
        let sum = Sha1::digest(&self.bytes);
        self.bytes.extend_from_slice(&sum);
        self.bytes
    }
}
