//! Reads a log in PostgreSQL, on a connection that cannot write.
//!
//! Rows are not trusted: whatever differs from what was written is an error with its position.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_engine::command::{DedupeEntry, DedupeKey};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{Body, Chain, Digest, Epoch, Head, Position, Record, Revision, StreamId};
use ensue_store::row::{StoredBatch, StoredBody, StoredRow, array, count, stream_bytes};
use ensue_store::transfer::Source;
use ensue_store::{POSITION_MAX, index_checks};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::classify::Meaning;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::patience::patiently;
use crate::schema::schema_of;
use crate::session::{ConnectionPurpose, STATEMENT_TIMEOUT, Session};
use crate::wire::{seen_of, uuid_of};

/// The columns of a record, in the order in which they are read.
const COLUMNS: &str = "position, step, stream, revision, id, digest, bytes, encoding, key, chain, sum, content";

/// How long a query of a caller is tried: a connection may be lost, and a standby may cancel it. Then the caller hears of
/// it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many positions are checked at once.
const CHECKED_AT_ONCE: i64 = 10_000;

/// A reader of a log in PostgreSQL, with its own connection.
pub struct PostgresLogReader {
    database: Database,
    session: RefCell<Option<Session>>,
    id: LogId,
    number: i32,
    schema: String,
    patience: Duration,
    shows: Shows,
}

impl Drop for PostgresLogReader {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.database.put_back(ConnectionPurpose::Read, session);
        }
    }
}

/// Which records a reader shows.
#[derive(Clone, Copy)]
enum Shows {
    /// All that are in the tables.
    All,
    /// Those that no promotion of a standby can remove.
    Confirmed,
}

impl PostgresLogReader {
    /// Opens a log for reading only.
    pub fn open(database: &Database, id: LogId) -> Result<Self, DatabaseError> {
        let mut session = database.connect(ConnectionPurpose::Read, "reader")?;
        let row = database.find(&mut session, id)?;
        let row = row.ok_or_else(|| DatabaseError::NoLog { at: database.display_name().to_owned(), log: id })?;
        if row.state != "open" {
            return Err(DatabaseError::Unfinished { at: database.display_name().to_owned(), log: id });
        }
        Ok(Self::of(database, session, id, row.number))
    }

    /// Opens a log that another node leads, for reading what is confirmed. A batch is confirmed once its writer says so, or
    /// another one follows it, because a writer appends only after its last batch was acknowledged, or after its own take-over
    /// was. From then on, the database is not used on a server that lacks what was confirmed.
    pub fn open_confirmed(database: &Database, id: LogId) -> Result<Self, DatabaseError> {
        let mut reader = Self::open(database, id)?;
        reader.shows = Shows::Confirmed;
        Ok(reader)
    }

    /// Opens the log with a number, whatever its state is.
    pub(crate) fn of(database: &Database, session: Session, id: LogId, number: i32) -> Self {
        let reader = Self::led(database, (id, number), PATIENCE);
        reader.session.replace(Some(session));
        reader
    }

    /// Returns a reader for the writer of a log, which waits for the database as long as the writer does. It connects when it
    /// is first used.
    pub(crate) fn led(database: &Database, (id, number): (LogId, i32), patience: Duration) -> Self {
        let (session, schema) = (RefCell::new(None), schema_of(number));
        Self { database: database.clone(), session, id, number, schema, patience, shows: Shows::All }
    }

    fn ask(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, LogError> {
        patiently(self.patience, || self.try_to_ask(sql, parameters))
    }

    fn try_to_ask(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Meaning> {
        let mut slot = self.session.borrow_mut();
        if slot.as_ref().is_none_or(Session::is_closed) {
            *slot = None;
            *slot = Some(self.database.connect(ConnectionPurpose::Read, "reader").map_err(|error| match error {
                DatabaseError::Rewritten { .. } => Meaning::Rewritten(error.to_string()),
                _ => Meaning::Again(error.to_string()),
            })?);
        }
        let Some(session) = slot.as_mut() else { return Err(Meaning::Again("there is no connection".to_owned())) };
        let asked = session.query(sql, parameters, Instant::now() + STATEMENT_TIMEOUT);
        if matches!(asked, Err(Meaning::Unknown(_))) {
            *slot = None;
        }
        asked
    }

    /// Returns the records of some rows, up to the limit in bytes. `found` says how they were found.
    fn records(&self, rows: &[Row], limit: ReadLimit, found: RowLookup) -> Result<Vec<Record>, LogError> {
        let firsts: Vec<i64> = rows.iter().map(|row| row.get::<_, i64>(0) - i64::from(row.get::<_, i32>(1))).collect();
        let batches = self.batches(firsts)?;
        let mut records = Vec::new();
        let mut bytes = 0usize;
        for row in rows.iter().take(limit.records.max(1)) {
            let position = Position(row.get::<_, i64>(0).unsigned_abs());
            let record = self.record(row, position, &batches).map_err(|error| self.locate_damage(error, position, found))?;
            bytes = bytes.saturating_add(record.fact_json.len());
            bytes = bytes.saturating_add(record.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, Bytes::len));
            if bytes > limit.bytes && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }

    fn record(&self, row: &Row, position: Position, batches: &BTreeMap<i64, Result<StoredBatch, String>>) -> Result<Record, LogError> {
        let unreadable = |why: String| LogError::Unreadable { position, why };
        let id = row.get::<_, Uuid>(4);
        let stored = read_stored_row(row, &id).map_err(unreadable)?;
        match batches.get(&stored.batch_place()) {
            Some(Ok(batch)) => stored.record(self.id, position, batch).map_err(unreadable),
            Some(Err(why)) => Err(unreadable(why.clone())),
            None => Err(unreadable("its batch is missing".to_owned())),
        }
    }

    /// Returns the error that names the damaged part: if the record can be read by its position, an index is damaged.
    fn locate_damage(&self, error: LogError, at: Position, found: RowLookup) -> LogError {
        match found {
            RowLookup::ByIndex if self.read(Position(at.0.saturating_sub(1)), ReadLimit { records: 1, bytes: 0 }).is_ok() => {
                LogError::Index(format!("it leads to a different record than the one at position {at}"))
            }
            RowLookup::ByIndex | RowLookup::ByPosition => error,
        }
    }

    /// Returns the batches that begin at these positions. A damaged one is an error of each of its records.
    fn batches(&self, mut firsts: Vec<i64>) -> Result<BTreeMap<i64, Result<StoredBatch, String>>, LogError> {
        firsts.dedup();
        let sql = format!("SELECT first, id, epoch, contents, sum FROM {}.batches WHERE first = ANY($1)", self.schema);
        let rows = self.ask(&sql, &[&firsts])?;
        let open = |row: &Row| {
            let (first, id): (i64, Uuid) = (row.get(0), row.get(1));
            (first, StoredBatch::open(first, id.as_bytes(), row.get(2), row.get(3), row.get(4)))
        };
        Ok(rows.iter().map(open).collect())
    }

    /// Returns the row of the batch that a position belongs to.
    fn batch_row(&self, position: Position) -> Result<Option<Row>, LogError> {
        if position.0 > POSITION_MAX {
            return Ok(None);
        }
        let sql = format!("SELECT last, id FROM {}.batches WHERE first <= $1 ORDER BY first DESC LIMIT 1", self.schema);
        let place = position.0.cast_signed();
        Ok(self.ask(&sql, &[&place])?.into_iter().next().filter(|row| row.get::<_, i64>(0) >= place))
    }
}

/// How a row was found, which determines the damaged part if it cannot be read.
#[derive(Clone, Copy)]
enum RowLookup {
    ByPosition,
    ByIndex,
}

/// Reads a row, and compares it with its sum.
fn read_stored_row<'a>(row: &'a Row, id: &'a Uuid) -> Result<StoredRow<'a>, String> {
    let body = match row.get::<_, Option<&[u8]>>(5) {
        Some(digest) => Some(StoredBody {
            digest,
            bytes: row.get::<_, Option<i64>>(6).ok_or("its bytes are missing")?,
            encoding: row.get::<_, Option<i16>>(7).ok_or("its encoding is missing")?.into(),
            key: row.get::<_, Option<&[u8]>>(8).map(std::str::from_utf8).transpose().map_err(|_| "its key is not UTF-8".to_owned())?,
            content: row.get(11),
        }),
        None => None,
    };
    let stored = StoredRow {
        place: row.get(0),
        log: 0,
        step: row.get::<_, i32>(1).into(),
        stream: row.get::<_, &[u8]>(2).into(),
        revision: row.get(3),
        id: id.as_bytes(),
        body,
        chain: row.get(9),
    };
    if stored.sum() != row.get::<_, i64>(10) {
        return Err("its row is damaged: the checksum does not match".to_owned());
    }
    Ok(stored)
}

impl LogReader for PostgresLogReader {
    fn head(&self) -> Result<Head, LogError> {
        let sql = match self.shows {
            Shows::All => format!("SELECT last, chain FROM {}.batches ORDER BY first DESC LIMIT 1", self.schema),
            Shows::Confirmed => format!(
                "SELECT b.last, b.chain FROM (SELECT *, row_number() OVER (ORDER BY first DESC) AS place FROM \
                 (SELECT first, last, chain FROM {}.batches ORDER BY first DESC LIMIT 2) n) b WHERE b.place = 2 \
                 OR EXISTS (SELECT 1 FROM ensue.confirmed c WHERE c.log = {} AND c.position = b.last AND c.chain = b.chain) \
                 ORDER BY b.first DESC LIMIT 1",
                self.schema, self.number
            ),
        };
        let rows = self.ask(&sql, &[])?;
        let Some(row) = rows.first() else { return Ok(Head::default()) };
        let read = || -> Result<Head, String> {
            Ok(Head { position: Position(count(row.get(0), "position")?), chain: Chain::from_bytes(array(row.get(1), "chain")?) })
        };
        let head = read().map_err(|why| LogError::Store(format!("the head of the log is damaged: {why}")))?;
        if let (Shows::Confirmed, Some(session)) = (self.shows, self.session.borrow_mut().as_mut()) {
            self.database.known_logs().has_read(session, self.number, head);
        }
        Ok(head)
    }

    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        let head = LogReader::head(self)?.position;
        if head <= after {
            return Ok(Vec::new());
        }
        let records_max = i64::try_from(limit.records.max(1)).unwrap_or(i64::MAX);
        let bytes_max = i64::try_from(limit.bytes).unwrap_or(i64::MAX);
        let (from, to) = (after.0.cast_signed(), after.0.cast_signed().saturating_add(records_max).min(head.0.cast_signed()));
        // The running sum has only the sizes of the contents. What is beyond the limit is not even read from the disk.
        let sql = format!(
            "SELECT {COLUMNS} FROM (SELECT *, sum(coalesce(octet_length(content), 0)::bigint) OVER (ORDER BY position) AS run \
             FROM {}.records WHERE position > $1::bigint AND position <= $2::bigint) r WHERE r.run <= $3::bigint OR r.position = $1::bigint + 1 ORDER BY position",
            self.schema
        );
        let rows = self.ask(&sql, &[&from, &to, &bytes_max])?;
        let records = self.records(&rows, limit, RowLookup::ByPosition)?;
        index_checks::consecutive(after, records)
    }

    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        let Ok(after) = i64::try_from(after.0) else { return Ok(Vec::new()) };
        let records_max = i64::try_from(limit.records.max(1)).unwrap_or(i64::MAX);
        let bytes_max = i64::try_from(limit.bytes).unwrap_or(i64::MAX);
        let sql = format!(
            "SELECT {COLUMNS} FROM (SELECT *, sum(coalesce(octet_length(content), 0)::bigint) OVER (ORDER BY revision) AS run, \
             row_number() OVER (ORDER BY revision) AS place FROM (SELECT {COLUMNS} FROM {}.records \
             WHERE stream = $1 AND revision > $2 ORDER BY revision LIMIT $3::bigint) f) r WHERE r.run <= $4::bigint OR r.place = 1 ORDER BY revision",
            self.schema
        );
        let rows = self.ask(&sql, &[&stream_bytes(stream), &after, &records_max, &bytes_max])?;
        let records = self.records(&rows, limit, RowLookup::ByIndex)?;
        index_checks::of_stream(stream, Revision(after.unsigned_abs()), records)
    }

    fn record_by_id(&self, id: Id) -> Result<Option<Record>, LogError> {
        let sql = format!("SELECT {COLUMNS} FROM {}.records WHERE id = $1 LIMIT 1", self.schema);
        let rows = self.ask(&sql, &[&uuid_of(id)])?;
        index_checks::of_id(id, self.records(&rows, ReadLimit { records: 1, bytes: 0 }, RowLookup::ByIndex)?.into_iter().next())
    }

    fn body_at(&self, position: Position) -> Result<Option<Body>, LogError> {
        if position.0 > POSITION_MAX {
            return Ok(None);
        }
        let sql = format!("SELECT {COLUMNS} FROM {}.records WHERE position = $1", self.schema);
        let rows = self.ask(&sql, &[&position.0.cast_signed()])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let id = row.get::<_, Uuid>(4);
        read_stored_row(row, &id).and_then(|stored| stored.body()).map_err(|why| LogError::Unreadable { position, why })
    }

    fn batch_at(&self, position: Position) -> Result<Option<Id>, LogError> {
        Ok(self.batch_row(position)?.map(|row| Id::from_bytes(*row.get::<_, Uuid>(1).as_bytes())))
    }

    fn check_indexes(&self) -> Result<(), LogError> {
        let end = LogReader::head(self)?.position.0.cast_signed();
        let schema = &self.schema;
        // Each record must be found by its id and by its revision. Joins of whole tables would not use the indexes.
        let sql = format!(
            "SELECT r.position FROM {schema}.records r WHERE r.position > $1 AND r.position <= $2 AND NOT EXISTS \
             (SELECT 1 FROM (SELECT o.position FROM {schema}.records o WHERE o.id = r.id OFFSET 0) i WHERE i.position = r.position) \
             OR r.position > $1 AND r.position <= $2 AND NOT EXISTS (SELECT 1 FROM (SELECT o.position FROM {schema}.records o \
             WHERE o.stream = r.stream AND o.revision = r.revision OFFSET 0) i WHERE i.position = r.position) LIMIT 1"
        );
        let mut from = 0i64;
        while from < end {
            let to = from.saturating_add(CHECKED_AT_ONCE).min(end);
            if let Some(row) = self.ask(&sql, &[&from, &to])?.first() {
                return Err(LogError::Index(format!("the record at position {} is not found in it", row.get::<_, i64>(0))));
            }
            from = to;
        }
        Ok(())
    }

    fn release_caches(&self) {
        *self.session.borrow_mut() = None;
    }
}

impl Source for PostgresLogReader {
    fn epoch(&self) -> Result<Epoch, LogError> {
        let rows = self.ask("SELECT epoch FROM ensue.logs WHERE id = $1", &[&uuid_of(self.id.0)])?;
        let row = rows.first().ok_or_else(|| LogError::Store("the row of the log is missing".to_owned()))?;
        Ok(Epoch(row.get::<_, i64>(0).unsigned_abs()))
    }

    fn keys(&self, after: i64, limit: usize) -> Result<Vec<(i64, DedupeKey, DedupeEntry)>, LogError> {
        let sql = format!(
            "SELECT s.number, s.position, s.event, s.content, s.until, s.sum, c.name, s.hash FROM {schema}.seen s \
             JOIN {schema}.scopes c ON c.number = s.scope WHERE s.number > $1 ORDER BY s.number LIMIT $2",
            schema = self.schema
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &Row| -> Result<(i64, DedupeKey, DedupeEntry), String> {
            let scope = std::str::from_utf8(row.get(6)).map_err(|_| "its scope is not UTF-8".to_owned())?.to_owned();
            let key = DedupeKey { scope, hash: Digest::from_bytes(array(row.get(7), "hash")?) };
            let seen = seen_of(row, &key)?;
            Ok((row.get(0), key, seen))
        };
        let rows = self.ask(&sql, &[&after, &limit])?;
        let keys: Result<Vec<_>, String> = rows.iter().map(read).collect();
        keys.map_err(|why| LogError::Store(format!("the row of a known key is damaged: {why}")))
    }
}
