//! Columns with several values per row: the assignees of an inquiry and the labels of an execution. Each has
//! its own table, separate from that of its view.

use ensue_engine::record::Position;
use ensue_views::store::NewRow;
use ensue_views::{Column, Term, ViewName};
use rusqlite::{CachedStatement, Connection};

use super::{StoredTerm, place};

/// The columns with separate tables, each with its view and its table.
pub(super) const TABLES: [(Column, ViewName, &str); 2] =
    [(Column::Assignee, ViewName::Inquiries, "inquiries_by_assignee"), (Column::Label, ViewName::Executions, "executions_by_label")];

/// Returns the column of a view that has a separate table, with that table.
pub(super) fn of_view(view: ViewName) -> Option<(Column, &'static str)> {
    TABLES.iter().find(|(_, of, _)| *of == view).map(|(column, _, table)| (*column, *table))
}

/// The statements that change the table of a view's column.
pub(super) struct SideTable<'a> {
    column: Column,
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    remove: CachedStatement<'a>,
}

impl<'a> SideTable<'a> {
    /// Returns `None` if all columns of the view have a single value.
    pub(super) fn of(connection: &'a Connection, view: ViewName) -> rusqlite::Result<Option<Self>> {
        let Some((column, table)) = of_view(view) else { return Ok(None) };
        let prepared = |sql: String| connection.prepare_cached(&sql);
        Ok(Some(Self {
            column,
            insert: prepared(format!("INSERT OR IGNORE INTO {table} ({column}, state, position) VALUES (?1, ?2, ?3)"))?,
            update: prepared(format!("UPDATE {table} SET state = ?2 WHERE position = ?1 AND state <> ?2"))?,
            remove: prepared(format!("DELETE FROM {table} WHERE position = ?1"))?,
        }))
    }

    /// Adds the values of a new row; `number` returns the number of a name.
    pub(super) fn insert(
        &mut self,
        (view, row): (ViewName, &NewRow),
        mut number: impl FnMut(&str) -> rusqlite::Result<i64>,
    ) -> rusqlite::Result<()> {
        let state = value(view, row, Column::Status);
        for name in names(value(view, row, self.column)) {
            self.insert.execute((number(name)?, state.map(StoredTerm), place(row.position)))?;
        }
        Ok(())
    }

    /// Updates the state of a row, and its values if they can change.
    pub(super) fn update(
        &mut self,
        (view, row): (ViewName, &NewRow),
        number: impl FnMut(&str) -> rusqlite::Result<i64>,
    ) -> rusqlite::Result<()> {
        if self.column == Column::Assignee {
            // Others are asked as well, or on behalf of somebody.
            self.remove(row.position)?;
            return self.insert((view, row), number);
        }
        // Most executions have no label.
        if names(value(view, row, self.column)).is_empty() {
            return Ok(());
        }
        self.update.execute((place(row.position), value(view, row, Column::Status).map(StoredTerm))).map(drop)
    }

    pub(super) fn remove(&mut self, position: Position) -> rusqlite::Result<()> {
        self.remove.execute([place(position)]).map(drop)
    }
}

fn names(value: Option<&Term>) -> &[String] {
    match value {
        Some(Term::Texts(names)) => names,
        Some(Term::Text(name)) => std::slice::from_ref(name),
        Some(Term::Id(_)) | None => &[],
    }
}

fn value(view: ViewName, row: &NewRow, of: Column) -> Option<&Term> {
    let at = view.columns().iter().position(|column| *column == of)?;
    row.columns.get(at)?.as_ref()
}
