//! Ledgers in the store: the keys of each Application.

use rusqlite::{Connection, params};

use super::Error;
use crate::core::notify::ledger::{Ledger, LedgerChange, Mark, Origin};

pub(super) fn read(c: &Connection, uid: &str) -> Result<Ledger, Error> {
    let known = c.prepare_cached("SELECT 1 FROM app WHERE uid = ?1")?.exists([uid])?;
    let mut statement = c.prepare_cached("SELECT key, origin, at, told FROM ledger WHERE uid = ?1")?;
    let marks = statement.query_map([uid], |row| {
        let origin = Origin::from_word(row.get_ref(1)?.as_str()?);
        Ok((row.get(0)?, Mark { origin, at: row.get(2)?, told: row.get(3)? }))
    })?;
    Ok(Ledger { known, marks: marks.collect::<Result<_, _>>()? })
}

pub(super) fn apply(c: &Connection, uid: &str, changes: &[LedgerChange]) -> Result<(), Error> {
    c.prepare_cached("INSERT OR IGNORE INTO app VALUES (?1)")?.execute([uid])?;
    for change in changes {
        match change {
            LedgerChange::Put(key, mark) => {
                c.prepare_cached("INSERT OR REPLACE INTO ledger VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
                    uid,
                    key,
                    mark.origin.word(),
                    mark.at,
                    mark.told
                ])?;
            }
            LedgerChange::Remove(key) => {
                c.prepare_cached("DELETE FROM ledger WHERE uid = ?1 AND key = ?2")?.execute([uid, key])?;
            }
            LedgerChange::Move(from, to) => {
                c.prepare_cached("UPDATE OR REPLACE ledger SET key = ?3, origin = ?4 WHERE uid = ?1 AND key = ?2")?
                    .execute(params![uid, from, to, Origin::Adopted.word()])?;
                c.prepare_cached(
                    "UPDATE event SET state_key = ?3
                     WHERE state NOT IN ('done', 'dead') AND uid = ?1 AND state_key = ?2",
                )?
                .execute([uid, from, to])?;
            }
        }
    }
    Ok(())
}

/// The event behind a key was delivered at `at` (Unix seconds). A key that has left the ledger stays away.
pub(super) fn tell(c: &Connection, uid: &str, key: &str, at: i64) -> Result<bool, Error> {
    let told = c
        .prepare_cached("UPDATE ledger SET told = 1, at = ?3 WHERE uid = ?1 AND key = ?2")?
        .execute(params![uid, key, at])?;
    Ok(told > 0)
}

pub(super) fn uids(c: &Connection) -> Result<Vec<String>, Error> {
    let mut statement = c.prepare_cached("SELECT uid FROM app ORDER BY uid")?;
    let uids = statement.query_map([], |row| row.get(0))?;
    Ok(uids.collect::<Result<_, _>>()?)
}

pub(super) fn drop_app(c: &Connection, uid: &str) -> Result<(), Error> {
    c.execute("DELETE FROM ledger WHERE uid = ?1", [uid])?;
    c.execute("DELETE FROM app WHERE uid = ?1", [uid])?;
    Ok(())
}
