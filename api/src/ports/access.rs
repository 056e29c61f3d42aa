//! Token lookup, and the caller on whose behalf a port acts.

use std::sync::Arc;

use ensue_engine::command::RequestKey;
use ensue_engine::ids::TokenId;
use ensue_engine::record::Actor;
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

/// Looks up the holder of a token.
pub trait Access: Send + Sync {
    /// Returns the holder of a token that is in force; none for any other token. Compares in constant time, and
    /// does the same work for an unknown id. Quick.
    fn holder(&self, id: TokenId, secret_sha256: &[u8; 32]) -> Option<Arc<Holder>>;

    /// Returns a value that changes when a token is revoked, before any later record is sent.
    fn revocations(&self) -> watch::Receiver<u64>;
}

/// The holder of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The token's name.
    pub name: String,
    /// The roles, as they were assigned to it.
    pub roles: Vec<String>,
}
