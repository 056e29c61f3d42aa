//! The named secrets of a node: the log says which version is current, and the vault holds the value.
//!
//! A value is first sealed in the vault under the next version; the record makes it current. A version in the
//! vault that the log does not know comes from an interrupted set, and is destroyed at the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ensue_api::ports::{Declined, KeyWriter, OnBehalf, SetKey};
use ensue_engine::access::state::Access;
use ensue_engine::command::{Ask, Command};
use ensue_engine::fact::{AccessFact, ByNoun};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Committed, Secret, Vault, VaultError};
use ensue_engine::record::Record;
use ensue_executor::ports::KeyError;

use crate::sequencer::Asking;

/// The current keys, and their values while they are in use.
pub struct KeyRing {
    vault: Arc<dyn Vault>,
    versions: RwLock<BTreeMap<KeyRef, Versions>>,
    /// Opened values: deliveries are verified thousands of times a second.
    opened: RwLock<BTreeMap<(KeyRef, u32), Arc<Secret>>>,
    /// How many times a value was passed to an attempt.
    uses: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Versions {
    current: Option<u32>,
    newest: u32,
}

impl KeyRing {
    /// Starts from the state, and destroys the orphans of the vault.
    pub fn open_vault(vault: Arc<dyn Vault>, access: &Access) -> Result<Self, VaultError> {
        let versions: BTreeMap<KeyRef, Versions> =
            access.keys().map(|(key, versions)| (key.clone(), Versions { current: versions.current, newest: versions.newest })).collect();
        for (key, version) in vault.key_versions()? {
            let is_current = versions.get(&key).is_some_and(|versions| versions.current == Some(version));
            if !is_current {
                vault.destroy_key(&key, version)?;
            }
        }
        Ok(Self { vault, versions: RwLock::new(versions), opened: RwLock::default(), uses: AtomicU64::new(0) })
    }

    /// Returns a key's current value, or none if it is not set.
    pub fn open(&self, key: &KeyRef) -> Result<Option<Arc<Secret>>, VaultError> {
        let Some(version) = self.versions(key).current else { return Ok(None) };
        let name = (key.clone(), version);
        if let Some(secret) = self.opened.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(Some(secret.clone()));
        }
        let Some(secret) = self.vault.open_key(key, version)? else {
            return Err(VaultError::Integrity(key.to_string()));
        };
        let secret = Arc::new(secret);
        self.opened.write().unwrap_or_else(PoisonError::into_inner).insert(name, secret.clone());
        Ok(Some(secret))
    }

    /// Returns how many times a value was passed to an attempt since the start.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Notes committed records that set or remove a key.
    pub fn note(&self, records: &[Record]) {
        for record in records {
            let ByNoun::AccessFact(fact) = record.fact.by_noun() else { continue };
            match fact {
                AccessFact::KeySet(fact) => self.change(&fact.key, Versions { current: Some(fact.version), newest: fact.version }),
                AccessFact::KeyRemoved(fact) => self.change(&fact.key, Versions { current: None, ..self.versions(&fact.key) }),
                _ => {}
            }
        }
    }

    fn change(&self, key: &KeyRef, versions: Versions) {
        self.versions.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), versions);
        self.opened.write().unwrap_or_else(PoisonError::into_inner).retain(|(opened, _), _| opened != key);
    }

    fn versions(&self, key: &KeyRef) -> Versions {
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

/// Sets and removes keys.
pub struct NodeKeys {
    /// The keys.
    pub ring: Arc<KeyRing>,
    /// The access to the sequencer.
    pub sequencer: Arc<dyn Asking>,
    /// Keys are set one at a time: the next version is the one after the newest that is stored.
    pub setting: Mutex<()>,
}

impl KeyWriter for NodeKeys {
    fn set(&self, key: &KeyRef, value: Secret, by: &OnBehalf) -> Result<SetKey, Declined> {
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.versions(key);
        let version = before.newest + 1;
        self.ring.vault.put_key(key, version, &value)?;
        let command = Command { actor: by.actor.clone(), trace: by.trace.clone(), ask: Ask::SetKey { key: key.clone(), version } };
        let committed = self.sequencer.ask(command)?;
        if let Some(old) = before.current
            && let Err(error) = self.ring.vault.destroy_key(key, old)
        {
            tracing::warn!(%key, %error, "the key's old value stays in the vault until the next start");
        }
        Ok(SetKey { version, committed })
    }

    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<Committed, Declined> {
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.versions(key);
        let command = Command { actor: by.actor.clone(), trace: by.trace.clone(), ask: Ask::RemoveKey { key: key.clone() } };
        let committed = self.sequencer.ask(command)?;
        if let Some(old) = before.current
            && let Err(error) = self.ring.vault.destroy_key(key, old)
        {
            // The key is removed: a failure reported here would make callers doubt that.
            tracing::warn!(%key, %error, "the removed key's value stays in the vault until the next start");
        }
        Ok(committed)
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::command::Answer;
    use ensue_engine::ids::{Id, IdentityId, LogId, TokenId};
    use ensue_engine::ports::{Reply, Submit, SubmitError};
    use ensue_engine::record::{Actor, Position};
    use ensue_engine::time::Timestamp;
    use ensue_store::master_key::MasterKey;
    use ensue_store::memory::MemoryVault;

    use super::*;

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
        let ring = Arc::new(KeyRing::open_vault(Arc::new(vault), &Access::default()).unwrap());
        let keys = NodeKeys { ring, sequencer: Arc::new(Taken), setting: Mutex::new(()) };
        let key: KeyRef = "demo.k".parse().unwrap();
        let by = OnBehalf { actor: Actor::Operator, trace: None, request: None };
        for version in [1, 2] {
            assert_eq!(keys.set(&key, Secret::new(b"secret".to_vec()), &by).unwrap().version, version);
            keys.ring.change(&key, Versions { current: Some(version), newest: version });
        }
        assert_eq!(keys.remove(&key, &by).unwrap().position, Position(1));
    }
}
