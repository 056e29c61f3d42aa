//! The tables that list the open executions by phase. Every change of an execution goes through this file, so
//! the tables agree with the phases.

use std::sync::Arc;

use super::phase::Listing;
use super::{Execution, Executions};
use crate::executions::queues::QueuePlace;
use crate::ids::ExecutionId;
use crate::names::WorkerQueueName;

/// What the tables need to list an execution.
struct ListEntry {
    id: ExecutionId,
    queue: WorkerQueueName,
    place: QueuePlace,
}

impl ListEntry {
    fn of(id: ExecutionId, execution: &Execution) -> Self {
        Self { id, queue: execution.queue.clone(), place: execution.place }
    }
}

impl Execution {
    fn listing(&self) -> Listing {
        self.phase.listing(self.pace)
    }
}

impl Executions {
    /// Adds an execution that was requested.
    pub(super) fn insert(&mut self, id: ExecutionId, execution: Execution) {
        let (listed, to) = (ListEntry::of(id, &execution), execution.listing());
        self.open.insert(id, Arc::new(execution));
        self.relist(&listed, Listing::Nowhere, to);
    }

    /// Removes an execution that has ended.
    pub(super) fn remove(&mut self, id: &ExecutionId) {
        let Some(execution) = self.get(id) else { return };
        let (listed, from) = (ListEntry::of(*id, execution), execution.listing());
        self.relist(&listed, from, Listing::Nowhere);
        self.open.remove(id);
    }

    /// Changes an execution. If its phase changes, so does the table that lists it.
    pub(super) fn change(&mut self, id: &ExecutionId, change: impl FnOnce(&mut Execution)) {
        let mut moved = None;
        self.open.change(id, |execution| {
            let execution = Arc::make_mut(execution);
            let from = execution.listing();
            change(execution);
            let to = execution.listing();
            moved = (from != to).then(|| (ListEntry::of(*id, execution), from, to));
        });
        if let Some((listed, from, to)) = moved {
            self.relist(&listed, from, to);
        }
    }

    /// Moves an execution from one table to another.
    fn relist(&mut self, listed: &ListEntry, from: Listing, to: Listing) {
        let ListEntry { id, queue, place } = listed;
        match from {
            Listing::Nowhere => {}
            Listing::Waiting => {
                self.queues.remove(queue, *place);
                self.aside.remove(place);
            }
            Listing::Running { .. } => self.leave(listed),
            Listing::AtOnce(_) => self.at_once.remove(id),
            Listing::Idle => self.idle.remove(id),
            Listing::Indeterminate(_) => {
                self.indeterminate.remove(id);
            }
        }
        match to {
            Listing::Nowhere => {}
            Listing::Waiting => self.queues.insert(queue, *place, *id),
            Listing::Running { attempt, since } => {
                self.running.insert(*id, attempt);
                self.queues.start(queue, since);
            }
            Listing::AtOnce(attempt) => self.at_once.insert(*id, attempt),
            Listing::Idle => self.idle.insert(*id, ()),
            Listing::Indeterminate(attempt) => self.indeterminate.insert(*id, attempt),
        }
    }

    /// Frees the slot of an execution that runs.
    fn leave(&mut self, listed: &ListEntry) {
        if self.running.contains(&listed.id) {
            self.running.remove(&listed.id);
            self.queues.leave(&listed.queue);
        }
    }

    /// Moves an execution that waits for a worker aside, because it also waits to be resumed.
    pub(crate) fn set_aside(&mut self, id: &ExecutionId) {
        let Some((queue, place)) = self.get(id).map(|execution| (execution.queue.clone(), execution.place)) else { return };
        if self.queues.contains(&queue, place) {
            self.queues.remove(&queue, place);
            self.aside.insert(place, *id);
        }
    }

    /// Moves an execution back to its queue: it waits only for a worker.
    pub(crate) fn put_back(&mut self, id: &ExecutionId) {
        let Some((queue, place)) = self.get(id).map(|execution| (execution.queue.clone(), execution.place)) else { return };
        if self.aside.contains(&place) {
            self.aside.remove(&place);
            self.queues.insert(&queue, place, *id);
        }
    }
}
