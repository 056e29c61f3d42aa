//! Webhooks, and deliveries at them.

use ensue_engine::catalog::{Sensor, Source, Verify};
use ensue_engine::command::ReceivedEvent;
use ensue_engine::ids::EventId;
use ensue_engine::names::{KeyRef, PackName, SensorRef, TriggerRef};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deliveries::{Delivery, DeliveryEnd};
use crate::openapi::shapes;
use crate::ports::SecretState;

/// What a delivery is answered with.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireTaken<'a> {
    pub(crate) events: Vec<WireTakenEvent<'a>>,
}

/// An event that a delivery made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeliveredEvent")]
pub(crate) struct WireTakenEvent<'a> {
    #[schemars(with = "shapes::EventId")]
    id: EventId,
    #[schemars(with = "shapes::TriggerRef")]
    trigger: &'a TriggerRef,
    #[schemars(with = "shapes::Position")]
    position: Position,
}

impl<'a> From<&'a ReceivedEvent> for WireTakenEvent<'a> {
    fn from(event: &'a ReceivedEvent) -> Self {
        Self { id: event.id, trigger: &event.trigger, position: event.position }
    }
}

/// A delivery to sign and send.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireSend {
    pub(crate) event: String,
    pub(crate) body: Box<RawValue>,
}

/// A webhook.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireHook {
    #[schemars(with = "shapes::SensorRef")]
    r#ref: SensorRef,
    #[schemars(with = "shapes::PackName")]
    pack: PackName,
    description: String,
    url: String,
    scheme: &'static str,
    #[schemars(with = "Option<shapes::KeyRef>")]
    key: Option<KeyRef>,
    secret: &'static str,
    deliveries: Vec<WireDelivery>,
}

impl WireHook {
    /// Shows a webhook with its last deliveries.
    pub(crate) fn new(sensor: &Sensor, url: String, secret: SecretState, deliveries: Vec<Delivery>) -> Self {
        let Source::Webhook { verify } = &sensor.source;
        Self {
            r#ref: sensor.name.clone(),
            pack: sensor.name.pack(),
            description: sensor.description.clone(),
            url,
            scheme: scheme(verify),
            key: verify.key().cloned(),
            secret: match secret {
                SecretState::Set => "set",
                SecretState::Missing => "missing",
                SecretState::Unusable => "unusable",
                SecretState::NotNeeded => "not_needed",
            },
            deliveries: deliveries.into_iter().map(WireDelivery::from).collect(),
        }
    }
}

/// Gives the name of a scheme, as packs write it.
pub(crate) fn scheme(verify: &Verify) -> &'static str {
    match verify {
        Verify::Github { .. } => "github",
        Verify::Hmac(_) => "hmac",
        Verify::None => "none",
    }
}

/// One delivery.
#[derive(Serialize, JsonSchema)]
struct WireDelivery {
    #[schemars(with = "shapes::Timestamp")]
    at: Timestamp,
    seconds: f64,
    bytes: Option<usize>,
    request_id: String,
    outcome: &'static str,
    #[schemars(with = "Vec<shapes::EventId>")]
    events: Vec<EventId>,
    code: Option<String>,
    why: Option<String>,
}

impl From<Delivery> for WireDelivery {
    fn from(delivery: Delivery) -> Self {
        let (outcome, events, code, why) = match delivery.end {
            DeliveryEnd::Accepted(events) => ("accepted", events, None, None),
            DeliveryEnd::Repeated(events) => ("repeated", events, None, None),
            DeliveryEnd::Refused { code, why } => ("refused", Vec::new(), Some(code), why),
        };
        Self {
            at: delivery.at,
            seconds: delivery.took.as_secs_f64(),
            bytes: delivery.bytes,
            request_id: delivery.request_id,
            outcome,
            events,
            code,
            why,
        }
    }
}
