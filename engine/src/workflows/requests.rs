//! The requests of the executions that are the steps of a workflow.

use std::collections::BTreeSet;
use std::time::Duration;

use ensue_expression::{Budget, Document, Scope, Template};
use serde_json::Value as Json;

use crate::access::principal::Principal;
use crate::catalog::{Action, OnFailure, Period, RunAs, Step, Wait};
use crate::executions::facts::{ExecutionRequested, Failure, FailureKind, Pace};
use crate::executions::labels::Labels;
use crate::executions::rights;
use crate::ids::{ExecutionId, Id, Role};
use crate::locks::facts::Claim;
use crate::locks::react::own_claims;
use crate::names::ActionRef;
use crate::record::{Body, Draft, StreamId};
use crate::rules::judge::complete;
use crate::text::cut;
use crate::time::{computed_seconds, millis, parse_computed};
use crate::workflows::facts::{PartOf, PartRole};
use crate::workflows::run::{Nth, StepError, WorkflowRun};

/// The maximum length of a value in the message that it is not a duration, in bytes.
const PERIOD_BYTES_MAX: usize = 100;

/// The maximum depth of nested workflows.
pub(crate) const LEVEL_MAX: u32 = 16;

/// An action with the parameters that a step gives it, and what follows from them.
struct FittedAction<'a> {
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
    pub(super) fn request_step(
        &self,
        step: &Step,
        nth: Nth,
        name: &ActionRef,
        with: &Template,
        scope: &Scope<'_>,
        budget: &mut Budget,
    ) -> Result<Draft, StepError> {
        let FittedAction { action, params, claim, labels } = self.fit_action(name, with, scope, budget)?;
        if let Err(message) = self.check_permission(action) {
            return fails(FailureKind::NotPermitted, message);
        }
        let pace = match &step.wait {
            Some(wait) => self.pace_of_wait(wait, scope, budget)?,
            None => self.pace(nth, name, action, &params)?,
        };
        let Child { id: child, part_of, wait_millis } = self.child(step, nth);
        let (retry, timeout) = match (nth, &step.undo) {
            (Nth::Undo(_), Some(undo)) => (&undo.retry, undo.timeout.as_ref()),
            (Nth::Notification(_), _) => (&None, None),
            _ => (&step.retry, step.timeout.as_ref()),
        };
        let timeout = timeout.map(|timeout| self.period("timeout", timeout, scope, budget)).transpose()?;
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
            scope: self.execution.scope().into_recorded(None, name),
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
    fn check_permission(&self, action: &Action) -> Result<(), String> {
        rights::pack_may_run(self.state, &self.execution.defined_in(), action)?;
        match self.action.run_as {
            RunAs::Pack => Ok(()),
            RunAs::Caller => rights::caller_may_run(self.state, self.execution.principal.as_ref(), action, self.record.time),
        }
    }

    /// Returns an action with the parameters that a template gives it.
    fn fit_action(&self, name: &ActionRef, with: &Template, scope: &Scope<'_>, budget: &mut Budget) -> Result<FittedAction<'_>, StepError> {
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
            Ok((claim, labels)) => Ok(FittedAction { action, params, claim, labels }),
            Err(misfit) => {
                fails(FailureKind::ParametersInvalid, format!("`{name}` cannot be run with these parameters: {}", misfit.message))
            }
        }
    }

    fn pace_of_wait(&self, wait: &Wait, scope: &Scope<'_>, budget: &mut Budget) -> Result<Pace, StepError> {
        let expires = wait.expires.as_ref().map(|expires| self.period("expires", expires, scope, budget)).transpose()?;
        Ok(Pace::Awaits { expires_millis: expires.map(millis) })
    }

    /// Returns a duration of a step, computed now if it is not written out.
    pub(super) fn period(&self, name: &str, period: &Period, scope: &Scope<'_>, budget: &mut Budget) -> Result<Duration, StepError> {
        let template = match period {
            Period::Fixed(duration) => return Ok(*duration),
            Period::Computed(template) => template,
        };
        let value = template.render(scope, budget)?;
        let duration = match &value {
            Json::String(text) => parse_computed(text),
            other => other.as_f64().and_then(computed_seconds),
        };
        let shown = || cut(value.to_string(), PERIOD_BYTES_MAX);
        let hint = "write a duration such as `90s`, `1h30m` or `30d`, or a number of seconds, from 1 second to 400 days";
        duration.map_or_else(|| fails(FailureKind::Expression, format!("`{name}` returns {}: {hint}", shown())), Ok)
    }

    /// Returns the pace of an execution, if it may be that of the step here.
    fn pace(&self, nth: Nth, name: &ActionRef, action: &Action, params: &Document) -> Result<Pace, StepError> {
        let pace = match action.pace(params.root()) {
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
        let of_step = Id::derive(log, self.id.0, Role::Step(&step.name));
        let part = |item: Option<u32>, role: PartRole| {
            // Whether an item's failure counts is decided once all have ended.
            let on_failure = if item.is_none() && role != PartRole::Undo { step.on_failure } else { OnFailure::default() };
            Some(PartOf { workflow: self.id, step: step.name.clone(), item, on_failure, role })
        };
        let (child, part_of, wait_millis) = match nth {
            Nth::Only => (of_step, part(None, step.role()), None),
            Nth::Item(item) => (Id::derive(log, of_step, Role::Item(item)), part(Some(item), step.role()), None),
            Nth::Turn { iteration, wait } => {
                (Id::derive(log, of_step, Role::Iteration(iteration)), part(Some(iteration - 1), PartRole::Turn), wait)
            }
            Nth::Undo(item) => (Id::derive(log, self.id.0, Role::Undo(&step.name, item.unwrap_or(0))), part(item, PartRole::Undo), None),
            Nth::Notification(teller) => (teller.0, None, None),
        };
        Child { id: ExecutionId(child), part_of, wait_millis }
    }
}
