//! Tables of the state: ordered maps that can undo the changes of a batch, and are cheap to copy.
//!
//! A table remembers each row as it was before its first change in the batch; [`commit`](Table::commit)
//! forgets that, and [`undo`](Table::undo) restores it. The rows are in short sorted runs that copies share:
//! changing a row of a shared run first copies that run. `docs/decisions/undo.md` compares this with
//! persistent maps.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The maximum number of rows in a run, which is the unit of copying if a copy of the table shares it.
const RUN_MAX: usize = 64;
/// A run with at most this many rows is joined with a neighbor, if together they are at most half of a run.
const RUN_SMALL: usize = RUN_MAX / 4;

/// Gives a struct of tables a `commit` and an `undo` of all its fields. A field that is left out is a compile
/// error.
macro_rules! undone_together {
    ($visibility:vis $tables:ident { $($table:ident),* }) => {
        impl $tables {
            /// Makes everything that was folded since the last commit permanent.
            $visibility fn commit(&mut self) {
                let Self { $($table),* } = self;
                $($table.commit();)*
            }

            /// Undoes everything that was folded since the last commit.
            $visibility fn undo(&mut self) {
                let Self { $($table),* } = self;
                $($table.undo();)*
            }
        }
    };
}

pub(crate) use undone_together;

/// An ordered map with an undo log, whose copies share the runs that neither has changed.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    /// The runs in order of their rows. No run is empty.
    runs: Vec<Run<K, V>>,
    len: usize,
    before: Vec<(K, Option<V>)>,
}

/// Consecutive rows.
#[derive(Clone, Debug)]
struct Run<K, V> {
    /// A lower bound of its keys, above all keys of the runs before it.
    from: K,
    rows: Arc<Vec<(K, V)>>,
}

/// A place between two rows: a run, and the number of its rows before the place.
type RowPlace = (usize, usize);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { runs: Vec::new(), len: 0, before: Vec::new() }
    }
}

impl<K: Ord + Clone + PartialEq, V: Clone + PartialEq> PartialEq for Table<K, V> {
    /// Two tables are equal if their rows are.
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// Returns the value of a row.
    pub fn get(&self, key: &K) -> Option<&V> {
        let run = self.runs.get(self.run_of(key))?;
        let at = position(&run.rows, key).ok()?;
        run.rows.get(at).map(|(_, value)| value)
    }

    /// Returns true if there is a row with this key.
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the rows in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.range(..)
    }

    /// Returns the rows of a range in the order of their keys; empty if the range ends before it begins.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let begin = match range.start_bound() {
            Bound::Unbounded => (0, 0),
            Bound::Included(first) => self.place_behind(|key| key < first),
            Bound::Excluded(last) => self.place_behind(|key| key <= last),
        };
        let end = match range.end_bound() {
            Bound::Unbounded => (self.runs.len(), 0),
            Bound::Included(last) => self.place_behind(|key| key <= last),
            Bound::Excluded(first) => self.place_behind(|key| key < first),
        };
        let within = self.runs.get(begin.0..self.runs.len().min(end.0 + 1)).unwrap_or_default();
        within.iter().enumerate().flat_map(move |(after, run)| {
            let number = begin.0 + after;
            let from = if number == begin.0 { begin.1 } else { 0 };
            let to = if number == end.0 { end.1 } else { run.rows.len() };
            run.rows.get(from..to).unwrap_or_default().iter().map(|(key, value)| (key, value))
        })
    }

    /// Returns the first row.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.runs.first()?.rows.first().map(|(key, value)| (key, value))
    }

    /// Inserts a row, replacing an older one.
    pub fn insert(&mut self, key: K, value: V) {
        let old = self.put(key.clone(), value);
        self.before.push((key, old));
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &K) {
        if let Some(old) = self.take(key) {
            self.before.push((key.clone(), Some(old)));
        }
    }

    /// Changes a row in place; does nothing if it does not exist.
    pub fn change(&mut self, key: &K, change: impl FnOnce(&mut V)) {
        let number = self.run_of(key);
        let Some(run) = self.runs.get_mut(number) else { return };
        let Ok(at) = position(&run.rows, key) else { return };
        if let Some((_, value)) = Arc::make_mut(&mut run.rows).get_mut(at) {
            self.before.push((key.clone(), Some(value.clone())));
            change(value);
        }
    }

    /// Makes all changes since the last commit permanent.
    pub fn commit(&mut self) {
        self.before.clear();
    }

    /// Undoes all changes since the last commit.
    pub fn undo(&mut self) {
        while let Some((key, old)) = self.before.pop() {
            match old {
                Some(value) => drop(self.put(key, value)),
                None => drop(self.take(&key)),
            }
        }
    }

    /// Returns the run that contains the key, or would contain it.
    fn run_of(&self, key: &K) -> usize {
        self.runs.partition_point(|run| run.from <= *key).saturating_sub(1)
    }

    /// Returns the place after all rows for which `is_before` is true, which must be the first rows of the
    /// table.
    fn place_behind(&self, is_before: impl Fn(&K) -> bool) -> RowPlace {
        let number = self.runs.partition_point(|run| is_before(&run.from)).saturating_sub(1);
        let before = self.runs.get(number).map_or(0, |run| run.rows.partition_point(|(key, _)| is_before(key)));
        (number, before)
    }

    fn put(&mut self, key: K, value: V) -> Option<V> {
        let number = self.run_of(&key);
        let runs = self.runs.len();
        let Some(run) = self.runs.get_mut(number) else {
            self.add_run(0, vec![(key, value)]);
            self.len += 1;
            return None;
        };
        match position(&run.rows, &key) {
            Ok(at) => Arc::make_mut(&mut run.rows).get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            // Rows that are inserted in order leave full runs.
            Err(RUN_MAX) if number + 1 == runs => {
                self.add_run(runs, vec![(key, value)]);
                self.len += 1;
                None
            }
            Err(at) => {
                if key < run.from {
                    run.from.clone_from(&key);
                }
                let rows = Arc::make_mut(&mut run.rows);
                if rows.len() < RUN_MAX {
                    rows.insert(at, (key, value));
                } else {
                    let mut behind = rows.split_off(RUN_MAX / 2);
                    if at <= rows.len() {
                        rows.insert(at, (key, value));
                    } else {
                        behind.insert(at - rows.len(), (key, value));
                    }
                    self.add_run(number + 1, behind);
                }
                self.len += 1;
                None
            }
        }
    }

    fn take(&mut self, key: &K) -> Option<V> {
        let number = self.run_of(key);
        let run = self.runs.get_mut(number)?;
        let at = position(&run.rows, key).ok()?;
        let rows = Arc::make_mut(&mut run.rows);
        let (_, old) = rows.remove(at);
        self.len -= 1;
        if rows.is_empty() {
            self.runs.remove(number);
        } else if rows.len() <= RUN_SMALL {
            self.join(number.saturating_sub(1));
        }
        Some(old)
    }

    /// Joins a run with the next one, if they are short.
    fn join(&mut self, number: usize) {
        let Some([run, next]) = self.runs.get_mut(number..number + 2) else { return };
        if run.rows.len() + next.rows.len() <= RUN_MAX / 2 {
            Arc::make_mut(&mut run.rows).extend(next.rows.iter().cloned());
            self.runs.remove(number + 1);
        }
    }

    fn add_run(&mut self, number: usize, rows: Vec<(K, V)>) {
        if let Some((from, _)) = rows.first() {
            self.runs.insert(number, Run { from: from.clone(), rows: Arc::new(rows) });
        }
    }
}

fn position<K: Ord, V>(rows: &[(K, V)], key: &K) -> Result<usize, usize> {
    rows.binary_search_by(|(one, _)| one.cmp(key))
}

impl<K: Serialize + Ord + Clone, V: Serialize + Clone> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, K: Deserialize<'de> + Ord + Clone, V: Deserialize<'de> + Clone> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Rows(PhantomData))
    }
}

/// Deserializes rows one by one, so that a large table is not in memory twice.
struct Rows<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord + Clone, V: Deserialize<'de> + Clone> Visitor<'de> for Rows<K, V> {
    type Value = Table<K, V>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut table = Table::default();
        while let Some((key, value)) = rows.next_element()? {
            table.put(key, value);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Change {
        Insert(u16, u8),
        Remove(u16),
        Add(u16),
        /// This many rows with consecutive keys are inserted, or removed.
        Come(u16, u16),
        Go(u16, u16),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let key = || prop_oneof![0..8u16, 0..1_000u16];
        let change = prop_oneof![
            4 => (key(), any::<u8>()).prop_map(|(key, value)| Change::Insert(key, value)),
            4 => key().prop_map(Change::Remove),
            4 => key().prop_map(Change::Add),
            1 => (key(), 0..200u16).prop_map(|(from, rows)| Change::Come(from, rows)),
            1 => (key(), 0..200u16).prop_map(|(from, rows)| Change::Go(from, rows)),
        ];
        proptest::collection::vec(change, 0..60)
    }

    fn make(table: &mut Table<u16, u8>, changes: &[Change]) {
        for change in changes {
            match *change {
                Change::Insert(key, value) => table.insert(key, value),
                Change::Remove(key) => table.remove(&key),
                Change::Add(key) => table.change(&key, |value| *value = value.wrapping_add(1)),
                Change::Come(from, rows) => (from..from + rows).for_each(|key| table.insert(key, 0)),
                Change::Go(from, rows) => (from..from + rows).for_each(|key| table.remove(&key)),
            }
        }
    }

    fn make_in_map(map: &mut BTreeMap<u16, u8>, changes: &[Change]) {
        for change in changes {
            match *change {
                Change::Insert(key, value) => drop(map.insert(key, value)),
                Change::Remove(key) => drop(map.remove(&key)),
                Change::Add(key) => {
                    map.entry(key).and_modify(|value| *value = value.wrapping_add(1));
                }
                Change::Come(from, rows) => map.extend((from..from + rows).map(|key| (key, 0))),
                Change::Go(from, rows) => map.retain(|key, _| !(from..from + rows).contains(key)),
            }
        }
    }

    fn rows(table: &Table<u16, u8>) -> Vec<(u16, u8)> {
        table.iter().map(|(key, value)| (*key, *value)).collect()
    }

    proptest! {
        #[test]
        fn table_has_the_rows_of_an_ordered_map(changes in changes(), from in 0..1_200u16, to in 0..1_200u16) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            make(&mut table, &changes);
            make_in_map(&mut map, &changes);
            prop_assert_eq!(rows(&table), map.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(table.len(), map.len());
            prop_assert_eq!(table.first(), map.first_key_value());
            prop_assert_eq!(table.get(&from), map.get(&from));
            prop_assert!(table.iter().rev().eq(map.iter().rev()));
            if from <= to {
                prop_assert!(table.range(from..=to).eq(map.range(from..=to)));
                prop_assert!(table.range(from..to).rev().eq(map.range(from..to).rev()));
                prop_assert!(table.range(from..).eq(map.range(from..)));
                prop_assert!(table.range((Bound::Excluded(from), Bound::Unbounded)).eq(map.range((Bound::Excluded(from), Bound::Unbounded))));
            } else {
                prop_assert_eq!(table.range(from..=to).count(), 0);
            }
        }

        #[test]
        fn undo_restores_the_committed_rows(first in changes(), second in changes()) {
            let mut table = Table::default();
            make(&mut table, &first);
            table.commit();
            let committed = rows(&table);
            make(&mut table, &second);
            table.undo();
            prop_assert_eq!(rows(&table), committed);
        }

        #[test]
        fn copy_keeps_its_rows_when_the_original_changes(first in changes(), second in changes()) {
            let mut table = Table::default();
            make(&mut table, &first);
            let (copy, had) = (table.clone(), rows(&table));
            make(&mut table, &second);
            prop_assert_eq!(rows(&copy), had);
        }

        #[test]
        fn runs_are_never_empty_or_oversized_and_stay_sorted(changes in changes()) {
            let mut table = Table::default();
            make(&mut table, &changes);
            prop_assert!(table.runs.iter().all(|run| (1..=RUN_MAX).contains(&run.rows.len())));
            prop_assert!(table.runs.iter().all(|run| run.rows.first().is_some_and(|(first, _)| run.from <= *first)));
            prop_assert!(table.runs.is_sorted_by(|one, next| one.rows.last().map(|(key, _)| *key) < Some(next.from)));
        }
    }

    #[test]
    fn rows_inserted_in_order_leave_full_runs() {
        let mut table = Table::default();
        (0..1_000u16).for_each(|key| table.insert(key, 0));
        assert_eq!(table.runs.len(), 1_000usize.div_ceil(RUN_MAX));
    }

    #[test]
    fn removed_rows_leave_no_short_runs() {
        let mut table = Table::default();
        (0..10_000u16).for_each(|key| table.insert(key, 0));
        (0..10_000u16).filter(|key| key % 16 != 0).for_each(|key| table.remove(&key));
        assert!(table.runs.len() <= 625usize.div_ceil(RUN_SMALL), "{} runs of 625 rows", table.runs.len());
    }
}
