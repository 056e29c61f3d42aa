//! Who a token lets in, and on whose behalf a port acts.

use std::sync::Arc;

use ensue_engine::command::RequestKey;
use ensue_engine::ids::TokenId;
use ensue_engine::record::Actor;
use tokio::sync::watch;

/// On whose behalf a port acts: this stands in the record that comes of it.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// Who asks.
    pub actor: Actor,
    /// The W3C trace of the request, as `cause.trace` of a record has it.
    pub trace: Option<String>,
    /// The key under which it is carried out once; none where it is carried out each time.
    pub request: Option<RequestKey>,
}

/// Who a token lets in.
pub trait Access: Send + Sync {
    /// Gives the holder of a token that is in force; none for any other. Compares in constant time, and does the same work for an
    /// id that it does not know. Quick.
    fn holder(&self, id: TokenId, secret_sha256: &[u8; 32]) -> Option<Arc<Holder>>;

    /// Returns a value that changes when a token is revoked, before any later record is sent.
    fn revocations(&self) -> watch::Receiver<u64>;
}

/// The holder of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The token's name.
    pub name: String,
    /// The roles, as they were given to it.
    pub roles: Vec<String>,
}
