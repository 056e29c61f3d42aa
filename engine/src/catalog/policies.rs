//! Options that authors and operators select by a word, as records store them.

use serde::{Deserialize, Serialize};

use crate::names::Names;

/// Whether a rule's matches are acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Its matches are recorded and acted on.
    #[default]
    Enabled,
    /// It is not evaluated.
    Disabled,
    /// Its matches are recorded but not acted on.
    Shadow,
}

/// What to do if it is unknown whether an attempt of a non-idempotent action took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Ask a person: the execution is indeterminate until somebody settles it.
    #[default]
    Ask,
    /// Fail the execution.
    Fail,
    /// Retry, at the author's risk.
    Retry,
}

/// What happens to an execution whose lock has no free place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum LockConflict {
    /// It waits for its turn.
    #[default]
    Queue,
    /// It is not run.
    Skip,
    /// The executions that hold the lock are cancelled, and it waits until they have ended.
    CancelRunning,
}

/// What the failure of an item means for the other items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemFailure {
    /// They continue.
    #[default]
    OthersGoOn,
    /// Running items are stopped, and no more items start (`fail_fast: true`).
    StopsOthers,
}

/// What a step's failure means for the workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The workflow is failing; the steps that are running finish.
    #[default]
    Fail,
    /// The workflow is failing, and the steps that are running are cancelled (`cancel_others: true`).
    CancelOthers,
    /// The workflow continues (`on_failure: continue`).
    Continue,
}

impl OnFailure {
    /// Returns true if the workflow fails when the step fails.
    pub fn fails(self) -> bool {
        match self {
            Self::Fail | Self::CancelOthers => true,
            Self::Continue => false,
        }
    }
}

/// The kinds of flow control of a rule, in the order in which they are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Passes one match of a key in a period.
    Dedupe,
    /// Passes a limited number of matches of a key in a period.
    Throttle,
    /// Passes the last match of a key once no more come.
    Debounce,
    /// Passes several matches of a key together.
    Window,
    /// Passes a match of a key if none follows it for a while.
    Missing,
    /// Limits the open executions of a key.
    Concurrency,
}

/// What happens to due times at which nothing could fire, because no node ran or the clock was not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// The newest of them fires once for all.
    #[default]
    FireOnce,
    /// None of them fires.
    Skip,
    /// Each of them fires, the oldest first: at most as many as the plan says.
    FireAll,
}
