//! The scopes of rows: where rows of a view belong, and which of these places a caller reaches.
//!
//! The table `scopes` has a row for each place with rows. `ask.rs` finds the rows of the places that a caller reaches.

use std::collections::BTreeMap;

use ensue_engine::record::Position;
use ensue_views::reach::ActionPatterns;
use ensue_views::store::NewRow;
use ensue_views::{ListQuery, RowReach, ViewName};
use rusqlite::types::Null;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::place;

/// The maximum number of scopes that a view tells apart. Rows of further ones have the scope of their pack, so that rights
/// by labels do not reach them.
pub(super) const SCOPES_MAX: i64 = 10_000;

/// The scopes whose rows a caller may see.
#[derive(Debug)]
pub(super) enum AdmittedScopes {
    /// All of them.
    All,
    /// Only some.
    Only(Scopes),
}

/// Scopes that a caller reaches, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    /// The scopes, grouped by what the action of the outermost execution must be.
    pub(super) groups: Vec<(ActionPatterns, Vec<i64>)>,
    /// How many rows they have.
    pub(super) rows: u64,
    /// The names by which inquiries ask the caller.
    pub(super) asked: Vec<String>,
}

impl Scopes {
    /// Returns the numbers of all of them.
    pub(super) fn numbers(&self) -> Vec<i64> {
        let mut numbers: Vec<i64> = self.groups.iter().flat_map(|(_, numbers)| numbers).copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Returns true if the rows of some scopes are reached only with certain actions.
    pub(super) fn demand_actions(&self) -> bool {
        self.groups.iter().any(|(actions, _)| !actions.is_empty())
    }
}

/// Returns the scopes that a query reaches.
pub(super) fn admitted_scopes(connection: &Connection, query: &ListQuery) -> rusqlite::Result<AdmittedScopes> {
    let RowReach::Within(within) = &query.reach else { return Ok(AdmittedScopes::All) };
    let asked = if query.view == ViewName::Inquiries { within.asked.clone() } else { Vec::new() };
    let mut scopes = Scopes { asked, ..Scopes::default() };
    let sql = "SELECT scopes.number, rows, name FROM scopes JOIN names USING (number) WHERE view = ?1 AND rows > 0 ORDER BY scopes.number";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([query.view.as_str()])?;
    while let Some(row) = rows.next()? {
        let (number, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        let Some(actions) = within.actions_in(row.get_ref(2)?.as_str()?) else { continue };
        scopes.rows += count.cast_unsigned();
        match scopes.groups.iter_mut().find(|(of, _)| *of == actions) {
            Some((_, numbers)) => numbers.push(number),
            None => scopes.groups.push((actions, vec![number])),
        }
    }
    Ok(AdmittedScopes::Only(scopes))
}

/// The statements for the scopes of one view, and the changes of its counts.
pub(super) struct ScopeCounts<'a> {
    view: ViewName,
    of_row: CachedStatement<'a>,
    changes: BTreeMap<i64, i64>,
}

impl<'a> ScopeCounts<'a> {
    /// Returns `None` if rows of the view belong nowhere.
    pub(super) fn of(connection: &'a Connection, view: ViewName) -> rusqlite::Result<Option<Self>> {
        if !view.is_scoped() {
            return Ok(None);
        }
        let of_row = connection.prepare_cached(&format!("SELECT scope FROM {view} WHERE position = ?1"))?;
        Ok(Some(Self { view, of_row, changes: BTreeMap::new() }))
    }

    /// Returns the numbers of a row's scope and of its root action; `number` returns the number of a name.
    pub(super) fn insert(
        &mut self,
        row: &NewRow,
        connection: &Connection,
        mut number: impl FnMut(&str) -> rusqlite::Result<i64>,
    ) -> rusqlite::Result<[Option<i64>; 2]> {
        let Some(scope) = &row.scope else { return Ok([None, None]) };
        let mut of_scope = number(&scope.place)?;
        if let Some((pack, _)) = scope.place.split_once('\n')
            && !self.changes.contains_key(&of_scope)
            && is_full(connection, self.view, of_scope)?
        {
            of_scope = number(pack)?;
        }
        *self.changes.entry(of_scope).or_default() += 1;
        Ok([Some(of_scope), scope.root_action.as_deref().map(number).transpose()?])
    }

    /// Notes that a row is about to be removed.
    pub(super) fn remove(&mut self, position: Position) -> rusqlite::Result<()> {
        let scope: Option<Option<i64>> = self.of_row.query_row([place(position)], |row| row.get(0)).optional()?;
        if let Some(scope) = scope.flatten() {
            *self.changes.entry(scope).or_default() -= 1;
        }
        Ok(())
    }

    /// Writes the changes of the counts.
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut add = connection.prepare_cached(
            "INSERT INTO scopes (view, number, rows) VALUES (?1, ?2, ?3) ON CONFLICT (view, number) DO UPDATE SET rows = rows + excluded.rows",
        )?;
        for (scope, change) in self.changes.into_iter().filter(|(_, change)| *change != 0) {
            add.execute((self.view.as_str(), scope, change))?;
        }
        Ok(())
    }
}

/// Returns true if a scope is new to a view that has no room for another one.
fn is_full(connection: &Connection, view: ViewName, scope: i64) -> rusqlite::Result<bool> {
    let mut known = connection.prepare_cached("SELECT 1 FROM scopes WHERE view = ?1 AND number = ?2")?;
    if known.exists((view.as_str(), scope))? {
        return Ok(false);
    }
    let mut count = connection.prepare_cached("SELECT count(*) FROM scopes WHERE view = ?1")?;
    Ok(count.query_row([view.as_str()], |row| row.get::<_, i64>(0))? >= SCOPES_MAX)
}

/// Binds the numbers of a row's scope from this parameter on.
pub(super) fn bind(statement: &mut CachedStatement<'_>, from: usize, numbers: [Option<i64>; 2]) -> rusqlite::Result<()> {
    for (at, number) in numbers.into_iter().enumerate() {
        match number {
            Some(number) => statement.raw_bind_parameter(from + at, number)?,
            None => statement.raw_bind_parameter(from + at, Null)?,
        }
    }
    Ok(())
}
