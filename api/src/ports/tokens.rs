//! The named tokens, to be made and revoked.

use ensue_engine::ids::TokenId;
use ensue_engine::ports::{Committed, Secret};

use super::{Declined, OnBehalf};

/// The named tokens. All of it is blocking, and returns after the commit. Which tokens there are is in the read models.
pub trait Tokens: Send + Sync {
    /// Makes a token; its secret is given this once.
    fn add(&self, name: &str, roles: &[String], by: &OnBehalf) -> Result<NewToken, Declined>;
    /// Lets the holder of a token in no more.
    fn revoke(&self, name: &str, by: &OnBehalf) -> Result<Committed, Declined>;
}

/// A token that was made.
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// The whole token, `ens_<id>_<secret>`: it is not kept, and cannot be shown again.
    pub token: Secret,
    /// What the sequencer said.
    pub committed: Committed,
}
