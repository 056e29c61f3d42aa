//! What a batch of records changed, for callers that show it: ids, and where each thing belongs.
//!
//! The changes are folded once for all callers. Each caller learns only of those that it reaches.

use std::collections::BTreeSet;

use ensue_engine::names::RuleRef;
use ensue_engine::record::Position;

use crate::reach::{RowReach, RowScope};
use crate::store::{Change, Changes, NewRow};
use crate::view::{Column, Term, ViewName};

/// A kind of things whose changes callers learn of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangedKind {
    /// Events, by their ids.
    Events,
    /// Enforcements, by their ids.
    Enforcements,
    /// Executions, by their ids.
    Executions,
    /// Inquiries, by their ids.
    Inquiries,
    /// Dead letters, by their ids.
    DeadLetters,
    /// Parked reactions, by their positions.
    ParkedReactions,
    /// Schedules, by their ids.
    Timers,
    /// The activity of rules, by their refs.
    Rules,
    /// Locks, as a whole.
    Locks,
    /// Queues, as a whole.
    Queues,
    /// Keys, as a whole.
    Keys,
    /// Vars, as a whole.
    Vars,
    /// Tokens, as a whole.
    Tokens,
    /// Grants, as a whole.
    Grants,
    /// Identities, as a whole.
    Identities,
}

/// The changes between two positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRows {
    /// The position of the views before.
    pub after: Position,
    /// The position of the views after.
    pub through: Position,
    /// The things, each once.
    pub rows: Vec<ChangedRow>,
}

/// A thing that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRow {
    /// Its kind.
    pub kind: ChangedKind,
    /// Its key; `None` if only its kind is known.
    pub key: Option<Term>,
    /// Where it belongs.
    pub scope: Option<RowScope>,
    /// Whom it asks, if it is an inquiry.
    pub asked: Vec<String>,
}

impl ChangedRows {
    /// Picks what callers learn of from the changes of all views. What leaves the views is left out, except for kinds that
    /// are reported as a whole.
    pub fn of(after: Position, changes: Changes) -> Self {
        let (mut rows, mut wholes) = (Vec::new(), BTreeSet::new());
        for (view, change) in changes.rows {
            wholes.extend(whole(view, &change));
            if let (Some(kind), Change::Insert(row) | Change::Update(row)) = (by_id(view), change) {
                rows.extend(ChangedRow::of(kind, view, row));
            }
        }
        rows.extend(wholes.into_iter().map(|kind| ChangedRow { kind, key: None, scope: None, asked: Vec::new() }));
        Self { after, through: changes.through, rows }
    }
}

/// Returns the kind of the things in a view that are reported by their keys.
fn by_id(view: ViewName) -> Option<ChangedKind> {
    match view {
        ViewName::Events => Some(ChangedKind::Events),
        ViewName::Enforcements => Some(ChangedKind::Enforcements),
        ViewName::Executions => Some(ChangedKind::Executions),
        ViewName::Inquiries => Some(ChangedKind::Inquiries),
        ViewName::DeadLetters => Some(ChangedKind::DeadLetters),
        ViewName::ParkedReactions => Some(ChangedKind::ParkedReactions),
        ViewName::Schedules => Some(ChangedKind::Timers),
        ViewName::Rules => Some(ChangedKind::Rules),
        ViewName::Artifacts
        | ViewName::Locks
        | ViewName::Packs
        | ViewName::Keys
        | ViewName::Vars
        | ViewName::Tokens
        | ViewName::Audit
        | ViewName::Totals => None,
    }
}

/// Returns the kind that a change concerns as a whole.
fn whole(view: ViewName, change: &Change) -> Option<ChangedKind> {
    match view {
        ViewName::Locks => Some(ChangedKind::Locks),
        // An execution enters and leaves its queue as its row changes.
        ViewName::Executions => Some(ChangedKind::Queues),
        ViewName::Keys => Some(ChangedKind::Keys),
        ViewName::Vars => Some(ChangedKind::Vars),
        ViewName::Tokens => Some(ChangedKind::Tokens),
        // Identities and grants have no view of their own, but the audit has a row for each change of one.
        ViewName::Audit => match change {
            Change::Insert(row) => match text(view, row, Column::What)?.split('.').next()? {
                "grant" => Some(ChangedKind::Grants),
                "identity" => Some(ChangedKind::Identities),
                _ => None,
            },
            Change::Update(_) | Change::Remove { .. } => None,
        },
        _ => None,
    }
}

/// Returns the text in a column of a row.
fn text(view: ViewName, row: &NewRow, column: Column) -> Option<&str> {
    let at = view.columns().iter().position(|known| *known == column)?;
    match row.columns.get(at)? {
        Some(Term::Text(text)) => Some(text),
        _ => None,
    }
}

impl ChangedRow {
    fn of(kind: ChangedKind, view: ViewName, row: NewRow) -> Option<Self> {
        if kind == ChangedKind::Rules {
            // A rule is known by its ref, and belongs to its pack.
            let rule: RuleRef = text(view, &row, Column::Rule)?.parse().ok()?;
            let scope = Some(RowScope::of_pack(rule.pack().as_str()));
            return Some(Self { kind, key: Some(Term::Text(rule.to_string())), scope, asked: Vec::new() });
        }
        let assignees = view.columns().iter().position(|column| *column == Column::Assignee);
        let asked = match assignees.and_then(|at| row.columns.into_iter().nth(at)) {
            Some(Some(Term::Texts(asked))) => asked,
            _ => Vec::new(),
        };
        Some(Self { kind, key: Some(row.key), scope: row.scope, asked })
    }

    /// Returns true if a caller with this reach sees the thing in a list.
    pub fn is_reached(&self, reach: &RowReach) -> bool {
        match reach {
            RowReach::Everything => true,
            RowReach::Within(within) => within.covers(self.scope.as_ref()) || self.asked.iter().any(|asked| within.asked.contains(asked)),
        }
    }
}
