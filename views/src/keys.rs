//! Keys: that they are set, since when and by whom. Never their values: those are the vault's.

use ensue_engine::fact::{AccessFact, ByNoun};
use ensue_engine::names::KeyRef;
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// What keys can be filtered by: nothing.
pub const COLUMNS: &[Column] = &[];

/// The most bytes that an actor is shown with.
const ACTOR_BYTES_MAX: usize = 1024;

/// A key that is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its ref.
    #[serde(rename = "ref")]
    pub name: KeyRef,
    /// The place in the log where it was set last.
    pub position: Position,
    /// Which version of its value counts.
    pub version: u32,
    /// When it was set.
    pub set_at: Timestamp,
    /// Who set it, as the log writes actors.
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
            AccessFact::TokenAdded(_) | AccessFact::TokenRevoked(_) => None,
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
            AccessFact::TokenAdded(_) | AccessFact::TokenRevoked(_) => before,
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.set_at
    }

    fn columns(&self) -> Vec<Option<Term>> {
        Vec::new()
    }

    fn life(&self) -> Life {
        Life::Settled
    }
}
