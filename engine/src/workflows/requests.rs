//! The requests of the executions that are the steps of a workflow.

use std::collections::BTreeSet;

use ensue_expression::{Budget, Document, Scope, Template};

use crate::access::principal::Principal;
use crate::catalog::{Action, OnFailure, RunAs, Step};
use crate::executions::facts::{ExecutionRequested, Failure, FailureKind, Pace};
use crate::executions::labels::Labels;
use crate::executions::rights;
use crate::ids::{ExecutionId, Id, Role};
use crate::locks::facts::Claim;
use crate::locks::react::own_claims;
use crate::names::ActionRef;
use crate::record::{Body, Draft, StreamId};
use crate::rules::judge::complete;
use crate::time::millis;
use crate::workflows::facts::{PartOf, PartRole};
use crate::workflows::run::{Nth, StepError, WorkflowRun};

/// The maximum depth of nested workflows.
pub(crate) const LEVEL_MAX: u32 = 16;

/// An action with the parameters that a step gives it, and what follows from them.
struct Fitted<'a> {
    action: &'a Action,
    params: Document,
    claim: Option<Claim>,
    labels: Labels,
}

/// Which execution a request is for.
struct Child {
    id: ExecutionId,
    part_of: Option<PartOf>,
    /// How long it waits before it starts, in milliseconds.
    wait_millis: Option<u64>,
}

fn fails<T>(kind: FailureKind, message: String) -> Result<T, StepError> {
    Err(StepError::Fails(Failure::new(kind, message)))
}

impl WorkflowRun<'_> {
    /// Returns the request of the execution that is a step, or an item of one.
    pub(super) fn requested(
        &self,
        step: &Step,
        nth: Nth,
        name: &ActionRef,
        with: &Template,
        scope: &Scope<'_>,
        budget: &mut Budget,
    ) -> Result<Draft, StepError> {
        let Fitted { action, params, claim, labels } = self.fitted(name, with, scope, budget)?;
        if let Err(message) = self.permitted(action) {
            return fails(FailureKind::NotPermitted, message);
        }
        let pace = self.pace((step, nth), name, action, &params)?;
        let Child { id: child, part_of, wait_millis } = self.child(step, nth);
        let (retry, timeout) = match (nth, &step.undo) {
            (Nth::Undo(_), Some(undo)) => (&undo.retry, undo.timeout),
            (Nth::Notification(_), _) => (&None, None),
            _ => (&step.retry, step.timeout),
        };
        let fact = ExecutionRequested {
            action: name.clone(),
            catalog: self.execution.catalog,
            rule: None,
            event: None,
            enforcement: None,
            given: None,
            part_of,
            rerun_of: None,
            priority: step.priority.unwrap_or_else(|| self.execution.priority()),
            queue: action.queue.clone(),
            labels,
            scope: self.execution.scope().recorded(None, name),
            principal: self.principal_of_steps(),
            given_labels: BTreeSet::new(),
            idempotent: action.idempotent,
            on_lost: action.on_lost,
            timeout_millis: millis(action.timeout),
            grace_millis: millis(action.grace),
            failures_max: retry.as_ref().or(action.retry.as_ref()).map(|retry| retry.attempts),
            // The limits of both the step and its action apply.
            limit_millis: timeout.into_iter().chain(action.limit).min().map(millis),
            start_at: None,
            locks: own_claims(self.state, self.id, claim),
            wait_millis,
            pace,
            internal_above: self.execution.internal_above.clone(),
            link: None,
        };
        let body = Some(Body::json(params.bytes().clone()));
        Ok(Draft { stream: StreamId::Execution(child), begins: Some(child.0), ..self.draft(fact.into(), body) })
    }

    /// Returns on whose rights the steps run.
    fn principal_of_steps(&self) -> Option<Principal> {
        match self.action.run_as {
            RunAs::Pack => Some(Principal::Pack(self.execution.defined_in())),
            RunAs::Caller => self.execution.principal.clone(),
        }
    }

    /// Checks that the workflow may run an action as a step, or returns why it may not.
    fn permitted(&self, action: &Action) -> Result<(), String> {
        rights::pack_may_run(self.state, &self.execution.defined_in(), action)?;
        match self.action.run_as {
            RunAs::Pack => Ok(()),
            RunAs::Caller => rights::caller_may_run(self.state, self.execution.principal.as_ref(), action, self.record.time),
        }
    }

    /// Returns an action with the parameters that a template gives it.
    fn fitted(&self, name: &ActionRef, with: &Template, scope: &Scope<'_>, budget: &mut Budget) -> Result<Fitted<'_>, StepError> {
        let Some(action) = self.catalog.actions().get(name) else {
            return fails(FailureKind::ParametersInvalid, format!("there is no action `{name}`"));
        };
        let params = match complete(&action.parameters, with.render_document(scope, budget)?) {
            Ok(params) => params,
            Err(misfits) => {
                let misfits = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return fails(FailureKind::ParametersInvalid, format!("the parameters do not fit `{name}`: {misfits}"));
            }
        };
        let with_labels = action.claim(params.root()).and_then(|claim| Ok((claim, action.labels_of(params.root())?)));
        match with_labels {
            Ok((claim, labels)) => Ok(Fitted { action, params, claim, labels }),
            Err(misfit) => {
                fails(FailureKind::ParametersInvalid, format!("`{name}` cannot be run with these parameters: {}", misfit.message))
            }
        }
    }

    /// Returns the pace of an execution, if it may be that of the step here.
    fn pace(&self, (step, nth): (&Step, Nth), name: &ActionRef, action: &Action, params: &Document) -> Result<Pace, StepError> {
        let awaits = step.wait.as_ref().map(|wait| Pace::Awaits { expires_millis: wait.expires.map(millis) });
        let pace = match awaits.map_or_else(|| action.pace(params.root()), Ok) {
            Ok(pace) => pace,
            Err(misfit) => return fails(FailureKind::ParametersInvalid, format!("the parameters do not fit `{name}`: {misfit}")),
        };
        if matches!(nth, Nth::Notification(_)) && !matches!(pace, Pace::Worked | Pace::AtOnce) {
            let message = format!("`{name}` has steps or waits, so it cannot be used to notify people of an inquiry");
            return fails(FailureKind::ParametersInvalid, message);
        }
        if pace == Pace::InSteps && self.execution.level >= LEVEL_MAX {
            let message = format!("`{name}` would be nested {} workflows deep; the limit is {LEVEL_MAX}", self.execution.level + 1);
            return fails(FailureKind::ChildFailed, message);
        }
        Ok(pace)
    }

    /// Returns which execution of a step is requested.
    fn child(&self, step: &Step, nth: Nth) -> Child {
        let log = self.state.log();
        let of_step = Id::derived(log, self.id.0, Role::Step(&step.name));
        let part = |item: Option<u32>, role: PartRole| {
            // Whether an item's failure counts is decided once all have ended.
            let on_failure = if item.is_none() && role != PartRole::Undo { step.on_failure } else { OnFailure::default() };
            Some(PartOf { workflow: self.id, step: step.name.clone(), item, on_failure, role })
        };
        let (child, part_of, wait_millis) = match nth {
            Nth::Only => (of_step, part(None, step.role()), None),
            Nth::Item(item) => (Id::derived(log, of_step, Role::Item(item)), part(Some(item), step.role()), None),
            Nth::Turn { iteration, wait } => {
                (Id::derived(log, of_step, Role::Iteration(iteration)), part(Some(iteration - 1), PartRole::Turn), wait)
            }
            Nth::Undo(item) => (Id::derived(log, self.id.0, Role::Undo(&step.name, item.unwrap_or(0))), part(item, PartRole::Undo), None),
            Nth::Notification(teller) => (teller.0, None, None),
        };
        Child { id: ExecutionId(child), part_of, wait_millis }
    }
}
