//! Creating and revoking the named tokens.

use ensue_engine::ids::TokenId;
use ensue_engine::ports::{Committed, Secret};

use super::{Declined, OnBehalf};

/// The named tokens. Every method blocks, and returns after the commit. The read models say which tokens exist.
pub trait Tokens: Send + Sync {
    /// Creates a token; its secret is returned only this once.
    fn add(&self, name: &str, roles: &[String], by: &OnBehalf) -> Result<NewToken, Declined>;
    /// Revokes a token, so that its holder no longer has access.
    fn revoke(&self, name: &str, by: &OnBehalf) -> Result<Committed, Declined>;
}

/// A newly created token.
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// The whole token, `ens_<id>_<secret>`: it is not stored, and cannot be shown again.
    pub token: Secret,
    /// The sequencer's reply.
    pub committed: Committed,
}
