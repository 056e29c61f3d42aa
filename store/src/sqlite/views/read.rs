//! Reads views on SQLite through a few connections that all callers share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use ensue_engine::ids::Id;
use ensue_engine::record::Position;
use ensue_views::series::{SeriesCounts, SeriesQuery};
use ensue_views::store::{
    AllPassedOver, COUNTED_ROWS_MAX, CountQuery, Counts, Group, LIST_ROWS_MAX, PASSED_OVER_MAX, PassedOver, QueryResult,
};
use ensue_views::view_retention::RemovalCounts;
use ensue_views::{ListQuery, Row, ViewError, ViewName, ViewReader};
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, OptionalExtension};

use super::pack::unpack;
use super::scopes::admitted_scopes;
use super::series;
use super::sql_query::SqlQuery;
use super::{MADE, STATEMENTS_PREPARED, SUM_BYTES, StoredTerm, VIEWS, ViewsProgress, row_sum, view_error};
use crate::sqlite::{OpenError, SqliteFile, open_to_read};

/// The maximum number of concurrent readers; others wait.
const READERS: usize = 4;

/// A reader of [`SqliteViews`](super::SqliteViews).
#[derive(Clone)]
pub struct SqliteViewReader {
    readers: Arc<Readers>,
}

impl SqliteViewReader {
    pub(super) fn new(readers: Arc<Readers>) -> Self {
        Self { readers }
    }
}

impl ViewReader for SqliteViewReader {
    fn position(&self) -> Result<Position, ViewError> {
        self.readers.ask(position)
    }

    fn get(&self, view: ViewName, key: &str) -> Result<Option<Row>, ViewError> {
        let Some(key) = view.key(key) else { return Ok(None) };
        let sql = format!("SELECT position, key, document FROM {view} WHERE key = ?1");
        self.readers.ask(|connection| connection.prepare_cached(&sql)?.query_row([StoredTerm(&key)], row).optional())
    }

    fn find(&self, query: &ListQuery) -> Result<QueryResult, ViewError> {
        query.check()?;
        self.readers.ask(|connection| find(connection, query))
    }

    fn count(&self, query: &CountQuery) -> Result<Counts, ViewError> {
        query.check()?;
        self.readers.ask(|connection| {
            // What is admitted and what is counted must be of the same moment.
            let moment = connection.unchecked_transaction()?;
            let Some(asked) = SqlQuery::to_count(query, &admitted_scopes(&moment, &query.rows)?) else { return Ok(Counts::default()) };
            let mut statement = moment.prepare_cached(&asked.sql)?;
            let group = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Group> {
                let value = |at: usize| -> rusqlite::Result<Option<String>> {
                    Ok(match row.get_ref(at)? {
                        ValueRef::Null => None,
                        ValueRef::Blob(bytes) => Some(Id::from_bytes(bytes.try_into().map_err(|_| FromSqlError::InvalidType)?).to_string()),
                        text => Some(text.as_str()?.to_owned()),
                    })
                };
                let values = (0..query.by.len()).map(value).collect::<rusqlite::Result<_>>()?;
                Ok(Group { values, count: row.get::<_, i64>(query.by.len())?.cast_unsigned() })
            };
            let groups: Vec<Group> =
                statement.query_map(rusqlite::params_from_iter(&asked.values), group)?.collect::<rusqlite::Result<_>>()?;
            let counted: u64 = groups.iter().map(|group| group.count).sum();
            let is_cut = !query.is_of_groups() && counted > COUNTED_ROWS_MAX as u64;
            Ok(Counts::of(groups, is_cut))
        })
    }

    fn series(&self, query: &SeriesQuery) -> Result<SeriesCounts, ViewError> {
        self.readers.ask(|connection| series::read(connection, query))
    }

    fn passed_over(&self) -> Result<AllPassedOver, ViewError> {
        self.readers.ask(|connection| {
            let moment = connection.unchecked_transaction()?;
            let count: i64 = moment.query_row("SELECT passed_over FROM made", [], |row| row.get(0))?;
            let mut statement = moment.prepare("SELECT position, view, message FROM passed_over ORDER BY position, view LIMIT ?1")?;
            let rows = statement.query_map([PASSED_OVER_MAX as i64], |row| {
                let name: String = row.get(1)?;
                let view = ViewName::ALL.into_iter().find(|view| view.as_str() == name).ok_or(FromSqlError::InvalidType)?;
                Ok(PassedOver { view, position: Position(row.get::<_, i64>(0)?.cast_unsigned()), message: row.get(2)? })
            })?;
            Ok(AllPassedOver::of(rows.collect::<rusqlite::Result<_>>()?, count.cast_unsigned()))
        })
    }

    fn removal_counts(&self) -> Result<RemovalCounts, ViewError> {
        self.readers
            .ask(|connection| Ok(connection.query_row(&format!("SELECT {MADE} FROM made"), [], |row| ViewsProgress::read(row, 0))?.removed))
    }

    fn dump(&self, show: &mut dyn FnMut(ViewName, &Row)) -> Result<Position, ViewError> {
        self.readers.ask(|connection| {
            let moment = connection.unchecked_transaction()?;
            let position = position(&moment)?;
            for view in ViewName::ALL {
                let mut statement = moment.prepare(&format!("SELECT position, key, document FROM {view} ORDER BY position"))?;
                for row in statement.query_map([], row)? {
                    show(view, &row?);
                }
            }
            Ok(position)
        })
    }
}

impl SqliteViewReader {
    /// Checks the whole file: that its pages and indexes are consistent, and that each row is as written.
    /// Other queries do not wait for it.
    pub fn look_through(&self) -> Result<(), ViewError> {
        let looked = || -> Result<(), ViewError> {
            let connection = open_to_read(self.readers.place(), &VIEWS).map_err(|error| open_error(&error))?;
            let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(view_error)?;
            if found != "ok" {
                return Err(ViewError::NotWhole(found));
            }
            for view in ViewName::ALL {
                let sql = format!("SELECT position, key, document FROM {view}");
                let mut statement = connection.prepare(&sql).map_err(view_error)?;
                let mut rows = statement.query([]).map_err(view_error)?;
                while let Some(next) = rows.next().map_err(view_error)? {
                    row(next).map_err(view_error)?;
                }
            }
            Ok(())
        };
        looked().map_err(|error| self.readers.note_damage(error))
    }
}

fn open_error(error: &OpenError) -> ViewError {
    match error {
        OpenError::Damaged { .. } | OpenError::Foreign { .. } => ViewError::NotWhole(error.to_string()),
        OpenError::OldSqlite { .. }
        | OpenError::Newer { .. }
        | OpenError::Full { .. }
        | OpenError::InUse { .. }
        | OpenError::Unusable { .. } => ViewError::Store(error.to_string()),
    }
}

fn position(connection: &Connection) -> rusqlite::Result<Position> {
    let position: i64 = connection.prepare_cached("SELECT position FROM made")?.query_row([], |row| row.get(0))?;
    Ok(Position(position.cast_unsigned()))
}

/// Returns the rows of a query whose columns the view has.
pub(super) fn find(connection: &Connection, query: &ListQuery) -> rusqlite::Result<QueryResult> {
    // What is admitted and what is found must be of the same moment.
    let moment = connection.unchecked_transaction()?;
    let Some(asked) = SqlQuery::within(query, &admitted_scopes(&moment, query)?) else { return Ok(QueryResult::default()) };
    let mut statement = moment.prepare_cached(&asked.sql)?;
    let rows: Vec<Row> = statement.query_map(rusqlite::params_from_iter(&asked.values), row)?.collect::<rusqlite::Result<_>>()?;
    let stopped_at = match &asked.stop {
        Some(stop) if rows.len() < query.limit.min(LIST_ROWS_MAX) => {
            let mut statement = moment.prepare_cached(&stop.sql)?;
            let last = statement.query_row(rusqlite::params_from_iter(&stop.values), |row| row.get::<_, i64>(0)).optional()?;
            last.map(|last| Position(last.cast_unsigned()))
        }
        Some(_) | None => None,
    };
    Ok(QueryResult { rows, stopped_at })
}

/// Reads a row of `position, key, document`.
pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let position: i64 = row.get(0)?;
    let (key, id) = match row.get_ref(1)? {
        ValueRef::Blob(bytes) => {
            let bytes =
                <[u8; 16]>::try_from(bytes).map_err(|_| FromSqlError::InvalidBlobSize { expected_size: 16, blob_size: bytes.len() })?;
            let id = Id::from_bytes(bytes);
            (id.to_string(), Some(id))
        }
        text => (text.as_str()?.to_owned(), None),
    };
    let (sum, packed) = row.get_ref(2)?.as_blob()?.split_first_chunk::<SUM_BYTES>().ok_or(FromSqlError::InvalidType)?;
    let key_bytes = id.as_ref().map_or(key.as_bytes(), |id| id.as_bytes());
    if *sum != row_sum(position, key_bytes, packed) {
        return Err(FromSqlError::Other("the row is not the one that was written".into()).into());
    }
    let document = unpack(packed, id).ok_or(FromSqlError::InvalidType)?;
    Ok(Row { key, position: Position(position.cast_unsigned()), document: Bytes::from(document) })
}

/// The connections that read one file. Each is opened on first use.
pub(super) struct Readers {
    place: SqliteFile,
    connections: [Mutex<Option<Connection>>; READERS],
    turn: AtomicUsize,
    is_damaged: AtomicBool,
}

impl Readers {
    pub(super) fn of(place: SqliteFile) -> Self {
        Self { place, connections: Default::default(), turn: AtomicUsize::new(0), is_damaged: AtomicBool::new(false) }
    }

    pub(super) fn place(&self) -> &SqliteFile {
        &self.place
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    pub(super) fn are_whole_again(&self) {
        self.is_damaged.store(false, Ordering::Relaxed);
    }

    /// Notes damage of the file that an error reveals.
    fn note_damage(&self, error: ViewError) -> ViewError {
        if let ViewError::NotWhole(_) = &error {
            self.is_damaged.store(true, Ordering::Relaxed);
        }
        error
    }

    /// Closes the connections that are not in use. The next queries open them again.
    pub(super) fn close_unused(&self) {
        for one in &self.connections {
            if let Ok(mut unused) = one.try_lock() {
                *unused = None;
            }
        }
    }

    /// Returns how many connections are open or in use.
    #[cfg(test)]
    pub(super) fn open_count(&self) -> usize {
        self.connections.iter().filter(|one| one.try_lock().map_or(true, |unused| unused.is_some())).count()
    }

    /// Closes all connections, and blocks queries until the returned guards are dropped.
    pub(super) fn close_all(&self) -> Vec<MutexGuard<'_, Option<Connection>>> {
        let mut all: Vec<_> = self.connections.iter().map(|one| one.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        for one in &mut all {
            **one = None;
        }
        all
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ViewError> {
        let mut one = self.free();
        let connection = match &mut *one {
            Some(connection) => connection,
            none => {
                let opened = open_to_read(&self.place, &VIEWS).map_err(|error| self.note_damage(open_error(&error)))?;
                opened.set_prepared_statement_cache_capacity(STATEMENTS_PREPARED);
                none.insert(opened)
            }
        };
        question(connection).map_err(|error| self.note_damage(view_error(error)))
    }

    /// Returns an unused connection, or the next in turn when it becomes free.
    fn free(&self) -> MutexGuard<'_, Option<Connection>> {
        for one in &self.connections {
            match one.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        self.connections[turn].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
