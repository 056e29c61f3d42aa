//! The consequences for a repeated step: one turn after the other, each an execution, until its author's
//! condition ends it.

use ensue_expression::{Budget, Document, EVALUATION_BYTES_MAX, EVALUATION_STEPS_MAX, Expression, Path, Scope, Value};

use crate::catalog::{Repeat, Step, Task};
use crate::executions::facts::{Failure, FailureKind};
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::{Body, BodyHandle, Draft};
use crate::time::millis;
use crate::workflows::facts::{PartRole, StepEnded};
use crate::workflows::inputs::{Ends, document as value_of};
use crate::workflows::run::Nth;
use crate::workflows::run::StepError;
use crate::workflows::run::WorkflowRun;
use crate::workflows::state::{StepStatus, Turns};

/// The results that the expressions of a turn may read.
#[derive(Clone, Copy)]
struct TurnResults {
    /// The number of the turn, from 1.
    iteration: u32,
    /// The result of this turn, if it has ended.
    result: Option<BodyHandle>,
    /// The result of the previous turn.
    previous: Option<BodyHandle>,
}

/// The maximum number of evaluation steps that `collect` may take for all turns of a step together.
const COLLECT_STEPS_MAX: u64 = 1_000_000;

impl WorkflowRun<'_> {
    /// Begins a repeated step: with its first turn, or with its end if it has no turn.
    pub(super) fn first_turn(&self, step: &Step, repeat: &Repeat, ends: Ends) -> Result<Draft, StepError> {
        match self.turn(step, repeat, TurnResults { iteration: 1, result: None, previous: None }, ends)? {
            Some(draft) => Ok(draft),
            None => self.end_of_turns(step, repeat, 0),
        }
    }

    /// Begins the next turn of a step, or ends the step if the last turn was the final one or failed.
    pub(super) fn next_of_turns(&self, name: &StepName) -> Result<Option<Vec<Draft>>, Reaction> {
        let Some((step, state)) = self.workflow.step(name).zip(self.state(name)) else { return Ok(None) };
        let (Some(turns), Some(repeat), false) = (state.turns, &step.repeat, state.status.is_end()) else { return Ok(None) };
        if turns.status == StepStatus::Running {
            return Ok(None);
        }
        let draft = match self.after_turn(step, repeat, &turns) {
            Ok(draft) => draft,
            Err(StepError::Stuck(reaction)) => return Err(reaction),
            Err(StepError::Fails(error)) => {
                let fact = StepEnded { step: name.clone(), error: Some(error), on_failure: step.on_failure, role: PartRole::Step };
                self.draft(fact.into(), None)
            }
        };
        Ok(Some(vec![draft]))
    }

    fn after_turn(&self, step: &Step, repeat: &Repeat, turns: &Turns) -> Result<Draft, StepError> {
        let number = turns.begun_count;
        if turns.status != StepStatus::Succeeded {
            let last = self.state.workflows().item(self.id, &step.name, number - 1).and_then(|turn| turn.error.as_ref());
            let why = last.map_or("it was cancelled", |error| &error.message);
            return Err(StepError::Fails(Failure::new(FailureKind::ChildFailed, format!("turn {number} failed: {why}"))));
        }
        let result = |turn: u32| turn.checked_sub(1).and_then(|at| self.state.workflows().item(self.id, &step.name, at)?.result);
        let seen = TurnResults { iteration: number, result: result(number), previous: result(number - 1) };
        // The steps that it needs have ended; how they ended was checked when it began.
        let ends = Ends { succeeded: true, failed: false };
        let is_enough = match &repeat.until {
            Some(until) => self.holds(step, until, seen, ends)?,
            None => false,
        };
        if is_enough || number >= repeat.max {
            return self.end_of_turns(step, repeat, number);
        }
        if turns.begun < self.progress.stop_before || self.state.workflows().is_dropped(self.id, &step.name) {
            let message = format!("{number} turns were made before it was cancelled");
            return Err(StepError::Fails(Failure::new(FailureKind::Cancelled, message)));
        }
        let next = TurnResults { iteration: number + 1, result: seen.result, previous: seen.result };
        match self.turn(step, repeat, next, ends)? {
            Some(draft) => Ok(draft),
            None => self.end_of_turns(step, repeat, number),
        }
    }

    /// Returns the request of a turn; `None` if the condition for another turn is false.
    fn turn(&self, step: &Step, repeat: &Repeat, seen: TurnResults, ends: Ends) -> Result<Option<Draft>, StepError> {
        if let Some(condition) = &repeat.while_holds
            && !self.holds(step, condition, seen, ends)?
        {
            return Ok(None);
        }
        let Task::Action { action, with } = &step.task else {
            return Err(Reaction::Impossible(format!("the step `{}` is repeated but runs no action", step.name)).into());
        };
        let every = repeat.every.as_ref().filter(|_| seen.iteration > 1);
        let rendered = step.request_templates(with);
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        self.with_turn(step, (seen, ends), (&rendered.reads(), &rendered.expressions()), &mut budget, |scope, budget| {
            let wait = every.map(|every| self.period("every", every, scope, budget)).transpose()?.map(millis);
            self.request_step(step, Nth::Turn { iteration: seen.iteration, wait }, action, with, scope, budget)
        })
        .map(Some)
    }

    /// Ends the step with the result of its last turn, or with the values collected from all turns.
    fn end_of_turns(&self, step: &Step, repeat: &Repeat, count: u32) -> Result<Draft, StepError> {
        let role = if count == 0 { PartRole::Step } else { step.role() };
        let fact = StepEnded { step: step.name.clone(), error: None, on_failure: step.on_failure, role };
        let Some(collect) = &repeat.collect else { return Ok(self.draft(fact.into(), None)) };
        let results: Vec<Option<BodyHandle>> = self.state.workflows().items(self.id, &step.name).map(|turn| turn.result).collect();
        if ["result", "previous"].iter().any(|root| collect.reads_root(root)) {
            check_size(&results)?;
        }
        let mut all = String::from("[");
        let mut budget = Budget::steps(COLLECT_STEPS_MAX);
        for (iteration, result) in (1..=count).zip(&results) {
            let previous = (iteration as usize).checked_sub(2).and_then(|at| results[at]);
            let seen = TurnResults { iteration, result: *result, previous };
            let ends = Ends { succeeded: true, failed: false };
            let part = self.with_turn(step, (seen, ends), (&collect.reads(), &[collect]), &mut budget, |scope, budget| {
                let part = collect.evaluate(scope, budget)?;
                if part.elements().is_none() {
                    let message = format!("`collect` returns {}, but it must return a list", part.brief());
                    return Err(StepError::Fails(Failure::new(FailureKind::Expression, message)));
                }
                Ok(part.to_json_text()?)
            })?;
            // The elements, without the brackets of the list.
            let elements = part.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default().trim();
            if !elements.is_empty() {
                let separator = if all.len() > 1 { "," } else { "" };
                all.extend([separator, elements]);
            }
            if all.len() as u64 > EVALUATION_BYTES_MAX {
                let message = format!("`collect` exceeds {EVALUATION_BYTES_MAX} bytes at turn {iteration}; collect less of each turn");
                return Err(StepError::Fails(Failure::new(FailureKind::Expression, message)));
            }
        }
        all.push(']');
        Ok(self.draft(fact.into(), Some(Body::json(all))))
    }

    fn holds(&self, step: &Step, condition: &Expression, seen: TurnResults, ends: Ends) -> Result<bool, StepError> {
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        self.with_turn(step, (seen, ends), (&condition.reads(), &[condition]), &mut budget, |scope, budget| {
            condition.holds(scope, budget).map_err(StepError::from)
        })
    }

    /// Evaluates something in the scope of a turn.
    fn with_turn<T>(
        &self,
        step: &Step,
        (seen, ends): (TurnResults, Ends),
        (reads, expressions): (&[Path], &[&Expression]),
        budget: &mut Budget,
        evaluate: impl FnOnce(&Scope<'_>, &mut Budget) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let reads_root = |root: &str| reads.iter().any(|path| path.segments[0] == root);
        let result = self.document(seen.result.filter(|_| reads_root("result")))?;
        let previous = self.document(seen.previous.filter(|_| reads_root("previous")))?;
        let inputs = self.inputs_of(step, ends, reads.to_vec())?;
        let scope = self
            .scope_of(step, &inputs, expressions, budget)?
            .with("iteration", Value::from(i64::from(seen.iteration)))
            .with("result", value_of(result.as_ref()))
            .with("previous", value_of(previous.as_ref()));
        evaluate(&scope, budget)
    }

    pub(super) fn document(&self, handle: Option<BodyHandle>) -> Result<Option<Document>, Reaction> {
        let Some(handle) = handle else { return Ok(None) };
        self.with.bodies.document(&handle).map(Some).ok_or_else(|| Reaction::Needs(vec![handle]))
    }
}

/// Refuses to read more turn results than one evaluation may read.
fn check_size(results: &[Option<BodyHandle>]) -> Result<(), Failure> {
    let bytes: u64 = results.iter().flatten().map(|result| result.bytes).sum();
    if bytes <= EVALUATION_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "the results of {} turns are {bytes} bytes together, and `collect` can read at most {EVALUATION_BYTES_MAX}; return less from the action",
        results.len()
    );
    Err(Failure::new(FailureKind::Expression, message))
}
