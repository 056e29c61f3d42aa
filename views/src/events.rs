//! Events, as people look them up: what was observed, its source, and how many rules matched.
//!
//! The payload is not here; its handle points into the log.

use ensue_derive::sparse;
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::{RuleRef, SensorRef, TriggerRef};
use ensue_engine::record::{CatalogRevision, Position, Record, StreamId};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::reach::RowScope;
use crate::view::{Column, Handle, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 4;

/// The columns by which events can be filtered.
pub const COLUMNS: &[Column] = &[Column::Trigger, Column::Source, Column::Correlation];

/// The maximum size of a shown text from outside, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// An event.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its position in the log.
    pub position: Position,
    /// Its trigger.
    pub trigger: TriggerRef,
    /// The version of the trigger that its payload has.
    #[serde(default, skip_serializing_if = "TriggerVersion::is_first")]
    pub version: TriggerVersion,
    /// Its observer: the ref of a sensor, `api`, an execution, or the source of a CloudEvent.
    pub source: String,
    /// The sensor through which it came.
    pub sensor: Option<SensorRef>,
    /// The rule to whose schedule it belongs. Only that rule judges it.
    pub rule: Option<RuleRef>,
    /// When it happened, as far as the sender knew.
    pub time: Timestamp,
    /// When the log recorded it.
    pub received_at: Timestamp,
    /// The first record of its causal chain; its own id if it begins one.
    pub correlation: Id,
    /// Its cause: the id of the attempt that emitted it, or of the record that the engine reports with it.
    /// `None` if it came from outside.
    pub parent: Option<Id>,
    /// The actor that sent it, in the log's notation.
    pub actor: String,
    /// Its payload.
    pub payload: Option<Handle>,
    /// The revision of the catalog with which the rules judged it.
    pub catalog: CatalogRevision,
    /// The number of enforcements on it.
    pub matched: u32,
    /// The number of rules that could not be evaluated on it.
    pub erred: u32,
    /// The number of rules that were judged only once it was in the log, because they read vars or exceeded
    /// the steps of the event.
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
            version: fact.version,
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

    fn scope(&self) -> Option<RowScope> {
        Some(RowScope::of_pack(self.trigger.pack().as_str()))
    }
}
