//! The form of a token that was created elsewhere: `ens_<id>_<secret>`.

use ensue_engine::ids::TokenId;
use ensue_engine::ports::Secret;
use sha2::{Digest, Sha256};

/// The shortest secret of a token that was created elsewhere, in bytes.
pub(crate) const GIVEN_SECRET_BYTES_MIN: usize = 32;

/// Returns the id and the secret of a token; `None` if it has another form.
pub(crate) fn given_parts(token: &Secret) -> Option<(TokenId, Vec<u8>)> {
    let text = std::str::from_utf8(token.reveal()).ok()?;
    let (id, secret) = text.strip_prefix("ens_")?.split_once('_')?;
    let is_secret = secret.len() >= GIVEN_SECRET_BYTES_MIN && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_secret.then_some((id.parse().ok()?, secret.as_bytes().to_vec()))
}

/// Returns the hash of a secret, as the vault has it.
pub(crate) fn sha256(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}
