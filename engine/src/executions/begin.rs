//! The consequences of an execution that may begin: it waits for a lock, opens its inquiry, or ends at once.

use crate::command::Context;
use crate::executions::start::start_waiting;
use crate::ids::ExecutionId;
use crate::inquiries::react as inquiries;
use crate::locks::react::{self as locks, Begins};
use crate::reaction::{Consequence, Reaction};
use crate::record::Record;
use crate::state::State;
use crate::workflows::waits;

/// Returns the consequences of a record that lets an execution begin, beyond those for its steps or an
/// attempt: it may have to wait for a lock.
pub(crate) fn react_to_begin(state: &State, record: &Record, id: ExecutionId, with: &Context<'_>) -> Option<Reaction> {
    let execution = state.executions().get(&id)?;
    match locks::begins(state, record, (id, execution)) {
        Begins::Now => open_or_end(state, record, id, with),
        Begins::First(reaction) => Some(reaction),
        Begins::NotNow => Some(start_waiting(state, record.id, with)),
    }
}

/// Opens the inquiry of an execution that asks, if it is not open yet. Ends an execution whose event came
/// before it began.
fn open_or_end(state: &State, record: &Record, id: ExecutionId, with: &Context<'_>) -> Option<Reaction> {
    let execution = state.executions().get(&id)?;
    if execution.awaits_event() {
        return waits::awaited_event(state, execution).map(|_| waits::end(state, record, (id, execution), with));
    }
    match inquiries::opening(state, record, (id, state.executions().get(&id)?), with) {
        Ok(drafts) => drafts.map(|drafts| Reaction::from(drafts, Consequence::FIRST)),
        Err(reaction) => Some(reaction),
    }
}
