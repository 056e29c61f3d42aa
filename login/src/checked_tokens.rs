//! Tokens that were checked before, so that the next request with one costs a hash and no signature.

use std::num::NonZeroUsize;
use std::sync::Arc;

use ensue_engine::time::Timestamp;
use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::admission::IssuerIdentity;
use crate::claims::{LEEWAY, millis};
use crate::jose::Key;

/// The maximum number of tokens that are remembered. The one that was used longest ago is forgotten first.
pub const CHECKED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

/// The SHA-256 of a token. The token itself is not kept.
pub(crate) type TokenHash = [u8; 32];

/// The checked tokens.
pub(crate) struct CheckedTokens {
    by_hash: LruCache<TokenHash, CheckedToken>,
}

#[derive(Clone)]
pub(crate) struct CheckedToken {
    pub(crate) admitted: IssuerIdentity,
    pub(crate) key: Arc<Key>,
}

impl CheckedTokens {
    pub(crate) fn new() -> Self {
        Self { by_hash: LruCache::new(CHECKED_MAX) }
    }

    /// Returns the entry of a token that has not expired.
    pub(crate) fn get(&mut self, hash: &TokenHash, now: Timestamp) -> Option<CheckedToken> {
        let entry = self.by_hash.get(hash)?;
        if now < entry.admitted.until.plus_millis(millis(LEEWAY)) {
            return Some(entry.clone());
        }
        self.by_hash.pop(hash);
        None
    }

    pub(crate) fn put(&mut self, hash: TokenHash, entry: CheckedToken) {
        self.by_hash.put(hash, entry);
    }

    pub(crate) fn remove(&mut self, hash: &TokenHash) {
        self.by_hash.pop(hash);
    }
}

pub(crate) fn hash_of(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}
