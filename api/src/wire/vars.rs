//! Vars, with their values.

use bytes::Bytes;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::VarName;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::Var;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::shapes;
use crate::wire::embedded;

/// A var that has a value.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireVar {
    #[schemars(with = "shapes::VarName")]
    name: VarName,
    #[schemars(with = "shapes::Position")]
    position: Position,
    /// Null if it was erased.
    value: Option<Box<RawValue>>,
    #[schemars(with = "shapes::Timestamp")]
    set_at: Timestamp,
    set_by: String,
    /// The execution that set it; null if it was set by hand.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    execution: Option<ExecutionId>,
}

impl WireVar {
    /// Shows a var with its value.
    pub(crate) fn new(var: Var, value: Option<&Bytes>) -> Self {
        let Var { name, position, set_at, set_by, execution, value: _ } = var;
        Self { name, position, value: value.map(embedded), set_at, set_by, execution }
    }
}

/// A var that was just set.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSetVar {
    #[schemars(with = "shapes::VarName")]
    pub(crate) name: VarName,
    #[schemars(with = "shapes::Position")]
    pub(crate) position: Position,
}

/// The new value of a var: not null.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireVarValue {
    pub(crate) value: Box<RawValue>,
}
