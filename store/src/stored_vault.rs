//! A vault over any table of envelopes: what is sealed, in which order, and how the master key is rotated.
//!
//! [`crate::vault`] defines the sealed content and what it is bound to. A store only has to hold rows.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::ids::{IdentityId, LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};

use crate::master_key::{MasterKey, MasterKeys};
use crate::vault::{
    EnvelopePlace, EnvelopePurpose, KEY_ID_BYTES, REWRAPPED_AT_ONCE, Rotation, RotationStep, SealedVault, Sealer, named_key, token_hash,
};

/// How many bytes of an envelope say under which master key it is sealed.
pub const ENVELOPE_HEAD_BYTES: usize = KEY_ID_BYTES + 1;

/// The columns by which an envelope is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeName {
    /// What it is for.
    pub purpose: String,
    /// The name of what it contains.
    pub name: String,
    /// The version of what it contains.
    pub version: u32,
}

impl From<&EnvelopePurpose> for EnvelopeName {
    fn from(purpose: &EnvelopePurpose) -> Self {
        Self { purpose: purpose.as_str().to_owned(), name: purpose.name(), version: purpose.version() }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The purpose, as it was written.
    pub purpose: String,
    /// The name, as it was written.
    pub name: String,
    /// The version, as it was written.
    pub version: i64,
    /// The sealed value.
    pub sealed: Vec<u8>,
}

impl Envelope {
    fn parse(self) -> Result<(EnvelopePurpose, Vec<u8>), VaultError> {
        match EnvelopePurpose::parse(&self.purpose, &self.name, self.version) {
            Some(purpose) => Ok((purpose, self.sealed)),
            None => Err(VaultError::Integrity(format!("{} {}", self.purpose, self.name))),
        }
    }
}

/// The table of the envelopes of one log.
pub trait Envelopes: Send {
    /// Writes envelopes, all of them or none. One with the same name is replaced.
    fn put(&mut self, envelopes: &[(EnvelopeName, Vec<u8>)]) -> Result<(), VaultError>;
    /// Reads an envelope.
    fn get(&mut self, name: &EnvelopeName) -> Result<Option<Vec<u8>>, VaultError>;
    /// Removes an envelope.
    fn remove(&mut self, name: &EnvelopeName) -> Result<(), VaultError>;
    /// Lists the envelopes of one purpose by name and version.
    fn list(&mut self, purpose: &str) -> Result<Vec<Envelope>, VaultError>;
    /// Lists at most so many envelopes after a name, by purpose, name and version.
    fn after(&mut self, name: &EnvelopeName, most: usize) -> Result<Vec<Envelope>, VaultError>;
    /// Lists the beginnings of all envelopes, each of [`ENVELOPE_HEAD_BYTES`], without duplicates.
    fn heads(&mut self) -> Result<Vec<Vec<u8>>, VaultError>;
    /// Destroys what the store still holds of envelopes that were replaced.
    fn forget_replaced(&mut self) -> Result<(), VaultError>;
}

/// Copies all envelopes to another table, as they are: they stay sealed. Returns how many there are.
pub fn copy_envelopes(from: &mut dyn Envelopes, to: &mut dyn Envelopes) -> Result<usize, VaultError> {
    let mut last = EnvelopeName { purpose: String::new(), name: String::new(), version: 0 };
    let mut copied = 0;
    loop {
        let envelopes = from.after(&last, REWRAPPED_AT_ONCE)?;
        let named = |envelope: Envelope| {
            let Envelope { purpose, name, version, sealed } = envelope;
            let version = u32::try_from(version).map_err(|_| VaultError::Integrity(format!("{purpose} {name}")))?;
            Ok((EnvelopeName { purpose, name, version }, sealed))
        };
        let envelopes: Vec<(EnvelopeName, Vec<u8>)> = envelopes.into_iter().map(named).collect::<Result<_, VaultError>>()?;
        let Some((name, _)) = envelopes.last() else { return Ok(copied) };
        last = name.clone();
        to.put(&envelopes)?;
        copied += envelopes.len();
    }
}

/// A vault over a table of envelopes.
pub struct StoredVault<E> {
    sealer: Sealer,
    envelopes: Mutex<E>,
}

impl<E: Envelopes> StoredVault<E> {
    /// Makes the vault of a log.
    pub fn of(log: LogId, masters: impl Into<MasterKeys>, envelopes: E) -> Self {
        Self { sealer: Sealer::new(masters, log), envelopes: Mutex::new(envelopes) }
    }

    fn envelopes(&self) -> MutexGuard<'_, E> {
        self.envelopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, purpose: &EnvelopePurpose, value: &[u8]) -> Result<(), VaultError> {
        // Sealed under the lock, so that no value is sealed under the master key before while a rotation begins.
        let mut envelopes = self.envelopes();
        let sealed = self.sealer.seal(purpose, value)?;
        envelopes.put(&[(purpose.into(), sealed)])
    }

    fn destroy_of(&self, purpose: &EnvelopePurpose) -> Result<(), VaultError> {
        self.envelopes().remove(&purpose.into())
    }

    /// Lists the envelopes of one purpose. A row that this release would not write is an error and is not
    /// skipped.
    fn list_of(&self, purpose: &str) -> Result<Vec<(EnvelopePurpose, Vec<u8>)>, VaultError> {
        self.envelopes().list(purpose)?.into_iter().map(Envelope::parse).collect()
    }
}

/// Returns the next envelopes after a place, in their order.
fn next_envelopes(envelopes: &mut impl Envelopes, after: Option<&EnvelopePlace>) -> Result<Vec<(EnvelopePurpose, Vec<u8>)>, VaultError> {
    let first = || EnvelopeName { purpose: String::new(), name: String::new(), version: 0 };
    let after = after.map_or_else(first, |EnvelopePlace(purpose)| purpose.into());
    envelopes.after(&after, REWRAPPED_AT_ONCE)?.into_iter().map(Envelope::parse).collect()
}

impl<E: Envelopes> Vault for StoredVault<E> {
    fn put_key(&self, key: &KeyRef, version: u32, value: &Secret) -> Result<(), VaultError> {
        self.put(&EnvelopePurpose::Key(key.clone(), version), value.reveal())
    }

    fn open_key(&self, key: &KeyRef, version: u32) -> Result<Option<Secret>, VaultError> {
        let purpose = EnvelopePurpose::Key(key.clone(), version);
        let sealed = self.envelopes().get(&(&purpose).into())?;
        sealed.map(|sealed| self.sealer.open(&purpose, &sealed)).transpose()
    }

    fn key_versions(&self) -> Result<Vec<(KeyRef, u32)>, VaultError> {
        let mut versions = Vec::new();
        for (purpose, _) in self.list_of("key")? {
            match purpose {
                EnvelopePurpose::Key(key, version) => versions.push((key, version)),
                EnvelopePurpose::Token(_) | EnvelopePurpose::Profile(_) | EnvelopePurpose::Sealed(..) => {}
            }
        }
        Ok(versions)
    }

    fn destroy_key(&self, key: &KeyRef, version: u32) -> Result<(), VaultError> {
        self.destroy_of(&EnvelopePurpose::Key(key.clone(), version))
    }

    fn put_token(&self, token: TokenId, hash: [u8; 32]) -> Result<(), VaultError> {
        self.put(&EnvelopePurpose::Token(token), &hash)
    }

    fn tokens(&self) -> Result<Vec<(TokenId, [u8; 32])>, VaultError> {
        let mut tokens = Vec::new();
        for (purpose, sealed) in self.list_of("token")? {
            match purpose {
                EnvelopePurpose::Token(token) => tokens.push((token, token_hash(&self.sealer, token, &sealed)?)),
                EnvelopePurpose::Key(..) | EnvelopePurpose::Profile(_) | EnvelopePurpose::Sealed(..) => {}
            }
        }
        Ok(tokens)
    }

    fn destroy_token(&self, token: TokenId) -> Result<(), VaultError> {
        self.destroy_of(&EnvelopePurpose::Token(token))
    }

    fn put_profile(&self, identity: IdentityId, profile: &Secret) -> Result<(), VaultError> {
        self.put(&EnvelopePurpose::Profile(identity), profile.reveal())
    }

    fn profiles(&self) -> Result<Vec<(IdentityId, Secret)>, VaultError> {
        let mut profiles = Vec::new();
        for (purpose, sealed) in self.list_of("profile")? {
            match purpose {
                EnvelopePurpose::Profile(identity) => profiles.push((identity, self.sealer.open(&purpose, &sealed)?)),
                EnvelopePurpose::Key(..) | EnvelopePurpose::Token(_) | EnvelopePurpose::Sealed(..) => {}
            }
        }
        Ok(profiles)
    }

    fn destroy_profile(&self, identity: IdentityId) -> Result<(), VaultError> {
        self.destroy_of(&EnvelopePurpose::Profile(identity))
    }

    fn put_all(&self, kind: SealedKind, values: &[(String, Secret)]) -> Result<(), VaultError> {
        let mut envelopes = self.envelopes();
        let seal = |(name, value): &(String, Secret)| {
            let purpose = EnvelopePurpose::Sealed(kind, name.clone());
            Ok(((&purpose).into(), self.sealer.seal(&purpose, value.reveal())?))
        };
        let sealed: Vec<(EnvelopeName, Vec<u8>)> = values.iter().map(seal).collect::<Result<_, VaultError>>()?;
        envelopes.put(&sealed)
    }

    fn list(&self, kind: SealedKind) -> Result<Vec<(String, Secret)>, VaultError> {
        let open = |(purpose, sealed): (EnvelopePurpose, Vec<u8>)| Ok((purpose.name(), self.sealer.open(&purpose, &sealed)?));
        self.list_of(kind.as_str())?.into_iter().map(open).collect()
    }

    fn destroy(&self, kind: SealedKind, name: &str) -> Result<(), VaultError> {
        self.destroy_of(&EnvelopePurpose::Sealed(kind, name.to_owned()))
    }
}

impl<E: Envelopes> SealedVault for StoredVault<E> {
    fn named_keys(&self) -> Result<Vec<MasterKeyId>, VaultError> {
        let heads = self.envelopes().heads()?;
        let mut ids: Vec<MasterKeyId> = heads.iter().filter_map(|head| named_key(head)).collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    fn check(&self) -> Result<(), VaultError> {
        let mut after = None;
        loop {
            let envelopes = next_envelopes(&mut *self.envelopes(), after.as_ref())?;
            for (purpose, sealed) in &envelopes {
                self.sealer.open(purpose, sealed)?;
            }
            let Some((last, _)) = envelopes.into_iter().next_back() else { return Ok(()) };
            after = Some(EnvelopePlace(last));
        }
    }

    fn rotation(&self) -> Option<Rotation> {
        self.sealer.rotation()
    }

    fn begin_rotation(&self, next: MasterKey) -> Rotation {
        let _held = self.envelopes();
        self.sealer.begin_rotation(next)
    }

    fn rewrap(&self, after: Option<&EnvelopePlace>) -> Result<Option<RotationStep>, VaultError> {
        let mut stored = self.envelopes();
        let envelopes = next_envelopes(&mut *stored, after)?;
        let mut rewrapped: Vec<(EnvelopeName, Vec<u8>)> = Vec::with_capacity(envelopes.len());
        for (purpose, sealed) in &envelopes {
            rewrapped.extend(self.sealer.rewrap(purpose, sealed)?.map(|sealed| (purpose.into(), sealed)));
        }
        if !rewrapped.is_empty() {
            stored.put(&rewrapped)?;
        }
        let rewrapped = rewrapped.len();
        Ok(envelopes.into_iter().next_back().map(|(last, _)| RotationStep { last: EnvelopePlace(last), rewrapped }))
    }

    fn end_rotation(&self) -> Result<(), VaultError> {
        self.envelopes().forget_replaced()?;
        self.sealer.end_rotation();
        Ok(())
    }
}
