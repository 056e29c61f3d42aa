//! Timers of executions: how one is set, and when its wait begins.

use crate::executions::state::Execution;
use crate::ids::ExecutionId;
use crate::record::{Draft, Record, StreamId};
use crate::state::State;
use crate::time::Timestamp;
use crate::timers::facts::{TimerKind, TimerSet};
use crate::timers::state::{TimerId, TimerOwner};

/// Returns the draft of an execution's timer, caused by a record.
pub(crate) fn timer(
    state: &State,
    record: &Record,
    (id, execution): (ExecutionId, &Execution),
    (kind, number): (TimerKind, u32),
    due: Timestamp,
) -> Draft {
    let owner = TimerOwner::Execution(id);
    Draft::by_engine(StreamId::Execution(id), TimerSet { kind, number, due, schedule: None })
        .beginning(TimerId { owner, kind, number }.record_id(state.log()))
        .because(execution.cause(record.id))
}

/// Returns when a wait that a record causes begins, by the clock as it is now. If the clock has stepped
/// before the wait was computed, because it was owed for a while, it is unknown how much of it has passed: it
/// begins now, so that it does not end too early.
pub(crate) fn begin_of_wait(state: &State, record: &Record) -> Timestamp {
    if state.timers().has_stepped_since(record.position) { state.time() } else { record.time }
}

pub(crate) fn is_set(state: &State, id: ExecutionId, kind: TimerKind) -> bool {
    state.timers().of(TimerOwner::Execution(id)).any(|(timer, _)| timer.kind == kind)
}
