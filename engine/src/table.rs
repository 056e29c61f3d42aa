//! Tables of the state: ordered maps that can take back what a batch changed.
//!
//! A table remembers the rows as they were before the batch's first change of each; [`commit`](Table::commit) forgets that, and
//! [`undo`](Table::undo) puts it back. `docs/decisions/undo.md` has the measurement against persistent maps.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ordered map with an undo log.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    rows: BTreeMap<K, V>,
    before: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), before: Vec::new() }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Table<K, V> {
    /// Two tables are equal if their rows are.
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// Gives a row.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// Says whether there is such a row.
    pub fn contains(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// Gives the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Says whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Gives the rows in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// Gives the rows of a range in the order of their keys.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(range)
    }

    /// Gives the first row.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.rows.first_key_value()
    }

    /// Puts a row in, in the place of an older one.
    pub fn insert(&mut self, key: K, value: V) {
        let old = self.rows.insert(key.clone(), value);
        self.before.push((key, old));
    }

    /// Takes a row out.
    pub fn remove(&mut self, key: &K) {
        if let Some(old) = self.rows.remove(key) {
            self.before.push((key.clone(), Some(old)));
        }
    }

    /// Changes a row in place; does nothing where there is none.
    pub fn change(&mut self, key: &K, change: impl FnOnce(&mut V)) {
        if let Some(row) = self.rows.get_mut(key) {
            self.before.push((key.clone(), Some(row.clone())));
            change(row);
        }
    }

    /// Makes all changes since the last commit final.
    pub fn commit(&mut self) {
        self.before.clear();
    }

    /// Takes all changes since the last commit back.
    pub fn undo(&mut self) {
        while let Some((key, old)) = self.before.pop() {
            match old {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }
}

impl<K: Serialize, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.rows)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<(K, V)>::deserialize(deserializer)?;
        Ok(Self { rows: rows.into_iter().collect(), before: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Change {
        Insert(u8, u8),
        Remove(u8),
        Add(u8),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            (0..8u8, any::<u8>()).prop_map(|(key, value)| Change::Insert(key, value)),
            (0..8u8).prop_map(Change::Remove),
            (0..8u8).prop_map(Change::Add),
        ];
        proptest::collection::vec(change, 0..40)
    }

    fn make(table: &mut Table<u8, u8>, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Insert(key, value) => table.insert(*key, *value),
                Change::Remove(key) => table.remove(key),
                Change::Add(key) => table.change(key, |value| *value = value.wrapping_add(1)),
            }
        }
    }

    proptest! {
        #[test]
        fn undo_gives_back_what_was_committed(first in changes(), second in changes()) {
            let mut table = Table::default();
            make(&mut table, &first);
            table.commit();
            let committed = table.clone();
            make(&mut table, &second);
            table.undo();
            prop_assert_eq!(table, committed);
        }
    }
}
