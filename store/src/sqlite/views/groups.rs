//! How many executions there are in each group: of a scope, a root action, an action, a rule and a status.
//!
//! Executions are counted by these columns without reading them. `ask.rs` adds up the groups.

use std::collections::BTreeMap;

use ensue_engine::record::Position;
use ensue_views::ViewName;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::place;

/// The table of groups.
pub(super) const GROUPS: &str = "execution_groups";

/// The numbers of the scope, the root action, the action and the rule, 0 for none; and the status.
type Group = ([i64; 4], String);

/// The statements for the groups of executions, and the changes of their counts.
pub(super) struct Groups<'a> {
    of_row: CachedStatement<'a>,
    changes: BTreeMap<Group, i64>,
}

impl<'a> Groups<'a> {
    /// Returns `None` for other views.
    pub(super) fn of(connection: &'a Connection, view: ViewName) -> rusqlite::Result<Option<Self>> {
        if view != ViewName::Executions {
            return Ok(None);
        }
        let sql = "SELECT ifnull(scope, 0), ifnull(root_action, 0), action, ifnull(rule, 0), status FROM executions WHERE position = ?1";
        Ok(Some(Self { of_row: connection.prepare_cached(sql)?, changes: BTreeMap::new() }))
    }

    /// Notes that a row, as it is stored now, was added (1) or is about to be removed (-1).
    pub(super) fn note(&mut self, position: Position, change: i64) -> rusqlite::Result<()> {
        let group = self.of_row.query_row([place(position)], |row| Ok(([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?], row.get(4)?)));
        if let Some(group) = group.optional()? {
            *self.changes.entry(group).or_default() += change;
        }
        Ok(())
    }

    /// Writes the changes of the counts. A group without executions has no row.
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut add = connection.prepare_cached(&format!(
            "INSERT INTO {GROUPS} (scope, root_action, action, rule, status, rows) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (scope, root_action, action, rule, status) DO UPDATE SET rows = rows + excluded.rows RETURNING rows"
        ))?;
        let mut remove = connection.prepare_cached(&format!(
            "DELETE FROM {GROUPS} WHERE scope = ?1 AND root_action = ?2 AND action = ?3 AND rule = ?4 AND status = ?5"
        ))?;
        for (([scope, root_action, action, rule], status), change) in self.changes.into_iter().filter(|(_, change)| *change != 0) {
            let rows: i64 = add.query_row((scope, root_action, action, rule, &status, change), |row| row.get(0))?;
            if rows == 0 {
                remove.execute((scope, root_action, action, rule, &status))?;
            }
        }
        Ok(())
    }
}
