//! What the operator sets, as far as the core knows it.
//!
//! Where it is read from is the node's.

use std::collections::BTreeMap;

use crate::batch::{BATCH_DRAFTS_MAX, BATCH_STEPS_MAX, TURN_BYTES_MAX, TURN_DRAFTS_MAX};
use crate::names::{DEFAULT_QUEUE, WorkerQueueName};

/// What the operator sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many attempts of the queue `default` the node's own workers run at once.
    pub workers: u32,
    /// How many of each other queue; what waits in one that is not named here starts when it is.
    pub queues: BTreeMap<WorkerQueueName, u32>,
    /// Where only so many attempts of a queue may start in a while: up to how many since the log began may have been started by now.
    pub starts_max: BTreeMap<WorkerQueueName, u64>,
    /// The name of the node's own worker. Attempts are given to it by this name, and what has not begun of them only it can say.
    pub worker: String,
    /// How long a worker's right to an attempt lasts without being renewed, in milliseconds.
    pub lease_millis: u64,
    /// How much work may be open before no more is taken in from outside.
    pub open_work_max: u64,
    /// Where an inquiry is read and answered: its id follows. People are sent there.
    pub inquiries_url: String,
    /// After how much a turn ends.
    pub turn: TurnLimits,
    /// How many keys each flow control of a rule may know, and how many matches it may hold. No operator sets it: it is smaller in tests
    /// alone.
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
            inquiries_url: "http://127.0.0.1:3678/api/v1/inquiries/".into(),
            turn: TurnLimits::default(),
            flow_keys_max: FLOW_KEYS_MAX,
        }
    }
}

impl Settings {
    /// Gives the queues, with how many attempts of each run at once.
    pub fn worker_queues(&self) -> impl Iterator<Item = (&WorkerQueueName, u32)> {
        std::iter::once((&DEFAULT_QUEUE, self.workers)).chain(self.queues.iter().map(|(queue, workers)| (queue, *workers)))
    }

    /// Gives how many attempts run at once in all.
    pub fn workers_in_all(&self) -> u32 {
        self.worker_queues().fold(0, |sum, (_, workers)| sum.saturating_add(workers))
    }
}

/// After how much a turn ends; what is over is owed. No operator sets them: they are smaller in tests alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// After how many drafts. From 2 on each turn gets on: one says that it goes on with what is owed.
    pub drafts: usize,
    /// After how many drafts of all the turns of a batch.
    pub batch_drafts: usize,
    /// After how many bytes of facts and bodies.
    pub bytes: usize,
    /// After how many steps no more rules are judged in the same batch. From 1 on each turn gets on.
    pub steps: u64,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self { drafts: TURN_DRAFTS_MAX, batch_drafts: BATCH_DRAFTS_MAX, bytes: TURN_BYTES_MAX, steps: BATCH_STEPS_MAX }
    }
}
