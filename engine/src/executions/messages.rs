//! The messages that an attempt may send while it runs, and how many: its progress, events, and artifacts.
//!
//! Its end is a report, which `decide.rs` accepts.

use crate::command::{Answer, Context, Decision, Message, MessageContent, Moment, ObservedEvent, Refusal, SaidArtifact};
use crate::events::decide::{self as events, EventOrigin};
use crate::executions::facts::{ArtifactKept, AttemptEmitted, AttemptProgressed, MessageRefused};
use crate::executions::rights;
use crate::executions::state::Attempt;
use crate::fact::Fact;
use crate::ids::{Id, Role};
use crate::record::{Actor, Body, Cause, Draft, StreamId};
use crate::state::State;
use crate::text::cut;

/// The maximum number of progress reports that the log accepts from one attempt. A worker forwards fewer and
/// fewer the longer an attempt lasts: one that runs for a day makes some five thousand.
pub const PROGRESS_MAX: u32 = 10_000;

/// The maximum number of events that an attempt emits while it runs.
pub const EMITTED_MAX: u32 = 1_000;

/// The maximum number of artifacts of an attempt.
pub const ARTIFACTS_MAX: u32 = 100;

/// The maximum number of rejected messages that are reported one by one.
pub const REFUSED_MAX: u32 = 100;

/// The maximum length of the reason for rejecting a message, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// The maximum size of the data in a progress report, in bytes.
pub const PROGRESS_BYTES_MAX: u64 = 2048;

/// Accepts a message of an attempt. A repeat is ignored; a message for an attempt that no longer runs is refused.
pub(crate) fn take(state: &State, actor: &Actor, message: &Message, at: &Moment, with: &Context<'_>) -> Decision {
    let Some(execution) = state.executions().get(&message.execution) else {
        return Decision::Refused(Refusal::NotOpen(message.execution));
    };
    let Some(attempt) = execution.phase.running().filter(|attempt| attempt.id == message.attempt) else {
        return Decision::Refused(Refusal::NotRunning(message.attempt));
    };
    if attempt.token != message.token {
        return Decision::Refused(Refusal::WrongToken { attempt: message.attempt, given: message.token });
    }
    if message.index < attempt.heard.next {
        return Decision::Done { drafts: Vec::new(), answer: Answer::Done };
    }
    let draft = |begins: Option<Id>, fact: Fact, body: Option<Body>| {
        Draft::new(StreamId::Execution(message.execution), actor, fact)
            .beginning(begins)
            .because(execution.cause(attempt.id.0))
            .with_body(body)
    };
    let drafts = match &message.said {
        MessageContent::Progress { thousandths, body } => {
            progress(&attempt, message.index, *thousandths, body.as_ref()).map(|fact| vec![draft(None, fact, body.clone())])
        }
        MessageContent::Event(event) => {
            if let Err(why) = rights::may_emit(state, execution, &event.trigger, at.time) {
                return Decision::Refused(Refusal::EmitNotPermitted(why));
            }
            let cause = execution.cause(attempt.id.0);
            let cause = Some(Cause { depth: cause.depth + 1, ..cause });
            let source = EventOrigin { actor, cause, trace: None, internal_above: execution.internal_above.clone() };
            emit(state, &source, &attempt, event, at, with).map(|received| {
                let emitted = AttemptEmitted { attempt: attempt.id, index: message.index, event: event.id };
                std::iter::once(draft(None, emitted.into(), None)).chain(received).collect()
            })
        }
        MessageContent::Artifact(artifact) => {
            let id = Id::derive(state.log(), attempt.id.0, Role::Artifact(message.index));
            keep(&attempt, message.index, artifact).map(|fact| vec![draft(Some(id), fact, None)])
        }
        MessageContent::Unusable { reason } => within(&attempt, "unusable messages", attempt.heard.refused, REFUSED_MAX).map(|()| {
            let reason = cut(reason.clone(), REASON_BYTES_MAX);
            vec![draft(None, MessageRefused { attempt: attempt.id, index: message.index, reason }.into(), None)]
        }),
    };
    match drafts {
        Ok(drafts) => Decision::Done { drafts, answer: Answer::Done },
        Err(refusal) => Decision::Refused(refusal),
    }
}

fn progress(attempt: &Attempt, index: u32, thousandths: Option<u16>, body: Option<&Body>) -> Result<Fact, Refusal> {
    within(attempt, "progress reports", attempt.heard.progressed, PROGRESS_MAX)?;
    if let Some(body) = body
        && body.bytes > PROGRESS_BYTES_MAX
    {
        let message = format!("the message or data of a progress report is {} bytes; the limit is {PROGRESS_BYTES_MAX}", body.bytes);
        return Err(Refusal::TooLarge(message));
    }
    let thousandths = thousandths.map(|thousandths| thousandths.min(1000));
    Ok(AttemptProgressed { attempt: attempt.id, index, thousandths }.into())
}

fn emit(
    state: &State,
    source: &EventOrigin<'_>,
    attempt: &Attempt,
    event: &ObservedEvent,
    at: &Moment,
    with: &Context<'_>,
) -> Result<Vec<Draft>, Refusal> {
    within(attempt, "events", attempt.heard.emitted, EMITTED_MAX)?;
    let (received, _) = events::receive_each(state, source, std::slice::from_ref(event), at, with)?;
    Ok(received)
}

fn keep(attempt: &Attempt, index: u32, artifact: &SaidArtifact) -> Result<Fact, Refusal> {
    within(attempt, "artifacts", attempt.heard.artifacts, ARTIFACTS_MAX)?;
    let SaidArtifact { name, media_type, blob, bytes } = artifact.clone();
    Ok(ArtifactKept { attempt: attempt.id, index, name, media_type, blob, bytes }.into())
}

fn within(attempt: &Attempt, what: &'static str, heard: u32, max: u32) -> Result<(), Refusal> {
    if heard >= max { Err(Refusal::TooManyMessages { attempt: attempt.id, what, max }) } else { Ok(()) }
}
