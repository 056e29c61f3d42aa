//! Keys: never their values.

use ensue_engine::names::KeyRef;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shapes;

/// A key that is set.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireKey {
    #[schemars(with = "shapes::KeyRef")]
    r#ref: KeyRef,
    #[schemars(with = "shapes::Position")]
    position: Position,
    version: u32,
    #[schemars(with = "shapes::Timestamp")]
    set_at: Timestamp,
    set_by: String,
}

impl From<Key> for WireKey {
    fn from(key: Key) -> Self {
        Self { r#ref: key.name, position: key.position, version: key.version, set_at: key.set_at, set_by: key.set_by }
    }
}

/// A key that was just set.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSetKey {
    #[schemars(with = "shapes::KeyRef")]
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
