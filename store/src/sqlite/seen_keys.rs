//! The keys that were seen: looked up by a short prefix, and forgotten when they expire or a scope has too
//! many.
//!
//! Scopes without new keys are cleaned up in turn, a few rows with each append.

mod places;

use std::collections::BTreeMap;

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::EventId;
use ensue_engine::record::{Digest, Position};
use ensue_engine::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

pub(super) use places::{PlaceRun, Places, place_all};

use super::row::{Columns, Sum, array, count, id, integer};
use crate::batch::SWEEP_KEYS_MIN;

/// Why a key's row cannot be used.
pub(super) enum SeenFault {
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// The row differs from what was written.
    Damaged(String),
}

impl From<rusqlite::Error> for SeenFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Returns where each of these keys was seen. The scope is looked up only when it differs from that of the
/// previous key.
pub(super) fn find(connection: &Connection, log: i64, places: &Places, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, SeenFault> {
    let mut last: Option<(&str, Option<i64>)> = None;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let name = key.scope.as_str();
        let number = match last {
            Some((known, number)) if known == name => number,
            Some(_) | None => scope(connection, log, name)?.map(|(number, _)| number),
        };
        last = Some((name, number));
        found.push(number.map(|scope| find_in(connection, places, scope, &key.hash)).transpose()?.flatten());
    }
    Ok(found)
}

/// The time and the limits for remembering keys.
#[derive(Clone, Copy)]
pub(super) struct Keeping {
    /// Keys that expire by then are forgotten.
    pub(super) now: Timestamp,
    /// The maximum number of keys in a scope.
    pub(super) keys_max: u64,
    /// Determines which other scope is cleaned up.
    pub(super) turn: u64,
}

/// Remembers the keys, and forgets expired keys in their scopes and in one other. Returns the run to pass to
/// [`Places::note_committed`] once the transaction is committed.
pub(super) fn remember(
    connection: &Connection,
    log: i64,
    places: &mut Places,
    keys: &[(DedupeKey, DedupeEntry)],
    keeping: Keeping,
) -> Result<PlaceRun, SeenFault> {
    let Keeping { now, keys_max, turn } = keeping;
    let mut number = if keys.is_empty() { 0 } else { places.next_number(connection)? };
    let mut by_scope: BTreeMap<&str, Vec<(&Digest, &DedupeEntry)>> = BTreeMap::new();
    for (key, seen) in keys {
        by_scope.entry(&key.scope).or_default().push((&key.hash, seen));
    }
    for (name, keys) in &by_scope {
        let (scope, kept) = match scope(connection, log, name)? {
            Some(found) => found,
            None => {
                connection.prepare_cached("INSERT INTO scopes (log, name, keys) VALUES (?1, ?2, 0)")?.execute(params![log, name])?;
                (connection.last_insert_rowid(), 0)
            }
        };
        let mut kept = kept;
        for (hash, seen) in keys {
            put(connection, number, scope, hash, seen)?;
            places.hold(scope, prefix(hash), number);
            number += 1;
        }
        kept += keys.len() as u64;
        kept -= sweep(connection, scope, now, SWEEP_KEYS_MIN.max(2 * keys.len()))?;
        kept -= trim(connection, scope, kept.saturating_sub(keys_max))?;
        set_count(connection, scope, kept)?;
    }
    sweep_another(connection, now, turn)?;
    Ok(places.write_run(connection, log, keys.len())?)
}

fn scope(connection: &Connection, log: i64, name: &str) -> rusqlite::Result<Option<(i64, u64)>> {
    connection
        .prepare_cached("SELECT number, keys FROM scopes WHERE log = ?1 AND name = ?2")?
        .query_row(params![log, name], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.max(0).unsigned_abs())))
        .optional()
}

fn set_count(connection: &Connection, scope: i64, keys: u64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE scopes SET keys = ?2 WHERE number = ?1")?.execute(params![scope, keys.cast_signed()])?;
    Ok(())
}

/// Adds a row. An expired key may be accepted again; its older row is removed with the other expired ones.
fn put(connection: &Connection, number: i64, scope: i64, hash: &Digest, seen: &DedupeEntry) -> Result<(), SeenFault> {
    let position = integer("position", seen.position.0).map_err(SeenFault::Damaged)?;
    connection
        .prepare_cached(
            "INSERT INTO seen (number, scope, prefix, hash, position, event, content, until, sum) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            number,
            scope,
            prefix(hash),
            hash.as_bytes(),
            position,
            seen.event.0.as_bytes(),
            seen.content.as_bytes(),
            seen.until.micros(),
            sum(scope, hash, seen),
        ])?;
    Ok(())
}

/// Finds the newest row of a key.
fn find_in(connection: &Connection, places: &Places, scope: i64, hash: &Digest) -> Result<Option<DedupeEntry>, SeenFault> {
    let mut statement = connection
        .prepare_cached("SELECT hash, position, event, content, until, sum FROM seen WHERE number = ?1 AND scope = ?2 AND prefix = ?3")?;
    for number in places.find(connection, scope, prefix(hash))? {
        let mut rows = statement.query(params![number, scope, prefix(hash)])?;
        let Some(row) = rows.next()? else { continue };
        let damaged = |why| SeenFault::Damaged(format!("the row of a known key is damaged: {why}"));
        if let Some(found) = read(row, scope, hash).map_err(damaged)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Returns the keys of a log whose rows come after a number, the oldest first.
pub(super) fn list(connection: &Connection, log: i64, after: i64, limit: usize) -> Result<Vec<(i64, DedupeKey, DedupeEntry)>, SeenFault> {
    let mut statement = connection.prepare_cached(
        "SELECT hash, position, event, content, until, sum, seen.number, scope, name FROM seen JOIN scopes ON scopes.number = scope \
         WHERE seen.number > ?1 AND log = ?2 ORDER BY seen.number LIMIT ?3",
    )?;
    let mut rows = statement.query(params![after, log, limit as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let damaged = |why| SeenFault::Damaged(format!("the row of a known key is damaged: {why}"));
        let hash = Columns(row).blob(0, "hash").and_then(|hash| array(hash, "hash")).map(Digest::from_bytes).map_err(damaged)?;
        if let Some(seen) = read(row, row.get(7)?, &hash).map_err(damaged)? {
            found.push((row.get(6)?, DedupeKey { scope: row.get(8)?, hash }, seen));
        }
    }
    Ok(found)
}

/// Reads a row, or returns `None` if it belongs to another key.
fn read(row: &Row<'_>, scope: i64, hash: &Digest) -> Result<Option<DedupeEntry>, String> {
    let column = Columns(row);
    if column.blob(0, "hash")? != hash.as_bytes() {
        return Ok(None);
    }
    let seen = DedupeEntry {
        position: Position(count(column.integer(1, "position")?, "position")?),
        event: EventId(id(column.blob(2, "event")?, "event")?),
        content: Digest::from_bytes(array(column.blob(3, "content")?, "content")?),
        until: Timestamp::from_micros(column.integer(4, "until")?),
    };
    if sum(scope, hash, &seen) != column.integer(5, "sum")? {
        return Err("the checksum does not match".to_owned());
    }
    Ok(Some(seen))
}

fn prefix(hash: &Digest) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn sum(scope: i64, hash: &Digest, seen: &DedupeEntry) -> i64 {
    let mut sum = Sum::default();
    sum.integer(scope).bytes(hash.as_bytes()).integer(seen.position.0.cast_signed());
    sum.bytes(seen.event.0.as_bytes()).bytes(seen.content.as_bytes()).integer(seen.until.micros()).finish()
}

/// Forgets some expired keys, and returns how many.
fn sweep(connection: &Connection, scope: i64, now: Timestamp, keys_max: usize) -> rusqlite::Result<u64> {
    const SQL: &str = "DELETE FROM seen WHERE number IN \
                       (SELECT number FROM seen WHERE scope = ?1 AND until <= ?2 ORDER BY until LIMIT ?3) RETURNING number, prefix";
    forget(connection, SQL, scope, params![scope, now.micros(), keys_max as i64])
}

/// Forgets the oldest keys, and returns how many.
fn trim(connection: &Connection, scope: i64, keys: u64) -> rusqlite::Result<u64> {
    const SQL: &str = "DELETE FROM seen WHERE number IN \
                       (SELECT number FROM seen WHERE scope = ?1 ORDER BY until, number LIMIT ?2) RETURNING number, prefix";
    if keys == 0 {
        return Ok(0);
    }
    forget(connection, SQL, scope, params![scope, keys.cast_signed()])
}

/// Forgets rows of a scope, with their places.
fn forget(connection: &Connection, sql: &str, scope: i64, which: impl Params) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(sql)?;
    let gone: Vec<(i64, i64)> = statement.query_map(which, |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (number, prefix) in &gone {
        places::forget(connection, scope, *prefix, *number)?;
    }
    Ok(gone.len() as u64)
}

fn sweep_another(connection: &Connection, now: Timestamp, turn: u64) -> Result<(), SeenFault> {
    let newest: Option<i64> = connection.prepare_cached("SELECT max(number) FROM scopes")?.query_row([], |row| row.get(0))?;
    let Some(newest) = newest.filter(|newest| *newest > 0) else { return Ok(()) };
    let scope = (turn % newest.unsigned_abs()).cast_signed() + 1;
    let gone = sweep(connection, scope, now, SWEEP_KEYS_MIN)?;
    if gone > 0 {
        connection
            .prepare_cached("UPDATE scopes SET keys = max(0, keys - ?2) WHERE number = ?1")?
            .execute(params![scope, gone.cast_signed()])?;
    }
    Ok(())
}
