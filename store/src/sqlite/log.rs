//! A log in a SQLite file: one write connection and one transaction per batch, which is on the disk before it
//! is acknowledged.
//!
//! `row` and `contents` define how a record is stored in rows, `seen` how keys are remembered.

pub mod copy;
mod format;
mod reader;

use std::path::Path;

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader};
use ensue_engine::record::{Chain, Epoch, Head, Position, Record, StreamId};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use super::row::{self, StoredBatch, StoredRow, array, count, integer, stream_bytes};
use super::seen_keys::{self, Keeping, Places, SeenFault};
use super::{OpenError, PageSize, Schema, SqliteFile, open_to_write, release_caches, write_back, write_back_if_possible, wrong_with};
use crate::batch::{self, POSITION_MAX, SEEN_KEYS_MAX};
use crate::contents;
use crate::transfer::Target;

pub use format::Format;
pub use reader::SqliteLogReader;

const FIRST_MIGRATION: &str = include_str!("../../../migrations/sqlite/log_0001.sql");

pub(super) const SCHEMA: Schema = Schema {
    name: "log",
    migrations: &[FIRST_MIGRATION, include_str!("../../../migrations/sqlite/log_0002.sql")],
    definitions: "e17bb25ac4820b2f82e4515f55f55fbe95af2b96d04f63a4357bfa10a96d3e43",
    page: PageSize::Kib16,
};

/// The number of bits of a place that hold the position.
const POSITION_BITS: u32 = 48;

/// The maximum number of logs in a file.
const LOGS_MAX: i64 = 1 << 15;

/// The number of prepared statements that are cached.
const STATEMENTS_KEPT: usize = 32;

/// A log in a SQLite file, held by its one writer.
pub struct SqliteLog {
    connection: Connection,
    place: SqliteFile,
    id: LogId,
    number: i64,
    epoch: Epoch,
    seen_keys_max: u64,
    seen_places: Places,
    dead: Option<String>,
}

/// Lists the logs in a file, the oldest first. Returns none if there is no file, or no log in it yet.
pub fn logs(path: &Path) -> Result<Vec<LogId>, OpenError> {
    logs_at(&path.into())
}

/// Lists logs as [`logs`] does, through the caller's file system.
pub fn logs_at(place: &SqliteFile) -> Result<Vec<LogId>, OpenError> {
    let path = place.path.as_path();
    if !place.exists() {
        return Ok(Vec::new());
    }
    // Not for reading only: a crash may have left something that must be rolled back first.
    let connection = open_to_write(place, &SCHEMA)?;
    let list = || -> rusqlite::Result<Vec<[u8; 16]>> {
        connection.prepare("SELECT id FROM logs ORDER BY number")?.query_map([], |row| row.get(0))?.collect()
    };
    let ids = list().map_err(|error| OpenError::of(path, &error))?;
    Ok(ids.into_iter().map(|bytes| LogId(Id::from_bytes(bytes))).collect())
}

impl SqliteLog {
    /// Opens the log `id` in the file at `path` for writing, under the next epoch, so that its previous
    /// writer can write no longer. The file and the log are created if necessary.
    pub fn open(path: &Path, id: LogId) -> Result<Self, OpenError> {
        Self::open_at(path.into(), id)
    }

    /// Opens a log as [`open`](Self::open) does, through the caller's file system.
    pub fn open_at(place: SqliteFile, id: LogId) -> Result<Self, OpenError> {
        let mut connection = open_to_write(&place, &SCHEMA)?;
        let path = place.path.as_path();
        if let Some(why) = wrong_with(&connection, "logs").map_err(|error| OpenError::of(path, &error))? {
            return Err(OpenError::Damaged { path: path.to_owned(), why });
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let (number, epoch) = take_epoch(&mut connection, id).map_err(|error| OpenError::of(path, &error))?;
        if number >= LOGS_MAX {
            return Err(OpenError::Unusable { path: path.to_owned(), why: format!("it already holds {LOGS_MAX} logs, the maximum") });
        }
        compare_with_head(&connection, path, number)?;
        let epoch = Epoch(epoch.unsigned_abs());
        let seen_places = Places::open(&connection, number).map_err(|error| OpenError::of(path, &error))?;
        Ok(Self { connection, place, id, number, epoch, seen_keys_max: SEEN_KEYS_MAX, seen_places, dead: None })
    }

    /// Limits the number of remembered keys in each scope.
    #[must_use]
    pub fn with_seen_keys_max(mut self, seen_keys_max: u64) -> Self {
        self.seen_keys_max = seen_keys_max;
        self
    }

    /// Returns the connection, so that a test can inspect the rows.
    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the error of a transaction that ended without storing the batch. Only this function decides
    /// whether the store may still be used.
    fn handle_failure(&mut self, error: &rusqlite::Error, at: CommitStage) -> AppendError {
        match failure(error.sqlite_error_code(), at) {
            Failure::Full => AppendError::Full,
            Failure::Unknown => AppendError::Unknown,
            Failure::Dead => {
                let why = format!("{}: {error}", self.place.path.display());
                self.dead = Some(why.clone());
                AppendError::Dead(why)
            }
        }
    }
}

/// Rejects a log that lost its newest records, because new ones would take their positions.
fn compare_with_head(connection: &Connection, path: &Path, number: i64) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let damaged = |why: String| OpenError::Damaged { path: path.to_owned(), why };
    // One transaction, so that both queries see the same appends of another connection.
    let now = connection.unchecked_transaction().map_err(failed)?;
    let head = head(&now, number).map_err(|error| damaged(error.to_string()))?.head;
    let (least, most) = (place(number, Position(1)), place(number, Position(POSITION_MAX)));
    let newest: Option<(i64, Vec<u8>)> = now
        .query_row("SELECT place, chain FROM records WHERE place BETWEEN ?1 AND ?2 ORDER BY place DESC LIMIT 1", [least, most], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(failed)?;
    let (position, chain) = match newest {
        Some((place, chain)) => (position(place), chain),
        None => (Position(0), Chain::default().as_bytes().to_vec()),
    };
    if position != head.position {
        return Err(damaged(format!("its newest record is at position {position}, but its head is at {}", head.position)));
    }
    if chain != head.chain.as_bytes() {
        return Err(damaged(format!("the record at position {position} is not the one that its head was written with")));
    }
    Ok(())
}

impl Drop for SqliteLog {
    /// Writes back the write-ahead log, so that the file of a stopped node can be copied alone, and the
    /// places of the newest keys, so that the next start does not have to read their rows.
    fn drop(&mut self) {
        if self.dead.is_none() {
            // If either fails, or a reader prevents it, the next start does it.
            let _ = self.seen_places.write_all(&mut self.connection, self.number, self.epoch);
            let _ = write_back(&self.connection);
        }
    }
}

/// Returns the log's number and its writer's new epoch.
fn take_epoch(connection: &mut Connection, id: LogId) -> rusqlite::Result<(i64, i64)> {
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    step.execute(
        "INSERT INTO logs (number, id, position, chain, epoch) \
         VALUES ((SELECT coalesce(max(number) + 1, 0) FROM logs), ?1, 0, ?2, 0) ON CONFLICT (id) DO NOTHING",
        params![id.0.as_bytes(), Chain::default().as_bytes()],
    )?;
    let taken = step.query_row("UPDATE logs SET epoch = epoch + 1 WHERE id = ?1 RETURNING number, epoch", [id.0.as_bytes()], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    step.commit()?;
    Ok(taken)
}

impl Log for SqliteLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn head(&self) -> Result<Head, LogError> {
        Ok(head(&self.connection, self.number)?.head)
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        if let Some(why) = &self.dead {
            return Err(AppendError::Dead(why.clone()));
        }
        match self.write(batch, head, epoch) {
            Ok(position) => Ok(position),
            Err(Unwritten::Because(error)) => Err(error),
            Err(Unwritten::Failed(error, at)) => Err(self.handle_failure(&error, at)),
        }
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        // All of them under one lock of the file, instead of one lock each.
        let read = self.connection.unchecked_transaction().map_err(|error| store_failed(&error))?;
        seen_keys::find(&read, self.number, &self.seen_places, keys).map_err(|fault| match fault {
            SeenFault::Sqlite(error) => store_failed(&error),
            SeenFault::Damaged(why) => LogError::Store(why),
        })
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        let reader = SqliteLogReader::open_at(&self.place, self.id).map_err(|error| LogError::Store(error.to_string()))?;
        Ok(Box::new(reader))
    }

    fn release_caches(&mut self) {
        release_caches(&self.connection);
        if self.dead.is_none() {
            write_back_if_possible(&self.connection);
        }
    }
}

impl Target for SqliteLog {
    fn set_epoch(&mut self, epoch: Epoch) -> Result<(), LogError> {
        let value = integer("epoch", epoch.0).map_err(LogError::Store)?;
        let set = self.connection.execute("UPDATE logs SET epoch = ?2 WHERE number = ?1", params![self.number, value]);
        set.map_err(|error| store_failed(&error))?;
        self.epoch = epoch;
        Ok(())
    }
}

/// Why a batch was not written.
enum Unwritten {
    /// It was rejected.
    Because(AppendError),
    /// SQLite failed.
    Failed(rusqlite::Error, CommitStage),
}

impl From<rusqlite::Error> for Unwritten {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error, CommitStage::Open)
    }
}

impl SqliteLog {
    fn write(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, Unwritten> {
        // Returning without a commit rolls back.
        let write = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = self::head(&write, self.number).map_err(|error| Unwritten::Because(AppendError::Dead(error.to_string())))?;
        if now.epoch != epoch {
            return Err(Unwritten::Because(AppendError::Deposed(now.epoch)));
        }
        if now.head.position != head {
            return Err(Unwritten::Because(AppendError::Behind(now.head)));
        }
        let Some(at) = batch::time_of(batch) else { return Ok(head) };
        let position = batch.records.last().map_or(head, |last| last.position);
        if let Some(last) = batch.records.last() {
            let id = batch::check(batch, self.id, head, epoch).map_err(Unwritten::Because)?;
            insert_batch(&write, self.number, batch, id)?;
            write.prepare_cached("UPDATE logs SET position = ?2, chain = ?3 WHERE number = ?1")?.execute(params![
                self.number,
                position.0.cast_signed(),
                last.chain.as_bytes()
            ])?;
        }
        let keeping = Keeping { now: at, keys_max: self.seen_keys_max, turn: position.0 };
        let run = seen_keys::remember(&write, self.number, &mut self.seen_places, &batch.seen, keeping).map_err(|fault| match fault {
            SeenFault::Sqlite(error) => error.into(),
            SeenFault::Damaged(why) => Unwritten::Because(AppendError::Refused { record: batch.records.len().saturating_sub(1), why }),
        })?;
        // Not `write.commit()`: whether the commit ended the transaction can only be queried before it is
        // dropped.
        match write.execute_batch("COMMIT") {
            Ok(()) => {
                self.seen_places.note_committed(&run);
                Ok(position)
            }
            Err(error) => Err(Unwritten::Failed(error, if write.is_autocommit() { CommitStage::Ended } else { CommitStage::Open })),
        }
    }
}

fn insert_batch(write: &Connection, number: i64, batch: &Batch, id: Id) -> Result<(), Unwritten> {
    let refused = |record: usize, why: String| Unwritten::Because(AppendError::Refused { record, why });
    let first = place(number, batch.records[0].position);
    let epoch = integer("epoch", batch.records[0].epoch.0).map_err(|why| refused(0, why))?;
    let contents = contents::write(&batch.records).map_err(|why| refused(0, why))?;
    let mut insert = write.prepare_cached(StoredBatch::INSERT)?;
    StoredBatch::insert(&mut insert, first, id, epoch, &contents)?;
    let mut insert = write.prepare_cached(row::INSERT)?;
    for (index, record) in batch.records.iter().enumerate() {
        let stored = StoredRow::of(record, number, first + index as i64, index as i64).map_err(|why| refused(index, why))?;
        // The unique index rejects a duplicate first revision; a later revision must follow its predecessor.
        if record.revision.0 != 1 {
            let newest = newest_revision(write, number, &record.stream)?;
            if newest + 1 != record.revision.0 {
                return Err(Unwritten::Because(batch::revision_refused(index, record, newest)));
            }
        }
        match stored.insert(&mut insert) {
            Ok(()) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                return Err(Unwritten::Because(constraint_refused(write, number, index, record, &error)?));
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::TooBig) => {
                return Err(refused(index, "it is larger than SQLite can hold".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn newest_revision(connection: &Connection, number: i64, stream: &StreamId) -> rusqlite::Result<u64> {
    let newest: Option<i64> = connection
        .prepare_cached("SELECT max(revision) FROM records WHERE log = ?1 AND stream = ?2")?
        .query_row(params![number, stream_bytes(stream)], |row| row.get(0))?;
    Ok(newest.unwrap_or(0).unsigned_abs())
}

fn constraint_refused(
    connection: &Connection,
    number: i64,
    index: usize,
    record: &Record,
    error: &rusqlite::Error,
) -> rusqlite::Result<AppendError> {
    let newest = newest_revision(connection, number, &record.stream)?;
    if newest >= record.revision.0 {
        return Ok(batch::revision_refused(index, record, newest));
    }
    let twin: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM records WHERE log = ?1 AND id = ?2)")?
        .query_row(params![number, record.id.as_bytes()], |row| row.get(0))?;
    if twin {
        return Ok(batch::id_refused(index, record.id));
    }
    Ok(AppendError::Refused { record: index, why: error.to_string() })
}

/// How far a transaction came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitStage {
    /// It failed before its commit, or in a commit that left it open: it is rolled back.
    Open,
    /// It failed in a commit that ended it.
    Ended,
}

/// The meaning of a failed transaction.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// Nothing was written; there may be space later.
    Full,
    /// It may have been written.
    Unknown,
    /// Nothing was written, or it is impossible to know; the store cannot be used any longer.
    Dead,
}

fn failure(code: Option<ErrorCode>, at: CommitStage) -> Failure {
    match (code, at) {
        // SQLite rolls back a transaction that finds the disk full, even in its commit.
        (Some(ErrorCode::DiskFull), CommitStage::Open | CommitStage::Ended) => Failure::Full,
        // After a failed sync the kernel may mark pages as clean that are not on the disk, so nothing written
        // later would be safe.
        (Some(ErrorCode::SystemIoFailure), CommitStage::Open | CommitStage::Ended) => Failure::Dead,
        (_, CommitStage::Open) => Failure::Dead,
        (_, CommitStage::Ended) => Failure::Unknown,
    }
}

struct HeadRow {
    head: Head,
    epoch: Epoch,
}

fn head(connection: &Connection, number: i64) -> Result<HeadRow, LogError> {
    let (position, chain, epoch): (i64, Vec<u8>, i64) = connection
        .prepare_cached("SELECT position, chain, epoch FROM logs WHERE number = ?1")
        .and_then(|mut statement| statement.query_row([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))))
        .map_err(|error| store_failed(&error))?;
    let read = || -> Result<HeadRow, String> {
        let head = Head { position: Position(count(position, "position")?), chain: Chain::from_bytes(array(&chain, "chain")?) };
        Ok(HeadRow { head, epoch: Epoch(count(epoch, "epoch")?) })
    };
    read().map_err(|why| LogError::Store(format!("the head of the log is damaged: {why}")))
}

fn place(number: i64, position: Position) -> i64 {
    number << POSITION_BITS | position.0.min(POSITION_MAX).cast_signed()
}

fn position(place: i64) -> Position {
    Position(place.cast_unsigned() & POSITION_MAX)
}

fn store_failed(error: &rusqlite::Error) -> LogError {
    LogError::Store(error.to_string())
}

#[cfg(test)]
mod tests;
