//! Decisions on commands that record what happened at the edge.

use crate::access::audit::facts::{ConnectionTested, ExportMade};
use crate::command::{Answer, Decision, DeniedRequests, RefusedLogin, UsedKey};
use crate::fact::Fact;
use crate::record::{Actor, Body, Draft, StreamId};
use crate::state::State;

pub(crate) fn note_denied(state: &State, denied: &[DeniedRequests]) -> Decision {
    accept_with(denied.iter().map(|denied| draft(state, &denied.caller, denied.fact.clone().into(), None)).collect())
}

pub(crate) fn note_refused_logins(state: &State, actor: &Actor, refused: &[RefusedLogin]) -> Decision {
    accept_with(refused.iter().map(|login| draft(state, actor, login.fact.clone().into(), login.origin.clone())).collect())
}

pub(crate) fn note_export(state: &State, actor: &Actor, trace: Option<&str>, export: &ExportMade) -> Decision {
    let draft = draft(state, actor, export.clone().into(), None).with_trace(trace);
    accept_with(vec![draft])
}

pub(crate) fn note_connection_test(state: &State, actor: &Actor, trace: Option<&str>, test: &ConnectionTested) -> Decision {
    let draft = draft(state, actor, test.clone().into(), None).with_trace(trace);
    accept_with(vec![draft])
}

pub(crate) fn note_key_uses(used: &[UsedKey]) -> Decision {
    let of = |used: &UsedKey| Draft::new(StreamId::Key(used.fact.key.clone()), &Actor::Execution(used.by), used.fact.clone());
    accept_with(used.iter().map(of).collect())
}

fn draft(state: &State, actor: &Actor, fact: Fact, body: Option<Body>) -> Draft {
    let stream = StreamId::Log(state.log());
    Draft::new(stream, actor, fact).with_body(body)
}

fn accept_with(drafts: Vec<Draft>) -> Decision {
    Decision::Done { drafts, answer: Answer::Done }
}
