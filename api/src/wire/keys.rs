//! Keys: never their values.

use ensue_derive::wire;
use ensue_engine::names::KeyRef;
use ensue_engine::names::Names;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::{Key, KeyVersion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shapes;

/// A key that is set.
#[wire(Serialize)]
pub(crate) struct WireKey {
    r#ref: KeyRef,
    position: Position,
    version: u32,
    set_at: Timestamp,
    set_by: String,
    expires_at: Option<Timestamp>,
}

impl From<Key> for WireKey {
    fn from(key: Key) -> Self {
        let KeyVersion { version, set_at, set_by, expires_at, .. } = key.current;
        Self { r#ref: key.name, position: key.position, version, set_at, set_by, expires_at }
    }
}

/// A version of a key's value.
#[wire(Serialize)]
pub(crate) struct WireKeyVersion {
    version: u32,
    status: KeyVersionStatus,
    set_at: Timestamp,
    set_by: String,
    expires_at: Option<Timestamp>,
    accepted_until: Option<Timestamp>,
}

/// What a version of a key's value is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Names)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyVersionStatus {
    /// It is given to attempts, and verifies deliveries.
    Current,
    /// It was replaced, and still verifies deliveries.
    Accepted,
    /// It was replaced, and its value is destroyed.
    Replaced,
}

impl WireKeyVersion {
    /// Returns the versions of a key at a time, the newest first.
    pub(crate) fn of(key: Key, now: Timestamp) -> Vec<Self> {
        let replaced = key.replaced.into_iter().map(|version| {
            let is_accepted = version.accepted_until.is_some_and(|until| now < until);
            let status = if is_accepted { KeyVersionStatus::Accepted } else { KeyVersionStatus::Replaced };
            Self::with_status(version, status)
        });
        [Self::with_status(key.current, KeyVersionStatus::Current)].into_iter().chain(replaced).collect()
    }

    fn with_status(version: KeyVersion, status: KeyVersionStatus) -> Self {
        let KeyVersion { version, position: _, set_at, set_by, expires_at, accepted_until } = version;
        Self { version, status, set_at, set_by, expires_at, accepted_until }
    }
}

/// A key that was just set.
#[wire(Serialize)]
pub(crate) struct WireSetKey {
    pub(crate) r#ref: KeyRef,
    pub(crate) version: u32,
}

/// A new value as JSON. It has no `Debug`: it is a secret.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireKeyValue {
    #[schemars(length(min = 1))]
    pub(crate) value: String,
    #[serde(default)]
    #[schemars(with = "Option<shapes::Timestamp>")]
    pub(crate) expires_at: Option<String>,
}

/// A rotation as JSON. It has no `Debug`: it may hold a secret.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireKeyRotation {
    /// The new value; or `generate`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) value: Option<String>,
    /// The size of a new value that the node generates; or `value`.
    #[serde(default)]
    pub(crate) generate: Option<WireGenerate>,
    /// How long the value before it is accepted, for example `24h`.
    pub(crate) overlap: String,
    #[serde(default)]
    #[schemars(with = "Option<shapes::Timestamp>")]
    pub(crate) expires_at: Option<String>,
}

/// The size of a generated value.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireGenerate {
    /// How many random bytes it has. The value is their hexadecimal digits.
    #[schemars(range(min = 16, max = 1024))]
    pub(crate) bytes: usize,
}

/// A request to show a value.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireReveal {
    /// The version; the current one if it is left out.
    #[serde(default)]
    pub(crate) version: Option<u32>,
}

/// A value that is shown. It has no `Debug`: it is a secret.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireRevealedKey<'a> {
    #[schemars(with = "shapes::KeyRef")]
    pub(crate) r#ref: &'a KeyRef,
    pub(crate) version: u32,
    pub(crate) value: &'a str,
    /// How the value is written.
    pub(crate) encoding: ValueEncoding,
}

/// How a value is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ValueEncoding {
    /// As it is.
    Text,
    /// As base64, because it is not UTF-8.
    Base64,
}
