//! The state of keys: the versions of each, and the expiries that are not reported yet.

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::access::keys::{MasterKeyId, warned_at};
use crate::fact::KeyFact;
use crate::names::KeyRef;
use crate::table::{Table, undone_together};
use crate::time::Timestamp;

/// The keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Keys {
    versions: Table<KeyRef, KeyVersions>,
    /// The current versions whose expiry is not reported yet, by the time at which it is.
    warnings: Table<(Timestamp, KeyRef), ()>,
    /// The master key after the last rotation, under the only key 0.
    master: Table<u8, MasterKeyId>,
}

undone_together!(pub(crate) Keys { versions, warnings, master });

/// The versions of a key.
#[sparse(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersions {
    /// The current version; `None` if the key was removed.
    pub current: Option<u32>,
    /// The highest version so far. A version number is never reused.
    pub newest: u32,
    /// The version before the current one, if it is still accepted for a while.
    pub previous: Option<PreviousVersion>,
    /// When the current version expires.
    pub expires_at: Option<Timestamp>,
}

/// A version that was replaced, and with which deliveries are still verified for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousVersion {
    /// The version.
    pub version: u32,
    /// Until when it is accepted.
    pub until: Timestamp,
}

impl KeyVersions {
    /// Returns the versions after a new one was set: nothing of the one before it is accepted.
    pub fn set(version: u32) -> Self {
        Self { current: Some(version), newest: version, previous: None, expires_at: None }
    }

    /// Returns the versions after a rotation to a new one.
    #[must_use]
    pub fn rotate_to(self, version: u32, previous_until: Option<Timestamp>) -> Self {
        let previous = self.current.zip(previous_until).map(|(version, until)| PreviousVersion { version, until });
        Self { previous, ..Self::set(version) }
    }

    /// Returns the versions after the key was removed.
    #[must_use]
    pub fn without_current(self) -> Self {
        Self { newest: self.newest, ..Self::default() }
    }

    /// Returns the version before the current one, if it is accepted at this time.
    pub fn accepted_before(&self, now: Timestamp) -> Option<u32> {
        self.previous.filter(|previous| now < previous.until).map(|previous| previous.version)
    }

    /// Returns true if the vault must keep the value of a version at this time.
    pub fn needs(&self, version: u32, now: Timestamp) -> bool {
        self.current == Some(version) || self.accepted_before(now) == Some(version)
    }
}

impl Keys {
    /// Returns the versions of a key.
    pub fn get(&self, key: &KeyRef) -> Option<KeyVersions> {
        self.versions.get(key).copied()
    }

    /// Returns all keys that ever existed, with their versions.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyRef, &KeyVersions)> {
        self.versions.iter()
    }

    /// Returns when the next expiry is reported, or `None` if none is.
    pub fn next_warning(&self) -> Option<Timestamp> {
        self.warnings.first().map(|((at, _), ())| *at)
    }

    /// Returns the keys whose expiry is to be reported by now, at most `most` of them, each with its current
    /// version and the expiry.
    pub fn expiring(&self, now: Timestamp, most: usize) -> impl Iterator<Item = (&KeyRef, u32, Timestamp)> {
        let due = self.warnings.iter().take(most).take_while(move |((at, _), ())| *at <= now);
        due.filter_map(|((_, key), ())| {
            let versions = self.versions.get(key)?;
            Some((key, versions.current?, versions.expires_at?))
        })
    }

    /// Returns the master key after the last rotation; `None` if it was never rotated.
    pub fn master(&self) -> Option<MasterKeyId> {
        self.master.get(&0).copied()
    }

    pub(crate) fn set(&mut self, key: &KeyRef, version: u32) {
        self.replace(key, KeyVersions::set(version));
    }

    pub(crate) fn remove(&mut self, key: &KeyRef) {
        if let Some(versions) = self.get(key) {
            self.replace(key, versions.without_current());
        }
    }

    pub(crate) fn apply(&mut self, fact: KeyFact<'_>) {
        match fact {
            KeyFact::KeyRotated(fact) => {
                let before = self.get(&fact.key).unwrap_or_default();
                self.replace(&fact.key, before.rotate_to(fact.version, fact.previous_until));
            }
            KeyFact::KeyExpirySet(fact) => {
                let Some(versions) = self.get(&fact.key).filter(|versions| versions.current == Some(fact.version)) else { return };
                self.replace(&fact.key, KeyVersions { expires_at: Some(fact.expires_at), ..versions });
                self.warnings.insert((warned_at(fact.expires_at), fact.key.clone()), ());
            }
            KeyFact::KeyExpiring(fact) => self.warnings.remove(&(warned_at(fact.expires_at), fact.key.clone())),
            KeyFact::KeyRevealed(_) => {}
            KeyFact::MasterKeyRotated(fact) => self.master.insert(0, fact.to),
        }
    }

    /// Replaces the versions of a key. Its expiry is then no longer reported.
    fn replace(&mut self, key: &KeyRef, versions: KeyVersions) {
        if let Some(expires_at) = self.get(key).and_then(|before| before.expires_at) {
            self.warnings.remove(&(warned_at(expires_at), key.clone()));
        }
        self.versions.insert(key.clone(), versions);
    }
}
