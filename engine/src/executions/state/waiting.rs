//! Executions that wait for a moment: how they come to it, and leave it.

use super::{Execution, Executions, Phase};
use crate::executions::facts::{ExecutionRequested, Pace};
use crate::ids::ExecutionId;
use crate::time::Timestamp;

impl Phase {
    /// Gives where an execution stands that was just asked for.
    pub(super) fn begin(requested: &ExecutionRequested) -> Self {
        if requested.start_at.is_some() || requested.wait_millis.is_some() { Self::Delayed } else { Self::of(requested.pace) }
    }

    /// Gives where an execution stands that may go on.
    fn of(pace: Pace) -> Self {
        match pace {
            Pace::Worked | Pace::AtOnce => Self::Queued,
            Pace::InSteps => Self::InSteps,
            Pace::Sleeps { .. } => Self::Asleep,
            Pace::Asks => Self::Asking,
            Pace::Awaits { .. } => Self::Awaiting,
        }
    }
}

impl Execution {
    /// Says whether another attempt may follow one that failed.
    pub(crate) fn may_be_tried_again(&self) -> bool {
        self.failures < self.failures_max
    }
}

impl Executions {
    /// Puts an execution where its phase says.
    pub(super) fn settle_in(&mut self, id: &ExecutionId) {
        match self.open.get(id).map(|execution| execution.phase) {
            Some(Phase::Delayed | Phase::Asleep | Phase::Asking | Phase::Awaiting | Phase::InSteps) => self.idle.insert(*id, ()),
            Some(Phase::Queued) => self.enqueue(id),
            Some(
                Phase::Blocked
                | Phase::Running(_)
                | Phase::Cancelling(_)
                | Phase::Indeterminate(_)
                | Phase::Withdrawn
                | Phase::Ending { .. },
            )
            | None => {}
        }
    }

    /// Its attempt failed, and another follows at a moment that a timer says.
    pub(crate) fn delay(&mut self, id: &ExecutionId) {
        self.change(id, |execution| execution.phase = Phase::Delayed);
        self.settle_in(id);
    }

    /// The moment has come, and it is this.
    pub(crate) fn end_delay(&mut self, id: &ExecutionId, now: Timestamp) {
        let Some(execution) = self.open.get(id).filter(|execution| execution.phase == Phase::Delayed) else { return };
        let phase = Phase::of(execution.pace);
        self.idle.remove(id);
        self.change(id, |execution| {
            execution.phase = phase;
            execution.began_at = execution.began_at.map(|_| now);
        });
        self.settle_in(id);
    }

    /// It would go on, and has to hold a lock first.
    pub(crate) fn block(&mut self, id: &ExecutionId) {
        self.dequeue(id);
        self.idle.remove(id);
        self.change(id, |execution| execution.phase = Phase::Blocked);
    }

    /// It holds all its locks, and goes on now.
    pub(crate) fn unblock(&mut self, id: &ExecutionId, now: Timestamp) {
        let Some(pace) = self.open.get(id).filter(|execution| execution.phase == Phase::Blocked).map(|execution| execution.pace) else {
            return;
        };
        self.change(id, |execution| {
            execution.phase = Phase::of(pace);
            execution.began_at = execution.began_at.map(|_| now);
        });
        self.settle_in(id);
    }

    /// What it waits for has come. Its end is the record that follows.
    pub(crate) fn wake(&mut self, id: &ExecutionId) {
        self.change(id, |execution| execution.has_come = matches!(execution.phase, Phase::Asleep | Phase::Asking | Phase::Awaiting));
    }

    /// It took longer than all of it may: what runs of it is stopped, and nothing of it starts any more. Where it was asked to end
    /// before, it ends by that.
    pub(crate) fn time_out(&mut self, id: &ExecutionId) {
        let Some(execution) = self.open.get(id) else { return };
        match execution.phase {
            Phase::Running(attempt) => self.change(id, |execution| {
                execution.is_timed_out = true;
                execution.phase = Phase::Cancelling(attempt);
            }),
            Phase::Asleep | Phase::Asking | Phase::Awaiting if execution.has_come => {}
            Phase::Delayed | Phase::Blocked | Phase::Queued | Phase::Asleep | Phase::Asking | Phase::Awaiting => {
                self.dequeue(id);
                self.idle.remove(id);
                self.change(id, |execution| {
                    execution.is_timed_out = true;
                    execution.phase = Phase::Withdrawn;
                });
            }
            // Also where it was asked to end before: there is nothing left to ask a person.
            Phase::Indeterminate(_) => self.change(id, |execution| {
                execution.is_timed_out = true;
                execution.is_cancelled = true;
            }),
            Phase::Ending { attempt, how, cancelled: false } => self.change(id, |execution| {
                execution.is_timed_out = true;
                execution.phase = Phase::Ending { attempt, how, cancelled: true };
            }),
            // Where a workflow stands is said by its progress.
            Phase::InSteps => self.change(id, |execution| execution.is_timed_out = true),
            Phase::Cancelling(_) | Phase::Withdrawn | Phase::Ending { cancelled: true, .. } => {}
        }
    }
}
