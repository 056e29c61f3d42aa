//! Vars, with their values.

use bytes::Bytes;
use ensue_derive::wire;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::VarName;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::Var;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::wire::embed_body;

/// A var that has a value.
#[wire(Serialize)]
pub(crate) struct WireVar {
    name: VarName,
    position: Position,
    /// Null if it was erased.
    value: Option<Box<RawValue>>,
    set_at: Timestamp,
    set_by: String,
    /// The execution that set it; null if it was set by hand.
    execution: Option<ExecutionId>,
}

impl WireVar {
    /// Shows a var with its value.
    pub(crate) fn new(var: Var, value: Option<&Bytes>) -> Self {
        let Var { name, position, set_at, set_by, execution, value: _ } = var;
        Self { name, position, value: value.map(embed_body), set_at, set_by, execution }
    }
}

/// A var that was just set.
#[wire(Serialize)]
pub(crate) struct WireSetVar {
    pub(crate) name: VarName,
    pub(crate) position: Position,
}

/// The new value of a var: not null.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireVarValue {
    pub(crate) value: Box<RawValue>,
}
