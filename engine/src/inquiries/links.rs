//! Links with which one person answers one inquiry, without a login.

use super::decide::asking;
use super::facts::{LinkMinted, LinkUsed};
use super::right::{AnswerRight, Answerer};
use super::state::Inquiry;
use crate::access::decide::{PassedOn, TO_ANSWER};
use crate::access::people::beyond;
use crate::access::permission::Permission;
use crate::access::sessions;
use crate::command::{Answer, Decision, NewLink, NewSession, OpenedLink, Refusal};
use crate::executions::state::Execution;
use crate::fact::Fact;
use crate::ids::InquiryId;
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;
use crate::time::Timestamp;

/// Creates a link for a person that the inquiry asks. Whoever has the link answers in the name of that person, so the
/// caller must be able to answer inquiries itself, or be the notification of that person.
pub(crate) fn mint(state: &State, actor: &Actor, trace: Option<&str>, link: &NewLink, now: Timestamp) -> Decision {
    let NewLink { id, inquiry: of, identity, name, until } = link;
    let Some((inquiry, execution)) = open_inquiry(state, *of) else { return Decision::Refused(Refusal::InquiryClosed(*of)) };
    let refusal = beyond(state, actor, &PassedOn::all([TO_ANSWER], None), now);
    if let Some(refusal) = refusal.filter(|_| !notifies(state, actor, link)) {
        return Decision::Refused(refusal);
    }
    let Ok(held) = state.access().rights_of(*identity, now) else { return Decision::Refused(Refusal::CredentialGone) };
    let by = identity.to_string();
    let answerer = Answerer { by: &by, name: Some(name), roles: &held.roles };
    let may_answer = held.rights.reach(Permission::InquiriesAnswer).is_some();
    let right = AnswerRight {
        inquiry: *of,
        name,
        is_asked: may_answer && answerer.names().any(|name| inquiry.asks(name, &held.roles)),
        is_excluded: inquiry.excludes(answerer),
        is_open: true,
        answered_at: inquiry.answered_at(&by),
        digest: inquiry.digest,
        digest_required: inquiry.digest_required,
        given: Some(inquiry.digest),
    };
    if let Err(why) = right.demand() {
        return Decision::Refused(why);
    }
    let minted = LinkMinted { id: *id, inquiry: *of, r#for: *identity, until: *until };
    let draft = draft(actor, trace, (*of, inquiry, execution), minted.into());
    Decision::Done { drafts: vec![draft], answer: Answer::Execution(inquiry.execution) }
}

/// Returns true if the actor is the running attempt of the notification that the link is for.
fn notifies(state: &State, actor: &Actor, link: &NewLink) -> bool {
    let Actor::Execution(of) = actor else { return false };
    let Some((execution, _)) = state.executions().running_as(*of) else { return false };
    execution.link.as_ref().is_some_and(|wanted| wanted.inquiry == link.inquiry && wanted.r#for == link.name)
}

/// Opens a session. That of a link needs an inquiry that still waits for answers.
pub(crate) fn open(state: &State, actor: &Actor, trace: Option<&str>, new: &NewSession, now: Timestamp) -> Decision {
    let opened = sessions::open(state, actor, new, now);
    let (Some(OpenedLink::OfInquiry { id, digest }), Some(of), Some(identity)) = (new.link, new.only, new.identity) else { return opened };
    let Some((inquiry, execution)) = open_inquiry(state, of) else { return Decision::Refused(Refusal::InquiryClosed(of)) };
    if inquiry.digest != digest {
        return Decision::Refused(Refusal::ApprovalStale { inquiry: of, digest: inquiry.digest });
    }
    match opened {
        Decision::Done { mut drafts, answer } => {
            let used = LinkUsed { id, inquiry: of, r#for: identity, until: new.until };
            drafts.push(draft(actor, trace, (of, inquiry, execution), used.into()));
            Decision::Done { drafts, answer }
        }
        refused => refused,
    }
}

/// Returns an inquiry that waits for answers, with its execution.
fn open_inquiry(state: &State, id: InquiryId) -> Option<(&Inquiry, &Execution)> {
    let inquiry = state.inquiries().get(&id)?;
    Some((inquiry, asking(state, inquiry)?))
}

fn draft(actor: &Actor, trace: Option<&str>, (id, inquiry, execution): (InquiryId, &Inquiry, &Execution), fact: Fact) -> Draft {
    Draft::new(StreamId::Execution(inquiry.execution), actor, fact).because(execution.cause(id.0)).with_trace(trace)
}
