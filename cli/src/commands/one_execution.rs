//! One execution, as commands name it: its path in the API, its labels as typed, and its end.

use ensue_engine::executions::labels::{self, LabelValue};
use ensue_engine::names::LabelName;
use serde_json::Value;

use crate::client::segment;
use crate::report::{CommandResult, Failure};
use crate::table::text;

/// Returns the path of an execution, or of what is below it.
pub(super) fn path(id: &str, rest: &str) -> String {
    format!("/executions/{}{rest}", segment(id))
}

/// Whether an execution does something itself, or its steps do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExecutionShape {
    Whole,
    OfSteps,
}

/// Returns a failure for an execution that did not succeed; `why` may be empty.
pub(super) fn ended_well(id: &str, made: ExecutionShape, status: &str, why: &str) -> CommandResult {
    if status == "succeeded" {
        return Ok(());
    }
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let first = match made {
        ExecutionShape::Whole => format!("see its output with `ensue executions logs {id}`"),
        ExecutionShape::OfSteps => format!("see its steps with `ensue executions show {id} --tree`"),
    };
    Err(Failure::new(format!("the execution ended with the status {status}{why}"))
        .hint(format!("{first}, and its cause with `ensue why {id}`")))
}

/// Returns true if an execution has ended or waits for a person.
pub(super) fn has_ended(execution: &Value) -> bool {
    matches!(text(execution, "status").as_str(), "succeeded" | "failed" | "timed_out" | "cancelled" | "indeterminate")
}

/// Parses a label as typed.
pub(super) fn label_of(text: &str) -> Result<(LabelName, LabelValue), String> {
    labels::parse(text).map_err(|why| format!("`{text}` {why}"))
}
