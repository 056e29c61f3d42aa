//! Copies a log file into a new one, in the format of this release or in that of an older release.
//!
//! The chain covers a body by its digest and not by its encoding, so the copy has the same chain, byte for
//! byte. Every row keeps its number and its place. Only the encoding of bodies, the size of pages and the index
//! of the keys differ.

use std::path::{Path, PathBuf};

use ensue_engine::explain::Explain;
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::LogError;
use ensue_engine::record::{Body, Position};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode};
use thiserror::Error;

use super::reader::{RowLookup, row_failed};
use super::{Format, SqliteLogReader, position, store_failed};
use crate::encode::{EncodingError, recode};
use crate::sqlite::row::{self, StoredBatch, StoredRow};
use crate::sqlite::{OpenError, SqliteFile, compare, connect_to_read, open_to_write, seen_keys, write_back};
use crate::verify::{VerifyError, VerifySummary, verify};

/// The number of rows that are committed together.
const ROWS_PER_COMMIT: u64 = 2_000;

/// The problem with a file whose creation was interrupted.
const NO_LOG: &str = "it contains no log";

/// Why a log was not copied.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum CopyLogError {
    /// One of the files cannot be opened.
    #[error(transparent)]
    #[explain(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be read.
    #[error(transparent)]
    #[explain(slug = "log-damaged", fault = World, hint = "keep a copy, run `ensue log verify --data DIR`, and restore a backup")]
    Read(#[from] LogError),
    /// The release that is to read the copy does not know a fact.
    #[error("the record at position {at} is `{kind}` with schema {schema}, which {format} does not know; nothing was written")]
    #[explain(
        slug = "fact-newer-than-format",
        fault = Conflict,
        hint = "copy the log without `--format`, or restore the backup that you made before the upgrade"
    )]
    UnknownFact {
        /// The position of the first such record.
        at: Position,
        /// The kind of its fact.
        kind: String,
        /// The schema of its fact.
        schema: u16,
        /// The format of the copy.
        format: Format,
    },
    /// A body cannot be stored in the format.
    #[error("the body of the record at position {at} cannot be copied: {why}")]
    #[explain(slug = "log-damaged", fault = World, hint = "keep a copy, run `ensue log verify --data DIR`, and restore a backup")]
    Body {
        /// The position of the record.
        at: Position,
        /// The problem with it.
        why: EncodingError,
    },
    /// The disk of the copy is full.
    #[error("{} cannot be written: its disk is full", .path.display())]
    #[explain(slug = "storage-full", fault = Unavailable, hint = "free some space on that disk, or name a directory on another one")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The copy cannot be written for another reason.
    #[error("{} cannot be written: {why}", .path.display())]
    #[explain(slug = "file-unusable", fault = World)]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The copy is not the log that was read, because that log is damaged.
    #[error(transparent)]
    #[explain(transparent)]
    Verify(#[from] VerifyError),
}

/// What a copy is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStage {
    /// Looking for facts that the format does not know.
    Checking,
    /// Copying records.
    Copying,
    /// Verifying the chain of the copy.
    Verifying,
}

/// Receives the stage, the number of records that are done in it, and their total number.
pub type CopyProgress<'a> = &'a mut dyn FnMut(CopyStage, u64, u64);

/// A copied log, and what the verification of its copy found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedLog {
    /// The log's id.
    pub id: LogId,
    /// Its head and the number of its records.
    pub verified: VerifySummary,
}

/// A log file that can be copied in a format.
pub struct LogSource {
    connection: Connection,
    format: Format,
    logs: Vec<LogId>,
    records: u64,
}

impl LogSource {
    /// Opens a file that no node writes, in whichever version it is, and checks that the format can hold all of
    /// its facts. Changes nothing.
    pub fn open(place: &SqliteFile, format: Format, progress: CopyProgress<'_>) -> Result<Self, CopyLogError> {
        let connection = open_as_it_is(place)?;
        let (logs, records) = logs_in(&connection, &place.path)?;
        let source = Self { connection, format, logs, records };
        match format {
            Format::Current => {}
            Format::V0_1 => source.demand_known(progress)?,
        }
        Ok(source)
    }

    /// Writes a new file with all logs, and verifies their chains.
    pub fn copy_to(&self, place: &SqliteFile, progress: CopyProgress<'_>) -> Result<Vec<CopiedLog>, CopyLogError> {
        let connection = open_to_write(place, self.format.schema())?;
        let target = CopyTarget { path: &place.path, connection: &connection };
        for table in TABLES {
            self.copy_table(&target, table)?;
        }
        self.copy_records(&target, progress)?;
        match self.format {
            Format::Current => seen_keys::place_all(&connection).map_err(|error| target.error_from(&error))?,
            Format::V0_1 => {}
        }
        write_back(&connection).map_err(|error| target.error_from(&error))?;
        connection.close().map_err(|(_, error)| write_failed(&place.path, &error))?;
        self.verify(place, progress)
    }

    fn demand_known(&self, progress: CopyProgress<'_>) -> Result<(), CopyLogError> {
        let mut statement = self.connection.prepare(StoredBatch::SELECT_ALL).map_err(|error| store_failed(&error))?;
        let mut rows = statement.query([]).map_err(|error| store_failed(&error))?;
        let (mut done, mut next) = (0, Position(1));
        while let Some(row) = rows.next().map_err(|error| row_failed(&error, RowLookup::AtOrAfter(next)))? {
            let first = row.get(0).map(position).map_err(|error| row_failed(&error, RowLookup::AtOrAfter(next)))?;
            let unreadable = |why| LogError::Unreadable { position: first, why };
            let batch = StoredBatch::read(row).map_err(unreadable)?;
            let kinds = batch.kinds().map_err(unreadable)?;
            next = Position(first.0 + kinds.len() as u64);
            if let Some(step) = kinds.iter().position(|(kind, schema)| !self.format.knows(kind, *schema)) {
                let (kind, schema) = kinds[step];
                let at = Position(first.0 + step as u64);
                return Err(CopyLogError::UnknownFact { at, kind: kind.to_owned(), schema, format: self.format });
            }
            done += kinds.len() as u64;
            progress(CopyStage::Checking, done, self.records);
        }
        Ok(())
    }

    /// Copies the rows of a table as they are.
    fn copy_table(&self, target: &CopyTarget<'_>, table: &Table) -> Result<(), CopyLogError> {
        let Table { name, columns, order } = table;
        let marks = vec!["?"; columns.split(',').count()];
        let mut select = self.prepare(&format!("SELECT {columns} FROM {name} ORDER BY {order}"))?;
        let mut rows = select.query([]).map_err(|error| store_failed(&error))?;
        let mut insert = target.prepare(&format!("INSERT INTO {name} ({columns}) VALUES ({})", marks.join(", ")))?;
        let mut commits = target.begin()?;
        while let Some(row) = rows.next().map_err(|error| store_failed(&error))? {
            for index in 0..marks.len() {
                let value: ValueRef<'_> = row.get_ref(index).map_err(|error| store_failed(&error))?;
                insert.raw_bind_parameter(index + 1, ToSqlOutput::Borrowed(value)).map_err(|error| target.error_from(&error))?;
            }
            insert.raw_execute().map_err(|error| target.error_from(&error))?;
            commits.count()?;
        }
        commits.end()
    }

    fn copy_records(&self, target: &CopyTarget<'_>, progress: CopyProgress<'_>) -> Result<(), CopyLogError> {
        let mut select = self.prepare(&format!("{}ORDER BY place", row::SELECT))?;
        let mut rows = select.query([]).map_err(|error| store_failed(&error))?;
        let mut insert = target.prepare(row::INSERT)?;
        let mut commits = target.begin()?;
        let mut at = Position(0);
        while let Some(row) = rows.next().map_err(|error| row_failed(&error, RowLookup::AtOrAfter(at.next())))? {
            at = row.get(0).map(position).map_err(|error| row_failed(&error, RowLookup::AtOrAfter(at.next())))?;
            let unreadable = |why| LogError::Unreadable { position: at, why };
            let stored = StoredRow::read(row).map_err(unreadable)?;
            let body = stored.body().map_err(unreadable)?.map(|body| self.recode(at, body)).transpose()?;
            let stored = stored.with_body(body.as_ref()).map_err(unreadable)?;
            stored.insert(&mut insert).map_err(|error| target.error_from(&error))?;
            if commits.count()? {
                progress(CopyStage::Copying, commits.rows, self.records);
            }
        }
        progress(CopyStage::Copying, commits.rows, self.records);
        commits.end()
    }

    fn recode(&self, at: Position, body: Body) -> Result<Body, CopyLogError> {
        recode(body, self.format.compression()).map_err(|why| CopyLogError::Body { at, why })
    }

    fn verify(&self, place: &SqliteFile, progress: CopyProgress<'_>) -> Result<Vec<CopiedLog>, CopyLogError> {
        let mut before = 0;
        let mut copied = Vec::with_capacity(self.logs.len());
        for id in &self.logs {
            let reader = SqliteLogReader::open_in_format(place, *id, self.format)?;
            let verified = verify(&reader, None, |at| progress(CopyStage::Verifying, before + at.0, self.records))?;
            before += verified.records;
            copied.push(CopiedLog { id: *id, verified });
        }
        Ok(copied)
    }

    fn prepare(&self, sql: &str) -> Result<rusqlite::Statement<'_>, CopyLogError> {
        Ok(self.connection.prepare(sql).map_err(|error| store_failed(&error))?)
    }
}

/// A table whose rows are the same in all formats.
struct Table {
    name: &'static str,
    columns: &'static str,
    order: &'static str,
}

const TABLES: &[Table] = &[
    Table { name: "logs", columns: "number, id, position, chain, epoch", order: "number" },
    Table { name: "batches", columns: "place, id, epoch, sum, contents", order: "place" },
    Table { name: "scopes", columns: "number, log, name, keys", order: "number" },
    Table { name: "seen", columns: "number, scope, prefix, hash, position, event, content, until, sum", order: "number" },
];

/// The new file.
struct CopyTarget<'c> {
    path: &'c Path,
    connection: &'c Connection,
}

impl CopyTarget<'_> {
    fn prepare(&self, sql: &str) -> Result<rusqlite::Statement<'_>, CopyLogError> {
        self.connection.prepare(sql).map_err(|error| self.error_from(&error))
    }

    fn begin(&self) -> Result<Commits<'_>, CopyLogError> {
        self.execute("BEGIN IMMEDIATE")?;
        Ok(Commits { target: self, rows: 0 })
    }

    fn execute(&self, sql: &str) -> Result<(), CopyLogError> {
        self.connection.execute_batch(sql).map_err(|error| self.error_from(&error))
    }

    fn error_from(&self, error: &rusqlite::Error) -> CopyLogError {
        write_failed(self.path, error)
    }
}

/// Commits rows in groups.
struct Commits<'t> {
    target: &'t CopyTarget<'t>,
    rows: u64,
}

impl Commits<'_> {
    /// Counts a row. Returns true if the group is committed.
    fn count(&mut self) -> Result<bool, CopyLogError> {
        self.rows += 1;
        let is_full = self.rows.is_multiple_of(ROWS_PER_COMMIT);
        if is_full {
            self.target.execute("COMMIT; BEGIN IMMEDIATE")?;
        }
        Ok(is_full)
    }

    fn end(self) -> Result<(), CopyLogError> {
        self.target.execute("COMMIT")
    }
}

/// Opens a file for reading only, in whichever format it is.
fn open_as_it_is(place: &SqliteFile) -> Result<Connection, OpenError> {
    let newest = Format::Current.schema();
    let (connection, found) = connect_to_read(place, newest)?;
    let of_version = |format: &Format| format.schema().version() == found;
    match Format::ALL.into_iter().find(of_version) {
        Some(format) => compare(&connection, &place.path, format.schema())?,
        None => return Err(OpenError::Unusable { path: place.path.clone(), why: NO_LOG.to_owned() }),
    }
    Ok(connection)
}

/// Lists the logs in a file, and returns the number of their records. Fails if there is no log.
fn logs_in(connection: &Connection, path: &Path) -> Result<(Vec<LogId>, u64), OpenError> {
    let list = || -> rusqlite::Result<Vec<([u8; 16], i64)>> {
        let mut statement = connection.prepare("SELECT id, position FROM logs ORDER BY number")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let logs = list().map_err(|error| OpenError::of(path, &error))?;
    if logs.is_empty() {
        return Err(OpenError::Unusable { path: path.to_owned(), why: NO_LOG.to_owned() });
    }
    let records = logs.iter().map(|(_, position)| position.unsigned_abs()).sum();
    Ok((logs.into_iter().map(|(id, _)| LogId(Id::from_bytes(id))).collect(), records))
}

fn write_failed(path: &Path, error: &rusqlite::Error) -> CopyLogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => CopyLogError::Full { path: path.to_owned() },
        Some(_) | None => CopyLogError::Unwritable { path: path.to_owned(), why: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
