//! Bringing commits into a mirror: fetched if they are missing, into a new mirror if the old one is damaged.

use super::address::Address;
use super::bomb::{Bad, Watch};
use super::error::Error;
use super::mirror::Turn;
use super::packet::Advertised;
use super::remote::Remote;
use super::talk::Wanted;
use super::wire::{Service, Wire};
use super::{CommitId, Context, local, talk};
use git2::Repository;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

impl Context {
    /// Makes sure that the mirror has `id`, which was seen on `branch`.
    pub(super) fn ensure(&self, turn: &Turn, remote: &Remote, branch: &str, id: CommitId) -> Result<(), Error> {
        self.on_repository(turn, remote, |repository| {
            if turn.has(repository, id)? {
                return Ok(());
            }
            self.fetch(turn, repository, remote, Want::Branch(branch))?;
            if turn.has(repository, id)? {
                return self.consolidate(turn, repository);
            }
            let text = format!("{branch} has moved away from {id}");
            Err(Error::Missing { remote: remote.shown().to_owned(), text })
        })
    }

    /// The refs, and where the first of these branches that exists is; the mirror has that commit.
    pub(super) fn newest(
        &self,
        turn: &Turn,
        remote: &Remote,
        branches: &[String],
    ) -> Result<(Advertised, Option<CommitId>), Error> {
        let first = |found: &Advertised| {
            branches.iter().find_map(|branch| found.branches.get(branch).map(|id| (branch.clone(), *id)))
        };
        if let Address::Local(_) = remote.address() {
            let found = self.advertise(remote)?;
            let first = first(&found);
            if let Some((branch, id)) = &first {
                self.ensure(turn, remote, branch, *id)?;
            }
            return Ok((found, first.map(|(_, id)| id)));
        }
        self.on_repository(turn, remote, |repository| {
            self.git.0.counts.advertisements.fetch_add(1, Ordering::Relaxed);
            let (wire, found) = Wire::open(remote, Service::Upload, self)?;
            let Some((branch, id)) = first(&found) else {
                wire.farewell();
                return Ok((found, None));
            };
            if turn.has(repository, id)? {
                wire.farewell();
                return Ok((found, Some(id)));
            }
            self.git.0.counts.fetches.fetch_add(1, Ordering::Relaxed);
            self.take(turn, repository, remote, wire, &found, (Want::Branch(&branch), id))?;
            if !turn.has(repository, id)? {
                return Err(Error::nonsense(remote.shown(), "the pack lacks the commit"));
            }
            turn.set_tip(repository, &branch, id)?;
            Ok((found, Some(id)))
        })
    }

    /// Runs work on the mirror's repository, and once more on a new one if the mirror turns out to be damaged.
    pub(super) fn on_repository<T>(
        &self,
        turn: &Turn,
        remote: &Remote,
        work: impl Fn(&Repository) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match turn.repository().and_then(|repository| work(&repository)) {
            Err(Error::Mirror { .. }) => {}
            other => return other,
        }
        self.git.0.counts.rebuilt.fetch_add(1, Ordering::Relaxed);
        // What cannot be stored in an empty repository is no fault of the mirror.
        turn.rebuild(|fresh| {
            work(fresh).map_err(|error| match error {
                Error::Mirror { text, .. } => Error::unreachable(remote.shown(), text),
                other => other,
            })
        })
    }

    pub(super) fn fetch(
        &self,
        turn: &Turn,
        repository: &Repository,
        remote: &Remote,
        want: Want<'_>,
    ) -> Result<(), Error> {
        self.git.0.counts.fetches.fetch_add(1, Ordering::Relaxed);
        let id = match remote.address() {
            Address::Local(path) => self.copy(turn, repository, remote, path, want)?,
            _ => self.receive(turn, repository, remote, want)?,
        };
        if !turn.has(repository, id)? {
            return Err(Error::nonsense(remote.shown(), "the pack lacks the commit"));
        }
        match want {
            Want::Branch(branch) => turn.set_tip(repository, branch, id),
            Want::Commit(_) => Ok(()),
        }
    }

    fn copy(
        &self,
        turn: &Turn,
        repository: &Repository,
        remote: &Remote,
        path: &Path,
        want: Want<'_>,
    ) -> Result<CommitId, Error> {
        let id = want.among(remote, &local::advertise(remote.shown(), path)?)?;
        if !turn.has(repository, id)? {
            local::fetch(remote.shown(), path, turn, repository, id)?;
        }
        Ok(id)
    }

    fn receive(
        &self,
        turn: &Turn,
        repository: &Repository,
        remote: &Remote,
        want: Want<'_>,
    ) -> Result<CommitId, Error> {
        let (wire, found) = Wire::open(remote, Service::Upload, self)?;
        let wanted = want.among(remote, &found).and_then(|id| Ok((id, turn.has(repository, id)?)));
        let id = match wanted {
            Ok((id, false)) => id,
            known_or_failed => {
                wire.farewell();
                return known_or_failed.map(|(id, _)| id);
            }
        };
        self.take(turn, repository, remote, wire, &found, (want, id))?;
        Ok(id)
    }

    /// Fetches `id` in a conversation that has begun.
    fn take(
        &self,
        turn: &Turn,
        repository: &Repository,
        remote: &Remote,
        wire: Wire,
        found: &Advertised,
        (want, id): (Want<'_>, CommitId),
    ) -> Result<(), Error> {
        let depth = match want {
            Want::Branch(branch) if turn.knows(repository, branch) => None,
            // A new branch may have left the known ones far behind what is here.
            _ => self.settings.depth,
        };
        let wanted = Wanted { id, haves: turn.haves(repository)?, shallow: turn.shallow(repository)?, depth };
        let shallow = wanted.shallow.clone();
        let odb = repository.odb().map_err(|e| turn.damaged(&e))?;
        let mut writer = odb.packwriter().map_err(|e| turn.damaged(&e))?;
        let mut sink = Sink { writer: &mut writer, watch: Watch::new(), shown: remote.shown() };
        let ends = talk::fetch(remote, wire, &found.capabilities, wanted, &mut sink)?;
        writer.commit().map_err(|e| turn.damaged(&e))?;
        if ends != shallow {
            turn.set_shallow(repository, &ends)?;
        }
        Ok(())
    }

    pub(super) fn consolidate(&self, turn: &Turn, repository: &Repository) -> Result<(), Error> {
        if turn.consolidate(repository)? {
            self.git.0.counts.consolidated.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What is fetched: a branch where it is now, or a commit, which hosts give if some ref reaches it.
#[derive(Clone, Copy)]
pub(super) enum Want<'w> {
    Branch(&'w str),
    Commit(CommitId),
}

impl Want<'_> {
    fn among(self, remote: &Remote, found: &Advertised) -> Result<CommitId, Error> {
        match self {
            Want::Commit(id) => Ok(id),
            Want::Branch(branch) => found.branches.get(branch).copied().ok_or_else(|| Error::Missing {
                remote: remote.shown().to_owned(),
                text: format!("no branch {branch}"),
            }),
        }
    }
}

/// Looks at a pack before it is stored, and gives failures of storing a name of their own: they may be the mirror's
/// fault.
struct Sink<'w, W> {
    writer: &'w mut W,
    watch: Watch,
    shown: &'w str,
}

impl<W: Write> Write for Sink<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.watch.see(bytes) {
            Ok(()) => {}
            Err(bad @ Bad::TooLarge) => {
                return Err(Error::TooLarge { remote: self.shown.to_owned(), text: bad.to_string() }.into());
            }
            Err(bad @ Bad::Broken) => return Err(Error::nonsense(self.shown, &bad.to_string()).into()),
        }
        // All of it, so that no byte is looked at twice.
        let stored = self.writer.write_all(bytes);
        stored.map_err(|e| Error::mirror(self.shown, format!("storing a pack: {e}")))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
