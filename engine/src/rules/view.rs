//! An event as rules see it.

use crate::ids::EventId;
use crate::names::{RuleRef, TriggerRef};
use crate::time::Timestamp;
use ensue_expression::{Document, Value};

/// An event as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    /// `event.id`
    pub id: EventId,
    /// `event.trigger`
    pub trigger: &'a TriggerRef,
    /// `event.source`
    pub source: &'a str,
    /// `event.time`
    pub time: Timestamp,
    /// `event.payload`
    pub payload: &'a Document,
    /// The only rule that judges it, if it is an event of that rule's schedule.
    pub only: Option<&'a RuleRef>,
}

/// The texts of an event, which its values borrow.
pub(crate) struct EventTexts {
    id: String,
    time: String,
}

impl EventTexts {
    pub(crate) fn of(event: &EventView<'_>) -> Self {
        Self { id: event.id.to_string(), time: event.time.to_string() }
    }
}

pub(crate) fn event_value<'a>(event: &'a EventView<'_>, texts: &'a EventTexts) -> Value<'a> {
    Value::map([
        ("id", Value::from(texts.id.as_str())),
        ("payload", Value::from(event.payload.root())),
        ("source", Value::from(event.source)),
        ("time", Value::from(texts.time.as_str())),
        ("trigger", Value::from(event.trigger.as_str())),
    ])
}
