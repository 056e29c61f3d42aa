//! The queues in which executions wait for a worker's slot, as the node tells of them.
//!
//! The queues of `queues.rs` are others: they bound what the node itself holds.

use std::time::Duration;

use ensue_engine::ids::ExecutionId;
use ensue_engine::names::WorkerQueueName;
use ensue_engine::time::Timestamp;

/// So many attempts of a queue may start in a while: as many at once, and then as one after the other comes free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartRate {
    /// How many: one at the least.
    pub limit: u32,
    /// In how long: a millisecond at the least.
    pub per: Duration,
}

/// A queue in which executions wait for a worker's slot, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerQueue {
    /// Its name.
    pub name: WorkerQueueName,
    /// How many slots it has; none where the operator has no such queue.
    pub workers: Option<u32>,
    /// How many may start in a while; any number where the operator says nothing.
    pub rate: Option<StartRate>,
    /// When the next may start, where none may now because of the rate.
    pub next_start_at: Option<Timestamp>,
    /// How many slots are taken.
    pub busy: u32,
    /// How many wait; who is paused does not.
    pub waiting: usize,
    /// Who has waited for the longest time, whatever goes before it.
    pub oldest: Option<ExecutionId>,
    /// Some of those that have a slot.
    pub first_busy: Vec<ExecutionId>,
    /// The first of those that wait, who is next first.
    pub first_waiting: Vec<ExecutionId>,
}

/// How many of those that have a slot, and of those that wait for one, are told of a queue.
pub const SHOWN_MAX: usize = 50;
