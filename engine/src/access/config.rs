//! Decisions on the roles and grants that the settings of a node declare.
//!
//! All of them are recorded at the start of the node, or none. What leaves the settings is removed, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{draft, unless_last_admin};
use super::people::{
    GRANTS_MAX, GRANTS_OF_SUBJECT_MAX, Origin, ROLES_MAX, check_grant, grant_added, not_new, permission_names, role_set, tokens_with,
};
use crate::access::facts::{GrantRemoved, RoleRemoved};
use crate::access::permission::{BuiltInRole, Permission};
use crate::access::scope::Scope;
use crate::access::state::Grant;
use crate::access::subject::Subject;
use crate::command::{Decision, DeclaredAccess, NewGrant, Refusal};
use crate::fact::Fact;
use crate::ids::GrantId;
use crate::names::RoleName;
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;

/// Records what differs from the declared roles and grants. Repeated, it records nothing.
pub(crate) fn declare(state: &State, actor: &Actor, declared: &DeclaredAccess) -> Decision {
    match changes(state, actor, declared) {
        Ok(drafts) => unless_last_admin(state, "the settings", drafts),
        Err(refusal) => Decision::Refused(refusal),
    }
}

fn changes(state: &State, actor: &Actor, declared: &DeclaredAccess) -> Result<Vec<Draft>, Refusal> {
    let access = state.access();
    let mut drafts = Vec::new();
    for (name, permissions) in &declared.roles {
        if BuiltInRole::from_name(name.as_str()).is_some() {
            return Err(Refusal::RoleBuiltIn(name.clone()));
        }
        if let Some(refusal) = not_new(state, name) {
            return Err(refusal);
        }
        let permissions = permission_names(permissions);
        if !access.declares_role(name) || access.role(name) != Some(&permissions) {
            drafts.push(role_set(actor, name, permissions, Origin::Settings));
        }
    }
    let is_grant = |known: &Grant, new: &NewGrant| {
        (&known.subject, &known.role, &known.on, known.until) == (&new.subject, &new.role, &new.on, new.until)
    };
    for new in &declared.grants {
        if !declared.roles.contains_key(&new.role) && !access.has_role(&new.role) {
            return Err(Refusal::NoRole(new.role.clone()));
        }
        if access.declared_grants().any(|(_, known)| is_grant(known, new)) {
            continue;
        }
        check_grant(state, new, |role| scopes_of(state, &declared.roles, role, new))?;
        drafts.push(grant_added(actor, new, Origin::Settings));
    }
    let left = access.declared_grants().filter(|(_, known)| !declared.grants.iter().any(|new| is_grant(known, new)));
    let left: Vec<_> = left.map(|(id, _)| *id).collect();
    drafts.extend(left.iter().map(|id| draft(StreamId::Grant(*id), actor, GrantRemoved { id: *id }.into())));
    for name in access.declared_roles().filter(|name| !declared.roles.contains_key(*name)) {
        let of_others = access.grants().filter(|(id, grant)| grant.role == *name && !left.contains(id));
        let (grants, tokens) =
            (of_others.count() + declared.grants.iter().filter(|new| new.role == *name).count(), tokens_with(state, name));
        if grants + tokens > 0 {
            return Err(Refusal::RoleInUse { role: name.clone(), grants, tokens });
        }
        drafts.push(draft(StreamId::Role(name.clone()), actor, RoleRemoved { name: name.clone() }.into()));
    }
    within_bounds(state, &drafts)?;
    Ok(drafts)
}

/// Checks the bounds of all that there is with the drafts, since each was checked alone.
fn within_bounds(state: &State, drafts: &[Draft]) -> Result<(), Refusal> {
    let access = state.access();
    let mut roles: BTreeSet<&RoleName> = access.roles().map(|(name, _)| name).collect();
    let mut grants: BTreeMap<GrantId, &Subject> = access.grants().map(|(id, grant)| (*id, &grant.subject)).collect();
    for draft in drafts {
        match &draft.fact {
            Fact::RoleSet(fact) => drop(roles.insert(&fact.name)),
            Fact::RoleRemoved(fact) => drop(roles.remove(&fact.name)),
            Fact::GrantAdded(fact) => drop(grants.insert(fact.id, &fact.subject)),
            Fact::GrantRemoved(fact) => drop(grants.remove(&fact.id)),
            _ => {}
        }
    }
    let mut of_subject: BTreeMap<&Subject, usize> = BTreeMap::new();
    grants.values().for_each(|subject| *of_subject.entry(subject).or_default() += 1);
    let most = of_subject.into_values().max().unwrap_or_default();
    for (what, count, max) in
        [("roles", roles.len(), ROLES_MAX), ("grants", grants.len(), GRANTS_MAX), ("grants of one subject", most, GRANTS_OF_SUBJECT_MAX)]
    {
        if count > max {
            return Err(Refusal::LimitReached { what, max });
        }
    }
    Ok(())
}

/// Returns what a role carries once the declared roles are set.
fn scopes_of(state: &State, roles: &BTreeMap<RoleName, Vec<Permission>>, role: &RoleName, new: &NewGrant) -> Vec<Scope> {
    match roles.get(role) {
        Some(permissions) => permissions.iter().filter_map(|permission| Scope::new(*permission, new.on.clone()).ok()).collect(),
        None => state.access().scopes_of_role(role, new.on.as_ref()),
    }
}
