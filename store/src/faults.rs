//! What is to go wrong with a log in memory, so that what a node does about it can be tested.
//!
//! Nothing here is used by a node at work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::ports::AppendError;
use ensue_engine::record::Position;

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

    /// Returns how many appends were tried.
    pub fn appends(&self) -> u64 {
        self.plan().appends
    }

    pub(crate) fn run(&self, append: impl FnOnce() -> Result<Position, AppendError>) -> Result<Position, AppendError> {
        let fault = {
            let mut plan = self.plan();
            plan.appends += 1;
            let number = plan.appends;
            let fault = if plan.is_dead { Some(AppendFault::Dead) } else { plan.faults.remove(&number) };
            plan.is_dead = fault == Some(AppendFault::Dead);
            fault
        };
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

#[cfg(test)]
mod tests {
    use ensue_engine::ports::Log as _;

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
        let mut log = MemoryLog::new(LOG);
        log.faults().fail_next_append(AppendFault::Dead);
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
