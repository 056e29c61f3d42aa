//! The facts of a workflow's steps, in addition to the facts of the executions that they are.
//!
//! These facts are on the workflow's own stream. The start of a step is recorded by the request of its
//! execution, its end by that execution's end.

pub use super::part::{PartOf, PartRole};
use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::catalog::{ItemFailure, OnFailure};
use crate::executions::facts::{Failure, GivenEvent};
use crate::ids::{EventId, ExecutionId};
use crate::names::{ActionRef, Names, StepName, TriggerRef};
use crate::record::{BodyHandle, Digest};
use crate::sparse::is_default;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum SkippedBecause {
    /// Its condition is false.
    Condition,
    /// A step that it needs did not succeed.
    Needs,
    /// The workflow is failing.
    Failing,
    /// The workflow was canceled.
    Cancelled,
    /// The event that cancels it came before it began.
    Event,
}

/// Enough of the steps that a step needs have ended: it starts now, or is skipped because of its condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepChosen {
    /// The step.
    pub step: StepName,
    /// The steps that ended as it requires, in the order in which it names them. It reads only these.
    pub ended: Vec<StepName>,
    /// The others, if they are canceled: nothing more of them starts, and their ends do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<StepName>,
}

/// A step, or an item of it, failed before its execution existed.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFailed {
    /// The step.
    pub step: StepName,
    /// The item, from 0, if an item failed and not the whole step.
    pub item: Option<u32>,
    /// Why.
    pub error: Failure,
    /// The effect of the failure on the workflow; the failure of an item has no effect by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
}

/// A step is done for each of several items. The body is the list of them.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepExpanded {
    /// The step.
    pub step: StepName,
    /// How many items there are.
    pub count: u32,
    /// The effect of a failed item on the others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub item_failure: ItemFailure,
    /// Whether the list is the one of the execution that is run again: its items that succeeded are taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_over: bool,
    /// How many items may fail before the step fails; without it, none.
    pub fail_at: Option<u32>,
}

/// A step that was done for each of several items, or repeated, has ended, or one whose condition was true. The
/// body is the values collected from its turns, if its author asks for that.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepEnded {
    /// The step.
    pub step: StepName,
    /// Why it failed; `None` if all its items succeeded, or as many as its author requires.
    pub error: Option<Failure>,
    /// The effect of a failure on the workflow.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// Whether it is undone as a whole if it succeeded and the workflow does not.
    #[serde(default, skip_serializing_if = "is_default")]
    pub role: PartRole,
}

/// A workflow that does not succeed begins to undo its steps that succeeded, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoBegun {
    /// How many steps and items will be undone.
    pub count: u32,
    /// How the workflow ends after that, if no undo fails.
    pub end: BadEnd,
}

/// An end other than success.
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
    /// Somebody asked it to end.
    Cancelled,
}

/// The undo of a step, or of an item of it, failed before its execution existed.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoFailed {
    /// The step.
    pub step: StepName,
    /// The item, from 0, if it is the undo of an item.
    pub item: Option<u32>,
    /// Why.
    pub error: Failure,
}

/// What happens to a step when an event comes that it watches for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It ends with the event that it waits for.
    #[default]
    Awaited,
    /// It is canceled by the event, and counts as skipped.
    Cancels,
}

/// A step waits for an event from now on, whether or not it has begun.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitOpened {
    /// The step.
    pub step: StepName,
    /// The trigger of the event.
    pub trigger: TriggerRef,
    /// The key that it is found by, if its condition requires a field to have a certain value.
    pub key: Option<WaitKey>,
    /// What the event does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub purpose: Purpose,
}

/// Fields of an event that must have certain values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitKey {
    /// The path of each field, as names from `event` on; ascending.
    pub paths: Vec<Vec<String>>,
    /// The hash of the values, in a form that is the same for equal numbers.
    pub values: Digest,
}

/// The event that a step waits for, or that cancels it, has come.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitMatched {
    /// The step.
    pub step: StepName,
    /// The execution that waits for it, if the step has begun.
    pub execution: Option<ExecutionId>,
    /// The event.
    pub event: EventId,
    /// The event as later steps see it.
    pub given: GivenEvent,
    /// What the event does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub purpose: Purpose,
}

/// It cannot be determined whether an event is the one that a step waits for, so it is treated as not
/// matching. Later errors of the same wait are not recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitErred {
    /// The step.
    pub step: StepName,
    /// The event.
    pub event: EventId,
    /// Why.
    pub message: String,
    /// What the event would do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub purpose: Purpose,
}

/// A workflow is run again and takes over its steps that had succeeded. The body is the list of [`ReusableStep`],
/// ascending by step and item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerunPlanned {
    /// The execution that is run again.
    pub of: ExecutionId,
    /// Which part of it is run again.
    pub from: RerunFrom,
    /// The number of entries in the list.
    pub count: u32,
}

/// The part of an execution that is run again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerunFrom {
    /// All of it.
    #[default]
    Start,
    /// The steps that did not succeed, and all that need them.
    Failed,
    /// This step as well, and all that need it.
    Step(StepName),
}

/// What is known about a step, or an item of it, of an execution that is run again.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReusableStep {
    /// The step.
    pub step: StepName,
    /// The item, from 0.
    pub item: Option<u32>,
    /// What became of it.
    pub what: KeptAs,
}

/// What became of a step, as far as it matters for a rerun.
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
    Done(TakenOverPart),
}

/// The part of a succeeded step, or item, that is taken over.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenOverPart {
    /// The execution that it was; for a repeated step the last turn, or `None` if it had no turn.
    pub execution: Option<ExecutionId>,
    /// What it ran.
    pub action: Option<ActionRef>,
    /// Whether it was repeated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_repeated: bool,
    /// The digest that its answer is bound to, if it asked people.
    pub question: Option<Digest>,
    /// Its result.
    pub result: Option<BodyHandle>,
}

/// A step, or an item of it, had succeeded in the execution that is run again: it has thereby succeeded, and
/// nothing is run.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTakenOver {
    /// The step.
    pub step: StepName,
    /// The item, from 0, if it is one.
    pub item: Option<u32>,
    /// What is taken over.
    pub taken: TakenOverPart,
}
