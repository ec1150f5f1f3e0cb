//! Edits made on Git objects (GIT-6): blobs, trees and commits of a chain, built in memory part by part and stored as
//! one pack (GIT-7). No work tree, index, hooks, filters or attributes; links are never followed or replaced (PATH-1).

use super::CommitId;
use super::error::Error;
use super::mirror::Turn;
use super::pack::Pack;
use super::tip::MOST_FILE_BYTES;
use super::trees::Trees;
use crate::core::writeback::{FileChange, Refusal};
use bytes::Bytes;
use git2::{ObjectType, Oid, Repository, Signature, Time};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// Commits per chain (GIT-7).
pub const MOST_COMMITS: usize = 2_000;

/// Bytes of trees a chain may write before it ends early: a commit rewrites every folder above its files, and a flat
/// folder of ten thousands of entries weighs a megabyte each time, so that a chain would take minutes. One of 2,000
/// commits in a single folder of 2,000 weighs two thirds of this.
const MOST_CHAIN_BYTES: usize = 256 << 20;

/// What is built stands in memory until it is as many bytes as this, and at least as many commits: then it is packed.
/// Each part of a pack holds its folders whole once, whatever the number of commits that change an entry in them.
const PART_BYTES: usize = 512 << 10;
const PART_COMMITS: usize = 50;

/// Who a commit is by; author and committer are the same (CMT-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: String,
}

/// A commit to be made.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// Files changed; `before` is checked against what stands there.
    pub changes: Vec<FileChange>,
    /// Whole message.
    pub message: String,
    /// By whom.
    pub author: Author,
    /// When.
    pub at: Timestamp,
}

/// Commits in the mirror that no remote has yet, each the parent of the next.
#[derive(Clone)]
pub struct Chain {
    /// The parent of the first.
    pub base: CommitId,
    /// One per commit asked for, as far as the chain reached: it ends early at [`MOST_COMMITS`], or when it gets too
    /// heavy; push it and build the rest on its tip. A commit that changes nothing is not made; its place holds its
    /// parent's id.
    pub ids: Vec<CommitId>,
    /// The last one; the base if none was made.
    pub tip: CommitId,
    pub(super) pack: Bytes,
    pub(super) pack_name: String,
}

impl Chain {
    /// Whether there is anything to push.
    pub fn is_empty(&self) -> bool {
        self.tip == self.base
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({} + {} = {}, {} bytes)", self.base, self.ids.len(), self.tip, self.pack.len())
    }
}

/// Builds the chain and stores it as one pack, synced to disk.
pub(super) fn build(
    turn: &Turn,
    repository: &Repository,
    base: CommitId,
    commits: &[NewCommit],
) -> Result<Chain, Error> {
    let fail = |e: git2::Error| turn.damaged(&e);
    let odb = repository.odb().map_err(fail)?;
    let memory = odb.add_new_mempack_backend(1_000).map_err(fail)?;
    let root = repository.find_commit(base.into()).map_err(fail)?.tree_id();
    let mut trees = Trees::of(turn, repository, &odb, root);
    let mut ids = Vec::new();
    let mut tip = base;
    // A commit that changes nothing has its parent's id; before the first that does, that is the base's.
    let made = |ids: &[CommitId]| -> Vec<CommitId> { ids.iter().copied().filter(|id| *id != base).collect() };
    let mut pack = Pack::default();
    let mut packed = 0;
    for commit in commits.iter().take(MOST_COMMITS) {
        if trees.weight > MOST_CHAIN_BYTES {
            break;
        }
        tip = add(turn, repository, &mut trees, tip, commit)?;
        ids.push(tip);
        if trees.held > PART_BYTES && ids.len() - packed >= PART_COMMITS {
            let part = |pack: &mut Pack| -> Result<(), git2::Error> {
                pack.add(repository, &made(&ids[packed..]), &trees.written)?;
                // The next commit looks for its parent.
                let parent = odb.read(tip.into())?.data().to_vec();
                memory.reset()?;
                odb.write(ObjectType::Commit, &parent).map(drop)
            };
            part(&mut pack).map_err(fail)?;
            trees.let_go();
            packed = ids.len();
        }
    }
    if tip == base {
        return Ok(Chain { base, ids, tip, pack: Bytes::new(), pack_name: String::new() });
    }
    pack.add(repository, &made(&ids[packed..]), &trees.written).map_err(fail)?;
    memory.reset().map_err(fail)?;
    let pack = pack.finish();
    let pack_name = turn.store_pack(&pack)?;
    Ok(Chain { base, ids, tip, pack: pack.into(), pack_name })
}

fn add(
    turn: &Turn,
    repository: &Repository,
    trees: &mut Trees<'_>,
    parent: CommitId,
    new: &NewCommit,
) -> Result<CommitId, Error> {
    let fail = |e: git2::Error| turn.damaged(&e);
    let parent_commit = repository.find_commit(parent.into()).map_err(fail)?;
    for (path, (before, after)) in by_file(&new.changes) {
        change(trees, path, before, after)?;
    }
    let root = trees.finish()?;
    if root == parent_commit.tree_id() {
        return Ok(parent);
    }
    let tree = repository.find_tree(root).map_err(fail)?;
    let unusable = |_| {
        let text = "the author's name or mail address cannot be written into a commit";
        Error::Refused(Refusal::new("config-invalid", text))
    };
    let time = Time::new(new.at.as_second(), 0);
    let author = Signature::new(&new.author.name, &new.author.email, &time).map_err(unusable)?;
    // A NUL would end the message for some readers and not for others.
    let message = new.message.replace('\0', "");
    let id = repository.commit(None, &author, &author, &message, &tree, &[&parent_commit]).map_err(fail)?;
    Ok(id.into())
}

/// The last change of a file is the one that counts; the first knows what stood there before.
fn by_file(changes: &[FileChange]) -> BTreeMap<&str, (Option<&[u8]>, &[u8])> {
    let mut files: BTreeMap<&str, (Option<&[u8]>, &[u8])> = BTreeMap::new();
    for change in changes {
        files
            .entry(&change.path)
            .and_modify(|(_, after)| *after = &change.after)
            .or_insert((change.before.as_deref(), &change.after));
    }
    files
}

fn change(trees: &mut Trees<'_>, path: &str, before: Option<&[u8]>, after: &[u8]) -> Result<(), Error> {
    let refuse = |kind, text: String| Err(Error::Refused(Refusal::new(kind, text).in_file(path)));
    let parts = parts_of(path).map_err(Error::Refused)?;
    let standing = trees.standing(&parts)?;
    let as_read = match (before, standing) {
        (None, None) => true,
        (Some(bytes), Some((_, id))) => Oid::hash_object(ObjectType::Blob, bytes).is_ok_and(|hash| hash == id),
        _ => false,
    };
    if !as_read {
        return refuse("internal", "is not what the change was made from".into());
    }
    if is_lfs_pointer(before.unwrap_or_default()) {
        return refuse("lfs-pointer", "is a Git LFS pointer; its content is elsewhere".into());
    }
    if after.len() > MOST_FILE_BYTES {
        return refuse("config-invalid", format!("would be larger than {} MiB", MOST_FILE_BYTES >> 20));
    }
    if before == Some(after) {
        return Ok(());
    }
    let mode = standing.map_or(NEW_FILE_MODE, |(mode, _)| mode);
    trees.put(&parts, after, mode)
}

/// New files are regular and not executable (GIT-6).
const NEW_FILE_MODE: i32 = 0o100_644;

/// The parts of a path that stays inside the repository and names nothing of Git's own (PATH-1). Core has checked it
/// where it came from; this is the last door before it is written.
fn parts_of(path: &str) -> Result<Vec<&str>, Refusal> {
    let escape = |what: String| Err(Refusal::new("path-escape", what).in_file(path));
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() > 64 {
        return escape("is deeper than 64 folders".into());
    }
    for part in &parts {
        match *part {
            "" => return escape("has an empty component".into()),
            "." | ".." => return escape(format!("has the component {part}")),
            part if part.chars().any(char::is_control) => return escape("holds control characters".into()),
            part if looks_like_dot_git(part) => return escape(format!("the component {part:?} is Git's own")),
            _ => {}
        }
    }
    Ok(parts)
}

/// `.git` as some file system would take it: any case, characters HFS+ ignores, dots and spaces NTFS drops, its short
/// name, its streams, and behind a backslash.
fn looks_like_dot_git(part: &str) -> bool {
    let ignored = |c: &char| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let seen: String = part.chars().filter(ignored).flat_map(char::to_lowercase).collect();
    seen.split('\\').any(|piece| {
        let name = piece.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
        name == ".git" || name == "git~1"
    })
}

fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_1_escapes_and_look_alikes() {
        for path in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../../b",
            "./a",
            ".git",
            "a/.git/config",
            ".GIT",
            ".Git/hooks/x",
            "git~1",
            "GIT~1/x",
            ".git ",
            ".git.",
            ".git . .",
            ".git::$INDEX_ALLOCATION",
            ".git:x",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".gi\u{202e}t",
            "a\\.git\\x",
            "a\nb",
            "a\0b",
            "a\u{7f}",
        ] {
            assert_eq!(parts_of(path).unwrap_err().kind, "path-escape", "{path:?}");
        }
        for path in ["a", ".gitignore", ".github/x", "git", "a.git", ".git2", "..a", "a..", "ä/ö", "git~10", "a b"] {
            assert!(parts_of(path).is_ok(), "{path:?}");
        }
        assert!(parts_of(&vec!["d"; 65].join("/")).is_err());
    }
}
