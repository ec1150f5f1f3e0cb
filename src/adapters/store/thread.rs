//! Slack threads in the store: per service, recipient and grouping key, kept 30 days after their last use (SL-05).

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Error, ThreadChange, ThreadKey};
use crate::core::notify::message::Thread;

const KEPT_MICROS: i64 = 30 * 24 * 3600 * 1_000_000;

pub(super) fn read(c: &Connection, key: &ThreadKey) -> Result<Option<Thread>, Error> {
    let thread = c
        .prepare_cached("SELECT channel, ts FROM thread WHERE service = ?1 AND recipient = ?2 AND key = ?3")?
        .query_row([&key.service, &key.recipient, &key.key], |row| Ok(Thread { channel: row.get(0)?, ts: row.get(1)? }))
        .optional()?;
    Ok(thread)
}

pub(super) fn apply(c: &Connection, change: Option<&ThreadChange>, now: Timestamp) -> Result<(), Error> {
    match change {
        Some(ThreadChange::Remember(key, thread)) => {
            c.prepare_cached("INSERT OR REPLACE INTO thread VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
                key.service,
                key.recipient,
                key.key,
                thread.channel,
                thread.ts,
                now.as_microsecond()
            ])?;
        }
        Some(ThreadChange::Forget(key)) => {
            c.prepare_cached("DELETE FROM thread WHERE service = ?1 AND recipient = ?2 AND key = ?3")?.execute([
                &key.service,
                &key.recipient,
                &key.key,
            ])?;
        }
        None => {}
    }
    Ok(())
}

pub(super) fn clean(c: &Connection, now: Timestamp) -> Result<u64, Error> {
    Ok(c.execute("DELETE FROM thread WHERE used < ?1", [now.as_microsecond() - KEPT_MICROS])? as u64)
}
