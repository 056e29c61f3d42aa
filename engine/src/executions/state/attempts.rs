//! How the attempts of an execution change its phase: they report messages, end or are lost, and a cancel or a
//! settlement ends them.

use super::{AttemptEnd, Executions, Phase, Stop};
use crate::catalog::OnLost;
use crate::executions::facts::{Evidence, Settlement};
use crate::executions::message_counts::MessageCounts;
use crate::ids::{AttemptId, ExecutionId};

impl Executions {
    /// Counts a message of the running attempt, and advances past its index.
    pub(super) fn hear(&mut self, id: &ExecutionId, index: u32, count: impl FnOnce(&mut MessageCounts)) {
        self.change(id, |execution| {
            if let Phase::Running(attempt) | Phase::Cancelling { attempt, .. } = &mut execution.phase {
                attempt.heard.next = index.saturating_add(1);
                count(&mut attempt.heard);
            }
        });
    }

    /// Applies a request to end: a waiting execution will not start.
    pub(super) fn cancel(&mut self, id: &ExecutionId) {
        let Some(execution) = self.get(id) else { return };
        let phase = match execution.phase {
            Phase::Delayed | Phase::Blocked | Phase::Queued | Phase::Asleep | Phase::Asking | Phase::Awaiting => {
                Phase::Withdrawn(Stop::Cancelled)
            }
            Phase::Running(attempt) => Phase::Cancelling { attempt, why: Stop::Cancelled },
            Phase::Indeterminate { stop, .. } | Phase::Settled { stop, .. } => Phase::Withdrawn(stop.unwrap_or(Stop::Cancelled)),
            // An execution that has failed may be about to be retried.
            Phase::Ending { attempt, how, stop } => Phase::Ending { attempt, how, stop: stop.or(Some(Stop::Cancelled)) },
            Phase::Woken | Phase::InSteps { .. } | Phase::Cancelling { .. } | Phase::Withdrawn(_) => return,
        };
        self.change(id, |execution| execution.phase = phase);
    }

    /// Applies the end of an attempt. The consequences are the records that follow.
    pub(super) fn end_attempt(&mut self, id: &ExecutionId, attempt: AttemptId, how: AttemptEnd) {
        self.change(id, |execution| execution.phase = Phase::Ending { attempt, how, stop: execution.phase.stop() });
    }

    /// Applies the loss of an attempt: its slot is freed at once, and it is never dispatched again. If it is
    /// unknown whether the attempt took effect, the reaction to the loss decides what becomes of the
    /// execution.
    pub(super) fn lose_attempt(&mut self, id: &ExecutionId, evidence: Evidence) {
        let Some(execution) = self.get(id) else { return };
        let may_try_again = evidence == Evidence::NotBegun || execution.idempotent || execution.on_lost == OnLost::Retry;
        let Some(attempt) = execution.phase.running() else { return };
        let phase = match execution.phase.stop() {
            None if may_try_again => Phase::Queued,
            stop @ Some(_) if may_try_again => Phase::Ending { attempt: attempt.id, how: AttemptEnd::Lost, stop },
            stop => Phase::Indeterminate { attempt, stop },
        };
        self.change(id, |execution| execution.phase = phase);
    }

    /// Applies a person's statement of what became of an indeterminate execution.
    pub(super) fn settle(&mut self, id: &ExecutionId, outcome: &Settlement) {
        self.change(id, |execution| {
            let Phase::Indeterminate { attempt, stop } = execution.phase else { return };
            execution.phase = match outcome {
                Settlement::Retry if stop.is_none() => Phase::Queued,
                Settlement::Retry | Settlement::Succeeded | Settlement::Failed { .. } => Phase::Settled { attempt, stop },
            };
        });
    }
}
