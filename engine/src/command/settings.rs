//! The operator's settings, as far as the core uses them.
//!
//! The node reads them.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::quota::Tiers;
use crate::names::{DEFAULT_QUEUE, LabelName, WorkerQueueName};

/// The maximum number of drafts in a turn; consequences over it are owed.
pub const TURN_DRAFTS_MAX: usize = 1_000;

/// The approximate maximum number of drafts in a batch. Work beyond it is owed, even if the turn itself was
/// short.
pub const BATCH_DRAFTS_MAX: usize = 10_000;

/// The maximum size in bytes of the facts and bodies of a turn; consequences over it are owed.
pub const TURN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The maximum number of steps for judging rules in a batch. The remaining rules are judged in a later batch.
pub const BATCH_STEPS_MAX: u64 = 1_000_000;

/// The operator's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many attempts of the queue `default` the node's own workers run at once.
    pub workers: u32,
    /// The same for each other queue. Executions in a queue that is missing here wait until it is added.
    pub queues: BTreeMap<WorkerQueueName, u32>,
    /// For queues with a limit on starts: how many attempts may have been started by now, counted from the
    /// beginning of the log.
    pub starts_max: BTreeMap<WorkerQueueName, u64>,
    /// The name of the node's own worker. Attempts are given to it by this name, and only it can report
    /// that one of them has not begun.
    pub worker: String,
    /// How long a worker's lease of an attempt lasts without being renewed, in milliseconds.
    pub lease_millis: u64,
    /// The amount of open work above which no more is accepted from outside.
    pub open_work_max: u64,
    /// How much the members of groups may use.
    pub tiers: Tiers,
    /// The names of the labels by which rights can be limited to executions.
    pub scope_labels: BTreeSet<LabelName>,
    /// The URL at which people read and answer an inquiry, without the id that follows.
    pub inquiries_url: String,
    /// The limits of a turn.
    pub turn: TurnLimits,
    /// How many keys each flow control of a rule may know, and how many matches it may hold. Operators cannot
    /// set it; only tests use a smaller one.
    pub flow_keys_max: usize,
}

/// How many keys each flow control of a rule may know, and how many matches it may hold.
pub const FLOW_KEYS_MAX: usize = 100_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 8,
            queues: BTreeMap::new(),
            starts_max: BTreeMap::new(),
            worker: "local".into(),
            lease_millis: 30_000,
            open_work_max: 100_000,
            tiers: Tiers::default(),
            scope_labels: BTreeSet::new(),
            inquiries_url: "http://127.0.0.1:3678/api/v1/inquiries/".into(),
            turn: TurnLimits::default(),
            flow_keys_max: FLOW_KEYS_MAX,
        }
    }
}

impl Settings {
    /// Returns the queues, with the number of attempts that each runs at once.
    pub fn worker_queues(&self) -> impl Iterator<Item = (&WorkerQueueName, u32)> {
        std::iter::once((&DEFAULT_QUEUE, self.workers)).chain(self.queues.iter().map(|(queue, workers)| (queue, *workers)))
    }

    /// Returns the total number of attempts that run at once.
    pub fn workers_in_all(&self) -> u32 {
        self.worker_queues().fold(0, |sum, (_, workers)| sum.saturating_add(workers))
    }
}

/// The limits of a turn; consequences over them are owed. Operators cannot set them; only tests use smaller
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// The maximum number of drafts. From 2 on, each turn makes progress: one draft says that an owed
    /// reaction continues.
    pub drafts: usize,
    /// The maximum number of drafts in all turns of a batch.
    pub batch_drafts: usize,
    /// The maximum size of facts and bodies in bytes.
    pub bytes: usize,
    /// The number of steps after which no more rules are judged in the same batch. From 1 on, each turn makes
    /// progress.
    pub steps: u64,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self { drafts: TURN_DRAFTS_MAX, batch_drafts: BATCH_DRAFTS_MAX, bytes: TURN_BYTES_MAX, steps: BATCH_STEPS_MAX }
    }
}
