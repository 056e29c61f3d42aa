//! Views on SQLite: a file that may be lost, with a table for each view.
//!
//! A commit survives the end of the process, and the newest ones need not survive a power cut: what is missing is folded again.
//! What the rows mean is said by `ensue-views`.

mod apart;
mod ask;
mod ended;
mod pack;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ensue_engine::ids::LogId;
use ensue_engine::record::Position;
use ensue_views::retention::{Elapsed, Removed};
use ensue_views::store::{Change, Changes, NewRow, PASSED_OVER_MAX};
use ensue_views::{Column, Row, Term, ViewError, ViewName, ViewStore, view};
use rusqlite::types::ToSqlOutput;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, ToSql, Transaction, TransactionBehavior, params};

pub use read::SqliteViewReader;

use self::apart::Apart;
use self::ended::ENDED;
use super::row::Sum;
use super::{OpenError, Place, Schema, open_to_write};
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
    ],
};

/// How many names are kept at hand with their numbers.
const NAMES_AT_HAND_MAX: usize = 10_000;

/// How many statements are kept prepared: three or four for each view, and one for each way of asking.
const STATEMENTS_PREPARED: usize = 128;

/// How many positions have a row in `spans` together.
const SPAN: u64 = 1024;

/// Views in a file, as their one follower holds them.
pub struct SqliteViews {
    connection: Connection,
    log: LogId,
    made: Made,
    names: BTreeMap<String, i64>,
    readers: Arc<Readers>,
}

impl SqliteViews {
    /// Opens the views of a log, making them where there are none. Views of another log, by other folds or of another release,
    /// and views that are seen not to be whole, are removed and begun anew: they are made from the log.
    pub fn open(path: &Path, log: LogId) -> Result<Self, OpenError> {
        Self::open_at(&path.into(), log)
    }

    /// Opens views as [`open`](Self::open) does, through a file system of the caller's.
    pub fn open_at(place: &Place, log: LogId) -> Result<Self, OpenError> {
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

    /// Gives a reader with connections of its own.
    pub fn reader(&self) -> SqliteViewReader {
        SqliteViewReader::new(self.readers.clone())
    }

    /// Forgets what is at hand beside the file: a bug of ours may have left it other than what is kept.
    pub fn forget_what_is_at_hand(&mut self) {
        self.names.clear();
    }

    /// Says whether a reader came upon damage since these views were opened, or took the place of others.
    pub fn is_damaged(&self) -> bool {
        self.readers.is_damaged()
    }

    /// Takes the place of these views by ones that were made beside them, which must have come as far. Readers go over to them;
    /// what they are asked meanwhile waits. After an error the views are to be opened anew.
    pub fn adopt(&mut self, beside: Self) -> Result<(), ViewError> {
        if beside.made.position < self.made.position {
            return Err(ViewError::Gap { at: self.made.position, next: beside.made.position });
        }
        let place = self.readers.place().clone();
        let source = beside.close()?;
        let _closed = self.readers.close_all();
        // What has no file any more is written back and closed.
        self.connection = Connection::open_in_memory().map_err(failed)?;
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
        self.readers.are_whole_again();
        Ok(())
    }

    /// Writes, and moves to `made`, all or nothing; `change` is given the names at hand and where the views were.
    fn write(
        &mut self,
        made: Made,
        change: impl FnOnce(&Transaction<'_>, &mut BTreeMap<String, i64>, Made) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let written = change(&transaction, &mut self.names, self.made)
            .and_then(|()| made.write(&transaction, self.log).map_err(failed))
            .and_then(|()| transaction.commit().map_err(failed));
        match written {
            Ok(()) => {
                self.made = made;
                Ok(())
            }
            Err(error) => {
                // A name may have been given a number that was not kept.
                self.names.clear();
                Err(error)
            }
        }
    }

    /// Gives none where the file holds something else.
    fn open_as_it_is(place: &Place, log: LogId) -> Result<Option<Self>, OpenError> {
        let connection = open_to_write(place, &VIEWS)?;
        let made = begin(&connection, log).map_err(|error| OpenError::of(&place.path, &error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_PREPARED);
        let readers = Arc::new(Readers::of(place.clone()));
        Ok(made.map(|made| Self { connection, log, made, names: BTreeMap::new(), readers }))
    }

    /// Gives back the space of what was taken out: the file is written anew, which takes as long as that.
    pub fn shrink(&mut self) -> Result<(), ViewError> {
        self.connection.flush_prepared_statement_cache();
        self.connection.execute_batch("VACUUM").map_err(failed)
    }

    /// Closes the file so that it stands alone, and gives its place.
    fn close(self) -> Result<Place, ViewError> {
        let _closed = self.readers.close_all();
        self.connection.flush_prepared_statement_cache();
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
        self.connection.close().map_err(|(_, error)| failed(error))?;
        Ok(self.readers.place().clone())
    }
}

/// How far views are, what they left out on the way, and what was taken out of them.
#[derive(Clone, Copy, Default)]
struct Made {
    position: Position,
    /// How many records were passed over.
    passed_over: u64,
    elapsed: Elapsed,
    removed: Removed,
}

/// The columns of [`Made`], as they are read.
const MADE: &str = "position, passed_over, stepped, elapsed, removed_executions, removed_rows";

impl Made {
    /// The columns, in the order of [`MADE`].
    fn columns(self) -> [i64; 6] {
        let Removed { executions, rows } = self.removed;
        let (stepped, elapsed) = (self.elapsed.stepped(), self.elapsed.micros());
        [place(self.position), self.passed_over.cast_signed(), stepped, elapsed, executions.cast_signed(), rows.cast_signed()]
    }

    fn read(row: &rusqlite::Row<'_>, from: usize) -> rusqlite::Result<Self> {
        let column = |at: usize| row.get::<_, i64>(from + at);
        let count = |at: usize| column(at).map(i64::cast_unsigned);
        Ok(Self {
            position: Position(count(0)?),
            passed_over: count(1)?,
            elapsed: Elapsed::of(column(2)?, column(3)?),
            removed: Removed { executions: count(4)?, rows: count(5)? },
        })
    }

    fn sum(self, log: LogId) -> i64 {
        let mut sum = Sum::default();
        sum.bytes(log.0.as_bytes());
        for column in self.columns() {
            sum.integer(column);
        }
        sum.done()
    }

    /// Writes them down as those of a log.
    fn write(self, connection: &Connection, log: LogId) -> rusqlite::Result<()> {
        let sql = format!("UPDATE made SET ({MADE}, sum) = (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        let [position, passed_over, stepped, elapsed, executions, rows] = self.columns();
        let mut made = connection.prepare_cached(&sql)?;
        made.execute([position, passed_over, stepped, elapsed, executions, rows, self.sum(log)]).map(drop)
    }
}

/// Gives how far the views in a file are, marking an empty file as this log's; none where they are not this log's by these folds.
fn begin(connection: &Connection, log: LogId) -> rusqlite::Result<Option<Made>> {
    // The log has what a power cut takes from here.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let found = connection.query_row(&format!("SELECT log, versions, sum, {MADE} FROM made"), [], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, Made::read(row, 3)?))
    });
    match found.optional()? {
        Some((of, versions, sum, made)) => {
            let is_ours = of == log.0.as_bytes() && versions == made_by() && sum == made.sum(log);
            Ok(is_ours.then_some(made))
        }
        None => {
            let sql = "INSERT INTO made (only, log, versions, position, sum) VALUES (0, ?1, ?2, 0, ?3)";
            connection.execute(sql, params![log.0.as_bytes(), made_by(), Made::default().sum(log)])?;
            Ok(Some(Made::default()))
        }
    }
}

/// Names what the rows depend on beside the log.
fn made_by() -> String {
    format!("{} pack/{} sum/3", view::versions(), pack::VERSION)
}

impl ViewStore for SqliteViews {
    fn position(&self) -> Position {
        self.made.position
    }

    fn passed_over(&self) -> u64 {
        self.made.passed_over
    }

    fn elapsed(&self) -> Elapsed {
        self.made.elapsed
    }

    fn load(&self, view: ViewName, keys: &[Term]) -> Result<Vec<Row>, ViewError> {
        let sql = format!("SELECT position, key, document FROM {view} WHERE key = ?1");
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.extend(statement.query_row([Kept(key)], read::row).optional().map_err(failed)?);
        }
        Ok(rows)
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError> {
        if changes.through <= self.made.position {
            return Err(ViewError::Gap { at: self.made.position, next: changes.through });
        }
        let made = Made {
            position: changes.through,
            passed_over: self.made.passed_over + changes.passed_over.count(),
            elapsed: changes.elapsed,
            removed: self.made.removed,
        };
        self.write(made, |transaction, names, before| {
            write_rows(transaction, names, changes)?;
            ended::insert(transaction, &changes.ended).and_then(|()| name_passed_over(transaction, before, changes)).map_err(failed)
        })
    }

    fn clear(&mut self) -> Result<(), ViewError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let apart = apart::TABLES.map(|(_, _, table)| table);
        for table in ViewName::ALL.map(ViewName::as_str).into_iter().chain(apart).chain([ENDED, "names", "spans", "passed_over"]) {
            transaction.execute(&format!("DELETE FROM {table}"), []).map_err(failed)?;
        }
        Made::default().write(&transaction, self.log).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.names.clear();
        self.made = Made::default();
        Ok(())
    }
}

fn write_rows(transaction: &Transaction<'_>, names: &mut BTreeMap<String, i64>, changes: &Changes) -> Result<(), ViewError> {
    let mut spans = BTreeMap::new();
    // Changes come view by view, so a statement serves a run of them.
    for run in changes.rows.chunk_by(|(one, _), (other, _)| one == other) {
        let Some(&(view, _)) = run.first() else { continue };
        let mut table = Table::of(transaction, view).map_err(failed)?;
        for (_, change) in run {
            let (position, written) = match change {
                Change::Insert(row) => {
                    let span = spans.entry(row.position.0 / SPAN).or_insert((row.began_at, row.began_at));
                    *span = (span.0.min(row.began_at), span.1.max(row.began_at));
                    (row.position, table.insert(row, transaction, names))
                }
                Change::Update(row) => (row.position, table.update(row)),
                Change::Remove { position } => (*position, table.remove(*position)),
            };
            match written {
                Ok(1) => {}
                Ok(_) => return Err(ViewError::Misfit { view, position }),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    return Err(ViewError::Misfit { view, position });
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
    let mut span = transaction
        .prepare_cached(
            "INSERT INTO spans (span, earliest, latest) VALUES (?1, ?2, ?3) \
             ON CONFLICT (span) DO UPDATE SET earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)",
        )
        .map_err(failed)?;
    for (number, (earliest, latest)) in spans {
        span.execute(params![number.cast_signed(), earliest.micros(), latest.micros()]).map_err(failed)?;
    }
    Ok(())
}

/// Names the first that were passed over.
fn name_passed_over(transaction: &Transaction<'_>, before: Made, changes: &Changes) -> rusqlite::Result<()> {
    let named = usize::try_from(before.passed_over).unwrap_or(usize::MAX);
    for one in changes.passed_over.first().iter().take(PASSED_OVER_MAX.saturating_sub(named)) {
        let sql = "INSERT INTO passed_over (position, view, message) VALUES (?1, ?2, ?3)";
        transaction.execute(sql, params![place(one.position), one.view.as_str(), one.message])?;
    }
    Ok(())
}

/// The statements that change one view's table.
struct Table<'a> {
    view: ViewName,
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    remove: CachedStatement<'a>,
    /// The column of which rows have several values, where there is one.
    apart: Option<Apart<'a>>,
}

impl<'a> Table<'a> {
    fn of(connection: &'a Connection, view: ViewName) -> rusqlite::Result<Self> {
        let own = || view.columns().iter().filter(|column| form(**column) != Form::Apart);
        let columns: String = own().map(|column| format!("\"{column}\", ")).collect();
        let values = vec!["?"; own().count() + 4].join(", ");
        let status = if view.columns().contains(&Column::Status) { ", status = ?4" } else { "" };
        Ok(Self {
            view,
            insert: connection
                .prepare_cached(&format!("INSERT INTO {view} (position, key, began_at, {columns}document) VALUES ({values})"))?,
            update: connection.prepare_cached(&format!("UPDATE {view} SET document = ?3{status} WHERE position = ?1 AND key = ?2"))?,
            remove: connection.prepare_cached(&format!("DELETE FROM {view} WHERE position = ?1"))?,
            apart: Apart::of(connection, view)?,
        })
    }

    fn insert(&mut self, row: &NewRow, connection: &Connection, names: &mut BTreeMap<String, i64>) -> rusqlite::Result<usize> {
        self.insert.raw_bind_parameter(1, place(row.position))?;
        self.insert.raw_bind_parameter(2, Kept(&row.key))?;
        self.insert.raw_bind_parameter(3, row.began_at.micros())?;
        let mut next = 4;
        for (column, value) in self.view.columns().iter().zip(&row.columns) {
            match (value, form(*column)) {
                (_, Form::Apart) => continue,
                (Some(Term::Text(name)), Form::Number) => self.insert.raw_bind_parameter(next, number(connection, names, name)?)?,
                (Some(value), Form::Number | Form::AsItIs) => self.insert.raw_bind_parameter(next, Kept(value))?,
                (None, Form::Number | Form::AsItIs) => self.insert.raw_bind_parameter(next, rusqlite::types::Null)?,
            }
            next += 1;
        }
        if let Some(apart) = &mut self.apart {
            apart.insert((self.view, row), |name| number(connection, names, name))?;
        }
        self.insert.raw_bind_parameter(next, packed(row))?;
        self.insert.raw_execute()
    }

    fn update(&mut self, row: &NewRow) -> rusqlite::Result<usize> {
        self.update.raw_bind_parameter(1, place(row.position))?;
        self.update.raw_bind_parameter(2, Kept(&row.key))?;
        self.update.raw_bind_parameter(3, packed(row))?;
        for (column, value) in self.view.columns().iter().zip(&row.columns) {
            if *column == Column::Status {
                self.update.raw_bind_parameter(4, value.as_ref().map(Kept))?;
            }
        }
        if let Some(apart) = &mut self.apart {
            apart.update(self.view, row)?;
        }
        self.update.raw_execute()
    }

    fn remove(&mut self, position: Position) -> rusqlite::Result<usize> {
        if let Some(apart) = &mut self.apart {
            apart.remove(position)?;
        }
        self.remove.execute([place(position)])
    }
}

/// A document as its column has it: [`SUM_BYTES`] that say whether the row is the one that was written, and the packed document.
fn packed(row: &NewRow) -> Vec<u8> {
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

/// How many bytes a row's sum has.
const SUM_BYTES: usize = 4;

fn row_sum(position: i64, key: &[u8], document: &[u8]) -> [u8; SUM_BYTES] {
    let [a, b, c, d, ..] = Sum::default().integer(position).bytes(key).bytes(document).done().to_le_bytes();
    [a, b, c, d]
}

/// How a column's texts are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// By their number in `names`.
    Number,
    /// As they are, ids as their 16 bytes.
    AsItIs,
    /// In a table of their own, by their numbers in `names`: a row has several.
    Apart,
}

fn form(column: Column) -> Form {
    match column {
        Column::Trigger | Column::Source | Column::Rule | Column::Action | Column::Sensor | Column::Name => Form::Number,
        Column::Correlation | Column::Event | Column::Execution | Column::Parent | Column::RerunOf | Column::Outcome | Column::Status => {
            Form::AsItIs
        }
        Column::Assignee | Column::Label => Form::Apart,
    }
}

/// Gives the number of a name; a new one gets one.
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

/// A term as a column has it.
struct Kept<'a>(&'a Term);

impl ToSql for Kept<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self.0 {
            Term::Id(id) => id.as_bytes().to_sql(),
            Term::Text(text) => text.to_sql(),
            Term::Texts(texts) => Ok(texts.join(", ").into()),
        }
    }
}

/// A position as SQLite has it. A log never reaches the ones that it cannot have; somebody may ask for them.
fn place(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given where the error is owned")]
fn failed(error: rusqlite::Error) -> ViewError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ViewError::NotWhole(error.to_string()),
        Some(_) => ViewError::Store(error.to_string()),
        // What was read is not what was written.
        None if matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)) => {
            ViewError::NotWhole(error.to_string())
        }
        None => ViewError::Store(error.to_string()),
    }
}
