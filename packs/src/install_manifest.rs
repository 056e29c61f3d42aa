//! The data that a pack is installed with, besides its files.

use std::collections::BTreeMap;

use ensue_engine::ids::RuleId;
use ensue_engine::names::RuleRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The data that a pack is installed with, besides its files: the body of the record `pack.installed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The id of each of its rules. A rule that was deleted and created again has a new id.
    pub rules: BTreeMap<RuleRef, RuleId>,
    /// Its complete configuration, an object.
    pub config: Value,
}
