//! Events, as people look them up: what was observed, where from, and how many rules took it.
//!
//! The payload is not here: its handle says where the log has it.

use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::{RuleRef, SensorRef, TriggerRef};
use ensue_engine::record::{CatalogRevision, Position, Record, StreamId};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Handle, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 3;

/// What events can be filtered by.
pub const COLUMNS: &[Column] = &[Column::Trigger, Column::Source, Column::Correlation];

/// The most bytes that a text of outside is shown with.
const TEXT_BYTES_MAX: usize = 1024;

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its place in the log.
    pub position: Position,
    /// Its kind.
    pub trigger: TriggerRef,
    /// Who observed it: a sensor's ref, `api`, an execution, or what a CloudEvent calls its source.
    pub source: String,
    /// The sensor it came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorRef>,
    /// The rule whose schedule it is, which alone judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// When it happened, as far as the edge knew.
    pub time: Timestamp,
    /// When the log took it.
    pub received_at: Timestamp,
    /// The first record of the chain it stands in: its own id where it begins one.
    pub correlation: Id,
    /// What led to it: the id of the attempt that emitted it, or of the record that the engine tells of; none where it came from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    /// Who sent it, as the log writes actors.
    pub actor: String,
    /// Its payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Handle>,
    /// The catalog by which the rules judged it.
    pub catalog: CatalogRevision,
    /// How many rules were enforced on it.
    pub matched: u32,
    /// How many rules could not be evaluated on it.
    pub erred: u32,
    /// How many rules read vars, or were over the steps of the event, and were judged once it was in the log.
    #[serde(default)]
    pub undecided: u32,
}

impl View for Event {
    const NAME: ViewName = ViewName::Events;
    type Key = EventId;

    fn key(record: &Record) -> Option<Touch<EventId>> {
        let (Fact::EventReceived(_), StreamId::Event(id)) = (&record.fact, &record.stream) else { return None };
        Some(Touch::Begins(*id))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let (Fact::EventReceived(fact), StreamId::Event(id)) = (&record.fact, &record.stream) else { return before };
        Some(Self {
            id: *id,
            position: record.position,
            trigger: fact.trigger.clone(),
            source: cut(&fact.source, TEXT_BYTES_MAX),
            sensor: fact.sensor.clone(),
            rule: fact.rule.clone(),
            time: fact.occurred_at,
            received_at: record.time,
            correlation: record.cause.root,
            parent: record.cause.parent,
            actor: cut(&record.actor.to_string(), TEXT_BYTES_MAX),
            payload: record.body_handle().map(Handle::from),
            catalog: fact.catalog,
            matched: fact.matched,
            erred: fact.erred,
            undecided: fact.undecided,
        })
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.received_at
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![Some(self.trigger.as_str().into()), Some(self.source.as_str().into()), Some(self.correlation.into())]
    }

    fn life(&self) -> Life {
        Life::Settled
    }
}
