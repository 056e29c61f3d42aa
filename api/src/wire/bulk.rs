//! The results of one change of many things.

use ensue_derive::wire;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::Position;
use schemars::JsonSchema;
use serde::Serialize;

use crate::problem::{FieldError, Problem};
use crate::shapes;

/// The result for one execution.
#[wire(Serialize)]
pub(crate) struct WireChanged {
    pub(crate) execution: ExecutionId,
    /// Its position in the log; null if it was refused, or in a dry run.
    pub(crate) position: Option<Position>,
    /// The new execution that reruns it.
    pub(crate) rerun: Option<ExecutionId>,
    /// The execution that already reran it. This one was skipped for that reason.
    pub(crate) rerun_before: Option<ExecutionId>,
    /// Why it was refused; null if it was not.
    pub(crate) error: Option<WireRefused>,
}

/// The result for one execution that was asked for.
#[wire(Serialize)]
#[schemars(rename = "RequestedExecution")]
pub(crate) struct WireRequested {
    /// Null if it was refused, or in a dry run.
    pub(crate) execution: Option<ExecutionId>,
    /// Its position in the log.
    pub(crate) position: Option<Position>,
    /// Why it was refused; null if it was not.
    pub(crate) error: Option<WireRefused>,
}

/// The results for a list of executions, in its order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RequestedExecutions")]
pub(crate) struct WireRequestedList {
    pub(crate) items: Vec<WireRequested>,
}

/// Why one of many was refused: the problem that it would be on its own.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireRefused {
    #[schemars(with = "shapes::ProblemCode")]
    code: String,
    status: u16,
    detail: Option<String>,
    hint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

impl From<&Problem> for WireRefused {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code(),
            status: problem.status().as_u16(),
            detail: problem.detail().map(str::to_owned),
            hint: problem.hint().map(str::to_owned),
            errors: problem.errors().to_vec(),
        }
    }
}
