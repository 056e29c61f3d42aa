//! With what a pack was installed, beside its files.

use std::collections::BTreeMap;

use ensue_engine::ids::RuleId;
use ensue_engine::names::RuleRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// With what a pack was installed, beside its files: the body of the record `pack.installed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The id of each of its rules: a rule that was deleted and created again has another.
    pub rules: BTreeMap<RuleRef, RuleId>,
    /// Its configuration, complete: an object.
    pub config: Value,
}
