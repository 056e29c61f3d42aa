//! Decisions on commands about sessions.

use super::decide::{accept_with, draft};
use crate::access::facts::{SessionEnd, SessionEnded, SessionOpened};
use crate::access::state::Session;
use crate::command::{Decision, NewSession, OpenedLink, Refusal};
use crate::ids::SessionId;
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;
use crate::time::Timestamp;

/// The maximum number of open sessions.
pub const SESSIONS_MAX: usize = 200_000;
/// The maximum number of open sessions of one identity.
pub const SESSIONS_OF_IDENTITY_MAX: usize = 50;

/// Opens a session of a valid credential. If the identity has too many, the session that the edge names ends.
pub(crate) fn open(state: &State, actor: &Actor, new: &NewSession, now: Timestamp) -> Decision {
    let access = state.access();
    let held = match (new.credential, new.identity) {
        (Some(token), _) => access.effective_rights(&token, now).ok(),
        (None, Some(identity)) => access.rights_of(identity, now).ok(),
        (None, None) => None,
    };
    let Some(held) = held.filter(|_| new.until > now && access.session(&new.id).is_none()) else {
        return Decision::Refused(Refusal::CredentialGone);
    };
    let mut drafts = Vec::new();
    let own: Vec<SessionId> =
        access.sessions().filter(|(_, session)| session.is_of(held.identity, new.credential)).map(|(id, _)| *id).collect();
    if own.len() >= SESSIONS_OF_IDENTITY_MAX {
        // Ids begin with their time, so the first one is the oldest.
        let ends = new.in_place_of.filter(|id| own.contains(id)).or(own.first().copied());
        drafts.extend(ends.map(|id| draft_session_end(actor, id, SessionEnd::EndedBy)));
    } else if access.sizes().sessions >= SESSIONS_MAX {
        return Decision::Refused(Refusal::LimitReached { what: "sessions", max: SESSIONS_MAX });
    }
    let fact = SessionOpened {
        id: new.id,
        identity: held.identity,
        way: new.way.clone(),
        credential: new.credential,
        only: new.only,
        link: new.link.and_then(OpenedLink::of_a_login),
        until: new.until,
    };
    drafts.push(draft(StreamId::Session(new.id), actor, fact.into()));
    accept_with(drafts)
}

/// Ends sessions; those that are not open stay as they are.
pub(crate) fn end(state: &State, actor: &Actor, sessions: &[SessionId], reason: SessionEnd) -> Decision {
    let open = sessions.iter().filter(|id| state.access().session(id).is_some());
    accept_with(open.map(|id| draft_session_end(actor, *id, reason)).collect())
}

/// Returns the ends of the open sessions for which `is_ended` holds.
pub(super) fn ends_of(state: &State, actor: &Actor, reason: SessionEnd, is_ended: impl Fn(&Session) -> bool) -> Vec<Draft> {
    let sessions = state.access().sessions().filter(|(_, session)| is_ended(session));
    sessions.map(|(id, _)| draft_session_end(actor, *id, reason)).collect()
}

pub(super) fn draft_session_end(actor: &Actor, id: SessionId, reason: SessionEnd) -> Draft {
    draft(StreamId::Session(id), actor, SessionEnded { id, reason }.into())
}
