//! Dead letters, and the results of settling them.

use ensue_derive::wire;
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::names::{SensorRef, TriggerRef};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::DeadLetter;
use ensue_views::dead_letters::{LetterStatus, SettledLetter};
use serde::Serialize;
use serde_json::value::RawValue;

use super::bulk::WireRefused;

/// A dead letter: a delivery whose sender was verified but that was refused, or an execution that failed
/// permanently.
#[wire(Serialize)]
pub(crate) struct WireDeadLetter {
    id: Id,
    position: Position,
    /// `open`, `retried` or `dismissed`.
    status: &'static str,
    /// The execution that failed; null for a delivery.
    execution: Option<ExecutionId>,
    /// The sensor that received it; null for an execution.
    sensor: Option<SensorRef>,
    trigger: Option<TriggerRef>,
    reason: String,
    time: Timestamp,
    /// How it was last settled.
    settled: Option<WireSettled>,
    /// Only for a single delivery: the delivered body; null if it was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<Option<Box<RawValue>>>,
}

/// How a dead letter was settled.
#[wire(Serialize)]
pub(crate) struct WireSettled {
    at: Timestamp,
    /// The caller who settled it.
    by: String,
    /// The new execution that reruns it.
    rerun: Option<ExecutionId>,
    /// The events that it created when it was delivered again.
    events: Vec<EventId>,
}

impl WireDeadLetter {
    /// Shows a dead letter as an item of a list.
    pub(crate) fn for_list(letter: DeadLetter) -> Self {
        let DeadLetter { id, position, status, execution, sensor, trigger, reason, time, body: _, settled, scope: _ } = letter;
        let settled = settled.map(|SettledLetter { at, by, rerun, events }| WireSettled { at, by, rerun, events });
        Self { id, position, status: LetterStatus::as_str(status), execution, sensor, trigger, reason, time, settled, delivered: None }
    }

    /// Shows a single dead letter with the delivered body.
    pub(crate) fn whole(letter: DeadLetter, delivered: Option<Box<RawValue>>) -> Self {
        Self { delivered: Some(delivered), ..Self::for_list(letter) }
    }
}

/// The result of settling a dead letter.
#[wire(Serialize)]
pub(crate) struct WireDealtWith {
    pub(crate) id: Id,
    /// Its position in the log; null if it was refused, or in a dry run.
    pub(crate) position: Option<Position>,
    /// The new execution that reruns it.
    pub(crate) rerun: Option<ExecutionId>,
    /// The events that it created.
    pub(crate) events: Vec<EventId>,
    /// Why it was refused; null if it was not.
    pub(crate) error: Option<WireRefused>,
}
