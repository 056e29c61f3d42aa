//! Keys: which are set, since when and by whom. Their values are only in the vault.

use ensue_engine::fact::{AccessFact, ByNoun};
use ensue_engine::names::KeyRef;
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// The columns by which keys can be filtered: none.
pub const COLUMNS: &[Column] = &[];

/// The maximum size of a shown actor, in bytes.
const ACTOR_BYTES_MAX: usize = 1024;

/// A key that is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its ref.
    #[serde(rename = "ref")]
    pub name: KeyRef,
    /// The position of the record that set it last.
    pub position: Position,
    /// The current version of its value.
    pub version: u32,
    /// When it was set.
    pub set_at: Timestamp,
    /// The actor that set it, in the log's notation.
    pub set_by: String,
}

impl View for Key {
    const NAME: ViewName = ViewName::Keys;
    type Key = KeyRef;

    fn key(record: &Record) -> Option<Touch<KeyRef>> {
        let ByNoun::AccessFact(fact) = record.fact.by_noun() else { return None };
        match fact {
            AccessFact::KeySet(fact) => Some(Touch::Changes(fact.key.clone())),
            AccessFact::KeyRemoved(fact) => Some(Touch::Changes(fact.key.clone())),
            _ => None,
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let ByNoun::AccessFact(fact) = record.fact.by_noun() else { return before };
        match fact {
            AccessFact::KeySet(fact) => Some(Self {
                name: fact.key.clone(),
                position: record.position,
                version: fact.version,
                set_at: record.time,
                set_by: cut(&record.actor.to_string(), ACTOR_BYTES_MAX),
            }),
            AccessFact::KeyRemoved(_) => None,
            _ => before,
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.set_at
    }
}
