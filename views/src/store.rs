//! The ports for storing and reading views.
//!
//! The [`projector`](crate::projector) decides what is stored and when it changes.

use bytes::Bytes;
use ensue_engine::explain::Explain;
use ensue_engine::ids::Id;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use thiserror::Error;

use crate::reach::{RowReach, RowScope};
use crate::removal::{ElapsedTime, EndedExecution, RemovalCounts};
use crate::series::{Increment, SeriesCounts, SeriesQuery};
use crate::view::{Column, Term, View, ViewName};

/// The maximum number of rows that a list returns at once.
pub const LIST_ROWS_MAX: usize = 1_000;

/// A store of views, held by its one follower. Its contents may be lost; they can be rebuilt from the log.
pub trait ViewStore: Send {
    /// Returns the position of the newest folded record; 0 if nothing was folded.
    fn position(&self) -> Position;
    /// Returns the number of records that views skipped.
    fn passed_over(&self) -> u64;
    /// Returns the elapsed time at the newest folded record.
    fn elapsed(&self) -> ElapsedTime;
    /// Returns the rows with these keys, in any order. Missing ones are omitted.
    fn load(&self, view: ViewName, keys: &[Term]) -> Result<Vec<Row>, ViewError>;
    /// Makes the changes and moves to `changes.through`, all or nothing.
    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError>;
    /// Removes all rows and goes back to position 0.
    fn clear(&mut self) -> Result<(), ViewError>;
}

/// A reader of views. Any number of threads may query at once; each answer is a consistent snapshot.
pub trait ViewReader: Send + Sync {
    /// Returns the position of the newest folded record.
    fn position(&self) -> Result<Position, ViewError>;
    /// Returns the row with a key.
    fn get(&self, view: ViewName, key: &str) -> Result<Option<Row>, ViewError>;
    /// Returns the rows of a query, at most [`LIST_ROWS_MAX`], and how far it looked.
    fn find(&self, query: &ListQuery) -> Result<QueryResult, ViewError>;
    /// Returns the rows of a query, at most [`LIST_ROWS_MAX`]. If the query reaches only some rows, there may be more.
    fn list(&self, query: &ListQuery) -> Result<Vec<Row>, ViewError> {
        self.find(query).map(|found| found.rows)
    }
    /// Counts the rows of a query by the values of some columns.
    fn count(&self, query: &CountQuery) -> Result<Counts, ViewError>;
    /// Returns counts over time.
    fn series(&self, query: &SeriesQuery) -> Result<SeriesCounts, ViewError>;
    /// Returns the records that views skipped.
    fn passed_over(&self) -> Result<AllPassedOver, ViewError>;
    /// Returns how much retention removed from these views since they were created.
    fn removal_counts(&self) -> Result<RemovalCounts, ViewError>;
    /// Shows every row of every view, views in the order of [`ViewName::ALL`] and rows in the order of their
    /// positions, and returns the position of the views. Two stores with the same contents show the same,
    /// byte for byte.
    fn dump(&self, show: &mut dyn FnMut(ViewName, &Row)) -> Result<Position, ViewError>;
}

/// The maximum number of rows that a query looks at to find those that its caller may see.
pub const WALKED_ROWS_MAX: usize = 5_000;

/// The maximum number of rows that a query finds by a range of their keys.
pub const KEYS_BETWEEN_MAX: usize = 200;

/// The rows that a query found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryResult {
    /// The rows.
    pub rows: Vec<Row>,
    /// The last row that the query looked at, if it stopped after [`WALKED_ROWS_MAX`] rows: others may follow.
    pub stopped_at: Option<Position>,
}

/// A row of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its unique key.
    pub key: String,
    /// The record that began it, which determines its place in lists.
    pub position: Position,
    /// The view's struct as JSON, without absent fields.
    pub document: Bytes,
}

impl Row {
    /// Decodes the document.
    pub fn read<V: View>(&self) -> Result<V, ViewError> {
        serde_json::from_slice(&self.document).map_err(|why| ViewError::Damaged {
            view: V::NAME,
            key: self.key.clone(),
            why: why.to_string(),
        })
    }
}

/// The changes of rows that a batch of records causes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The position after them.
    pub through: Position,
    /// The changes, in the order in which they must be made.
    pub rows: Vec<(ViewName, Change)>,
    /// The records that could not be folded. They are stored with the rows, so that they are reported as long
    /// as the rows exist.
    pub passed_over: AllPassedOver,
    /// The elapsed time at the last of them.
    pub elapsed: ElapsedTime,
    /// The outermost executions that ended with them.
    pub ended: Vec<EndedExecution>,
    /// What the counts over time grow by, in the order of the log.
    pub increments: Vec<Increment>,
}

/// A record that a view skipped because of an internal error. Its row is as if the record did not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The view.
    pub view: ViewName,
    /// The record.
    pub position: Position,
    /// The error message.
    pub message: String,
}

/// The maximum length of an error message, in characters.
pub const MESSAGE_CHARS_MAX: usize = 500;

/// The maximum number of skipped records that are named; further ones are only counted.
pub const PASSED_OVER_MAX: usize = 100;

/// The records that views skipped: the first of them, and their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllPassedOver {
    first: Vec<PassedOver>,
    count: u64,
}

impl AllPassedOver {
    /// Creates it from stored values: some that are named, and the total `count`.
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

    /// Adds the ones that follow these.
    pub fn extend(&mut self, more: &Self) {
        let room = PASSED_OVER_MAX - self.first.len();
        self.first.extend(more.first.iter().take(room).cloned());
        self.count += more.count;
    }

    /// Returns the first of them, in order: at most [`PASSED_OVER_MAX`].
    pub fn first(&self) -> &[PassedOver] {
        &self.first
    }

    /// Returns their number.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// A change of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row, whose key was free.
    Insert(NewRow),
    /// A new document and, if the view has that column, a new status. Everything else is unchanged.
    Update(NewRow),
    /// The row is removed.
    Remove {
        /// The record that began it.
        position: Position,
    },
}

/// A row to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// Its unique key.
    pub key: Term,
    /// The record that began it.
    pub position: Position,
    /// The time of that record.
    pub began_at: Timestamp,
    /// The values of its columns, in the order of [`ViewName::columns`].
    pub columns: Vec<Option<Term>>,
    /// Where it belongs, if rows of its view belong somewhere.
    pub scope: Option<RowScope>,
    /// The view's struct as JSON.
    pub document: Bytes,
}

/// A query for rows of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The view.
    pub view: ViewName,
    /// Only the rows with these keys. A text that cannot be a key finds nothing.
    pub keys: Option<Vec<String>>,
    /// Only the first [`KEYS_BETWEEN_MAX`] rows whose keys are ids from the first to the second one.
    pub between: Option<(Id, Id)>,
    /// The rows that the caller may see.
    pub reach: RowReach,
    /// The conditions, all of which a row must meet.
    pub filters: Vec<Filter>,
    /// Only rows that began at this time or later.
    pub since: Option<Timestamp>,
    /// Only rows that began before this time.
    pub until: Option<Timestamp>,
    /// The order.
    pub order: Order,
    /// Only rows after this position, in the requested order: the position of the last row that was seen.
    pub after: Option<Position>,
    /// The maximum number of rows, itself limited to [`LIST_ROWS_MAX`].
    pub limit: usize,
}

impl ListQuery {
    /// Returns a query for the newest 50 rows of a view, among those that the caller may see.
    pub fn newest(view: ViewName, reach: RowReach) -> Self {
        Self {
            view,
            keys: None,
            between: None,
            reach,
            filters: Vec::new(),
            since: None,
            until: None,
            order: Order::NewestFirst,
            after: None,
            limit: 50,
        }
    }

    /// Adds the condition that a column has this value.
    #[must_use]
    pub fn with(mut self, column: Column, value: impl Into<String>) -> Self {
        self.filters.push(Filter::is(column, value));
        self
    }

    /// Fails if the view does not have one of the query's columns.
    pub fn check(&self) -> Result<(), ViewError> {
        match self.filters.iter().find(|filter| !self.view.columns().contains(&filter.column)) {
            Some(Filter { column, .. }) => Err(ViewError::NoColumn { view: self.view, column: *column }),
            None => Ok(()),
        }
    }
}

/// The maximum number of rows that a count looks at.
pub const COUNTED_ROWS_MAX: usize = 1_000_000;

/// The maximum number of groups that a count returns: the largest ones.
pub const GROUPS_MAX: usize = 200;

/// A query for the number of rows in each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountQuery {
    /// Which rows are counted. The order, the place and the limit do not matter.
    pub rows: ListQuery,
    /// The columns whose values make the groups; each row has at most one value of them.
    pub by: Vec<Column>,
}

impl CountQuery {
    /// Returns true if a store keeps the numbers from which this count is added up. Such a count looks at no rows, so it
    /// counts all of them.
    pub fn is_of_groups(&self) -> bool {
        let ListQuery { view, keys, between, filters, since, until, .. } = &self.rows;
        let is_kept = |column: &Column| matches!(column, Column::Status | Column::Action | Column::Rule);
        *view == ViewName::Executions
            && keys.is_none()
            && between.is_none()
            && since.is_none()
            && until.is_none()
            && filters.iter().map(|filter| &filter.column).chain(&self.by).all(is_kept)
    }

    /// Fails if the view does not have one of the columns, or its rows have several values of it.
    pub fn check(&self) -> Result<(), ViewError> {
        self.rows.check()?;
        let has = |column: &&Column| self.rows.view.columns().contains(column) && !matches!(column, Column::Assignee | Column::Label);
        match self.by.iter().find(|column| !has(column)) {
            Some(column) => Err(ViewError::NoColumn { view: self.rows.view, column: *column }),
            None => Ok(()),
        }
    }
}

/// The number of rows in each group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The groups, the largest first, then in the order of their values: at most [`GROUPS_MAX`].
    pub groups: Vec<Group>,
    /// The number of counted rows, also of groups that are left out.
    pub counted: u64,
    /// The number of groups.
    pub groups_count: u64,
    /// Whether there are more than [`COUNTED_ROWS_MAX`] rows, so that the rest of them was not counted.
    pub is_cut: bool,
}

/// A group of rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The values of the columns, in the order of the query; `None` for rows without a value.
    pub values: Vec<Option<String>>,
    /// The number of rows.
    pub count: u64,
}

impl Counts {
    /// Creates it from all groups.
    pub fn of(mut groups: Vec<Group>, is_cut: bool) -> Self {
        groups.retain(|group| group.count > 0);
        groups.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.values.cmp(&other.values)));
        let counted = groups.iter().map(|group| group.count).sum();
        let groups_count = groups.len() as u64;
        groups.truncate(GROUPS_MAX);
        Self { groups, counted, groups_count, is_cut }
    }
}

/// A condition on a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The column.
    pub column: Column,
    /// The values, one of which the row must have. Without values, no row matches.
    pub any_of: Vec<String>,
}

impl Filter {
    /// Returns a condition for one value.
    pub fn is(column: Column, value: impl Into<String>) -> Self {
        Self { column, any_of: vec![value.into()] }
    }

    /// Returns a condition for any of these values.
    pub fn any_of(column: Column, values: Vec<String>) -> Self {
        Self { column, any_of: values }
    }
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Rows that began last come first.
    NewestFirst,
    /// Rows that began first come first.
    OldestFirst,
}

/// Why views cannot be stored or read.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "views-damaged", fault = Unavailable,
    hint = "rebuild the views from the log with `ensue views rebuild`; the log is intact")]
pub enum ViewError {
    /// The store has failed.
    #[error("the views cannot be used: {0}")]
    #[explain(slug = "views-unavailable", hint = "see the node's log and `ensue doctor`")]
    Store(String),
    /// A document differs from what was written.
    #[error("the {view} row `{key}` is damaged: {why}")]
    Damaged {
        /// The view.
        view: ViewName,
        /// The row's key.
        key: String,
        /// The error.
        why: String,
    },
    /// The stored views are damaged.
    #[error("the views are damaged: {0}")]
    NotWhole(String),
    /// A change does not fit the stored rows.
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
        /// The position of the views.
        at: Position,
        /// The position of the first record.
        next: Position,
    },
    /// A view cannot be filtered by this column.
    #[error("{view} cannot be filtered by {column}")]
    #[explain(slug = "filter-unknown", fault = Malformed, hint = filters_hint(*view))]
    NoColumn {
        /// The view.
        view: ViewName,
        /// The column.
        column: Column,
    },
}

fn filters_hint(view: ViewName) -> String {
    let known: Vec<&str> = view.columns().iter().map(|column| column.as_str()).collect();
    if known.is_empty() {
        return format!("filters are not available for {view}");
    }
    format!("use the filters of {view}: {}", known.join(", "))
}
