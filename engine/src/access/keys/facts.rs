//! Facts about the life of a key's values.

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::access::keys::MasterKeyId;
use crate::names::KeyRef;
use crate::time::Timestamp;

/// A key that was set has a new value, which the vault stores under this version.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotated {
    /// The key.
    pub key: KeyRef,
    /// The new version.
    pub version: u32,
    /// Until when deliveries that were signed with the version before it are accepted; `None` if they are not.
    pub previous_until: Option<Timestamp>,
}

/// The current version of a key expires at a time, by which it should be replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyExpirySet {
    /// The key.
    pub key: KeyRef,
    /// The version.
    pub version: u32,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The current version of a key expires soon, or has expired. It is recorded once for each version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyExpiring {
    /// The key.
    pub key: KeyRef,
    /// The version.
    pub version: u32,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A version of a key's value was requested in clear text. The value is sent only after this record is on the
/// disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRevealed {
    /// The key.
    pub key: KeyRef,
    /// The version.
    pub version: u32,
}

/// All values of the vault are sealed under another master key. The key before it opens nothing more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MasterKeyRotated {
    /// The master key before.
    pub from: MasterKeyId,
    /// The master key now.
    pub to: MasterKeyId,
}
