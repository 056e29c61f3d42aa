//! Decisions on commands about the log itself.

use crate::command::{Answer, Decision, Refusal};
use crate::fact::Fact;
use crate::health::facts::{ClockAccepted, ClockStepped, LogRestored, NodeStarted, ReactionDismissed, ReactionRetried};
use crate::record::{Actor, Draft, Head, Position, StreamId};
use crate::state::State;
use crate::time::Timestamp;

pub(crate) fn note_start(state: &State, actor: &Actor, release: &str) -> Decision {
    accept_fact(state, actor, NodeStarted { release: release.to_owned() }.into())
}

pub(crate) fn note_clock_step(state: &State, actor: &Actor, from: Timestamp, to: Timestamp) -> Decision {
    accept_fact(state, actor, ClockStepped { from, to }.into())
}

/// Ends the hold of timers after a step of the clock, and lets credentials follow a clock that was set back. Records nothing
/// if there is neither.
pub(crate) fn accept_clock(state: &State, actor: &Actor, now: Timestamp) -> Decision {
    if state.timers().hold(now).is_some() || state.access().over_before_a_step(now) > 0 {
        return accept_fact(state, actor, ClockAccepted {}.into());
    }
    Decision::Done { drafts: Vec::new(), answer: Answer::Done }
}

/// Records that the log was restored from an older copy.
pub(crate) fn note_restore(state: &State, actor: &Actor, known: Head) -> Decision {
    accept_fact(state, actor, LogRestored { known: known.position, chain: known.chain }.into())
}

pub(crate) fn retry_reaction(state: &State, actor: &Actor, of: Position) -> Decision {
    match state.health().parked_at(of) {
        Some(_) => accept_fact(state, actor, ReactionRetried { of }.into()),
        None => Decision::Refused(Refusal::NotParked(of)),
    }
}

pub(crate) fn dismiss_reaction(state: &State, actor: &Actor, of: Position) -> Decision {
    match state.health().parked_at(of) {
        Some(_) => accept_fact(state, actor, ReactionDismissed { of }.into()),
        None => Decision::Refused(Refusal::NotParked(of)),
    }
}

fn accept_fact(state: &State, actor: &Actor, fact: Fact) -> Decision {
    let stream = StreamId::Log(state.log());
    let draft = Draft::new(stream, actor, fact);
    Decision::Done { drafts: vec![draft], answer: Answer::Done }
}
