//! Decisions on commands about identities, roles and grants.
//!
//! Nobody passes on what they may not do themselves, and somebody can always change access.

use std::collections::BTreeSet;

use super::decide::{PassedOn, TO_ANSWER, accept_with, draft, held_by, held_of, unless_last_admin};
use super::sessions::{draft_session_end, ends_of};
use crate::access::facts::{
    CredentialChange, CredentialChanged, CredentialKind, GrantAdded, GrantRemoved, IdentityAbsentSet, IdentityAdded, IdentityDisabled,
    IdentityEnabled, IdentityErased, IdentityGroupsSet, IdentityKind, RoleRemoved, RoleSet, SessionEnd, TokenRevoked,
};
use crate::access::permission::{BuiltInRole, Permission};
use crate::access::scope::Scope;
use crate::access::state::Standing;
use crate::access::state::effective_rights::Lasting;
use crate::access::subject::Subject;
use crate::command::{ChangedCredential, Decision, NewAbsence, NewGrant, Refusal};
use crate::fact::Fact;
use crate::ids::{GrantId, IdentityId};
use crate::names::{GroupName, RoleName};
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;
use crate::time::Timestamp;

/// The maximum number of identities.
pub(crate) const IDENTITIES_MAX: usize = 100_000;
/// The maximum number of groups of one identity.
pub const GROUPS_MAX: usize = 200;
/// The maximum number of roles that are not built in.
pub(super) const ROLES_MAX: usize = 500;
/// The maximum number of grants.
pub(super) const GRANTS_MAX: usize = 20_000;
/// The maximum number of grants of one subject.
pub(super) const GRANTS_OF_SUBJECT_MAX: usize = 1_000;

/// Adds an identity. The caller may add it only to groups whose rights it has itself.
pub(crate) fn add_identity(
    state: &State,
    actor: &Actor,
    (id, kind): (IdentityId, IdentityKind),
    groups: &[GroupName],
    now: Timestamp,
) -> Decision {
    if state.access().sizes().identities >= IDENTITIES_MAX {
        return Decision::Refused(Refusal::LimitReached { what: "identities", max: IDENTITIES_MAX });
    }
    if let Some(refusal) = beyond(state, actor, &granted_to(state, groups), now) {
        return Decision::Refused(refusal);
    }
    let mut drafts = vec![draft(StreamId::Identity(id), actor, IdentityAdded { id, kind, by_issuer: None }.into())];
    if !groups.is_empty() {
        drafts.push(draft(StreamId::Identity(id), actor, set_locally(id, groups)));
    }
    accept_with(drafts)
}

/// Sets the groups of an identity. The caller may add it only to groups whose rights it has itself.
pub(crate) fn set_groups(state: &State, actor: &Actor, id: IdentityId, groups: &[GroupName], now: Timestamp) -> Decision {
    let Some(identity) = state.access().identity(&id) else { return Decision::Refused(Refusal::NoIdentity(id.to_string())) };
    let added: Vec<GroupName> = groups.iter().filter(|group| !identity.local_groups.contains(group)).cloned().collect();
    if let Some(refusal) = beyond(state, actor, &granted_to(state, &added), now) {
        return Decision::Refused(refusal);
    }
    let drafts = vec![draft(StreamId::Identity(id), actor, set_locally(id, groups))];
    unless_last_admin(state, &id.to_string(), drafts)
}

/// Returns the rights that members of the groups have by them. Inquiries can ask the members of any group.
fn granted_to(state: &State, groups: &[GroupName]) -> Vec<PassedOn> {
    let access = state.access();
    let asked = (!groups.is_empty()).then_some(TO_ANSWER);
    let grants = access.grants().filter(|(_, grant)| matches!(&grant.subject, Subject::Group(group) if groups.contains(group)));
    let granted = grants.flat_map(|(_, grant)| PassedOn::all(access.scopes_of_role(&grant.role, grant.on.as_ref()), grant.until));
    granted.chain(PassedOn::all(asked, None)).collect()
}

fn set_locally(id: IdentityId, groups: &[GroupName]) -> Fact {
    IdentityGroupsSet { id, source: None, said_at: None, groups: sort_groups(groups) }.into()
}

/// Returns groups in order, each once.
pub(crate) fn sort_groups(groups: &[GroupName]) -> Vec<GroupName> {
    let mut groups = groups.to_vec();
    groups.sort();
    groups.dedup();
    groups
}

/// Disables or enables an identity; nothing changes if it is so already. The caller may enable only an identity that may
/// do no more than the caller.
pub(crate) fn set_standing(state: &State, actor: &Actor, id: IdentityId, standing: Standing, now: Timestamp) -> Decision {
    let Some(identity) = state.access().identity(&id) else { return Decision::Refused(Refusal::NoIdentity(id.to_string())) };
    if identity.standing == standing {
        return accept_with(Vec::new());
    }
    if standing == Standing::Enabled
        && let Some(refusal) = beyond(state, actor, &held_by(state, &[], Some(id), now), now)
    {
        return Decision::Refused(refusal);
    }
    let fact = match standing {
        Standing::Disabled => IdentityDisabled { id }.into(),
        Standing::Enabled => IdentityEnabled { id }.into(),
    };
    let mut drafts = vec![draft(StreamId::Identity(id), actor, fact)];
    if standing == Standing::Disabled {
        drafts.extend(ends_of(state, actor, SessionEnd::IdentityDisabled, |session| session.identity == Some(id)));
    }
    unless_last_admin(state, &id.to_string(), drafts)
}

/// Sets when an identity is absent. The deputy then answers in its place, so whoever sets it for another must be able to
/// answer inquiries itself.
pub(crate) fn set_absence(state: &State, actor: &Actor, absence: &NewAbsence, now: Timestamp) -> Decision {
    let NewAbsence { id, from, until, deputy } = *absence;
    let unknown = std::iter::once(id).chain(deputy).find(|one| state.access().identity(one).is_none());
    if let Some(unknown) = unknown {
        return Decision::Refused(Refusal::NoIdentity(unknown.to_string()));
    }
    if deputy == Some(id) {
        return Decision::Refused(Refusal::AbsenceInvalid("nobody is their own deputy"));
    }
    if until.is_some_and(|until| until <= from.map_or(now, |from| from.max(now))) {
        return Decision::Refused(Refusal::AbsenceInvalid("it ends before it begins, or in the past"));
    }
    let is_own = matches!(actor, Actor::Identity { id: of, .. } if *of == id);
    if !is_own
        && deputy.is_some()
        && let Some(refusal) = beyond(state, actor, &PassedOn::all([TO_ANSWER], None), now)
    {
        return Decision::Refused(refusal);
    }
    let fact = IdentityAbsentSet { id, from, until, deputy };
    let now_set = state.access().absence(&id).map(|absence| (absence.from, absence.until, absence.deputy));
    if now_set.unwrap_or_default() == (from, until, deputy) {
        return accept_with(Vec::new());
    }
    accept_with(vec![draft(StreamId::Identity(id), actor, fact.into())])
}

/// Records that a person proves who it is by something new. A new password ends its other sessions. Whoever resets it for
/// the person could act in the person's place, so the caller must be able to do what the person may.
pub(crate) fn change_credential(state: &State, actor: &Actor, change: ChangedCredential, now: Timestamp) -> Decision {
    let ChangedCredential { identity: id, what, how, kept } = change;
    let Some(identity) = state.access().identity(&id) else { return Decision::Refused(Refusal::NoIdentity(id.to_string())) };
    if identity.kind != IdentityKind::Person {
        return Decision::Refused(Refusal::NotAPerson(id));
    }
    if how == CredentialChange::Reset
        && let Some(refusal) = beyond(state, actor, &held_by(state, &[], Some(id), now), now)
    {
        return Decision::Refused(refusal);
    }
    let mut drafts = vec![draft(StreamId::Identity(id), actor, CredentialChanged { identity: id, what, how }.into())];
    if (what, how) == (CredentialKind::Password, CredentialChange::Set) {
        let others = state.access().sessions().filter(|(session, open)| open.identity == Some(id) && Some(**session) != kept);
        let ids: Vec<_> = others.map(|(session, _)| *session).collect();
        drafts.extend(ids.into_iter().map(|session| draft_session_end(actor, session, SessionEnd::PasswordChanged)));
    }
    accept_with(drafts)
}

/// Erases an identity, with its tokens, its sessions and the grants to it.
pub(crate) fn erase_identity(state: &State, actor: &Actor, id: IdentityId) -> Decision {
    let access = state.access();
    if access.identity(&id).is_none() {
        return Decision::Refused(Refusal::NoIdentity(id.to_string()));
    }
    let tokens = access.tokens().filter(|(_, token)| token.identity == Some(id));
    let tokens = tokens.map(|(token, _)| draft(StreamId::Token(*token), actor, TokenRevoked { id: *token }.into()));
    let grants = access.grants().filter(|(_, grant)| grant.subject == Subject::Identity(id));
    let grants = grants.map(|(grant, _)| draft(StreamId::Grant(*grant), actor, GrantRemoved { id: *grant }.into()));
    let mut drafts: Vec<Draft> = tokens.chain(grants).collect();
    drafts.extend(ends_of(state, actor, SessionEnd::CredentialGone, |session| session.identity == Some(id)));
    drafts.push(draft(StreamId::Identity(id), actor, IdentityErased { id }.into()));
    unless_last_admin(state, &id.to_string(), drafts)
}

/// Sets the permissions of a role that is not built in. The caller may give it only permissions that it has itself.
pub(crate) fn set_role(state: &State, actor: &Actor, name: &RoleName, permissions: &[Permission], now: Timestamp) -> Decision {
    if BuiltInRole::from_name(name.as_str()).is_some() {
        return Decision::Refused(Refusal::RoleBuiltIn(name.clone()));
    }
    if state.access().declares_role(name) {
        return Decision::Refused(Refusal::RoleDeclared(name.clone()));
    }
    if let Some(refusal) = not_new(state, name) {
        return Decision::Refused(refusal);
    }
    let scopes = permissions.iter().map(|permission| Scope { permission: *permission, on: None });
    if let Some(refusal) = beyond(state, actor, &PassedOn::all(scopes, None), now) {
        return Decision::Refused(refusal);
    }
    accept_with(vec![role_set(actor, name, permission_names(permissions), Origin::Caller)])
}

/// Returns why a role of this name cannot be new; `None` if it can, or exists.
pub(super) fn not_new(state: &State, name: &RoleName) -> Option<Refusal> {
    if state.access().role(name).is_some() {
        return None;
    }
    if state.access().sizes().roles >= ROLES_MAX {
        return Some(Refusal::LimitReached { what: "roles", max: ROLES_MAX });
    }
    // A token can name a role that does not exist yet, for inquiries. A new role must not extend its rights silently.
    let tokens = tokens_with(state, name);
    (tokens > 0).then(|| Refusal::RoleInUse { role: name.clone(), grants: 0, tokens })
}

/// Where a role or a grant comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody asked for it.
    Caller,
    /// The settings of the node declare it.
    Settings,
}

/// Returns the names of permissions in order, each once.
pub(super) fn permission_names(permissions: &[Permission]) -> Vec<String> {
    let mut names: Vec<String> = permissions.iter().map(|permission| permission.name().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns the record of a role with these permissions.
pub(super) fn role_set(actor: &Actor, name: &RoleName, permissions: Vec<String>, origin: Origin) -> Draft {
    let fact = RoleSet { name: name.clone(), permissions, declared: origin == Origin::Settings };
    draft(StreamId::Role(name.clone()), actor, fact.into())
}

/// Removes a role that nobody has.
pub(crate) fn remove_role(state: &State, actor: &Actor, name: &RoleName) -> Decision {
    let access = state.access();
    if access.role(name).is_none() {
        let is_built_in = BuiltInRole::from_name(name.as_str()).is_some();
        return Decision::Refused(if is_built_in { Refusal::RoleBuiltIn(name.clone()) } else { Refusal::NoRole(name.clone()) });
    }
    if access.declares_role(name) {
        return Decision::Refused(Refusal::RoleDeclared(name.clone()));
    }
    let grants = access.grants().filter(|(_, grant)| grant.role == *name).count();
    let tokens = tokens_with(state, name);
    if grants + tokens > 0 {
        return Decision::Refused(Refusal::RoleInUse { role: name.clone(), grants, tokens });
    }
    accept_with(vec![draft(StreamId::Role(name.clone()), actor, RoleRemoved { name: name.clone() }.into())])
}

/// Returns the number of tokens with a role.
pub(super) fn tokens_with(state: &State, role: &RoleName) -> usize {
    state.access().tokens().filter(|(_, token)| token.roles.iter().any(|one| one == role.as_str())).count()
}

/// Grants a role. The caller may grant only what it may do itself.
pub(crate) fn add_grant(state: &State, actor: &Actor, grant: &NewGrant, now: Timestamp) -> Decision {
    if !state.access().has_role(&grant.role) {
        return Decision::Refused(Refusal::NoRole(grant.role.clone()));
    }
    let scopes = match check_grant(state, grant, |role| state.access().scopes_of_role(role, grant.on.as_ref())) {
        Ok(scopes) => scopes,
        Err(refusal) => return Decision::Refused(refusal),
    };
    if let Some(refusal) = beyond(state, actor, &PassedOn::all(scopes, grant.until), now) {
        return Decision::Refused(refusal);
    }
    accept_with(vec![grant_added(actor, grant, Origin::Caller)])
}

/// Returns what a grant of an existing role passes on, or why there can be no such grant.
pub(super) fn check_grant(state: &State, grant: &NewGrant, scopes_of: impl Fn(&RoleName) -> Vec<Scope>) -> Result<Vec<Scope>, Refusal> {
    let NewGrant { subject, role, on, .. } = grant;
    let access = state.access();
    if let Subject::Identity(of) = subject
        && access.identity(of).is_none()
    {
        return Err(Refusal::NoIdentity(of.to_string()));
    }
    if access.sizes().grants >= GRANTS_MAX {
        return Err(Refusal::LimitReached { what: "grants", max: GRANTS_MAX });
    }
    if access.grants().filter(|(_, other)| other.subject == *subject).count() >= GRANTS_OF_SUBJECT_MAX {
        return Err(Refusal::LimitReached { what: "grants of one subject", max: GRANTS_OF_SUBJECT_MAX });
    }
    let mut scopes = scopes_of(role);
    if on.is_some() && scopes.is_empty() {
        return Err(Refusal::RoleNotLimitable(role.clone()));
    }
    // Inquiries can ask the holders of any role without a limit.
    scopes.extend(on.is_none().then_some(TO_ANSWER));
    Ok(scopes)
}

/// Returns the record of a grant.
pub(super) fn grant_added(actor: &Actor, grant: &NewGrant, origin: Origin) -> Draft {
    let NewGrant { id, subject, role, on, until } = grant.clone();
    draft(StreamId::Grant(id), actor, GrantAdded { id, subject, role, on, until, declared: origin == Origin::Settings }.into())
}

pub(crate) fn remove_grant(state: &State, actor: &Actor, id: GrantId) -> Decision {
    if state.access().grant(&id).is_none() {
        return Decision::Refused(Refusal::NoGrant(id));
    }
    unless_last_admin(state, &id.to_string(), vec![draft(StreamId::Grant(id), actor, GrantRemoved { id }.into())])
}

/// Returns the refusal if the actor may not pass on all of the rights. Nobody passes on a right for longer than they have
/// it. The operator of the machine may pass on anything.
pub(crate) fn beyond(state: &State, actor: &Actor, rights: &[PassedOn], now: Timestamp) -> Option<Refusal> {
    if *actor == Actor::Operator {
        return None;
    }
    let ends: BTreeSet<Option<Timestamp>> = rights.iter().map(|right| right.until).collect();
    ends.into_iter().find_map(|until| {
        let held = held_of(state, actor, now, Lasting::Through(until)).map(|held| held.rights).unwrap_or_default();
        let wanted = rights.iter().filter(|right| right.until == until).map(|right| &right.scope);
        held.first_beyond(wanted).map(|missing| beyond_own(state, actor, (missing, until), now))
    })
}

/// Returns the refusal for a missing right. It states the end if only the end is missing.
fn beyond_own(state: &State, actor: &Actor, (missing, until): (&Scope, Option<Timestamp>), now: Timestamp) -> Refusal {
    let held = held_of(state, actor, now, Lasting::Now);
    let is_held_now = held.is_some_and(|held| held.rights.first_beyond([missing]).is_none());
    Refusal::BeyondOwnRights(match until {
        _ if !is_held_now => missing.to_string(),
        Some(until) => format!("{missing} until {until}"),
        None => format!("{missing} without an end"),
    })
}
