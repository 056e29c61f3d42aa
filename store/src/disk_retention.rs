//! Retention: removes stored things other than the log by age and by quota, oldest first, one part at a time.
//!
//! It knows neither the stored things nor its schedule: a job of the node calls it. Nothing is remembered
//! between two rounds, so a kill at any point only costs the round.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use ensue_engine::time::Timestamp;

/// The number of parts into which the stored things are divided, by two hex digits of their names.
pub const PARTS: usize = 256;

/// The maximum number of distinct times in a round. Older things count as being of the oldest of them.
const TIMES_MAX: usize = 100_000;

/// The share of the quota above which space is freed, and the share that remains then, in percent.
const CROWDED_PERCENT: u64 = 90;
const LEFT_PERCENT: u64 = 80;

/// The operator's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionLimits {
    /// The maximum number of bytes kept.
    pub quota_bytes: u64,
    /// How long things are kept; `None` means forever.
    pub keep: Option<Duration>,
}

impl RetentionLimits {
    /// Returns true if so much is stored that space should be freed.
    pub fn is_crowded(&self, used_bytes: u64) -> bool {
        used_bytes > self.quota_bytes / 100 * CROWDED_PERCENT
    }

    /// Returns the time at and before which things are too old; `None` if none are.
    pub fn too_old(&self, now: Timestamp) -> Option<Timestamp> {
        let micros = |keep: Duration| i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        self.keep.map(|keep| Timestamp::from_micros(now.micros().saturating_sub(micros(keep))))
    }
}

/// A store whose things may be removed.
pub trait Disposable: Send + Sync {
    /// The name of a thing.
    type Name: Clone + Send;

    /// Notes that a round begins. Things stored from here on may be missing from what it looks at.
    fn begin_round(&self);
    /// Lists the content of one part. Blocks.
    fn look_at(&self, part: u8) -> io::Result<Vec<RetainedThing<Self::Name>>>;
    /// Removes things of one part if they are still as old as they were when listed. Returns how many bytes
    /// that freed. Blocks.
    fn throw_away(&self, part: u8, things: &[RetainedThing<Self::Name>]) -> io::Result<u64>;
    /// Notes how many bytes a whole round found and left.
    fn note_usage(&self, bytes: u64);
    /// Returns the disk space in use, as far as is known. A full look happens from time to time.
    fn used_bytes(&self) -> u64;
}

/// A store from which a job removes old things.
pub trait Expiring: Send + Sync {
    /// Returns the disk space in use, as far as is known.
    fn used_bytes(&self) -> u64;
    /// Does the next part of a round that removes old things.
    fn step(&self, round: &mut Round) -> io::Result<Step>;
}

impl<S: Disposable> Expiring for S {
    fn used_bytes(&self) -> u64 {
        Disposable::used_bytes(self)
    }

    fn step(&self, round: &mut Round) -> io::Result<Step> {
        round.step(self)
    }
}

/// A stored thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedThing<N> {
    /// Its name.
    pub name: N,
    /// How much of the disk it takes.
    pub bytes: u64,
    /// Since when it may be removed; `None` while it may not.
    pub since: Option<Timestamp>,
}

/// A round over all parts: it first lists them, and then removes those that are due.
#[derive(Debug)]
pub struct Round {
    limits: RetentionLimits,
    /// Things of this time or earlier are too old.
    too_old: Option<Timestamp>,
    part: usize,
    stage: RoundStage,
    bytes: u64,
    thrown: RemovedTotals,
}

#[derive(Debug)]
enum RoundStage {
    Looking { by_time: BTreeMap<u64, u64> },
    Throwing { until: u64, spare: u64 },
}

/// What a round has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedTotals {
    /// The number of things.
    pub things: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// The state of a round after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// The round is over.
    Over(RemovedTotals),
}

impl Round {
    /// Begins a round.
    pub fn begin(limits: RetentionLimits, now: Timestamp) -> Self {
        let too_old = limits.too_old(now);
        Self {
            limits,
            too_old,
            part: 0,
            stage: RoundStage::Looking { by_time: BTreeMap::new() },
            bytes: 0,
            thrown: RemovedTotals::default(),
        }
    }

    /// Returns the limits of the round.
    pub fn limits(&self) -> RetentionLimits {
        self.limits
    }

    /// Processes the next part. If a part cannot be read or emptied, the error is returned, and the next step
    /// continues after it.
    pub fn step<S: Disposable>(&mut self, store: &S) -> io::Result<Step> {
        let Ok(part) = u8::try_from(self.part) else { return Ok(self.turn(store)) };
        if part == 0 && matches!(self.stage, RoundStage::Looking { .. }) {
            store.begin_round();
        }
        self.part += 1;
        let kept = store.look_at(part)?;
        match &mut self.stage {
            RoundStage::Looking { by_time } => {
                for thing in &kept {
                    self.bytes += thing.bytes;
                    if let Some(since) = thing.since {
                        *by_time.entry(minute(since)).or_default() += thing.bytes;
                    }
                }
                while by_time.len() > TIMES_MAX {
                    let Some((_, oldest)) = by_time.pop_first() else { break };
                    if let Some(mut next) = by_time.first_entry() {
                        *next.get_mut() += oldest;
                    }
                }
            }
            RoundStage::Throwing { until, spare } => {
                let is_due = |thing: &RetainedThing<S::Name>| {
                    thing.since.is_some_and(|since| {
                        let is_too_old = self.too_old.is_some_and(|too_old| since <= too_old);
                        // Within the last minute, only as much is removed as necessary.
                        let is_spared = minute(since) == *until && {
                            let spared = *spare >= thing.bytes;
                            *spare -= if spared { thing.bytes } else { 0 };
                            spared
                        };
                        is_too_old || (minute(since) <= *until && !is_spared)
                    })
                };
                let due: Vec<RetainedThing<S::Name>> = kept.into_iter().filter(is_due).collect();
                if !due.is_empty() {
                    let freed = store.throw_away(part, &due)?;
                    self.thrown.things += due.len() as u64;
                    self.thrown.bytes += freed;
                    self.bytes = self.bytes.saturating_sub(freed);
                }
            }
        }
        Ok(Step::More)
    }

    /// Moves from one stage to the next.
    fn turn<S: Disposable>(&mut self, store: &S) -> Step {
        if let RoundStage::Looking { by_time } = &self.stage {
            let (until, spare) = self.until(by_time);
            if until > 0 || self.too_old.is_some_and(|too_old| by_time.keys().next().is_some_and(|oldest| *oldest <= minute(too_old))) {
                (self.stage, self.part) = (RoundStage::Throwing { until, spare }, 0);
                return Step::More;
            }
        }
        store.note_usage(self.bytes);
        Step::Over(self.thrown)
    }

    /// Returns the minute up to which things are removed because of the quota (0 for none), and how many
    /// bytes of that minute may stay.
    fn until(&self, by_time: &BTreeMap<u64, u64>) -> (u64, u64) {
        if !self.limits.is_crowded(self.bytes) {
            return (0, 0);
        }
        let over = self.bytes.saturating_sub(self.limits.quota_bytes / 100 * LEFT_PERCENT);
        let mut freed = 0;
        let mut last = (0, 0);
        for (minute, bytes) in by_time {
            freed += bytes;
            last = (*minute, freed.saturating_sub(over));
            if freed >= over {
                break;
            }
        }
        last
    }
}

/// Returns the minute of a time, from 1. Times before 1970 belong to the first.
fn minute(time: Timestamp) -> u64 {
    u64::try_from(time.micros()).unwrap_or(0) / 60_000_000 + 1
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

    /// Things in memory: their part, their age in seconds, their size in bytes, and whether they may be
    /// removed.
    #[derive(Default)]
    struct MemoryThings(Mutex<BTreeMap<u32, (u8, RetainedThing<u32>)>>);

    impl MemoryThings {
        fn of(things: &[(u8, u64, u64, bool)]) -> Self {
            let kept = |(at, (part, age, bytes, may_go)): (usize, &(u8, u64, u64, bool))| {
                let since = may_go.then(|| Timestamp::from_micros(NOON.micros() - *age as i64 * 1_000_000));
                (at as u32, (*part, RetainedThing { name: at as u32, bytes: *bytes, since }))
            };
            Self(Mutex::new(things.iter().enumerate().map(kept).collect()))
        }

        fn bytes(&self) -> u64 {
            self.0.lock().unwrap().values().map(|(_, thing)| thing.bytes).sum()
        }

        fn ages(&self) -> Vec<u64> {
            let since = |thing: &RetainedThing<u32>| thing.since.map(|since| ((NOON.micros() - since.micros()) / 1_000_000) as u64);
            self.0.lock().unwrap().values().filter_map(|(_, thing)| since(thing)).collect()
        }
    }

    impl Disposable for MemoryThings {
        type Name = u32;

        fn begin_round(&self) {}

        fn look_at(&self, part: u8) -> io::Result<Vec<RetainedThing<u32>>> {
            Ok(self.0.lock().unwrap().values().filter(|(of, _)| *of == part).map(|(_, thing)| *thing).collect())
        }

        fn throw_away(&self, _: u8, things: &[RetainedThing<u32>]) -> io::Result<u64> {
            let mut kept = self.0.lock().unwrap();
            kept.retain(|name, _| things.iter().all(|thing| thing.name != *name));
            Ok(things.iter().map(|thing| thing.bytes).sum())
        }

        fn note_usage(&self, bytes: u64) {
            assert_eq!(bytes, self.bytes());
        }

        fn used_bytes(&self) -> u64 {
            self.bytes()
        }
    }

    fn round(things: &MemoryThings, limits: RetentionLimits) -> RemovedTotals {
        let mut round = Round::begin(limits, NOON);
        for _ in 0..=2 * (PARTS + 1) {
            if let Step::Over(thrown) = round.step(things).unwrap() {
                return thrown;
            }
        }
        panic!("a round takes each part twice at the most");
    }

    fn quota(quota_bytes: u64) -> RetentionLimits {
        RetentionLimits { quota_bytes, keep: None }
    }

    #[test]
    fn things_within_the_quota_stay() {
        let things = MemoryThings::of(&[(0, 9_999_999, 40, true), (7, 0, 50, true)]);
        assert_eq!(round(&things, quota(100)), RemovedTotals::default());
    }

    #[test]
    fn oldest_things_are_removed_down_to_four_fifths_of_the_quota() {
        let things = MemoryThings::of(&[(3, 600, 30, true), (9, 1_200, 30, true), (200, 60, 30, true), (255, 6_000, 10, true)]);
        assert_eq!(round(&things, quota(100)), RemovedTotals { things: 2, bytes: 40 });
        assert_eq!(things.ages(), [600, 60]);
    }

    #[test]
    fn protected_things_stay_even_over_the_quota() {
        let things = MemoryThings::of(&[(3, 600, 300, false), (9, 1, 10, true)]);
        assert_eq!(round(&things, quota(100)), RemovedTotals { things: 1, bytes: 10 });
        assert_eq!(things.bytes(), 300);
    }

    #[test]
    fn expired_things_are_removed_whatever_the_quota() {
        let things = MemoryThings::of(&[(0, 3_601, 1, true), (1, 3_599, 1, true), (2, 999_999, 1, false)]);
        let limits = RetentionLimits { quota_bytes: 1_000, keep: Some(Duration::from_secs(3_600)) };
        assert_eq!(round(&things, limits).things, 1);
        assert_eq!(things.ages(), [3_599]);
    }

    #[test]
    fn things_of_the_last_minute_stay_if_there_is_space() {
        let things = MemoryThings::of(&[(0, 600, 30, true), (1, 600, 30, true), (2, 600, 30, true), (3, 600, 30, true)]);
        assert_eq!(round(&things, quota(100)), RemovedTotals { things: 2, bytes: 60 });
    }

    proptest! {
        #[test]
        fn round_enforces_the_quota_and_removes_the_oldest_things(
            things in proptest::collection::vec((any::<u8>(), 0..100_000u64, 1..100u64, proptest::bool::weighted(0.8)), 0..60),
            quota_bytes in 100..3_000u64,
        ) {
            let kept = MemoryThings::of(&things);
            round(&kept, quota(quota_bytes));
            let may_not_go: u64 = things.iter().filter(|thing| !thing.3).map(|thing| thing.2).sum();
            let before: u64 = things.iter().map(|thing| thing.2).sum();
            if before > quota_bytes / 100 * CROWDED_PERCENT {
                prop_assert!(kept.bytes() <= (quota_bytes / 100 * LEFT_PERCENT).max(may_not_go));
                // At most one thing of the last minute too many was removed.
                prop_assert!(kept.bytes() + 100 + 1 >= (quota_bytes / 100 * LEFT_PERCENT).min(before));
            } else {
                prop_assert_eq!(kept.bytes(), before);
            }
            let stayed = kept.ages().into_iter().max().unwrap_or(0);
            let all: Vec<u64> = things.iter().filter(|thing| thing.3).map(|thing| thing.1).collect();
            let went_youngest = all.iter().filter(|age| !kept.ages().contains(age)).min().copied().unwrap_or(u64::MAX);
            prop_assert!(stayed < went_youngest.saturating_add(60));
        }
    }
}
