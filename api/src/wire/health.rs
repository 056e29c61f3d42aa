//! Problems that wait for an operator: parked reactions.

use ensue_derive::wire;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::ParkedReaction;
use schemars::JsonSchema;
use serde::Serialize;

/// A parked reaction, identified by the record that caused it.
#[wire(Serialize)]
pub(crate) struct WireParkedReaction {
    of: Position,
    next: u32,
    error: String,
    position: Position,
    parked_at: Timestamp,
}

impl From<ParkedReaction> for WireParkedReaction {
    fn from(parked: ParkedReaction) -> Self {
        let ParkedReaction { of, position, next, error, parked_at } = parked;
        Self { of, next, error, position, parked_at }
    }
}

/// What became of a parked reaction.
#[wire(Serialize)]
pub(crate) struct WireDecided {
    pub(crate) of: Position,
    pub(crate) decided: WireDecision,
}

/// What an operator wants to do with a parked reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireDecision {
    /// Run it again.
    Retry,
    /// Drop it.
    Dismiss,
}

/// Confirms that the clock was accepted.
#[wire(Serialize)]
pub(crate) struct WireClockAccepted {
    /// The newest position of the log at that time.
    pub(crate) position: Position,
}
