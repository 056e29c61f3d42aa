//! Timers of executions: how one is set, and when its wait begins.

use crate::executions::state::Execution;
use crate::ids::ExecutionId;
use crate::record::{Actor, Draft, Record, StreamId};
use crate::state::State;
use crate::time::Timestamp;
use crate::timers::facts::{TimerKind, TimerSet};
use crate::timers::state::{TimerId, TimerOwner};

/// Gives a timer of an execution, led to by a record.
pub(crate) fn timer(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    (kind, number): (TimerKind, u32),
    due: Timestamp,
) -> Draft {
    let owner = TimerOwner::Execution(id);
    Draft {
        stream: StreamId::Execution(id),
        begins: Some(TimerId { owner, kind, number }.record_id(state.log())),
        actor: Actor::Engine,
        cause: Some(execution.cause(record.id)),
        trace: None,
        fact: TimerSet { kind, number, due, schedule: None }.into(),
        body: None,
    }
}

/// Gives when a wait begins that a record leads to, by the clock as it is now. Where that has stepped before the wait was worked out,
/// because it was owed for a while, nobody can tell how much of it has passed: it begins now, and ends not too early.
pub(crate) fn begin_of_wait(state: &State, record: &Record) -> Timestamp {
    if state.timers().has_stepped_since(record.position) { state.time() } else { record.time }
}

pub(crate) fn is_set(state: &State, id: ExecutionId, kind: TimerKind) -> bool {
    state.timers().of(TimerOwner::Execution(id)).any(|(timer, _)| timer.kind == kind)
}
