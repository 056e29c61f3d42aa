//! What follows from a timer that has fired: what its owner makes of it.

use crate::command::{Context, Moment};
use crate::executions::timed;
use crate::fact::TimerFact;
use crate::reaction::{Consequence, Reaction};
use crate::record::{Record, StreamId};
use crate::rules::flow::react as flow;
use crate::schedule::react as schedule;
use crate::state::State;
use crate::timers::facts::TimerFired;

/// Gives the `next`-th consequence of a record of a timer.
pub(crate) fn react(state: &State, record: &Record, fact: TimerFact<'_>, next: Consequence, at: &Moment, with: &Context<'_>) -> Reaction {
    match (fact, &record.stream) {
        (TimerFact::TimerFired(fact @ TimerFired { schedule: Some(id), .. }), _) => schedule::fired(state, record, fact, *id, with),
        (TimerFact::TimerFired(fact), StreamId::Execution(id)) => timed::fired(state, record, *id, fact, next, with),
        (TimerFact::TimerFired(fact), StreamId::Enforcement(id)) => flow::fired(state, record, *id, fact.number, at, with),
        // What was set is waited for, and nothing else has timers.
        (TimerFact::TimerSet(_) | TimerFact::TimerFired(_), _) => Reaction::nothing(),
    }
}
