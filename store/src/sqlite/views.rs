//! Views on SQLite: a file that may be lost, with a table for each view.
//!
//! A commit survives the end of the process. The newest commits may be lost in a power failure; the missing
//! records are then folded again. `ensue-views` defines the meaning of the rows.

mod ended_executions;
mod groups;
mod pack;
mod read;
mod scopes;
mod series;
mod side_tables;
mod sql_query;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ensue_engine::ids::LogId;
use ensue_engine::record::Position;
use ensue_views::series::VERSION as SERIES_VERSION;
use ensue_views::store::{Change, Changes, NewRow, PASSED_OVER_MAX};
use ensue_views::view_retention::{ElapsedTime, RemovalCounts};
use ensue_views::{Column, Row, Term, ViewError, ViewName, ViewStore, view};
use rusqlite::types::ToSqlOutput;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, ToSql, Transaction, TransactionBehavior, params};

pub use read::SqliteViewReader;

use self::ended_executions::ENDED;
use self::groups::{GROUPS, Groups};
use self::scopes::ScopeCounts;
use self::series::{AtHand, SERIES};
use self::side_tables::SideTable;
use super::row::Sum;
use super::{OpenError, PageSize, Schema, SqliteFile, open_to_write, release_caches, write_back, write_back_if_possible};
use read::Readers;

/// The file of views.
pub(crate) const VIEWS: Schema = Schema {
    name: "views",
    migrations: &[
        include_str!("../../../migrations/sqlite/views_0001.sql"),
        include_str!("../../../migrations/sqlite/views_0002.sql"),
        include_str!("../../../migrations/sqlite/views_0003.sql"),
        include_str!("../../../migrations/sqlite/views_0004.sql"),
        include_str!("../../../migrations/sqlite/views_0005.sql"),
        include_str!("../../../migrations/sqlite/views_0006.sql"),
        include_str!("../../../migrations/sqlite/views_0007.sql"),
        include_str!("../../../migrations/sqlite/views_0008.sql"),
        include_str!("../../../migrations/sqlite/views_0009.sql"),
        include_str!("../../../migrations/sqlite/views_0010.sql"),
        include_str!("../../../migrations/sqlite/views_0011.sql"),
        include_str!("../../../migrations/sqlite/views_0012.sql"),
        include_str!("../../../migrations/sqlite/views_0013.sql"),
        include_str!("../../../migrations/sqlite/views_0014.sql"),
        include_str!("../../../migrations/sqlite/views_0015.sql"),
        include_str!("../../../migrations/sqlite/views_0016.sql"),
        include_str!("../../../migrations/sqlite/views_0017.sql"),
        include_str!("../../../migrations/sqlite/views_0018.sql"),
        include_str!("../../../migrations/sqlite/views_0020.sql"),
    ],
    definitions: "89729fb01488ad155da0ce4d70460348e733b29000a05b8489eb266f5a1b0ed8",
    page: PageSize::Kib8,
};

/// The maximum number of names that are cached with their numbers.
const NAMES_AT_HAND_MAX: usize = 10_000;

/// The number of cached prepared statements: three or four for each view, and one for each kind of query.
const STATEMENTS_PREPARED: usize = 128;

/// The number of positions that share a row in `spans`.
const SPAN: u64 = 1024;

/// Views in a file, held by their one follower.
pub struct SqliteViews {
    connection: Connection,
    log: LogId,
    made: ViewsProgress,
    names: BTreeMap<String, i64>,
    series: AtHand,
    readers: Arc<Readers>,
}

impl SqliteViews {
    /// Opens the views of a log, creating them if necessary. Views of another log, from other folds or
    /// another release, and damaged views are removed and created again, because they can be rebuilt from the
    /// log.
    pub fn open(path: &Path, log: LogId) -> Result<Self, OpenError> {
        Self::open_at(&path.into(), log)
    }

    /// Opens views as [`open`](Self::open) does, through the caller's file system.
    pub fn open_at(place: &SqliteFile, log: LogId) -> Result<Self, OpenError> {
        let path = place.path.as_path();
        match Self::open_as_it_is(place, log) {
            Ok(Some(views)) => return Ok(views),
            Ok(None) | Err(OpenError::Damaged { .. } | OpenError::Newer { .. } | OpenError::Foreign { .. }) => {}
            Err(error) => return Err(error),
        }
        place.remove().map_err(|why| OpenError::Unusable { path: path.to_owned(), why })?;
        let begun_anew = Self::open_as_it_is(place, log)?;
        begun_anew.ok_or_else(|| OpenError::Unusable { path: path.to_owned(), why: "another process is creating it".to_owned() })
    }

    /// Returns a reader with its own connections.
    pub fn reader(&self) -> SqliteViewReader {
        SqliteViewReader::new(self.readers.clone())
    }

    /// Clears everything that is cached in memory, because an internal error may have made it differ from the
    /// file.
    pub fn forget_what_is_at_hand(&mut self) {
        self.names.clear();
        self.series = AtHand::default();
    }

    /// Releases the memory of all caches: the connections of readers that are not in use, and the pages, statements and
    /// names of this one. Frees the disk space of the write-ahead log.
    pub fn release_caches(&mut self) {
        self.readers.close_unused();
        self.names = BTreeMap::new();
        self.series = AtHand::default();
        release_caches(&self.connection);
        write_back_if_possible(&self.connection);
    }

    /// Returns true if a reader found damage since these views were opened or adopted.
    pub fn is_damaged(&self) -> bool {
        self.readers.is_damaged()
    }

    /// Replaces these views with others that were built separately and must be at least as far. Readers
    /// switch to them; queries wait in the meantime. After an error the views must be opened again.
    pub fn adopt(&mut self, beside: Self) -> Result<(), ViewError> {
        if beside.made.position < self.made.position {
            return Err(ViewError::Gap { at: self.made.position, next: beside.made.position });
        }
        let place = self.readers.place().clone();
        let source = beside.close()?;
        let _closed = self.readers.close_all();
        // This connection's file is removed next, so it is closed first.
        self.connection = Connection::open_in_memory().map_err(view_error)?;
        let in_files = |why: String| ViewError::Store(why);
        place.remove().map_err(in_files)?;
        let renamed = (place.files.rename)(&source.path, &place.path);
        renamed.map_err(|why| in_files(format!("{} cannot be renamed: {why}", source.path.display())))?;
        place.sync_folder().map_err(|why| in_files(why.to_string()))?;
        let opened = Self::open_as_it_is(&place, self.log).map_err(|why| in_files(why.to_string()))?;
        let opened = opened.ok_or_else(|| in_files(format!("{} is not the file that was created", place.path.display())))?;
        let Self { connection, made, .. } = opened;
        (self.connection, self.made) = (connection, made);
        self.names.clear();
        self.series = AtHand::default();
        self.readers.are_whole_again();
        Ok(())
    }

    /// Writes, and moves to `made`, as one transaction. `change` receives the cached names and the previous
    /// state of the views.
    fn write(
        &mut self,
        made: ViewsProgress,
        change: impl FnOnce(&Transaction<'_>, &mut BTreeMap<String, i64>, ViewsProgress) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(view_error)?;
        let written = change(&transaction, &mut self.names, self.made)
            .and_then(|()| made.write(&transaction, self.log).map_err(view_error))
            .and_then(|()| transaction.commit().map_err(view_error));
        match written {
            Ok(()) => {
                self.made = made;
                Ok(())
            }
            Err(error) => {
                // A name may have received a number that was not stored.
                self.names.clear();
                Err(error)
            }
        }
    }

    /// Returns `None` if the file holds something else.
    fn open_as_it_is(place: &SqliteFile, log: LogId) -> Result<Option<Self>, OpenError> {
        let connection = open_to_write(place, &VIEWS)?;
        let made = begin(&connection, log).map_err(|error| OpenError::of(&place.path, &error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_PREPARED);
        let readers = Arc::new(Readers::of(place.clone()));
        Ok(made.map(|made| Self { connection, log, made, names: BTreeMap::new(), series: AtHand::default(), readers }))
    }

    /// Frees the space of removed rows. The whole file is rewritten, which takes accordingly long.
    pub fn shrink(&mut self) -> Result<(), ViewError> {
        self.connection.flush_prepared_statement_cache();
        self.connection.execute_batch("VACUUM").map_err(view_error)
    }

    /// Closes the file so that it is complete by itself, and returns its place.
    fn close(self) -> Result<SqliteFile, ViewError> {
        let _closed = self.readers.close_all();
        self.connection.flush_prepared_statement_cache();
        write_back(&self.connection).map_err(view_error)?;
        self.connection.close().map_err(|(_, error)| view_error(error))?;
        Ok(self.readers.place().clone())
    }
}

/// The progress of views, the records they skipped, and the rows removed from them.
#[derive(Clone, Copy, Default)]
struct ViewsProgress {
    position: Position,
    /// The number of skipped records.
    passed_over: u64,
    elapsed: ElapsedTime,
    removed: RemovalCounts,
}

/// The columns of [`ViewsProgress`], in reading order.
const MADE: &str = "position, passed_over, stepped, elapsed, removed_executions, removed_rows";

impl ViewsProgress {
    /// Returns the columns, in the order of [`MADE`].
    fn columns(self) -> [i64; 6] {
        let RemovalCounts { executions, rows } = self.removed;
        let (stepped, elapsed) = (self.elapsed.total_step(), self.elapsed.micros());
        [place(self.position), self.passed_over.cast_signed(), stepped, elapsed, executions.cast_signed(), rows.cast_signed()]
    }

    fn read(row: &rusqlite::Row<'_>, from: usize) -> rusqlite::Result<Self> {
        let column = |at: usize| row.get::<_, i64>(from + at);
        let count = |at: usize| column(at).map(i64::cast_unsigned);
        Ok(Self {
            position: Position(count(0)?),
            passed_over: count(1)?,
            elapsed: ElapsedTime::of(column(2)?, column(3)?),
            removed: RemovalCounts { executions: count(4)?, rows: count(5)? },
        })
    }

    fn sum(self, log: LogId) -> i64 {
        let mut sum = Sum::default();
        sum.bytes(log.0.as_bytes());
        for column in self.columns() {
            sum.integer(column);
        }
        sum.finish()
    }

    /// Writes them for a log.
    fn write(self, connection: &Connection, log: LogId) -> rusqlite::Result<()> {
        let sql = format!("UPDATE made SET ({MADE}, sum) = (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        let [position, passed_over, stepped, elapsed, executions, rows] = self.columns();
        let mut made = connection.prepare_cached(&sql)?;
        made.execute([position, passed_over, stepped, elapsed, executions, rows, self.sum(log)]).map(drop)
    }
}

/// Returns the state of the views in a file, after marking an empty file as this log's. Returns `None` if
/// they belong to another log or come from other folds.
fn begin(connection: &Connection, log: LogId) -> rusqlite::Result<Option<ViewsProgress>> {
    // Whatever a power failure takes from here is still in the log.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let found = connection.query_row(&format!("SELECT log, versions, sum, {MADE} FROM made"), [], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, ViewsProgress::read(row, 3)?))
    });
    match found.optional()? {
        Some((of, versions, sum, made)) => {
            let is_ours = of == log.0.as_bytes() && versions == made_by() && sum == made.sum(log);
            Ok(is_ours.then_some(made))
        }
        None => {
            let sql = "INSERT INTO made (only, log, versions, position, sum) VALUES (0, ?1, ?2, 0, ?3)";
            connection.execute(sql, params![log.0.as_bytes(), made_by(), ViewsProgress::default().sum(log)])?;
            Ok(Some(ViewsProgress::default()))
        }
    }
}

/// Identifies everything besides the log that the rows depend on.
fn made_by() -> String {
    format!("{} series/{} pack/{} sum/3", view::versions(), SERIES_VERSION, pack::VERSION)
}

impl ViewStore for SqliteViews {
    fn position(&self) -> Position {
        self.made.position
    }

    fn passed_over(&self) -> u64 {
        self.made.passed_over
    }

    fn elapsed(&self) -> ElapsedTime {
        self.made.elapsed
    }

    fn load(&self, view: ViewName, keys: &[Term]) -> Result<Vec<Row>, ViewError> {
        let sql = format!("SELECT position, key, document FROM {view} WHERE key = ?1");
        let mut statement = self.connection.prepare_cached(&sql).map_err(view_error)?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.extend(statement.query_row([StoredTerm(key)], read::row).optional().map_err(view_error)?);
        }
        Ok(rows)
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError> {
        if changes.through <= self.made.position {
            return Err(ViewError::Gap { at: self.made.position, next: changes.through });
        }
        let made = ViewsProgress {
            position: changes.through,
            passed_over: self.made.passed_over + changes.passed_over.count(),
            elapsed: changes.elapsed,
            removed: self.made.removed,
        };
        // After an error, they are read again.
        let mut series = std::mem::take(&mut self.series);
        self.write(made, |transaction, names, before| {
            write_rows(transaction, names, changes)?;
            series::add(transaction, names, &mut series, &changes.increments).map_err(view_error)?;
            ended_executions::insert(transaction, &changes.ended)
                .and_then(|()| name_passed_over(transaction, before, changes))
                .map_err(view_error)
        })?;
        self.series = series;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), ViewError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(view_error)?;
        let apart = side_tables::TABLES.map(|(_, _, table)| table);
        let tables = ViewName::ALL.map(ViewName::as_str).into_iter().chain(apart);
        for table in tables.chain([ENDED, SERIES, GROUPS, "names", "spans", "scopes", "passed_over"]) {
            transaction.execute(&format!("DELETE FROM {table}"), []).map_err(view_error)?;
        }
        ViewsProgress::default().write(&transaction, self.log).map_err(view_error)?;
        transaction.commit().map_err(view_error)?;
        self.forget_what_is_at_hand();
        self.made = ViewsProgress::default();
        Ok(())
    }
}

fn write_rows(transaction: &Transaction<'_>, names: &mut BTreeMap<String, i64>, changes: &Changes) -> Result<(), ViewError> {
    let mut spans = BTreeMap::new();
    // Changes are grouped by view, so one statement serves a run of them.
    for run in changes.rows.chunk_by(|(one, _), (other, _)| one == other) {
        let Some(&(view, _)) = run.first() else { continue };
        let mut table = TableWriter::of(transaction, view).map_err(view_error)?;
        for (_, change) in run {
            let (position, written) = match change {
                Change::Insert(row) => {
                    let span = spans.entry(row.position.0 / SPAN).or_insert((row.began_at, row.began_at));
                    *span = (span.0.min(row.began_at), span.1.max(row.began_at));
                    (row.position, table.insert(row, transaction, names))
                }
                Change::Update(row) => (row.position, table.update(row, transaction, names)),
                Change::Remove { position } => (*position, table.remove(*position)),
            };
            match written {
                Ok(1) => {}
                Ok(_) => return Err(ViewError::Misfit { view, position }),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    return Err(ViewError::Misfit { view, position });
                }
                Err(error) => return Err(view_error(error)),
            }
        }
        table.finish(transaction).map_err(view_error)?;
    }
    let mut span = transaction
        .prepare_cached(
            "INSERT INTO spans (span, earliest, latest) VALUES (?1, ?2, ?3) \
             ON CONFLICT (span) DO UPDATE SET earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)",
        )
        .map_err(view_error)?;
    for (number, (earliest, latest)) in spans {
        span.execute(params![number.cast_signed(), earliest.micros(), latest.micros()]).map_err(view_error)?;
    }
    Ok(())
}

/// Names the first skipped records.
fn name_passed_over(transaction: &Transaction<'_>, before: ViewsProgress, changes: &Changes) -> rusqlite::Result<()> {
    let named = usize::try_from(before.passed_over).unwrap_or(usize::MAX);
    for one in changes.passed_over.first().iter().take(PASSED_OVER_MAX.saturating_sub(named)) {
        let sql = "INSERT INTO passed_over (position, view, message) VALUES (?1, ?2, ?3)";
        transaction.execute(sql, params![place(one.position), one.view.as_str(), one.message])?;
    }
    Ok(())
}

/// The statements that change one view's table.
struct TableWriter<'a> {
    view: ViewName,
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    remove: CachedStatement<'a>,
    /// The column with several values per row, if the view has one.
    apart: Option<SideTable<'a>>,
    /// The scopes of the rows, if they belong somewhere.
    scopes: Option<ScopeCounts<'a>>,
    /// The groups of executions.
    groups: Option<Groups<'a>>,
}

impl<'a> TableWriter<'a> {
    fn of(connection: &'a Connection, view: ViewName) -> rusqlite::Result<Self> {
        let own = || view.columns().iter().filter(|column| form(**column) != ColumnForm::Apart);
        let columns: String = own().map(|column| format!("\"{column}\", ")).collect();
        let of_scope = if view.is_scoped() { ["scope", "root_action"].as_slice() } else { &[] };
        let columns: String = columns + &of_scope.iter().map(|column| format!("{column}, ")).collect::<String>();
        let values = vec!["?"; own().count() + of_scope.len() + 4].join(", ");
        let status = if view.columns().contains(&Column::Status) { ", status = ?4" } else { "" };
        Ok(Self {
            view,
            insert: connection
                .prepare_cached(&format!("INSERT INTO {view} (position, key, began_at, {columns}document) VALUES ({values})"))?,
            update: connection.prepare_cached(&format!("UPDATE {view} SET document = ?3{status} WHERE position = ?1 AND key = ?2"))?,
            remove: connection.prepare_cached(&format!("DELETE FROM {view} WHERE position = ?1"))?,
            apart: SideTable::of(connection, view)?,
            scopes: ScopeCounts::of(connection, view)?,
            groups: Groups::of(connection, view)?,
        })
    }

    fn insert(&mut self, row: &NewRow, connection: &Connection, names: &mut BTreeMap<String, i64>) -> rusqlite::Result<usize> {
        self.insert.raw_bind_parameter(1, place(row.position))?;
        self.insert.raw_bind_parameter(2, StoredTerm(&row.key))?;
        self.insert.raw_bind_parameter(3, row.began_at.micros())?;
        let mut next = 4;
        for (column, value) in self.view.columns().iter().zip(&row.columns) {
            match (value, form(*column)) {
                (_, ColumnForm::Apart) => continue,
                (Some(Term::Text(name)), ColumnForm::Number) => self.insert.raw_bind_parameter(next, number(connection, names, name)?)?,
                (Some(value), ColumnForm::Number | ColumnForm::AsItIs) => self.insert.raw_bind_parameter(next, StoredTerm(value))?,
                (None, ColumnForm::Number | ColumnForm::AsItIs) => self.insert.raw_bind_parameter(next, rusqlite::types::Null)?,
            }
            next += 1;
        }
        if let Some(apart) = &mut self.apart {
            apart.insert((self.view, row), |name| number(connection, names, name))?;
        }
        if let Some(counted) = &mut self.scopes {
            let numbers = counted.insert(row, connection, |name| number(connection, names, name))?;
            scopes::bind(&mut self.insert, next, numbers)?;
            next += numbers.len();
        }
        self.insert.raw_bind_parameter(next, pack_row(row))?;
        let inserted = self.insert.raw_execute()?;
        self.note_group(row.position, 1)?;
        Ok(inserted)
    }

    fn note_group(&mut self, position: Position, change: i64) -> rusqlite::Result<()> {
        self.groups.as_mut().map_or(Ok(()), |groups| groups.note(position, change))
    }

    /// Writes how many rows each scope and each group has.
    fn finish(self, connection: &Connection) -> rusqlite::Result<()> {
        self.scopes.map_or(Ok(()), |scopes| scopes.write(connection))?;
        self.groups.map_or(Ok(()), |groups| groups.write(connection))
    }

    fn update(&mut self, row: &NewRow, connection: &Connection, names: &mut BTreeMap<String, i64>) -> rusqlite::Result<usize> {
        self.update.raw_bind_parameter(1, place(row.position))?;
        self.update.raw_bind_parameter(2, StoredTerm(&row.key))?;
        self.update.raw_bind_parameter(3, pack_row(row))?;
        for (column, value) in self.view.columns().iter().zip(&row.columns) {
            if *column == Column::Status {
                self.update.raw_bind_parameter(4, value.as_ref().map(StoredTerm))?;
            }
        }
        if let Some(apart) = &mut self.apart {
            apart.update((self.view, row), |name| number(connection, names, name))?;
        }
        self.note_group(row.position, -1)?;
        let updated = self.update.raw_execute()?;
        self.note_group(row.position, 1)?;
        Ok(updated)
    }

    fn remove(&mut self, position: Position) -> rusqlite::Result<usize> {
        if let Some(apart) = &mut self.apart {
            apart.remove(position)?;
        }
        if let Some(scopes) = &mut self.scopes {
            scopes.remove(position)?;
        }
        self.note_group(position, -1)?;
        self.remove.execute([place(position)])
    }
}

/// Returns a document in its stored form: [`SUM_BYTES`] that verify the row, followed by the packed document.
fn pack_row(row: &NewRow) -> Vec<u8> {
    let (text, id) = match &row.key {
        Term::Id(id) => (String::new(), Some(*id)),
        text @ (Term::Text(_) | Term::Texts(_)) => (text.to_string(), None),
    };
    let key = id.as_ref().map_or(text.as_bytes(), |id| id.as_bytes());
    let document = pack::pack(&row.document, id);
    let mut packed = row_sum(place(row.position), key, &document).to_vec();
    packed.extend(document);
    packed
}

/// The size of a row's sum, in bytes.
const SUM_BYTES: usize = 4;

fn row_sum(position: i64, key: &[u8], document: &[u8]) -> [u8; SUM_BYTES] {
    let [a, b, c, d, ..] = Sum::default().integer(position).bytes(key).bytes(document).finish().to_le_bytes();
    [a, b, c, d]
}

/// How the texts of a column are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ColumnForm {
    /// By their number in `names`.
    Number,
    /// As they are; ids as their 16 bytes.
    AsItIs,
    /// In a separate table, by their number in `names`, because a row has several.
    Apart,
}

fn form(column: Column) -> ColumnForm {
    match column {
        Column::Trigger | Column::Source | Column::Rule | Column::Action | Column::Sensor | Column::Name | Column::Actor => {
            ColumnForm::Number
        }
        Column::Correlation
        | Column::Event
        | Column::Execution
        | Column::Parent
        | Column::RerunOf
        | Column::Outcome
        | Column::Status
        | Column::What
        | Column::Of => ColumnForm::AsItIs,
        Column::Assignee | Column::Label => ColumnForm::Apart,
    }
}

/// Returns the number of a name, after assigning one to a new name.
fn number(connection: &Connection, names: &mut BTreeMap<String, i64>, name: &str) -> rusqlite::Result<i64> {
    if let Some(number) = names.get(name) {
        return Ok(*number);
    }
    let known = connection.prepare_cached("SELECT number FROM names WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?;
    let number = match known {
        Some(number) => number,
        None => {
            connection.prepare_cached("INSERT INTO names (name) VALUES (?1)")?.execute([name])?;
            connection.last_insert_rowid()
        }
    };
    if names.len() >= NAMES_AT_HAND_MAX {
        names.clear();
    }
    names.insert(name.to_owned(), number);
    Ok(number)
}

/// A term as a column stores it.
struct StoredTerm<'a>(&'a Term);

impl ToSql for StoredTerm<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self.0 {
            Term::Id(id) => id.as_bytes().to_sql(),
            Term::Text(text) => text.to_sql(),
            Term::Texts(texts) => Ok(texts.join(", ").into()),
        }
    }
}

/// Returns a position as SQLite stores it. A log never reaches positions that it cannot store, but a query
/// may ask for them.
fn place(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given where the error is owned")]
fn view_error(error: rusqlite::Error) -> ViewError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ViewError::NotWhole(error.to_string()),
        Some(_) => ViewError::Store(error.to_string()),
        // The row differs from what was written.
        None if matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)) => {
            ViewError::NotWhole(error.to_string())
        }
        None => ViewError::Store(error.to_string()),
    }
}
