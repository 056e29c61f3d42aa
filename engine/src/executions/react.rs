//! What follows by itself: an attempt's end ends its execution, and a free slot starts the next in its queue.

use crate::catalog::OnLost;
use crate::command::{Answer, Context, Decision};
use crate::engine::{Engine, Reaction};
use crate::executions::decide::lost;
use crate::executions::facts::{
    AttemptStarted, ExecutionBecameIndeterminate, ExecutionCancelRequested, ExecutionFailed, ExecutionSucceeded, Failure, FailureKind,
    Pace, Settlement,
};
use crate::executions::retry::{self, AfterFailure};
use crate::executions::state::{AttemptEnd, Execution, Phase};
use crate::executions::timed;
use crate::fact::{ExecutionFact, Fact};
use crate::ids::{ExecutionId, Id, Role};
use crate::inquiries::{lost as asked_of_the_lost, react as inquiries};
use crate::locks::react::{self as locks, Begins};
use crate::record::{Actor, Draft, Record, StreamId};
use crate::workflows::react as workflows;
use crate::workflows::waits;

/// The most attempts that one execution gets before it is given up: a worker that dies each time would take it for ever.
pub const ATTEMPTS_MAX: u32 = 100;

/// The most attempts that one command starts; the others follow by the next. What follows from each is to find room in the same turn.
const STARTED_AT_ONCE_MAX: usize = 50;

/// The consequence behind all others of any record: who waits for a worker starts.
const ONLY_WAITING: u32 = u32::MAX;

/// Gives the `next`-th consequence of a record of an execution: first what it means for the
/// execution, then for the workflow that this is a part of, then who may run now.
pub(crate) fn react(engine: &Engine, record: &Record, fact: ExecutionFact<'_>, next: u32, with: &Context<'_>) -> Reaction {
    if next == 0
        && let StreamId::Execution(id) = record.stream
        && let Some(execution) = engine.executions().get(&id)
    {
        if let Some(draft) = asked_of_the_lost::first(engine, record, (id, execution)) {
            return Reaction::from(vec![draft], 0);
        }
        let end = match after_failed(engine, record, (id, execution), fact, with) {
            Some(Ok(AfterFailure::IsTriedAgain(timer))) => return Reaction::more(vec![*timer]),
            Some(Ok(AfterFailure::Ends(end))) => Some(*end),
            Some(Err(reaction)) => return reaction,
            None => end_of(engine, (id, execution), fact),
        };
        if let Some(reaction) = timed::end_of_wait(engine, record, (id, execution), with) {
            return reaction;
        }
        if let Some(end) = end {
            let draft = Draft {
                stream: record.stream.clone(),
                begins: None,
                actor: Actor::Engine,
                cause: Some(execution.cause(record.id)),
                trace: None,
                fact: end,
                body: None,
            };
            // The end is a record with a reaction of its own: it starts who waits.
            return Reaction::last(vec![draft]);
        }
    }
    if next == 0
        && let (ExecutionFact::ExecutionRequested(fact), StreamId::Execution(id)) = (fact, &record.stream)
    {
        let timers = timed::first_timers(engine, record, *id, fact);
        if !timers.is_empty() {
            return Reaction::from(timers, 0);
        }
        if let Some(reaction) = begun(engine, record, *id, with) {
            return reaction;
        }
    }
    if next == 0
        && let (ExecutionFact::LockAcquired(_), StreamId::Execution(id)) = (fact, &record.stream)
        && let Some(execution) = engine.executions().get(id)
    {
        let timers = timed::timers_from_start(engine, record, *id, execution);
        if !timers.is_empty() {
            return Reaction::from(timers, 0);
        }
        if let Some(reaction) = begun(engine, record, *id, with) {
            return reaction;
        }
    }
    if next == 0
        && let StreamId::Execution(id) = record.stream
        && let Some(execution) = engine.executions().get(&id)
        && (execution.phase, execution.pace) == (Phase::Queued, Pace::AtOnce)
    {
        if let Some(by) = engine.executions().held_by(&id, engine.workflows()) {
            return Reaction::Held(by);
        }
        return Reaction::more(vec![start_or_end(engine, id, execution, record.id, with)]);
    }
    workflows::after_execution(engine, record, fact, next, with)
}

/// Gives what a record leads to that has an execution begin, where that is more than that its steps or an attempt do: it may have to wait
/// for a lock.
pub(crate) fn begun(engine: &Engine, record: &Record, id: ExecutionId, with: &Context<'_>) -> Option<Reaction> {
    let execution = engine.executions().get(&id)?;
    match locks::begins(engine, record, (id, execution)) {
        Begins::Now => opened(engine, record, id, with),
        Begins::First(reaction) => Some(reaction),
        Begins::NotNow => Some(start_waiting(engine, record.id, with)),
    }
}

/// Opens the inquiry of an execution that asks, where that is to be done, and ends one whose event has come before it began.
fn opened(engine: &Engine, record: &Record, id: ExecutionId, with: &Context<'_>) -> Option<Reaction> {
    let execution = engine.executions().get(&id)?;
    if execution.phase == Phase::Awaiting {
        return waits::awaited(engine, execution).map(|_| waits::end(engine, record, (id, execution), with));
    }
    match inquiries::opening(engine, record, (id, engine.executions().get(&id)?), with) {
        Ok(drafts) => drafts.map(|drafts| Reaction::from(drafts, 0)),
        Err(reaction) => Some(reaction),
    }
}

/// Lets who waits for a lock that is free go on, starts the first in a queue where a slot is free, and asks to be called again.
pub(crate) fn start_waiting(engine: &Engine, parent: Id, with: &Context<'_>) -> Reaction {
    if let Some(acquired) = locks::next_acquired(engine, parent) {
        return Reaction::from(vec![acquired], ONLY_WAITING);
    }
    match engine.executions().next_to_start(with.settings) {
        Some((id, execution)) => Reaction::from(vec![start_or_end(engine, id, execution, parent, with)], ONLY_WAITING),
        None => Reaction::nothing(),
    }
}

/// Starts those that may start now, a turn's worth. Where one is to end with a workflow around it, that is asked to once it is the first,
/// and who waits behind it starts by what follows from that.
pub(crate) fn start_queued(engine: &Engine, with: &Context<'_>) -> Decision {
    let mut drafts = Vec::new();
    for (token, (id, execution)) in
        (engine.executions().next_token()..).zip(engine.executions().all_to_start(with.settings, STARTED_AT_ONCE_MAX))
    {
        if engine.workflows().to_end(id, execution, engine.executions()).is_none() {
            drafts.push(start(engine, (id, execution), id.0, token, with));
            continue;
        }
        if drafts.is_empty() {
            drafts.push(start_or_end(engine, id, execution, id.0, with));
        }
        break;
    }
    Decision::Done { drafts, answer: Answer::Done }
}

/// Starts an execution. Where it is to end with a workflow around it, or that one with another, and does not know it yet, whichever
/// is outermost is asked to instead: one that stands in it and still may clean up ends by itself.
pub(crate) fn start_or_end(engine: &Engine, id: ExecutionId, execution: &Execution, parent: Id, with: &Context<'_>) -> Draft {
    let Some(to_end) = engine.workflows().to_end(id, execution, engine.executions()) else {
        return start(engine, (id, execution), parent, engine.executions().next_token(), with);
    };
    Draft {
        stream: StreamId::Execution(to_end),
        begins: None,
        actor: Actor::Engine,
        cause: Some(execution.cause(parent)),
        trace: None,
        fact: ExecutionCancelRequested {}.into(),
        body: None,
    }
}

/// Gives what follows where an attempt has failed and nobody asked the execution to end.
fn after_failed(
    engine: &Engine,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    fact: ExecutionFact<'_>,
    with: &Context<'_>,
) -> Option<Result<AfterFailure, Reaction>> {
    match (fact, execution.phase) {
        (ExecutionFact::AttemptFailed(failed), Phase::Ending { how: AttemptEnd::Failed, cancelled: false, .. }) => {
            Some(retry::after_failure(engine, record, (id, execution), failed, with))
        }
        _ => None,
    }
}

/// Says what a record means for the execution, which has folded it already.
fn end_of(engine: &Engine, (id, execution): (ExecutionId, &Execution), fact: ExecutionFact<'_>) -> Option<Fact> {
    let part_of = execution.part_of.clone();
    match (fact, execution.phase) {
        (ExecutionFact::AttemptSucceeded(_), Phase::Ending { how: AttemptEnd::Succeeded, .. }) => {
            Some(ExecutionSucceeded { part_of }.into())
        }
        // It was asked to end, or took too long, and nothing of it runs: it has ended.
        (ExecutionFact::AttemptFailed(_), Phase::Ending { how: AttemptEnd::Failed, cancelled: true, .. }) => {
            Some(timed::stopped(execution))
        }
        // Where what follows from the loss was put aside, it may have ended otherwise meanwhile, or another attempt may have been made.
        (ExecutionFact::AttemptLost(loss), Phase::Ending { attempt, how: AttemptEnd::Lost, .. }) if loss.attempt == attempt => {
            Some(timed::stopped(execution))
        }
        // Or a person has said what became of it.
        (ExecutionFact::AttemptLost(_), Phase::Indeterminate(_)) if !engine.executions().is_indeterminate(&id) => None,
        // It took too long before its worker was lost: there is nothing left to ask a person.
        (ExecutionFact::AttemptLost(_), Phase::Indeterminate(_)) if execution.is_timed_out => Some(timed::stopped(execution)),
        (ExecutionFact::AttemptLost(loss), Phase::Indeterminate(attempt)) if loss.attempt == attempt.id => Some(match execution.on_lost {
            OnLost::Ask => ExecutionBecameIndeterminate {}.into(),
            OnLost::Fail | OnLost::Retry => ExecutionFailed { error: lost(), part_of }.into(),
        }),
        (ExecutionFact::AttemptLost(_), Phase::Queued) if execution.attempts >= ATTEMPTS_MAX => {
            let message = format!("{ATTEMPTS_MAX} attempts were made, and the last one was lost with its worker");
            Some(ExecutionFailed { error: Failure::new(FailureKind::Lost, message), part_of }.into())
        }
        (ExecutionFact::ExecutionCancelRequested(_), Phase::Withdrawn) => Some(timed::stopped(execution)),
        // It had slept before somebody asked.
        (ExecutionFact::ExecutionCancelRequested(_), Phase::Asleep) if execution.has_come => Some(ExecutionSucceeded { part_of }.into()),
        // Where what follows from that was put aside, another attempt may have been lost meanwhile, of which nobody has said anything.
        (ExecutionFact::ExecutionSettled(_), Phase::Indeterminate(_)) if engine.executions().is_indeterminate(&id) => None,
        (ExecutionFact::ExecutionSettled(settled), Phase::Indeterminate(_)) => match &settled.outcome {
            Settlement::Succeeded => Some(ExecutionSucceeded { part_of }.into()),
            Settlement::Failed { error } => Some(ExecutionFailed { error: Failure::new(FailureKind::Lost, error.clone()), part_of }.into()),
            Settlement::Retry => execution.is_cancelled.then(|| timed::stopped(execution)),
        },
        // Whatever else happens to an execution does not end it; listing every pair would say no more.
        _ => None,
    }
}

fn start(engine: &Engine, (id, execution): (ExecutionId, &Execution), parent: Id, token: u64, with: &Context<'_>) -> Draft {
    let number = execution.attempts + 1;
    // What led to an execution's start is the execution itself; that a slot came free elsewhere is no part of its story.
    let cause = execution.cause(if number == 1 { id.0 } else { parent });
    Draft {
        stream: StreamId::Execution(id),
        begins: Some(Id::derived(engine.log(), id.0, Role::Attempt(number))),
        actor: Actor::Engine,
        cause: Some(cause),
        trace: None,
        fact: AttemptStarted { number, token, worker: with.settings.worker.clone(), lease_millis: with.settings.lease_millis }.into(),
        body: None,
    }
}
