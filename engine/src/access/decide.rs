//! Decisions on commands about keys and tokens.

use super::people::beyond;
use super::sessions::ends_of;
use crate::access::facts::{KeyRemoved, LoginLinkMinted, SessionEnd, TokenAdded, TokenLimited, TokenRevoked, TokenRotated};
use crate::access::permission::{BuiltInRole, Permission};
use crate::access::scope::Scope;
use crate::access::state::Token;
use crate::access::state::effective_rights::{EffectiveRights, Lasting};
use crate::command::{Answer, Decision, NewLoginLink, NewToken, Refusal, RotatedToken};
use crate::fact::{ByNoun, Fact};
use crate::ids::{IdentityId, TokenId};
use crate::names::KeyRef;
use crate::record::{Actor, CredentialId, Draft, StreamId};
use crate::state::State;
use crate::time::Timestamp;

/// The maximum number of tokens.
const TOKENS_MAX: usize = 50_000;
/// The maximum number of tokens of one identity, so that they can be revoked together.
const TOKENS_OF_IDENTITY_MAX: usize = 1_000;
/// The maximum number of replaced tokens of one name that are still valid.
pub const REPLACED_MAX: usize = 10;

pub(crate) fn remove_key(state: &State, actor: &Actor, key: &KeyRef) -> Decision {
    if state.access().key(key).and_then(|versions| versions.current).is_none() {
        return Decision::Refused(Refusal::NoKey(key.clone()));
    }
    accept_with(vec![draft(StreamId::Key(key.clone()), actor, KeyRemoved { key: key.clone() }.into())])
}

/// Adds a token. The caller may pass on only what it may do itself.
pub(crate) fn add_token(state: &State, actor: &Actor, token: &NewToken, now: Timestamp) -> Decision {
    let access = state.access();
    if access.token_named(&token.name).is_some() {
        return Decision::Refused(Refusal::TokenNameTaken(token.name.clone()));
    }
    if let Some(id) = token.identity.filter(|id| access.identity(id).is_none()) {
        return Decision::Refused(Refusal::NoIdentity(id.to_string()));
    }
    if let Some(refusal) = too_many(state, token.identity) {
        return Decision::Refused(refusal);
    }
    if let Some(refusal) = beyond(state, actor, &passed_on(state, token, now), now) {
        return Decision::Refused(refusal);
    }
    accept_with(draft_new_token(token, actor))
}

/// Returns the refusal if the limit of tokens is reached.
fn too_many(state: &State, identity: Option<IdentityId>) -> Option<Refusal> {
    let access = state.access();
    if access.sizes().tokens >= TOKENS_MAX {
        return Some(Refusal::LimitReached { what: "tokens", max: TOKENS_MAX });
    }
    let of_identity = || access.tokens().filter(|(_, token)| token.identity == identity).count();
    (identity.is_some() && of_identity() >= TOKENS_OF_IDENTITY_MAX)
        .then_some(Refusal::LimitReached { what: "tokens of one identity", max: TOKENS_OF_IDENTITY_MAX })
}

/// Returns the rights that a new token carries: its own ones, or those of its roles or its identity.
fn passed_on(state: &State, token: &NewToken, now: Timestamp) -> Vec<PassedOn> {
    match &token.scopes {
        Some(scopes) => PassedOn::all(scopes.iter().cloned(), token.expires_at),
        None => held_by(state, &token.roles, token.identity, now),
    }
}

/// A right that somebody passes on.
#[derive(Clone, Debug)]
pub(crate) struct PassedOn {
    pub(crate) scope: Scope,
    /// Until when the receiver has it; `None` if it does not end by itself.
    pub(crate) until: Option<Timestamp>,
}

impl PassedOn {
    /// Returns rights that end at the same time.
    pub(crate) fn all(scopes: impl IntoIterator<Item = Scope>, until: Option<Timestamp>) -> Vec<Self> {
        scopes.into_iter().map(|scope| Self { scope, until }).collect()
    }
}

/// Returns the rights that a token carries if it ends at a time. A scope that this release does not know allows nothing.
fn token_rights(state: &State, token: &Token, expires_at: Option<Timestamp>, now: Timestamp) -> Vec<PassedOn> {
    match &token.scopes {
        Some(scopes) => PassedOn::all(scopes.iter().filter_map(|scope| scope.parse().ok()), expires_at),
        None => held_by(state, &token.roles, token.identity, now),
    }
}

/// Returns the rights that roles and an identity carry at a time, with what everyone may do.
pub(super) fn held_by(state: &State, roles: &[String], identity: Option<IdentityId>, now: Timestamp) -> Vec<PassedOn> {
    let access = state.access();
    // Every role but those of `OF_TOKENS` lets its holder answer the inquiries that ask it.
    let is_asked = roles.iter().any(|role| !BuiltInRole::OF_TOKENS.iter().any(|known| known.name() == role.as_str()));
    let of_roles = roles.iter().filter_map(|role| role.parse().ok()).flat_map(|role| access.scopes_of_role(&role, None));
    let in_force = access.grants_to(identity).filter(move |(_, grant)| grant.until.is_none_or(|until| until > now));
    let of_grants = in_force.flat_map(|(_, grant)| PassedOn::all(access.scopes_of_role(&grant.role, grant.on.as_ref()), grant.until));
    PassedOn::all(of_roles.chain(is_asked.then_some(TO_ANSWER)), None).into_iter().chain(of_grants).collect()
}

/// What lets a holder of any role, and a member of any group, answer the inquiries that ask it.
pub(crate) const TO_ANSWER: Scope = Scope { permission: Permission::InquiriesAnswer, on: None };

fn draft_new_token(token: &NewToken, actor: &Actor) -> Vec<Draft> {
    let NewToken { id, name, roles, identity, scopes, expires_at } = token;
    let stream = StreamId::Token(*id);
    let mut drafts = vec![draft(stream.clone(), actor, TokenAdded { id: *id, name: name.clone(), roles: roles.clone() }.into())];
    if identity.is_some() || scopes.is_some() || expires_at.is_some() {
        let scopes = scopes.as_ref().map(|scopes| scopes.iter().map(ToString::to_string).collect());
        drafts.push(draft(stream, actor, TokenLimited { id: *id, identity: *identity, scopes, expires_at: *expires_at }.into()));
    }
    drafts
}

/// Replaces a token with a successor of the same name, roles, identity and scopes. The holder of another token learns
/// the secret of the successor, so it must be able to do what the token carries. A token that replaces itself does not
/// prolong its own life.
pub(crate) fn rotate_token(state: &State, actor: &Actor, rotated: &RotatedToken, now: Timestamp) -> Decision {
    let Some((id, token)) = state.access().token_named(&rotated.name) else {
        return Decision::Refused(Refusal::NoToken(rotated.name.clone()));
    };
    let expires_at = if token_of(state, actor) == Some(id) {
        token.expires_at
    } else {
        // The lifetime stays the same, and begins again.
        let lifetime = token.expires_at.map(|ends| ends.unix_millis().saturating_sub(id.0.unix_millis()));
        let expires_at = lifetime.map(|millis| now.plus_millis(millis));
        if let Some(refusal) = beyond(state, actor, &token_rights(state, token, expires_at, now), now) {
            return Decision::Refused(refusal);
        }
        expires_at
    };
    let replaced = state.access().tokens().filter(|(_, old)| old.name == rotated.name && old.successor.is_some());
    let (expired, valid): (Vec<_>, Vec<_>) = replaced.partition(|(id, _)| state.access().is_expired(id, now));
    if valid.len() >= REPLACED_MAX {
        return Decision::Refused(Refusal::LimitReached { what: "replaced tokens of this name that are still valid", max: REPLACED_MAX });
    }
    if let Some(refusal) = too_many(state, token.identity) {
        return Decision::Refused(refusal);
    }
    let Token { name, roles, identity, scopes, .. } = token;
    let successor = TokenLimited { id: rotated.successor, identity: *identity, scopes: scopes.clone(), expires_at };
    let stream = StreamId::Token(successor.id);
    let mut drafts = vec![
        draft(stream.clone(), actor, TokenAdded { id: successor.id, name: name.clone(), roles: roles.clone() }.into()),
        draft(StreamId::Token(id), actor, TokenRotated { id, successor: successor.id, until: rotated.until }.into()),
    ];
    if successor.identity.is_some() || successor.scopes.is_some() || successor.expires_at.is_some() {
        drafts.insert(1, draft(stream, actor, successor.into()));
    }
    for (id, _) in expired {
        drafts.push(draft(StreamId::Token(*id), actor, TokenRevoked { id: *id }.into()));
        drafts.extend(ends_of(state, actor, SessionEnd::CredentialGone, |session| session.credential == Some(*id)));
    }
    accept_with(drafts)
}

/// Creates a link that opens one session with the rights of a token. Whoever has the link acts as the holder of the token, so the
/// caller must be able to do what the token carries, as for replacing it.
pub(crate) fn mint_login_link(state: &State, actor: &Actor, link: &NewLoginLink, now: Timestamp) -> Decision {
    // The name may have passed to another token since the caller looked it up.
    let Some((token, held)) = state.access().token_named(&link.name).filter(|(token, _)| *token == link.token) else {
        return Decision::Refused(Refusal::NoToken(link.name.clone()));
    };
    let is_own = token_of(state, actor) == Some(token);
    if let Some(refusal) = beyond(state, actor, &token_rights(state, held, held.expires_at, now), now).filter(|_| !is_own) {
        return Decision::Refused(refusal);
    }
    let minted = LoginLinkMinted { id: link.id, token, identity: held.identity, until: link.until };
    accept_with(vec![draft(StreamId::Token(token), actor, minted.into())])
}

/// Revokes the token of a name, and those that it replaced.
pub(crate) fn revoke_token(state: &State, actor: &Actor, name: &str) -> Decision {
    if state.access().token_named(name).is_none() {
        return Decision::Refused(Refusal::NoToken(name.to_owned()));
    }
    let of_name = state.access().tokens().filter(|(_, token)| token.name == name);
    let ids: Vec<TokenId> = of_name.map(|(id, _)| *id).collect();
    let mut drafts: Vec<Draft> = ids.iter().map(|id| draft(StreamId::Token(*id), actor, TokenRevoked { id: *id }.into())).collect();
    let is_gone = |token: TokenId| ids.contains(&token);
    drafts.extend(ends_of(state, actor, SessionEnd::CredentialGone, |session| session.credential.is_some_and(is_gone)));
    unless_last_admin(state, name, drafts)
}

/// Returns the drafts, or the refusal if after them nobody could change access.
pub(crate) fn unless_last_admin(state: &State, name: &str, drafts: Vec<Draft>) -> Decision {
    let mut after = state.access().clone();
    drafts.iter().for_each(|draft| {
        if let ByNoun::AccessFact(fact) = draft.fact.by_noun() {
            after.apply(fact);
        }
    });
    if state.access().has_admin() && !after.has_admin() {
        return Decision::Refused(Refusal::LastAdmin(name.to_owned()));
    }
    accept_with(drafts)
}

pub(crate) fn accept_with(drafts: Vec<Draft>) -> Decision {
    Decision::Done { drafts, answer: Answer::Done }
}

pub(crate) fn draft(stream: StreamId, actor: &Actor, fact: Fact) -> Draft {
    Draft::new(stream, actor, fact)
}

/// Returns what an actor may do at a time, by the grants that last; `None` if it has no credential that is in force.
pub(super) fn held_of(state: &State, actor: &Actor, now: Timestamp, lasting: Lasting) -> Option<EffectiveRights> {
    match actor {
        Actor::Identity { by: CredentialId::Session(session), .. } => state.access().held_in_session_while(session, now, lasting).ok(),
        Actor::Identity { id, by: CredentialId::Issuer(_) } => state.access().rights_while(*id, now, lasting).ok(),
        _ => token_of(state, actor).and_then(|token| state.access().held_while(&token, now, lasting).ok()),
    }
}

/// Returns the token of an actor, if it has one. A token that was replaced has the name of its successor, so that the
/// API decides which of them may replace itself.
pub(crate) fn token_of(state: &State, actor: &Actor) -> Option<TokenId> {
    match actor {
        Actor::Token(name) => state.access().token_named(name).map(|(id, _)| id),
        Actor::Identity { by: CredentialId::Token(token), .. } => Some(*token),
        Actor::Identity {
            by: CredentialId::Session(_) | CredentialId::Issuer(_) | CredentialId::Code(_) | CredentialId::Execution(_),
            ..
        }
        | Actor::Execution(_)
        | Actor::Engine
        | Actor::Operator
        | Actor::Sensor(_)
        | Actor::Worker(_) => None,
    }
}
