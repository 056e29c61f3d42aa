//! What keys and tokens are made into: which version of a key counts, and who may come in as whom.

use serde::{Deserialize, Serialize};

use crate::fact::AccessFact;
use crate::ids::TokenId;
use crate::names::KeyRef;
use crate::table::Table;

/// The role that may do everything, also make tokens.
pub const ADMIN: &str = "admin";

/// The keys and tokens that count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    keys: Table<KeyRef, KeyVersions>,
    tokens: Table<TokenId, Token>,
}

/// The versions of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersions {
    /// The version that counts; none where the key was removed.
    pub current: Option<u32>,
    /// The newest version there ever was: a number is given once.
    pub newest: u32,
}

/// A token that lets its holder in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The holder's name.
    pub name: String,
    /// What the holder may do.
    pub roles: Vec<String>,
}

impl Access {
    /// Gives the versions of a key.
    pub fn key(&self, key: &KeyRef) -> Option<KeyVersions> {
        self.keys.get(key).copied()
    }

    /// Gives the keys that there ever were, with their versions.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyRef, &KeyVersions)> {
        self.keys.iter()
    }

    /// Gives the tokens that count.
    pub fn tokens(&self) -> impl Iterator<Item = (&TokenId, &Token)> {
        self.tokens.iter()
    }

    pub(crate) fn apply(&mut self, fact: AccessFact<'_>) {
        match fact {
            AccessFact::KeySet(fact) => {
                self.keys.insert(fact.key.clone(), KeyVersions { current: Some(fact.version), newest: fact.version });
            }
            AccessFact::KeyRemoved(fact) => self.keys.change(&fact.key, |versions| versions.current = None),
            AccessFact::TokenAdded(fact) => {
                self.tokens.insert(fact.id, Token { name: fact.name.clone(), roles: fact.roles.clone() });
            }
            AccessFact::TokenRevoked(fact) => self.tokens.remove(&fact.id),
        }
    }

    pub(crate) fn commit(&mut self) {
        self.keys.commit();
        self.tokens.commit();
    }

    pub(crate) fn undo(&mut self) {
        self.keys.undo();
        self.tokens.undo();
    }
}
