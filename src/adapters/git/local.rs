//! Repositories on this machine, used as objects like mirrors: no server, no hooks, no working tree touched. For
//! offline commands and `--allow-local-git` (GIT-3).

use super::CommitId;
use super::error::{Error, PushError};
use super::mirror::Turn;
use super::packet::Advertised;
use super::talk::Update;
use git2::{Repository, Sort};
use std::io::Write;
use std::path::Path;

fn open(shown: &str, path: &Path) -> Result<Repository, Error> {
    Repository::open(path)
        .map_err(|e| Error::unreachable(shown, format!("is no repository that can be read: {}", e.message())))
}

/// The refs as a server would advertise them.
pub(super) fn advertise(shown: &str, path: &Path) -> Result<Advertised, Error> {
    let repository = open(shown, path)?;
    let read = || -> Result<Advertised, git2::Error> {
        let mut found = Advertised::default();
        for reference in repository.references()? {
            let reference = reference?;
            let (Ok(name), Ok(object)) = (reference.name(), reference.resolve()) else { continue };
            if let (Some(branch), Some(id)) = (name.strip_prefix("refs/heads/"), object.target()) {
                found.branches.insert(branch.to_owned(), id.into());
            } else if let (Some(tag), Ok(commit)) = (name.strip_prefix("refs/tags/"), object.peel_to_commit()) {
                found.tags.insert(tag.to_owned(), commit.id().into());
            }
        }
        if let Ok(head) = repository.find_reference("HEAD")
            && let Ok(Some(target)) = head.symbolic_target()
            && let Some(branch) = target.strip_prefix("refs/heads/")
            && found.branches.contains_key(branch)
        {
            found.default = Some(branch.to_owned());
        }
        Ok(found)
    };
    read().map_err(|e| Error::unreachable(shown, e.message()))
}

/// Copies a commit and what it needs into the mirror.
pub(super) fn fetch(shown: &str, path: &Path, turn: &Turn, mirror: &Repository, want: CommitId) -> Result<(), Error> {
    let source = open(shown, path)?;
    let haves = turn.haves(mirror)?;
    let odb = mirror.odb().map_err(|e| turn.damaged(&e))?;
    let mut writer = odb.packwriter().map_err(|e| turn.damaged(&e))?;
    let mut failed = None;
    let copy = || -> Result<(), git2::Error> {
        let mut walk = source.revwalk()?;
        walk.set_sorting(Sort::TIME)?;
        walk.push(want.into())?;
        for have in haves {
            // Commits of ours that the repository never had.
            let _ = walk.hide(have.into());
        }
        let mut builder = source.packbuilder()?;
        builder.insert_walk(&mut walk)?;
        builder.foreach(|bytes| match writer.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error.to_string());
                false
            }
        })
    };
    let copied = copy();
    if let Some(why) = failed {
        return Err(Error::mirror(shown, why));
    }
    copied.map_err(|e| Error::unreachable(shown, e.message()))?;
    writer.commit().map(drop).map_err(|e| turn.damaged(&e))
}

/// Stores the pack and moves the branch under its lock, if it is where it was expected.
pub(super) fn push(shown: &str, path: &Path, update: &Update<'_>) -> Result<(), PushError> {
    let target = open(shown, path)?;
    let name = format!("refs/heads/{}", update.branch);
    let now = target.find_reference(&name).ok().and_then(|reference| reference.target()).map(CommitId::from);
    if now == Some(update.new) {
        return Ok(());
    }
    if now != update.expected {
        return Err(PushError::Moved);
    }
    let checked_out = !target.is_bare()
        && target.find_reference("HEAD").is_ok_and(|head| head.symbolic_target().is_ok_and(|at| at == Some(&name)));
    if checked_out {
        return Err(PushError::Refused("the branch is checked out there".into()));
    }
    let fail = |e: git2::Error| PushError::Failed(Error::unreachable(shown, e.message()));
    let odb = target.odb().map_err(fail)?;
    let mut writer = odb.packwriter().map_err(fail)?;
    writer.write_all(update.pack).map_err(|e| PushError::Failed(Error::unreachable(shown, e.to_string())))?;
    writer.commit().map_err(fail)?;
    let moved = match update.expected {
        Some(old) => target.reference_matching(&name, update.new.into(), true, old.into(), "push"),
        None => target.reference(&name, update.new.into(), false, "push"),
    };
    match moved {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.code(), git2::ErrorCode::Modified | git2::ErrorCode::Exists | git2::ErrorCode::Locked) => {
            Err(PushError::Moved)
        }
        Err(e) => Err(fail(e)),
    }
}
