//! Dead letters: deliveries that proved who sent them and were refused all the same, each with its reason.
//!
//! What was delivered is a handle. A delivery that did not prove its sender leaves no record, so it is not here.

use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::names::{SensorRef, TriggerRef};
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::view::{Column, Handle, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// What dead letters can be filtered by.
pub const COLUMNS: &[Column] = &[Column::Sensor];

/// A delivery that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The id of the record.
    pub id: Id,
    /// Its place in the log.
    pub position: Position,
    /// The sensor it came to.
    pub sensor: SensorRef,
    /// The trigger that refused it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerRef>,
    /// Why.
    pub reason: String,
    /// When it came.
    pub time: Timestamp,
    /// What was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Handle>,
}

impl View for DeadLetter {
    const NAME: ViewName = ViewName::DeadLetters;
    type Key = Id;

    fn key(record: &Record) -> Option<Touch<Id>> {
        let Fact::DeliveryRefused(_) = &record.fact else { return None };
        Some(Touch::Begins(record.id))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let Fact::DeliveryRefused(fact) = &record.fact else { return before };
        Some(Self {
            id: record.id,
            position: record.position,
            sensor: fact.sensor.clone(),
            trigger: fact.trigger.clone(),
            reason: fact.reason.clone(),
            time: record.time,
            body: record.body_handle().map(Handle::from),
        })
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.time
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![Some(self.sensor.as_str().into())]
    }

    fn life(&self) -> Life {
        Life::Settled
    }
}
