//! The seal of outputs in a shared store: somebody else who can write there cannot make one.

use ensue_engine::ids::AttemptId;
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};
use ensue_engine::time::Timestamp;
use zeroize::Zeroizing;

/// The name of the only value of its kind in the vault.
const NAME: &str = "outputs";
const KEY_BYTES: usize = blake3::KEY_LEN;
const SEAL_BYTES: usize = blake3::OUT_LEN;

/// Seals the objects of outputs.
///
/// Its key is in the vault of the log, so it is the same at all nodes, and a rotation of the master key does not change it.
#[derive(Clone)]
pub struct OutputSeal {
    key: Zeroizing<[u8; KEY_BYTES]>,
    /// The outputs of attempts that began later are sealed.
    since: Timestamp,
}

impl OutputSeal {
    /// How many bytes a seal adds to a content.
    pub(super) const BYTES: u64 = SEAL_BYTES as u64;

    /// Makes a seal. The outputs of attempts that began later than `since` are all sealed with the key.
    pub fn new(key: [u8; 32], since: Timestamp) -> Self {
        Self { key: Zeroizing::new(key), since }
    }

    /// Reads the key from the vault. Creates it if the vault has none: from then on, outputs are sealed.
    ///
    /// # Errors
    /// If the vault cannot be used, or its value is not a key.
    pub fn open_vault(vault: &dyn Vault, now: Timestamp) -> Result<Self, VaultError> {
        if let Some((name, stored)) = vault.list(SealedKind::Output)?.pop() {
            return Self::restore(&stored).ok_or(VaultError::Integrity(format!("{} {name}", SealedKind::Output.as_str())));
        }
        let mut seal = Self::new([0; KEY_BYTES], now);
        getrandom::fill(seal.key.as_mut()).map_err(|error| VaultError::Store(error.to_string()))?;
        vault.put_all(SealedKind::Output, &[(NAME.to_owned(), seal.to_stored())])?;
        Ok(seal)
    }

    /// Returns the key and the time after it, as the vault has them.
    fn to_stored(&self) -> Secret {
        Secret::new([self.key.as_slice(), &self.since.micros().to_be_bytes()].concat())
    }

    fn restore(stored: &Secret) -> Option<Self> {
        let (key, since) = stored.reveal().split_first_chunk::<KEY_BYTES>()?;
        Some(Self::new(*key, Timestamp::from_micros(i64::from_be_bytes(since.try_into().ok()?))))
    }

    /// Returns true if an attempt began before outputs were sealed.
    pub(super) fn is_older(&self, attempt: AttemptId) -> bool {
        attempt.0.unix_millis() < self.since.unix_millis()
    }

    /// Returns the content of a part of an output with its seal at the end.
    pub(super) fn append_seal(&self, of: (AttemptId, &str), content: &[u8]) -> Vec<u8> {
        [content, self.seal(of, content).as_bytes()].concat()
    }

    /// Returns the content of a part without its seal, or all of it if it has no valid one.
    pub(super) fn strip_seal(&self, of: (AttemptId, &str), mut sealed: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        match sealed.split_last_chunk::<SEAL_BYTES>() {
            Some((content, seal)) if self.seal(of, content) == blake3::Hash::from_bytes(*seal) => {
                sealed.truncate(sealed.len() - SEAL_BYTES);
                Ok(sealed)
            }
            Some(_) | None => Err(sealed),
        }
    }

    /// Returns the seal of a content at its place: it counts for no other attempt, stream or offset.
    fn seal(&self, (attempt, part): (AttemptId, &str), content: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(attempt.0.as_bytes());
        // The length keeps the name apart from the content.
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
        hasher.update(content);
        hasher.finalize()
    }
}
