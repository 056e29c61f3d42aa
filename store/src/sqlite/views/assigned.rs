//! Who is asked by each inquiry: a table beside that of the inquiries, because of one there are several.

use ensue_engine::record::Position;
use ensue_views::store::NewRow;
use ensue_views::{Column, Term, ViewName};
use rusqlite::{CachedStatement, Connection};

use super::{Kept, place};

/// The table.
pub(super) const ASSIGNED: &str = "inquiries_by_assignee";

/// The statements that change it.
pub(super) struct Assigned<'a> {
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    remove: CachedStatement<'a>,
}

impl<'a> Assigned<'a> {
    pub(super) fn of(connection: &'a Connection) -> rusqlite::Result<Self> {
        let prepared = |sql: String| connection.prepare_cached(&sql);
        Ok(Self {
            insert: prepared(format!("INSERT OR IGNORE INTO {ASSIGNED} (assignee, state, position) VALUES (?1, ?2, ?3)"))?,
            update: prepared(format!("UPDATE {ASSIGNED} SET state = ?2 WHERE position = ?1 AND state <> ?2"))?,
            remove: prepared(format!("DELETE FROM {ASSIGNED} WHERE position = ?1"))?,
        })
    }

    /// Adds those whom a new row asks; `number` gives the number of a name.
    pub(super) fn insert(
        &mut self,
        (view, row): (ViewName, &NewRow),
        mut number: impl FnMut(&str) -> rusqlite::Result<i64>,
    ) -> rusqlite::Result<()> {
        let state = status(view, row);
        for name in
            view.columns().iter().zip(&row.columns).filter(|(column, _)| **column == Column::Assignee).flat_map(|(_, value)| names(value))
        {
            self.insert.execute((number(name)?, state.map(Kept), place(row.position)))?;
        }
        Ok(())
    }

    /// Notes where a row stands now.
    pub(super) fn update(&mut self, view: ViewName, row: &NewRow) -> rusqlite::Result<()> {
        self.update.execute((place(row.position), status(view, row).map(Kept))).map(drop)
    }

    pub(super) fn remove(&mut self, position: Position) -> rusqlite::Result<()> {
        self.remove.execute([place(position)]).map(drop)
    }
}

fn names(value: &Option<Term>) -> &[String] {
    match value {
        Some(Term::Texts(names)) => names,
        Some(Term::Text(name)) => std::slice::from_ref(name),
        Some(Term::Id(_)) | None => &[],
    }
}

fn status(view: ViewName, row: &NewRow) -> Option<&Term> {
    let at = view.columns().iter().position(|column| *column == Column::Status)?;
    row.columns.get(at)?.as_ref()
}
