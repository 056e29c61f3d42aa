//! What follows by itself: an attempt's end ends its execution, and a free slot starts the next in the queue.

use crate::catalog::OnLost;
use crate::command::Context;
use crate::engine::{Engine, Reaction};
use crate::executions::decide::lost;
use crate::executions::facts::{
    AttemptStarted, ExecutionBecameIndeterminate, ExecutionCancelled, ExecutionFailed, ExecutionSucceeded, ExecutionTimedOut, Failure,
    FailureKind, Settlement,
};
use crate::executions::state::{Execution, Phase};
use crate::fact::Fact;
use crate::ids::{ExecutionId, Id, Role};
use crate::record::{Actor, Draft, Record, StreamId};

/// The most attempts that one execution gets before it is given up: a worker that dies each time would take it for ever.
const ATTEMPTS_MAX: u32 = 100;

/// Gives the `next`-th consequence of a record of an execution: first what it means for the execution, then who may run now.
pub(crate) fn react(engine: &Engine, record: &Record, next: u32, with: &Context<'_>) -> Reaction {
    if next == 0 {
        let StreamId::Execution(id) = record.stream else { return Reaction::nothing() };
        let end = engine.executions().get(&id).and_then(|execution| {
            let fact = end_of(execution, &record.fact)?;
            Some(Draft {
                stream: record.stream.clone(),
                begins: None,
                actor: Actor::Engine,
                cause: Some(execution.cause(record.id)),
                trace: None,
                fact,
                body: None,
            })
        });
        if let Some(draft) = end {
            // The end is a record with a reaction of its own: it starts who waits.
            return Reaction::last(vec![draft]);
        }
    }
    match start_next(engine, record.id, with) {
        Some(draft) => Reaction::more(vec![draft]),
        None => Reaction::nothing(),
    }
}

/// Says what a record means for the execution, which has folded it already.
fn end_of(execution: &Execution, fact: &Fact) -> Option<Fact> {
    match (fact, execution.phase) {
        (Fact::AttemptSucceeded(_), Phase::Ending { .. }) => Some(ExecutionSucceeded {}.into()),
        (Fact::AttemptFailed(_), Phase::Ending { cancelled: true, .. }) => Some(ExecutionCancelled {}.into()),
        (Fact::AttemptFailed(failed), Phase::Ending { cancelled: false, .. }) => {
            let error = failed.error.clone();
            Some(if error.kind == FailureKind::Timeout { ExecutionTimedOut { error }.into() } else { ExecutionFailed { error }.into() })
        }
        (Fact::AttemptLost(_), Phase::Ending { .. }) => Some(ExecutionCancelled {}.into()),
        (Fact::AttemptLost(_), Phase::Running(_) | Phase::Cancelling(_)) => Some(match execution.on_lost {
            OnLost::Ask => ExecutionBecameIndeterminate {}.into(),
            OnLost::Fail | OnLost::Retry => ExecutionFailed { error: lost() }.into(),
        }),
        (Fact::AttemptLost(_), Phase::Queued) if execution.attempts >= ATTEMPTS_MAX => {
            let message = format!("{ATTEMPTS_MAX} attempts were lost, each with its worker");
            Some(ExecutionFailed { error: Failure::new(FailureKind::Lost, message) }.into())
        }
        (Fact::ExecutionCancelRequested(_), Phase::Queued | Phase::Indeterminate(_)) => Some(ExecutionCancelled {}.into()),
        (Fact::ExecutionSettled(settled), Phase::Indeterminate(_)) => match &settled.outcome {
            Settlement::Succeeded => Some(ExecutionSucceeded {}.into()),
            Settlement::Failed { error } => Some(ExecutionFailed { error: Failure::new(FailureKind::Lost, error.clone()) }.into()),
            Settlement::Retry => None,
        },
        _ => None,
    }
}

/// Starts the first in the queue where a slot is free.
fn start_next(engine: &Engine, parent: Id, with: &Context<'_>) -> Option<Draft> {
    if engine.executions().running() >= with.settings.workers {
        return None;
    }
    let (id, execution) = engine.executions().next_queued()?;
    Some(start(engine, id, execution, parent, with))
}

fn start(engine: &Engine, id: ExecutionId, execution: &Execution, parent: Id, with: &Context<'_>) -> Draft {
    let number = execution.attempts + 1;
    // What led to an execution's start is the execution itself; that a slot came free elsewhere is no part of its story.
    let cause = execution.cause(if number == 1 { id.0 } else { parent });
    Draft {
        stream: StreamId::Execution(id),
        begins: Some(Id::derived(engine.log(), id.0, Role::Attempt(number))),
        actor: Actor::Engine,
        cause: Some(cause),
        trace: None,
        fact: AttemptStarted {
            number,
            token: engine.executions().next_token(),
            worker: with.settings.worker.clone(),
            lease_millis: with.settings.lease_millis,
        }
        .into(),
        body: None,
    }
}
