//! The effects that the state of executions owes: to run an attempt, to stop it, to release it.

use super::{Executions, Phase};
use crate::effect::Effect;
use crate::executions::facts::{AttemptFailed, AttemptLost, AttemptSucceeded};
use crate::fact::ExecutionFact;
use crate::record::{Record, StreamId};

impl Executions {
    /// Returns the effect owed after `record`, the last one that was applied.
    pub(crate) fn effects_of(&self, record: &Record, fact: ExecutionFact<'_>) -> Option<Effect> {
        let StreamId::Execution(id) = record.stream else { return None };
        match fact {
            ExecutionFact::AttemptStarted(_) => {
                let execution = self.open.get(&id)?;
                match execution.phase {
                    Phase::Running(attempt) => Some(execution.dispatch(id, attempt)),
                    Phase::Delayed
                    | Phase::Blocked
                    | Phase::Queued
                    | Phase::Asleep
                    | Phase::Asking
                    | Phase::Awaiting
                    | Phase::Woken
                    | Phase::InSteps { .. }
                    | Phase::Cancelling { .. }
                    | Phase::Indeterminate { .. }
                    | Phase::Settled { .. }
                    | Phase::Withdrawn(_)
                    | Phase::Ending { .. } => None,
                }
            }
            ExecutionFact::ExecutionCancelRequested(_) => {
                let attempt = self.running.get(&id).or_else(|| self.at_once.get(&id))?;
                Some(Effect::Stop { execution: id, attempt: *attempt })
            }
            ExecutionFact::AttemptSucceeded(AttemptSucceeded { attempt, .. })
            | ExecutionFact::AttemptFailed(AttemptFailed { attempt, .. })
            | ExecutionFact::AttemptLost(AttemptLost { attempt, .. }) => Some(Effect::Release { execution: id, attempt: *attempt }),
            ExecutionFact::ExecutionRequested(_)
            | ExecutionFact::AttemptProgressed(_)
            | ExecutionFact::AttemptEmitted(_)
            | ExecutionFact::ArtifactKept(_)
            | ExecutionFact::MessageRefused(_)
            | ExecutionFact::AttemptReportedLate(_)
            | ExecutionFact::ExecutionSucceeded(_)
            | ExecutionFact::ExecutionFailed(_)
            | ExecutionFact::ExecutionTimedOut(_)
            | ExecutionFact::ExecutionCancelled(_)
            | ExecutionFact::ExecutionPaused(_)
            | ExecutionFact::ExecutionResumed(_)
            | ExecutionFact::LockAwaited(_)
            | ExecutionFact::LockAcquired(_)
            | ExecutionFact::ExecutionBecameIndeterminate(_)
            | ExecutionFact::ExecutionSettled(_) => None,
        }
    }

    /// Returns the effects owed by the whole state: each running attempt, and each requested stop.
    pub(crate) fn owed_effects(&self) -> Vec<Effect> {
        let mut owed = Vec::new();
        for id in self.running.iter().chain(self.at_once.iter()).map(|(id, _)| id) {
            let Some(execution) = self.open.get(id) else { continue };
            match execution.phase {
                Phase::Running(attempt) => owed.push(execution.dispatch(*id, attempt)),
                Phase::Cancelling { attempt, .. } => {
                    owed.push(execution.dispatch(*id, attempt));
                    owed.push(Effect::Stop { execution: *id, attempt: attempt.id });
                }
                Phase::Delayed
                | Phase::Blocked
                | Phase::Queued
                | Phase::Asleep
                | Phase::Asking
                | Phase::Awaiting
                | Phase::Woken
                | Phase::InSteps { .. }
                | Phase::Indeterminate { .. }
                | Phase::Settled { .. }
                | Phase::Withdrawn(_)
                | Phase::Ending { .. } => {}
            }
        }
        owed
    }
}
