//! Queues of executions: who has a slot of each, and who waits for one.

use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{ActionRef, WorkerQueueName};
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::shapes;
use crate::worker_queues::{StartRate, WorkerQueue};

/// A queue in which executions wait for a worker's slot.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireQueue {
    /// Its name, as actions write it.
    #[schemars(with = "shapes::WorkerQueueName")]
    name: WorkerQueueName,
    /// Whether the operator has such a queue. What waits in one that there is not starts once there is.
    is_configured: bool,
    /// How many slots it has.
    workers: u32,
    /// How many may start in a while.
    rate: Option<WireStartRate>,
    /// When the next may start, where none may now because of the rate.
    #[schemars(with = "Option<shapes::Timestamp>")]
    next_start_at: Option<Timestamp>,
    /// How many slots are taken.
    busy_count: u32,
    /// How many wait; who is paused does not.
    waiting_count: usize,
    /// Since when the oldest of them waits.
    #[schemars(with = "Option<shapes::Timestamp>")]
    waiting_since: Option<Timestamp>,
    /// Some of those that have a slot, who has it for the longest time first.
    busy: Vec<WireQueued>,
    /// The first of those that wait, who is next first.
    waiting: Vec<WireQueued>,
}

/// How many attempts may start in a while.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireStartRate {
    limit: u32,
    per_seconds: f64,
}

/// An execution that has a slot, or waits for one.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireQueued {
    #[schemars(with = "shapes::ExecutionId")]
    pub(crate) execution: ExecutionId,
    #[schemars(with = "Option<shapes::ActionRef>")]
    pub(crate) action: Option<ActionRef>,
    /// Since when; none where the views have not come to that yet.
    #[schemars(with = "Option<shapes::Timestamp>")]
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
    /// Shows a queue, with what the views say of those in it.
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
