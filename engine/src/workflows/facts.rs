//! What can happen to the steps of a workflow, beside what happens to the executions that they are.
//!
//! These facts stand on the workflow's own stream. That a step starts is said by the request of its execution, how it ends by that
//! execution's end.

pub use super::part::{PartOf, PartRole};
use serde::{Deserialize, Serialize};

use crate::catalog::{ItemFailure, OnFailure};
use crate::executions::facts::{Failure, GivenEvent};
use crate::ids::{EventId, ExecutionId};
use crate::names::{ActionRef, StepName, TriggerRef};
use crate::record::{BodyHandle, Digest};

/// A step does not start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSkipped {
    /// The step.
    pub step: StepName,
    /// Why.
    pub because: SkippedBecause,
}

/// Why a step does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkippedBecause {
    /// Its condition does not hold.
    Condition,
    /// A step that it needs did not succeed.
    Needs,
    /// The workflow is failing.
    Failing,
    /// The workflow was cancelled.
    Cancelled,
}

impl SkippedBecause {
    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::Needs => "needs",
            Self::Failing => "failing",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A step, or an item of it, failed before there was an execution of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFailed {
    /// The step.
    pub step: StepName,
    /// The item, from 0, where it is one that failed and not the step as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Why.
    pub error: Failure,
    /// What that means for the workflow; the failure of an item means nothing by itself.
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
}

/// A step is to be done for each of several items. The body is the list of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepExpanded {
    /// The step.
    pub step: StepName,
    /// How many items there are.
    pub count: u32,
    /// What the failure of one means for the others.
    #[serde(default, skip_serializing_if = "ItemFailure::is_default")]
    pub item_failure: ItemFailure,
    /// Whether they are those of the execution that is run again: what succeeded of them is taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_over: bool,
}

/// A step that was done for each of several items, or repeated, has ended. The body is what was collected of its turns, where its author
/// says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepEnded {
    /// The step.
    pub step: StepName,
    /// Why it failed; none where all its items succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What a failure means for the workflow.
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
    /// Whether it is undone as a whole where it succeeded and the workflow does not.
    #[serde(default, skip_serializing_if = "PartRole::is_step")]
    pub role: PartRole,
}

/// A workflow that does not succeed begins to undo what succeeded of it, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoBegun {
    /// How many steps and items are to be undone.
    pub count: u32,
    /// How the workflow ends then, where nothing of that fails.
    pub end: BadEnd,
}

/// An end that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BadEnd {
    /// It fails.
    Failed {
        /// Why.
        error: Failure,
    },
    /// It took too long.
    TimedOut {
        /// Why.
        error: Failure,
    },
    /// Somebody asked that it end.
    Cancelled,
}

/// What undoes a step, or an item of it, failed before there was an execution of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoFailed {
    /// The step.
    pub step: StepName,
    /// The item, from 0, where it is that of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Why.
    pub error: Failure,
}

/// A step waits for an event from now on, whether it has begun or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitOpened {
    /// The step.
    pub step: StepName,
    /// Of which kind the event is.
    pub trigger: TriggerRef,
    /// What it is found by, where its condition demands a value of a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<WaitKey>,
}

/// Fields of an event that have certain values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitKey {
    /// Of each the names on the way to it, from `event` on, ascending.
    pub paths: Vec<Vec<String>>,
    /// The hash of the values, in a form that is the same for equal numbers.
    pub values: Digest,
}

/// The event has come that a step waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitMatched {
    /// The step.
    pub step: StepName,
    /// The execution that waits for it, where the step has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
    /// The event.
    pub event: EventId,
    /// The same, as later steps see it.
    pub given: GivenEvent,
}

/// It cannot be told whether an event is the one that a step waits for; it counts as none. Later errors of the same wait are not recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitErred {
    /// The step.
    pub step: StepName,
    /// The event.
    pub event: EventId,
    /// Why.
    pub message: String,
}

/// A workflow is run again, and takes over what had succeeded of its steps. The body is the list of that, of [`Kept`], ascending by step and
/// item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerunPlanned {
    /// The execution that is run again.
    pub of: ExecutionId,
    /// What of it.
    pub from: RerunFrom,
    /// How much the list holds.
    pub count: u32,
}

/// What of an execution is run again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerunFrom {
    /// All of it.
    #[default]
    Start,
    /// What did not succeed, and all that needs it.
    Failed,
    /// This step too, and all that needs it.
    Step(StepName),
}

/// What is known of a step, or an item of it, of an execution that is run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The step.
    pub step: StepName,
    /// The item, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// What became of it.
    pub what: KeptAs,
}

/// What became of a step, as far as it matters for running it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptAs {
    /// It did not start.
    Skipped,
    /// It was done for each item of a list.
    Each {
        /// The hash of the list.
        list: Digest,
    },
    /// It succeeded.
    Done(Taken),
}

/// What is taken over of a step, or an item of it, that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The execution that it was; of one that was repeated the last turn, and none where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
    /// What it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionRef>,
    /// Whether it was repeated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_repeated: bool,
    /// What its answer is bound to, where it asked people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Digest>,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BodyHandle>,
}

/// A step, or an item of it, had succeeded in the execution that is run again: it has succeeded with that, and nothing is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTakenOver {
    /// The step.
    pub step: StepName,
    /// The item, from 0, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// What is taken over.
    pub taken: Taken,
}
