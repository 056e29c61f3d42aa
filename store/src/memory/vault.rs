//! A vault in memory: the same envelopes, in a map.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::ids::{IdentityId, LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};

use crate::master_key::{MasterKey, MasterKeys};
use crate::vault::{EnvelopePlace, EnvelopePurpose, REWRAPPED_AT_ONCE, Rotation, RotationStep, SealedVault, Sealer, named_key, token_hash};

/// A vault in memory.
pub struct MemoryVault {
    sealer: Sealer,
    envelopes: Mutex<BTreeMap<EnvelopePurpose, Vec<u8>>>,
}

impl MemoryVault {
    /// Creates an empty vault of a log.
    pub fn new(log: LogId, masters: impl Into<MasterKeys>) -> Self {
        Self { sealer: Sealer::new(masters, log), envelopes: Mutex::default() }
    }

    fn envelopes(&self) -> MutexGuard<'_, BTreeMap<EnvelopePurpose, Vec<u8>>> {
        self.envelopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault for MemoryVault {
    fn put_key(&self, key: &KeyRef, version: u32, value: &Secret) -> Result<(), VaultError> {
        let purpose = EnvelopePurpose::Key(key.clone(), version);
        let mut envelopes = self.envelopes();
        let envelope = self.sealer.seal(&purpose, value.reveal())?;
        envelopes.insert(purpose, envelope);
        Ok(())
    }

    fn open_key(&self, key: &KeyRef, version: u32) -> Result<Option<Secret>, VaultError> {
        let purpose = EnvelopePurpose::Key(key.clone(), version);
        self.envelopes().get(&purpose).map(|envelope| self.sealer.open(&purpose, envelope)).transpose()
    }

    fn key_versions(&self) -> Result<Vec<(KeyRef, u32)>, VaultError> {
        let versions = |purpose: &EnvelopePurpose| match purpose {
            EnvelopePurpose::Key(key, version) => Some((key.clone(), *version)),
            EnvelopePurpose::Token(_) | EnvelopePurpose::Profile(_) | EnvelopePurpose::Sealed(..) => None,
        };
        Ok(self.envelopes().keys().filter_map(versions).collect())
    }

    fn destroy_key(&self, key: &KeyRef, version: u32) -> Result<(), VaultError> {
        self.envelopes().remove(&EnvelopePurpose::Key(key.clone(), version));
        Ok(())
    }

    fn put_token(&self, token: TokenId, hash: [u8; 32]) -> Result<(), VaultError> {
        let purpose = EnvelopePurpose::Token(token);
        let mut envelopes = self.envelopes();
        let envelope = self.sealer.seal(&purpose, &hash)?;
        envelopes.insert(purpose, envelope);
        Ok(())
    }

    fn tokens(&self) -> Result<Vec<(TokenId, [u8; 32])>, VaultError> {
        let mut tokens = Vec::new();
        for (purpose, envelope) in self.envelopes().iter() {
            match purpose {
                EnvelopePurpose::Token(token) => tokens.push((*token, token_hash(&self.sealer, *token, envelope)?)),
                EnvelopePurpose::Key(..) | EnvelopePurpose::Profile(_) | EnvelopePurpose::Sealed(..) => {}
            }
        }
        Ok(tokens)
    }

    fn destroy_token(&self, token: TokenId) -> Result<(), VaultError> {
        self.envelopes().remove(&EnvelopePurpose::Token(token));
        Ok(())
    }

    fn put_profile(&self, identity: IdentityId, profile: &Secret) -> Result<(), VaultError> {
        let purpose = EnvelopePurpose::Profile(identity);
        let mut envelopes = self.envelopes();
        let envelope = self.sealer.seal(&purpose, profile.reveal())?;
        envelopes.insert(purpose, envelope);
        Ok(())
    }

    fn profiles(&self) -> Result<Vec<(IdentityId, Secret)>, VaultError> {
        let mut profiles = Vec::new();
        for (purpose, envelope) in self.envelopes().iter() {
            match purpose {
                EnvelopePurpose::Profile(identity) => profiles.push((*identity, self.sealer.open(purpose, envelope)?)),
                EnvelopePurpose::Key(..) | EnvelopePurpose::Token(_) | EnvelopePurpose::Sealed(..) => {}
            }
        }
        Ok(profiles)
    }

    fn destroy_profile(&self, identity: IdentityId) -> Result<(), VaultError> {
        self.envelopes().remove(&EnvelopePurpose::Profile(identity));
        Ok(())
    }

    fn put_all(&self, kind: SealedKind, values: &[(String, Secret)]) -> Result<(), VaultError> {
        let seal = |(name, value): &(String, Secret)| {
            let purpose = EnvelopePurpose::Sealed(kind, name.clone());
            self.sealer.seal(&purpose, value.reveal()).map(|sealed| (purpose, sealed))
        };
        let sealed = values.iter().map(seal).collect::<Result<Vec<_>, _>>()?;
        self.envelopes().extend(sealed);
        Ok(())
    }

    fn list(&self, kind: SealedKind) -> Result<Vec<(String, Secret)>, VaultError> {
        let envelopes = self.envelopes();
        let of_kind = envelopes.iter().filter(|(purpose, _)| matches!(purpose, EnvelopePurpose::Sealed(of, _) if *of == kind));
        of_kind.map(|(purpose, envelope)| Ok((purpose.name(), self.sealer.open(purpose, envelope)?))).collect()
    }

    fn destroy(&self, kind: SealedKind, name: &str) -> Result<(), VaultError> {
        self.envelopes().remove(&EnvelopePurpose::Sealed(kind, name.to_owned()));
        Ok(())
    }
}

impl SealedVault for MemoryVault {
    fn named_keys(&self) -> Result<Vec<MasterKeyId>, VaultError> {
        let named: BTreeSet<MasterKeyId> = self.envelopes().values().filter_map(|envelope| named_key(envelope)).collect();
        Ok(named.into_iter().collect())
    }

    fn check(&self) -> Result<(), VaultError> {
        self.envelopes().iter().try_for_each(|(purpose, envelope)| self.sealer.open(purpose, envelope).map(drop))
    }

    fn rotation(&self) -> Option<Rotation> {
        self.sealer.rotation()
    }

    fn begin_rotation(&self, next: MasterKey) -> Rotation {
        let _held = self.envelopes();
        self.sealer.begin_rotation(next)
    }

    fn rewrap(&self, after: Option<&EnvelopePlace>) -> Result<Option<RotationStep>, VaultError> {
        let mut envelopes = self.envelopes();
        let from = after.map_or(Bound::Unbounded, |EnvelopePlace(purpose)| Bound::Excluded(purpose));
        let (mut last, mut rewrapped) = (None, 0);
        for (purpose, envelope) in envelopes.range_mut::<EnvelopePurpose, _>((from, Bound::Unbounded)).take(REWRAPPED_AT_ONCE) {
            if let Some(sealed) = self.sealer.rewrap(purpose, envelope)? {
                *envelope = sealed;
                rewrapped += 1;
            }
            last = Some(EnvelopePlace(purpose.clone()));
        }
        Ok(last.map(|last| RotationStep { last, rewrapped }))
    }

    fn end_rotation(&self) -> Result<(), VaultError> {
        self.sealer.end_rotation();
        Ok(())
    }
}
