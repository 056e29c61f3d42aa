//! The part that an execution is of a workflow.

use crate::catalog::OnFailure;
use crate::ids::ExecutionId;
use crate::names::StepName;
use crate::sparse::is_default;
use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

/// What an execution is a part of.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOf {
    /// The execution of the workflow.
    pub workflow: ExecutionId,
    /// The step.
    pub step: StepName,
    /// The item of the step, from 0, if it is done for each of several; for a repeated step the turn, from 0 as well.
    pub item: Option<u32>,
    /// The effect of its failure on the workflow; the failure of an item, or of the undo of one, has no
    /// effect by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// Which part of the step it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub role: PartRole,
}

/// Which part of a step an execution is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartRole {
    /// The step itself, or an item of it.
    #[default]
    Step,
    /// A turn of a step that is repeated.
    Turn,
    /// The step itself, or an item of it, which is undone if it succeeds and the workflow does not.
    UndoableStep,
    /// The undo of the step or item.
    Undo,
}
