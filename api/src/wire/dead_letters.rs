//! Dead letters, and what came of dealing with them.

use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::names::{SensorRef, TriggerRef};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::DeadLetter;
use ensue_views::dead_letters::{LetterStatus, SettledLetter};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::bulk::WireRefused;
use crate::shapes;

/// What gave up: a delivery that proved who sent it and was refused all the same, or an execution that failed for good.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireDeadLetter {
    #[schemars(with = "shapes::Id")]
    id: Id,
    #[schemars(with = "shapes::Position")]
    position: Position,
    /// `open`, `retried` or `dismissed`.
    status: &'static str,
    /// The execution that failed; null of a delivery.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    execution: Option<ExecutionId>,
    /// The sensor that it came to; null of an execution.
    #[schemars(with = "Option<shapes::SensorRef>")]
    sensor: Option<SensorRef>,
    #[schemars(with = "Option<shapes::TriggerRef>")]
    trigger: Option<TriggerRef>,
    reason: String,
    #[schemars(with = "shapes::Timestamp")]
    time: Timestamp,
    /// What was done about it last.
    settled: Option<WireSettled>,
    /// Only of a single delivery: what was delivered; null where it was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<Option<Box<RawValue>>>,
}

/// What was done about a dead letter.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSettled {
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
    /// By whom.
    by: String,
    /// The execution that runs it again.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    rerun: Option<ExecutionId>,
    /// The events that it made when it was delivered again.
    #[schemars(with = "Vec<shapes::EventId>")]
    events: Vec<EventId>,
}

impl WireDeadLetter {
    /// Shows a dead letter in a list.
    pub(crate) fn listed(letter: DeadLetter) -> Self {
        let DeadLetter { id, position, status, execution, sensor, trigger, reason, time, body: _, settled } = letter;
        let settled = settled.map(|SettledLetter { at, by, rerun, events }| WireSettled { at, by, rerun, events });
        Self { id, position, status: LetterStatus::as_str(status), execution, sensor, trigger, reason, time, settled, delivered: None }
    }

    /// Shows a dead letter alone, with what was delivered.
    pub(crate) fn whole(letter: DeadLetter, delivered: Option<Box<RawValue>>) -> Self {
        Self { delivered: Some(delivered), ..Self::listed(letter) }
    }
}

/// What came of dealing with a dead letter.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireDealtWith {
    #[schemars(with = "shapes::Id")]
    pub(crate) id: Id,
    /// Where it is in the log; null where it was refused, or in a dry run.
    #[schemars(with = "Option<shapes::Position>")]
    pub(crate) position: Option<Position>,
    /// The execution that runs it again.
    #[schemars(with = "Option<shapes::ExecutionId>")]
    pub(crate) rerun: Option<ExecutionId>,
    /// The events that it made.
    #[schemars(with = "Vec<shapes::EventId>")]
    pub(crate) events: Vec<EventId>,
    /// Why it was refused; null where it was not.
    pub(crate) error: Option<WireRefused>,
}
