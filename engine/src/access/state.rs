//! The state of access: the current version of each key, the valid tokens, the identities, what they were granted, and
//! the open sessions.

pub mod effective_rights;

use serde::{Deserialize, Serialize};

use crate::access::facts::IdentityKind;
use crate::access::keys::state::{KeyVersions, Keys};
use crate::access::limit::Limit;
use crate::access::subject::Subject;
use crate::fact::{AccessFact, HealthFact, KeyFact};
use crate::ids::{GrantId, IdentityId, InquiryId, LinkId, SessionId, TokenId};
use crate::names::{GroupName, IssuerName, KeyRef, RoleName};
use crate::table::{Table, undone_together};
use crate::time::Timestamp;
use crate::timers::state::Hold;

/// The role that may do everything, including creating tokens.
pub const ADMIN: &str = "admin";

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// The current keys, tokens, identities, roles, grants and sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    keys: Keys,
    tokens: Table<TokenId, Token>,
    identities: Table<IdentityId, Identity>,
    roles: Table<RoleName, Vec<String>>,
    grants: Table<GrantId, Grant>,
    /// The identities that each issuer added on the last day on which it added one.
    added_by: Table<IssuerName, AddedInADay>,
    sessions: Table<SessionId, Session>,
    absences: Table<IdentityId, Absence>,
    /// The roles that the settings declare. Older states have none, because older facts declare none.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    declared_roles: Table<RoleName, ()>,
    /// The grants that the settings declare.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    declared_grants: Table<GrantId, ()>,
    /// What had ended before the clock was set back, and would not have ended by the clock as it was then.
    over: Table<Lapsing, ()>,
    /// The step of the clock that is not trusted yet, under the only key 0.
    hold: Table<u8, Hold>,
}

undone_together!(pub Access {
    keys, tokens, identities, roles, grants, added_by, sessions, absences, declared_roles, declared_grants, over, hold
});

/// Something that ends by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Lapsing {
    Token(TokenId),
    Session(SessionId),
    Grant(GrantId),
    Absence(IdentityId),
}

/// When an identity is absent, and who answers inquiries in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// When it begins; `None` if it has begun.
    pub from: Option<Timestamp>,
    /// When it ends; `None` if that is open.
    pub until: Option<Timestamp>,
    /// The deputy.
    pub deputy: Option<IdentityId>,
}

impl Absence {
    /// Returns true if the absence has begun and has not ended, by the clock alone.
    fn is_at(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

/// How many identities an issuer added in one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AddedInADay {
    /// The day, counted from 1970.
    day: u64,
    count: u32,
}

/// A token that was not revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The holder's name.
    pub name: String,
    /// The holder's roles; none if an identity holds the token.
    pub roles: Vec<String>,
    /// The identity that holds it.
    pub identity: Option<IdentityId>,
    /// The scopes beyond which it allows nothing; `None` if it has no such bounds.
    pub scopes: Option<Vec<String>>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// The token that replaces it. The name is then that of the successor.
    pub successor: Option<TokenId>,
}

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What it is.
    pub kind: IdentityKind,
    /// Whether its credentials are accepted.
    pub standing: Standing,
    /// The groups that it is a member of because somebody set them.
    pub local_groups: Vec<GroupName>,
    /// The issuers that are a way in for it.
    pub issuers: Vec<IssuerLink>,
}

/// An issuer that is a way in for an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerLink {
    /// The issuer.
    pub issuer: IssuerName,
    /// The groups that it named.
    pub groups: Vec<GroupName>,
    /// When it named them.
    pub said_at: Option<Timestamp>,
}

impl Identity {
    /// Returns the groups from all sources. A group that several sources name is there more than once.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.local_groups.iter().chain(self.issuers.iter().flat_map(|link| &link.groups))
    }

    /// Returns true if the identity is a member of the group.
    pub fn is_in(&self, group: &GroupName) -> bool {
        self.groups().any(|one| one == group)
    }

    /// Returns an issuer that is a way in for the identity.
    pub fn link(&self, issuer: &IssuerName) -> Option<&IssuerLink> {
        self.issuers.iter().find(|link| link.issuer == *issuer)
    }

    fn link_to(&mut self, issuer: &IssuerName) {
        if self.link(issuer).is_none() {
            self.issuers.push(IssuerLink { issuer: issuer.clone(), groups: Vec::new(), said_at: None });
        }
    }
}

/// Whether the credentials of an identity are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// They are.
    Enabled,
    /// They are not.
    Disabled,
}

/// A grant of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The subject that has the role.
    pub subject: Subject,
    /// The role.
    pub role: RoleName,
    /// What the role covers; `None` if it covers everything.
    pub on: Option<Limit>,
    /// When the grant ends.
    pub until: Option<Timestamp>,
}

/// What the way of a session begins with whose person logged in through an issuer; the name of the issuer follows.
pub const ISSUER_WAY: &str = "oidc/";

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The identity that logged in; `None` if no identity holds the token.
    pub identity: Option<IdentityId>,
    /// How it logged in.
    pub way: String,
    /// The token whose rights the session has; those of the identity, if it is `None`.
    pub credential: Option<TokenId>,
    /// The only inquiry that it can see and answer.
    pub only: Option<InquiryId>,
    /// The login link that opened it, or the session that approved its terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkId>,
    /// When it ends at the latest.
    pub until: Timestamp,
}

impl Session {
    /// Returns true if the session belongs to the same identity; without one, to the same token.
    pub fn is_of(&self, identity: Option<IdentityId>, credential: Option<TokenId>) -> bool {
        if identity.is_some() { self.identity == identity } else { self.identity.is_none() && self.credential == credential }
    }

    /// Returns the issuer through which its person logged in, if one did.
    pub fn issuer(&self) -> Option<&str> {
        self.way.strip_prefix(ISSUER_WAY)
    }
}

/// The numbers of rows, which have limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) tokens: usize,
    pub(crate) identities: usize,
    pub(crate) roles: usize,
    pub(crate) grants: usize,
    pub(crate) sessions: usize,
}

impl Access {
    /// Returns the versions of a key.
    pub fn key(&self, key: &KeyRef) -> Option<KeyVersions> {
        self.keys.get(key)
    }

    /// Returns the keys, with their expiries.
    pub fn all_keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns all keys that ever existed, with their versions.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyRef, &KeyVersions)> {
        self.keys.iter()
    }

    /// Returns the tokens that were not revoked, including those that expired or have a successor.
    pub fn tokens(&self) -> impl Iterator<Item = (&TokenId, &Token)> {
        self.tokens.iter()
    }

    /// Returns a token that was not revoked.
    pub fn token(&self, id: &TokenId) -> Option<&Token> {
        self.tokens.get(id)
    }

    /// Returns the token of a name: the newest, if it was rotated.
    pub fn token_named(&self, name: &str) -> Option<(TokenId, &Token)> {
        self.tokens.iter().find(|(_, token)| token.name == name && token.successor.is_none()).map(|(id, token)| (*id, token))
    }

    /// Returns the identities.
    pub fn identities(&self) -> impl Iterator<Item = (&IdentityId, &Identity)> {
        self.identities.iter()
    }

    /// Returns an identity.
    pub fn identity(&self, id: &IdentityId) -> Option<&Identity> {
        self.identities.get(id)
    }

    /// Returns true if an identity is absent at a time.
    pub fn is_absent(&self, id: &IdentityId, now: Timestamp) -> bool {
        self.absence(id).is_some_and(|absence| absence.is_at(now)) && !self.over.contains(&Lapsing::Absence(*id))
    }

    fn end_absence(&mut self, id: IdentityId) {
        self.absences.remove(&id);
        self.over.remove(&Lapsing::Absence(id));
    }

    /// Returns the absence of an identity, also if it has not begun or has ended.
    pub fn absence(&self, id: &IdentityId) -> Option<&Absence> {
        self.absences.get(id)
    }

    /// Returns the identities with an absence in which this one is their deputy, also if it has not begun or has ended.
    pub fn deputy_of(&self, deputy: IdentityId) -> impl Iterator<Item = (&IdentityId, &Absence)> {
        self.absences.iter().filter(move |(_, absence)| absence.deputy == Some(deputy))
    }

    /// Returns the roles that are not built in, each with its permissions.
    pub fn roles(&self) -> impl Iterator<Item = (&RoleName, &Vec<String>)> {
        self.roles.iter()
    }

    /// Returns the permissions of a role that is not built in.
    pub fn role(&self, name: &RoleName) -> Option<&[String]> {
        self.roles.get(name).map(Vec::as_slice)
    }

    /// Returns the grants, including those that ended by their time.
    pub fn grants(&self) -> impl Iterator<Item = (&GrantId, &Grant)> {
        self.grants.iter()
    }

    /// Returns a grant.
    pub fn grant(&self, id: &GrantId) -> Option<&Grant> {
        self.grants.get(id)
    }

    /// Returns true if the settings declare the role.
    pub(crate) fn declares_role(&self, name: &RoleName) -> bool {
        self.declared_roles.contains(name)
    }

    /// Returns the roles that the settings declare.
    pub(crate) fn declared_roles(&self) -> impl Iterator<Item = &RoleName> {
        self.declared_roles.iter().map(|(name, ())| name)
    }

    /// Returns the grants that the settings declare.
    pub(crate) fn declared_grants(&self) -> impl Iterator<Item = (&GrantId, &Grant)> {
        self.declared_grants.iter().filter_map(|(id, ())| Some((id, self.grants.get(id)?)))
    }

    /// Returns how many identities an issuer added on the day on which this one is added. The clock may have been set
    /// back: then the last day counts on.
    pub(crate) fn added_by(&self, issuer: &IssuerName, id: IdentityId) -> u32 {
        self.added_by.get(issuer).filter(|added| day_of(id) <= added.day).map_or(0, |added| added.count)
    }

    fn count_added(&mut self, issuer: &IssuerName, id: IdentityId) {
        let count = self.added_by(issuer, id).saturating_add(1);
        let day = self.added_by.get(issuer).map_or(0, |added| added.day).max(day_of(id));
        self.added_by.insert(issuer.clone(), AddedInADay { day, count });
    }

    /// Returns the open sessions, including those that ended by their time.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter()
    }

    /// Returns a session that is open.
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// Returns true if a token has expired at a time.
    pub(crate) fn is_expired(&self, id: &TokenId, now: Timestamp) -> bool {
        let ends = self.tokens.get(id).and_then(|token| token.expires_at);
        ends.is_some_and(|ends| ends <= now) || self.over.contains(&Lapsing::Token(*id))
    }

    /// Returns true if the time of a session is over at a time.
    pub fn is_session_over(&self, id: &SessionId, now: Timestamp) -> bool {
        self.session(id).is_some_and(|session| session.until <= now) || self.over.contains(&Lapsing::Session(*id))
    }

    /// Returns how many tokens, sessions, grants and absences would be in force by the clock, but had ended before it was set back.
    pub fn over_before_a_step(&self, now: Timestamp) -> usize {
        let ends = |one: &Lapsing| match one {
            Lapsing::Token(id) => self.tokens.get(id).and_then(|token| token.expires_at),
            Lapsing::Session(id) => self.sessions.get(id).map(|session| session.until),
            Lapsing::Grant(id) => self.grants.get(id).and_then(|grant| grant.until),
            Lapsing::Absence(id) => self.absences.get(id).and_then(|absence| absence.until),
        };
        self.over.iter().filter(|(one, ())| ends(one).is_some_and(|ends| now < ends)).count()
    }

    /// Returns how many rows the tables have.
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes {
            tokens: self.tokens.len(),
            identities: self.identities.len(),
            roles: self.roles.len(),
            grants: self.grants.len(),
            sessions: self.sessions.len(),
        }
    }

    /// Folds a fact.
    pub fn apply(&mut self, fact: AccessFact<'_>) {
        match fact {
            AccessFact::KeySet(fact) => self.keys.set(&fact.key, fact.version),
            AccessFact::KeyRemoved(fact) => self.keys.remove(&fact.key),
            AccessFact::TokenAdded(fact) => {
                self.tokens.insert(fact.id, Token { name: fact.name.clone(), roles: fact.roles.clone(), ..Token::default() });
            }
            AccessFact::TokenLimited(fact) => self.tokens.change(&fact.id, |token| {
                token.identity = fact.identity;
                token.scopes.clone_from(&fact.scopes);
                token.expires_at = fact.expires_at;
            }),
            AccessFact::TokenRotated(fact) => self.tokens.change(&fact.id, |token| {
                token.successor = Some(fact.successor);
                token.expires_at = Some(token.expires_at.map_or(fact.until, |ends| ends.min(fact.until)));
            }),
            AccessFact::TokenRevoked(fact) => {
                self.tokens.remove(&fact.id);
                self.over.remove(&Lapsing::Token(fact.id));
            }
            AccessFact::IdentityAdded(fact) => {
                let mut identity = Identity { kind: fact.kind, standing: Standing::Enabled, local_groups: Vec::new(), issuers: Vec::new() };
                if let Some(issuer) = &fact.by_issuer {
                    identity.link_to(issuer);
                    self.count_added(issuer, fact.id);
                }
                self.identities.insert(fact.id, identity);
            }
            AccessFact::IdentityDisabled(fact) => self.identities.change(&fact.id, |identity| identity.standing = Standing::Disabled),
            AccessFact::IdentityEnabled(fact) => self.identities.change(&fact.id, |identity| identity.standing = Standing::Enabled),
            AccessFact::IdentityErased(fact) => {
                self.identities.remove(&fact.id);
                self.end_absence(fact.id);
            }
            AccessFact::IdentityAbsentSet(fact) => match (fact.from, fact.until, fact.deputy) {
                (None, None, None) => self.end_absence(fact.id),
                (from, until, deputy) => {
                    self.end_absence(fact.id);
                    self.absences.insert(fact.id, Absence { from, until, deputy });
                }
            },
            AccessFact::IdentityLinked(fact) => self.identities.change(&fact.id, |identity| identity.link_to(&fact.issuer)),
            AccessFact::IdentityUnlinked(fact) => {
                self.identities.change(&fact.id, |identity| identity.issuers.retain(|link| link.issuer != fact.issuer));
            }
            AccessFact::IdentityGroupsSet(fact) => self.identities.change(&fact.id, |identity| match &fact.source {
                None => identity.local_groups.clone_from(&fact.groups),
                Some(issuer) => {
                    if let Some(link) = identity.issuers.iter_mut().find(|link| link.issuer == *issuer) {
                        link.groups.clone_from(&fact.groups);
                        link.said_at = fact.said_at;
                    }
                }
            }),
            AccessFact::RoleSet(fact) => {
                self.roles.insert(fact.name.clone(), fact.permissions.clone());
                if fact.declared {
                    self.declared_roles.insert(fact.name.clone(), ());
                }
            }
            AccessFact::RoleRemoved(fact) => {
                self.roles.remove(&fact.name);
                self.declared_roles.remove(&fact.name);
            }
            AccessFact::GrantAdded(fact) => {
                let grant = Grant { subject: fact.subject.clone(), role: fact.role.clone(), on: fact.on.clone(), until: fact.until };
                self.grants.insert(fact.id, grant);
                if fact.declared {
                    self.declared_grants.insert(fact.id, ());
                }
            }
            AccessFact::GrantRemoved(fact) => {
                self.grants.remove(&fact.id);
                self.over.remove(&Lapsing::Grant(fact.id));
                self.declared_grants.remove(&fact.id);
            }
            AccessFact::SessionOpened(fact) => {
                let (way, until) = (fact.way.clone(), fact.until);
                let session =
                    Session { identity: fact.identity, way, credential: fact.credential, only: fact.only, link: fact.link, until };
                self.sessions.insert(fact.id, session);
            }
            AccessFact::SessionEnded(fact) => {
                self.sessions.remove(&fact.id);
                self.over.remove(&Lapsing::Session(fact.id));
            }
            // The vault has the value, and that of a link's code.
            AccessFact::CredentialChanged(_) | AccessFact::LoginLinkMinted(_) => {}
        }
    }

    /// Folds a fact about the clock. What has ended stays ended if the clock is set back, until an operator accepts the clock.
    /// Returns the time until which things have ended, if the clock was set back from there.
    pub fn apply_clock(&mut self, at: Timestamp, fact: HealthFact<'_>) -> Option<Timestamp> {
        match fact {
            HealthFact::ClockStepped(step) => {
                let (before, hold) = Hold::after(self.hold.get(&0).copied(), step, at);
                match hold {
                    Some(hold) => self.hold.insert(0, hold),
                    None => self.hold.remove(&0),
                }
                let has_ended = |ends: Timestamp| step.to < ends && ends <= before;
                let tokens = self.tokens.iter().filter(|(_, token)| token.expires_at.is_some_and(has_ended));
                let sessions = self.sessions.iter().filter(|(_, session)| has_ended(session.until));
                let grants = self.grants.iter().filter(|(_, grant)| grant.until.is_some_and(has_ended));
                let (tokens, sessions) = (tokens.map(|(id, _)| Lapsing::Token(*id)), sessions.map(|(id, _)| Lapsing::Session(*id)));
                let absences = self.absences.iter().filter(|(_, absence)| absence.until.is_some_and(has_ended));
                let (grants, absences) = (grants.map(|(id, _)| Lapsing::Grant(*id)), absences.map(|(id, _)| Lapsing::Absence(*id)));
                let over: Vec<Lapsing> = tokens.chain(sessions).chain(grants).chain(absences).collect();
                over.into_iter().for_each(|one| self.over.insert(one, ()));
                Some(before).filter(|before| step.to < *before)
            }
            HealthFact::ClockAccepted(_) => {
                self.hold.remove(&0);
                let over: Vec<Lapsing> = self.over.iter().map(|(one, ())| *one).collect();
                over.iter().for_each(|one| self.over.remove(one));
                None
            }
            HealthFact::NodeStarted(_)
            | HealthFact::LogRestored(_)
            | HealthFact::ReactionDeferred(_)
            | HealthFact::ReactionResumed(_)
            | HealthFact::ReactionHeld(_)
            | HealthFact::ReactionParked(_)
            | HealthFact::ReactionRetried(_)
            | HealthFact::ReactionDismissed(_) => None,
        }
    }

    /// Folds a fact about a key that is set.
    pub fn apply_key(&mut self, fact: KeyFact<'_>) {
        self.keys.apply(fact);
    }
}

/// Returns the day on which an id was made.
fn day_of(id: IdentityId) -> u64 {
    id.0.unix_millis() / DAY_MILLIS
}
