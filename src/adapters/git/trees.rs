//! The folders of a chain of commits while it is built. Each is parsed once, edited in place for commit after commit
//! and written as often as it changes; entries that are not touched keep their bytes, odd modes included.

use super::error::Error;
use super::mirror::Turn;
use super::tip::{MOST_FOLDER_BYTES, kind};
use crate::core::writeback::{Entry, Refusal};
use git2::{ObjectType, Odb, Oid, Repository};
use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

const FOLDER_MODE: i32 = 0o040_000;

pub(super) struct Trees<'r> {
    turn: &'r Turn,
    repository: &'r Repository,
    odb: &'r Odb<'r>,
    root: Oid,
    folders: HashMap<String, Folder>,
    /// Every object written since [`Trees::let_go`], with the path it stands at.
    pub(super) written: Vec<(Oid, String)>,
    /// Bytes of them.
    pub(super) held: usize,
    /// Bytes of all trees ever written.
    pub(super) weight: usize,
}

#[derive(Default)]
struct Folder {
    lines: Vec<Line>,
    changed: bool,
}

struct Line {
    name: Vec<u8>,
    mode: i32,
    id: Oid,
}

impl Line {
    fn is_folder(&self) -> bool {
        kind(self.mode) == Some(Entry::Dir)
    }
}

/// Git sorts folders as if their names ended with a slash.
fn order(a: &[u8], a_is_folder: bool, b: &[u8], b_is_folder: bool) -> Ordering {
    let common = a.len().min(b.len());
    let end = |name: &[u8], is_folder: bool| name.get(common).copied().unwrap_or(if is_folder { b'/' } else { 0 });
    a[..common].cmp(&b[..common]).then_with(|| end(a, a_is_folder).cmp(&end(b, b_is_folder)))
}

impl Folder {
    /// Where `name` stands, else where it would.
    fn place(&self, name: &[u8], is_folder: bool) -> Result<usize, usize> {
        self.lines.binary_search_by(|line| order(&line.name, line.is_folder(), name, is_folder))
    }

    /// The entry of that name, whatever it is.
    fn get(&self, name: &[u8]) -> Option<&Line> {
        let found = self.place(name, false).or_else(|_| self.place(name, true)).ok()?;
        self.lines.get(found)
    }

    fn set(&mut self, name: &[u8], mode: i32, id: Oid) {
        let line = Line { name: name.to_vec(), mode, id };
        match self.place(name, line.is_folder()) {
            Ok(at) => self.lines[at] = line,
            Err(at) => self.lines.insert(at, line),
        }
        self.changed = true;
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.lines.len() * 48);
        for line in &self.lines {
            bytes.extend_from_slice(format!("{:o} ", line.mode).as_bytes());
            bytes.extend_from_slice(&line.name);
            bytes.push(0);
            bytes.extend_from_slice(line.id.as_bytes());
        }
        bytes
    }
}

impl<'r> Trees<'r> {
    pub(super) fn of(turn: &'r Turn, repository: &'r Repository, odb: &'r Odb<'r>, root: Oid) -> Trees<'r> {
        Trees { turn, repository, odb, root, folders: HashMap::new(), written: Vec::new(), held: 0, weight: 0 }
    }

    /// What was written is in a pack; the folders stay known.
    pub(super) fn let_go(&mut self) {
        self.written.clear();
        self.held = 0;
    }

    /// What stands at a path whose every parent is a folder or missing; anything else on the way is refused (PATH-1).
    pub(super) fn standing(&mut self, parts: &[&str]) -> Result<Option<(i32, Oid)>, Error> {
        let mut path = String::new();
        for (n, part) in parts.iter().enumerate() {
            let Some(line) = self.folder(&path)?.get(part.as_bytes()) else { return Ok(None) };
            let (mode, id) = (line.mode, line.id);
            let last = n + 1 == parts.len();
            let what = match (kind(mode), last) {
                (Some(Entry::File { .. }), true) => return Ok(Some((mode, id))),
                (Some(Entry::Dir), false) => {
                    path = joined(&path, part);
                    continue;
                }
                (Some(Entry::File { .. }), false) => "a file, but must be a folder",
                (Some(Entry::Dir), true) => "a folder",
                (Some(Entry::Symlink), _) => "a symbolic link",
                (Some(Entry::Submodule), _) => "a submodule",
                (None, _) => "neither file nor folder",
            };
            let text = format!("{part} is {what}");
            return Err(Error::Refused(Refusal::new("path-not-regular", text).in_file(parts.join("/"))));
        }
        Ok(None)
    }

    /// Puts a file's new content where [`Trees::standing`] found a file or nothing.
    pub(super) fn put(&mut self, parts: &[&str], content: &[u8], mode: i32) -> Result<(), Error> {
        let Some((name, parents)) = parts.split_last() else { return Ok(()) };
        let blob = self.write(ObjectType::Blob, content, parts.join("/"))?;
        let mut path = String::new();
        for parent in parents {
            let below = joined(&path, parent);
            let folder = self.folder(&path)?;
            let missing = folder.get(parent.as_bytes()).is_none();
            folder.changed = true;
            if missing {
                folder.set(parent.as_bytes(), FOLDER_MODE, Oid::ZERO_SHA1);
                self.folders.insert(below.clone(), Folder::default());
            }
            path = below;
        }
        self.folder(&path)?.set(name.as_bytes(), mode, blob);
        Ok(())
    }

    /// Writes every changed folder, the deepest first, and gives the root.
    pub(super) fn finish(&mut self) -> Result<Oid, Error> {
        let mut changed: Vec<String> =
            self.folders.iter().filter(|(_, folder)| folder.changed).map(|(path, _)| path.clone()).collect();
        changed.sort_by_key(|path| Reverse(if path.is_empty() { 0 } else { 1 + path.matches('/').count() }));
        for path in changed {
            let folder = self.folder(&path)?;
            folder.changed = false;
            let bytes = folder.bytes();
            self.weight += bytes.len();
            let id = self.write(ObjectType::Tree, &bytes, path.clone())?;
            if path.is_empty() {
                self.root = id;
            } else {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
                self.folder(parent)?.set(name.as_bytes(), FOLDER_MODE, id);
            }
        }
        Ok(self.root)
    }

    fn write(&mut self, kind: ObjectType, bytes: &[u8], path: String) -> Result<Oid, Error> {
        let id = self.odb.write(kind, bytes).map_err(|e| self.turn.damaged(&e))?;
        self.written.push((id, path));
        self.held += bytes.len();
        Ok(id)
    }

    /// The folder at a path that is known to be one.
    fn folder(&mut self, path: &str) -> Result<&mut Folder, Error> {
        if !self.folders.contains_key(path) {
            let id = match path.rsplit_once('/') {
                _ if path.is_empty() => Some(self.root),
                Some((parent, name)) => self.folder(parent)?.get(name.as_bytes()).map(|line| line.id),
                None => self.folder("")?.get(path.as_bytes()).map(|line| line.id),
            };
            let folder = match id {
                Some(id) => self.parse(path, id)?,
                None => Folder::default(),
            };
            self.folders.insert(path.to_owned(), folder);
        }
        Ok(self.folders.entry(path.to_owned()).or_default())
    }

    fn parse(&self, path: &str, id: Oid) -> Result<Folder, Error> {
        let read = || -> Result<Option<Folder>, git2::Error> {
            if self.odb.read_header(id)?.0 > MOST_FOLDER_BYTES {
                return Ok(None);
            }
            let tree = self.repository.find_tree(id)?;
            let line = |entry: git2::TreeEntry<'_>| Line {
                name: entry.name_bytes().to_vec(),
                mode: entry.filemode_raw(),
                id: entry.id(),
            };
            Ok(Some(Folder { lines: tree.iter().map(line).collect(), changed: false }))
        };
        let too_large =
            || Error::Refused(Refusal::new("config-invalid", "the folder has too many entries").in_file(path));
        read().map_err(|e| self.turn.damaged(&e))?.ok_or_else(too_large)
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_6_folders_sort_as_if_they_ended_with_a_slash() {
        let mut folder = Folder::default();
        let id = Oid::ZERO_SHA1;
        for (name, mode) in
            [("a", FOLDER_MODE), ("a.b", 0o100_644), ("a0", 0o100_644), ("a-b", 0o100_644), ("b", 0o100_755)]
        {
            folder.set(name.as_bytes(), mode, id);
        }
        let names: Vec<&str> = folder.lines.iter().map(|line| std::str::from_utf8(&line.name).unwrap()).collect();
        assert_eq!(names, ["a-b", "a.b", "a", "a0", "b"]);
        for name in names.clone() {
            assert!(folder.get(name.as_bytes()).is_some(), "{name}");
        }
        assert!(folder.get(b"a.").is_none() && folder.get(b"").is_none());
        folder.set(b"a0", 0o100_755, id);
        assert_eq!(folder.lines.len(), 5);
    }

    /// On a mirror of one's own.
    fn turn(dir: &std::path::Path) -> Turn {
        let mirror = crate::adapters::git::mirror::Mirrors::below(dir).of("test".into());
        let guard = mirror.turn.clone().try_lock_owned().unwrap();
        let deadline = crate::adapters::git::settings::Deadline::new(&crate::adapters::git::Settings::new(dir));
        Turn::begin(mirror, guard, "test", deadline).unwrap()
    }

    /// The same edits by libgit2's own means.
    fn by_libgit2(repository: &Repository, root: Oid, files: &[(Vec<&'static str>, u8)]) -> Option<Oid> {
        let mut updates = git2::build::TreeUpdateBuilder::new();
        for (parts, content) in files {
            let blob = repository.blob(&[*content]).ok()?;
            updates.upsert(parts.join("/"), blob, git2::FileMode::Blob);
        }
        updates.create_updated(repository, &repository.find_tree(root).ok()?).ok()
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
        #[test]
        fn git_6_trees_are_those_libgit2_would_write(
            steps in proptest::collection::vec(
                (proptest::collection::vec(proptest::sample::select(vec!["a", "a.b", "a-", "a0", "b", "Z", "ä"]), 1..4), 0u8..4),
                1..24,
            )
        ) {
            let dir = tempfile::tempdir().unwrap();
            let turn = turn(dir.path());
            let repository = turn.repository().unwrap();
            let odb = repository.odb().unwrap();
            let mut root = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap().id();
            let mut trees = Trees::of(&turn, &repository, &odb, root);
            for step in &steps {
                let (parts, content) = step;
                match trees.standing(parts) {
                    // A file where a folder must be, or the other way round: refused, and nothing changes.
                    Err(Error::Refused(refusal)) => proptest::prop_assert_eq!(refusal.kind, "path-not-regular"),
                    Err(other) => panic!("{other}"),
                    Ok(_) => {
                        trees.put(parts, &[*content], 0o100_644).unwrap();
                        root = by_libgit2(&repository, root, std::slice::from_ref(step)).expect("it accepts what we do");
                    }
                }
                proptest::prop_assert_eq!(trees.finish().unwrap(), root);
            }
        }
    }
}
