//! One immutable snapshot of a repository's files, as everything that reads or edits files sees it: the Git adapter
//! implements it over objects, tests and overlays over maps.

use std::collections::BTreeMap;
use std::fmt;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A regular file.
    File {
        /// Mode 100755 instead of 100644.
        executable: bool,
    },
    /// A tree.
    Dir,
    /// A symbolic link; never followed.
    Symlink,
    /// A commit of another repository.
    Submodule,
}

/// The snapshot could not be read (a missing object, a corrupt mirror); says nothing about what people wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeError(pub String);

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TreeError {}

/// A snapshot of files. Paths are relative to the repository's root, parts joined by `/`, without leading or trailing
/// `/`; the empty path is the root.
pub trait Tree {
    /// What stands at `path`; `None` if nothing does, or if a part before the last is no directory.
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError>;

    /// The bytes of the regular file at `path`; an error if there is none.
    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError>;

    /// Names and kinds directly below `dir`, in byte order of the names; empty if `dir` is no directory.
    fn list(&self, dir: &str) -> Result<Vec<(String, Entry)>, TreeError>;
}

/// Whether a regular file stands at `path`.
pub fn is_file(tree: &dyn Tree, path: &str) -> Result<bool, TreeError> {
    Ok(matches!(tree.entry(path)?, Some(Entry::File { .. })))
}

/// A tree of a few files in memory. Directories exist by their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapTree {
    entries: BTreeMap<String, (Entry, Vec<u8>)>,
}

impl MapTree {
    /// A tree of regular files.
    pub fn of<P: Into<String>, B: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, B)>) -> MapTree {
        let mut tree = MapTree::default();
        for (path, bytes) in files {
            tree.put(path, Entry::File { executable: false }, bytes);
        }
        tree
    }

    /// Puts one entry; the bytes of anything but a file are what Git stores for it and are never read.
    pub fn put(&mut self, path: impl Into<String>, entry: Entry, bytes: impl Into<Vec<u8>>) {
        self.entries.insert(path.into(), (entry, bytes.into()));
    }
}

impl Tree for MapTree {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        if let Some((entry, _)) = self.entries.get(path) {
            return Ok(Some(*entry));
        }
        let is_dir = path.is_empty() || self.entries.keys().any(|p| below(p, path).is_some());
        Ok(is_dir.then_some(Entry::Dir))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        match self.entries.get(path) {
            Some((Entry::File { .. }, bytes)) => Ok(bytes.clone()),
            _ => Err(TreeError(format!("no file {path}"))),
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<(String, Entry)>, TreeError> {
        let mut found = BTreeMap::new();
        for (path, (entry, _)) in &self.entries {
            if let Some(rest) = below(path, dir) {
                match rest.split_once('/') {
                    Some((name, _)) => found.insert(name.to_owned(), Entry::Dir),
                    None => found.insert(rest.to_owned(), *entry),
                };
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// A tree with some files changed: several Applications of one push may edit the same file one after another.
pub struct Overlay<'a> {
    base: &'a dyn Tree,
    changed: MapTree,
}

impl<'a> Overlay<'a> {
    /// The tree as it is.
    pub fn on(base: &'a dyn Tree) -> Overlay<'a> {
        Overlay { base, changed: MapTree::default() }
    }

    /// Lays a file's new bytes over the tree.
    pub fn write(&mut self, path: impl Into<String>, executable: bool, bytes: impl Into<Vec<u8>>) {
        self.changed.put(path, Entry::File { executable }, bytes);
    }
}

impl Tree for Overlay<'_> {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        match self.changed.entry(path)? {
            Some(Entry::Dir) if path.is_empty() => self.base.entry(path),
            Some(entry) => Ok(Some(entry)),
            None => self.base.entry(path),
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        match self.changed.entries.get(path) {
            Some((_, bytes)) => Ok(bytes.clone()),
            None => self.base.read(path),
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<(String, Entry)>, TreeError> {
        let mut all: BTreeMap<String, Entry> = self.base.list(dir)?.into_iter().collect();
        all.extend(self.changed.list(dir)?);
        Ok(all.into_iter().collect())
    }
}

fn below<'p>(path: &'p str, dir: &str) -> Option<&'p str> {
    if dir.is_empty() { Some(path) } else { path.strip_prefix(dir)?.strip_prefix('/') }
}
