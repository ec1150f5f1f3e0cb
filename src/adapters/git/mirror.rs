//! Bare mirrors on disk: one per remote and credential identity, one user at a time within and between processes,
//! rebuilt beside and swapped when damaged, small packs put together when there are many (GIT-5).
//!
//! ```text
//! <state>/git/<id>        the repository; its refs/tips/… say what was fetched
//! <state>/git/<id>.lock   held by whoever changes it
//! <state>/git/<id>.use    shared by those who read; packs are removed only when nobody does
//! <state>/git/<id>.new    being built
//! ```

use super::CommitId;
use super::error::Error;
use super::settings::Deadline;
use git2::{ErrorClass, ErrorCode, ObjectType, Oid, Repository, RepositoryInitOptions, RepositoryOpenFlags, Sort};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// More packs than this make every look-up slow and hold a descriptor each.
const MANY_PACKS: usize = 50;

/// Packs up to this size are put together; larger ones are histories and stay.
const SMALL_PACK: u64 = 32 << 20;

/// Commits are read whole; nobody writes a message of this size.
const MOST_COMMIT_BYTES: usize = 4 << 20;

const NO_CEILINGS: [&std::ffi::OsStr; 0] = [];

/// All mirrors of this process.
pub(super) struct Mirrors {
    dir: PathBuf,
    known: Mutex<HashMap<String, Arc<Mirror>>>,
}

/// One mirror, as this process knows it.
pub(super) struct Mirror {
    path: PathBuf,
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    suspect: AtomicBool,
}

impl Mirrors {
    pub(super) fn below(state_dir: &Path) -> Mirrors {
        Mirrors { dir: state_dir.join("git"), known: Mutex::default() }
    }

    pub(super) fn of(&self, id: String) -> Arc<Mirror> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let path = self.dir.join(&id);
        let fresh = || Arc::new(Mirror { path, turn: Arc::default(), suspect: AtomicBool::new(false) });
        known.entry(id).or_insert_with(fresh).clone()
    }
}

impl Mirror {
    /// Something in it could not be read; whoever has the next turn rebuilds it.
    pub(super) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    }
}

/// The right to change a mirror. Blocking; lives on a thread where waiting is allowed.
pub(super) struct Turn {
    mirror: Arc<Mirror>,
    shown: String,
    _turn: OwnedMutexGuard<()>,
    _lock: Lock,
}

impl Turn {
    /// Waits for other processes.
    pub(super) fn begin(
        mirror: Arc<Mirror>,
        turn: OwnedMutexGuard<()>,
        shown: &str,
        deadline: Deadline,
    ) -> Result<Turn, Error> {
        let fail = |e: io::Error| Error::mirror(shown, e);
        if let Some(parent) = mirror.path.parent() {
            // Configuration repositories are nobody else's business.
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
        }
        let lock = Lock::open(&mirror.beside(".lock")).map_err(fail)?;
        loop {
            match lock.0.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(fail(error)),
                Err(TryLockError::WouldBlock) if deadline.left().is_none() => {
                    return Err(Error::mirror(shown, "another process holds it"));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Ok(Turn { mirror, shown: shown.to_owned(), _turn: turn, _lock: lock })
    }

    pub(super) fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }

    /// The repository, made if there is none. A suspect one is an error: rebuild it.
    pub(super) fn repository(&self) -> Result<Repository, Error> {
        if self.mirror.suspect.load(Ordering::Relaxed) {
            return Err(Error::mirror(&self.shown, "is damaged"));
        }
        if !self.mirror.path.exists() {
            let fresh = self.mirror.beside(".new");
            self.create(&fresh)?;
            fs::rename(&fresh, &self.mirror.path).map_err(|e| Error::mirror(&self.shown, e))?;
        }
        let fail = |e: git2::Error| self.damaged(&e);
        let repository = Repository::open_bare(&self.mirror.path).map_err(fail)?;
        if repository.is_shallow() {
            // Only this way to open reads where the history ends. It also asks who owns the folder, and some volumes
            // answer "nobody", so it is not the usual one.
            let flags = RepositoryOpenFlags::BARE | RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
            return Repository::open_ext(&self.mirror.path, flags, NO_CEILINGS).map_err(fail);
        }
        Ok(repository)
    }

    /// Builds a new repository beside, has it filled, and swaps it in; the damaged one is left alone if that fails.
    pub(super) fn rebuild<T>(&self, fill: impl FnOnce(&Repository) -> Result<T, Error>) -> Result<T, Error> {
        let fresh = self.mirror.beside(".new");
        let repository = self.create(&fresh)?;
        let filled = fill(&repository)?;
        drop(repository);
        let fail = |e: io::Error| Error::mirror(&self.shown, e);
        let old = self.mirror.beside(".old");
        remove(&old).map_err(fail)?;
        if self.mirror.path.exists() {
            fs::rename(&self.mirror.path, &old).map_err(fail)?;
        }
        fs::rename(&fresh, &self.mirror.path).map_err(fail)?;
        self.mirror.suspect.store(false, Ordering::Relaxed);
        remove(&old).map_err(fail)?;
        Ok(filled)
    }

    fn create(&self, path: &Path) -> Result<Repository, Error> {
        remove(path).map_err(|e| Error::mirror(&self.shown, e))?;
        let mut options = RepositoryInitOptions::new();
        // No templates: nothing of the machine's Git setup gets in, hooks least of all.
        options.bare(true).external_template(false).mkpath(true);
        let made = Repository::init_opts(path, &options).map_err(|e| Error::mirror(&self.shown, e.message()))?;
        remove(&path.join("hooks")).map_err(|e| Error::mirror(&self.shown, e))?;
        Ok(made)
    }

    /// A reader's hold on the packs that are there now.
    pub(super) fn lease(&self) -> Result<Lock, Error> {
        let lock = Lock::open(&self.mirror.beside(".use")).map_err(|e| Error::mirror(&self.shown, e))?;
        match lock.0.try_lock_shared() {
            Ok(()) => Ok(lock),
            // Exclusive holders have the turn, and that is us.
            Err(error) => Err(Error::mirror(&self.shown, error)),
        }
    }

    /// What libgit2 cannot read or write. Unless the disk is to blame, the mirror is, and is rebuilt.
    pub(super) fn damaged(&self, error: &git2::Error) -> Error {
        if error.class() != ErrorClass::Os {
            self.mirror.suspect();
        }
        Error::mirror(&self.shown, format!("cannot be read: {}", error.message()))
    }

    /// Whether the commit and its root are there. A root is looked at, not read: it may be of any size.
    pub(super) fn has(&self, repository: &Repository, id: CommitId) -> Result<bool, Error> {
        let odb = repository.odb().map_err(|e| self.damaged(&e))?;
        match odb.read_header(id.into()) {
            Ok((size, ObjectType::Commit)) if size <= MOST_COMMIT_BYTES => {}
            Ok(_) => return Err(Error::nonsense(&self.shown, "a branch is at something that is no usual commit")),
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(false),
            Err(error) => return Err(self.damaged(&error)),
        }
        let commit = repository.find_commit(id.into()).map_err(|e| self.damaged(&e))?;
        odb.read_header(commit.tree_id()).map(|_| true).map_err(|e| self.damaged(&e))
    }

    /// Remembers what a branch was fetched or pushed at.
    pub(super) fn set_tip(&self, repository: &Repository, branch: &str, id: CommitId) -> Result<(), Error> {
        repository.reference(&tip_ref(branch), id.into(), true, "").map(drop).map_err(|error| self.damaged(&error))
    }

    /// Whether the branch was fetched before.
    pub(super) fn knows(&self, repository: &Repository, branch: &str) -> bool {
        repository.find_reference(&tip_ref(branch)).is_ok()
    }

    /// Commits whose parents are not in the mirror, as Git keeps them.
    pub(super) fn shallow(&self, repository: &Repository) -> Result<BTreeSet<CommitId>, Error> {
        match fs::read_to_string(repository.path().join("shallow")) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(Error::mirror(&self.shown, error)),
        }
    }

    /// Known to repositories opened from now on.
    pub(super) fn set_shallow(&self, repository: &Repository, ends: &BTreeSet<CommitId>) -> Result<(), Error> {
        let text: String = ends.iter().map(|id| format!("{id}\n")).collect();
        let (path, new) = (repository.path().join("shallow"), repository.path().join("shallow.new"));
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(|e| Error::mirror(&self.shown, e))
    }

    /// Commits the remote may have as well, newest first and thinning out, so that it can leave out what is here.
    pub(super) fn haves(&self, repository: &Repository) -> Result<Vec<CommitId>, Error> {
        const STEPS: usize = 4096;
        const DENSE: usize = 64;
        let read = || -> Result<Vec<CommitId>, git2::Error> {
            let mut walk = repository.revwalk()?;
            walk.set_sorting(Sort::TIME)?;
            let mut any = false;
            for reference in repository.references_glob("refs/tips/*")? {
                if let Some(id) = reference?.target() {
                    walk.push(id)?;
                    any = true;
                }
            }
            let mut haves = Vec::new();
            if !any {
                return Ok(haves);
            }
            let mut stride = 1;
            let mut until = 0;
            for (n, id) in walk.take(STEPS).enumerate() {
                let id = id?;
                if n >= until {
                    haves.push(id.into());
                    if haves.len() >= DENSE {
                        stride *= 2;
                    }
                    until = n + stride;
                }
            }
            Ok(haves)
        };
        read().map_err(|error| self.damaged(&error))
    }

    /// Puts small packs together when there are many and nobody reads. True if it did.
    pub(super) fn consolidate(&self, repository: &Repository) -> Result<bool, Error> {
        let fail = |e: io::Error| Error::mirror(&self.shown, e);
        let dir = self.pack_dir();
        let all = packs(&dir).map_err(fail)?;
        if all.len() <= MANY_PACKS {
            return Ok(false);
        }
        let readers = Lock::open(&self.mirror.beside(".use")).map_err(fail)?;
        if readers.0.try_lock().is_err() {
            return Ok(false);
        }
        let small: Vec<&PathBuf> = all.iter().filter(|(_, size)| *size <= SMALL_PACK).map(|(path, _)| path).collect();
        if small.len() < 2 {
            return Ok(false);
        }
        let mut objects = BTreeSet::new();
        for pack in &small {
            objects.extend(ids_of(&pack.with_extension("idx")).map_err(fail)?);
        }
        let combined = self.write_pack(repository, &objects)?;
        for pack in small.into_iter().filter(|pack| pack.file_stem().is_none_or(|stem| *stem != *combined)) {
            // The index goes first: a pack without one is not looked at.
            fs::remove_file(pack.with_extension("idx")).map_err(fail)?;
            fs::remove_file(pack).map_err(fail)?;
        }
        Ok(true)
    }

    fn write_pack(&self, repository: &Repository, objects: &BTreeSet<Oid>) -> Result<String, Error> {
        let write = || -> Result<String, git2::Error> {
            let odb = repository.odb()?;
            let mut builder = repository.packbuilder()?;
            // Like after like makes small deltas.
            for kind in [ObjectType::Commit, ObjectType::Tag, ObjectType::Tree, ObjectType::Blob] {
                for id in objects {
                    if odb.read_header(*id)?.1 == kind {
                        builder.insert_object(*id, None)?;
                    }
                }
            }
            builder.write(&self.pack_dir(), 0)?;
            Ok(format!("pack-{}", builder.name()?.unwrap_or_default()))
        };
        write().map_err(|error| self.damaged(&error))
    }

    /// Stores a pack that needs nothing from outside, durably, and gives the name of its files.
    pub(super) fn store_pack(&self, pack: &[u8]) -> Result<String, Error> {
        let dir = self.pack_dir();
        let index = || -> Result<String, git2::Error> {
            let mut indexer = git2::Indexer::new(None, &dir, 0, false)?;
            indexer.write_all(pack).map_err(|error| git2::Error::from_str(&error.to_string()))?;
            Ok(format!("pack-{}", indexer.commit()?))
        };
        let name = index().map_err(|error| Error::mirror(&self.shown, error))?;
        // The indexer leaves that to us.
        let durable = |path: &Path| File::open(path).and_then(|file| file.sync_all());
        let path = dir.join(&name);
        [path.with_extension("pack"), path.with_extension("idx"), dir]
            .iter()
            .try_for_each(|path| durable(path))
            .map_err(|error| Error::mirror(&self.shown, error))?;
        Ok(name)
    }

    pub(super) fn pack_dir(&self) -> PathBuf {
        self.mirror.path.join("objects").join("pack")
    }

    /// Removes a pack nobody will ask for: a chain that lost its race. Readers do not mind, because nothing they can
    /// reach is in it.
    pub(super) fn drop_pack(&self, name: &str) {
        let pack = self.pack_dir().join(name);
        // What cannot be removed is waste, not a fault.
        let _ = fs::remove_file(pack.with_extension("idx"));
        let _ = fs::remove_file(pack.with_extension("pack"));
    }
}

/// A file whose lock ends with it. Said aloud, because a process forked elsewhere may still hold a copy of the
/// descriptor for a moment, and the lock with it.
pub(super) struct Lock(File);

impl Lock {
    fn open(path: &Path) -> io::Result<Lock> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map(Lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It ends with the descriptor otherwise.
        let _ = self.0.unlock();
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Branch names are flattened, because `a` and `a/b` may follow each other, and hashed where they would make a file
/// name too long.
fn tip_ref(branch: &str) -> String {
    let flat = branch.replace('%', "%25").replace('/', "%2F");
    match flat.len() {
        0..=180 => format!("refs/tips/{flat}"),
        _ => format!("refs/tips/{}", data_encoding::HEXLOWER.encode(&Sha256::digest(branch))),
    }
}

/// Pack files and their sizes.
pub(super) fn packs(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "pack") && path.with_extension("idx").exists() {
            let size = fs::metadata(&path)?.len();
            found.push((path, size));
        }
    }
    Ok(found)
}

/// The object ids a pack index (version 2) lists: magic, version, 256 counts, then the ids in order.
fn ids_of(index: &Path) -> io::Result<Vec<Oid>> {
    const IDS: usize = 8 + 256 * 4;
    let bytes = fs::read(index)?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "a pack index cannot be read");
    if !bytes.starts_with(&[0xff, b't', b'O', b'c', 0, 0, 0, 2]) {
        return Err(bad());
    }
    let count =
        bytes.get(IDS - 4..IDS).and_then(|last| last.try_into().ok()).map(u32::from_be_bytes).ok_or_else(bad)?;
    let ids = bytes.get(IDS..IDS + 20 * count as usize).ok_or_else(bad)?;
    ids.chunks_exact(20).map(|id| Oid::from_bytes(id).map_err(|_| bad())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_5_branch_names_never_stand_in_each_others_way() {
        assert_eq!(tip_ref("a/b"), "refs/tips/a%2Fb");
        assert_ne!(tip_ref("a%2Fb"), tip_ref("a/b"));
        let long = tip_ref(&"x".repeat(255));
        assert!(long.len() < 100 && git2::Reference::is_valid_name(&long));
    }
}
