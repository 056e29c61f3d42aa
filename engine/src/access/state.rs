//! The state of keys and tokens: the current version of each key, and the valid tokens.

use serde::{Deserialize, Serialize};

use crate::access::keys::state::{KeyVersions, Keys};
use crate::fact::{AccessFact, KeyFact};
use crate::ids::TokenId;
use crate::names::KeyRef;
use crate::table::{Table, undone_together};

/// The role that may do everything, including creating tokens.
pub const ADMIN: &str = "admin";

/// The current keys and tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    keys: Keys,
    tokens: Table<TokenId, Token>,
}

undone_together!(pub(crate) Access { keys, tokens });

/// A valid token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The holder's name.
    pub name: String,
    /// The holder's roles.
    pub roles: Vec<String>,
}

impl Access {
    /// Returns the versions of a key.
    pub fn key(&self, key: &KeyRef) -> Option<KeyVersions> {
        self.keys.get(key)
    }

    /// Returns the keys, with their expiries.
    pub fn all_keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns all keys that ever existed, with their versions.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyRef, &KeyVersions)> {
        self.keys.iter()
    }

    /// Returns the valid tokens.
    pub fn tokens(&self) -> impl Iterator<Item = (&TokenId, &Token)> {
        self.tokens.iter()
    }

    pub(crate) fn apply(&mut self, fact: AccessFact<'_>) {
        match fact {
            AccessFact::KeySet(fact) => self.keys.set(&fact.key, fact.version),
            AccessFact::KeyRemoved(fact) => self.keys.remove(&fact.key),
            AccessFact::TokenAdded(fact) => {
                self.tokens.insert(fact.id, Token { name: fact.name.clone(), roles: fact.roles.clone() });
            }
            AccessFact::TokenRevoked(fact) => self.tokens.remove(&fact.id),
        }
    }

    pub(crate) fn apply_key(&mut self, fact: KeyFact<'_>) {
        self.keys.apply(fact);
    }
}
