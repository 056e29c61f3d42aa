//! Records which attempts were given which keys: the first use of a version by an action on a day at once, and later ones as a
//! sum each hour.
//!
//! What was added up since the last record is lost if the process ends without a stop.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::access::audit::facts::KeyUsed;
use ensue_engine::command::{Ask, Command, UsedKey};
use ensue_engine::names::{ActionRef, KeyRef};
use ensue_engine::ports::Submit;
use ensue_engine::record::Actor;
use ensue_engine::time::Timestamp;
use ensue_executor::ports::KeyUser;

/// The time between two sums of a kind, in microseconds.
const SUM_MICROS: i64 = 3_600_000_000;
/// A day, in microseconds.
const DAY_MICROS: i64 = 24 * SUM_MICROS;
/// The maximum number of kinds of uses that are told apart. Those beyond it are only counted by the metrics.
const KINDS_MAX: usize = 20_000;

/// A version of a key, and the action whose attempts use it. The version is none if another store has the value.
type Kind = (KeyRef, Option<u32>, ActionRef);

/// The uses of keys that are not recorded yet.
#[derive(Clone, Default)]
pub(crate) struct KeyUses(Arc<Mutex<Uses>>);

#[derive(Default)]
struct Uses {
    kinds: BTreeMap<Kind, OfKind>,
    /// What is to be recorded as soon as possible.
    due: Vec<UsedKey>,
}

/// The uses of a kind.
struct OfKind {
    /// The day of the last use that was recorded at once, counted from 1970.
    day: i64,
    /// The later ones of that day.
    sum: Option<UsedKey>,
}

impl KeyUses {
    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an attempt is given a version of a key. Quick.
    pub(crate) fn note(&self, (key, version): (&KeyRef, Option<u32>), by: &KeyUser, now: Timestamp) {
        let fact = KeyUsed { key: key.clone(), version, action: by.action.clone(), count: 1, first: now, last: now };
        let (used, day) = (UsedKey { by: by.attempt, fact }, now.micros().div_euclid(DAY_MICROS));
        let mut uses = self.uses();
        let Uses { kinds, due } = &mut *uses;
        let is_full = kinds.len() >= KINDS_MAX;
        match kinds.entry((key.clone(), version, by.action.clone())) {
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(free) => {
                free.insert(OfKind { day, sum: None });
                due.push(used);
            }
            Entry::Occupied(mut known) if known.get().day != day => {
                due.extend(known.get_mut().sum.take());
                known.insert(OfKind { day, sum: None });
                due.push(used);
            }
            Entry::Occupied(mut known) => {
                let sum = &mut known.get_mut().sum;
                *sum = Some(match sum.take() {
                    None => used,
                    Some(sum) => {
                        let fact = KeyUsed { count: sum.fact.count + 1, first: sum.fact.first, ..used.fact };
                        UsedKey { by: used.by, fact }
                    }
                });
            }
        }
    }

    /// Returns what is to be recorded, and forgets the kinds that were not used for a day.
    fn due(&self, is_due: impl Fn(&UsedKey) -> bool, now: Timestamp) -> Vec<UsedKey> {
        let mut uses = self.uses();
        let today = now.micros().div_euclid(DAY_MICROS);
        let mut due = std::mem::take(&mut uses.due);
        for of_kind in uses.kinds.values_mut() {
            due.extend(of_kind.sum.take_if(|sum| is_due(sum)));
        }
        uses.kinds.retain(|_, of_kind| of_kind.sum.is_some() || of_kind.day == today);
        due
    }

    /// Records what is due; called about once a second.
    pub(crate) fn tick(&self, log: &dyn Submit, now: Timestamp) {
        self.record(log, self.due(|sum| now.micros_since(sum.fact.first) >= SUM_MICROS, now));
    }

    /// Records the rest, before a stop.
    pub(crate) fn finish(&self, log: &dyn Submit, now: Timestamp) {
        self.record(log, self.due(|_| true, now));
    }

    /// Records uses. If the log cannot take them now, they are recorded later.
    fn record(&self, log: &dyn Submit, used: Vec<UsedKey>) {
        if used.is_empty() {
            return;
        }
        let (back, kept) = (self.clone(), used.clone());
        let reply = move |outcome: Result<_, _>| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "uses of keys are recorded later");
                back.uses().due.extend(kept);
            }
        };
        log.submit(Command { actor: Actor::Engine, trace: None, ask: Ask::NoteKeyUses(used) }, Box::new(reply));
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::command::Answer;
    use ensue_engine::ids::{ExecutionId, Id};
    use ensue_engine::ports::{CommitReceipt, Reply, SubmitError};
    use ensue_engine::record::{AttemptOf, Position};

    use super::*;

    /// A log that keeps what it is asked, or is busy.
    #[derive(Default)]
    struct RecordingLog {
        used: Mutex<Vec<(u64, u32)>>,
        is_busy: std::sync::atomic::AtomicBool,
    }

    impl Submit for RecordingLog {
        fn submit(&self, command: Command, reply: Reply) {
            if self.is_busy.load(std::sync::atomic::Ordering::Relaxed) {
                return reply(Err(SubmitError::Busy));
            }
            let Ask::NoteKeyUses(used) = command.ask else { panic!("only uses are recorded") };
            self.used.lock().unwrap().extend(used.iter().map(|used| (used.fact.count, used.by.number)));
            reply(Ok(CommitReceipt { position: Position(1), answer: Answer::Done }));
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(DAY_MICROS * 20_000 + seconds * 1_000_000)
    }

    fn user(number: u32) -> KeyUser {
        let execution = ExecutionId(Id::root(Timestamp::default(), 1));
        KeyUser { attempt: AttemptOf { execution, number }, action: "release.ship".parse().unwrap() }
    }

    #[test]
    fn first_use_of_a_day_is_recorded_at_once_and_later_ones_each_hour() {
        let (log, uses, key) = (RecordingLog::default(), KeyUses::default(), "release.deploy_token".parse().unwrap());
        let note = |number: u32, version: u32, seconds: i64| uses.note((&key, Some(version)), &user(number), at(seconds));
        let recorded = || std::mem::take(&mut *log.used.lock().unwrap());
        note(1, 4, 0);
        uses.tick(&log, at(1));
        assert_eq!(recorded(), [(1, 1)]);
        note(2, 4, 10);
        note(3, 4, 20);
        uses.tick(&log, at(3_609));
        assert_eq!(recorded(), []);
        uses.tick(&log, at(3_610));
        assert_eq!(recorded(), [(2, 3)], "the sum names the last attempt");
        note(4, 5, 3_700);
        uses.tick(&log, at(3_701));
        assert_eq!(recorded(), [(1, 4)], "another version");
        note(5, 5, 3_800);
        note(6, 5, 90_000);
        uses.tick(&log, at(90_001));
        assert_eq!(recorded(), [(1, 5), (1, 6)], "the rest of the day before, and the first of the next");
        note(7, 5, 90_100);
        uses.finish(&log, at(90_101));
        assert_eq!(recorded(), [(1, 7)], "a stop records the rest");
    }

    #[test]
    fn uses_that_the_log_cannot_take_are_recorded_later() {
        let (log, uses, key) = (RecordingLog::default(), KeyUses::default(), "release.deploy_token".parse().unwrap());
        log.is_busy.store(true, std::sync::atomic::Ordering::Relaxed);
        uses.note((&key, Some(1)), &user(1), at(0));
        uses.tick(&log, at(1));
        log.is_busy.store(false, std::sync::atomic::Ordering::Relaxed);
        uses.tick(&log, at(2));
        assert_eq!(*log.used.lock().unwrap(), [(1, 1)]);
    }
}
