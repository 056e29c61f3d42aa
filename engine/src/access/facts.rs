//! What can happen to keys and tokens.

use serde::{Deserialize, Serialize};

use crate::ids::TokenId;
use crate::names::KeyRef;

/// A key has a new value; the vault holds it under this version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// The key.
    pub key: KeyRef,
    /// The version, from 1.
    pub version: u32,
}

/// A key has no value any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRemoved {
    /// The key.
    pub key: KeyRef,
}

/// A token lets its holder in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAdded {
    /// Its id.
    pub id: TokenId,
    /// Its name: the holder's.
    pub name: String,
    /// What its holder may do.
    pub roles: Vec<String>,
}

/// A token lets nobody in any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoked {
    /// Its id.
    pub id: TokenId,
}
