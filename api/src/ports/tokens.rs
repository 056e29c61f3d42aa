//! Creating, replacing and revoking the named tokens.

use std::time::Duration;

use ensue_engine::access::scope::Scope;
use ensue_engine::ids::{IdentityId, TokenId};
use ensue_engine::ports::{CommitReceipt, Secret};
use ensue_engine::time::Timestamp;

use super::{OnBehalf, PortError};

/// The named tokens. Every method blocks, and returns after the commit. The read models say which tokens exist.
pub trait Tokens: Send + Sync {
    /// Creates a token; its secret is returned only this once.
    fn add(&self, token: &AskedToken, by: &OnBehalf) -> Result<MadeToken, PortError>;
    /// Replaces a token with a successor of the same name, roles, identity and scopes. The old one stays valid for the
    /// overlap.
    fn rotate(&self, name: &str, overlap: Duration, by: &OnBehalf) -> Result<MadeToken, PortError>;
    /// Revokes a token and those that it replaced, so that their holder no longer has access.
    fn revoke(&self, name: &str, by: &OnBehalf) -> Result<CommitReceipt, PortError>;
}

/// A token that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedToken {
    /// Its name.
    pub name: String,
    /// Its roles; none if an identity holds it.
    pub roles: Vec<String>,
    /// The identity that holds it.
    pub identity: Option<IdentityId>,
    /// The scopes beyond which it allows nothing.
    pub scopes: Option<Vec<Scope>>,
    /// How long it is valid.
    pub expires_in: Option<Duration>,
}

/// A newly created token.
pub struct MadeToken {
    /// Its id.
    pub id: TokenId,
    /// The whole token, `ens_<id>_<secret>`: it is not stored, and cannot be shown again.
    pub token: Secret,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// The sequencer's reply.
    pub committed: CommitReceipt,
}
