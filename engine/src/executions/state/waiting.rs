//! Executions that wait for a moment, a lock, an answer or an event: how they begin to wait, and stop.

use super::{Executions, Phase, Stop};
use crate::ids::ExecutionId;
use crate::time::Timestamp;

impl Executions {
    /// Applies a failed attempt that will be retried when a timer fires.
    pub(crate) fn delay(&mut self, id: &ExecutionId) {
        self.change(id, |execution| execution.phase = Phase::Delayed);
    }

    /// Applies the end of a delay, at `now`.
    pub(crate) fn end_delay(&mut self, id: &ExecutionId, now: Timestamp) {
        self.proceed(id, Phase::Delayed, now);
    }

    /// Blocks an execution that would continue but must hold a lock first.
    pub(crate) fn block(&mut self, id: &ExecutionId) {
        self.change(id, |execution| execution.phase = Phase::Blocked);
    }

    /// Unblocks an execution that holds all its locks: it continues at `now`.
    pub(crate) fn unblock(&mut self, id: &ExecutionId, now: Timestamp) {
        self.proceed(id, Phase::Blocked, now);
    }

    /// Lets an execution of this phase continue at `now`.
    fn proceed(&mut self, id: &ExecutionId, from: Phase, now: Timestamp) {
        if self.get(id).is_none_or(|execution| execution.phase != from) {
            return;
        }
        self.change(id, |execution| {
            execution.phase = Phase::of(execution.pace);
            execution.began_at = execution.began_at.map(|_| now);
        });
    }

    /// Applies the end of a wait. The execution's end is the record that follows.
    pub(crate) fn wake(&mut self, id: &ExecutionId) {
        if self.get(id).is_some_and(|execution| execution.waits()) {
            self.change(id, |execution| execution.phase = Phase::Woken);
        }
    }

    /// Applies that the whole execution exceeded its limit: its running attempt is stopped, and nothing of it
    /// starts any longer. If it was asked to end before, it ends by that; `is_ending` says whether a workflow is ending.
    pub(crate) fn time_out(&mut self, id: &ExecutionId, is_ending: bool) {
        let Some(execution) = self.get(id) else { return };
        let phase = match execution.phase {
            Phase::Running(attempt) => Phase::Cancelling { attempt, why: Stop::TimedOut },
            Phase::Delayed | Phase::Blocked | Phase::Queued | Phase::Asleep | Phase::Asking | Phase::Awaiting => {
                Phase::Withdrawn(Stop::TimedOut)
            }
            // This also applies if it was asked to end before: there is nothing left to ask a person.
            Phase::Indeterminate { attempt, .. } => Phase::Indeterminate { attempt, stop: Some(Stop::TimedOut) },
            Phase::Settled { attempt, .. } => Phase::Settled { attempt, stop: Some(Stop::TimedOut) },
            Phase::Ending { attempt, how, stop: None } => Phase::Ending { attempt, how, stop: Some(Stop::TimedOut) },
            Phase::InSteps { .. } if !is_ending => Phase::InSteps { is_timed_out: true },
            Phase::InSteps { .. } | Phase::Woken | Phase::Cancelling { .. } | Phase::Withdrawn(_) | Phase::Ending { stop: Some(_), .. } => {
                return;
            }
        };
        self.change(id, |execution| execution.phase = phase);
    }
}
