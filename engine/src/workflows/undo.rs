//! What undoes a workflow that does not succeed: once all its steps have ended, what takes back each that did, one after the other, the
//! newest first.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Value};

use crate::engine::Reaction;
use crate::executions::facts::{ExecutionFailed, Failure, FailureKind};
use crate::fact::Fact;
use crate::record::Draft;
use crate::workflows::facts::{UndoBegun, UndoFailed};
use crate::workflows::react::{Going, Hindrance, Nth};
use crate::workflows::sight::{Ends, document as value_of};
use crate::workflows::state::Undoable;

impl Going<'_> {
    /// Gives what is due to undo the workflow; none where nothing is left, or somebody asked a second time that it end.
    pub(super) fn next_undo(&self) -> Result<Option<Draft>, Reaction> {
        let workflows = self.engine.workflows();
        let Some(next) = workflows.next_undo(self.id).filter(|_| self.course.cancels <= 1) else { return Ok(None) };
        if self.course.undoing.is_none() {
            let count = workflows.undo_count(self.id);
            return Ok(Some(self.draft(UndoBegun { count }.into(), None)));
        }
        match self.undone(next) {
            Ok(draft) => Ok(Some(draft)),
            Err(Hindrance::Stuck(reaction)) => Err(reaction),
            Err(Hindrance::Fails(error)) => {
                let fact = UndoFailed { step: next.step.clone(), item: next.item, error };
                Ok(Some(self.draft(fact.into(), None)))
            }
        }
    }

    /// Gives the request of what undoes a step, or an item of it.
    fn undone(&self, of: &Undoable) -> Result<Draft, Hindrance> {
        let Undoable { step: name, item } = of;
        let step = self.workflow.step(name).zip(self.state(name));
        let Some((step, state, undo)) = step.and_then(|(step, state)| Some((step, state, step.undo.as_ref()?))) else {
            return Err(Reaction::Impossible(format!("nothing says what undoes the step `{name}`")).into());
        };
        let reads = undo.with.reads();
        let gave = match item {
            None => state.result,
            Some(item) => self.engine.workflows().item(self.id, name, *item).and_then(|item| item.result),
        };
        let result = self.document(gave.filter(|_| reads.iter().any(|path| path.segments[0] == "result")))?;
        let element = match (item, &state.items) {
            (Some(item), Some(items)) => Some((*item, self.element(items, *item)?)),
            _ => None,
        };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let sight = self.sight(Ends { succeeded: false, failed: true }, &reads)?;
        let mut scope = self.scope(&sight, &undo.with.expressions(), &mut budget)?.with("result", value_of(result.as_ref()));
        if let Some((index, element)) = &element {
            scope = scope.with("item", element.root()).with("index", Value::from(i64::from(*index)));
        }
        self.requested(step, Nth::Undo(*item), &undo.action, &undo.with, &scope, &mut budget)
    }

    /// Gives the workflow's end as it is where an undo failed: by that, and by why there was one.
    pub(super) fn with_failed_undo(&self, end: Fact) -> Fact {
        let undoing = self.course.undoing.as_ref().filter(|undoing| undoing.failed > 0 && self.course.cancels <= 1);
        let Some((undoing, (first, why))) = undoing.and_then(|undoing| Some((undoing, undoing.first_failed.as_ref()?))) else { return end };
        let ended = match &end {
            Fact::ExecutionFailed(end) => &end.error.message,
            Fact::ExecutionTimedOut(end) => &end.error.message,
            _ => "it was cancelled",
        };
        let item = first.item.map(|item| format!(", item {item}")).unwrap_or_default();
        let message = format!(
            "{} of {} undos failed, the first of them that of `{}`{item}: {why}; it was undone because {ended}",
            undoing.failed, undoing.begun, first.step
        );
        let part_of = self.execution.part_of.clone();
        ExecutionFailed { error: Failure::new(FailureKind::UndoFailed, message), part_of }.into()
    }
}
