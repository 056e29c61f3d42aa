//! The progress of a workflow, of its steps and of their items and turns.

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::catalog::ItemFailure;
use crate::executions::facts::{Failure, GivenEvent};
use crate::ids::EventId;
use crate::names::StepName;
use crate::record::{BodyHandle, Position};
use crate::sparse::is_default;
use crate::workflows::facts::BadEnd;

/// A step that can be undone, or an item of it.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undoable {
    /// The step.
    pub step: StepName,
    /// The item, from 0.
    pub item: Option<u32>,
}

/// The progress of a workflow.
#[sparse(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkflowState {
    /// How many of its steps have ended.
    pub ended: u32,
    /// How many executions it waits for.
    pub open: u32,
    /// The step whose failure makes it fail.
    pub failing: Option<StepName>,
    /// How often it was asked to end, by a person or because the whole workflow exceeded its time limit.
    pub cancels: u32,
    /// Everything in it that began before this record must end: it was canceled then, or a step failed that
    /// ends the others.
    pub stop_before: Position,
    /// The progress of the undo, if it has begun.
    pub undoing: Option<Box<Undoing>>,
    /// The list of steps to take over, if it is a rerun that takes any over.
    pub kept: Option<BodyHandle>,
}

impl WorkflowState {
    /// Returns true if it was asked to end, took too long, or undoes its steps.
    pub fn is_ending(&self) -> bool {
        self.cancels > 0 || self.undoing.is_some()
    }
}

/// The progress of a workflow that undoes its steps that succeeded.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undoing {
    /// How it ends after that.
    pub end: BadEnd,
    /// How many undos have begun.
    pub begun: u32,
    /// How many undos have failed.
    pub failed: u32,
    /// The first that failed, and why.
    pub first_failed: Option<(Undoable, String)>,
}

/// Which of the steps that a step needs were enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChosenNeeds {
    /// Those that ended as it requires.
    pub ended: Vec<StepName>,
    /// The others, if they are canceled.
    pub cancelled: Vec<StepName>,
}

/// A step that has begun or never will.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Its status.
    pub status: StepStatus,
    /// Its result.
    pub result: Option<BodyHandle>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// Its items, if it is done for each of several.
    pub items: Option<ItemProgress>,
    /// Its turns, if it is repeated.
    pub turns: Option<Turns>,
    /// Whether nothing of it was run: its whole result is taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_taken_over: bool,
    /// The event that canceled it.
    pub cancelled_by: Option<Box<(EventId, GivenEvent)>>,
}

/// The progress of a repeated step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    /// The record that began it.
    pub begun: Position,
    /// How many turns have begun.
    pub begun_count: u32,
    /// The status of the last of them.
    pub status: StepStatus,
}

/// The progress of a step that is done for each of several items.
#[sparse(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemProgress {
    /// The list of items.
    pub list: BodyHandle,
    /// The effect of a failed item on the others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub item_failure: ItemFailure,
    /// The record that began it.
    pub begun: Position,
    /// How many there are.
    pub count: u32,
    /// How many were started; these are the first ones.
    pub started: u32,
    /// How many of these are running.
    pub running: u32,
    /// How many of these have ended other than by success.
    pub failed: u32,
    /// The first of these.
    pub first_failed: Option<u32>,
    /// How many may fail before the step fails; without it, none.
    pub fail_at: Option<u32>,
    /// Whether items that succeeded before are taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_over: bool,
    /// How many were taken over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub taken_over: u32,
}

/// An item of a step that was started.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemState {
    /// Its status.
    pub status: StepStatus,
    /// Its result.
    pub result: Option<BodyHandle>,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// The status of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It has started and has not ended.
    Running,
    /// It ended with a result.
    Succeeded,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It ended because it was asked to.
    Cancelled,
    /// It never starts.
    Skipped,
}

impl StepStatus {
    /// Returns the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Returns true if it has ended, but neither succeeded nor was skipped.
    pub fn is_bad(self) -> bool {
        match self {
            Self::Failed | Self::TimedOut | Self::Cancelled => true,
            Self::Running | Self::Succeeded | Self::Skipped => false,
        }
    }

    /// Returns true if it is final.
    pub fn is_end(self) -> bool {
        match self {
            Self::Running => false,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Skipped => true,
        }
    }
}

impl ItemProgress {
    /// Returns true if an item failed and stops the others.
    pub fn is_stopped(&self) -> bool {
        self.failed > 0 && self.item_failure == ItemFailure::StopsOthers
    }

    /// Returns true if more items failed than may fail: no further one starts.
    pub fn is_failed(&self) -> bool {
        self.fail_at.is_some_and(|most| self.failed > most)
    }

    /// Returns true if no item was run.
    pub fn are_all_taken_over(&self) -> bool {
        self.takes_over && self.taken_over == self.count
    }
}

impl StepState {
    pub(super) fn new(status: StepStatus) -> Self {
        Self { status, result: None, error: None, items: None, turns: None, is_taken_over: false, cancelled_by: None }
    }
}
