//! What went wrong and waits for an operator: reactions that were put aside, and deliveries that were refused.

use ensue_engine::ids::Id;
use ensue_engine::names::{SensorRef, TriggerRef};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::{DeadLetter, ParkedReaction};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::openapi::shapes;

/// A reaction that was put aside, named by the record that it is owed to.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireParkedReaction {
    #[schemars(with = "shapes::Position")]
    of: Position,
    next: u32,
    error: String,
    #[schemars(with = "shapes::Position")]
    position: Position,
    #[schemars(with = "shapes::Timestamp")]
    parked_at: Timestamp,
}

impl From<ParkedReaction> for WireParkedReaction {
    fn from(parked: ParkedReaction) -> Self {
        let ParkedReaction { of, position, next, error, parked_at } = parked;
        Self { of, next, error, position, parked_at }
    }
}

/// What became of a parked reaction.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireDecided {
    #[schemars(with = "shapes::Position")]
    pub(crate) of: Position,
    pub(crate) decided: WireDecision,
}

/// What an operator wants of a parked reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireDecision {
    /// It is worked out again.
    Retry,
    /// It is not to be.
    Dismiss,
}

/// A delivery that proved who sent it and was refused all the same.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireDeadLetter {
    #[schemars(with = "shapes::Id")]
    id: Id,
    #[schemars(with = "shapes::Position")]
    position: Position,
    #[schemars(with = "shapes::SensorRef")]
    sensor: SensorRef,
    #[schemars(with = "Option<shapes::TriggerRef>")]
    trigger: Option<TriggerRef>,
    reason: String,
    #[schemars(with = "shapes::Timestamp")]
    time: Timestamp,
    /// Only of a single one: what was delivered; null where it was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<Option<Box<RawValue>>>,
}

impl WireDeadLetter {
    /// Shows a dead letter in a list.
    pub(crate) fn listed(letter: DeadLetter) -> Self {
        let DeadLetter { id, position, sensor, trigger, reason, time, body: _ } = letter;
        Self { id, position, sensor, trigger, reason, time, delivered: None }
    }

    /// Shows a dead letter alone, with what was delivered.
    pub(crate) fn whole(letter: DeadLetter, delivered: Option<Box<RawValue>>) -> Self {
        Self { delivered: Some(delivered), ..Self::listed(letter) }
    }
}
