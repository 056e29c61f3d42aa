//! The end of a workflow, once all its steps have ended.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX};

use crate::catalog::Extra;
use crate::executions::end;
use crate::executions::facts::{ExecutionSucceeded, Failure, FailureKind};
use crate::fact::Fact;
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::{Body, Draft};
use crate::workflows::inputs::Ends;
use crate::workflows::run::{StepError, WorkflowRun};
use crate::workflows::state::{StepState, StepStatus};

impl WorkflowRun<'_> {
    /// Returns the workflow's end if all its steps have ended; before an end other than success, its undo.
    pub(super) fn end(&self) -> Result<Option<Draft>, Reaction> {
        if (self.progress.ended as usize) < self.workflow.steps().len() || self.progress.open > 0 {
            return Ok(None);
        }
        if let Some(undoing) = &self.progress.undoing {
            return self.undo_or_end(undoing).map(Some);
        }
        let (end, body) = self.outcome()?;
        let begun = if self.progress.cancels <= 1 { self.undo_begun(&end) } else { None };
        Ok(Some(self.draft(begun.unwrap_or(end), body)))
    }

    /// Returns how the workflow ends, based on the ends of its steps.
    fn outcome(&self) -> Result<(Fact, Option<Body>), Reaction> {
        if self.progress.cancels > 0 {
            return Ok((end::stop_fact(self.execution), None));
        }
        let part_of = self.execution.part_of.clone();
        let result = match &self.progress.failing {
            Some(step) => Err(StepError::Fails(self.failure_of(step))),
            None => self.result(),
        };
        match result {
            Ok(body) => Ok((ExecutionSucceeded { part_of }.into(), body)),
            Err(StepError::Fails(error)) => Ok((self.execution.failure_fact(error), None)),
            Err(StepError::Stuck(reaction)) => Err(reaction),
        }
    }

    fn failure_of(&self, name: &StepName) -> Failure {
        let message = match self.state(name) {
            Some(StepState { error: Some(error), status: StepStatus::TimedOut, .. }) => {
                format!("step `{name}` timed out: {}", error.message)
            }
            Some(StepState { error: Some(error), status: StepStatus::Cancelled, .. }) => {
                format!("step `{name}` was cancelled: {}", error.message)
            }
            Some(StepState { error: Some(error), .. }) => format!("step `{name}` failed: {}", error.message),
            Some(StepState { error: None, .. }) | None => format!("step `{name}` was cancelled"),
        };
        Failure::new(FailureKind::ChildFailed, message)
    }

    /// Returns the workflow's result.
    fn result(&self) -> Result<Option<Body>, StepError> {
        let Some(template) = self.workflow.result() else { return Ok(None) };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let inputs = self.inputs(Ends { succeeded: true, failed: false }, &template.reads())?;
        let result = template.render_document(&self.scope(&inputs, &template.expressions(), &mut budget)?, &mut budget)?;
        if let Some(schema) = &self.action.result {
            let misfits = schema.misfits(result.root(), Extra::Allowed);
            if !misfits.is_empty() {
                let misfits = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return Err(StepError::Fails(Failure::new(
                    FailureKind::ResultInvalid,
                    format!("the result does not match its declaration: {misfits}"),
                )));
            }
        }
        Ok(Some(Body::json(result.bytes().clone())))
    }
}
