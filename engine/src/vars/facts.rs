//! What can happen to a var.

use serde::{Deserialize, Serialize};

use crate::ids::ExecutionId;
use crate::names::VarName;

/// A var has a value. Its body is the value: JSON, and never null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VarSet {
    /// The var.
    pub name: VarName,
    /// The execution whose attempt set it; none where somebody did by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
}

/// A var has no value any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VarRemoved {
    /// The var.
    pub name: VarName,
    /// The execution whose attempt removed it; none where somebody did by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
}
