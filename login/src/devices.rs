//! Devices that have logged in before: the secret of a session's cookie shows to whose session it belonged, even after the session
//! has ended, and nothing has to be stored for that.

use ensue_engine::ports::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The random bytes of a secret.
pub const RANDOM_BYTES: usize = 16;
/// The bytes of a secret by which the node knows it.
const MARK_BYTES: usize = 16;

/// The key by which a node knows the secrets that it made.
pub struct DeviceKey(Zeroizing<[u8; 32]>);

impl DeviceKey {
    /// Creates a key from random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Restores a key from the vault. Returns `None` if what is stored has another form.
    pub fn restore(stored: &Secret) -> Option<Self> {
        stored.reveal().try_into().ok().map(Self::new)
    }

    /// Returns what the vault stores.
    pub fn to_stored(&self) -> Secret {
        Secret::new(self.0.to_vec())
    }

    /// Returns the secret of a cookie in 64 hexadecimal digits: random bytes, and a mark that binds them to the session
    /// and its identity.
    pub fn secret(&self, session: Uuid, identity: Uuid, random: &[u8; RANDOM_BYTES]) -> Zeroizing<String> {
        let mark = self.mark(session, identity, random).finalize().into_bytes();
        let bytes = Zeroizing::new([&random[..], &mark[..MARK_BYTES]].concat());
        Zeroizing::new(hex(&bytes))
    }

    /// Returns true if the secret is that of a session of the identity.
    pub fn knows(&self, session: Uuid, identity: Uuid, secret: &Secret) -> bool {
        let bytes = unhex(secret.reveal());
        let Some((random, mark)) = bytes.as_deref().and_then(|bytes| bytes.split_first_chunk::<RANDOM_BYTES>()) else { return false };
        mark.len() == MARK_BYTES && self.mark(session, identity, random).verify_truncated_left(mark).is_ok()
    }

    fn mark(&self, session: Uuid, identity: Uuid, random: &[u8; RANDOM_BYTES]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_ref()).expect("HMAC takes a key of any length");
        mac.update(b"device");
        mac.update(session.as_bytes());
        mac.update(identity.as_bytes());
        mac.update(random);
        mac
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn unhex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, rest) = text.as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|_| rest.is_empty()).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_known_for_its_session_and_identity_only() {
        let (key, other) = (DeviceKey::new([7; 32]), DeviceKey::new([8; 32]));
        let (session, ana, bo) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let secret = key.secret(session, ana, &[9; RANDOM_BYTES]);
        assert_eq!(secret.len(), 64);
        let given = Secret::new(secret.as_bytes().to_vec());
        assert!(key.knows(session, ana, &given) && DeviceKey::restore(&key.to_stored()).unwrap().knows(session, ana, &given));
        assert!(!key.knows(session, bo, &given) && !key.knows(bo, ana, &given) && !other.knows(session, ana, &given));
        for at in 0..secret.len() {
            let mut changed = secret.as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(!key.knows(session, ana, &Secret::new(changed)), "digit {at}");
        }
        for bad in ["", "0", "zz", &secret[..62], &"0".repeat(64), &format!("{}00", *secret)] {
            assert!(!key.knows(session, ana, &Secret::new(bad.as_bytes().to_vec())), "{bad}");
        }
    }
}
