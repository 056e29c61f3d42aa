//! Logs that fail on purpose, to test how a node reacts.
//!
//! A normal node does not use any of this, except one that is started for a measurement with a slow disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ensue_engine::command::{DedupeKey, Seen};
use ensue_engine::ids::LogId;
use ensue_engine::ports::{AppendError, Batch, Log, LogError, LogReader};
use ensue_engine::record::{Epoch, Head, Position};

/// How an append fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFault {
    /// The disk is full; nothing is stored.
    Full,
    /// The writer does not learn the outcome of the batch.
    Unknown(Fate),
    /// The store fails permanently, with every later append; nothing is stored.
    Dead,
    /// The first record of the batch is rejected; nothing is stored.
    Refused,
}

/// The outcome of a batch that its writer does not learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was stored.
    Kept,
    /// It was lost.
    Lost,
}

/// The planned faults of a log. A clone controls the same log.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    appends: u64,
    faults: BTreeMap<u64, AppendFault>,
    delay: Duration,
    is_dead: bool,
}

impl Faults {
    /// Makes append `n` fail, counted from 1 since the log was opened.
    pub fn fail_append_at(&self, n: u64, fault: AppendFault) {
        self.plan().faults.insert(n, fault);
    }

    /// Makes the next append fail.
    pub fn fail_next_append(&self, fault: AppendFault) {
        let mut plan = self.plan();
        let next = plan.appends + 1;
        plan.faults.insert(next, fault);
    }

    /// Delays every append from now on, as on a slow disk.
    pub fn delay_appends(&self, by: Duration) {
        self.plan().delay = by;
    }

    /// Returns how many appends were tried.
    pub fn appends(&self) -> u64 {
        self.plan().appends
    }

    pub(crate) fn run(&self, append: impl FnOnce() -> Result<Position, AppendError>) -> Result<Position, AppendError> {
        let (fault, delay) = {
            let mut plan = self.plan();
            plan.appends += 1;
            let number = plan.appends;
            let fault = if plan.is_dead { Some(AppendFault::Dead) } else { plan.faults.remove(&number) };
            plan.is_dead = fault == Some(AppendFault::Dead);
            (fault, plan.delay)
        };
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        match fault {
            None => append(),
            Some(AppendFault::Full) => Err(AppendError::Full),
            Some(AppendFault::Unknown(Fate::Kept)) => append().and(Err(AppendError::Unknown)),
            Some(AppendFault::Unknown(Fate::Lost)) => Err(AppendError::Unknown),
            Some(AppendFault::Dead) => Err(AppendError::Dead("a fault was injected".to_owned())),
            Some(AppendFault::Refused) => Err(AppendError::Refused { record: 0, why: "a fault was injected".to_owned() }),
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Any log, with faults.
pub struct FaultyLog<L> {
    log: L,
    faults: Faults,
}

impl<L: Log> FaultyLog<L> {
    /// Wraps a log. `faults` controls what goes wrong with it, also while it is in use.
    pub fn new(log: L, faults: Faults) -> Self {
        Self { log, faults }
    }
}

impl<L: Log> Log for FaultyLog<L> {
    fn id(&self) -> LogId {
        self.log.id()
    }

    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn head(&self) -> Result<Head, LogError> {
        self.log.head()
    }

    fn append(&mut self, batch: &Batch, head: Position, epoch: Epoch) -> Result<Position, AppendError> {
        let Self { log, faults } = self;
        faults.run(|| log.append(batch, head, epoch))
    }

    fn seen(&self, keys: &[DedupeKey]) -> Result<Vec<Option<Seen>>, LogError> {
        self.log.seen(keys)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        self.log.reader()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::records::{LOG, Writer};
    use crate::memory::MemoryLog;

    #[test]
    fn planned_append_fails_and_others_succeed() {
        let mut log = MemoryLog::new(LOG);
        log.faults().fail_append_at(2, AppendFault::Full);
        let mut writer = Writer::of(&log);
        writer.append(&mut log, 3).unwrap();
        assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Full)));
        assert_eq!(log.head().unwrap().position, Position(3));
        writer.append(&mut log, 1).unwrap();
        assert_eq!((log.head().unwrap().position, log.faults().appends()), (Position(4), 3));
    }

    #[test]
    fn unknown_append_is_stored_or_lost_as_planned() {
        for (fate, position) in [(Fate::Kept, 1), (Fate::Lost, 0)] {
            let mut log = MemoryLog::new(LOG);
            log.faults().fail_next_append(AppendFault::Unknown(fate));
            let mut writer = Writer::of(&log);
            assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Unknown)));
            assert_eq!(log.head().unwrap().position, Position(position));
        }
    }

    #[test]
    fn dead_store_stays_dead() {
        let mut log = FaultyLog::new(MemoryLog::new(LOG), Faults::default());
        log.faults.fail_next_append(AppendFault::Dead);
        let mut writer = Writer::of(&log);
        for _ in 0..3 {
            assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Dead(_))));
        }
        assert_eq!(log.head().unwrap().position, Position(0));
    }

    #[test]
    fn rejected_batch_leaves_nothing() {
        let mut log = MemoryLog::new(LOG);
        log.faults().fail_next_append(AppendFault::Refused);
        let mut writer = Writer::of(&log);
        assert!(matches!(writer.append(&mut log, 2), Err(AppendError::Refused { record: 0, .. })));
        assert_eq!(log.head().unwrap().position, Position(0));
    }
}
