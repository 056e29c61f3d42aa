//! Credentials, the rights of their holders, and the caller on whose behalf a port acts.

use std::sync::Arc;

use ensue_engine::access::permission::Permission;
use ensue_engine::access::rights::Rights;
use ensue_engine::access::state;
use ensue_engine::command::RequestKey;
use ensue_engine::ids::{IdentityId, InquiryId, SessionId, TokenId};
use ensue_engine::names::IssuerName;
use ensue_engine::record::{Actor, AttemptOf, CredentialId};
use ensue_engine::time::Timestamp;
use ensue_views::inquiries::{assignees_of, deputy};
use tokio::sync::watch;

/// The caller on whose behalf a port acts: the resulting record names it.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// The caller.
    pub actor: Actor,
    /// The W3C trace of the request, in the form of a record's `cause.trace`.
    pub trace: Option<String>,
    /// The key under which the request is carried out once; none if it is carried out every time.
    pub request: Option<RequestKey>,
}

/// A credential as a request presents it.
#[derive(Clone)]
pub enum Credential {
    /// A token, `ens_<id>_<secret>`.
    Token {
        /// Its id.
        id: TokenId,
        /// The SHA-256 of its secret.
        secret_sha256: [u8; 32],
    },
    /// The cookie of a session, `<id>_<secret>`.
    Session {
        /// Its id.
        id: SessionId,
        /// The SHA-256 of its secret.
        secret_sha256: [u8; 32],
    },
    /// The token of an attempt, `ensp_<execution>_<attempt>_<mark>`.
    Program {
        /// The attempt.
        attempt: AttemptOf,
        /// The mark by which the node knows that it made the token.
        mark: [u8; 32],
    },
    /// A signed token (JWT) in its compact form, which nobody has verified yet.
    Signed(Arc<str>),
    /// A token of an issuer, which [`Issuers`](super::Issuers) verified.
    Issuer {
        /// The identity that it admits.
        identity: IdentityId,
        /// The issuer.
        issuer: IssuerName,
        /// When the token expires.
        until: Timestamp,
    },
}

/// Looks up the holders of credentials.
pub trait Access: Send + Sync {
    /// Returns the holder of a credential that is in force. Compares in constant time, and does the same work for an
    /// unknown id. Quick.
    fn admit(&self, credential: &Credential) -> Result<Arc<Holder>, NotAdmitted>;

    /// Notes that a credential is used now. Quick.
    fn note_use(&self, by: &CredentialId);

    /// Returns when a token was last used, to the minute; `None` if it was not used yet. Quick.
    fn last_use(&self, token: TokenId) -> Option<Timestamp>;

    /// Returns a value that changes when rights may have ended, before any later record is sent.
    fn revocations(&self) -> watch::Receiver<u64>;

    /// Returns the tokens, identities, roles and grants as they are now. Quick.
    fn directory(&self) -> Arc<state::Access>;

    /// Returns the current time, by which tokens and grants end.
    fn now(&self) -> Timestamp;

    /// Returns the name of an identity; `None` if there is no such identity, or it was erased. Quick.
    fn name_of(&self, id: IdentityId) -> Option<String>;

    /// Returns the identity of a name. Quick.
    fn identity_named(&self, name: &str) -> Option<IdentityId>;
}

/// Why a credential is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The credential does not exist or was revoked, or its secret is wrong.
    Unknown,
    /// The credential has expired.
    Expired,
    /// The identity that holds it is disabled.
    Disabled,
    /// The session has ended, or never was.
    NoSession,
    /// The attempt of the token does not run.
    NotRunning,
}

/// The holder of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The credential.
    pub by: CredentialId,
    /// The name of the token, or of the identity if the caller has no token; of a program, the principal on whose rights it
    /// runs.
    pub credential: String,
    /// The identity that holds it, with its name.
    pub identity: Option<(IdentityId, String)>,
    /// The roles and groups by which inquiries ask the holder.
    pub roles: Vec<String>,
    /// The absent identities in whose place the holder may answer inquiries.
    pub represents: Vec<RepresentedIdentity>,
    /// What the credential allows.
    pub rights: Rights,
    /// The only inquiry that it reaches.
    pub only: Option<InquiryId>,
    /// When the credential expires.
    pub until: Option<Timestamp>,
}

/// An absent identity, in whose place its deputy answers inquiries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepresentedIdentity {
    /// The identity.
    pub id: IdentityId,
    /// Its name.
    pub name: String,
    /// The roles and groups by which inquiries ask it.
    pub roles: Vec<String>,
}

impl RepresentedIdentity {
    /// Returns an identity that may answer inquiries itself; `None` if it may not, or has no name.
    pub fn new(id: IdentityId, name: Option<String>, access: &state::Access, now: Timestamp) -> Option<Self> {
        let held = access.rights_of(id, now).ok()?;
        held.rights.reach(Permission::InquiriesAnswer)?;
        Some(Self { id, name: name?, roles: held.roles })
    }
}

impl Holder {
    /// Returns the forms under which inquiries ask the holder: by itself, as the deputy of an absent identity, or as the
    /// deputy that an assignee named.
    pub(crate) fn asked_as(&self) -> Vec<String> {
        let own = assignees_of(self.name(), &self.roles);
        let as_deputy = self.represents.iter().flat_map(|of| assignees_of(&of.name, &of.roles));
        let mut all: Vec<String> = own.into_iter().chain(as_deputy).chain(self.identity.iter().map(|(id, _)| deputy(*id))).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Returns the name to show: that of the identity, or of a token that no identity holds.
    pub fn name(&self) -> &str {
        self.identity.as_ref().map_or(&self.credential, |(_, name)| name)
    }

    /// Returns what the records call the holder: the id of the identity, or the name of a token that no identity
    /// holds.
    pub fn caller(&self) -> String {
        self.identity.as_ref().map_or_else(|| self.credential.clone(), |(id, _)| id.to_string())
    }

    /// Returns the actor of the holder's requests.
    pub fn actor(&self) -> Actor {
        match (&self.by, &self.identity) {
            (CredentialId::Execution(attempt), _) => Actor::Execution(*attempt),
            (by, Some((id, _))) => Actor::Identity { id: *id, by: by.clone() },
            (_, None) => Actor::Token(self.credential.clone()),
        }
    }
}
