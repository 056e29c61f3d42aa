//! The consequences for a step that is done for each of several items: they start in the order of the list, a
//! limited number at once.

use ensue_expression::{Budget, Document, EVALUATION_STEPS_MAX, Value};

use crate::catalog::{Builtin, ForEach, ITEMS_MAX, ITEMS_OPEN_MAX, OnFailure, Run, Step, Task};
use crate::executions::facts::{Failure, FailureKind};
use crate::fact::Fact;
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::{Body, Draft};
use crate::workflows::facts::{PartRole, StepEnded, StepExpanded, StepFailed};
use crate::workflows::inputs::Ends;
use crate::workflows::react::ends_asked_for;
use crate::workflows::run::Nth;
use crate::workflows::run::StepError;
use crate::workflows::run::WorkflowRun;
use crate::workflows::state::ItemProgress;

impl WorkflowRun<'_> {
    pub(super) fn expand(&self, step: &Step, each: &ForEach, ends: Ends, budget: &mut Budget) -> Result<Draft, StepError> {
        let inputs = self.inputs_of(step, ends, each.items.reads())?;
        let items = each.items.evaluate(&self.scope_of(step, &inputs, &[&each.items], budget)?, budget)?;
        let fails = |message: String| Err(StepError::Fails(Failure::new(FailureKind::Expression, message)));
        let Some(count) = items.elements().map(|elements| elements.len()) else {
            return fails(format!("`for_each` returns {}, but it must return a list", items.brief()));
        };
        let Some(count) = u32::try_from(count).ok().filter(|count| *count <= ITEMS_MAX) else {
            return fails(format!("`for_each` returns {count} items; the limit is {ITEMS_MAX}"));
        };
        let fail_at = each.fail_at.map(|most| most.of(count));
        let fact = StepExpanded { step: step.name.clone(), count, item_failure: each.failure, takes_over: false, fail_at };
        Ok(self.draft(fact.into(), Some(Body::json(items.to_json_text()?))))
    }

    /// Starts the next item of a step if one may run, and ends the step if all items have ended.
    pub(super) fn next_of_items(&self, name: &StepName) -> Result<Option<Vec<Draft>>, Reaction> {
        let Some((step, state)) = self.workflow.step(name).zip(self.state(name)) else { return Ok(None) };
        let (Some(items), Some(each), false) = (state.items, &step.for_each, state.status.is_end()) else { return Ok(None) };
        // The end of an item that was itself asked to end does not ask others to end.
        if items.is_stopped() && !self.is_of_a_later_end(&items) {
            let asked = ends_asked_for(self.state, self.state.workflows().unasked_items(self.id, name), self.execution, self.record);
            if !asked.is_empty() {
                return Ok(Some(asked));
            }
        }
        let goes_on = !items.is_stopped()
            && !items.is_failed()
            && !self.state.workflows().is_dropped(self.id, name)
            && items.begun >= self.progress.stop_before;
        if items.started < items.count && goes_on {
            return if items.running < self.open_at_once(step, each) {
                self.item(step, &items).map(|draft| Some(vec![draft]))
            } else {
                Ok(None)
            };
        }
        if items.running > 0 {
            return Ok(None);
        }
        let error = self.error_of_items(name, &items);
        let fact = StepEnded { step: name.clone(), error, on_failure: step.on_failure, role: PartRole::Step };
        Ok(Some(vec![self.draft(fact.into(), None)]))
    }

    /// Returns how many items of a step may be open at once: items that only sleep, ask or wait do not count.
    fn open_at_once(&self, step: &Step, each: &ForEach) -> u32 {
        let run = match &step.task {
            Task::Action { action, .. } => self.catalog.actions().get(action).map(|action| &action.run),
            Task::Fail { .. } | Task::Assert { .. } => None,
        };
        let only_waits = matches!(run, Some(Run::Builtin(Builtin::Sleep | Builtin::Inquiry | Builtin::Wait)));
        if only_waits { each.parallel } else { each.parallel.min(ITEMS_OPEN_MAX) }
    }

    /// Returns true if the record is the end of an item that was asked to end because one before it had failed.
    fn is_of_a_later_end(&self, items: &ItemProgress) -> bool {
        match &self.record.fact {
            Fact::ExecutionCancelled(end) => end.part_of.as_ref().is_some_and(|part_of| part_of.item != items.first_failed),
            _ => false,
        }
    }

    /// Starts the next item of a step, or fails it if it cannot be rendered.
    fn item(&self, step: &Step, items: &ItemProgress) -> Result<Draft, Reaction> {
        let index = items.started;
        if items.takes_over
            && let Some(taken_over) = self.item_taken_over(step, index)?
        {
            return Ok(taken_over);
        }
        match self.item_started(step, items, index) {
            Ok(draft) => Ok(draft),
            Err(StepError::Stuck(reaction)) => Err(reaction),
            Err(StepError::Fails(error)) => {
                let (step, on_failure) = (step.name.clone(), OnFailure::default());
                Ok(self.draft(StepFailed { step, item: Some(index), error, on_failure }.into(), None))
            }
        }
    }

    fn item_started(&self, step: &Step, items: &ItemProgress, index: u32) -> Result<Draft, StepError> {
        let item = self.element(items, index)?;
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let template = match &step.task {
            Task::Action { with, .. } => with,
            Task::Fail { message } => message,
            Task::Assert { .. } => {
                return Err(Reaction::Impossible(format!("the step `{}` asserts something for each item", step.name)).into());
            }
        };
        let ends = Ends { succeeded: true, failed: false };
        let rendered = step.request_templates(template);
        let inputs = self.inputs_of(step, ends, rendered.reads())?;
        let scope = self.scope_of(step, &inputs, &rendered.expressions(), &mut budget)?;
        let scope = scope.with("item", item.root()).with("index", Value::from(i64::from(index)));
        match &step.task {
            Task::Action { action, with } => self.request_step(step, Nth::Item(index), action, with, &scope, &mut budget),
            Task::Fail { .. } | Task::Assert { .. } => {
                let message = template.render(&scope, &mut budget)?;
                let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
                Err(StepError::Fails(Failure::new(FailureKind::Fail, message)))
            }
        }
    }

    /// Returns an item of a list.
    pub(super) fn element(&self, items: &ItemProgress, index: u32) -> Result<Document, Reaction> {
        let Some(list) = self.with.bodies.elements(&items.list) else { return Err(Reaction::Needs(vec![items.list])) };
        let missing = || Reaction::Impossible(format!("the list of {} items has no item {index}", items.count));
        list.get(index as usize).ok_or_else(missing)
    }

    fn error_of_items(&self, name: &StepName, items: &ItemProgress) -> Option<Failure> {
        let may_fail = items.fail_at.unwrap_or_default();
        let Some(first) = items.first_failed.filter(|_| items.failed > may_fail) else {
            let message = format!("{} of {} items were started before it was cancelled", items.started, items.count);
            return (items.started < items.count).then(|| Failure::new(FailureKind::Cancelled, message));
        };
        let error = self.state.workflows().item(self.id, name, first).and_then(|item| item.error.as_ref());
        let why = error.map_or("it was cancelled", |error| &error.message);
        let limit = items.fail_at.map_or_else(String::new, |most| format!(", and at most {most} may fail"));
        let message = format!("{} of {} items failed{limit}; the first was item {first}: {why}", items.failed, items.count);
        Some(Failure::new(FailureKind::ChildFailed, message))
    }
}
