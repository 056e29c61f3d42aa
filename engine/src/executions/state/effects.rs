//! The effects that the state of executions owes: to run an attempt, to stop it, to release it.

use super::{Executions, Phase};
use crate::effect::Effect;
use crate::executions::milestone::Milestone;
use crate::fact::ExecutionFact;
use crate::record::{Record, StreamId};

impl Executions {
    /// Returns the effect owed after `record`, the last one that was applied.
    pub(crate) fn effects_of(&self, record: &Record, fact: ExecutionFact<'_>) -> Option<Effect> {
        let StreamId::Execution(id) = record.stream else { return None };
        match fact.milestone() {
            Milestone::AttemptBegan(_) => {
                let execution = self.open.get(&id)?;
                let Phase::Running(attempt) = execution.phase else { return None };
                Some(execution.dispatch(id, attempt, self.caller_of_program(execution)))
            }
            Milestone::CancelRequested => {
                let attempt = self.running.get(&id).or_else(|| self.at_once.get(&id))?;
                Some(Effect::Stop { execution: id, attempt: *attempt })
            }
            Milestone::AttemptEnded(ended) => Some(Effect::Release { execution: id, attempt: ended.attempt }),
            Milestone::Asked(_)
            | Milestone::Said { .. }
            | Milestone::Held
            | Milestone::Freed
            | Milestone::Settled(_)
            | Milestone::Ended(_)
            | Milestone::Noted => None,
        }
    }

    /// Returns the effects owed by the whole state: each running attempt, and each requested stop.
    pub(crate) fn owed_effects(&self) -> Vec<Effect> {
        let mut owed = Vec::new();
        for id in self.running.iter().chain(self.at_once.iter()).map(|(id, _)| id) {
            let Some(execution) = self.open.get(id) else { continue };
            let Some(attempt) = execution.phase.running() else { continue };
            owed.push(execution.dispatch(*id, attempt, self.caller_of_program(execution)));
            if let Phase::Cancelling { .. } = execution.phase {
                owed.push(Effect::Stop { execution: *id, attempt: attempt.id });
            }
        }
        owed
    }
}
