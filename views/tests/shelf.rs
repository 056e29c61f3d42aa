//! A store of views in memory, as plain as can be, that refuses every change that does not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use ensue_engine::record::{Position, Record};
use ensue_views::projector::Projector;
use ensue_views::store::{Change, Changes, NewRow, Order};
use ensue_views::view_retention::{ElapsedTime, EndedExecution, Removal, RemovalCounts, RetainedViews};
use ensue_views::{ListQuery, Row, Term, ViewError, ViewName, ViewStore};

#[derive(Default)]
pub(crate) struct Shelf {
    position: Position,
    elapsed: ElapsedTime,
    passed_over: u64,
    rows: BTreeMap<(ViewName, Position), NewRow>,
    places: BTreeMap<(ViewName, Term), Position>,
    ended: BTreeSet<EndedExecution>,
    removed: RemovalCounts,
    /// Whether it stores nothing more for now.
    pub(crate) is_full: bool,
}

fn to_row(row: &NewRow) -> Row {
    Row { key: row.key.to_string(), position: row.position, document: row.document.clone() }
}

impl Shelf {
    /// Returns a store with everything that a log leads to.
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut shelf = Self::default();
        Projector::new().advance(&mut shelf, records).unwrap();
        shelf
    }

    /// Returns the rows of a view by their keys.
    pub(crate) fn rows(&self, view: ViewName) -> BTreeMap<String, Row> {
        self.of_view(view).map(|row| (row.key.to_string(), to_row(row))).collect()
    }

    fn of_view(&self, view: ViewName) -> impl DoubleEndedIterator<Item = &NewRow> {
        self.rows.range((view, Position(0))..=(view, Position(u64::MAX))).map(|(_, row)| row)
    }

    fn change(&mut self, view: ViewName, change: &Change) -> Result<(), ViewError> {
        let (position, is_fit) = match change {
            Change::Insert(new) => {
                let is_free = !self.places.contains_key(&(view, new.key.clone())) && !self.rows.contains_key(&(view, new.position));
                (new.position, is_free)
            }
            Change::Update(new) => (new.position, self.places.get(&(view, new.key.clone())) == Some(&new.position)),
            Change::Remove { position } => (*position, self.rows.contains_key(&(view, *position))),
        };
        match change {
            _ if !is_fit => return Err(ViewError::Misfit { view, position }),
            Change::Insert(row) | Change::Update(row) => {
                self.places.insert((view, row.key.clone()), position);
                self.rows.insert((view, position), row.clone());
            }
            Change::Remove { .. } => {
                let removed = self.rows.remove(&(view, position));
                removed.map(|row| self.places.remove(&(view, row.key)));
            }
        }
        Ok(())
    }
}

impl ViewStore for Shelf {
    fn position(&self) -> Position {
        self.position
    }

    fn passed_over(&self) -> u64 {
        self.passed_over
    }

    fn elapsed(&self) -> ElapsedTime {
        self.elapsed
    }

    fn load(&self, view: ViewName, keys: &[Term]) -> Result<Vec<Row>, ViewError> {
        let place = |key: &Term| self.places.get(&(view, key.clone()));
        Ok(keys.iter().filter_map(|key| self.rows.get(&(view, *place(key)?))).map(to_row).collect())
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError> {
        if self.is_full {
            return Err(ViewError::Store("there is no room".to_owned()));
        }
        for (view, change) in &changes.rows {
            self.change(*view, change)?;
        }
        (self.position, self.elapsed) = (changes.through, changes.elapsed);
        self.passed_over += changes.passed_over.count();
        self.ended.extend(&changes.ended);
        Ok(())
    }

    fn clear(&mut self) -> Result<(), ViewError> {
        *self = Self::default();
        Ok(())
    }
}

impl RetainedViews for Shelf {
    fn list(&self, query: &ListQuery) -> Result<Vec<Row>, ViewError> {
        query.check()?;
        let columns = query.view.columns();
        let meets = |row: &&NewRow| {
            query.filters.iter().all(|filter| {
                let at = columns.iter().position(|column| *column == filter.column).unwrap();
                let values: Vec<Term> = filter.any_of.iter().filter_map(|text| filter.column.value(text)).collect();
                row.columns[at].as_ref().is_some_and(|found| values.iter().any(|value| found.is_found_by(value)))
            })
        };
        let rows = self.of_view(query.view).filter(meets);
        let follows = |row: &&NewRow| match query.order {
            Order::OldestFirst => query.after.is_none_or(|after| row.position > after),
            Order::NewestFirst => query.after.is_none_or(|after| row.position < after),
        };
        let mut rows: Vec<Row> = rows.filter(follows).map(to_row).collect();
        if query.order == Order::NewestFirst {
            rows.reverse();
        }
        rows.truncate(query.limit);
        Ok(rows)
    }

    fn ended_executions(&self, until: i64, after: Option<EndedExecution>, limit: usize) -> Result<Vec<EndedExecution>, ViewError> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.ended.range((behind, Bound::Unbounded)).take_while(|ended| ended.elapsed <= until).take(limit).copied().collect())
    }

    fn take_out(&mut self, removal: &Removal) -> Result<(), ViewError> {
        for (view, position) in &removal.rows {
            self.change(*view, &Change::Remove { position: *position })?;
        }
        self.ended.retain(|ended| !removal.ended.contains(ended));
        self.removed = self.removed.with(removal);
        Ok(())
    }

    fn removal_counts(&self) -> RemovalCounts {
        self.removed
    }
}
