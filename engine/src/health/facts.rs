//! What can happen to the log itself.

use serde::{Deserialize, Serialize};

use crate::ids::ExecutionId;
use crate::record::{Chain, Position};
use crate::time::Timestamp;

/// A node began to write to the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStarted {
    /// The release it runs.
    pub release: String,
}

/// The wall clock moved away from the node's own by more than a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockStepped {
    /// What the node's own clock said.
    pub from: Timestamp,
    /// What the wall clock said.
    pub to: Timestamp,
}

/// An operator said that the clock is right as it stands now: nothing is held for its last step any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockAccepted {}

/// An operator restored the log from an older copy. The records between this one and `known` were written once, and are missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRestored {
    /// The newest position that is known to have been written.
    pub known: Position,
    /// The hash of the chain there.
    pub chain: Chain,
}

/// What follows from a record was more than one turn may do: the rest is owed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionDeferred {
    /// The record.
    pub of: Position,
    /// The first of its consequences that is owed.
    pub next: u32,
}

/// What was owed to a record is worked out from here on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionResumed {
    /// The record.
    pub of: Position,
}

/// What follows from a record is of something that is paused: it waits until that is resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionHeld {
    /// The record.
    pub of: Position,
    /// The first of its consequences that waits.
    pub next: u32,
    /// What is paused.
    pub execution: ExecutionId,
}

/// What should have followed from a record could not be worked out, because of a bug of ours; everything else went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionParked {
    /// The record.
    pub of: Position,
    /// The first of its consequences that did not come about; those after it wait with it.
    pub next: u32,
    /// What went wrong.
    pub error: String,
}

/// An operator asked for a parked reaction to be tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionRetried {
    /// The record.
    pub of: Position,
}

/// An operator decided that a parked reaction is not to be, with all that it held up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionDismissed {
    /// The record.
    pub of: Position,
}
