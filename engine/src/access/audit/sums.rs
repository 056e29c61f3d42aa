//! Adds up what happens too often for a record of each: the first of a kind at once, then a sum each minute.
//!
//! It knows neither a clock nor the log: callers pass the time, and record what is returned.

use std::collections::BTreeMap;

use crate::time::Timestamp;

/// The maximum number of records a minute.
pub const RECORDS_MAX: usize = 100;

/// The length of a minute, in microseconds.
const MINUTE_MICROS: i64 = 60_000_000;

/// How often something of a kind happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum<K> {
    /// The kind; `None` for all kinds that have no record of their own.
    pub kind: Option<K>,
    /// How often.
    pub count: u64,
    /// When it happened first.
    pub first: Timestamp,
    /// When it happened last.
    pub last: Timestamp,
}

/// What happened in this minute, and is not recorded yet.
#[derive(Clone, Debug)]
pub struct Sums<K> {
    began: Option<Timestamp>,
    /// The kinds that have had a record in this minute, with what has happened since.
    kinds: BTreeMap<K, Option<Sum<K>>>,
    others: Option<Sum<K>>,
    /// The number of records that are left for new kinds.
    left: usize,
}

impl<K> Default for Sums<K> {
    fn default() -> Self {
        Self { began: None, kinds: BTreeMap::new(), others: None, left: RECORDS_MAX - 1 }
    }
}

impl<K: Ord + Clone> Sums<K> {
    /// Adds one. Returns it if it is to be recorded at once.
    pub fn add(&mut self, kind: &K, now: Timestamp) -> Option<Sum<K>> {
        self.began.get_or_insert(now);
        let one = Sum { kind: Some(kind.clone()), count: 1, first: now, last: now };
        if let Some(since) = self.kinds.get_mut(kind) {
            merge(since, one);
            return None;
        }
        if self.left == 0 {
            merge(&mut self.others, Sum { kind: None, ..one });
            return None;
        }
        self.left -= 1;
        self.kinds.insert(kind.clone(), None);
        Some(one)
    }

    /// Returns the sums to record, once the minute is over: at most [`RECORDS_MAX`].
    pub fn due(&mut self, now: Timestamp) -> Vec<Sum<K>> {
        let is_over = |began: Timestamp| now.micros().abs_diff(began.micros()) >= MINUTE_MICROS.unsigned_abs();
        if self.began.is_some_and(is_over) { self.take(now) } else { Vec::new() }
    }

    /// Returns the sums to record, and begins a new minute.
    pub fn take(&mut self, now: Timestamp) -> Vec<Sum<K>> {
        // A kind that happened again is added up in the next minute too.
        self.kinds.retain(|_, since| since.is_some());
        let mut due: Vec<Sum<K>> = self.kinds.values_mut().filter_map(Option::take).collect();
        self.left = RECORDS_MAX - 1 - due.len();
        due.extend(self.others.take());
        self.began = (!due.is_empty()).then_some(now);
        due
    }

    /// Takes back a sum that could not be recorded.
    pub fn put_back(&mut self, sum: &Sum<K>) {
        self.began.get_or_insert(sum.last);
        merge(&mut self.others, Sum { kind: None, count: sum.count, first: sum.first, last: sum.last });
    }
}

fn merge<K>(into: &mut Option<Sum<K>>, other: Sum<K>) {
    *into = Some(match into.take() {
        None => other,
        Some(sum) => Sum {
            kind: sum.kind,
            count: sum.count.saturating_add(other.count),
            first: sum.first.min(other.first),
            last: sum.last.max(other.last),
        },
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    #[test]
    fn first_of_a_kind_is_recorded_at_once_and_the_rest_once_a_minute() {
        let mut sums = Sums::default();
        assert_eq!(sums.add(&"a", at(0)), Some(Sum { kind: Some("a"), count: 1, first: at(0), last: at(0) }));
        assert_eq!((sums.add(&"a", at(10)), sums.add(&"a", at(20))), (None, None));
        assert_eq!(sums.due(at(59_999)), []);
        assert_eq!(sums.due(at(60_000)), [Sum { kind: Some("a"), count: 2, first: at(10), last: at(20) }]);

        assert_eq!(sums.add(&"a", at(60_001)), None, "it continues, so it is added up");
        assert_eq!(sums.due(at(120_000)).len(), 1);
        assert_eq!(sums.due(at(180_000)), [], "nothing happened");
        assert!(sums.add(&"a", at(200_000)).is_some(), "it begins again");
    }

    #[test]
    fn kinds_beyond_the_bound_are_added_up_together() {
        let mut sums = Sums::default();
        let at_once = (0..300).filter(|kind| sums.add(kind, at(*kind)).is_some()).count();
        assert_eq!(at_once, RECORDS_MAX - 1);
        assert_eq!(sums.due(at(60_000)), [Sum { kind: None, count: 201, first: at(99), last: at(299) }]);
    }

    #[test]
    fn ten_thousand_a_second_make_at_most_a_hundred_records_a_minute_and_none_is_lost() {
        let mut sums: Sums<u32> = Sums::default();
        let (mut recorded, mut per_minute) = (0, Vec::new());
        for minute in 0..3_i64 {
            let mut records = 0;
            // A tenth of a second for each of 600 steps, with 1000 of 150 kinds.
            for step in 0..600_i64 {
                let now = at(minute * 60_000 + step * 100);
                for sum in sums.due(now) {
                    (recorded, records) = (recorded + sum.count, records + 1);
                }
                for one in 0..1000_u32 {
                    if let Some(sum) = sums.add(&((one * 7 + step as u32) % 150), now) {
                        (recorded, records) = (recorded + sum.count, records + 1);
                    }
                }
            }
            per_minute.push(records);
        }
        recorded += sums.take(at(180_000)).iter().map(|sum| sum.count).sum::<u64>();
        assert!(per_minute.iter().all(|records| *records <= RECORDS_MAX), "{per_minute:?}");
        assert_eq!(recorded, 3 * 600 * 1000);
    }

    #[test]
    fn sum_that_could_not_be_recorded_counts_with_the_others() {
        let mut sums = Sums::default();
        let one = sums.add(&"a", at(0)).unwrap();
        sums.put_back(&one);
        assert_eq!(sums.due(at(60_000)), [Sum { kind: None, count: 1, first: at(0), last: at(0) }]);
    }
}
