//! The envelope of secrets: AES-256-GCM, with a separate data key for every version of every value.
//!
//! It knows neither where envelopes are stored nor which version of a key is the current one: the log does.
//!
//! An envelope is `format ‖ master key id ‖ nonce ‖ sealed data key ‖ nonce ‖ sealed value`: 1, 8, 12, 48 and
//! 12 bytes, and the value's length plus 16. Both seals are bound to the format, the master key's id, the
//! log, the purpose, the name and the version, so an envelope that was moved, renamed, changed or truncated
//! does not open.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use ensue_engine::ids::{IdentityId, LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{SealedKind, Secret, VaultError};
use zeroize::Zeroizing;

use crate::master_key::{KEY_BYTES, MasterKey};

/// The size of the largest stored value, in bytes.
pub const SECRET_BYTES_MAX: usize = 1024 * 1024;

const FORMAT: u8 = 1;
const CONTEXT: &[u8] = b"ensue/vault/v1";
const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const WRAPPED_KEY_BYTES: usize = KEY_BYTES + TAG_BYTES;

/// The content and the owner of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// A version of a key's value.
    Key(KeyRef, u32),
    /// The SHA-256 of a token's secret.
    Token(TokenId),
    /// What is known of an identity.
    Profile(IdentityId),
    /// A value of a way in.
    Sealed(SealedKind, String),
}

impl Purpose {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Key(..) => "key",
            Self::Token(_) => "token",
            Self::Profile(_) => "profile",
            Self::Sealed(kind, _) => kind.as_str(),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Key(key, _) => key.to_string(),
            Self::Token(token) => token.to_string(),
            Self::Profile(identity) => identity.to_string(),
            Self::Sealed(_, name) => name.clone(),
        }
    }

    pub(crate) fn version(&self) -> u32 {
        match self {
            Self::Key(_, version) => *version,
            Self::Token(_) | Self::Profile(_) | Self::Sealed(..) => 1,
        }
    }

    /// Parses the stored columns. Returns `None` for values that this release would not write.
    pub(crate) fn parse(purpose: &str, name: &str, version: i64) -> Option<Self> {
        match (purpose, u32::try_from(version).ok()?) {
            ("key", version) => name.parse().ok().map(|key| Self::Key(key, version)),
            ("token", 1) => name.parse().ok().map(Self::Token),
            ("profile", 1) => name.parse().ok().map(Self::Profile),
            (kind, 1) => SealedKind::ALL.into_iter().find(|known| known.as_str() == kind).map(|kind| Self::Sealed(kind, name.to_owned())),
            (_, _) => None,
        }
    }

    pub(crate) fn broken(&self) -> VaultError {
        VaultError::Integrity(format!("{} {}", self.as_str(), self.name()))
    }
}

/// Seals and opens the envelopes of one log.
pub(crate) struct Sealer {
    master: MasterKey,
    log: LogId,
}

impl Sealer {
    pub(crate) fn new(master: MasterKey, log: LogId) -> Self {
        Self { master, log }
    }

    pub(crate) fn log(&self) -> LogId {
        self.log
    }

    pub(crate) fn seal(&self, purpose: &Purpose, value: &[u8]) -> Result<Vec<u8>, VaultError> {
        if value.len() > SECRET_BYTES_MAX {
            let why = format!("a value of {} bytes is too large; the limit is {SECRET_BYTES_MAX}", value.len());
            return Err(VaultError::Store(why));
        }
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        fill(data_key.as_mut())?;
        let mut envelope = vec![FORMAT];
        envelope.extend_from_slice(&self.master.id());
        self.close(&mut envelope, self.master.reveal(), b"data key", purpose, data_key.as_ref())?;
        self.close(&mut envelope, &data_key, b"value", purpose, value)?;
        Ok(envelope)
    }

    pub(crate) fn open(&self, purpose: &Purpose, envelope: &[u8]) -> Result<Secret, VaultError> {
        self.parts(purpose, envelope).ok_or_else(|| purpose.broken())
    }

    fn parts(&self, purpose: &Purpose, envelope: &[u8]) -> Option<Secret> {
        let (format, rest) = envelope.split_first()?;
        let (key_id, rest) = rest.split_at_checked(KEY_ID_BYTES)?;
        if *format != FORMAT || key_id != self.master.id() {
            return None;
        }
        let (wrapped, sealed) = rest.split_at_checked(NONCE_BYTES + WRAPPED_KEY_BYTES)?;
        let data_key = self.unseal(wrapped, self.master.reveal(), b"data key", purpose)?;
        let data_key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(data_key.as_slice().try_into().ok()?);
        let mut value = self.unseal(sealed, &data_key, b"value", purpose)?;
        Some(Secret::new(std::mem::take(&mut *value)))
    }

    fn close(&self, envelope: &mut Vec<u8>, key: &[u8; KEY_BYTES], part: &[u8], purpose: &Purpose, plain: &[u8]) -> Result<(), VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        fill(&mut nonce)?;
        let payload = Payload { msg: plain, aad: &self.bound_to(part, purpose) };
        let sealed = cipher(key).encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| VaultError::Store("the value cannot be sealed".to_owned()))?;
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(&sealed);
        Ok(())
    }

    fn unseal(&self, sealed: &[u8], key: &[u8; KEY_BYTES], part: &[u8], purpose: &Purpose) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let payload = Payload { msg: sealed, aad: &self.bound_to(part, purpose) };
        cipher(key).decrypt(&Nonce::from(nonce), payload).ok().map(Zeroizing::new)
    }

    fn bound_to(&self, part: &[u8], purpose: &Purpose) -> Vec<u8> {
        let (name, version) = (purpose.name(), purpose.version().to_le_bytes());
        let fields: [&[u8]; 8] =
            [CONTEXT, &[FORMAT], &self.master.id(), part, self.log.0.as_bytes(), purpose.as_str().as_bytes(), name.as_bytes(), &version];
        let mut bound = Vec::with_capacity(160);
        for field in fields {
            bound.extend_from_slice(&(field.len() as u32).to_le_bytes());
            bound.extend_from_slice(field);
        }
        bound
    }
}

/// Opens the envelope of a token's hash.
pub(crate) fn token_hash(sealer: &Sealer, token: TokenId, envelope: &[u8]) -> Result<[u8; 32], VaultError> {
    let purpose = Purpose::Token(token);
    let opened = sealer.open(&purpose, envelope)?;
    opened.reveal().try_into().map_err(|_| purpose.broken())
}

fn cipher(key: &[u8; KEY_BYTES]) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}

fn fill(bytes: &mut [u8]) -> Result<(), VaultError> {
    getrandom::fill(bytes).map_err(|error| VaultError::Store(format!("the system provides no randomness: {error}")))
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;

    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
    const VALUE: &[u8] = b"s3cr3t";

    fn master(byte: u8) -> MasterKey {
        MasterKey::from_bytes([byte; KEY_BYTES])
    }

    fn log(number: u128) -> LogId {
        LogId(Id::root(NOON, number))
    }

    fn sealer() -> Sealer {
        Sealer::new(master(1), log(1))
    }

    fn deploy_key(version: u32) -> Purpose {
        Purpose::Key("release.deploy_token".parse().unwrap(), version)
    }

    fn assert_broken(opened: &Result<Secret, VaultError>, how: &str) {
        assert!(matches!(opened, Err(VaultError::Integrity(_))), "{how}");
    }

    #[test]
    fn sealed_value_opens() {
        let envelope = sealer().seal(&deploy_key(1), VALUE).unwrap();
        assert_eq!(sealer().open(&deploy_key(1), &envelope).unwrap().reveal(), VALUE);
        let empty = sealer().seal(&deploy_key(1), b"").unwrap();
        assert_eq!(sealer().open(&deploy_key(1), &empty).unwrap().reveal(), b"");
    }

    #[test]
    fn envelope_has_the_documented_format() {
        let envelope = sealer().seal(&deploy_key(1), VALUE).unwrap();
        assert_eq!(envelope.len(), 1 + 8 + 12 + 48 + 12 + VALUE.len() + 16);
        assert_eq!((envelope[0], &envelope[1..9]), (1, master(1).id().as_slice()));
    }

    #[test]
    fn envelope_of_the_first_release_still_opens() {
        let envelope = include_bytes!("../tests/golden/envelope.v1");
        assert_eq!(sealer().open(&deploy_key(1), envelope).unwrap().reveal(), VALUE);
    }

    #[test]
    fn two_envelopes_of_one_value_have_nothing_in_common() {
        let (one, other) = (sealer().seal(&deploy_key(1), VALUE).unwrap(), sealer().seal(&deploy_key(1), VALUE).unwrap());
        assert_ne!(one[9..21], other[9..21], "the nonce");
        assert_ne!(one[21..69], other[21..69], "the data key");
        assert_ne!(one[81..], other[81..], "the value");
    }

    #[test]
    fn flipped_bit_at_any_position_is_detected() {
        let envelope = sealer().seal(&deploy_key(1), VALUE).unwrap();
        for bit in 0..envelope.len() * 8 {
            let mut flipped = envelope.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_broken(&sealer().open(&deploy_key(1), &flipped), &format!("bit {bit}"));
        }
    }

    #[test]
    fn truncation_at_any_position_is_detected() {
        let envelope = sealer().seal(&deploy_key(1), VALUE).unwrap();
        for length in 0..envelope.len() {
            assert_broken(&sealer().open(&deploy_key(1), &envelope[..length]), &format!("{length} bytes"));
        }
        assert_broken(&sealer().open(&deploy_key(1), &[envelope, vec![0]].concat()), "a byte more");
    }

    #[test]
    fn envelope_opens_only_for_its_own_purpose_and_version() {
        let envelope = sealer().seal(&deploy_key(1), VALUE).unwrap();
        assert_broken(&sealer().open(&deploy_key(2), &envelope), "another version");
        let other = Purpose::Key("release.other".parse().unwrap(), 1);
        assert_broken(&sealer().open(&other, &envelope), "another name");
        assert_broken(&Sealer::new(master(1), log(2)).open(&deploy_key(1), &envelope), "another log");
        assert_broken(&Sealer::new(master(2), log(1)).open(&deploy_key(1), &envelope), "another master key");
        let token = Purpose::Token(TokenId(Id::root(NOON, 1)));
        assert_broken(&sealer().open(&token, &envelope), "another purpose");
    }

    #[test]
    fn data_key_does_not_open_another_envelope_s_value() {
        let (one, other) = (sealer().seal(&deploy_key(1), VALUE).unwrap(), sealer().seal(&deploy_key(1), b"another").unwrap());
        assert_broken(&sealer().open(&deploy_key(1), &[&one[..69], &other[69..]].concat()), "halves of two");
    }

    #[test]
    fn unknown_envelope_format_is_rejected() {
        let mut envelope = sealer().seal(&deploy_key(1), VALUE).unwrap();
        envelope[0] = 2;
        assert_broken(&sealer().open(&deploy_key(1), &envelope), "format 2");
    }

    #[test]
    fn oversized_value_is_rejected_before_it_is_sealed() {
        let large = vec![0; SECRET_BYTES_MAX + 1];
        assert!(matches!(sealer().seal(&deploy_key(1), &large), Err(VaultError::Store(_))));
        assert!(sealer().seal(&deploy_key(1), &large[1..]).is_ok());
    }
}
