//! Events.

use ensue_derive::wire;
use ensue_engine::command::{Novelty, SeenEvent};
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::{RuleRef, SensorRef, TriggerRef};
use ensue_engine::record::{CatalogRevision, Position};
use ensue_engine::time::Timestamp;
use ensue_views::{Event, RowReach};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::shapes;

/// An event.
#[wire(Serialize)]
pub(crate) struct WireEvent {
    id: EventId,
    position: Position,
    trigger: TriggerRef,
    /// The version of the trigger that the payload has.
    version: u32,
    source: String,
    sensor: Option<SensorRef>,
    rule: Option<RuleRef>,
    time: Timestamp,
    received_at: Timestamp,
    correlation: Id,
    parent: Option<Id>,
    actor: String,
    catalog: CatalogRevision,
    /// How many rules matched it. This count and the next two are null for a caller whose permission is limited: they
    /// include the rules of other packs.
    matched: Option<u32>,
    erred: Option<u32>,
    /// How many rules read `vars`, or exceeded the step limit that all rules share. They were judged once the
    /// event was in the log; their enforcements show the outcome.
    undecided: Option<u32>,
    payload_bytes: Option<u64>,
    /// Only for a single event: a list shows only its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Option<Box<RawValue>>>,
}

impl WireEvent {
    /// Shows an event as an item of a list.
    pub(crate) fn for_list(event: Event, reach: &RowReach) -> Self {
        let counted = |count| (*reach == RowReach::Everything).then_some(count);
        Self {
            id: event.id,
            position: event.position,
            trigger: event.trigger,
            version: event.version.number(),
            source: event.source,
            sensor: event.sensor,
            rule: event.rule,
            time: event.time,
            received_at: event.received_at,
            correlation: event.correlation,
            parent: event.parent,
            actor: event.actor,
            catalog: event.catalog,
            matched: counted(event.matched),
            erred: counted(event.erred),
            undecided: counted(event.undecided),
            payload_bytes: event.payload.map(|payload| payload.bytes),
            payload: None,
        }
    }

    /// Shows a single event; its payload is null if it was erased.
    pub(crate) fn whole(event: Event, payload: Option<Box<RawValue>>, reach: &RowReach) -> Self {
        Self { payload: Some(payload), ..Self::for_list(event, reach) }
    }
}

/// An event that a caller sends.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireGivenEvent {
    pub(crate) trigger: VersionedTrigger,
    pub(crate) payload: Box<RawValue>,
    #[serde(default)]
    pub(crate) dedupe: Option<String>,
}

/// How an event is emitted again.
#[derive(Default, Deserialize, JsonSchema)]
#[schemars(rename = "EmitAgain")]
#[serde(deny_unknown_fields)]
pub(crate) struct WireEmitAgain {
    /// The key under which the new event is accepted once, as when it is sent.
    #[serde(default)]
    pub(crate) dedupe: Option<String>,
}

/// The maximum number of events in one request.
pub(crate) const EVENTS_MAX: usize = 1_000;

/// One event, or a list of events, sent by a caller.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it describes input that is parsed by hand, so that errors have their place")]
pub(crate) enum WireGivenEvents {
    One(WireGivenEvent),
    List(#[schemars(length(max = EVENTS_MAX))] Vec<WireGivenEvent>),
}

/// An accepted event.
#[wire(Serialize)]
#[schemars(rename = "SentEvent")]
pub(crate) struct WireTakenEvent {
    id: EventId,
    position: Position,
}

impl From<&SeenEvent> for WireTakenEvent {
    fn from(event: &SeenEvent) -> Self {
        Self { id: event.id, position: event.position }
    }
}

/// An accepted event of a list.
#[wire(Serialize)]
pub(crate) struct WireTakenItem {
    id: EventId,
    position: Position,
    /// Whether an earlier event with the same key already existed; this is that event.
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
    /// Lists events that were accepted together.
    pub(crate) fn of(events: &[SeenEvent]) -> Self {
        Self { items: events.iter().map(WireTakenItem::from).collect() }
    }
}

/// The accepted events: `id` and `position` if one event was sent, `items` if a list was sent.
// One shape instead of a union, because generated clients cannot read a member of a union without first telling
// its variants apart.
#[derive(JsonSchema)]
#[schemars(rename = "SentEvents", extend("minProperties" = 1))]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct WireTakenOrList {
    /// The id of the event, if it was sent alone.
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
