//! A cache of recently used values: bounded, by key; the least recently used value is dropped first.
//!
//! A value that is not here must be computed again.

use std::collections::BTreeMap;

/// Values by key, each with a weight, and with a bound on the total weight.
#[derive(Clone, Debug)]
pub struct Recent<K, V> {
    weight_max: usize,
    weight: usize,
    uses: u64,
    kept: BTreeMap<K, RecentEntry<V>>,
    /// The keys by the time of their last use.
    by_use: BTreeMap<u64, K>,
}

#[derive(Clone, Debug)]
struct RecentEntry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// Creates an empty cache.
    pub fn new(weight_max: usize) -> Self {
        Self { weight_max, weight: 0, uses: 0, kept: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    /// Returns a value, and marks it as the most recently used.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let kept = self.kept.get_mut(key)?;
        self.by_use.remove(&kept.used);
        self.uses += 1;
        kept.used = self.uses;
        self.by_use.insert(self.uses, key.clone());
        Some(&kept.value)
    }

    /// Stores a value, replacing an older one with the same key. A value that is heavier than the bound is
    /// not stored.
    pub fn put(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if weight > self.weight_max {
            return;
        }
        self.uses += 1;
        self.weight += weight;
        self.by_use.insert(self.uses, key.clone());
        self.kept.insert(key, RecentEntry { value, weight, used: self.uses });
        while self.weight > self.weight_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.weight -= self.kept.remove(&oldest).map_or(0, |kept| kept.weight);
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some(kept) = self.kept.remove(key) {
            self.by_use.remove(&kept.used);
            self.weight -= kept.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_recently_used_entry_is_evicted_first() {
        let mut recent = Recent::new(3);
        for (key, value) in [(1, "a"), (2, "b"), (3, "c")] {
            recent.put(key, value, 1);
        }
        assert_eq!(recent.get(&1), Some(&"a"));
        recent.put(4, "d", 1);
        assert_eq!([1, 2, 3, 4].map(|key| recent.get(&key).is_some()), [true, false, true, true]);
    }

    #[test]
    fn total_weight_stays_bounded_when_a_value_is_replaced() {
        let mut recent = Recent::new(10);
        recent.put("one", 1, 4);
        recent.put("other", 2, 6);
        recent.put("one", 3, 4);
        assert_eq!((recent.weight, ["one", "other"].map(|key| recent.get(&key).copied())), (10, [Some(3), Some(2)]));
        recent.put("one", 4, 11);
        assert_eq!((recent.weight, ["one", "other"].map(|key| recent.get(&key).copied())), (6, [None, Some(2)]));
        recent.put("heavy", 5, 10);
        assert_eq!((recent.weight, recent.kept.len(), recent.by_use.len()), (10, 1, 1));
    }
}
