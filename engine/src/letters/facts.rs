//! What can happen to a dead letter. That there is one, `delivery.refused` and the end of an execution say.

use serde::{Deserialize, Serialize};

use crate::ids::{EventId, Id};

/// What had been delivered was taken in after all. That an execution is run again, its request says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterRetried {
    /// The record of the refusal.
    pub of: Id,
    /// The events that it made, or that were there before under its keys; none where nothing of the sensor fits it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
}

/// Somebody decided that a dead letter is to be left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterDismissed {
    /// The record of the refusal, or the execution.
    pub of: Id,
}
