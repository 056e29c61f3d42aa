//! The queues in which executions wait for a worker's slot, as the node reports them.
//!
//! The queues of `queues.rs` are different: they bound what the node itself holds.

use std::time::Duration;

use ensue_engine::ids::ExecutionId;
use ensue_engine::names::WorkerQueueName;
use ensue_engine::time::Timestamp;

/// How many attempts of a queue can start in a period: that many at once, and then each as it becomes
/// available again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartRate {
    /// The number of attempts, at least one.
    pub limit: u32,
    /// The period, at least a millisecond.
    pub per: Duration,
}

/// The current state of a queue in which executions wait for a worker's slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerQueue {
    /// Its name.
    pub name: WorkerQueueName,
    /// The number of slots; `None` if the operator has not defined the queue.
    pub workers: Option<u32>,
    /// How many attempts can start in a period; `None` if the operator set no limit.
    pub rate: Option<StartRate>,
    /// When the next attempt can start, if the rate prevents it now.
    pub next_start_at: Option<Timestamp>,
    /// The number of taken slots.
    pub busy: u32,
    /// The number of waiting executions, without paused ones.
    pub waiting: usize,
    /// The execution that has waited the longest, even if others go before it.
    pub oldest: Option<ExecutionId>,
    /// Some of the executions that have a slot.
    pub first_busy: Vec<ExecutionId>,
    /// The first of the waiting executions, in their order.
    pub first_waiting: Vec<ExecutionId>,
}

/// The maximum number of executions with a slot, and of waiting executions, that are reported for a queue.
pub const SHOWN_MAX: usize = 50;
