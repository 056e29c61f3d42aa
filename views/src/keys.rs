//! Keys: which are set, since when and by whom, with their last versions. Their values are only in the vault.

use ensue_derive::sparse;
use ensue_engine::fact::{AccessFact, ByNoun, KeyFact};
use ensue_engine::names::KeyRef;
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 2;

/// The columns by which keys can be filtered: none.
pub const COLUMNS: &[Column] = &[];

/// The maximum number of versions that are shown of a key; older ones are only in the log.
pub const VERSIONS_SHOWN_MAX: usize = 20;

/// The maximum size of a shown actor, in bytes.
const ACTOR_BYTES_MAX: usize = 1024;

/// A key that is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its ref.
    #[serde(rename = "ref")]
    pub name: KeyRef,
    /// The position of the record that changed it last.
    pub position: Position,
    /// The current version.
    pub current: KeyVersion,
    /// The versions before the current one, the newest first, at most [`VERSIONS_SHOWN_MAX`] with it.
    pub replaced: Vec<KeyVersion>,
}

/// A version of a key's value.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyVersion {
    /// The version.
    pub version: u32,
    /// The position of the record that set it.
    pub position: Position,
    /// When it was set.
    pub set_at: Timestamp,
    /// The actor that set it, in the log's notation.
    pub set_by: String,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Until when deliveries that were signed with it are accepted, if it was replaced.
    pub accepted_until: Option<Timestamp>,
}

impl View for Key {
    const NAME: ViewName = ViewName::Keys;
    type Key = KeyRef;

    fn key(record: &Record) -> Option<Touch<KeyRef>> {
        let key = match record.fact.by_noun() {
            ByNoun::AccessFact(AccessFact::KeySet(fact)) => &fact.key,
            ByNoun::AccessFact(AccessFact::KeyRemoved(fact)) => &fact.key,
            ByNoun::KeyFact(KeyFact::KeyRotated(fact)) => &fact.key,
            ByNoun::KeyFact(KeyFact::KeyExpirySet(fact)) => &fact.key,
            _ => return None,
        };
        Some(Touch::Changes(key.clone()))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        match record.fact.by_noun() {
            ByNoun::AccessFact(AccessFact::KeySet(fact)) => Some(Self::with_version(before, record, &fact.key, (fact.version, None))),
            ByNoun::AccessFact(AccessFact::KeyRemoved(_)) => None,
            ByNoun::KeyFact(KeyFact::KeyRotated(fact)) => {
                Some(Self::with_version(before, record, &fact.key, (fact.version, fact.previous_until)))
            }
            ByNoun::KeyFact(KeyFact::KeyExpirySet(fact)) => before.map(|mut key| {
                if key.current.version == fact.version {
                    key.current.expires_at = Some(fact.expires_at);
                    key.position = record.position;
                }
                key
            }),
            _ => before,
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.current.set_at
    }
}

impl Key {
    /// Returns the key with a new current version. The version before it is accepted until a time, and the
    /// others no longer are.
    fn with_version(before: Option<Self>, record: &Record, key: &KeyRef, (version, until): (u32, Option<Timestamp>)) -> Self {
        let mut replaced: Vec<KeyVersion> = before.into_iter().flat_map(|key| [key.current].into_iter().chain(key.replaced)).collect();
        replaced.truncate(VERSIONS_SHOWN_MAX - 1);
        replaced.iter_mut().for_each(|version| version.accepted_until = None);
        if let Some(last) = replaced.first_mut() {
            last.accepted_until = until;
        }
        let (position, set_by) = (record.position, cut(&record.actor.to_string(), ACTOR_BYTES_MAX));
        let current = KeyVersion { version, position, set_at: record.time, set_by, expires_at: None, accepted_until: None };
        Self { name: key.clone(), position, current, replaced }
    }
}
