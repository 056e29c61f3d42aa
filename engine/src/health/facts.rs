//! Facts about the log itself.

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
    /// The time by the node's own clock.
    pub from: Timestamp,
    /// The time by the wall clock.
    pub to: Timestamp,
}

/// An operator accepted the clock as it is now: timers are no longer held for its last step, and credentials that had ended
/// before it was set back follow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockAccepted {}

/// An operator restored the log from an older copy. The records between this one and `known` were written
/// once, and are missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRestored {
    /// The newest position that is known to have been written.
    pub known: Position,
    /// The hash of the chain there.
    pub chain: Chain,
}

/// The consequences of a record were more than one turn may process: the rest is owed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionDeferred {
    /// The record.
    pub of: Position,
    /// The first of its consequences that is owed.
    pub next: u32,
}

/// From here on, the consequences that were owed to a record are computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionResumed {
    /// The record.
    pub of: Position,
}

/// The consequences of a record belong to a paused execution, and are held until it is resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionHeld {
    /// The record.
    pub of: Position,
    /// The first of its consequences that is held.
    pub next: u32,
    /// The paused execution.
    pub execution: ExecutionId,
}

/// The consequences of a record could not be computed because of an internal error; everything else
/// continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionParked {
    /// The record.
    pub of: Position,
    /// The first of its consequences that could not be computed; those after it wait with it.
    pub next: u32,
    /// The error.
    pub error: String,
}

/// An operator asked to retry a parked reaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionRetried {
    /// The record.
    pub of: Position,
}

/// An operator dismissed a parked reaction, with everything that it blocked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionDismissed {
    /// The record.
    pub of: Position,
}
