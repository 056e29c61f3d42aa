//! A log whose appends fail as planned, so that what a node does about it can be tested.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::command::{DedupeEntry, DedupeKey};
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

/// A log that fails as planned, and otherwise does what the log within it does.
pub struct FaultyLog<L> {
    log: L,
    faults: Faults,
}

impl<L: Log> FaultyLog<L> {
    /// Wraps a log, without any fault.
    pub fn of(log: L) -> Self {
        Self { log, faults: Faults::default() }
    }

    /// Returns the handle for planning faults, also while the log is in use.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
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
        self.faults.run(|| self.log.append(batch, head, epoch))
    }

    fn find_keys(&self, keys: &[DedupeKey]) -> Result<Vec<Option<DedupeEntry>>, LogError> {
        self.log.find_keys(keys)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        self.log.reader()
    }

    fn release_caches(&mut self) {
        self.faults.plan().releases += 1;
        self.log.release_caches();
    }
}

/// The planned faults of a log. A clone controls the same log.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    appends: u64,
    releases: u64,
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

    /// Returns how often the caches of the log were released.
    pub fn releases(&self) -> u64 {
        self.plan().releases
    }

    /// Returns how many appends were tried.
    pub fn appends(&self) -> u64 {
        self.plan().appends
    }

    fn run(&self, append: impl FnOnce() -> Result<Position, AppendError>) -> Result<Position, AppendError> {
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
