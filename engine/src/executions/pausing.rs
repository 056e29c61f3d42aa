//! Paused executions and everything below them: nothing of it starts, and no due timer fires, until they are resumed.
//!
//! `health/state.rs` holds the consequences of their records meanwhile, `timers/state.rs` their timers.

use super::state::{Execution, Executions, Phase};
use crate::command::{Answer, Decision, Refusal};
use crate::executions::facts::{ExecutionPaused, ExecutionResumed};
use crate::fact::{ByNoun, ExecutionFact, Fact, InquiryFact, StepFact};
use crate::ids::ExecutionId;
use crate::record::{Actor, Draft, Record, StreamId};
use crate::state::State;
use crate::workflows::facts::PartRole;
use crate::workflows::state::{WorkflowState, Workflows};

/// Pauses an execution: nothing of it starts. Pausing again changes nothing.
pub(crate) fn pause(state: &State, actor: &Actor, trace: Option<&str>, id: ExecutionId) -> Decision {
    let Some(execution) = state.executions().get(&id) else { return Decision::Refused(Refusal::NotOpen(id)) };
    if is_ending(id, execution, state.workflows()) {
        return Decision::Refused(Refusal::IsEnding(id));
    }
    let is_paused = state.executions().is_paused(&id);
    let drafts = (!is_paused).then(|| draft(actor, trace, (id, execution), ExecutionPaused {}.into()));
    Decision::Done { drafts: drafts.into_iter().collect(), answer: Answer::Execution(id) }
}

/// Resumes a paused execution.
pub(crate) fn resume(state: &State, actor: &Actor, trace: Option<&str>, id: ExecutionId) -> Decision {
    let Some(execution) = state.executions().get(&id) else { return Decision::Refused(Refusal::NotOpen(id)) };
    if !state.executions().is_paused(&id) {
        let by = state.executions().held_by(&id, state.workflows());
        return Decision::Refused(Refusal::NotPaused { execution: id, by });
    }
    Decision::Done { drafts: vec![draft(actor, trace, (id, execution), ExecutionResumed {}.into())], answer: Answer::Execution(id) }
}

fn draft(actor: &Actor, trace: Option<&str>, (id, execution): (ExecutionId, &Execution), fact: Fact) -> Draft {
    Draft::new(StreamId::Execution(id), actor, fact).because(execution.cause(id.0)).with_trace(trace)
}

impl State {
    /// Returns true if an open execution was asked to end, took too long, or undoes itself: it cannot be paused.
    pub fn is_ending(&self, id: &ExecutionId) -> bool {
        self.executions().get(id).is_some_and(|execution| is_ending(*id, execution, self.workflows()))
    }
}

/// Returns true if an execution was asked to end, took too long, or undoes itself: pausing does not hold that up.
pub(crate) fn is_ending(id: ExecutionId, execution: &Execution, workflows: &Workflows) -> bool {
    let is_ending_by_progress = || workflows.progress(&id).is_some_and(WorkflowState::is_ending);
    execution.phase.stop().is_some() || matches!(execution.phase, Phase::InSteps { .. }) && is_ending_by_progress()
}

/// Returns the execution that a record causes to continue; `None` if there is none, or if it may continue
/// whatever is paused.
fn that_goes_on(record: &Record) -> Option<ExecutionId> {
    let StreamId::Execution(own) = record.stream else { return None };
    match record.fact.by_noun() {
        ByNoun::ExecutionFact(ExecutionFact::ExecutionRequested(_) | ExecutionFact::LockAcquired(_)) => Some(own),
        // A running attempt finishes, and reports on it count. Only the end of a part makes its workflow continue.
        ByNoun::ExecutionFact(fact) => fact.execution_end().and_then(|ended| ended.part_of).map(|part_of| part_of.workflow),
        ByNoun::StepFact(StepFact::WaitMatched(fact)) => fact.execution,
        ByNoun::StepFact(_) | ByNoun::TimerFact(_) => Some(own),
        ByNoun::InquiryFact(InquiryFact::InquiryAnswered(_)) => Some(own),
        // The execution that notifies people is not a step, and a reminder depends on a timer, which waits.
        _ => None,
    }
}

/// Returns the paused execution that holds up the consequences of a record.
pub(crate) fn holds_up(state: &State, record: &Record) -> Option<ExecutionId> {
    if !state.executions().has_paused() {
        return None;
    }
    let goes_on = that_goes_on(record)?;
    // The answer to a question of the engine itself settles it, and has no other consequences.
    let asks = || state.executions().get(&goes_on).is_some_and(Execution::asks);
    if matches!(record.fact, Fact::InquiryAnswered(_)) && !asks() {
        return None;
    }
    state.executions().held_by(&goes_on, state.workflows())
}

impl Executions {
    /// Returns true if an execution itself is paused.
    pub fn is_paused(&self, id: &ExecutionId) -> bool {
        self.paused.contains(id)
    }

    pub(crate) fn has_paused(&self) -> bool {
        !self.paused.is_empty()
    }

    /// Returns the innermost paused execution among this one and those around it; `None` if one of them in
    /// between is ending: cleanup is not held up.
    pub(crate) fn held_by(&self, id: &ExecutionId, workflows: &Workflows) -> Option<ExecutionId> {
        if !self.has_paused() {
            return None;
        }
        let mut at = *id;
        loop {
            let execution = self.get(&at)?;
            if is_ending(at, execution, workflows) {
                return None;
            }
            if self.paused.contains(&at) {
                return Some(at);
            }
            match &execution.part_of {
                Some(part_of) if part_of.role != PartRole::Undo => at = part_of.workflow,
                Some(_) | None => return None,
            }
        }
    }

    /// Applies a pause or a resume; returns the execution if that changes anything for those below it.
    pub(crate) fn apply_pause(&mut self, record: &Record) -> Option<ExecutionId> {
        let StreamId::Execution(id) = record.stream else { return None };
        match &record.fact {
            Fact::ExecutionPaused(_) => self.paused.insert(id, ()),
            // An execution that must end is no longer held up.
            Fact::ExecutionResumed(_) | Fact::ExecutionCancelRequested(_) if self.paused.contains(&id) => self.paused.remove(&id),
            // It was ended by what was still running.
            _ if self.paused.contains(&id) && self.get(&id).is_none() => self.paused.remove(&id),
            _ => return None,
        }
        Some(id)
    }
}
