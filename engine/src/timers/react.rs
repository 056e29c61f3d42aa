//! Consequences of a timer that has fired: its owner decides them.

use crate::command::{Context, Moment};
use crate::executions::execution_timers;
use crate::fact::TimerFact;
use crate::reaction::{Consequence, Reaction};
use crate::record::{Record, StreamId};
use crate::rules::flow::react as flow;
use crate::schedule::react as schedule;
use crate::state::State;
use crate::timers::facts::TimerFired;

/// Returns the `next`-th consequence of a timer's record.
pub(crate) fn react(state: &State, record: &Record, fact: TimerFact<'_>, next: Consequence, at: &Moment, with: &Context<'_>) -> Reaction {
    match (fact, &record.stream) {
        (TimerFact::TimerFired(fact @ TimerFired { schedule: Some(id), .. }), _) => {
            schedule::react_to_timer(state, record, fact, *id, with)
        }
        (TimerFact::TimerFired(fact), StreamId::Execution(id)) => execution_timers::react_to_timer(state, record, *id, fact, next, with),
        (TimerFact::TimerFired(fact), StreamId::Enforcement(id)) => flow::react_to_timer(state, record, (*id, fact.number), next, at, with),
        // A timer that was set has no consequences until it fires, and nothing else has timers.
        (TimerFact::TimerSet(_) | TimerFact::TimerFired(_), _) => Reaction::nothing(),
    }
}
