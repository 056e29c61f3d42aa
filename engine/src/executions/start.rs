//! Which execution starts when a worker or a lock is free.

use crate::command::{Answer, Context, Decision};
use crate::executions::facts::{AttemptStarted, ExecutionCancelRequested};
use crate::executions::state::Execution;
use crate::ids::{ExecutionId, Id, Role};
use crate::locks::react::{self as locks};
use crate::reaction::{Consequence, Reaction};
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;

/// The most attempts that one command starts; the others follow by the next. What follows from each is to find room in the same turn.
const STARTED_AT_ONCE_MAX: usize = 50;

/// Lets who waits for a lock that is free go on, starts the first in a queue where a slot is free, and asks to be called again.
pub(crate) fn start_waiting(state: &State, parent: Id, with: &Context<'_>) -> Reaction {
    if let Some(acquired) = locks::next_acquired(state, parent) {
        return Reaction::from(vec![acquired], Consequence::LAST);
    }
    match state.executions().next_to_start(with.settings) {
        Some((id, execution)) => Reaction::from(vec![start_or_end(state, id, execution, parent, with)], Consequence::LAST),
        None => Reaction::nothing(),
    }
}

/// Starts those that may start now, a turn's worth. Where one is to end with a workflow around it, that is asked to once it is the first,
/// and who waits behind it starts by what follows from that.
pub(crate) fn start_queued(state: &State, with: &Context<'_>) -> Decision {
    let mut drafts = Vec::new();
    for (token, (id, execution)) in
        (state.executions().next_token()..).zip(state.executions().all_to_start(with.settings, STARTED_AT_ONCE_MAX))
    {
        if state.workflows().to_end(id, execution, state.executions()).is_none() {
            drafts.push(start(state, (id, execution), id.0, token, with));
            continue;
        }
        if drafts.is_empty() {
            drafts.push(start_or_end(state, id, execution, id.0, with));
        }
        break;
    }
    Decision::Done { drafts, answer: Answer::Done }
}

/// Starts an execution. Where it is to end with a workflow around it, or that one with another, and does not know it yet, whichever
/// is outermost is asked to instead: one that stands in it and still may clean up ends by itself.
pub(crate) fn start_or_end(state: &State, id: ExecutionId, execution: &Execution, parent: Id, with: &Context<'_>) -> Draft {
    let Some(to_end) = state.workflows().to_end(id, execution, state.executions()) else {
        return start(state, (id, execution), parent, state.executions().next_token(), with);
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

fn start(state: &State, (id, execution): (ExecutionId, &Execution), parent: Id, token: u64, with: &Context<'_>) -> Draft {
    let number = execution.attempts + 1;
    // What led to an execution's start is the execution itself; that a slot came free elsewhere is no part of its story.
    let cause = execution.cause(if number == 1 { id.0 } else { parent });
    Draft {
        stream: StreamId::Execution(id),
        begins: Some(Id::derived(state.log(), id.0, Role::Attempt(number))),
        actor: Actor::Engine,
        cause: Some(cause),
        trace: None,
        fact: AttemptStarted { number, token, worker: with.settings.worker.clone(), lease_millis: with.settings.lease_millis }.into(),
        body: None,
    }
}
