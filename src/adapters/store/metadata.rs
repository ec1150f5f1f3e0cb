//! What is known of images, kept over a restart (image-updates.md REG-10), and the last complete listings (REG-12).
//! Both are caches: bounded by whoever fills them, opaque here, and empty in a store of an older schema.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Error, Store};

/// Names a thing that is remembered.
pub type Key = [u8; 16];

/// A tag list as it was when it last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptListing {
    /// Names repository and credential.
    pub key: Key,
    /// Unix seconds.
    pub at: i64,
    /// The tags, one a line.
    pub tags: String,
}

/// Repositories whose list is kept; the longest unchanged go first.
const MOST_LISTINGS: i64 = 5_000;

impl Store {
    /// Sets or, without value, removes what is remembered under each key (REG-10).
    pub async fn keep_metadata(&self, rows: Vec<(Key, Option<Vec<u8>>)>, now: Timestamp) -> Result<(), Error> {
        self.write(move |c| set(c, &rows, now.as_second())).await
    }

    /// Everything remembered of images, the longest unused first.
    pub async fn metadata(&self) -> Result<Vec<(Key, Vec<u8>)>, Error> {
        self.read(all).await
    }

    /// Keeps tag lists that changed; the longest unchanged give way.
    pub async fn keep_listings(&self, listings: Vec<KeptListing>) -> Result<(), Error> {
        self.write(move |c| set_listings(c, &listings)).await
    }

    /// The last complete list kept under a key.
    pub async fn listing(&self, key: Key) -> Result<Option<KeptListing>, Error> {
        self.read(move |c| one_listing(c, &key)).await
    }
}

fn set(c: &Connection, rows: &[(Key, Option<Vec<u8>>)], now: i64) -> Result<(), Error> {
    let mut put = c.prepare_cached(
        "INSERT INTO metadata (key, value, used) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, used = excluded.used",
    )?;
    let mut remove = c.prepare_cached("DELETE FROM metadata WHERE key = ?1")?;
    for (key, value) in rows {
        match value {
            Some(value) => put.execute(params![key, value, now])?,
            None => remove.execute(params![key])?,
        };
    }
    Ok(())
}

fn all(c: &Connection) -> Result<Vec<(Key, Vec<u8>)>, Error> {
    if !exists(c)? {
        return Ok(Vec::new());
    }
    let mut statement = c.prepare("SELECT key, value FROM metadata ORDER BY used")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn set_listings(c: &Connection, listings: &[KeptListing]) -> Result<(), Error> {
    let mut set = c.prepare_cached(
        "INSERT INTO listing (key, at, tags) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET at = excluded.at, tags = excluded.tags",
    )?;
    for listing in listings {
        set.execute(params![listing.key, listing.at, listing.tags])?;
    }
    c.execute(
        "DELETE FROM listing WHERE key IN (SELECT key FROM listing ORDER BY at DESC LIMIT -1 OFFSET ?1)",
        [MOST_LISTINGS],
    )?;
    Ok(())
}

fn one_listing(c: &Connection, key: &Key) -> Result<Option<KeptListing>, Error> {
    if !exists(c)? {
        return Ok(None);
    }
    let mut statement = c.prepare_cached("SELECT key, at, tags FROM listing WHERE key = ?1")?;
    let found = statement
        .query_row([key], |row| Ok(KeptListing { key: row.get(0)?, at: row.get(1)?, tags: row.get(2)? }))
        .optional()?;
    Ok(found)
}

fn exists(c: &Connection) -> Result<bool, Error> {
    let found = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'metadata')";
    Ok(c.query_row(found, [], |row| row.get(0))?)
}
