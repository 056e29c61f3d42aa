//! Dead letters: deliveries and executions that failed permanently and wait for an operator, each with its
//! reason and what was done about it.
//!
//! A dead letter is a delivery that proved its sender but was rejected, or an execution that failed
//! permanently and is not part of a workflow. The delivered body is a handle. A delivery that did not prove
//! its sender leaves no record, so it is not here.

use ensue_derive::sparse;
use ensue_engine::executions::facts::Failure;
use ensue_engine::executions::scope::ExecutionScope;
use ensue_engine::fact::{ByNoun, DeadLetterFact, EventFact, ExecutionFact, Fact};
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::names::{Names, SensorRef, TriggerRef};
use ensue_engine::record::{Position, Record, StreamId};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::reach::RowScope;
use crate::view::{Column, Handle, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 3;

/// The columns by which dead letters can be filtered.
pub const COLUMNS: &[Column] = &[Column::Sensor, Column::Status];

/// The maximum size of a shown reason, in bytes.
const REASON_BYTES_MAX: usize = 4096;

/// The maximum size of a shown actor, in bytes.
const ACTOR_BYTES_MAX: usize = 512;

/// The maximum number of events shown for a retry: the first ones.
const EVENTS_MAX: usize = 50;

/// A dead letter.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The id of the record of the refusal, or of the execution.
    pub id: Id,
    /// The position of the refusal, or of the end, in the log.
    pub position: Position,
    /// Its status.
    pub status: LetterStatus,
    /// The execution that failed; `None` for a delivery.
    pub execution: Option<ExecutionId>,
    /// The sensor of the delivery; `None` for an execution.
    pub sensor: Option<SensorRef>,
    /// The trigger that rejected it, if one did.
    pub trigger: Option<TriggerRef>,
    /// The scope of the execution; `None` for a delivery, or if an older release recorded the end.
    pub scope: Option<Box<ExecutionScope>>,
    /// The reason.
    pub reason: String,
    /// When it arrived, or ended.
    pub time: Timestamp,
    /// The delivered body.
    pub body: Option<Handle>,
    /// The last action on it.
    pub settled: Option<SettledLetter>,
}

/// The status of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum LetterStatus {
    /// Nobody has handled it yet.
    Open,
    /// It was delivered again, or run again.
    Retried,
    /// Somebody dismissed it.
    Dismissed,
}

/// An action on a dead letter.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettledLetter {
    /// When it happened.
    pub at: Timestamp,
    /// The actor, in the log's notation.
    pub by: String,
    /// The execution that reruns it.
    pub rerun: Option<ExecutionId>,
    /// The events that its redelivery made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
}

impl DeadLetter {
    fn of_execution(record: &Record, error: &Failure) -> Option<Self> {
        let execution = execution_of(record)?;
        Some(Self {
            id: execution.0,
            position: record.position,
            status: LetterStatus::Open,
            execution: Some(execution),
            sensor: None,
            trigger: None,
            scope: scope_of(record),
            reason: cut(&error.message, REASON_BYTES_MAX),
            time: record.time,
            body: None,
            settled: None,
        })
    }

    fn settle(self, status: LetterStatus, record: &Record, rerun: Option<ExecutionId>, events: &[EventId]) -> Self {
        let events = events.iter().take(EVENTS_MAX).copied().collect();
        Self {
            status,
            settled: Some(SettledLetter { at: record.time, by: cut(&record.actor.to_string(), ACTOR_BYTES_MAX), rerun, events }),
            ..self
        }
    }
}

impl View for DeadLetter {
    const NAME: ViewName = ViewName::DeadLetters;
    type Key = Id;

    fn key(record: &Record) -> Option<Touch<Id>> {
        match record.fact.by_noun() {
            ByNoun::EventFact(EventFact::DeliveryRefused(_)) => Some(Touch::Begins(record.id)),
            ByNoun::ExecutionFact(ExecutionFact::ExecutionRequested(fact)) => fact.rerun_of.map(|of| Touch::Changes(of.0)),
            ByNoun::ExecutionFact(fact) => fact.gave_up().and(execution_of(record)).map(|execution| Touch::Begins(execution.0)),
            ByNoun::DeadLetterFact(DeadLetterFact::DeadLetterRetried(fact)) => Some(Touch::Changes(fact.of)),
            ByNoun::DeadLetterFact(DeadLetterFact::DeadLetterDismissed(fact)) => Some(Touch::Changes(fact.of)),
            _ => None,
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        match record.fact.by_noun() {
            ByNoun::EventFact(EventFact::DeliveryRefused(fact)) => Some(Self {
                id: record.id,
                position: record.position,
                status: LetterStatus::Open,
                execution: None,
                sensor: Some(fact.sensor.clone()),
                trigger: fact.trigger.clone(),
                scope: None,
                reason: fact.reason.clone(),
                time: record.time,
                body: record.body_handle().map(Handle::from),
                settled: None,
            }),
            ByNoun::ExecutionFact(ExecutionFact::ExecutionRequested(_)) => {
                before.map(|letter| letter.settle(LetterStatus::Retried, record, execution_of(record), &[]))
            }
            ByNoun::ExecutionFact(fact) => match fact.gave_up() {
                Some(error) => Self::of_execution(record, error),
                None => before,
            },
            ByNoun::DeadLetterFact(DeadLetterFact::DeadLetterRetried(fact)) => {
                before.map(|letter| letter.settle(LetterStatus::Retried, record, None, &fact.events))
            }
            ByNoun::DeadLetterFact(DeadLetterFact::DeadLetterDismissed(_)) => {
                before.map(|letter| letter.settle(LetterStatus::Dismissed, record, None, &[]))
            }
            _ => before,
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.time
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![self.sensor.as_ref().map(|sensor| sensor.as_str().into()), Some(self.status.as_str().into())]
    }

    fn scope(&self) -> Option<RowScope> {
        match &self.sensor {
            Some(sensor) => Some(RowScope::of_pack(sensor.pack().as_str())),
            None => self.scope.as_deref().map(RowScope::from),
        }
    }
}

/// Returns the scope of the execution that a record ends.
fn scope_of(record: &Record) -> Option<Box<ExecutionScope>> {
    match &record.fact {
        Fact::ExecutionFailed(fact) => fact.scope.clone(),
        Fact::ExecutionTimedOut(fact) => fact.scope.clone(),
        _ => None,
    }
}

fn execution_of(record: &Record) -> Option<ExecutionId> {
    if let StreamId::Execution(id) = record.stream { Some(id) } else { None }
}
