//! Reads a log in a SQLite file, on a connection that cannot write.
//!
//! The content of the file is not trusted: whatever cannot be read is an error with its position.

use std::cell::RefCell;
use std::path::Path;

use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, Epoch, Head, Position, Record, Revision, StreamId};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row, params};

use super::{Format, STATEMENTS_KEPT, compare_with_head, head, place, position, store_failed};
use crate::batch::POSITION_MAX;
use crate::index_checks;
use crate::sqlite::row::{self, StoredBatch, StoredRow, stream_bytes};
use crate::sqlite::seen_keys::{self, SeenFault};
use crate::sqlite::{OpenError, SqliteFile, open_to_read, release_caches};
use crate::transfer::Source;

/// A reader of a log in a SQLite file, with its own connection.
pub struct SqliteLogReader {
    connection: Connection,
    id: LogId,
    number: i64,
    format: Format,
    /// The batch that was read last, with its place, because records are mostly read in sequence.
    batch: RefCell<Option<(i64, StoredBatch)>>,
}

impl SqliteLogReader {
    /// Opens the log `id` in the file at `path` for reading only.
    pub fn open(path: &Path, id: LogId) -> Result<Self, OpenError> {
        Self::open_at(&path.into(), id)
    }

    /// Opens a log as [`open`](Self::open) does, through the caller's file system.
    pub fn open_at(place: &SqliteFile, id: LogId) -> Result<Self, OpenError> {
        let reader = Self::open_unchecked(place, id)?;
        compare_with_head(&reader.connection, &place.path, reader.number)?;
        Ok(reader)
    }

    /// Opens the log without comparing its newest record with its head.
    pub(crate) fn open_unchecked(place: &SqliteFile, id: LogId) -> Result<Self, OpenError> {
        Self::open_in_format(place, id, Format::Current)
    }

    /// Opens a log in a file of a format, without comparing its newest record with its head.
    pub(super) fn open_in_format(place: &SqliteFile, id: LogId, format: Format) -> Result<Self, OpenError> {
        let connection = open_to_read(place, format.schema())?;
        let path = place.path.as_path();
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let number = connection
            .query_row("SELECT number FROM logs WHERE id = ?1", [id.0.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(|error| OpenError::of(path, &error))?;
        match number {
            Some(number) => Ok(Self { connection, id, number, format, batch: RefCell::new(None) }),
            None => Err(OpenError::Unusable { path: path.to_owned(), why: format!("it has no log {id}") }),
        }
    }

    /// Returns the records of a query that begins with [`row::SELECT`], within the limit.
    fn records(&self, sql: &str, by: impl Params, limit: ReadLimit, mut found: RowLookup) -> Result<Vec<Record>, LogError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| store_failed(&error))?;
        let mut rows = statement.query(by).map_err(|error| store_failed(&error))?;
        let mut records = Vec::new();
        let mut bytes = 0usize;
        while records.len() < limit.records.max(1) {
            let Some(row) = rows.next().map_err(|error| row_failed(&error, found))? else { break };
            let at = row.get(0).map(position).map_err(|error| row_failed(&error, found))?;
            let record = self.record(row, at).map_err(|error| self.locate_damage(error, at, found))?;
            bytes = bytes.saturating_add(record.fact_json.len());
            bytes = bytes.saturating_add(record.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, bytes::Bytes::len));
            if bytes > limit.bytes && !records.is_empty() {
                break;
            }
            records.push(record);
            if let RowLookup::AtOrAfter(next) = &mut found {
                *next = at.next();
            }
        }
        Ok(records)
    }

    fn record(&self, row: &Row<'_>, at: Position) -> Result<Record, LogError> {
        let unreadable = |why| LogError::Unreadable { position: at, why };
        let stored = StoredRow::read(row).map_err(unreadable)?;
        let place = stored.batch_place();
        let mut batch = self.batch.borrow_mut();
        let batch = match &mut *batch {
            Some((kept, batch)) if *kept == place => batch,
            other => &mut other.insert((place, self.batch(place, at)?)).1,
        };
        stored.record(self.id, at, batch).map_err(unreadable)
    }

    /// Returns the error that names the damaged part. A row found through an index is partly read from the
    /// index. If the record can be read by its position, the index is damaged.
    fn locate_damage(&self, error: LogError, at: Position, found: RowLookup) -> LogError {
        match found {
            RowLookup::ByIndex if self.read(Position(at.0.saturating_sub(1)), ReadLimit { records: 1, bytes: 0 }).is_ok() => {
                LogError::Index(format!("it leads to a different record than the one at position {at}"))
            }
            RowLookup::ByIndex | RowLookup::AtOrAfter(_) => error,
        }
    }

    fn batch(&self, place: i64, at: Position) -> Result<StoredBatch, LogError> {
        let mut statement = self.connection.prepare_cached(StoredBatch::SELECT).map_err(|error| store_failed(&error))?;
        let mut rows = statement.query([place]).map_err(|error| store_failed(&error))?;
        let row = rows.next().map_err(|error| row_failed(&error, RowLookup::AtOrAfter(at)))?;
        let read = row.ok_or_else(|| "its batch is missing".to_owned()).and_then(StoredBatch::read);
        read.map_err(|why| LogError::Unreadable { position: at, why })
    }

    /// Returns the result of `read` for the row at a position, or `None` if there is no row.
    fn at<T>(&self, position: Position, read: impl FnOnce(&StoredRow<'_>) -> Result<T, LogError>) -> Result<Option<T>, LogError> {
        if position.0 > POSITION_MAX {
            return Ok(None);
        }
        let mut statement = self.connection.prepare_cached(&by("WHERE place = ?1")).map_err(|error| store_failed(&error))?;
        let mut rows = statement.query([place(self.number, position)]).map_err(|error| store_failed(&error))?;
        let Some(row) = rows.next().map_err(|error| row_failed(&error, RowLookup::AtOrAfter(position)))? else { return Ok(None) };
        let stored = StoredRow::read(row).map_err(|why| LogError::Unreadable { position, why })?;
        read(&stored).map(Some)
    }
}

impl LogReader for SqliteLogReader {
    fn head(&self) -> Result<Head, LogError> {
        Ok(head(&self.connection, self.number)?.head)
    }

    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        if LogReader::head(self)?.position <= after {
            return Ok(Vec::new());
        }
        let sql = by("WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3");
        let places = params![place(self.number, after), place(self.number, Position(POSITION_MAX)), rows_max(limit)];
        let records = self.records(&sql, places, limit, RowLookup::AtOrAfter(after.next()))?;
        index_checks::consecutive(after, records)
    }

    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        let Ok(after) = i64::try_from(after.0) else { return Ok(Vec::new()) };
        let sql = by("WHERE log = ?1 AND stream = ?2 AND revision > ?3 ORDER BY revision LIMIT ?4");
        let records = self.records(&sql, params![self.number, stream_bytes(stream), after, rows_max(limit)], limit, RowLookup::ByIndex)?;
        index_checks::of_stream(stream, Revision(after.unsigned_abs()), records)
    }

    fn record_by_id(&self, id: Id) -> Result<Option<Record>, LogError> {
        let sql = by("WHERE log = ?1 AND id = ?2");
        let records = self.records(&sql, params![self.number, id.as_bytes()], ReadLimit { records: 1, bytes: 0 }, RowLookup::ByIndex)?;
        index_checks::of_id(id, records.into_iter().next())
    }

    fn body_at(&self, position: Position) -> Result<Option<Body>, LogError> {
        let body = self.at(position, |stored| stored.body().map_err(|why| LogError::Unreadable { position, why }))?;
        Ok(body.flatten())
    }

    fn batch_at(&self, position: Position) -> Result<Option<Id>, LogError> {
        self.at(position, |stored| Ok(self.batch(stored.batch_place(), position)?.id))
    }

    fn check_indexes(&self) -> Result<(), LogError> {
        const FINE: &str = "ok";
        let said = self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
        match said {
            Ok(said) if said == FINE => match self.format {
                Format::Current => self.check_places_of_keys(),
                // There, the places of keys are an index.
                Format::V0_1 => Ok(()),
            },
            Ok(said) => Err(LogError::Index(said)),
            Err(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Err(LogError::Index(error.to_string())),
                Some(_) | None => Err(store_failed(&error)),
            },
        }
    }

    fn release_caches(&self) {
        *self.batch.borrow_mut() = None;
        release_caches(&self.connection);
    }
}

impl Source for SqliteLogReader {
    fn epoch(&self) -> Result<Epoch, LogError> {
        Ok(head(&self.connection, self.number)?.epoch)
    }

    fn keys(&self, after: i64, limit: usize) -> Result<Vec<(i64, DedupeKey, DedupeEntry)>, LogError> {
        seen_keys::list(&self.connection, self.number, after, limit).map_err(|fault| match fault {
            SeenFault::Sqlite(error) => store_failed(&error),
            SeenFault::Damaged(why) => LogError::Store(why),
        })
    }
}

impl SqliteLogReader {
    /// Checks that each key is found through its place.
    fn check_places_of_keys(&self) -> Result<(), LogError> {
        const LOST: &str = "SELECT count(*) FROM seen WHERE number <= (SELECT keys_placed FROM logs WHERE number = ?1) \
                            AND scope IN (SELECT number FROM scopes WHERE log = ?1) AND NOT EXISTS \
                            (SELECT 1 FROM seen_places AS there WHERE there.scope = seen.scope AND there.prefix = seen.prefix \
                             AND there.number = seen.number)";
        let lost: i64 = self.connection.query_row(LOST, [self.number], |row| row.get(0)).map_err(|error| store_failed(&error))?;
        if lost == 0 { Ok(()) } else { Err(LogError::Index(format!("{lost} known keys are missing from seen_places"))) }
    }
}

fn by(rest: &str) -> String {
    format!("{}{rest}", row::SELECT)
}

fn rows_max(limit: ReadLimit) -> i64 {
    i64::try_from(limit.records.max(1)).unwrap_or(i64::MAX)
}

/// How a row was found, which determines the damaged part if it cannot be read.
#[derive(Clone, Copy)]
pub(super) enum RowLookup {
    /// By position: it is the row at this position, or the next one.
    AtOrAfter(Position),
    /// Through an index: the record itself may be undamaged, which only a walk along the log can show.
    ByIndex,
}

/// Returns the error for a row. A damaged file is damaged at some position; a failing disk is not.
pub(super) fn row_failed(error: &rusqlite::Error, found: RowLookup) -> LogError {
    match (error.sqlite_error_code(), found) {
        (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None, RowLookup::AtOrAfter(position)) => {
            LogError::Unreadable { position, why: format!("the file is damaged: {error}") }
        }
        (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None, RowLookup::ByIndex) => {
            LogError::Index(format!("it leads to no record: {error}"))
        }
        (Some(_), _) => store_failed(error),
    }
}
