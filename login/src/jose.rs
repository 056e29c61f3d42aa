//! Signed tokens: the compact form of a JSON Web Signature, and the keys that verify it.
//!
//! Signatures are verified by `ring`. What is ours is the reading: a closed list of algorithms, of which the
//! key decides, and a header in which nothing may point to a key.

mod algorithm;
mod key;
mod key_set;
mod token;

pub use algorithm::Algorithm;
pub use key::{Key, KeyFault, RSA_BITS_MAX, RSA_BITS_MIN};
pub use key_set::{KEYS_MAX, KeySet, KeySetError, LeftOut};
pub use token::{KEY_ID_BYTES_MAX, TOKEN_BYTES_MAX, Token, TokenFault};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Decodes base64url without padding. A text has only one decoding, and bytes have only one text.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Encodes as base64url without padding.
pub(crate) fn encode_url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
