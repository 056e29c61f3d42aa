//! What may be noted of, and asked for, the log itself.

use crate::command::{Answer, Decision, Refusal};
use crate::engine::Engine;
use crate::fact::Fact;
use crate::health::facts::{ClockAccepted, ClockStepped, LogRestored, NodeStarted, ReactionDismissed, ReactionRetried};
use crate::record::{Actor, Draft, Head, Position, StreamId};
use crate::time::Timestamp;

pub(crate) fn note_start(engine: &Engine, actor: &Actor, release: &str) -> Decision {
    done(engine, actor, NodeStarted { release: release.to_owned() }.into())
}

pub(crate) fn note_clock_step(engine: &Engine, actor: &Actor, from: Timestamp, to: Timestamp) -> Decision {
    done(engine, actor, ClockStepped { from, to }.into())
}

/// Ends the hold of timers after a step of the clock; says nothing new where nothing is held.
pub(crate) fn accept_clock(engine: &Engine, actor: &Actor, now: Timestamp) -> Decision {
    match engine.timers().hold(now) {
        Some(_) => done(engine, actor, ClockAccepted {}.into()),
        None => Decision::Done { drafts: Vec::new(), answer: Answer::Done },
    }
}

/// Records that the log was restored from an older copy.
pub(crate) fn note_restore(engine: &Engine, actor: &Actor, known: Head) -> Decision {
    done(engine, actor, LogRestored { known: known.position, chain: known.chain }.into())
}

pub(crate) fn retry_reaction(engine: &Engine, actor: &Actor, of: Position) -> Decision {
    match engine.health().parked_at(of) {
        Some(_) => done(engine, actor, ReactionRetried { of }.into()),
        None => Decision::Refused(Refusal::NotParked(of)),
    }
}

pub(crate) fn dismiss_reaction(engine: &Engine, actor: &Actor, of: Position) -> Decision {
    match engine.health().parked_at(of) {
        Some(_) => done(engine, actor, ReactionDismissed { of }.into()),
        None => Decision::Refused(Refusal::NotParked(of)),
    }
}

fn done(engine: &Engine, actor: &Actor, fact: Fact) -> Decision {
    let stream = StreamId::Log(engine.log());
    let draft = Draft { stream, begins: None, actor: actor.clone(), cause: None, trace: None, fact, body: None };
    Decision::Done { drafts: vec![draft], answer: Answer::Done }
}
