//! The named secrets of a node: the log says which version is current, and the vault holds the value.
//!
//! A value is first sealed in the vault under the next version; the record makes it current. The value before
//! it stays in the vault until the overlap of a rotation ends. A version in the vault that nothing needs comes
//! from an interrupted change, and is destroyed at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use ensue_api::ports::{KeyWriter, NewValue, OnBehalf, PortError, RevealedKey, SetKey};
use ensue_engine::access::keys::state::KeyVersions;
use ensue_engine::access::state::Access;
use ensue_engine::command::{Answer, Ask, Command, KeyRotation, Refusal};
use ensue_engine::fact::{AccessFact, ByNoun, KeyFact};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{CommitReceipt, Secret, Submit, SubmitError, Vault, VaultError};
use ensue_engine::record::Record;
use ensue_engine::time::Timestamp;
use ensue_executor::ports::{KeyError, KeyUser};

use crate::clock::SteppedClock;
use crate::key_providers::ProvidedKey;
use crate::key_uses::KeyUses;
use crate::sequencer::Asking;

/// The current keys, and their values while they are in use.
pub struct KeyRing {
    vault: Arc<dyn Vault>,
    versions: RwLock<BTreeMap<KeyRef, KeyVersions>>,
    /// Opened values: deliveries are verified thousands of times a second.
    opened: RwLock<BTreeMap<(KeyRef, u32), Arc<Secret>>>,
    /// The keys whose values other stores have. Values of theirs in the vault are not used.
    provided: OnceLock<BTreeMap<KeyRef, Arc<ProvidedKey>>>,
    /// How many times a value was passed to an attempt.
    uses: AtomicU64,
    /// The uses that are not recorded yet.
    noted: KeyUses,
    clock: Arc<dyn SteppedClock>,
}

/// The values with which deliveries are verified at a time.
#[derive(Clone, Default)]
pub struct AcceptedValues {
    /// The current value; none if the key is not set.
    pub current: Option<Arc<Secret>>,
    /// The value before a rotation, while it overlaps.
    pub previous: Option<Arc<Secret>>,
}

/// The current value of a key.
struct CurrentValue {
    /// Its version; none if another store has the value.
    version: Option<u32>,
    secret: Arc<Secret>,
}

impl KeyRing {
    /// Starts from the state, and destroys the versions in the vault that are neither current nor the one before.
    /// Whether an overlap has ended is left to [`destroy_ended`](Self::destroy_ended): the clock may be wrong at a start.
    pub fn open_vault(vault: Arc<dyn Vault>, access: &Access, clock: Arc<dyn SteppedClock>) -> Result<Self, VaultError> {
        let mut versions: BTreeMap<KeyRef, KeyVersions> = access.keys().map(|(key, versions)| (key.clone(), *versions)).collect();
        let mut stored = BTreeSet::new();
        for (key, version) in vault.key_versions()? {
            let is_needed = |versions: &KeyVersions| {
                versions.current == Some(version) || versions.previous.is_some_and(|previous| previous.version == version)
            };
            if versions.get(&key).is_some_and(is_needed) {
                stored.insert((key, version));
            } else {
                vault.destroy_key(&key, version)?;
            }
        }
        // A value that was destroyed when its overlap ended stays destroyed, even if the clock was set back since.
        for (key, versions) in &mut versions {
            versions.previous = versions.previous.filter(|previous| stored.contains(&(key.clone(), previous.version)));
        }
        let (versions, uses) = (RwLock::new(versions), AtomicU64::new(0));
        Ok(Self { vault, versions, opened: RwLock::default(), provided: OnceLock::new(), uses, noted: KeyUses::default(), clock })
    }

    /// Takes the keys whose values other stores have, once.
    pub(crate) fn provide(&self, provided: BTreeMap<KeyRef, Arc<ProvidedKey>>) {
        let _ = self.provided.set(provided);
    }

    /// Returns true if the vault has a value of a key.
    pub(crate) fn is_set(&self, key: &KeyRef) -> bool {
        self.versions(key).current.is_some()
    }

    /// Returns a key's current value, or none if it is not set. Blocking if another store has it.
    pub fn open(&self, key: &KeyRef) -> Result<Option<Arc<Secret>>, VaultError> {
        Ok(self.open_current(key)?.map(|current| current.secret))
    }

    /// Returns a key's current value with its version.
    fn open_current(&self, key: &KeyRef) -> Result<Option<CurrentValue>, VaultError> {
        if let Some(provided) = self.provided.get().and_then(|provided| provided.get(key)) {
            return provided.open(Instant::now()).map(|secret| Some(CurrentValue { version: None, secret }));
        }
        let Some(version) = self.versions(key).current else { return Ok(None) };
        self.open_version(key, version).map(|secret| Some(CurrentValue { version: Some(version), secret }))
    }

    /// Returns the values of a key with which deliveries are verified at a time.
    pub fn accepted_values(&self, key: &KeyRef, now: Timestamp) -> Result<AcceptedValues, VaultError> {
        if self.provided.get().is_some_and(|provided| provided.contains_key(key)) {
            return Ok(AcceptedValues { current: self.open(key)?, previous: None });
        }
        let versions = self.versions(key);
        let Some(current) = versions.current else { return Ok(AcceptedValues::default()) };
        // The current value counts even if the one before it cannot be opened.
        let previous = versions.accepted_before(now).and_then(|version| {
            let opened = self.open_version(key, version);
            opened.inspect_err(|error| tracing::warn!(%key, version, %error, "the key's previous value is not accepted")).ok()
        });
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
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        // Kept only if the key was not changed meanwhile: nothing would remove it then.
        let versions = self.versions(key);
        if versions.current == Some(version) || versions.previous.is_some_and(|previous| previous.version == version) {
            opened.insert(name, secret.clone());
        }
        Ok(secret)
    }

    /// Returns how many times a value was passed to an attempt since the start.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Records the uses that are due; called about once a second.
    pub fn record_uses(&self, log: &dyn Submit) {
        self.noted.tick(log, self.clock.now());
    }

    /// Records the rest of the uses, before a stop.
    pub(crate) fn record_last_uses(&self, log: &dyn Submit) {
        self.noted.finish(log, self.clock.now());
    }

    /// Notes committed records that change a key.
    pub fn note(&self, records: &[Record]) {
        for record in records {
            match record.fact.by_noun() {
                ByNoun::AccessFact(AccessFact::KeySet(fact)) => self.change(&fact.key, KeyVersions::set(fact.version)),
                ByNoun::AccessFact(AccessFact::KeyRemoved(fact)) => self.change(&fact.key, self.versions(&fact.key).without_current()),
                ByNoun::KeyFact(KeyFact::KeyRotated(fact)) => {
                    self.change(&fact.key, self.versions(&fact.key).rotate_to(fact.version, fact.previous_until));
                }
                ByNoun::KeyFact(KeyFact::KeyExpirySet(fact)) => {
                    let versions = self.versions(&fact.key);
                    if versions.current == Some(fact.version) {
                        self.change(&fact.key, KeyVersions { expires_at: Some(fact.expires_at), ..versions });
                    }
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
    fn open(&self, key: &KeyRef, by: &KeyUser) -> Result<Option<Secret>, KeyError> {
        match self.open_current(key) {
            Ok(Some(CurrentValue { version, secret })) => {
                self.uses.fetch_add(1, Ordering::Relaxed);
                self.noted.note((key, version), by, self.clock.now());
                Ok(Some((*secret).clone()))
            }
            Ok(None) => Ok(None),
            Err(error @ VaultError::Unavailable { .. }) => Err(KeyError::Unavailable(error.to_string())),
            Err(error) => Err(KeyError::Unusable { key: key.clone(), why: error.to_string() }),
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
    pub clock: Arc<dyn SteppedClock>,
    /// Keys are set one at a time: the next version is the one after the newest that is stored.
    pub setting: Mutex<()>,
}

/// How the current value of a key is replaced.
struct Replacement {
    before: KeyVersions,
    ask: Ask,
    /// The version before it that is still accepted.
    kept: Option<u32>,
}

impl NodeKeys {
    /// Seals a value under the next version, and asks for the change that makes it current. Of the values before
    /// it, only the kept one stays. A value that no record needs is destroyed.
    fn replace(&self, key: &KeyRef, value: &Secret, by: &OnBehalf, replacement: Replacement) -> Result<SetKey, PortError> {
        let Replacement { before, ask, kept } = replacement;
        let version = before.newest + 1;
        self.ring.vault.put_key(key, version, value)?;
        let asked = self.submit(by, ask);
        let is_repeat = matches!(&asked, Ok(committed) if matches!(committed.answer, Answer::Before(_)));
        // If the outcome is unknown, the log may have the record.
        let is_refused = matches!(&asked, Err(error) if !matches!(error, SubmitError::Unknown));
        if (is_repeat || is_refused)
            && let Err(error) = self.ring.vault.destroy_key(key, version)
        {
            tracing::warn!(%key, version, %error, "a value that is not used stays in the vault until the next start");
        }
        let committed = asked?;
        if is_repeat {
            return Ok(SetKey { version: before.current.unwrap_or(before.newest), committed });
        }
        self.destroy_unneeded(key, before, kept);
        Ok(SetKey { version, committed })
    }

    fn ask(&self, by: &OnBehalf, ask: Ask) -> Result<CommitReceipt, PortError> {
        Ok(self.submit(by, ask)?)
    }

    fn submit(&self, by: &OnBehalf, ask: Ask) -> Result<CommitReceipt, SubmitError> {
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask })
    }

    /// Destroys the values of a key that nothing needs after a change. A failure is only logged: the key is
    /// changed, and an error would make callers doubt that.
    fn destroy_unneeded(&self, key: &KeyRef, before: KeyVersions, kept: Option<u32>) {
        let versions = [before.current, before.previous.map(|previous| previous.version)];
        for version in versions.into_iter().flatten().filter(|version| kept != Some(*version)) {
            if let Err(error) = self.ring.vault.destroy_key(key, version) {
                tracing::warn!(%key, version, %error, "the key's old value stays in the vault until the next start");
            }
        }
    }
}

impl KeyWriter for NodeKeys {
    fn set(&self, key: &KeyRef, new: NewValue, by: &OnBehalf) -> Result<SetKey, PortError> {
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.versions(key);
        let ask = Ask::SetKey { key: key.clone(), version: before.newest + 1, expires_at: new.expires_at };
        self.replace(key, &new.value, by, Replacement { before, ask, kept: None })
    }

    fn rotate(&self, key: &KeyRef, new: NewValue, overlap_millis: u64, by: &OnBehalf) -> Result<SetKey, PortError> {
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.versions(key);
        if before.current.is_none() {
            return Err(Refusal::NoKey(key.clone()).into());
        }
        let kept = if overlap_millis > 0 { before.current } else { None };
        let rotation = KeyRotation { key: key.clone(), version: before.newest + 1, overlap_millis, expires_at: new.expires_at };
        self.replace(key, &new.value, by, Replacement { before, ask: Ask::RotateKey(rotation), kept })
    }

    fn reveal(&self, key: &KeyRef, version: Option<u32>, by: &OnBehalf) -> Result<RevealedKey, PortError> {
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

    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let _one_at_a_time = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.versions(key);
        let committed = self.ask(by, Ask::RemoveKey { key: key.clone() })?;
        self.destroy_unneeded(key, before, None);
        Ok(committed)
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::access::facts::KeySet;
    use ensue_engine::access::keys::facts::{KeyExpirySet, KeyRotated};
    use ensue_engine::command::Answer;
    use ensue_engine::ids::{Id, IdentityId, LogId, TokenId};
    use ensue_engine::ports::{Reply, SealedKind, Submit};
    use ensue_engine::record::{Actor, Position, StreamId};
    use ensue_store::master_key::MasterKey;
    use ensue_store::memory::MemoryVault;
    use ensue_test_support::story::Story;

    use super::*;
    use crate::clock::SystemClock;

    /// A log that accepts everything.
    struct AcceptingLog;

    impl Submit for AcceptingLog {
        fn submit(&self, _: Command, reply: Reply) {
            reply(Ok(CommitReceipt { position: Position(1), answer: Answer::Done }));
        }
    }

    impl Asking for AcceptingLog {
        fn ask(&self, _: Command) -> Result<CommitReceipt, SubmitError> {
            Ok(CommitReceipt { position: Position(1), answer: Answer::Done })
        }
    }

    /// A vault whose disk deletes nothing.
    struct UndeletingVault(MemoryVault);

    impl Vault for UndeletingVault {
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

        fn put_all(&self, kind: SealedKind, values: &[(String, Secret)]) -> Result<(), VaultError> {
            self.0.put_all(kind, values)
        }

        fn list(&self, kind: SealedKind) -> Result<Vec<(String, Secret)>, VaultError> {
            self.0.list(kind)
        }

        fn destroy(&self, kind: SealedKind, name: &str) -> Result<(), VaultError> {
            self.0.destroy(kind, name)
        }
    }

    #[test]
    fn key_change_in_the_log_succeeds_even_if_the_vault_keeps_an_old_value() {
        let vault = UndeletingVault(MemoryVault::new(LogId(Id::root(Timestamp::default(), 1)), MasterKey::from_bytes([7; 32])));
        let ring = Arc::new(KeyRing::open_vault(Arc::new(vault), &Access::default(), Arc::new(SystemClock::default())).unwrap());
        let keys = NodeKeys { ring, sequencer: Arc::new(AcceptingLog), clock: Arc::new(SystemClock::default()), setting: Mutex::new(()) };
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

    #[test]
    fn expiry_of_a_version_that_is_not_current_changes_nothing() {
        let key: KeyRef = "demo.k".parse().unwrap();
        let vault = MemoryVault::new(LogId(Id::root(Timestamp::default(), 1)), MasterKey::from_bytes([7; 32]));
        let ring = KeyRing::open_vault(Arc::new(vault), &Access::default(), Arc::new(SystemClock::default())).unwrap();
        ring.change(&key, KeyVersions::set(2));
        let expires_at = Timestamp::from_micros(60_000_000);
        for (version, expiries) in [(1, vec![]), (3, vec![]), (2, vec![(key.clone(), expires_at)])] {
            let mut story = Story::new();
            let fact = KeyExpirySet { key: key.clone(), version, expires_at }.into();
            story.append_fact(StreamId::Key(key.clone()), None, Actor::Operator, None, fact, None);
            ring.note(story.records());
            assert_eq!(ring.expiries(), expiries, "version {version}");
        }
    }

    #[test]
    fn value_before_a_rotation_is_destroyed_when_its_overlap_ends_and_stays_destroyed() {
        let until = Timestamp::from_micros(60_000_000);
        let key: KeyRef = "demo.k".parse().unwrap();
        let mut access = Access::default();
        access.apply(AccessFact::KeySet(&KeySet { key: key.clone(), version: 1 }));
        access.apply_key(KeyFact::KeyRotated(&KeyRotated { key: key.clone(), version: 2, previous_until: Some(until) }));
        let vault = Arc::new(MemoryVault::new(LogId(Id::root(Timestamp::default(), 1)), MasterKey::from_bytes([7; 32])));
        for version in [1, 2] {
            vault.put_key(&key, version, &Secret::new(vec![u8::try_from(version).unwrap()])).unwrap();
        }
        let ring = KeyRing::open_vault(vault.clone(), &access, Arc::new(SystemClock::default())).unwrap();
        let before = Timestamp::from_micros(59_999_999);

        ring.destroy_ended(before);
        assert_eq!(ring.accepted_values(&key, before).unwrap().previous.unwrap().reveal(), [1]);

        ring.destroy_ended(until);
        assert_eq!(vault.key_versions().unwrap(), [(key.clone(), 2)]);

        // The clock was set back, and the node starts again.
        let ring = KeyRing::open_vault(vault, &access, Arc::new(SystemClock::default())).unwrap();
        let accepted = ring.accepted_values(&key, before).unwrap();
        assert_eq!(accepted.current.unwrap().reveal(), [2]);
        assert!(accepted.previous.is_none());
    }
}
