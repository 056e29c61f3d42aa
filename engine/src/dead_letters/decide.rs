//! Decisions on commands about dead letters: each can be handled once.

use crate::command::{Answer, Context, Decision, Moment, Refusal, RequestExecution, RetriedDelivery};
use crate::dead_letters::facts::{DeadLetterDismissed, DeadLetterRetried};
use crate::events::decide::{EventOrigin, receive_each};
use crate::events::internal::InternalTriggers;
use crate::executions::admission::admits_work;
use crate::executions::decide as executions;
use crate::fact::Fact;
use crate::ids::Id;
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;

/// Accepts a refused delivery after all, once. Its events belong to the same chain as the refusal.
pub(crate) fn retry(
    state: &State,
    actor: &Actor,
    trace: Option<&str>,
    retried: &RetriedDelivery,
    at: &Moment,
    with: &Context<'_>,
) -> Decision {
    if !state.dead_letters().is_open(retried.of) {
        return Decision::Refused(Refusal::DeadLetterNotOpen(retried.of));
    }
    if let Err(refusal) = admits_work(state, with) {
        return Decision::Refused(refusal);
    }
    let from = EventOrigin { actor, cause: Some(retried.cause.clone()), trace, internal_above: InternalTriggers::new() };
    match receive_each(state, &from, &retried.events, at, with) {
        Ok((mut drafts, received)) => {
            let fact = DeadLetterRetried { of: retried.of, events: received.iter().map(|event| event.id).collect() };
            drafts.push(draft(state, actor, fact.into()));
            Decision::Done { drafts, answer: Answer::Events(received) }
        }
        Err(refusal) => Decision::Refused(refusal),
    }
}

/// Reruns an execution that failed permanently, once.
pub(crate) fn rerun(
    state: &State,
    at: &Moment,
    actor: &Actor,
    trace: Option<&str>,
    ask: &RequestExecution,
    with: &Context<'_>,
) -> Decision {
    match &ask.rerun {
        Some(rerun) if !state.dead_letters().is_open(rerun.of.0) => Decision::Refused(Refusal::DeadLetterNotOpen(rerun.of.0)),
        Some(_) | None => executions::request(state, at, actor, trace, ask, with),
    }
}

pub(crate) fn dismiss(state: &State, actor: &Actor, of: Id) -> Decision {
    if !state.dead_letters().is_open(of) {
        return Decision::Refused(Refusal::DeadLetterNotOpen(of));
    }
    Decision::Done { drafts: vec![draft(state, actor, DeadLetterDismissed { of }.into())], answer: Answer::Done }
}

fn draft(state: &State, actor: &Actor, fact: Fact) -> Draft {
    let stream = StreamId::Log(state.log());
    Draft::new(stream, actor, fact)
}
