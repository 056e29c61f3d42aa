//! Keys: never their values.

use ensue_derive::wire;
use ensue_engine::names::KeyRef;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key that is set.
#[wire(Serialize)]
pub(crate) struct WireKey {
    r#ref: KeyRef,
    position: Position,
    version: u32,
    set_at: Timestamp,
    set_by: String,
}

impl From<Key> for WireKey {
    fn from(key: Key) -> Self {
        Self { r#ref: key.name, position: key.position, version: key.version, set_at: key.set_at, set_by: key.set_by }
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
}
