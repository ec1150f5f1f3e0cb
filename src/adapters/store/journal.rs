//! The journal of image events, the pushes announced before they leave, and small texts.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Entry, Error, PushRow, wire};
use crate::core::application::AppKey;
use crate::core::event::Event;

/// EVT-5: at least so many per Application and in total.
const KEPT_PER_APP: i64 = 100;
const KEPT: i64 = 10_000;

pub(super) fn append(c: &Connection, events: Vec<Event>) -> Result<Vec<Event>, Error> {
    let mut new = Vec::new();
    for event in events {
        let text = wire::event_text(&event)?;
        let added = c.prepare_cached(
            "INSERT INTO journal (id, kind, namespace, name, uid, image, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO NOTHING",
        )?;
        let mut added = added;
        let (kind, app) = (event.kind.word(), &event.app);
        if added.execute(params![event.id, kind, app.namespace, app.name, event.app_uid, event.image, text])? > 0 {
            new.push(event);
        }
    }
    Ok(new)
}

pub(super) fn since(c: &Connection, mark: i64, limit: usize) -> Result<Vec<Entry>, Error> {
    let mut statement = c.prepare_cached("SELECT mark, event FROM journal WHERE mark > ?1 ORDER BY mark LIMIT ?2")?;
    let mut rows = statement.query(params![mark, limit as i64])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(Entry { mark: row.get(0)?, event: wire::event(text_of(row, 1)?)? });
    }
    Ok(entries)
}

pub(super) fn mark(c: &Connection) -> Result<i64, Error> {
    Ok(c.query_row("SELECT value FROM meta WHERE key = 'journal-mark'", [], |row| row.get(0))?)
}

/// The mark only moves forward.
pub(super) fn set_mark(c: &Connection, mark: i64) -> Result<(), Error> {
    c.execute("UPDATE meta SET value = ?1 WHERE key = 'journal-mark' AND value < ?1", [mark])?;
    Ok(())
}

pub(super) fn history(c: &Connection, app: Option<&AppKey>, limit: usize) -> Result<Vec<Event>, Error> {
    let (namespace, name) = app.map_or((None, None), |app| (Some(&app.namespace), Some(&app.name)));
    let mut statement = c.prepare_cached(if app.is_some() {
        "SELECT event FROM journal WHERE namespace = ?1 AND name = ?2 ORDER BY mark DESC LIMIT ?3"
    } else {
        "SELECT event FROM journal WHERE ?1 IS ?2 ORDER BY mark DESC LIMIT ?3"
    })?;
    let mut rows = statement.query(params![namespace, name, limit as i64])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(wire::event(text_of(row, 0)?)?);
    }
    Ok(events)
}

pub(super) fn events(c: &Connection, ids: &[String]) -> Result<Vec<Event>, Error> {
    let mut statement = c.prepare_cached("SELECT event FROM journal WHERE id = ?1")?;
    let mut events = Vec::new();
    for id in ids {
        let mut rows = statement.query([id])?;
        while let Some(row) = rows.next()? {
            events.push(wire::event(text_of(row, 0)?)?);
        }
    }
    Ok(events)
}

/// Drops what is beyond both limits of EVT-5, was read by the notifier, and is no hold that is still the latest word
/// about its image.
pub(super) fn clean(c: &Connection) -> Result<u64, Error> {
    let dropped = c.execute(
        "DELETE FROM journal WHERE mark IN (
           SELECT mark FROM (
             SELECT mark, kind, uid, image,
               row_number() OVER (ORDER BY mark DESC) AS place,
               row_number() OVER (PARTITION BY namespace, name ORDER BY mark DESC) AS own
             FROM journal
           ) AS old
           WHERE place > ?1 AND own > ?2
             AND mark <= (SELECT value FROM meta WHERE key = 'journal-mark')
             AND NOT (kind = 'held' AND NOT EXISTS (
               SELECT 1 FROM journal AS later
               WHERE later.uid = old.uid AND later.image = old.image AND later.mark > old.mark))
         )",
        [KEPT, KEPT_PER_APP],
    )?;
    Ok(dropped as u64)
}

pub(super) fn open_push(c: &Connection, push: &PushRow) -> Result<(), Error> {
    let events = wire::events_text(&push.events)?;
    c.prepare_cached(
        "INSERT OR REPLACE INTO push (id, remote, branch, old, new, note, events) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![push.id, push.remote, push.branch, push.old, push.new, push.note, events])?;
    Ok(())
}

pub(super) fn settle_push(c: &Connection, id: &str, landed: bool) -> Result<Vec<Event>, Error> {
    let events: Option<String> =
        c.query_row("DELETE FROM push WHERE id = ?1 RETURNING events", [id], |row| row.get(0)).optional()?;
    match events {
        Some(text) if landed => append(c, wire::events(&text)?),
        _ => Ok(Vec::new()),
    }
}

pub(super) fn open_pushes(c: &Connection) -> Result<Vec<PushRow>, Error> {
    let mut statement = c.prepare_cached("SELECT id, remote, branch, old, new, note, events FROM push ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut pushes = Vec::new();
    while let Some(row) = rows.next()? {
        pushes.push(PushRow {
            id: row.get(0)?,
            remote: row.get(1)?,
            branch: row.get(2)?,
            old: row.get(3)?,
            new: row.get(4)?,
            note: row.get(5)?,
            events: wire::events(text_of(row, 6)?)?,
        });
    }
    Ok(pushes)
}

pub(super) fn text(c: &Connection, key: &str) -> Result<Option<String>, Error> {
    Ok(c.query_row("SELECT value FROM text WHERE key = ?1", [key], |row| row.get(0)).optional()?)
}

pub(super) fn set_text(c: &Connection, key: &str, value: &str) -> Result<(), Error> {
    c.prepare_cached("INSERT OR REPLACE INTO text VALUES (?1, ?2)")?.execute([key, value])?;
    Ok(())
}

pub(super) fn remove_text(c: &Connection, key: &str) -> Result<(), Error> {
    c.execute("DELETE FROM text WHERE key = ?1", [key])?;
    Ok(())
}

pub(super) fn texts(c: &Connection, prefix: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut statement = c.prepare_cached("SELECT key, value FROM text WHERE substr(key, 1, length(?1)) = ?1")?;
    let texts = statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(texts.collect::<Result<_, _>>()?)
}

fn text_of<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str, Error> {
    row.get_ref(column)?.as_str().map_err(|error| Error::Unreadable(error.to_string()))
}
