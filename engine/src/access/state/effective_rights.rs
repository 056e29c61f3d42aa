//! What a credential allows now: the rights of its holder, within the scopes of the token.

use super::{ADMIN, Access, Grant, Identity, Lapsing, Standing, Token};
use crate::access::limit::Limit;
use crate::access::permission::{BuiltInRole, Permission};
use crate::access::rights::Rights;
use crate::access::scope::Scope;
use crate::access::subject::Subject;
use crate::ids::{GrantId, IdentityId, InquiryId, SessionId, TokenId};
use crate::names::RoleName;
use crate::time::Timestamp;

/// What a credential allows, and until when that is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveRights {
    /// The name of the token, or the id of the identity if the caller has no token.
    pub name: String,
    /// The identity that holds it.
    pub identity: Option<IdentityId>,
    /// The roles and groups by which inquiries ask the holder.
    pub roles: Vec<String>,
    /// The absent identities in whose place it may answer inquiries.
    pub represents: Vec<IdentityId>,
    /// What it may do.
    pub rights: Rights,
    /// The only inquiry that it reaches.
    pub only: Option<InquiryId>,
    /// When the credential expires.
    pub expires_at: Option<Timestamp>,
    /// The earliest time at which the rights change by themselves.
    pub valid_until: Option<Timestamp>,
}

/// Why a credential allows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// The credential does not exist.
    Unknown,
    /// It has expired.
    Expired,
    /// Its identity is disabled.
    Disabled,
}

/// What the role `approver` carries.
const OF_APPROVERS: [Permission; 3] = [Permission::InquiriesRead, Permission::InquiriesAnswer, Permission::InquiriesDelegate];
/// What a session for one inquiry can do with it.
const ABOUT_INQUIRIES: [Scope; 2] =
    [Scope { permission: Permission::InquiriesRead, on: None }, Scope { permission: Permission::InquiriesAnswer, on: None }];

/// Which grants count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// All that are in force.
    Now,
    /// Those that last until a time; without one, those without an end.
    Through(Option<Timestamp>),
}

impl Lasting {
    fn counts(self, grant: &Grant) -> bool {
        match self {
            Self::Now => true,
            Self::Through(through) => grant.until.is_none_or(|until| through.is_some_and(|through| through <= until)),
        }
    }
}

impl Access {
    /// Returns what a token allows at a time.
    pub fn effective_rights(&self, id: &TokenId, now: Timestamp) -> Result<EffectiveRights, NotHeld> {
        self.held_while(id, now, Lasting::Now)
    }

    /// Returns what a token allows at a time, by the grants that last.
    pub(crate) fn held_while(&self, id: &TokenId, now: Timestamp, lasting: Lasting) -> Result<EffectiveRights, NotHeld> {
        let token = self.token(id).ok_or(NotHeld::Unknown)?;
        if self.is_expired(id, now) {
            return Err(NotHeld::Expired);
        }
        let mut held = EffectiveRights {
            name: token.name.clone(),
            identity: token.identity,
            roles: token.roles.clone(),
            represents: Vec::new(),
            rights: Rights::default(),
            only: None,
            expires_at: token.expires_at,
            valid_until: token.expires_at,
        };
        token.roles.iter().for_each(|role| self.add_role_of_token(&mut held.rights, role));
        if let Some(id) = token.identity {
            held.roles.extend(self.enabled_identity(id)?.groups().map(ToString::to_string));
        }
        let grants = self.grants_to(token.identity).filter(|(_, grant)| lasting.counts(grant));
        grants.for_each(|(_, grant)| self.add_grant(&mut held, grant, now));
        if let Some(scopes) = &token.scopes {
            // A scope that this release does not know allows nothing.
            let known: Vec<Scope> = scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
            if token.identity.is_none() && token.roles.is_empty() {
                // Nothing else says what the token may do.
                known.iter().for_each(|scope| held.rights.add(scope.permission, scope.on.as_ref()));
            }
            held.rights = held.rights.within(&known);
        }
        held.roles.sort();
        held.roles.dedup();
        self.add_represented(&mut held, now);
        Ok(held)
    }

    /// Returns what an identity may do at a time, whatever its credential.
    pub fn rights_of(&self, id: IdentityId, now: Timestamp) -> Result<EffectiveRights, NotHeld> {
        self.rights_while(id, now, Lasting::Now)
    }

    /// Returns what an identity may do at a time, by the grants that last.
    pub(crate) fn rights_while(&self, id: IdentityId, now: Timestamp, lasting: Lasting) -> Result<EffectiveRights, NotHeld> {
        let identity = self.enabled_identity(id)?;
        let mut held = EffectiveRights {
            name: id.to_string(),
            identity: Some(id),
            roles: identity.groups().map(ToString::to_string).collect(),
            represents: Vec::new(),
            rights: Rights::default(),
            only: None,
            expires_at: None,
            valid_until: None,
        };
        let grants = self.grants_to(Some(id)).filter(|(_, grant)| lasting.counts(grant));
        grants.for_each(|(_, grant)| self.add_grant(&mut held, grant, now));
        self.add_represented(&mut held, now);
        Ok(held)
    }

    /// Returns what a session allows at a time: what its token allows, or else its identity may do.
    pub fn held_in_session(&self, id: &SessionId, now: Timestamp) -> Result<EffectiveRights, NotHeld> {
        self.held_in_session_while(id, now, Lasting::Now)
    }

    /// Returns what a session allows at a time, by the grants that last.
    pub(crate) fn held_in_session_while(&self, id: &SessionId, now: Timestamp, lasting: Lasting) -> Result<EffectiveRights, NotHeld> {
        let session = self.session(id).ok_or(NotHeld::Unknown)?;
        if self.is_session_over(id, now) {
            return Err(NotHeld::Expired);
        }
        let mut held = match (session.credential, session.identity) {
            (Some(token), _) => self.held_while(&token, now, lasting)?,
            (None, Some(identity)) => self.rights_while(identity, now, lasting)?,
            (None, None) => return Err(NotHeld::Unknown),
        };
        let sooner = |ends: Option<Timestamp>| Some(ends.map_or(session.until, |ends| ends.min(session.until)));
        (held.expires_at, held.valid_until, held.only) = (sooner(held.expires_at), sooner(held.valid_until), session.only);
        if session.only.is_some() {
            held.rights = held.rights.within(&ABOUT_INQUIRIES);
        }
        Ok(held)
    }

    /// Adds the identities whose deputy the holder is now. That changes by itself when an absence begins or ends.
    fn add_represented(&self, held: &mut EffectiveRights, now: Timestamp) {
        let Some(identity) = held.identity else { return };
        for (id, absence) in self.deputy_of(identity) {
            if self.is_absent(id, now) {
                held.represents.push(*id);
            }
            let next = absence.from.into_iter().chain(absence.until).filter(|time| *time > now).min();
            held.valid_until = next.into_iter().chain(held.valid_until).min();
        }
    }

    /// Returns an identity whose credentials are accepted.
    fn enabled_identity(&self, id: IdentityId) -> Result<&Identity, NotHeld> {
        let identity = self.identity(&id).ok_or(NotHeld::Unknown)?;
        if identity.standing == Standing::Enabled { Ok(identity) } else { Err(NotHeld::Disabled) }
    }

    /// Returns the grants to an identity, by itself, its groups or everyone; without an identity, those to everyone. Those that
    /// had ended before the clock was set back are left out.
    pub fn grants_to(&self, id: Option<IdentityId>) -> impl Iterator<Item = (&GrantId, &Grant)> {
        self.grants.iter().filter(move |(name, grant)| self.concerns(&grant.subject, id) && !self.over.contains(&Lapsing::Grant(**name)))
    }

    /// Returns true if an identity is a subject; without an identity, whether everyone is.
    fn concerns(&self, subject: &Subject, id: Option<IdentityId>) -> bool {
        match subject {
            Subject::Identity(of) => Some(*of) == id,
            Subject::Group(group) => id.and_then(|id| self.identity(&id)).is_some_and(|identity| identity.is_in(group)),
            Subject::Everyone => true,
        }
    }

    /// Returns the scopes that a role carries.
    pub fn scopes_of_role(&self, role: &RoleName, on: Option<&Limit>) -> Vec<Scope> {
        let is_approver = role.as_str() == BuiltInRole::Approver.name();
        let of_approver = is_approver.then_some(OF_APPROVERS);
        let permissions = self.permissions_of(role).into_iter().chain(of_approver.into_iter().flatten());
        permissions.filter_map(|permission| Scope::new(permission, on.cloned()).ok()).collect()
    }

    /// Returns true if there is a role of this name.
    pub fn has_role(&self, role: &RoleName) -> bool {
        BuiltInRole::from_name(role.as_str()).is_some() || self.role(role).is_some()
    }

    /// Returns true if a token that never expires may do everything, so that access can be changed.
    pub(crate) fn has_admin(&self) -> bool {
        let is_lasting = |token: &&Token| token.expires_at.is_none() && token.scopes.is_none();
        let granted: Vec<&Subject> = self
            .grants
            .iter()
            .filter(|(_, grant)| grant.role.as_str() == ADMIN && grant.on.is_none() && grant.until.is_none())
            .map(|(_, grant)| &grant.subject)
            .collect();
        // An issuer can take its groups away at any time.
        let is_in = |identity: &Identity, subject: &Subject| match subject {
            Subject::Group(group) => identity.local_groups.contains(group),
            Subject::Identity(_) | Subject::Everyone => true,
        };
        let is_granted = |id, identity: &Identity| granted.iter().any(|on| self.concerns(on, Some(id)) && is_in(identity, on));
        let is_admin = |id: IdentityId| self.enabled_identity(id).is_ok_and(|identity| is_granted(id, identity));
        self.tokens.iter().map(|(_, token)| token).filter(is_lasting).any(|token| match token.identity {
            Some(id) => is_admin(id),
            None => token.roles.iter().any(|role| role == ADMIN),
        })
    }

    /// Adds what a role of a token without an identity carries. The name of a role that does not exist asks its
    /// holder inquiries.
    fn add_role_of_token(&self, rights: &mut Rights, role: &str) {
        if let Some(role) = BuiltInRole::OF_TOKENS.into_iter().find(|known| known.name() == role) {
            rights.add_all(Permission::ALL.iter().copied().filter(|permission| role.may(*permission)), None);
            return;
        }
        rights.add_what_is_asked();
        if BuiltInRole::from_name(role).is_none()
            && let Ok(role) = role.parse()
        {
            rights.add_all(self.permissions_of(&role), None);
        }
    }

    fn add_grant(&self, held: &mut EffectiveRights, grant: &Grant, now: Timestamp) {
        if let Some(until) = grant.until {
            if until <= now {
                return;
            }
            held.valid_until = Some(held.valid_until.map_or(until, |earlier| earlier.min(until)));
        }
        if grant.on.is_none() {
            held.roles.push(grant.role.to_string());
        }
        match (&grant.on, grant.role.as_str() == BuiltInRole::Approver.name()) {
            (None, true) => held.rights.add_what_is_asked(),
            // It reaches all inquiries inside the limit. Only those that ask it accept its answer, as from anybody.
            (Some(on), true) => held.rights.add_all(OF_APPROVERS, Some(on)),
            (_, false) => {}
        }
        held.rights.add_all(self.permissions_of(&grant.role), grant.on.as_ref());
    }

    /// Returns the permissions of a role; none if there is no such role.
    pub fn permissions_of(&self, role: &RoleName) -> Vec<Permission> {
        match BuiltInRole::from_name(role.as_str()) {
            Some(role) => Permission::ALL.iter().copied().filter(|permission| role.may(*permission)).collect(),
            // A permission that this release does not know grants nothing.
            None => self.role(role).unwrap_or_default().iter().filter_map(|name| Permission::from_name(name)).collect(),
        }
    }
}
