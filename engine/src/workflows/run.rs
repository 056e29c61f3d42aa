//! An open workflow, with everything that its steps are worked out from.

use std::sync::Arc;

use ensue_expression::{Budget, EvaluationError, Expression, Path, Scope};

use crate::catalog::{Action, Catalog, Run, Step, Workflow};
use crate::command::Context;
use crate::executions::facts::{Failure, FailureKind};
use crate::executions::state::Execution;
use crate::fact::Fact;
use crate::ids::ExecutionId;
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::{Body, Draft, Record, StreamId};
use crate::rules::local;
use crate::state::State;
use crate::text::describe;
use crate::workflows::inputs::{Ends, ExpressionInputs};
use crate::workflows::state::{StepState, WorkflowState};

/// Runs a function on an open workflow; returns `None` if its steps cannot be read.
pub(crate) fn with_steps<T>(
    state: &State,
    id: ExecutionId,
    record: &Record,
    with: &Context<'_>,
    work: impl FnOnce(&WorkflowRun<'_>) -> T,
) -> Option<T> {
    let (execution, progress) = (state.executions().get(&id)?, state.workflows().progress(&id)?);
    let catalog = with.catalogs.at(execution.catalog)?;
    let action = definition(&catalog, execution)?;
    let Run::Workflow(workflow) = &action.run else { return None };
    Some(work(&WorkflowRun { state, id, execution, progress, catalog: &catalog, action, workflow, record, with }))
}

/// Returns the definition of an execution: an action, or the steps of a rule.
pub(crate) fn definition<'c>(catalog: &'c Catalog, execution: &Execution) -> Option<&'c Arc<Action>> {
    match &execution.of_rule {
        Some(of) => catalog.rules().get(&of.rule).map(|rule| &rule.action),
        None => catalog.actions().get(&execution.action),
    }
}

/// A workflow that is running.
pub(crate) struct WorkflowRun<'a> {
    pub(super) state: &'a State,
    pub(super) id: ExecutionId,
    pub(super) execution: &'a Execution,
    pub(super) progress: &'a WorkflowState,
    pub(super) catalog: &'a Arc<Catalog>,
    pub(super) action: &'a Action,
    pub(super) workflow: &'a Workflow,
    pub(super) record: &'a Record,
    pub(super) with: &'a Context<'a>,
}

/// Why a step cannot be started as written.
pub(super) enum StepError {
    /// It fails.
    Fails(Failure),
    /// Something must be loaded first, or it cannot be worked out at all.
    Stuck(Reaction),
}

/// Which of a step's executions it is.
#[derive(Clone, Copy)]
pub(super) enum Nth {
    /// The only one.
    Only,
    /// An item's, from 0.
    Item(u32),
    /// A turn's, from 1.
    Turn {
        /// The number of the turn.
        iteration: u32,
        /// How long it waits before it starts, in milliseconds.
        wait: Option<u64>,
    },
    /// The undo of the step, or of an item of it.
    Undo(Option<u32>),
    /// The notification of the people it asks, which is not part of the workflow.
    Notification(ExecutionId),
}

impl From<Reaction> for StepError {
    fn from(reaction: Reaction) -> Self {
        Self::Stuck(reaction)
    }
}

impl From<EvaluationError> for StepError {
    fn from(error: EvaluationError) -> Self {
        Self::Fails(Failure::new(FailureKind::Expression, describe(&error)))
    }
}

impl WorkflowRun<'_> {
    pub(super) fn state(&self, step: &StepName) -> Option<&StepState> {
        self.state.workflows().step(self.id, step)
    }

    pub(super) fn inputs(&self, ends: Ends, reads: &[Path]) -> Result<ExpressionInputs<'_>, StepError> {
        ExpressionInputs::of(self.state, self.id, self.execution, (self.action, self.workflow), (ends, reads, &[]), self.with)
    }

    /// Returns the scope of the inputs, with the workflow's local values if one of the expressions reads them.
    pub(super) fn scope<'s>(
        &'s self,
        inputs: &'s ExpressionInputs<'_>,
        expressions: &[&Expression],
        budget: &mut Budget,
    ) -> Result<Scope<'s>, EvaluationError> {
        self.scope_with(inputs, expressions, &[], budget)
    }

    /// Returns the inputs of expressions of a step, which may read its local names.
    pub(super) fn inputs_of(&self, step: &Step, ends: Ends, reads: Vec<Path>) -> Result<ExpressionInputs<'_>, StepError> {
        let hidden = self.not_chosen(step);
        let reads = step.with_local(reads);
        let of = (self.action, self.workflow);
        ExpressionInputs::of(self.state, self.id, self.execution, of, (ends, &reads, &hidden), self.with)
    }

    /// Returns the steps that a step needs, but that were not enough for it. If enough can no longer end as it requires, these
    /// are the steps that have not ended.
    fn not_chosen(&self, step: &Step) -> Vec<StepName> {
        let has_ended = |name: &StepName| self.state(name).is_some_and(|state| state.status.is_end());
        match self.state.workflows().chosen_needs(self.id, &step.name) {
            Some(chosen) => step.needs.iter().filter(|name| !chosen.ended.contains(name)).cloned().collect(),
            None if step.enough.is_some() => step.needs.iter().filter(|name| !has_ended(name)).cloned().collect(),
            None => Vec::new(),
        }
    }

    /// Returns the scope of the inputs, with the local values of the workflow and the step if one of the
    /// expressions reads them.
    pub(super) fn scope_of<'s>(
        &'s self,
        step: &'s Step,
        inputs: &'s ExpressionInputs<'_>,
        expressions: &[&Expression],
        budget: &mut Budget,
    ) -> Result<Scope<'s>, EvaluationError> {
        self.scope_with(inputs, expressions, &step.local, budget)
    }

    fn scope_with<'s>(
        &'s self,
        inputs: &'s ExpressionInputs<'_>,
        expressions: &[&Expression],
        of_step: &'s [(String, Expression)],
        budget: &mut Budget,
    ) -> Result<Scope<'s>, EvaluationError> {
        let mut scope = inputs.scope();
        if expressions.iter().any(|expression| expression.reads_root("local")) {
            local::of_both(&mut scope, [&self.action.local, of_step], budget)?;
        }
        Ok(scope)
    }

    pub(super) fn draft(&self, fact: Fact, body: Option<Body>) -> Draft {
        draft_of(self.id, self.execution, self.record, fact, body)
    }
}

/// Returns a record of an execution that follows from the record of its workflow.
pub(super) fn draft_of(stream: ExecutionId, workflow: &Execution, record: &Record, fact: Fact, body: Option<Body>) -> Draft {
    Draft::by_engine(StreamId::Execution(stream), fact).because(workflow.cause(record.id)).with_body(body)
}
