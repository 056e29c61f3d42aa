//! Queues of executions: those that have a slot, and those that wait for one.

use ensue_derive::wire;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, WorkerQueueName};
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::worker_queues::{StartRate, WorkerQueue};

/// A queue in which executions wait for a worker's slot.
#[wire(Serialize)]
pub(crate) struct WireQueue {
    /// Its name, as used by actions.
    name: WorkerQueueName,
    /// Whether the operator has configured this queue. Executions in a queue that is not configured start once
    /// it is.
    is_configured: bool,
    /// The number of slots.
    workers: u32,
    /// How many attempts may start within a period.
    rate: Option<WireStartRate>,
    /// When the next attempt may start, if the rate allows none now.
    next_start_at: Option<Timestamp>,
    /// The number of slots in use.
    busy_count: u32,
    /// The number of waiting executions; paused executions are not counted.
    waiting_count: usize,
    /// Since when the oldest waiting execution has been waiting.
    waiting_since: Option<Timestamp>,
    /// Some of the executions that have a slot, longest first.
    busy: Vec<WireQueued>,
    /// The first of the waiting executions, next one first.
    waiting: Vec<WireQueued>,
}

/// How many attempts may start within a period.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireStartRate {
    limit: u32,
    per_seconds: f64,
}

/// An execution that has a slot, or waits for one.
#[wire(Serialize)]
pub(crate) struct WireQueued {
    pub(crate) execution: ExecutionId,
    pub(crate) action: Option<ActionRef>,
    /// Since when it has held its slot or waited; null if the views have not reached that position yet.
    pub(crate) since: Option<Timestamp>,
    /// −100 … 100; higher goes first.
    pub(crate) priority: Option<i8>,
}

impl From<StartRate> for WireStartRate {
    fn from(rate: StartRate) -> Self {
        Self { limit: rate.limit, per_seconds: rate.per.as_secs_f64() }
    }
}

impl WireQueue {
    /// Shows a queue, with what the views have on its executions.
    pub(crate) fn new(queue: WorkerQueue, waiting_since: Option<Timestamp>, mut busy: Vec<WireQueued>, waiting: Vec<WireQueued>) -> Self {
        busy.sort_by_key(|one| one.since);
        Self {
            name: queue.name,
            is_configured: queue.workers.is_some(),
            workers: queue.workers.unwrap_or(0),
            rate: queue.rate.map(WireStartRate::from),
            next_start_at: queue.next_start_at,
            busy_count: queue.busy,
            waiting_count: queue.waiting,
            waiting_since,
            busy,
            waiting,
        }
    }
}
