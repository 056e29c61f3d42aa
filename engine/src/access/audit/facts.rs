//! Facts about rejected requests, rejected logins, uses of keys, exports and tests of connections.

use std::collections::BTreeMap;

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::ids::IdentityId;
use crate::names::{ActionRef, ConnectionName, KeyRef};
use crate::record::Digest;
use crate::time::Timestamp;

/// Requests of a caller were rejected because it lacks a permission. The actor of the record is the caller. The first
/// such request is recorded at once, and later ones are added up for a minute.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessDenied {
    /// The missing permission, `<noun>:<verb>`; none for the sum of all callers and permissions that have no record of
    /// their own in this minute.
    pub permission: Option<String>,
    /// The number of requests.
    pub count: u64,
    /// When the first of them was rejected.
    pub first: Timestamp,
    /// When the last of them was rejected.
    pub last: Timestamp,
}

/// Logins were rejected. The first one of an account and a network is recorded at once, and later ones are added up for a
/// minute. The address is in the body, if it is recorded.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginRefused {
    /// The way: `token`, `password`, `oidc/<issuer>`; none for the sum of all logins that have no record of their own in
    /// this minute.
    pub way: Option<String>,
    /// The identity that the login named, if it exists.
    pub identity: Option<IdentityId>,
    /// The number of logins.
    pub count: u64,
    /// When the first of them was rejected.
    pub first: Timestamp,
    /// When the last of them was rejected.
    pub last: Timestamp,
}

/// Attempts of an action were given a version of a key. The actor of the record is the last of them. The first use of a day is
/// recorded at once, and later ones are added up for an hour.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyUsed {
    /// The key.
    pub key: KeyRef,
    /// The version; none if another store has the value.
    pub version: Option<u32>,
    /// The action.
    pub action: ActionRef,
    /// The number of uses.
    pub count: u64,
    /// When the first of them was.
    pub first: Timestamp,
    /// When the last of them was.
    pub last: Timestamp,
}

/// A caller has received a list as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportMade {
    /// The list.
    pub what: String,
    /// The filters, by their names. An identity is named by its id.
    pub filters: BTreeMap<String, String>,
    /// The number of rows.
    pub rows: u64,
    /// The BLAKE3 hash of the bytes that were sent.
    pub digest: Digest,
}

/// A caller had a connection tested.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionTested {
    /// The connection.
    pub connection: ConnectionName,
    /// The kind of its problem, in a word: `auth`; none if the test succeeded.
    pub error: Option<String>,
}
