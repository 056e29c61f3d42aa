//! Automatic consequences: the end of an attempt ends its execution, and a free slot starts the next one in its queue.

use crate::catalog::OnLost;
use crate::command::Context;
use crate::executions::begin::react_to_begin;
use crate::executions::decide::lost_failure;
use crate::executions::end;
use crate::executions::execution_timers;
use crate::executions::facts::{ExecutionBecameIndeterminate, ExecutionSucceeded, Failure, FailureKind, Pace, Settlement};
use crate::executions::retry::{self, AfterFailure};
use crate::executions::start::start_or_end;
use crate::executions::state::{AttemptEnd, Execution, Phase, Stop};
use crate::fact::{ExecutionFact, Fact};
use crate::ids::ExecutionId;
use crate::inquiries::lost_attempt as asked_of_the_lost;
use crate::reaction::{Consequence, Reaction};
use crate::record::{Draft, Record, StreamId};
use crate::state::State;
use crate::workflows::react as workflows;

/// The maximum number of attempts of one execution before it is given up: a worker that dies each time would
/// otherwise retry it endlessly.
pub const ATTEMPTS_MAX: u32 = 100;

/// Returns the `next`-th consequence of a record of an execution: first for the execution itself, then for
/// the workflow that it is part of, then for the executions that may start now.
pub(crate) fn react(state: &State, record: &Record, fact: ExecutionFact<'_>, next: Consequence, with: &Context<'_>) -> Reaction {
    if next == Consequence::FIRST
        && let StreamId::Execution(id) = record.stream
        && let Some(execution) = state.executions().get(&id)
    {
        if let Some(draft) = asked_of_the_lost::first(state, record, (id, execution)) {
            return Reaction::from(vec![draft], Consequence::FIRST);
        }
        let end = match after_failed(state, record, (id, execution), fact, with) {
            Some(Ok(AfterFailure::IsTriedAgain(timer))) => return Reaction::more(vec![*timer]),
            Some(Ok(AfterFailure::Ends(end))) => Some(*end),
            Some(Err(reaction)) => return reaction,
            None => end_of(execution, fact),
        };
        if let Some(reaction) = execution_timers::end_of_wait(state, record, (id, execution), with) {
            return reaction;
        }
        if let Some(end) = end {
            let draft = Draft::by_engine(record.stream.clone(), end).because(execution.cause(record.id));
            // The end is a record with its own reaction, which starts waiting executions.
            return Reaction::last(vec![draft]);
        }
    }
    if next == Consequence::FIRST
        && let (ExecutionFact::ExecutionRequested(fact), StreamId::Execution(id)) = (fact, &record.stream)
    {
        let timers = execution_timers::first_timers(state, record, *id, fact);
        if !timers.is_empty() {
            return Reaction::from(timers, Consequence::FIRST);
        }
        if let Some(reaction) = react_to_begin(state, record, *id, with) {
            return reaction;
        }
    }
    if next == Consequence::FIRST
        && let (ExecutionFact::LockAcquired(_), StreamId::Execution(id)) = (fact, &record.stream)
        && let Some(execution) = state.executions().get(id)
    {
        let timers = execution_timers::timers_from_start(state, record, *id, execution);
        if !timers.is_empty() {
            return Reaction::from(timers, Consequence::FIRST);
        }
        if let Some(reaction) = react_to_begin(state, record, *id, with) {
            return reaction;
        }
    }
    if next == Consequence::FIRST
        && let StreamId::Execution(id) = record.stream
        && let Some(execution) = state.executions().get(&id)
        && (execution.phase, execution.pace) == (Phase::Queued, Pace::AtOnce)
    {
        if let Some(by) = state.executions().held_by(&id, state.workflows()) {
            return Reaction::Held(by);
        }
        return Reaction::more(vec![start_or_end(state, id, execution, record.id, with)]);
    }
    workflows::after_execution(state, record, fact, next, with)
}

/// Returns the consequences of a failed attempt if nobody asked the execution to end.
fn after_failed(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    fact: ExecutionFact<'_>,
    with: &Context<'_>,
) -> Option<Result<AfterFailure, Reaction>> {
    match (fact, execution.phase) {
        (ExecutionFact::AttemptFailed(failed), Phase::Ending { how: AttemptEnd::Failed, stop: None, .. }) => {
            Some(retry::after_failure(state, record, (id, execution), failed, with))
        }
        _ => None,
    }
}

/// Returns the end that a record causes for the execution, which has already applied it.
fn end_of(execution: &Execution, fact: ExecutionFact<'_>) -> Option<Fact> {
    let part_of = execution.part_of.clone();
    match (fact, execution.phase) {
        (ExecutionFact::AttemptSucceeded(_), Phase::Ending { how: AttemptEnd::Succeeded, .. }) => {
            Some(ExecutionSucceeded { part_of }.into())
        }
        // It was asked to end, or took too long, and nothing of it runs: it has ended.
        (ExecutionFact::AttemptFailed(_), Phase::Ending { how: AttemptEnd::Failed, stop: Some(_), .. }) => Some(end::stop_fact(execution)),
        // If the consequences of the loss were parked, it may have ended some other way meanwhile, or another
        // attempt may have been made.
        (ExecutionFact::AttemptLost(loss), Phase::Ending { attempt, how: AttemptEnd::Lost, .. }) if loss.attempt == attempt => {
            Some(end::stop_fact(execution))
        }
        // It took too long before its worker was lost: there is nothing left to ask a person.
        (ExecutionFact::AttemptLost(_), Phase::Indeterminate { stop: Some(Stop::TimedOut), .. }) => Some(end::stop_fact(execution)),
        (ExecutionFact::AttemptLost(loss), Phase::Indeterminate { attempt, .. }) if loss.attempt == attempt.id => {
            Some(match execution.on_lost {
                OnLost::Ask => ExecutionBecameIndeterminate {}.into(),
                OnLost::Fail | OnLost::Retry => execution.failure_fact(lost_failure()),
            })
        }
        (ExecutionFact::AttemptLost(_), Phase::Queued) if execution.attempts >= ATTEMPTS_MAX => {
            let message = format!("{ATTEMPTS_MAX} attempts were made, and the last one was lost with its worker");
            Some(execution.failure_fact(Failure::new(FailureKind::Lost, message)))
        }
        (ExecutionFact::ExecutionCancelRequested(_), Phase::Withdrawn(_)) => Some(end::stop_fact(execution)),
        // Its sleep was over before somebody asked it to end.
        (ExecutionFact::ExecutionCancelRequested(_), Phase::Woken) if matches!(execution.pace, Pace::Sleeps { .. }) => {
            Some(ExecutionSucceeded { part_of }.into())
        }
        // If the consequences of the settlement were parked, another attempt may have been lost meanwhile, which
        // nobody has settled: it is indeterminate then.
        (ExecutionFact::ExecutionSettled(settled), Phase::Settled { stop, .. }) => match &settled.outcome {
            Settlement::Succeeded => Some(ExecutionSucceeded { part_of }.into()),
            Settlement::Failed { error } => Some(execution.failure_fact(Failure::new(FailureKind::Lost, error.clone()))),
            Settlement::Retry => stop.map(|_| end::stop_fact(execution)),
        },
        // Nothing else that happens to an execution ends it; listing every pair would add no information.
        _ => None,
    }
}
