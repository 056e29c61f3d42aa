//! Executions that wait for a moment: how they begin to wait, and stop.

use super::{Execution, Executions, Phase};
use crate::executions::facts::{ExecutionRequested, Pace};
use crate::ids::ExecutionId;
use crate::time::Timestamp;

impl Phase {
    /// Returns the phase of an execution that was just requested.
    pub(super) fn begin(requested: &ExecutionRequested) -> Self {
        if requested.start_at.is_some() || requested.wait_millis.is_some() { Self::Delayed } else { Self::of(requested.pace) }
    }

    /// Returns the phase of an execution that may continue.
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
    /// Returns true if another attempt may follow a failed one.
    pub(crate) fn may_be_tried_again(&self) -> bool {
        self.failures < self.failures_max
    }
}

impl Executions {
    /// Files an execution according to its phase.
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

    /// Applies a failed attempt that will be retried when a timer fires.
    pub(crate) fn delay(&mut self, id: &ExecutionId) {
        self.change(id, |execution| execution.phase = Phase::Delayed);
        self.settle_in(id);
    }

    /// Applies the end of a delay, at `now`.
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

    /// Blocks an execution that would continue but must hold a lock first.
    pub(crate) fn block(&mut self, id: &ExecutionId) {
        self.dequeue(id);
        self.idle.remove(id);
        self.change(id, |execution| execution.phase = Phase::Blocked);
    }

    /// Unblocks an execution that holds all its locks: it continues at `now`.
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

    /// Applies the end of a wait. The execution's end is the record that follows.
    pub(crate) fn wake(&mut self, id: &ExecutionId) {
        self.change(id, |execution| execution.has_come = matches!(execution.phase, Phase::Asleep | Phase::Asking | Phase::Awaiting));
    }

    /// Applies that the whole execution exceeded its limit: its running attempt is stopped, and nothing of it
    /// starts any longer. If it was asked to end before, it ends by that.
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
            // This also applies if it was asked to end before: there is nothing left to ask a person.
            Phase::Indeterminate(_) => self.change(id, |execution| {
                execution.is_timed_out = true;
                execution.is_cancelled = true;
            }),
            Phase::Ending { attempt, how, cancelled: false } => self.change(id, |execution| {
                execution.is_timed_out = true;
                execution.phase = Phase::Ending { attempt, how, cancelled: true };
            }),
            // The progress of a workflow states where it is.
            Phase::InSteps => self.change(id, |execution| execution.is_timed_out = true),
            Phase::Cancelling(_) | Phase::Withdrawn | Phase::Ending { cancelled: true, .. } => {}
        }
    }
}
