//! The choices that authors and operators make by a word, as records hold them.

use serde::{Deserialize, Serialize};

/// Whether a rule's matches are acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Judged and acted on.
    #[default]
    Enabled,
    /// Not looked at.
    Disabled,
    /// Judged and recorded, not acted on.
    Shadow,
}

/// What to do when it is unknown whether an attempt of an action that is not idempotent took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Ask a person: the execution is indeterminate until somebody settles it.
    #[default]
    Ask,
    /// Fail the execution.
    Fail,
    /// Try again, at the author's risk.
    Retry,
}

/// What becomes of an execution that finds its lock held by as many as may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockConflict {
    /// It waits for its turn.
    #[default]
    Queue,
    /// It is not run.
    Skip,
    /// Those before it are asked to end, and it waits until they have.
    CancelRunning,
}

impl LockConflict {
    /// Lists all of them.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Skip, Self::CancelRunning];

    /// Gives the word that authors write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Skip => "skip",
            Self::CancelRunning => "cancel_running",
        }
    }

    /// Says whether it is what happens where nothing is said.
    pub(crate) fn is_queue(&self) -> bool {
        *self == Self::Queue
    }
}

/// What the failure of an item means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemFailure {
    /// They go on.
    #[default]
    OthersGoOn,
    /// Those that run are stopped, and no more start (`fail_fast: true`).
    StopsOthers,
}

/// What a step's failure means for the workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The workflow is failing; the steps that run beside it come to their ends.
    #[default]
    Fail,
    /// The workflow is failing, and the steps that run beside it are cancelled (`cancel_others: true`).
    CancelOthers,
    /// The workflow goes on (`on_failure: continue`).
    Continue,
}

impl OnFailure {
    /// Says whether the workflow fails with the step.
    pub fn fails(self) -> bool {
        match self {
            Self::Fail | Self::CancelOthers => true,
            Self::Continue => false,
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ItemFailure {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a rule can do with its matches before it acts on them, in the order in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// One match of a key within a while.
    Dedupe,
    /// So many matches of a key in a while.
    Throttle,
    /// The last match of a key, once it is quiet.
    Debounce,
    /// So many matches of a key together.
    Window,
    /// A match of a key after which none came for a while.
    Missing,
    /// So many open executions of a key.
    Concurrency,
}

impl Control {
    /// Lists all of them in their order.
    pub const ALL: [Self; 6] = [Self::Dedupe, Self::Throttle, Self::Debounce, Self::Window, Self::Missing, Self::Concurrency];

    /// Gives the field in which authors write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dedupe => "dedupe",
            Self::Throttle => "throttle",
            Self::Debounce => "debounce",
            Self::Window => "window",
            Self::Missing => "missing",
            Self::Concurrency => "concurrency",
        }
    }
}

/// What becomes of times at which nothing could fire: no node ran, or the clock was not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// The newest of them fires, for all.
    #[default]
    FireOnce,
    /// None of them fires.
    Skip,
    /// Each of them fires, the oldest first: at most [`MADE_UP_MAX`].
    FireAll,
}

impl Misfire {
    /// Gives the word that authors write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FireOnce => "fire_once",
            Self::Skip => "skip",
            Self::FireAll => "fire_all",
        }
    }
}
