//! Facts about dead letters. `delivery.refused` and the end of an execution create them.

use serde::{Deserialize, Serialize};

use crate::ids::{EventId, Id};

/// A refused delivery was accepted after all. If an execution is rerun instead, its request records that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterRetried {
    /// The record of the refusal.
    pub of: Id,
    /// The events that it created, or that existed already under its keys; empty if nothing of the sensor
    /// matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
}

/// Somebody dismissed a dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterDismissed {
    /// The record of the refusal, or the execution.
    pub of: Id,
}
