//! Decisions on commands about identities that log in through issuers.
//!
//! What an issuer says about groups needs no right of anybody here: the operator decided it with the issuer's settings.

use super::decide::{accept_with, draft, held_by};
use super::people::{IDENTITIES_MAX, beyond, sort_groups};
use super::sessions::ends_of;
use crate::access::facts::{IdentityAdded, IdentityGroupsSet, IdentityLinked, IdentityUnlinked, SessionEnd};
use crate::command::{Admission, AdmittedIdentity, Decision, IssuerGroups, Refusal};
use crate::ids::IdentityId;
use crate::names::IssuerName;
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;
use crate::time::Timestamp;

/// The maximum number of identities that an issuer adds in one day (UTC).
pub const ADDED_IN_A_DAY_MAX: u32 = 1_000;
/// The maximum number of issuers that are a way in for one identity.
const LINKS_MAX: usize = 50;

/// Adds the identity if it is new, and sets its groups of this issuer if they changed.
pub(crate) fn admit(state: &State, actor: &Actor, admitted: &AdmittedIdentity) -> Decision {
    let AdmittedIdentity { id, issuer, admission, groups } = admitted;
    let access = state.access();
    let mut drafts = Vec::new();
    let link = access.identity(id).and_then(|identity| identity.link(issuer));
    match (admission, link) {
        (_, Some(_)) => {}
        (Admission::Known, None) => return Decision::Refused(Refusal::NoIdentity(id.to_string())),
        (Admission::New(kind), None) => {
            if access.sizes().identities >= IDENTITIES_MAX {
                return Decision::Refused(Refusal::LimitReached { what: "identities", max: IDENTITIES_MAX });
            }
            if access.added_by(issuer, *id) >= ADDED_IN_A_DAY_MAX {
                let max = usize::try_from(ADDED_IN_A_DAY_MAX).unwrap_or(usize::MAX);
                return Decision::Refused(Refusal::LimitReached { what: "new identities of this issuer today", max });
            }
            let fact = IdentityAdded { id: *id, kind: *kind, by_issuer: Some(issuer.clone()) };
            drafts.push(draft(StreamId::Identity(*id), actor, fact.into()));
        }
    }
    if let Some(IssuerGroups { groups, said_at }) = groups {
        let groups = sort_groups(groups);
        let known = link.map_or(&[][..], |link| &link.groups);
        // A token that is older than the last one does not bring a group back.
        let is_newer = link.and_then(|link| link.said_at).is_none_or(|last| *said_at >= last);
        if groups != known && is_newer {
            let fact = IdentityGroupsSet { id: *id, source: Some(issuer.clone()), said_at: Some(*said_at), groups };
            drafts.push(draft(StreamId::Identity(*id), actor, fact.into()));
        }
    }
    accept_with(drafts)
}

/// Lets an issuer be a way in for an identity. Whoever the issuer then names may do what the identity may, so the
/// caller must be able to do that too.
pub(crate) fn link(state: &State, actor: &Actor, id: IdentityId, issuer: &IssuerName, now: Timestamp) -> Decision {
    let Some(identity) = state.access().identity(&id) else { return Decision::Refused(Refusal::NoIdentity(id.to_string())) };
    if let Some(refusal) = beyond(state, actor, &held_by(state, &[], Some(id), now), now) {
        return Decision::Refused(refusal);
    }
    if identity.link(issuer).is_some() {
        return Decision::Refused(Refusal::LinkedBefore { issuer: issuer.clone() });
    }
    if identity.issuers.len() >= LINKS_MAX {
        return Decision::Refused(Refusal::LimitReached { what: "issuers of one identity", max: LINKS_MAX });
    }
    one(actor, id, IdentityLinked { id, issuer: issuer.clone() }.into())
}

/// Ends that an issuer is a way in for an identity, and the sessions that came in by it.
pub(crate) fn unlink(state: &State, actor: &Actor, id: IdentityId, issuer: &IssuerName) -> Decision {
    let Some(identity) = state.access().identity(&id) else { return Decision::Refused(Refusal::NoIdentity(id.to_string())) };
    if identity.link(issuer).is_none() {
        return Decision::Refused(Refusal::NotLinked { issuer: issuer.clone() });
    }
    let mut drafts: Vec<Draft> = vec![draft(StreamId::Identity(id), actor, IdentityUnlinked { id, issuer: issuer.clone() }.into())];
    drafts.extend(ends_of(state, actor, SessionEnd::CredentialGone, |session| {
        session.identity == Some(id) && session.issuer() == Some(issuer.as_str())
    }));
    accept_with(drafts)
}

fn one(actor: &Actor, id: IdentityId, fact: crate::fact::Fact) -> Decision {
    let drafts: Vec<Draft> = vec![draft(StreamId::Identity(id), actor, fact)];
    accept_with(drafts)
}
