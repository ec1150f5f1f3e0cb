//! The file: created whole, locked, checked before use, never emptied; and the reading connections beside the writer.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use super::Error;

/// The schema this program writes. A change adds a step in [`migrate`] and a number here.
const SCHEMA: i64 = 2;
/// Marks the file as ours in SQLite's header ("Lync").
const APPLICATION: i64 = 0x4c79_6e63;
/// Reading connections kept open between reads.
const IDLE_READERS: usize = 4;

const FILE: &str = "state.db";
const LOCK: &str = "state.lock";
const MAKING: &str = "state.db.making";

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('journal-mark', 0);
CREATE TABLE text (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE app (uid TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE ledger (
  uid TEXT NOT NULL, key TEXT NOT NULL, origin TEXT NOT NULL, at INTEGER NOT NULL, told INTEGER NOT NULL,
  PRIMARY KEY (uid, key)
) WITHOUT ROWID;

-- One packed copy per object version; rows refer to it until they are final.
CREATE TABLE object (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL);

-- Moments are microseconds since 1970. `due` is 0 for planned rows; `waits` is when the first failure was recorded.
CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE, occurrence TEXT NOT NULL,
  namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,
  trigger_name TEXT NOT NULL, condition TEXT NOT NULL, state_key TEXT NOT NULL,
  service TEXT NOT NULL, recipient TEXT NOT NULL,
  templates TEXT NOT NULL, payload TEXT NOT NULL, steps TEXT NOT NULL DEFAULT '[]',
  state TEXT NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, moment INTEGER NOT NULL DEFAULT 0,
  due INTEGER NOT NULL DEFAULT 0, waits INTEGER, healable INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0, event_at INTEGER NOT NULL, last_error TEXT NOT NULL DEFAULT '',
  possible_repeat INTEGER NOT NULL DEFAULT 0, object INTEGER
);
CREATE INDEX event_waiting ON event (seq, due) WHERE state IN ('planned', 'retry_at');
CREATE INDEX event_due ON event (due, waits) WHERE state IN ('planned', 'retry_at');
CREATE INDEX event_lane ON event (uid, service, recipient, seq, waits) WHERE state NOT IN ('done', 'dead');
CREATE INDEX event_sending ON event (epoch) WHERE state = 'sending';
CREATE INDEX event_state ON event (state, moment);
CREATE INDEX event_app ON event (namespace, name, seq);
CREATE INDEX event_object ON event (object) WHERE object IS NOT NULL;
CREATE INDEX event_service ON event (service, state, event_at);

CREATE TABLE thread (
  service TEXT NOT NULL, recipient TEXT NOT NULL, key TEXT NOT NULL,
  channel TEXT NOT NULL, ts TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (service, recipient, key)
) WITHOUT ROWID;

CREATE TABLE journal (
  mark INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,
  image TEXT NOT NULL, event TEXT NOT NULL
);
CREATE INDEX journal_app ON journal (namespace, name, mark);
CREATE INDEX journal_image ON journal (uid, image, mark);

CREATE TABLE push (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, remote TEXT NOT NULL, branch TEXT NOT NULL,
  old TEXT NOT NULL, new TEXT NOT NULL, note TEXT NOT NULL, events TEXT NOT NULL
);
";

/// Since schema 2. A cache: whatever is missing here is asked again. `used` orders the rows, the longest unused first.
const METADATA: &str = "
CREATE TABLE metadata (key BLOB PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE listing (key BLOB PRIMARY KEY, at INTEGER NOT NULL, tags TEXT NOT NULL) WITHOUT ROWID;
";

/// An opened, locked and checked file.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) fresh: bool,
    pub(super) lock: File,
}

pub(super) fn open(folder: &Path) -> Result<Opened, Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io(folder))?;
    let lock = lock(&folder.join(LOCK))?;
    let path = folder.join(FILE);
    let fresh = !path.exists();
    if fresh {
        create(folder)?;
    }
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = check(&connection, &path)?;
    migrate(&connection, found)?;
    connection.execute_batch("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000;")?;
    Ok(Opened { connection, path, fresh, lock })
}

/// Held until the process ends, however it ends. A file of its own, so that commands may read the store beside it.
fn lock(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(io(path)(error)),
    }
}

/// Makes the file under another name and renames it when it is whole: so an empty `state.db` is always a damage.
fn create(folder: &Path) -> Result<(), Error> {
    let (path, making) = (folder.join(FILE), folder.join(MAKING));
    let log = folder.join(format!("{FILE}-wal"));
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err(Error::Damaged {
            path: path.display().to_string(),
            text: "its log is here, the file is not".into(),
        });
    }
    for leftover in [&making, &folder.join(format!("{MAKING}-wal")), &folder.join(format!("{MAKING}-journal"))] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(leftover)(error)),
            _ => {}
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&making).map_err(io(&making))?;
    let connection = Connection::open(&making)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    set_up(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, error)| error)?;
    fs::rename(&making, &path).map_err(io(&path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))
}

fn set_up(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch(&format!("BEGIN; {TABLES} {METADATA} COMMIT;"))?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", SCHEMA)?;
    Ok(())
}

pub(super) fn memory() -> Result<Connection, Error> {
    let connection = Connection::open_in_memory()?;
    set_up(&connection)?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| damaged(path, error))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Refuses what is not ours, newer than we are, or broken; gives the schema.
fn check(connection: &Connection, path: &Path) -> Result<i64, Error> {
    let number = |name: &str| -> Result<i64, Error> {
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| damaged(path, error))
    };
    if number("application_id")? != APPLICATION {
        let text = "not a store of this program".to_owned();
        return Err(Error::Damaged { path: path.display().to_string(), text });
    }
    let found = number("user_version")?;
    if found > SCHEMA {
        return Err(Error::Newer { path: path.display().to_string(), found, known: SCHEMA });
    }
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| damaged(path, error))?;
    if verdict != "ok" {
        return Err(Error::Damaged { path: path.display().to_string(), text: verdict });
    }
    Ok(found)
}

/// Brings an older schema up, step by step, each in one transaction. Schema 1 is the first. A file that is only read
/// stays as it is: readers do without tables that are newer.
fn migrate(connection: &Connection, from: i64) -> Result<(), Error> {
    match from {
        SCHEMA.. => Ok(()),
        1 => Ok(connection.execute_batch(&format!("BEGIN; {METADATA} PRAGMA user_version = 2; COMMIT;"))?),
        other => Err(Error::Unreadable(format!("schema {other}"))),
    }
}

/// The kind of file system a folder is on, if it is one that vanishes with its container or machine (OUT-15).
pub fn passing_place(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    passing_mount(&mounts, folder.to_str()?)
}

pub(super) fn passing_mount(mounts: &str, folder: &str) -> Option<String> {
    // "36 35 98:0 /root /mount/point options - type source options"
    let read = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.replace("\\040", " ");
        let holds = folder
            .strip_prefix(point.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        holds.then(|| (point.len(), after.split(' ').next().unwrap_or_default().to_owned()))
    };
    // Of two mounts at one place the later one counts.
    let (_, kind) = mounts.lines().filter_map(read).max_by_key(|(length, _)| *length)?;
    matches!(kind.as_str(), "overlay" | "tmpfs" | "ramfs" | "aufs").then_some(kind)
}

fn damaged(path: &Path, error: rusqlite::Error) -> Error {
    Error::Damaged { path: path.display().to_string(), text: error.to_string() }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Io { path, source }
}

/// Opens an existing file for reading. Where the folder may not be written and nobody has the file open, SQLite cannot
/// make its shared memory there; such a file does not change either, and is read as immutable.
pub(super) fn open_read_only(folder: &Path) -> Result<Readers, Error> {
    let path = folder.join(FILE);
    path.metadata().map_err(io(&path))?;
    let readers = Readers::new(&path);
    match readers.take().and_then(|connection| check(&connection, &path)) {
        Ok(_) => Ok(readers),
        Err(Error::Damaged { .. }) if !folder.join(format!("{FILE}-wal")).exists() => {
            let readers = Readers { immutable: true, ..Readers::new(&path) };
            check(&readers.take()?, &path)?;
            Ok(readers)
        }
        Err(error) => Err(error),
    }
}

/// Reading connections: as many as read at the same time, a few kept for the next ones.
#[derive(Clone)]
pub(super) struct Readers {
    path: PathBuf,
    immutable: bool,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Readers {
        Readers { path: path.to_owned(), immutable: false, idle: Arc::default() }
    }

    fn take(&self) -> Result<Connection, Error> {
        if let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        if self.immutable {
            let mut address = url::Url::from_file_path(&self.path)
                .map_err(|()| Error::Unreadable(format!("path {}", self.path.display())))?;
            address.set_query(Some("immutable=1"));
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            return connect(Path::new(address.as_str()), flags);
        }
        connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let result = operation(&connection);
            let mut idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_READERS {
                idle.push(connection);
            }
            result
        });
        reading.await.map_err(|_| Error::Closed)?
    }
}
