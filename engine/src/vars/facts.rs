//! Facts about vars.

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::ids::ExecutionId;
use crate::names::VarName;

/// A var was set. The body is its value: JSON, and never null.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VarSet {
    /// The var.
    pub name: VarName,
    /// The execution whose attempt set it; `None` if it was set by hand.
    pub execution: Option<ExecutionId>,
}

/// A var was removed.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VarRemoved {
    /// The var.
    pub name: VarName,
    /// The execution whose attempt removed it; `None` if it was removed by hand.
    pub execution: Option<ExecutionId>,
}
