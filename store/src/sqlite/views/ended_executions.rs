//! Ended executions, and their removal: a table in the order in which executions ended, next to those of the
//! views.

use std::collections::BTreeMap;

use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::record::Position;
use ensue_views::view_retention::{EndedExecution, Removal, RemovalCounts, RetainedViews};
use ensue_views::{ListQuery, Row, ViewError, ViewName};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, params};

use super::{SqliteViews, Sum, TableWriter, ViewsProgress, place, read, view_error};

/// The table.
pub(super) const ENDED: &str = "ended";

/// Adds ended executions.
pub(super) fn insert(connection: &Connection, ended: &[EndedExecution]) -> rusqlite::Result<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let sql = format!("INSERT OR REPLACE INTO {ENDED} (elapsed, at, execution, sum) VALUES (?1, ?2, ?3, ?4)");
    let mut statement = connection.prepare_cached(&sql)?;
    for one in ended {
        statement.execute(params![one.elapsed, place(one.at), one.execution.0.as_bytes(), sum(one)])?;
    }
    Ok(())
}

fn sum(one: &EndedExecution) -> i64 {
    Sum::default().integer(one.elapsed).integer(place(one.at)).bytes(one.execution.0.as_bytes()).finish()
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<EndedExecution> {
    let execution = ExecutionId(Id::from_bytes(row.get(2)?));
    let one = EndedExecution { elapsed: row.get(0)?, at: Position(row.get::<_, i64>(1)?.cast_unsigned()), execution };
    if row.get::<_, i64>(3)? != sum(&one) {
        return Err(FromSqlError::Other("the row is not the one that was written".into()).into());
    }
    Ok(one)
}

impl RetainedViews for SqliteViews {
    fn list(&self, query: &ListQuery) -> Result<Vec<Row>, ViewError> {
        query.check()?;
        read::find(&self.connection, query).map(|found| found.rows).map_err(view_error)
    }

    fn ended_executions(&self, until: i64, after: Option<EndedExecution>, limit: usize) -> Result<Vec<EndedExecution>, ViewError> {
        let after = after.map_or((i64::MIN, 0), |after| (after.elapsed, place(after.at)));
        let sql = format!(
            "SELECT elapsed, at, execution, sum FROM {ENDED} WHERE (elapsed, at) > (?1, ?2) AND elapsed <= ?3 ORDER BY elapsed, at LIMIT ?4"
        );
        let found = || -> rusqlite::Result<Vec<EndedExecution>> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement.query_map([after.0, after.1, until, limit], row)?.collect()
        };
        found().map_err(view_error)
    }

    fn take_out(&mut self, removal: &Removal) -> Result<(), ViewError> {
        let made = ViewsProgress { removed: self.made.removed.with(removal), ..self.made };
        let mut rows: BTreeMap<ViewName, Vec<Position>> = BTreeMap::new();
        for (view, position) in &removal.rows {
            rows.entry(*view).or_default().push(*position);
        }
        self.write(made, |transaction, _, _| {
            for (view, positions) in rows {
                let mut table = TableWriter::of(transaction, view).map_err(view_error)?;
                for position in positions {
                    if table.remove(position).map_err(view_error)? != 1 {
                        return Err(ViewError::Misfit { view, position });
                    }
                }
                table.finish(transaction).map_err(view_error)?;
            }
            let sql = format!("DELETE FROM {ENDED} WHERE elapsed = ?1 AND at = ?2");
            let mut statement = transaction.prepare_cached(&sql).map_err(view_error)?;
            for one in &removal.ended {
                statement.execute([one.elapsed, place(one.at)]).map_err(view_error)?;
            }
            Ok(())
        })
    }

    fn removal_counts(&self) -> RemovalCounts {
        self.made.removed
    }
}
