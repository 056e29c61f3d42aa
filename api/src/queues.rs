//! Queues: whatever waits or is held in a node, each with a name, a cap, its depth, and the number of
//! rejections.
//!
//! Each queue's owner decides what a rejection means; the wiring decides how much memory each queue can have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ensue_engine::names::Names;
use ensue_views::view::DOCUMENT_BYTES_MAX;

use crate::sizes::{CHUNK_BYTES_MAX, CHUNKS_WAITING_MAX, LIMIT_MAX, READ_BYTES_MAX};

/// The memory that an explanation holds: the longest payload, as received and as the document that rules
/// read.
const EXPLANATION_BYTES: u64 = 8 * 1024 * 1024;
/// The memory that a span holds, with its names and its attributes.
const SPAN_BYTES: u64 = 1024;

/// The queues of a node: everything that can grow with input has one of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Names)]
pub enum QueueName {
    /// Open connections.
    Connections,
    /// Requests in progress.
    Requests,
    /// Bytes of memory for the bodies of requests in progress.
    RequestBytes,
    /// Bytes of large answers that are not written yet.
    AnswerBytes,
    /// Concurrent requests that read from the disk.
    Reads,
    /// Concurrent explanations.
    Explanations,
    /// Replays and backtests, running or waiting for their turn.
    Rehearsals,
    /// Deliveries that wait for a reply.
    HookWaiters,
    /// Outputs that are followed or sent completely, and files that are saved.
    LiveOutputs,
    /// Streams of records.
    LiveStreams,
    /// Commands waiting for the sequencer.
    Commands,
    /// Bytes of memory for the commands from outside that wait for the sequencer.
    CommandBytes,
    /// Open work: executions and owed reactions.
    OpenWork,
    /// Running attempts.
    Attempts,
    /// Batches waiting for the views' follower.
    ViewBatches,
    /// Their bytes.
    ViewBatchBytes,
    /// Batches waiting to be counted and written to traces.
    TelemetryBatches,
    /// Their bytes.
    TelemetryBatchBytes,
    /// Spans waiting to be sent to the collector.
    Spans,
    /// Bytes of bodies that are cached between their commit and their use.
    BodyBytes,
    /// Bytes that pulling sensors have read and that are not committed yet.
    SensorBytes,
}

impl QueueName {
    /// Returns the maximum bytes of memory that one entry can hold; 0 if that is counted in another queue, or
    /// is part of the state.
    pub fn bytes_of_one(self) -> u64 {
        match self {
            Self::Connections => READ_BYTES_MAX as u64,
            Self::RequestBytes
            | Self::AnswerBytes
            | Self::CommandBytes
            | Self::ViewBatchBytes
            | Self::TelemetryBatchBytes
            | Self::BodyBytes
            | Self::SensorBytes => 1,
            Self::Spans => SPAN_BYTES,
            // A page of a list.
            Self::Reads => (LIMIT_MAX * DOCUMENT_BYTES_MAX) as u64,
            Self::Explanations => EXPLANATION_BYTES,
            // The waiting chunks, the one being read, and the one being written.
            Self::LiveOutputs => ((CHUNKS_WAITING_MAX + 2) * CHUNK_BYTES_MAX) as u64,
            // One runs at a time, within its own bounds; the waiting ones hold a request.
            Self::Rehearsals => 0,
            // Each holds a connection, and its data counts as an answer.
            Self::LiveStreams | Self::HookWaiters => 0,
            Self::Requests | Self::Commands | Self::OpenWork | Self::Attempts | Self::ViewBatches | Self::TelemetryBatches => 0,
        }
    }
}

/// A queue: its depth, its cap, and the number of rejections.
#[derive(Debug)]
pub struct Queue {
    name: QueueName,
    capacity: u64,
    depth: AtomicU64,
    rejected: AtomicU64,
}

impl Queue {
    /// Creates an empty queue.
    pub fn new(name: QueueName, capacity: u64) -> Arc<Self> {
        Arc::new(Self { name, capacity, depth: AtomicU64::new(0), rejected: AtomicU64::new(0) })
    }

    /// Returns the name.
    pub fn name(&self) -> QueueName {
        self.name
    }

    /// Returns the cap.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns the depth.
    pub fn depth(&self) -> u64 {
        self.depth.load(Ordering::Relaxed)
    }

    /// Returns the number of rejections since the start.
    pub fn rejections(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Takes up room. If there is not enough left, counts a rejection and returns `None`.
    pub fn enter(self: &Arc<Self>, amount: u64) -> Option<QueuePermit> {
        self.enter_where(amount, |_, after| after <= self.capacity)
    }

    /// Takes up room as [`enter`](Self::enter) does. An amount larger than the whole queue would never fit:
    /// it is accepted if the queue is not over its cap, so at most one of these at a time.
    pub fn enter_however_large(self: &Arc<Self>, amount: u64) -> Option<QueuePermit> {
        self.enter_where(amount, |before, after| after <= self.capacity || (amount > self.capacity && before <= self.capacity))
    }

    /// Takes up room if `fits` accepts the depth before and after.
    fn enter_where(self: &Arc<Self>, amount: u64, fits: impl Fn(u64, u64) -> bool) -> Option<QueuePermit> {
        let entered = self
            .depth
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| before.checked_add(amount).filter(|after| fits(before, *after)));
        if entered.is_err() {
            self.reject();
            return None;
        }
        Some(QueuePermit { queue: Arc::clone(self), amount })
    }

    /// Takes up room for entries that are never rejected, but count nevertheless.
    pub fn enter_anyway(self: &Arc<Self>, amount: u64) -> QueuePermit {
        self.depth.fetch_add(amount, Ordering::Relaxed);
        QueuePermit { queue: Arc::clone(self), amount }
    }

    /// Counts a rejection.
    pub fn reject(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the depth, if it is known from elsewhere.
    pub fn set(&self, depth: u64) {
        self.depth.store(depth, Ordering::Relaxed);
    }
}

/// Room in a queue, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct QueuePermit {
    queue: Arc<Queue>,
    amount: u64,
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        self.queue.depth.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// All queues of a node, one of each name.
#[derive(Clone, Debug)]
pub struct Queues(Arc<[Arc<Queue>]>);

impl Queues {
    /// Creates each queue with its cap from `capacity`.
    pub fn with(capacity: impl Fn(QueueName) -> u64) -> Self {
        Self(QueueName::ALL.iter().map(|name| Queue::new(*name, capacity(*name))).collect())
    }

    /// Returns the queue of a name.
    pub fn of(&self, name: QueueName) -> &Arc<Queue> {
        // `ALL` has the names in the order of the enum.
        &self.0[name as usize]
    }

    /// Iterates over all of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_over_the_capacity_is_rejected_and_counted_until_space_is_free() {
        let queue = Queue::new(QueueName::RequestBytes, 10);
        let first = queue.enter(6).unwrap();
        assert!(queue.enter(5).is_none());
        assert_eq!((queue.depth(), queue.rejections()), (6, 1));
        let second = queue.enter(4).unwrap();
        drop(first);
        assert_eq!(queue.depth(), 4);
        let third = queue.enter_anyway(100);
        assert!(queue.enter(1).is_none());
        drop((second, third));
        assert_eq!((queue.depth(), queue.rejections()), (0, 2));
        assert!(queue.enter(u64::MAX).is_none());
    }

    #[test]
    fn entry_larger_than_the_queue_is_accepted_only_alone() {
        let queue = Queue::new(QueueName::AnswerBytes, 10);
        let small = queue.enter_however_large(6).unwrap();
        assert!(queue.enter_however_large(5).is_none(), "what fits into the queue waits until it does");
        let large = queue.enter_however_large(11).unwrap();
        assert!(queue.enter_however_large(11).is_none());
        assert!(queue.enter_however_large(1).is_none());
        drop(large);
        drop(queue.enter_however_large(11).unwrap());
        drop(small);
        assert_eq!((queue.depth(), queue.rejections()), (0, 3));
    }

    #[test]
    fn each_queue_name_has_its_own_queue() {
        let queues = Queues::with(|name| name as u64);
        for name in QueueName::ALL {
            assert_eq!((queues.of(name).name(), queues.of(name).capacity()), (name, name as u64));
        }
    }
}
