//! The undo of a workflow that does not succeed: once all its steps have ended, those that succeeded are
//! undone one after the other, the newest first.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Value};

use crate::catalog::TemplateSet;
use crate::executions::facts::{ExecutionCancelled, Failure, FailureKind};
use crate::fact::Fact;
use crate::reaction::Reaction;
use crate::record::Draft;
use crate::workflows::facts::{BadEnd, UndoBegun, UndoFailed};
use crate::workflows::inputs::{Ends, document as value_of};
use crate::workflows::run::Nth;
use crate::workflows::run::StepError;
use crate::workflows::run::WorkflowRun;
use crate::workflows::state::{Undoable, Undoing};

impl WorkflowRun<'_> {
    /// Returns the beginning of the undo, if the workflow does not succeed and a step of it did that can be undone.
    pub(super) fn undo_begun(&self, end: &Fact) -> Option<Fact> {
        let end = match end {
            Fact::ExecutionFailed(end) => BadEnd::Failed { error: end.error.clone() },
            Fact::ExecutionTimedOut(end) => BadEnd::TimedOut { error: end.error.clone() },
            Fact::ExecutionCancelled(_) => BadEnd::Cancelled,
            _ => return None,
        };
        let count = self.state.workflows().undo_count(self.id);
        (count > 0).then(|| UndoBegun { count, end }.into())
    }

    /// Returns the next undo of the workflow, or its end if nothing is left or somebody asked it to end a second time.
    pub(super) fn undo_or_end(&self, undoing: &Undoing) -> Result<Draft, Reaction> {
        let next = self.state.workflows().next_undo(self.id).filter(|_| self.progress.cancels <= 1);
        let Some(next) = next else { return Ok(self.draft(self.undone_end(undoing), None)) };
        match self.undone(next) {
            Ok(draft) => Ok(draft),
            Err(StepError::Stuck(reaction)) => Err(reaction),
            Err(StepError::Fails(error)) => {
                let fact = UndoFailed { step: next.step.clone(), item: next.item, error };
                Ok(self.draft(fact.into(), None))
            }
        }
    }

    /// Returns the request of the undo of a step, or of an item of it.
    fn undone(&self, of: &Undoable) -> Result<Draft, StepError> {
        let Undoable { step: name, item } = of;
        let step = self.workflow.step(name).zip(self.state(name));
        let Some((step, state, undo)) = step.and_then(|(step, state)| Some((step, state, step.undo.as_ref()?))) else {
            return Err(Reaction::Impossible(format!("the step `{name}` has no undo")).into());
        };
        let rendered = TemplateSet::of_undo(undo);
        let reads = rendered.reads();
        let gave = match item {
            None => state.result,
            Some(item) => self.state.workflows().item(self.id, name, *item).and_then(|item| item.result),
        };
        let result = self.document(gave.filter(|_| reads.iter().any(|path| path.segments[0] == "result")))?;
        let element = match (item, &state.items) {
            (Some(item), Some(items)) => Some((*item, self.element(items, *item)?)),
            _ => None,
        };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let inputs = self.inputs_of(step, Ends { succeeded: false, failed: true }, reads)?;
        let mut scope = self.scope_of(step, &inputs, &rendered.expressions(), &mut budget)?.with("result", value_of(result.as_ref()));
        if let Some((index, element)) = &element {
            scope = scope.with("item", element.root()).with("index", Value::from(i64::from(*index)));
        }
        self.request_step(step, Nth::Undo(*item), &undo.action, &undo.with, &scope, &mut budget)
    }

    /// Returns the end that the workflow had when its undo began; if an undo failed, the workflow fails
    /// because of that.
    fn undone_end(&self, undoing: &Undoing) -> Fact {
        if let Some((first, why)) = &undoing.first_failed {
            let ended = match &undoing.end {
                BadEnd::Failed { error } | BadEnd::TimedOut { error } => &error.message,
                BadEnd::Cancelled => "it was cancelled",
            };
            let item = first.item.map(|item| format!(", item {item}")).unwrap_or_default();
            let message = format!(
                "{} of {} undos failed; the first was that of `{}`{item}: {why}; it was undone because {ended}",
                undoing.failed, undoing.begun, first.step
            );
            return self.execution.failure_fact(Failure::new(FailureKind::UndoFailed, message));
        }
        match undoing.end.clone() {
            BadEnd::Failed { error } => self.execution.failure_fact(error),
            BadEnd::TimedOut { error } => self.execution.timed_out(error),
            BadEnd::Cancelled => ExecutionCancelled { error: None, part_of: self.execution.part_of.clone(), by: None }.into(),
        }
    }
}
