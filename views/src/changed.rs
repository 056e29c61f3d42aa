//! Which rows a batch of records changed, for callers that show them: ids, and where each row belongs.
//!
//! The rows are folded once for all callers. Each caller learns only of those that it reaches.

use ensue_engine::record::Position;

use crate::reach::{RowReach, RowScope};
use crate::store::{Change, Changes, NewRow};
use crate::view::{Column, Term, ViewName};

/// The views whose changes callers learn of.
pub const TOLD: [ViewName; 7] = [
    ViewName::Events,
    ViewName::Enforcements,
    ViewName::Executions,
    ViewName::Inquiries,
    ViewName::DeadLetters,
    ViewName::ParkedReactions,
    ViewName::Schedules,
];

/// The rows that changed between two positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRows {
    /// The position of the views before.
    pub after: Position,
    /// The position of the views after.
    pub through: Position,
    /// The rows, each once.
    pub rows: Vec<ChangedRow>,
}

/// A row that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRow {
    /// Its view.
    pub view: ViewName,
    /// Its key.
    pub key: Term,
    /// Where it belongs.
    pub scope: Option<RowScope>,
    /// Whom it asks, if it is an inquiry.
    pub asked: Vec<String>,
}

impl ChangedRows {
    /// Picks the rows that callers learn of from the changes of all views. Removed rows are left out.
    pub fn of(after: Position, changes: Changes) -> Self {
        let told = |(view, change): (ViewName, Change)| match change {
            Change::Insert(row) | Change::Update(row) if TOLD.contains(&view) => Some(ChangedRow::of(view, row)),
            Change::Insert(_) | Change::Update(_) | Change::Remove { .. } => None,
        };
        Self { after, through: changes.through, rows: changes.rows.into_iter().filter_map(told).collect() }
    }
}

impl ChangedRow {
    fn of(view: ViewName, row: NewRow) -> Self {
        let assignees = view.columns().iter().position(|column| *column == Column::Assignee);
        let asked = match assignees.and_then(|at| row.columns.into_iter().nth(at)) {
            Some(Some(Term::Texts(asked))) => asked,
            _ => Vec::new(),
        };
        Self { view, key: row.key, scope: row.scope, asked }
    }

    /// Returns true if a caller with this reach sees the row in a list.
    pub fn is_reached(&self, reach: &RowReach) -> bool {
        match reach {
            RowReach::Everything => true,
            RowReach::Within(within) => within.covers(self.scope.as_ref()) || self.asked.iter().any(|asked| within.asked.contains(asked)),
        }
    }
}
