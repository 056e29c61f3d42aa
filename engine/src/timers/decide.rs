//! Decisions about timers: fire those that are due, count rule errors that are due to be counted, and report
//! keys that expire soon.

use crate::access::keys::decide::expiring;
use crate::command::{Answer, Decision, Moment};
use crate::record::{Actor, Cause, Draft, StreamId};
use crate::rules::facts::RuleErrorsCounted;
use crate::state::State;
use crate::timers::facts::TimerFired;
use crate::timers::state::{TimerId, TimerOwner};

/// The maximum number of timers that fire in one turn; the others fire in the next. Their consequences must
/// fit into the same turn.
pub const FIRED_AT_ONCE_MAX: usize = 50;
/// The maximum number if earlier turns still owe something. With more, the owed work would only grow.
pub const FIRED_BESIDE_OWED_MAX: usize = 5;

/// Fires the timers that are due, the oldest first. A timer that has fired is no longer pending, so none
/// fires twice. If fewer timers are due than may fire at once, rule errors are counted and
/// keys that expire are reported too.
pub(crate) fn fire(state: &State, actor: &Actor, at: &Moment) -> Decision {
    let most = if state.health().owed_count() == 0 { FIRED_AT_ONCE_MAX } else { FIRED_BESIDE_OWED_MAX };
    let due = state.timers().due(at.time, most);
    let room = most - due.len();
    let fired = due.into_iter().filter_map(|(id, due)| {
        Some(
            Draft::new(
                stream(state, id.owner)?,
                actor,
                TimerFired { kind: id.kind, number: id.number, due, schedule: id.owner.schedule() },
            )
            .because(cause(state, id)),
        )
    });
    let counted = state.rules().due(at.time, room).map(|(error, way)| {
        Draft::new(
            StreamId::Rule(way.rule.clone()),
            actor,
            RuleErrorsCounted { rule: way.rule.clone(), rule_id: way.rule_id, event: way.newest, error, count: way.uncounted },
        )
        .because(way.cause())
    });
    let mut drafts: Vec<Draft> = fired.chain(counted).collect();
    drafts.extend(expiring(state, actor, at, most - drafts.len()));
    Decision::Done { drafts, answer: Answer::Done }
}

/// Returns the stream of an owner's timers, or `None` if the owner does not exist.
fn stream(state: &State, owner: TimerOwner) -> Option<StreamId> {
    match owner {
        TimerOwner::Execution(execution) => Some(StreamId::Execution(execution)),
        TimerOwner::Enforcement(enforcement) => Some(StreamId::Enforcement(enforcement)),
        TimerOwner::Schedule(schedule) => state.schedules().get(schedule).map(|schedule| schedule.owner.stream()),
    }
}

/// Returns the cause of a fired timer: the record that set it. Each time of a schedule begins a new chain,
/// because it has nothing to do with the time before.
fn cause(state: &State, id: TimerId) -> Option<Cause> {
    match id.owner {
        TimerOwner::Execution(execution) => state.executions().get(&execution).map(|execution| execution.cause(id.record_id(state.log()))),
        TimerOwner::Enforcement(enforcement) => state.flows().get(enforcement).map(|held| held.cause(id.record_id(state.log()))),
        TimerOwner::Schedule(_) => None,
    }
}
