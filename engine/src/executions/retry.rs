//! What follows from an attempt that failed: another one after a while, or the end.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Expression, Scope, Value};

use crate::catalog::{Catalog, Retry, Run};
use crate::command::Context;
use crate::engine::{Engine, Reaction};
use crate::executions::decide::millis;
use crate::executions::facts::{AttemptFailed, ExecutionFailed, ExecutionTimedOut, Failure, FailureKind};
use crate::executions::state::Execution;
use crate::executions::timed::{begin_of_wait, timer};
use crate::fact::Fact;
use crate::ids::ExecutionId;
use crate::record::{Draft, Record};
use crate::rules::judge::describe;
use crate::timers::facts::TimerKind;
use crate::workflows::facts::PartRole;
use crate::workflows::react::definition;

/// Gives what follows from a failed attempt of an execution that nobody asked to end.
pub(crate) fn after_failure(
    engine: &Engine,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    failed: &AttemptFailed,
    with: &Context<'_>,
) -> Result<AfterFailure, Reaction> {
    let end = |error| Ok(AfterFailure::Ends(Box::new(end_of(error, execution))));
    if execution.failures >= execution.failures_max {
        return end(failed.error.clone());
    }
    // Where the catalog cannot be built any more nothing says how to try again, and nothing could be: it has failed.
    let catalog = with.catalogs.at(execution.catalog);
    let Some(retry) = catalog.and_then(|catalog| policy(engine, execution, &catalog)) else { return end(failed.error.clone()) };
    match is_worth(retry.when.as_ref(), &failed.error, execution.attempts) {
        Ok(true) => {
            let wait = millis(retry.wait(execution.failures, failed.attempt));
            let next = (TimerKind::Retry, execution.attempts + 1);
            let set = timer(engine, record, (id, execution), next, begin_of_wait(engine, record).plus_millis(wait));
            Ok(AfterFailure::IsTriedAgain(Box::new(set)))
        }
        Ok(false) => end(failed.error.clone()),
        Err(why) => {
            let message = format!("{}; it was not tried again, because `retry.when` erred: {why}", failed.error.message);
            end(Failure { detail: failed.error.detail, ..Failure::new(failed.error.kind, message) })
        }
    }
}

/// What follows from a failed attempt.
pub(crate) enum AfterFailure {
    /// Another attempt, once this timer fires.
    IsTriedAgain(Box<Draft>),
    /// The end.
    Ends(Box<Fact>),
}

fn end_of(error: Failure, execution: &Execution) -> Fact {
    let part_of = execution.part_of.clone();
    if error.kind == FailureKind::Timeout { ExecutionTimedOut { error, part_of }.into() } else { ExecutionFailed { error, part_of }.into() }
}

/// Gives what is said of trying again: by the step that the execution is, or undoes, else by its action.
fn policy(engine: &Engine, execution: &Execution, catalog: &Catalog) -> Option<Retry> {
    let of_step = execution.part_of.as_ref().and_then(|part_of| {
        let workflow = engine.executions().get(&part_of.workflow)?;
        match &definition(catalog, workflow)?.run {
            Run::Workflow(workflow) => {
                let step = workflow.step(&part_of.step)?;
                match part_of.role {
                    PartRole::Step | PartRole::Turn | PartRole::UndoableStep => step.retry.clone(),
                    PartRole::Undo => step.undo.as_ref()?.retry.clone(),
                }
            }
            Run::Process(_) | Run::Shell(_) | Run::Http(_) | Run::Emit { .. } | Run::Builtin(_) => None,
        }
    });
    of_step.or_else(|| catalog.actions().get(&execution.action)?.retry.clone())
}

fn is_worth(when: Option<&Expression>, error: &Failure, attempt: u32) -> Result<bool, String> {
    let Some(when) = when else { return Ok(true) };
    let failure = Value::map([
        ("detail", error.detail.map_or(Value::Null, Value::from)),
        ("kind", Value::from(error.kind.as_str())),
        ("message", Value::from(error.message.as_str())),
    ]);
    let scope = Scope::new().with("error", failure).with("attempt", Value::from(i64::from(attempt)));
    when.holds(&scope, &mut Budget::steps(EVALUATION_STEPS_MAX)).map_err(|error| describe(&error))
}
