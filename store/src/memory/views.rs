//! Views in memory: ordered maps that are searched linearly. Slow with many rows, but easy to verify.
//!
//! Nothing is stored on disk; `sqlite::views` does that.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ensue_engine::record::Position;
use ensue_views::series::{Bucket, Increment, SERIES_KEYS_MAX, SeriesBy, SeriesCounts, SeriesKind, SeriesQuery};
use ensue_views::store::{
    AllPassedOver, COUNTED_ROWS_MAX, Change, Changes, CountQuery, Counts, Group, LIST_ROWS_MAX, NewRow, Order, QueryResult,
};
use ensue_views::view_retention::{ElapsedTime, EndedExecution, Removal, RemovalCounts, RetainedViews};
use ensue_views::{Column, ListQuery, Row, RowReach, RowScope, Term, ViewError, ViewName, ViewReader, ViewStore};

/// Views in memory.
#[derive(Default)]
pub struct MemoryViews {
    kept: Arc<RwLock<MemoryViewsState>>,
}

/// A reader of [`MemoryViews`].
pub struct MemoryViewReader {
    kept: Arc<RwLock<MemoryViewsState>>,
}

#[derive(Default)]
struct MemoryViewsState {
    position: Position,
    rows: BTreeMap<(ViewName, Position), NewRow>,
    positions: BTreeMap<(ViewName, Term), Position>,
    passed_over: AllPassedOver,
    elapsed: ElapsedTime,
    ended: BTreeSet<EndedExecution>,
    removed: RemovalCounts,
    series: BTreeMap<SeriesKey, u64>,
}

/// The kind, the bucket, the name and the scope, and the outcome of something that is counted. Without a name, it is what is
/// not told apart.
type SeriesKey = (SeriesKind, Bucket, i64, (Option<String>, Option<RowScope>), &'static str);

impl MemoryViews {
    /// Creates empty views.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a reader of them.
    pub fn reader(&self) -> MemoryViewReader {
        MemoryViewReader { kept: self.kept.clone() }
    }

    fn state(&self) -> RwLockReadGuard<'_, MemoryViewsState> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ViewStore for MemoryViews {
    fn position(&self) -> Position {
        self.state().position
    }

    fn passed_over(&self) -> u64 {
        self.state().passed_over.count()
    }

    fn elapsed(&self) -> ElapsedTime {
        self.state().elapsed
    }

    fn load(&self, view: ViewName, keys: &[Term]) -> Result<Vec<Row>, ViewError> {
        let kept = self.state();
        Ok(keys.iter().filter_map(|key| kept.get(view, key)).map(to_row).collect())
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), ViewError> {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if changes.through <= kept.position {
            return Err(ViewError::Gap { at: kept.position, next: changes.through });
        }
        kept.change_all(changes.rows.iter().map(|(view, change)| (*view, change)))?;
        kept.position = changes.through;
        kept.passed_over.extend(&changes.passed_over);
        kept.elapsed = changes.elapsed;
        kept.ended.extend(&changes.ended);
        changes.increments.iter().for_each(|one| kept.add(one));
        Ok(())
    }

    fn clear(&mut self) -> Result<(), ViewError> {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = MemoryViewsState::default();
        Ok(())
    }
}

impl RetainedViews for MemoryViews {
    fn list(&self, query: &ListQuery) -> Result<Vec<Row>, ViewError> {
        self.reader().list(query)
    }

    fn ended_executions(&self, until: i64, after: Option<EndedExecution>, limit: usize) -> Result<Vec<EndedExecution>, ViewError> {
        let kept = self.state();
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(kept.ended.range((behind, Bound::Unbounded)).take_while(|ended| ended.elapsed <= until).take(limit).copied().collect())
    }

    fn take_out(&mut self, removal: &Removal) -> Result<(), ViewError> {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let rows: Vec<(ViewName, Change)> =
            removal.rows.iter().map(|(view, position)| (*view, Change::Remove { position: *position })).collect();
        kept.change_all(rows.iter().map(|(view, change)| (*view, change)))?;
        for ended in &removal.ended {
            kept.ended.remove(ended);
        }
        kept.removed = kept.removed.with(removal);
        Ok(())
    }

    fn removal_counts(&self) -> RemovalCounts {
        self.state().removed
    }
}

impl MemoryViewsState {
    fn add(&mut self, one: &Increment) {
        let hour = Bucket::Hour.of_minute(one.minute);
        let of_hour: BTreeSet<_> = self
            .series
            .keys()
            .filter(|(kind, bucket, number, ..)| (*kind, *bucket, *number) == (one.kind, Bucket::Hour, hour))
            .map(|(_, _, _, key, _)| key.clone())
            .collect();
        let mut key = (Some(one.name.clone()).filter(|name| !name.is_empty()), one.scope.clone());
        if !of_hour.contains(&key) {
            let is_old = |(kind, bucket, number, ..): &SeriesKey| {
                *kind == one.kind && *number <= bucket.of_minute(one.minute) - bucket.retained_count()
            };
            self.series.retain(|key, _| !is_old(key));
            if of_hour.iter().filter(|(name, _)| name.is_some()).count() >= SERIES_KEYS_MAX {
                key = (None, None);
            }
        }
        for bucket in Bucket::ALL {
            *self.series.entry((one.kind, bucket, bucket.of_minute(one.minute), key.clone(), one.outcome)).or_default() += one.count;
        }
    }
}

/// A place, and its previous row.
type PreviousRow = ((ViewName, Position), Option<NewRow>);

impl MemoryViewsState {
    fn of(&self, view: ViewName) -> impl DoubleEndedIterator<Item = &NewRow> {
        self.rows.range((view, Position(0))..=(view, Position(u64::MAX))).map(|(_, row)| row)
    }

    fn get(&self, view: ViewName, key: &Term) -> Option<&NewRow> {
        let position = self.positions.get(&(view, key.clone()))?;
        self.rows.get(&(view, *position))
    }

    fn put(&mut self, view: ViewName, row: NewRow) -> Option<NewRow> {
        self.positions.insert((view, row.key.clone()), row.position);
        self.rows.insert((view, row.position), row)
    }

    fn take(&mut self, view: ViewName, position: Position) -> Option<NewRow> {
        let row = self.rows.remove(&(view, position))?;
        self.positions.remove(&(view, row.key.clone()));
        Some(row)
    }

    fn change(&mut self, view: ViewName, change: &Change) -> Result<PreviousRow, ViewError> {
        let position = match change {
            Change::Insert(row) | Change::Update(row) => row.position,
            Change::Remove { position } => *position,
        };
        let before = self.rows.get(&(view, position)).cloned();
        match (change, &before) {
            (Change::Insert(new), None) if self.get(view, &new.key).is_none() => {
                self.put(view, new.clone());
            }
            (Change::Update(new), Some(row)) if row.key == new.key => {
                self.put(view, apply_update(view, row, new));
            }
            (Change::Remove { .. }, Some(_)) => {
                self.take(view, position);
            }
            (Change::Insert(_) | Change::Update(_) | Change::Remove { .. }, _) => return Err(ViewError::Misfit { view, position }),
        }
        Ok(((view, position), before))
    }

    /// Makes all of these changes or none.
    fn change_all<'c>(&mut self, changes: impl Iterator<Item = (ViewName, &'c Change)>) -> Result<(), ViewError> {
        let mut undo = Vec::new();
        for (view, change) in changes {
            match self.change(view, change) {
                Ok(before) => undo.push(before),
                Err(error) => {
                    self.take_back(undo);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn take_back(&mut self, undo: Vec<PreviousRow>) {
        for ((view, position), before) in undo.into_iter().rev() {
            self.take(view, position);
            if let Some(row) = before {
                self.put(view, row);
            }
        }
    }
}

/// An update changes the document, the status and the assignees, and nothing else.
fn apply_update(view: ViewName, row: &NewRow, new: &NewRow) -> NewRow {
    let mut updated = NewRow { document: new.document.clone(), ..row.clone() };
    for (at, column) in view.columns().iter().enumerate() {
        if matches!(column, Column::Status | Column::Assignee) {
            updated.columns[at].clone_from(&new.columns[at]);
        }
    }
    updated
}

impl MemoryViewReader {
    fn state(&self) -> RwLockReadGuard<'_, MemoryViewsState> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ViewReader for MemoryViewReader {
    fn position(&self) -> Result<Position, ViewError> {
        Ok(self.state().position)
    }

    fn get(&self, view: ViewName, key: &str) -> Result<Option<Row>, ViewError> {
        let Some(key) = view.key(key) else { return Ok(None) };
        Ok(self.state().get(view, &key).map(to_row))
    }

    fn find(&self, query: &ListQuery) -> Result<QueryResult, ViewError> {
        query.check()?;
        let kept = self.state();
        let fits = kept.of(query.view).filter(|row| fits(row, query));
        let limit = query.limit.min(LIST_ROWS_MAX);
        let rows = match query.order {
            Order::OldestFirst => fits.take(limit).map(to_row).collect(),
            Order::NewestFirst => fits.rev().take(limit).map(to_row).collect(),
        };
        Ok(QueryResult { rows, stopped_at: None })
    }

    fn count(&self, query: &CountQuery) -> Result<Counts, ViewError> {
        query.check()?;
        let (rows, kept) = (ListQuery { after: None, ..query.rows.clone() }, self.state());
        let columns = rows.view.columns();
        let values = |row: &NewRow| {
            let value = |by: &Column| columns.iter().position(|column| column == by).and_then(|at| row.columns.get(at)?.as_ref());
            query.by.iter().map(|by| value(by).map(ToString::to_string)).collect::<Vec<_>>()
        };
        let mut counts: BTreeMap<Vec<Option<String>>, u64> = BTreeMap::new();
        let max = if query.is_of_groups() { usize::MAX } else { COUNTED_ROWS_MAX };
        for row in kept.of(rows.view).filter(|row| fits(row, &rows)).take(max) {
            *counts.entry(values(row)).or_default() += 1;
        }
        let is_cut = kept.of(rows.view).filter(|row| fits(row, &rows)).nth(max).is_some();
        Ok(Counts::of(counts.into_iter().map(|(values, count)| Group { values, count }).collect(), is_cut))
    }

    fn series(&self, query: &SeriesQuery) -> Result<SeriesCounts, ViewError> {
        let mut counts = SeriesCounts::new();
        for ((kind, bucket, number, (name, scope), outcome), count) in &self.state().series {
            let is_asked = (*kind, *bucket) == (query.kind, query.bucket) && (query.from..query.until).contains(number);
            let is_named = query.names.is_empty() || name.as_ref().is_some_and(|name| query.names.contains(name));
            if !is_asked || !is_named || !query.reach.covers(scope.as_ref()) {
                continue;
            }
            let key = match query.by {
                SeriesBy::Nothing => None,
                SeriesBy::Outcome => Some((*outcome).to_owned()),
                SeriesBy::Name => name.clone(),
            };
            *counts.entry(key).or_default().entry(*number).or_default() += count;
        }
        Ok(counts)
    }

    fn passed_over(&self) -> Result<AllPassedOver, ViewError> {
        Ok(self.state().passed_over.clone())
    }

    fn removal_counts(&self) -> Result<RemovalCounts, ViewError> {
        Ok(self.state().removed)
    }

    fn dump(&self, show: &mut dyn FnMut(ViewName, &Row)) -> Result<Position, ViewError> {
        let kept = self.state();
        for view in ViewName::ALL {
            kept.of(view).for_each(|row| show(view, &to_row(row)));
        }
        Ok(kept.position)
    }
}

fn fits(row: &NewRow, query: &ListQuery) -> bool {
    let has_values = query.filters.iter().all(|filter| {
        let at = query.view.columns().iter().position(|column| *column == filter.column);
        let found = at.and_then(|at| row.columns.get(at)?.as_ref());
        let mut wanted = filter.any_of.iter().filter_map(|value| filter.column.value(value));
        found.is_some_and(|found| wanted.any(|wanted| found.is_found_by(&wanted)))
    });
    let has_key = query.keys.as_ref().is_none_or(|keys| keys.iter().any(|key| query.view.key(key).as_ref() == Some(&row.key)));
    let is_between = query.between.is_none_or(|(first, last)| (Term::Id(first)..=Term::Id(last)).contains(&row.key));
    let is_beyond = query.after.is_none_or(|after| match query.order {
        Order::OldestFirst => row.position > after,
        Order::NewestFirst => row.position < after,
    });
    has_key
        && is_between
        && is_reached(row, query)
        && has_values
        && is_beyond
        && query.since.is_none_or(|since| row.began_at >= since)
        && query.until.is_none_or(|until| row.began_at < until)
}

/// Returns true if the caller may see a row: because of where it belongs, or because it asks the caller.
fn is_reached(row: &NewRow, query: &ListQuery) -> bool {
    let RowReach::Within(within) = &query.reach else { return true };
    let assignees = query.view.columns().iter().position(|column| *column == Column::Assignee);
    let asks = |name: &String| {
        let assignees = assignees.and_then(|at| row.columns.get(at)?.as_ref());
        assignees.is_some_and(|assignees| assignees.is_found_by(&Term::Text(name.clone())))
    };
    within.covers(row.scope.as_ref()) || within.asked.iter().any(asks)
}

fn to_row(row: &NewRow) -> Row {
    Row { key: row.key.to_string(), position: row.position, document: row.document.clone() }
}
