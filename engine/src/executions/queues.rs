//! The queues in which executions wait for a worker slot: which ones wait, how many slots are taken, and how
//! many attempts were started, for each queue.
//!
//! The operator sets which queues there are and how many slots each has. Executions in a queue without slots
//! keep waiting.

use serde::{Deserialize, Serialize};

use crate::command::Settings;
use crate::ids::ExecutionId;
use crate::names::WorkerQueueName;
use crate::record::Position;
use crate::table::Table;
use crate::time::Timestamp;

/// The place of an execution in its queue: by priority and age.
pub type QueuePlace = (i16, Position);

/// The queues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerQueues {
    /// The waiting executions, by queue and place.
    waiting: Table<(WorkerQueueName, QueuePlace), ExecutionId>,
    /// The attempts started, by queue.
    starts: Table<WorkerQueueName, Starts>,
    /// How many wait and work in each; derived from `waiting` and from the running executions.
    #[serde(skip)]
    lengths: Table<WorkerQueueName, Length>,
}

/// The attempts started in a queue since counting began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Starts {
    /// The number of attempts.
    pub count: u64,
    /// When the last one was started, by the clock as it is now.
    pub last: Timestamp,
}

/// How many executions wait and work in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Length {
    waiting: usize,
    working: u32,
}

impl WorkerQueues {
    /// Returns the queues in which any execution waits or works.
    pub fn names(&self) -> impl Iterator<Item = &WorkerQueueName> {
        self.lengths.iter().map(|(queue, _)| queue)
    }

    /// Returns the executions that wait in a queue, the next first, with their places.
    pub fn waiting(&self, queue: &WorkerQueueName) -> impl Iterator<Item = (QueuePlace, ExecutionId)> {
        self.waiting.range(from(queue, i16::MIN)..=until(queue, i16::MAX)).map(|((_, place), id)| (*place, *id))
    }

    /// Returns the execution that has waited in a queue longest, regardless of priority: the first of each
    /// priority is examined.
    pub fn oldest(&self, queue: &WorkerQueueName) -> Option<ExecutionId> {
        let mut oldest: Option<(Position, ExecutionId)> = None;
        let mut rank = i16::MIN;
        while let Some(((_, place), id)) = self.waiting.range(from(queue, rank)..=until(queue, i16::MAX)).next() {
            oldest = oldest.into_iter().chain([(place.1, *id)]).min();
            rank = place.0.saturating_add(1);
        }
        oldest.map(|(_, id)| id)
    }

    /// Returns how many executions wait in a queue; paused ones do not count.
    pub fn waiting_count(&self, queue: &WorkerQueueName) -> usize {
        self.length(queue).waiting
    }

    /// Returns how many slots of a queue are taken.
    pub fn working_count(&self, queue: &WorkerQueueName) -> u32 {
        self.length(queue).working
    }

    /// Returns the attempts started in a queue.
    pub fn starts(&self, queue: &WorkerQueueName) -> Starts {
        self.starts.get(queue).copied().unwrap_or_default()
    }

    /// Returns how many more executions of a queue with that many slots may start now.
    pub fn may_start(&self, queue: &WorkerQueueName, workers: u32, settings: &Settings) -> u64 {
        let free = u64::from(workers.saturating_sub(self.working_count(queue)));
        let starts = settings.starts_max.get(queue).map_or(u64::MAX, |max| max.saturating_sub(self.starts(queue).count));
        free.min(starts)
    }

    pub(super) fn waiting_in_all(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn contains(&self, queue: &WorkerQueueName, place: QueuePlace) -> bool {
        self.waiting.contains(&(queue.clone(), place))
    }

    pub(super) fn insert(&mut self, queue: &WorkerQueueName, place: QueuePlace, id: ExecutionId) {
        if !self.contains(queue, place) {
            self.waiting.insert((queue.clone(), place), id);
            self.count(queue, |length| length.waiting += 1);
        }
    }

    pub(super) fn remove(&mut self, queue: &WorkerQueueName, place: QueuePlace) {
        if self.contains(queue, place) {
            self.waiting.remove(&(queue.clone(), place));
            self.count(queue, |length| length.waiting = length.waiting.saturating_sub(1));
        }
    }

    /// Takes a slot of the queue for an attempt.
    pub(super) fn start(&mut self, queue: &WorkerQueueName, at: Timestamp) {
        self.count(queue, |length| length.working += 1);
        let count = self.starts(queue).count + 1;
        self.starts.insert(queue.clone(), Starts { count, last: at });
    }

    /// Applies a clock step: shifts the recorded start times by the same amount.
    pub(super) fn step(&mut self, micros: i64) {
        let all: Vec<WorkerQueueName> = self.starts.iter().map(|(queue, _)| queue.clone()).collect();
        for queue in all {
            let moved = |starts: &mut Starts| starts.last = Timestamp::from_micros(starts.last.micros().saturating_add(micros));
            self.starts.change(&queue, moved);
        }
    }

    /// Frees a slot of the queue.
    pub(super) fn leave(&mut self, queue: &WorkerQueueName) {
        self.count(queue, |length| length.working = length.working.saturating_sub(1));
    }

    /// Rebuilds the derived counts, from the waiting executions and the queues of those that are working.
    pub(super) fn index<'a>(&mut self, working: impl Iterator<Item = &'a WorkerQueueName>) {
        self.lengths = Table::default();
        let waiting: Vec<WorkerQueueName> = self.waiting.iter().map(|((queue, _), _)| queue.clone()).collect();
        waiting.iter().for_each(|queue| self.count(queue, |length| length.waiting += 1));
        working.for_each(|queue| self.count(queue, |length| length.working += 1));
        self.waiting.commit();
        self.lengths.commit();
    }

    pub(super) fn commit(&mut self) {
        self.waiting.commit();
        self.starts.commit();
        self.lengths.commit();
    }

    pub(super) fn undo(&mut self) {
        self.waiting.undo();
        self.starts.undo();
        self.lengths.undo();
    }

    fn length(&self, queue: &WorkerQueueName) -> Length {
        self.lengths.get(queue).copied().unwrap_or_default()
    }

    fn count(&mut self, queue: &WorkerQueueName, count: impl FnOnce(&mut Length)) {
        let mut length = self.length(queue);
        count(&mut length);
        if length == Length::default() {
            self.lengths.remove(queue);
        } else {
            self.lengths.insert(queue.clone(), length);
        }
    }
}

fn from(queue: &WorkerQueueName, rank: i16) -> (WorkerQueueName, QueuePlace) {
    (queue.clone(), (rank, Position::default()))
}

fn until(queue: &WorkerQueueName, rank: i16) -> (WorkerQueueName, QueuePlace) {
    (queue.clone(), (rank, Position(u64::MAX)))
}
