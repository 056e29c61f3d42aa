//! The ports: who keeps views, and who gives them out.
//!
//! What is kept, and when it changes, is decided by the [`projector`](crate::projector).

use bytes::Bytes;
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use thiserror::Error;

use crate::removal::{Elapsed, Ended, Removed};
use crate::view::{Column, Term, View, ViewName};

/// The most rows that a list gives at once.
pub const LIST_ROWS_MAX: usize = 1_000;

/// Where views are kept, as their one follower holds it. What it holds may be lost: it is rebuilt from the log.
pub trait ViewStore: Send {
    /// Gives the position of the newest record that the rows know of; 0 where nothing was folded.
    fn position(&self) -> Position;
    /// Gives how many records views passed over.
    fn passed_over(&self) -> u64;
    /// Gives how much time had passed with the newest record that the rows know of.
    fn elapsed(&self) -> Elapsed;
    /// Gives the rows that stand under these keys, in any order; what is not there is left out.
    fn load(&self, view: ViewName, keys: &[Term]) -> Result<Vec<Row>, ViewError>;
    /// Makes the changes and moves to `changes.through`, whole or not at all.
    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError>;
    /// Forgets all rows and goes back to position 0.
    fn clear(&mut self) -> Result<(), ViewError>;
}

/// Where views are read. Any number of threads may ask at once; each answer is of one moment.
pub trait ViewReader: Send + Sync {
    /// Gives the position of the newest record that the rows know of.
    fn position(&self) -> Result<Position, ViewError>;
    /// Gives the row that stands under a key.
    fn get(&self, view: ViewName, key: &str) -> Result<Option<Row>, ViewError>;
    /// Gives the rows that a query asks for, at most [`LIST_ROWS_MAX`].
    fn list(&self, query: &ListQuery) -> Result<Vec<Row>, ViewError>;
    /// Gives the records that views passed over.
    fn passed_over(&self) -> Result<AllPassedOver, ViewError>;
    /// Gives how much the retention took out of these views since they were begun.
    fn removed(&self) -> Result<Removed, ViewError>;
    /// Shows every row of every view, views in the order of [`ViewName::ALL`] and rows in the order of their positions, and gives
    /// the position they stand at: two stores that hold the same show the same, byte for byte.
    fn dump(&self, show: &mut dyn FnMut(ViewName, &Row)) -> Result<Position, ViewError>;
}

/// A row of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is told apart by.
    pub key: String,
    /// The record that began it: its place in lists.
    pub position: Position,
    /// The view's struct as JSON; absent fields are left out.
    pub document: Bytes,
}

impl Row {
    /// Reads the document.
    pub fn read<V: View>(&self) -> Result<V, ViewError> {
        serde_json::from_slice(&self.document).map_err(|why| ViewError::Damaged {
            view: V::NAME,
            key: self.key.clone(),
            why: why.to_string(),
        })
    }
}

/// What a batch of records makes of the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The position after them.
    pub through: Position,
    /// The changes, to be made in this order.
    pub rows: Vec<(ViewName, Change)>,
    /// What could not be folded: it is kept beside the rows, so that it is told for as long as they stand.
    pub passed_over: AllPassedOver,
    /// How much time has passed with the last of them.
    pub elapsed: Elapsed,
    /// The outermost executions that ended with them.
    pub ended: Vec<Ended>,
}

/// A record that a view passed over because of a bug of ours: its row stands as if the record were not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The view.
    pub view: ViewName,
    /// The record.
    pub position: Position,
    /// What went wrong.
    pub message: String,
}

/// The most characters of what is said of a bug.
pub const MESSAGE_CHARS_MAX: usize = 500;

/// The most records that were passed over which are named; further ones are counted.
pub const PASSED_OVER_MAX: usize = 100;

/// The records that views passed over: the first of them, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllPassedOver {
    first: Vec<PassedOver>,
    count: u64,
}

impl AllPassedOver {
    /// Puts together what a store kept: some that are named, among `count`.
    pub fn of(mut first: Vec<PassedOver>, count: u64) -> Self {
        first.truncate(PASSED_OVER_MAX);
        Self { first, count }
    }

    /// Adds one.
    pub fn add(&mut self, one: PassedOver) {
        if self.first.len() < PASSED_OVER_MAX {
            self.first.push(one);
        }
        self.count += 1;
    }

    /// Adds what comes after these.
    pub fn extend(&mut self, more: &Self) {
        let room = PASSED_OVER_MAX - self.first.len();
        self.first.extend(more.first.iter().take(room).cloned());
        self.count += more.count;
    }

    /// Gives the first of them, as they came: at most [`PASSED_OVER_MAX`].
    pub fn first(&self) -> &[PassedOver] {
        &self.first
    }

    /// Gives how many there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is a new one; its key was free.
    Insert(NewRow),
    /// It has another document and, where it has that column, another status; all else is as it was.
    Update(NewRow),
    /// It is gone.
    Remove {
        /// The record that had begun it.
        position: Position,
    },
}

/// A row as it is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// What it is told apart by.
    pub key: Term,
    /// The record that began it.
    pub position: Position,
    /// When that was.
    pub began_at: Timestamp,
    /// The values to filter by, in the order of [`ViewName::columns`].
    pub columns: Vec<Option<Term>>,
    /// The view's struct as JSON.
    pub document: Bytes,
}

/// Which rows of a view are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The view.
    pub view: ViewName,
    /// What the rows must have: all of it.
    pub filters: Vec<Filter>,
    /// The rows began then or later.
    pub since: Option<Timestamp>,
    /// The rows began before then.
    pub until: Option<Timestamp>,
    /// Which come first.
    pub order: Order,
    /// The rows lie beyond this position, in the order asked for: the position of the last row that was seen.
    pub after: Option<Position>,
    /// The most rows; over [`LIST_ROWS_MAX`] counts as that.
    pub limit: usize,
}

impl ListQuery {
    /// Asks for the newest 50 rows of a view.
    pub fn newest(view: ViewName) -> Self {
        Self { view, filters: Vec::new(), since: None, until: None, order: Order::NewestFirst, after: None, limit: 50 }
    }

    /// Asks only for rows with this value.
    #[must_use]
    pub fn with(mut self, column: Column, value: impl Into<String>) -> Self {
        self.filters.push(Filter::is(column, value));
        self
    }

    /// Says which of the query's columns the view does not have.
    pub fn check(&self) -> Result<(), ViewError> {
        match self.filters.iter().find(|filter| !self.view.columns().contains(&filter.column)) {
            Some(Filter { column, .. }) => Err(ViewError::NoColumn { view: self.view, column: *column }),
            None => Ok(()),
        }
    }
}

/// What a row must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The column.
    pub column: Column,
    /// The values, of which it has one. None fits where there are none.
    pub any_of: Vec<String>,
}

impl Filter {
    /// Demands a value.
    pub fn is(column: Column, value: impl Into<String>) -> Self {
        Self { column, any_of: vec![value.into()] }
    }

    /// Demands one of these values.
    pub fn any_of(column: Column, values: Vec<String>) -> Self {
        Self { column, any_of: values }
    }
}

/// Which rows come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Those that began last.
    NewestFirst,
    /// Those that began first.
    OldestFirst,
}

/// Why views cannot be kept or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The store has failed.
    #[error("the views cannot be used: {0}")]
    Store(String),
    /// A document is not what was written.
    #[error("the {view} row `{key}` is damaged: {why}")]
    Damaged {
        /// The view.
        view: ViewName,
        /// The row's key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// What is kept is not whole.
    #[error("the views are damaged: {0}")]
    NotWhole(String),
    /// A change does not fit what is kept.
    #[error("the change of the {view} row of position {position} does not match the stored row")]
    Misfit {
        /// The view.
        view: ViewName,
        /// The row's position.
        position: Position,
    },
    /// The records do not follow what was folded.
    #[error("the views are at position {at}, but the records begin at {next}: there must be no gap")]
    Gap {
        /// Where the views are.
        at: Position,
        /// Where the records begin.
        next: Position,
    },
    /// A view cannot be filtered so.
    #[error("{view} cannot be filtered by {column}")]
    NoColumn {
        /// The view.
        view: ViewName,
        /// The column.
        column: Column,
    },
}

impl Explain for ViewError {
    fn slug(&self) -> &'static str {
        match self {
            Self::Store(_) => "views-unavailable",
            Self::Damaged { .. } | Self::NotWhole(_) | Self::Misfit { .. } | Self::Gap { .. } => "views-damaged",
            Self::NoColumn { .. } => "filter-unknown",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Store(_) | Self::Damaged { .. } | Self::NotWhole(_) | Self::Misfit { .. } | Self::Gap { .. } => Fault::Unavailable,
            Self::NoColumn { .. } => Fault::Malformed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(_) => Some("see the node's log and `ensue doctor`".into()),
            Self::Damaged { .. } | Self::NotWhole(_) | Self::Misfit { .. } | Self::Gap { .. } => {
                Some("rebuild the views from the log with `ensue views rebuild`; the log is intact".into())
            }
            Self::NoColumn { view, .. } => {
                let known: Vec<&str> = view.columns().iter().map(|column| column.as_str()).collect();
                Some(if known.is_empty() {
                    format!("filters are not available for {view}")
                } else {
                    format!("use the filters of {view}: {}", known.join(", "))
                })
            }
        }
    }
}
