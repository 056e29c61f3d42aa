//! Facts about keys and tokens.

use serde::{Deserialize, Serialize};

use crate::ids::TokenId;
use crate::names::KeyRef;

/// A key has a new value, which the vault stores under this version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// The key.
    pub key: KeyRef,
    /// The version, from 1.
    pub version: u32,
}

/// A key no longer has a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRemoved {
    /// The key.
    pub key: KeyRef,
}

/// A token grants access to its holder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAdded {
    /// Its id.
    pub id: TokenId,
    /// The holder's name.
    pub name: String,
    /// The holder's roles.
    pub roles: Vec<String>,
}

/// A token no longer grants access.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoked {
    /// Its id.
    pub id: TokenId,
}
