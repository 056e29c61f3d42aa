//! The consequences of a failed attempt: another one after a back-off, or the end.

use std::time::Duration;

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Expression, Scope, Value};

use crate::catalog::{Catalog, Retry, Run};
use crate::command::Context;
use crate::executions::facts::{AttemptFailed, Failure, FailureKind};
use crate::executions::state::Execution;
use crate::fact::Fact;
use crate::ids::ExecutionId;
use crate::reaction::Reaction;
use crate::record::{Draft, Record};
use crate::state::State;
use crate::text::describe;
use crate::time::millis;
use crate::timers::facts::TimerKind;
use crate::timers::set::begin_of_wait;
use crate::timers::set::timer;
use crate::workflows::facts::PartRole;
use crate::workflows::run::definition;

/// Returns the consequences of a failed attempt of an execution that nobody asked to end.
pub(crate) fn after_failure(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    failed: &AttemptFailed,
    with: &Context<'_>,
) -> Result<AfterFailure, Reaction> {
    let end = |error| Ok(AfterFailure::Ends(Box::new(end_of(error, execution))));
    if execution.failures >= execution.failures_max {
        return end(failed.error.clone());
    }
    // If the catalog can no longer be built, there is no retry policy and nothing could be retried: the
    // execution has failed.
    let catalog = with.catalogs.at(execution.catalog);
    let Some(retry) = catalog.and_then(|catalog| policy(state, execution, &catalog)) else { return end(failed.error.clone()) };
    // The attempt took effect, whatever `when` says.
    let is_done = failed.error.kind == FailureKind::Output && !execution.idempotent;
    let Some(when) = retry.when.as_ref().filter(|_| !is_done) else {
        if failed.error.may_pass(execution.idempotent) {
            return Ok(tried_again(state, record, (id, execution), failed, &retry));
        }
        let message = format!("{}; it is not retried, because {}", failed.error.message, why_not(&failed.error));
        return end(Failure { detail: failed.error.detail, ..Failure::new(failed.error.kind, message) });
    };
    match is_worth(when, &failed.error, execution.attempts) {
        Ok(true) => Ok(tried_again(state, record, (id, execution), failed, &retry)),
        Ok(false) => end(failed.error.clone()),
        Err(why) => {
            let message = format!("{}; it was not retried, because `retry.when` failed: {why}", failed.error.message);
            end(Failure { detail: failed.error.detail, ..Failure::new(failed.error.kind, message) })
        }
    }
}

/// The consequences of a failed attempt.
pub(crate) enum AfterFailure {
    /// Another attempt, once this timer fires.
    IsTriedAgain(Box<Draft>),
    /// The end.
    Ends(Box<Fact>),
}

fn end_of(error: Failure, execution: &Execution) -> Fact {
    if error.kind == FailureKind::Timeout { execution.timed_out(error) } else { execution.failure_fact(error) }
}

/// Returns the retry policy: that of the step that the execution is or undoes, or that of the rule that
/// requested it, otherwise that of its action.
fn policy(state: &State, execution: &Execution, catalog: &Catalog) -> Option<Retry> {
    let of_step = execution.part_of.as_ref().and_then(|part_of| {
        let workflow = state.executions().get(&part_of.workflow)?;
        match &definition(catalog, workflow)?.run {
            Run::Workflow(workflow) => {
                let step = workflow.step(&part_of.step)?;
                match part_of.role {
                    PartRole::Step | PartRole::Turn | PartRole::UndoableStep => step.retry.clone(),
                    PartRole::Undo => step.undo.as_ref()?.retry.clone(),
                }
            }
            Run::Process(_) | Run::Shell(_) | Run::Http(_) | Run::Mail(_) | Run::Emit { .. } | Run::Builtin(_) => None,
        }
    });
    let of_rule = || {
        let asked_by = execution.asked_by.as_ref().filter(|_| execution.part_of.is_none())?;
        catalog.rules().get(&asked_by.rule)?.retry.clone()
    };
    of_step.or_else(of_rule).or_else(|| catalog.actions().get(&execution.action)?.retry.clone())
}

/// Returns the timer of the next attempt.
fn tried_again(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    failed: &AttemptFailed,
    retry: &Retry,
) -> AfterFailure {
    let asked = failed.retry_after_millis.map(Duration::from_millis);
    let wait = millis(retry.wait(execution.failures, failed.attempt, asked));
    let next = (TimerKind::Retry, execution.attempts + 1);
    let set = timer(state, record, (id, execution), next, begin_of_wait(state, record).plus_millis(wait));
    AfterFailure::IsTriedAgain(Box::new(set))
}

/// Returns why a failure is not retried if `retry` has no `when`.
fn why_not(error: &Failure) -> &'static str {
    match error.kind {
        FailureKind::ResultInvalid | FailureKind::OutputLimit | FailureKind::Output => {
            "the attempt may have taken effect, and the action is not `idempotent`"
        }
        FailureKind::ParametersInvalid => "the same parameters would fail again",
        _ => "the server rejected the request itself (`retry.when` can retry it)",
    }
}

fn is_worth(when: &Expression, error: &Failure, attempt: u32) -> Result<bool, String> {
    let failure = Value::map([
        ("detail", error.detail.map_or(Value::Null, Value::from)),
        ("kind", Value::from(error.kind.as_str())),
        ("message", Value::from(error.message.as_str())),
    ]);
    let scope = Scope::new().with("error", failure).with("attempt", Value::from(i64::from(attempt)));
    when.holds(&scope, &mut Budget::steps(EVALUATION_STEPS_MAX)).map_err(|error| describe(&error))
}
