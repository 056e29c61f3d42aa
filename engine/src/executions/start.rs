//! Which execution starts when a worker or a lock becomes free.

use crate::command::{Answer, Context, Decision};
use crate::executions::facts::{AttemptStarted, ExecutionCancelRequested};
use crate::executions::state::Execution;
use crate::ids::{ExecutionId, Id, Role};
use crate::locks::react::{self as locks};
use crate::reaction::{Consequence, Reaction};
use crate::record::{Draft, StreamId};
use crate::state::State;

/// The maximum number of attempts that one command starts; the next commands start the others. The
/// consequences of each must fit in the same turn.
const STARTED_AT_ONCE_MAX: usize = 50;

/// Lets an execution that waits for a free lock continue, or starts the first one in a queue with a free
/// slot. Asks to be called again.
pub(crate) fn start_waiting(state: &State, parent: Id, with: &Context<'_>) -> Reaction {
    if let Some(acquired) = locks::next_acquired(state, parent) {
        return Reaction::from(vec![acquired], Consequence::LAST);
    }
    match state.executions().next_to_start(with.settings) {
        Some((id, execution)) => Reaction::from(vec![start_or_end(state, id, execution, parent, with)], Consequence::LAST),
        None => Reaction::nothing(),
    }
}

/// Starts the executions that may start now, up to the limit of one turn. If one must end with a workflow
/// around it, it is asked to end once it is the first; the executions after it start as a consequence of
/// that.
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

/// Starts an execution. If it must end with a workflow around it, or that one with another, and was not asked
/// to yet, the outermost of them is asked to end instead; a workflow inside it that may still clean up ends
/// by itself.
pub(crate) fn start_or_end(state: &State, id: ExecutionId, execution: &Execution, parent: Id, with: &Context<'_>) -> Draft {
    let Some(to_end) = state.workflows().to_end(id, execution, state.executions()) else {
        return start(state, (id, execution), parent, state.executions().next_token(), with);
    };
    Draft::by_engine(StreamId::Execution(to_end), ExecutionCancelRequested {}).because(execution.cause(parent))
}

fn start(state: &State, (id, execution): (ExecutionId, &Execution), parent: Id, token: u64, with: &Context<'_>) -> Draft {
    let number = execution.attempts + 1;
    // The cause of an execution's start is the execution itself; that a slot became free elsewhere is not
    // part of its chain.
    let cause = execution.cause(if number == 1 { id.0 } else { parent });
    Draft::by_engine(
        StreamId::Execution(id),
        AttemptStarted { number, token, worker: with.settings.worker.clone(), lease_millis: with.settings.lease_millis },
    )
    .beginning(Id::derive(state.log(), id.0, Role::Attempt(number)))
    .because(cause)
}
