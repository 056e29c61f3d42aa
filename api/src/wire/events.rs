//! Events.

use ensue_engine::command::{Novelty, SeenEvent};
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::{RuleRef, SensorRef, TriggerRef};
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::time::Timestamp;
use ensue_views::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::shapes;

/// An event.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireEvent {
    #[schemars(with = "shapes::EventId")]
    id: EventId,
    #[schemars(with = "shapes::Position")]
    position: Position,
    #[schemars(with = "shapes::TriggerRef")]
    trigger: TriggerRef,
    source: String,
    #[schemars(with = "Option<shapes::SensorRef>")]
    sensor: Option<SensorRef>,
    #[schemars(with = "Option<shapes::RuleRef>")]
    rule: Option<RuleRef>,
    #[schemars(with = "shapes::Timestamp")]
    time: Timestamp,
    #[schemars(with = "shapes::Timestamp")]
    received_at: Timestamp,
    #[schemars(with = "shapes::Id")]
    correlation: Id,
    #[schemars(with = "Option<shapes::Id>")]
    parent: Option<Id>,
    actor: String,
    #[schemars(with = "shapes::CatalogRevision")]
    catalog: CatalogRevision,
    matched: u32,
    erred: u32,
    /// How many rules read `vars`, or were over the steps that all rules have at once. They were judged once the event was in the log, and
    /// their enforcements say what became of it.
    undecided: u32,
    payload_bytes: Option<u64>,
    /// Only of a single event: a list names its size alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Option<Box<RawValue>>>,
}

impl WireEvent {
    /// Shows an event in a list.
    pub(crate) fn listed(event: Event) -> Self {
        Self {
            id: event.id,
            position: event.position,
            trigger: event.trigger,
            source: event.source,
            sensor: event.sensor,
            rule: event.rule,
            time: event.time,
            received_at: event.received_at,
            correlation: event.correlation,
            parent: event.parent,
            actor: event.actor,
            catalog: event.catalog,
            matched: event.matched,
            erred: event.erred,
            undecided: event.undecided,
            payload_bytes: event.payload.map(|payload| payload.bytes),
            payload: None,
        }
    }

    /// Shows an event alone; its payload is null where it was erased.
    pub(crate) fn whole(event: Event, payload: Option<Box<RawValue>>) -> Self {
        Self { payload: Some(payload), ..Self::listed(event) }
    }
}

/// An event that a caller sends.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireGivenEvent {
    #[schemars(with = "shapes::TriggerRef")]
    pub(crate) trigger: TriggerRef,
    pub(crate) payload: Box<RawValue>,
    #[serde(default)]
    pub(crate) dedupe: Option<String>,
}

/// The most events of one request.
pub(crate) const EVENTS_MAX: usize = 1_000;

/// One event that a caller sends, or a list.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it stands for what is read by hand, so that what is wrong is told where it stands")]
pub(crate) enum WireGivenEvents {
    One(WireGivenEvent),
    List(#[schemars(length(max = EVENTS_MAX))] Vec<WireGivenEvent>),
}

/// An event that was taken.
#[derive(Serialize)]
pub(crate) struct WireTakenEvent {
    id: EventId,
    position: Position,
}

impl From<&SeenEvent> for WireTakenEvent {
    fn from(event: &SeenEvent) -> Self {
        Self { id: event.id, position: event.position }
    }
}

/// An event of a list that was taken.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireTakenItem {
    #[schemars(with = "shapes::EventId")]
    id: EventId,
    #[schemars(with = "shapes::Position")]
    position: Position,
    /// Whether it is the first one of its key, which was there before.
    repeat: bool,
}

impl From<&SeenEvent> for WireTakenItem {
    fn from(event: &SeenEvent) -> Self {
        Self { id: event.id, position: event.position, repeat: event.novelty == Novelty::Repeat }
    }
}

/// The events of a list, in its order.
#[derive(Serialize)]
pub(crate) struct WireTakenEvents {
    items: Vec<WireTakenItem>,
}

impl WireTakenEvents {
    /// Tells of events that were taken together.
    pub(crate) fn of(events: &[SeenEvent]) -> Self {
        Self { items: events.iter().map(WireTakenItem::from).collect() }
    }
}

/// What was taken: `id` and `position` if one event was sent, `items` if a list was sent.
// One shape and no union, because generated clients cannot read a member of a union without telling its variants apart first.
#[derive(JsonSchema)]
#[schemars(rename = "SentEvents", extend("minProperties" = 1))]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct WireTakenOrList {
    /// The event that was sent alone.
    #[schemars(with = "shapes::EventId")]
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    /// Its position.
    #[schemars(with = "shapes::Position")]
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    /// The events of the list, in its order.
    #[schemars(with = "Vec<WireTakenItem>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<WireTakenItem>>,
}
