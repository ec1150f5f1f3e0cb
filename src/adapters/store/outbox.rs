//! The outbox: rows and their moves (notifications.md §11.2). Each function is one write or one read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{Again, Count, Counts, Epoch, Error, Filter, Plan, Skip, journal, ledger, wire};
use crate::core::application::AppKey;
use crate::core::notify::message::Message;
use crate::core::notify::row::{Payload, Row, RowState};

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
/// OUT-09.
const DONE_KEPT_MICROS: i64 = 7 * DAY_MICROS;
const DONE_KEPT: i64 = 50_000;
const DEAD_KEPT_MICROS: i64 = 14 * DAY_MICROS;
/// LAN-02: how long a row that waits for its retry holds back later ones.
const HOLDS_BACK_MICROS: i64 = 60 * 1_000_000;

/// OUT-07: the longest wait between two attempts.
const LONGEST_WAIT_MICROS: i64 = 3600 * 1_000_000;

const COLUMNS: &str = "id, occurrence, namespace, name, uid, trigger_name, condition, state_key, service, recipient, \
     templates, payload, steps, state, epoch, moment, due, healable, reason, attempts, event_at, last_error, \
     possible_repeat";

fn row_of(row: &rusqlite::Row<'_>) -> Result<Row, Error> {
    let text = |column: &str| -> Result<String, Error> { Ok(row.get(column)?) };
    let state = match row.get_ref("state")?.as_str().unwrap_or_default() {
        "planned" => RowState::Planned,
        "sending" => RowState::Sending { epoch: row.get("epoch")?, since: wire::moment(row.get("moment")?)? },
        "retry_at" => RowState::RetryAt { at: wire::moment(row.get("due")?)?, healable: row.get("healable")? },
        "done" => RowState::Done { at: wire::moment(row.get("moment")?)? },
        "dead" => RowState::Dead { at: wire::moment(row.get("moment")?)?, reason: text("reason")? },
        other => return Err(Error::Unreadable(format!("state {other}"))),
    };
    Ok(Row {
        id: text("id")?,
        occurrence: text("occurrence")?,
        app: AppKey { namespace: text("namespace")?, name: text("name")? },
        app_uid: text("uid")?,
        trigger: text("trigger_name")?,
        condition: text("condition")?,
        state_key: text("state_key")?,
        service: text("service")?,
        recipient: text("recipient")?,
        templates: wire::decode("templates", &text("templates")?)?,
        payload: wire::payload(&text("payload")?)?,
        state,
        attempts: row.get("attempts")?,
        event_at: wire::moment(row.get("event_at")?)?,
        last_error: text("last_error")?,
        possible_repeat: row.get("possible_repeat")?,
        steps: wire::decode("steps", &text("steps")?)?,
    })
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Row>, Error> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(row_of(row)?);
    }
    Ok(all)
}

pub(super) fn claim(c: &Connection) -> Result<Epoch, Error> {
    let epoch =
        c.query_row("UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value", [], |row| row.get(0))?;
    Ok(Epoch(epoch))
}

/// OUT-04.
fn fence(c: &Connection, epoch: Epoch) -> Result<(), Error> {
    let current: i64 =
        c.prepare_cached("SELECT value FROM meta WHERE key = 'epoch'")?.query_row([], |row| row.get(0))?;
    if epoch.0 == current { Ok(()) } else { Err(Error::StaleEpoch { held: epoch.0, current }) }
}

pub(super) fn plan(c: &Connection, plan: &Plan) -> Result<Vec<String>, Error> {
    if !plan.uid.is_empty() {
        ledger::apply(c, &plan.uid, &plan.changes)?;
    }
    for (key, value) in &plan.texts {
        journal::set_text(c, key, value)?;
    }
    if let Some(mark) = plan.journal_mark {
        journal::set_mark(c, mark)?;
    }
    let mut new = Vec::new();
    let mut object = None;
    for row in &plan.rows {
        if c.prepare_cached("SELECT 1 FROM event WHERE id = ?1")?.exists([&row.id])? {
            continue;
        }
        if let (None, Some(bytes)) = (object, &plan.object) {
            object = Some(keep_object(c, bytes)?);
        }
        insert(c, row, object)?;
        new.push(row.id.clone());
    }
    Ok(new)
}

fn keep_object(c: &Connection, bytes: &[u8]) -> Result<i64, Error> {
    let hash = Sha256::digest(bytes);
    c.prepare_cached("INSERT OR IGNORE INTO object (hash, bytes) VALUES (?1, ?2)")?
        .execute(params![hash.as_slice(), bytes])?;
    Ok(c.prepare_cached("SELECT id FROM object WHERE hash = ?1")?.query_row([hash.as_slice()], |row| row.get(0))?)
}

fn insert(c: &Connection, row: &Row, object: Option<i64>) -> Result<(), Error> {
    let (due, healable) = match &row.state {
        RowState::RetryAt { at, healable } => (at.as_microsecond(), *healable),
        _ => (0, false),
    };
    let state = if due == 0 { RowState::Planned.word() } else { row.state.word() };
    c.prepare_cached(
        "INSERT INTO event (id, occurrence, namespace, name, uid, trigger_name, condition, state_key, service,
           recipient, templates, payload, steps, state, due, healable, event_at, last_error, possible_repeat, object)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    )?
    .execute(params![
        row.id,
        row.occurrence,
        row.app.namespace,
        row.app.name,
        row.app_uid,
        row.trigger,
        row.condition,
        row.state_key,
        row.service,
        row.recipient,
        wire::encode(&row.templates)?,
        wire::payload_text(&row.payload)?,
        wire::encode(&row.steps)?,
        state,
        due,
        healable,
        row.event_at.as_microsecond(),
        row.last_error,
        row.possible_repeat,
        object,
    ])?;
    Ok(())
}

pub(super) fn exists(c: &Connection, ids: &[String]) -> Result<BTreeMap<String, bool>, Error> {
    let mut statement = c.prepare_cached("SELECT state IN ('done', 'dead') FROM event WHERE id = ?1")?;
    let mut found = BTreeMap::new();
    for id in ids {
        if let Some(last) = statement.query_row([id], |row| row.get(0)).optional()? {
            found.insert(id.clone(), last);
        }
    }
    Ok(found)
}

/// The rows that may be attempted. Walks the waiting rows in order and looks back into each one's lane; both by index.
pub(super) fn due_query() -> String {
    format!(
        "SELECT {COLUMNS} FROM event AS mine INDEXED BY event_waiting
         WHERE state IN ('planned', 'retry_at') AND due <= ?1
           AND service NOT IN (SELECT value FROM json_each(?2))
           AND service || char(10) || recipient NOT IN (SELECT value FROM json_each(?3))
           AND NOT EXISTS (
             SELECT 1 FROM event AS earlier INDEXED BY event_lane
             WHERE earlier.state NOT IN ('done', 'dead') AND earlier.uid = mine.uid
               AND earlier.service = mine.service AND earlier.recipient = mine.recipient AND earlier.seq < mine.seq
               AND (earlier.waits IS NULL OR earlier.waits > ?4))
         ORDER BY seq LIMIT ?5"
    )
}

pub(super) fn due(c: &Connection, now: Timestamp, limit: usize, skip: &Skip) -> Result<Vec<Row>, Error> {
    let now = now.as_microsecond();
    let lanes: Vec<String> = skip.lanes.iter().map(|(service, recipient)| lane(service, recipient)).collect();
    let mut statement = c.prepare_cached(&due_query())?;
    let services = wire::encode(&skip.services)?;
    let lanes = wire::encode(&lanes)?;
    collect(statement.query(params![now, services, lanes, now - HOLDS_BACK_MICROS, limit as i64])?)
}

fn lane(service: &str, recipient: &str) -> String {
    format!("{service}\n{recipient}")
}

pub(super) fn next_due(c: &Connection, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let now = now.as_microsecond();
    let due: Option<i64> = c
        .prepare_cached(
            "SELECT min(due) FROM event INDEXED BY event_due WHERE state IN ('planned', 'retry_at') AND due > ?1",
        )?
        .query_row([now], |row| row.get(0))?;
    let released: Option<i64> = c
        .prepare_cached(
            "SELECT min(waits) FROM event INDEXED BY event_due WHERE state IN ('planned', 'retry_at') AND waits > ?1",
        )?
        .query_row([now - HOLDS_BACK_MICROS], |row| row.get(0))?;
    let next = due.into_iter().chain(released.map(|since| since + HOLDS_BACK_MICROS)).min();
    next.map(wire::moment).transpose()
}

pub(super) fn object(c: &Connection, id: &str) -> Result<Option<Vec<u8>>, Error> {
    let bytes = c
        .prepare_cached("SELECT bytes FROM object WHERE id = (SELECT object FROM event WHERE id = ?1)")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(bytes)
}

fn moved(id: &str, wanted: &'static str, changed: usize) -> Result<(), Error> {
    if changed > 0 { Ok(()) } else { Err(Error::WrongState { id: id.to_owned(), wanted }) }
}

pub(super) fn start(
    c: &Connection,
    id: &str,
    epoch: Epoch,
    now: Timestamp,
    rendered: Option<&Message>,
) -> Result<(), Error> {
    fence(c, epoch)?;
    let rendered = rendered.map(wire::rendered_text).transpose()?;
    let changed = c
        .prepare_cached(
            "UPDATE event SET state = 'sending', epoch = ?2, moment = ?3, attempts = attempts + 1, healable = 0,
               payload = coalesce(?4, payload)
             WHERE id = ?1 AND state IN ('planned', 'retry_at')",
        )?
        .execute(params![id, epoch.0, now.as_microsecond(), rendered])?;
    moved(id, "sending", changed)
}

pub(super) fn step(c: &Connection, id: &str, epoch: Epoch, step: &str) -> Result<(), Error> {
    fence(c, epoch)?;
    let changed = c
        .prepare_cached(
            "UPDATE event SET steps = json_insert(steps, '$[#]', ?3) WHERE id = ?1 AND state = 'sending' AND epoch = ?2",
        )?
        .execute(params![id, epoch.0, step])?;
    moved(id, "sending", changed)
}

pub(super) fn finish(c: &Connection, id: &str, epoch: Epoch, now: Timestamp) -> Result<bool, Error> {
    fence(c, epoch)?;
    let row: Option<(String, String, Option<i64>)> = c
        .prepare_cached(
            "UPDATE event SET state = 'done', moment = ?3, last_error = ''
             WHERE id = ?1 AND state = 'sending' AND epoch = ?2 RETURNING uid, state_key, object",
        )?
        .query_row(params![id, epoch.0, now.as_microsecond()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (uid, key, object) = row.ok_or_else(|| Error::WrongState { id: id.to_owned(), wanted: "done" })?;
    release(c, object)?;
    if key.is_empty() { Ok(false) } else { ledger::tell(c, &uid, &key, now.as_second()) }
}

/// Drops an object version once no row that is not final refers to it (OUT-14).
fn release(c: &Connection, object: Option<i64>) -> Result<(), Error> {
    let Some(object) = object else { return Ok(()) };
    let needed = c
        .prepare_cached(
            "SELECT 1 FROM event WHERE object IS NOT NULL AND object = ?1 AND state NOT IN ('done', 'dead') LIMIT 1",
        )?
        .exists([object])?;
    if !needed {
        c.prepare_cached("UPDATE event SET object = NULL WHERE object IS NOT NULL AND object = ?1")?
            .execute([object])?;
        c.prepare_cached("DELETE FROM object WHERE id = ?1")?.execute([object])?;
    }
    Ok(())
}

pub(super) fn retry(c: &Connection, id: &str, epoch: Epoch, now: Timestamp, again: &Again) -> Result<(), Error> {
    fence(c, epoch)?;
    let changed = c
        .prepare_cached(
            "UPDATE event SET state = 'retry_at', due = max(?3, 1), healable = ?4, last_error = ?5,
               possible_repeat = possible_repeat OR ?6, waits = coalesce(waits, ?7)
             WHERE id = ?1 AND (state IN ('planned', 'retry_at') OR (state = 'sending' AND epoch = ?2))",
        )?
        .execute(params![
            id,
            epoch.0,
            again.at.as_microsecond(),
            again.healable,
            again.error,
            again.unknown,
            now.as_microsecond()
        ])?;
    moved(id, "retry_at", changed)
}

pub(super) fn dead(
    c: &Connection,
    id: &str,
    epoch: Epoch,
    now: Timestamp,
    reason: &str,
    error: &str,
) -> Result<(), Error> {
    fence(c, epoch)?;
    let object: Option<Option<i64>> = c
        .prepare_cached(
            "UPDATE event SET state = 'dead', moment = ?3, reason = ?4,
               last_error = CASE WHEN ?5 = '' THEN last_error ELSE ?5 END
             WHERE id = ?1 AND (state IN ('planned', 'retry_at') OR (state = 'sending' AND epoch = ?2))
             RETURNING object",
        )?
        .query_row(params![id, epoch.0, now.as_microsecond(), reason, error], |row| row.get(0))
        .optional()?;
    let object = object.ok_or_else(|| Error::WrongState { id: id.to_owned(), wanted: "dead" })?;
    release(c, object)
}

pub(super) fn replay(c: &Connection, id: &str, now: Timestamp) -> Result<(), Error> {
    let changed = c.execute(
        "UPDATE event SET state = 'planned', due = 0, waits = NULL, healable = 0, attempts = 0, event_at = ?2,
           possible_repeat = possible_repeat OR reason = 'unknown', reason = ''
         WHERE id = ?1 AND state = 'dead'",
        params![id, now.as_microsecond()],
    )?;
    moved(id, "planned", changed)
}

pub(super) fn heal(c: &Connection, service: Option<&str>, rerender: bool, now: Timestamp) -> Result<u64, Error> {
    let deferred = rerender.then(|| wire::payload_text(&Payload::Deferred)).transpose()?;
    let changed = c.execute(
        "UPDATE event SET due = max(?2, 1), payload = CASE WHEN object IS NULL THEN payload ELSE coalesce(?3, payload) END
         WHERE state = 'retry_at' AND healable = 1 AND (?1 IS NULL OR service = ?1)",
        params![service, now.as_microsecond(), deferred],
    )?;
    Ok(changed as u64)
}

pub(super) fn heal_row(c: &Connection, id: &str, now: Timestamp) -> Result<(), Error> {
    let deferred = wire::payload_text(&Payload::Deferred)?;
    c.execute(
        "UPDATE event SET due = max(?2, 1), payload = CASE WHEN object IS NULL THEN payload ELSE ?3 END
         WHERE state = 'retry_at' AND healable = 1 AND id = ?1",
        params![id, now.as_microsecond(), deferred],
    )?;
    Ok(())
}

pub(super) fn probe(c: &Connection) -> Result<(), Error> {
    c.execute(
        "INSERT OR REPLACE INTO meta VALUES ('probe', coalesce((SELECT value FROM meta WHERE key = 'probe'), 0) + 1)",
        [],
    )?;
    Ok(())
}

pub(super) fn recover(c: &Connection, epoch: Epoch, now: Timestamp, hold: &[String]) -> Result<u64, Error> {
    fence(c, epoch)?;
    // No wait is longer: what is due later was written before the machine's clock was set back (OUT-13).
    let latest = now.as_microsecond() + LONGEST_WAIT_MICROS;
    c.execute("UPDATE event SET due = ?1 WHERE state = 'retry_at' AND due > ?1", [latest])?;
    c.execute("UPDATE event SET waits = ?1 WHERE state = 'retry_at' AND waits > ?1", [now.as_microsecond()])?;
    let mut statement = c.prepare("SELECT id, service FROM event WHERE state = 'sending' AND epoch < ?1")?;
    let left: Vec<(String, String)> =
        statement.query_map([epoch.0], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let text = "the process ended while this was being sent";
    for (id, service) in &left {
        c.prepare_cached("UPDATE event SET epoch = ?2 WHERE id = ?1")?.execute(params![id, epoch.0])?;
        if hold.contains(service) {
            dead(c, id, epoch, now, "unknown", text)?;
        } else {
            let again = Again { at: now, healable: false, error: text.to_owned(), unknown: true, thread: None };
            retry(c, id, epoch, now, &again)?;
        }
    }
    Ok(left.len() as u64)
}

pub(super) fn clean(c: &Connection, now: Timestamp) -> Result<u64, Error> {
    let now = now.as_microsecond();
    let mut dropped = c.execute(
        "DELETE FROM event WHERE (state = 'done' AND moment < ?1) OR (state = 'dead' AND moment < ?2)",
        [now - DONE_KEPT_MICROS, now - DEAD_KEPT_MICROS],
    )?;
    dropped += c.execute(
        "DELETE FROM event WHERE state = 'done' AND seq IN (
           SELECT seq FROM event WHERE state = 'done' ORDER BY moment DESC, seq DESC LIMIT -1 OFFSET ?1)",
        [DONE_KEPT],
    )?;
    if dropped > 0 {
        c.execute_batch("PRAGMA incremental_vacuum(1000)")?;
    }
    Ok(dropped as u64)
}

pub(super) fn row(c: &Connection, id: &str) -> Result<Option<Row>, Error> {
    let mut statement = c.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE id = ?1"))?;
    Ok(collect(statement.query([id])?)?.pop())
}

pub(super) fn rows(c: &Connection, filter: &Filter, limit: usize) -> Result<Vec<Row>, Error> {
    let (namespace, name) = filter.app.as_ref().map_or((None, None), |app| (Some(&app.namespace), Some(&app.name)));
    let mut statement = c.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event
         WHERE (?1 IS NULL OR namespace = ?1) AND (?2 IS NULL OR name = ?2) AND (?3 IS NULL OR service = ?3)
           AND (?4 IS NULL OR trigger_name = ?4) AND (?5 IS NULL OR state = ?5)
         ORDER BY seq DESC LIMIT ?6"
    ))?;
    collect(statement.query(params![namespace, name, filter.service, filter.trigger, filter.state, limit as i64])?)
}

pub(super) fn counts(c: &Connection) -> Result<Counts, Error> {
    let mut statement = c.prepare_cached(
        "SELECT service, state, count(*), min(event_at) FROM event GROUP BY service, state ORDER BY service, state",
    )?;
    let mut rows = statement.query([])?;
    let mut states = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(2)?;
        states.push(Count {
            service: row.get(0)?,
            state: row.get(1)?,
            rows: number.max(0) as u64,
            oldest: wire::moment(row.get(3)?)?,
        });
    }
    let mut statement = c.prepare_cached(
        "SELECT service, max(waiting) FROM (
           SELECT service, count(*) AS waiting FROM event INDEXED BY event_lane
           WHERE state NOT IN ('done', 'dead') GROUP BY service, recipient
         ) GROUP BY service",
    )?;
    let deepest = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.max(0) as u64)))?;
    let deepest = deepest.collect::<Result<_, _>>()?;
    Ok(Counts { states, deepest })
}
