//! One commit of a mirror as a [`Tree`]: reading is local, large and hostile objects are refused before they are
//! inflated, folders are parsed once however many Applications look into them.

use super::CommitId;
use super::error::{Error, clean};
use super::mirror::{Lock, Mirror, Turn};
use super::remote::Remote;
use crate::core::writeback::{Entry, Tree, TreeError};
use git2::{ObjectType, Oid, Repository};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// Limits of §25: an edited file, the depth of a path; and of a folder, so that no tree object fills the memory.
pub(super) const MOST_FILE_BYTES: usize = 2 << 20;
const MOST_DEPTH: usize = 64;
pub(super) const MOST_FOLDER_BYTES: usize = 32 << 20;

/// Entries of parsed folders that are kept, over all folders.
const KEPT_ENTRIES: usize = 200_000;

/// A commit that is in the mirror. Cloning is cheap; it stays readable as long as it lives.
#[derive(Clone)]
pub struct Tip(Arc<Inner>);

struct Inner {
    id: CommitId,
    remote: Remote,
    mirror: Arc<Mirror>,
    root: Oid,
    repository: Mutex<Repository>,
    folders: Mutex<Folders>,
    _lease: Lock,
}

#[derive(Default)]
struct Folders {
    parsed: HashMap<String, Arc<Folder>>,
    entries: usize,
}

/// A tree object's entries, sorted by name.
struct Folder(Vec<(Vec<u8>, i32, Oid)>);

impl Folder {
    fn get(&self, name: &str) -> Option<(i32, Oid)> {
        let at = self.0.binary_search_by(|(n, _, _)| n.as_slice().cmp(name.as_bytes())).ok()?;
        self.0.get(at).map(|(_, mode, id)| (*mode, *id))
    }
}

impl Tip {
    pub(super) fn read(turn: &Turn, repository: Repository, remote: &Remote, id: CommitId) -> Result<Tip, Error> {
        let root = repository.find_commit(id.into()).map(|commit| commit.tree_id()).map_err(|e| turn.damaged(&e))?;
        Ok(Tip(Arc::new(Inner {
            id,
            remote: remote.clone(),
            mirror: turn.mirror().clone(),
            root,
            repository: Mutex::new(repository),
            folders: Mutex::default(),
            _lease: turn.lease()?,
        })))
    }

    /// The commit.
    pub fn id(&self) -> CommitId {
        self.0.id
    }

    /// Where it was fetched from.
    pub fn remote(&self) -> &Remote {
        &self.0.remote
    }

    pub(super) fn repository(&self) -> MutexGuard<'_, Repository> {
        self.0.repository.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.0.folders.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn unreadable(&self, what: &str, error: &git2::Error) -> TreeError {
        self.0.mirror.suspect();
        TreeError(format!("{what} cannot be read from the mirror: {}", clean(error.message().as_bytes(), 200)))
    }

    /// The folder at `path`; `None` if something else or nothing stands there.
    fn folder(&self, path: &str) -> Result<Option<Arc<Folder>>, TreeError> {
        if let Some(folder) = self.folders().parsed.get(path) {
            return Ok(Some(folder.clone()));
        }
        let id = match path {
            "" => self.0.root,
            _ => match self.find(path)? {
                Some((mode, id)) if kind(mode) == Some(Entry::Dir) => id,
                _ => return Ok(None),
            },
        };
        let folder = Arc::new(self.parse(path, id)?);
        let mut folders = self.folders();
        folders.entries += folder.0.len();
        if folders.entries > KEPT_ENTRIES {
            *folders = Folders { parsed: HashMap::new(), entries: folder.0.len() };
        }
        folders.parsed.insert(path.to_owned(), folder.clone());
        Ok(Some(folder))
    }

    fn parse(&self, path: &str, id: Oid) -> Result<Folder, TreeError> {
        let repository = self.repository();
        let shown = if path.is_empty() { "the root" } else { path };
        let read = || -> Result<Result<Folder, TreeError>, git2::Error> {
            let odb = repository.odb()?;
            if odb.read_header(id)?.0 > MOST_FOLDER_BYTES {
                return Ok(Err(TreeError(format!("{shown} has too many entries"))));
            }
            let tree = repository.find_tree(id)?;
            let mut entries: Vec<(Vec<u8>, i32, Oid)> =
                tree.iter().map(|entry| (entry.name_bytes().to_vec(), entry.filemode(), entry.id())).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(Ok(Folder(entries)))
        };
        read().map_err(|error| self.unreadable(shown, &error))?
    }

    fn find(&self, path: &str) -> Result<Option<(i32, Oid)>, TreeError> {
        if path.split('/').count() > MOST_DEPTH {
            return Err(TreeError(format!("{path} is deeper than {MOST_DEPTH} folders")));
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(self.folder(parent)?.and_then(|folder| folder.get(name)))
    }
}

/// What a mode of a tree entry means; `None` for modes that nothing writes.
pub(super) fn kind(mode: i32) -> Option<Entry> {
    match mode & 0o170_000 {
        0o040_000 => Some(Entry::Dir),
        0o100_000 => Some(Entry::File { executable: mode & 0o100 != 0 }),
        0o120_000 => Some(Entry::Symlink),
        0o160_000 => Some(Entry::Submodule),
        _ => None,
    }
}

impl Tree for Tip {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        if path.is_empty() {
            return Ok(Some(Entry::Dir));
        }
        Ok(self.find(path)?.and_then(|(mode, _)| kind(mode)))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        let id = match self.find(path)? {
            Some((mode, id)) if matches!(kind(mode), Some(Entry::File { .. })) => id,
            _ => return Err(TreeError(format!("no file {path}"))),
        };
        let repository = self.repository();
        let read = || -> Result<Result<Vec<u8>, TreeError>, git2::Error> {
            let odb = repository.odb()?;
            match odb.read_header(id)? {
                (size, ObjectType::Blob) if size > MOST_FILE_BYTES => {
                    Ok(Err(TreeError(format!("{path} is larger than {} MiB", MOST_FILE_BYTES >> 20))))
                }
                (_, ObjectType::Blob) => Ok(Ok(odb.read(id)?.data().to_vec())),
                _ => Ok(Err(TreeError(format!("{path} is no file, although its folder says so")))),
            }
        };
        read().map_err(|error| self.unreadable(path, &error))?
    }

    fn list(&self, dir: &str) -> Result<Vec<(String, Entry)>, TreeError> {
        let Some(folder) = self.folder(dir)? else { return Ok(Vec::new()) };
        // Names that are not text cannot be named in any setting.
        let named = |(name, mode, _): &(Vec<u8>, i32, Oid)| Some((String::from_utf8(name.clone()).ok()?, kind(*mode)?));
        Ok(folder.0.iter().filter_map(named).collect())
    }
}

impl fmt::Debug for Tip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tip({} {})", self.0.remote.shown(), self.0.id)
    }
}
