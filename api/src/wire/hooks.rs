//! Webhooks and their deliveries.

use ensue_derive::wire;
use ensue_engine::catalog::{Scheme, Sensor, Verify};
use ensue_engine::command::ReceivedEvent;
use ensue_engine::ids::EventId;
use ensue_engine::names::{KeyRef, PackName, SensorRef, TriggerRef};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deliveries::{Delivery, DeliveryEnd};
use crate::ports::SecretState;

/// The response to a delivery.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireTaken<'a> {
    pub(crate) events: Vec<WireTakenEvent<'a>>,
}

/// An event that a delivery created.
#[wire(Serialize)]
#[schemars(rename = "DeliveredEvent")]
pub(crate) struct WireTakenEvent<'a> {
    id: EventId,
    trigger: &'a TriggerRef,
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
    /// The name of the event in the sender's terms; omit it for senders that do not send it in a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    pub(crate) body: Box<RawValue>,
}

/// A webhook.
#[wire(Serialize)]
pub(crate) struct WireHook {
    r#ref: SensorRef,
    pack: PackName,
    description: String,
    url: String,
    scheme: WireScheme,
    key: Option<KeyRef>,
    secret: WireSecretState,
    deliveries: Vec<WireDelivery>,
}

impl WireHook {
    /// Shows a webhook with its latest deliveries.
    pub(crate) fn new((sensor, verify): (&Sensor, &Verify), url: String, secret: SecretState, deliveries: Vec<Delivery>) -> Self {
        Self {
            r#ref: sensor.name.clone(),
            pack: sensor.name.pack(),
            description: sensor.description.clone(),
            url,
            scheme: verify.into(),
            key: verify.key().cloned(),
            secret: match secret {
                SecretState::Set => WireSecretState::Set,
                SecretState::Missing => WireSecretState::Missing,
                SecretState::Unusable => WireSecretState::Unusable,
                SecretState::NotNeeded => WireSecretState::NotNeeded,
            },
            deliveries: deliveries.into_iter().map(WireDelivery::from).collect(),
        }
    }
}

/// How a delivery's sender is verified, in the terms that packs use.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireScheme {
    /// By a user and a password.
    Basic,
    /// By a bearer token.
    Bearer,
    /// By Bitbucket's signature.
    Bitbucket,
    /// By Discord's signature.
    Discord,
    /// By Dropbox's signature.
    Dropbox,
    /// By GitHub's signature.
    Github,
    /// By GitLab's secret token.
    Gitlab,
    /// By a token in a header that the pack names.
    Header,
    /// By an HMAC, as configured by the pack.
    Hmac,
    /// By Jira's signature.
    Jira,
    /// By Linear's signature.
    Linear,
    /// By Meta's signature.
    Meta,
    /// By PagerDuty's signature.
    Pagerduty,
    /// By Sentry's signature.
    Sentry,
    /// By Shopify's signature.
    Shopify,
    /// By Slack's signature.
    Slack,
    /// By the signature of Standard Webhooks.
    Standard,
    /// By Stripe's signature.
    Stripe,
    /// By Twilio's signature.
    Twilio,
    /// By Zoom's signature.
    Zoom,
    /// Not at all: anybody may deliver.
    None,
}

impl From<&Verify> for WireScheme {
    fn from(verify: &Verify) -> Self {
        match verify {
            Verify::Proof { scheme, .. } => match scheme {
                Scheme::Basic => Self::Basic,
                Scheme::Bearer => Self::Bearer,
                Scheme::Bitbucket => Self::Bitbucket,
                Scheme::Discord => Self::Discord,
                Scheme::Dropbox => Self::Dropbox,
                Scheme::Github => Self::Github,
                Scheme::Gitlab => Self::Gitlab,
                Scheme::Header(_) => Self::Header,
                Scheme::Hmac(_) => Self::Hmac,
                Scheme::Jira => Self::Jira,
                Scheme::Linear => Self::Linear,
                Scheme::Meta => Self::Meta,
                Scheme::Pagerduty => Self::Pagerduty,
                Scheme::Sentry => Self::Sentry,
                Scheme::Shopify => Self::Shopify,
                Scheme::Slack => Self::Slack,
                Scheme::Standard => Self::Standard,
                Scheme::Stripe => Self::Stripe,
                Scheme::Twilio => Self::Twilio,
                Scheme::Zoom => Self::Zoom,
            },
            Verify::None => Self::None,
        }
    }
}

/// The state of the secret with which deliveries are verified.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireSecretState {
    /// The key is set.
    Set,
    /// The key is not set.
    Missing,
    /// The key is set, but cannot be used as a secret.
    Unusable,
    /// Anybody may deliver.
    NotNeeded,
}

/// One delivery.
#[wire(Serialize)]
struct WireDelivery {
    at: Timestamp,
    seconds: f64,
    bytes: Option<usize>,
    request_id: String,
    outcome: WireDeliveryOutcome,
    events: Vec<EventId>,
    code: Option<String>,
    why: Option<String>,
}

/// The outcome of a delivery.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireDeliveryOutcome {
    /// It created its events; none if it matched nothing.
    Accepted,
    /// It is a duplicate.
    Repeated,
    /// It was refused.
    Refused,
}

impl From<Delivery> for WireDelivery {
    fn from(delivery: Delivery) -> Self {
        let (outcome, events, code, why) = match delivery.end {
            DeliveryEnd::Accepted(events) => (WireDeliveryOutcome::Accepted, events, None, None),
            DeliveryEnd::Repeated(events) => (WireDeliveryOutcome::Repeated, events, None, None),
            DeliveryEnd::Refused { code, why } => (WireDeliveryOutcome::Refused, Vec::new(), Some(code), why),
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
