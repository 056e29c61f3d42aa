//! The named secrets of a node: the log says which version is current, and the vault holds the value.
//!
//! A value is first sealed in the vault under the next version; the record makes it current. The value before
//! it stays in the vault until the overlap of a rotation ends. A version in the vault that nothing needs comes
//! from an interrupted change, and is destroyed at the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ensue_api::ports::{Declined, KeyWriter, NewValue, OnBehalf, RevealedKey, SetKey};
use ensue_engine::access::keys::state::KeyVersions;
use ensue_engine::access::state::Access;
use ensue_engine::command::{Answer, Ask, Command, KeyRotation, Refusal};
use ensue_engine::fact::{AccessFact, ByNoun, KeyFact};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Committed, Secret, Vault, VaultError};
use ensue_engine::record::Record;
use ensue_engine::time::Timestamp;
use ensue_executor::ports::KeyError;

use crate::clock::Clock;
use crate::sequencer::Asking;

/// The current keys, and their values while they are in use.
pub struct KeyRing {
    vault: Arc<dyn Vault>,
    versions: RwLock<BTreeMap<KeyRef, KeyVersions>>,
    /// Opened values: deliveries are verified thousands of times a second.
    opened: RwLock<BTreeMap<(KeyRef, u32), Arc<Secret>>>,
    /// How many times a value was passed to an attempt.
    uses: AtomicU64,
}

/// The values with which deliveries are verified at a time.
#[derive(Clone, Default)]
pub struct AcceptedValues {
    /// The current value; none if the key is not set.
    pub current: Option<Arc<Secret>>,
    /// The value before a rotation, while it overlaps.
    pub previous: Option<Arc<Secret>>,
}

impl KeyRing {
    /// Starts from the state, and destroys the versions in the vault that nothing needs at this time.
    pub fn open_vault(vault: Arc<dyn Vault>, access: &Access, now: Timestamp) -> Result<Self, VaultError> {
        let versions: BTreeMap<KeyRef, KeyVersions> = access.keys().map(|(key, versions)| (key.clone(), *versions)).collect();
        for (key, version) in vault.key_versions()? {
            if !versions.get(&key).is_some_and(|versions| versions.needs(version, now)) {
                vault.destroy_key(&key, version)?;
            }
        }
        Ok(Self { vault, versions: RwLock::new(versions), opened: RwLock::default(), uses: AtomicU64::new(0) })
    }

    /// Returns a key's current value, or none if it is not set.
    pub fn open(&self, key: &KeyRef) -> Result<Option<Arc<Secret>>, VaultError> {
        let Some(version) = self.versions(key).current else { return Ok(None) };
        self.open_version(key, version).map(Some)
    }

    /// Returns the values of a key with which deliveries are verified at a time.
    pub fn accepted(&self, key: &KeyRef, now: Timestamp) -> Result<AcceptedValues, VaultError> {
        let versions = self.versions(key);
        let Some(current) = versions.current else { return Ok(AcceptedValues::default()) };
        let previous = versions.accepted_before(now).map(|version| self.open_version(key, version)).transpose()?;
        Ok(AcceptedValues { current: Some(self.open_version(key, current)?), previous })
    }

    /// Destroys the values whose overlap has ended.
    pub fn destroy_ended(&self, now: Timestamp) {
        let has_ended = |versions: &KeyVersions| versions.previous.filter(|previous| previous.until <= now);
        let ended: Vec<(KeyRef, u32)> = {
            let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
            versions.iter().filter_map(|(key, versions)| Some((key.clone(), has_ended(versions)?.version))).collect()
        };
        for (key, version) in ended {
            if let Err(error) = self.vault.destroy_key(&key, version) {
                tracing::warn!(%key, %error, "the key's previous value stays in the vault for another minute");
                continue;
            }
            let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(versions) = versions.get_mut(&key).filter(|versions| versions.previous.is_some_and(|of| of.version == version)) {
                versions.previous = None;
            }
            self.opened.write().unwrap_or_else(PoisonError::into_inner).remove(&(key, version));
        }
    }

    /// Returns the keys that are set and expire, each with its expiry.
    pub(crate) fn expiries(&self) -> Vec<(KeyRef, Timestamp)> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.iter().filter_map(|(key, versions)| Some((key.clone(), versions.expires_at?))).collect()
    }

    fn open_version(&self, key: &KeyRef, version: u32) -> Result<Arc<Secret>, VaultError> {
        let name = (key.clone(), version);
        if let Some(secret) = self.opened.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(secret.clone());
        }
        let Some(secret) = self.vault.open_key(key, version)? else {
            return Err(VaultError::Integrity(key.to_string()));
        };
        let secret = Arc::new(secret);
        self.opened.write().unwrap_or_else(PoisonError::into_inner).insert(name, secret.clone());
        Ok(secret)
    }

    /// Returns how many times a value was passed to an attempt since the start.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Notes committed records that change a key.
    pub fn note(&self, records: &[Record]) {
        for record in records {
            match record.fact.by_noun() {
                ByNoun::AccessFact(AccessFact::KeySet(fact)) => self.change(&fact.key, KeyVersions::set(fact.version)),
                ByNoun::AccessFact(AccessFact::KeyRemoved(fact)) => self.change(&fact.key, self.versions(&fact.key).removed()),
                ByNoun::KeyFact(KeyFact::KeyRotated(fact)) => {
                    self.change(&fact.key, self.versions(&fact.key).rotated(fact.version, fact.previous_until));
                }
                ByNoun::KeyFact(KeyFact::KeyExpirySet(fact)) => {
                    self.change(&fact.key, KeyVersions { expires_at: Some(fact.expires_at), ..self.versions(&fact.key) });
                }
                _ => {}
            }
        }
    }

    fn change(&self, key: &KeyRef, versions: KeyVersions) {
        self.versions.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), versions);
        self.opened.write().unwrap_or_else(PoisonError::into_inner).retain(|(opened, _), _| opened != key);
    }

    fn versions(&self, key: &KeyRef) -> KeyVersions {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or_default()
    }
}

impl ensue_executor::ports::Keys for KeyRing {
    fn open(&self, key: &KeyRef) -> Result<Option<Secret>, KeyError> {
        match self.open(key) {
            Ok(secret) => {
                self.uses.fetch_add(u64::from(secret.is_some()), Ordering::Relaxed);
                Ok(secret.map(|secret| (*secret).clone()))
            }
            Err(error) => Err(KeyError { key: key.clone(), why: error.to_string() }),
        }
    }
}

/// Sets, rotates, reveals and removes keys.
pub struct NodeKeys {
    /// The keys.
    pub ring: Arc<KeyRing>,
    /// The access to the sequencer.
    pub sequencer: Arc<dyn Asking>,
    /// The clock that ends overlaps.
    pub clock: Arc<dyn Clock>,
    /// Keys are set one at a time: the next version is the one after the newest that is stored.
    pub setting: Mutex<()>,
}

impl NodeKeys {
    fn ask(&self, by: &OnBehalf, ask: Ask) -> Result<Committed, Declined> {
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        Ok(self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask })?)
    }

    /// Destroys the values of a key that nothing needs after a change. A failure is only logged: the key is
    /// changed, and an error would make callers doubt that.
    fn destroy_unneeded(&self, key: &KeyRef, before: KeyVersions, kept: &[Option<u32>]) {
        let versions = [before.current, before.previous.map(|previous| previous.version)];
        for version in versions.into_iter().flatten().filter(|version| !kept.contains(&Some(*version))) {
            if let Err(error) = self.ring.vault.destroy_key(key, version) {
                tracing::warn!(%key, version, %error, "the key's old value stays in the vault until the next start");
            }
        }
    }
}

impl KeyWriter for NodeKeys {
    fn set(&self, key: &KeyRef, new: NewValue, by: &OnBehalf) -> Result<SetKey, Declined> {
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.versions(key);
        let version = before.newest + 1;
        self.ring.vault.put_key(key, version, &new.value)?;
        let committed = self.ask(by, Ask::SetKey { key: key.clone(), version, expires_at: new.expires_at })?;
        self.destroy_unneeded(key, before, &[]);
        Ok(SetKey { version, committed })
    }

    fn rotate(&self, key: &KeyRef, new: NewValue, overlap_millis: u64, by: &OnBehalf) -> Result<SetKey, Declined> {
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.versions(key);
        if before.current.is_none() {
            return Err(Refusal::NoKey(key.clone()).into());
        }
        let version = before.newest + 1;
        self.ring.vault.put_key(key, version, &new.value)?;
        let rotation = KeyRotation { key: key.clone(), version, overlap_millis, expires_at: new.expires_at };
        let committed = self.ask(by, Ask::RotateKey(rotation))?;
        if let Answer::Before(_) = committed.answer {
            // An earlier request with the same idempotency key has rotated it: this value is not used.
            self.ring.vault.destroy_key(key, version)?;
            return Ok(SetKey { version: before.current.unwrap_or(before.newest), committed });
        }
        let kept = if overlap_millis > 0 { before.current } else { None };
        self.destroy_unneeded(key, before, &[kept]);
        Ok(SetKey { version, committed })
    }

    fn reveal(&self, key: &KeyRef, version: Option<u32>, by: &OnBehalf) -> Result<RevealedKey, Declined> {
        // Nobody replaces the value between the record and the answer.
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = self.ring.versions(key);
        let version = version.or(versions.current).ok_or_else(|| Refusal::NoKey(key.clone()))?;
        if !versions.needs(version, self.clock.now()) {
            return Err(Refusal::NoKeyVersion { key: key.clone(), version }.into());
        }
        // Opened first, so that the log does not say that a value was shown that cannot be opened.
        let value = self.ring.open_version(key, version)?;
        let committed = self.ask(by, Ask::RevealKey { key: key.clone(), version })?;
        Ok(RevealedKey { version, value, committed })
    }

    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<Committed, Declined> {
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.versions(key);
        let committed = self.ask(by, Ask::RemoveKey { key: key.clone() })?;
        self.destroy_unneeded(key, before, &[]);
        Ok(committed)
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::command::Answer;
    use ensue_engine::ids::{Id, IdentityId, LogId, TokenId};
    use ensue_engine::ports::{Reply, Submit, SubmitError};
    use ensue_engine::record::{Actor, Position};
    use ensue_store::master_key::MasterKey;
    use ensue_store::memory::MemoryVault;

    use super::*;
    use crate::clock::SystemClock;

    /// A log that accepts everything.
    struct Taken;

    impl Submit for Taken {
        fn submit(&self, _: Command, reply: Reply) {
            reply(Ok(Committed { position: Position(1), answer: Answer::Done }));
        }
    }

    impl Asking for Taken {
        fn ask(&self, _: Command) -> Result<Committed, SubmitError> {
            Ok(Committed { position: Position(1), answer: Answer::Done })
        }
    }

    /// A vault whose disk deletes nothing.
    struct Stuck(MemoryVault);

    impl Vault for Stuck {
        fn put_key(&self, key: &KeyRef, version: u32, value: &Secret) -> Result<(), VaultError> {
            self.0.put_key(key, version, value)
        }

        fn open_key(&self, key: &KeyRef, version: u32) -> Result<Option<Secret>, VaultError> {
            self.0.open_key(key, version)
        }

        fn key_versions(&self) -> Result<Vec<(KeyRef, u32)>, VaultError> {
            self.0.key_versions()
        }

        fn destroy_key(&self, _: &KeyRef, _: u32) -> Result<(), VaultError> {
            Err(VaultError::Store("the disk is full".to_owned()))
        }

        fn put_token(&self, token: TokenId, hash: [u8; 32]) -> Result<(), VaultError> {
            self.0.put_token(token, hash)
        }

        fn tokens(&self) -> Result<Vec<(TokenId, [u8; 32])>, VaultError> {
            self.0.tokens()
        }

        fn destroy_token(&self, token: TokenId) -> Result<(), VaultError> {
            self.0.destroy_token(token)
        }

        fn put_profile(&self, identity: IdentityId, profile: &Secret) -> Result<(), VaultError> {
            self.0.put_profile(identity, profile)
        }

        fn profiles(&self) -> Result<Vec<(IdentityId, Secret)>, VaultError> {
            self.0.profiles()
        }

        fn destroy_profile(&self, identity: IdentityId) -> Result<(), VaultError> {
            self.0.destroy_profile(identity)
        }
    }

    #[test]
    fn key_change_in_the_log_succeeds_even_if_the_vault_keeps_an_old_value() {
        let vault = Stuck(MemoryVault::new(LogId(Id::root(Timestamp::default(), 1)), MasterKey::from_bytes([7; 32])));
        let ring = Arc::new(KeyRing::open_vault(Arc::new(vault), &Access::default(), Timestamp::default()).unwrap());
        let keys = NodeKeys { ring, sequencer: Arc::new(Taken), clock: Arc::new(SystemClock::default()), setting: Mutex::new(()) };
        let key: KeyRef = "demo.k".parse().unwrap();
        let by = OnBehalf { actor: Actor::Operator, trace: None, request: None };
        for version in [1, 2] {
            assert_eq!(
                keys.set(&key, NewValue { value: Secret::new(b"secret".to_vec()), expires_at: None }, &by).unwrap().version,
                version
            );
            keys.ring.change(&key, KeyVersions::set(version));
        }
        assert_eq!(keys.remove(&key, &by).unwrap().position, Position(1));
    }
}
