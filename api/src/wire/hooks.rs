//! Webhooks and their deliveries.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ensue_derive::wire;
use ensue_engine::catalog::{Scheme, SenderAuthority, Sensor, Verify};
use ensue_engine::command::ReceivedEvent;
use ensue_engine::ids::EventId;
use ensue_engine::names::{KeyRef, PackName, SensorRef, TriggerRef};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deliveries::listeners::HeardDelivery;
use crate::deliveries::{Delivery, DeliveryEnd};
use crate::ports::{ConfirmedTopic, SecretState};

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

/// The topics of Amazon SNS whose subscriptions were confirmed.
#[wire(Serialize)]
pub(crate) struct WireConfirmed {
    topics: Vec<String>,
}

impl From<Vec<ConfirmedTopic>> for WireConfirmed {
    fn from(confirmed: Vec<ConfirmedTopic>) -> Self {
        Self { topics: confirmed.into_iter().map(|confirmed| confirmed.topic).collect() }
    }
}

/// A delivery to sign and send.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireSend {
    /// The name of the event in the sender's terms; omit it for senders that do not send it in a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    /// The body as JSON. For a webhook that accepts forms, an object of the fields; for one that accepts texts, a string; for one that
    /// accepts neither POST nor PUT, null.
    pub(crate) body: Box<RawValue>,
    /// The values of the parameters in the webhook's path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) path: BTreeMap<String, String>,
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
    /// By a token of an issuer.
    Jwt,
    /// By a client certificate.
    Mtls,
    /// By the signature of Amazon SNS.
    Sns,
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
            Verify::Vouched(vouched) => match **vouched {
                SenderAuthority::Sns(_) => Self::Sns,
                SenderAuthority::Jwt(_) => Self::Jwt,
                SenderAuthority::Mtls(_) => Self::Mtls,
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
    /// The status of the reply that ended it.
    status: Option<u16>,
    code: Option<String>,
    why: Option<String>,
}

/// A delivery, as listeners hear it.
#[wire(Serialize)]
pub(crate) struct WireHeard {
    delivery: WireDelivery,
    content: Option<WireContent>,
}

/// What a delivery contains, without its proof.
#[wire(Serialize)]
struct WireContent {
    method: String,
    /// The path below the webhook's own, and the query.
    target: String,
    headers: Vec<WireHeader>,
    /// The body as it was sent.
    body_base64: String,
}

/// A header of a delivery.
#[wire(Serialize)]
struct WireHeader {
    name: String,
    value: String,
}

impl From<HeardDelivery> for WireHeard {
    fn from(heard: HeardDelivery) -> Self {
        let content = heard.content.map(|content| WireContent {
            method: content.method.as_str().to_owned(),
            target: content.target,
            headers: content.headers.into_iter().map(|(name, value)| WireHeader { name, value }).collect(),
            body_base64: STANDARD.encode(&content.body),
        });
        Self { delivery: heard.delivery.into(), content }
    }
}

/// The outcome of a delivery.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WireDeliveryOutcome {
    /// It created its events; none if it matched nothing.
    Accepted,
    /// It is a duplicate.
    Repeated,
    /// A reply of the sensor ended it.
    Replied,
    /// It was refused.
    Refused,
}

impl From<Delivery> for WireDelivery {
    fn from(delivery: Delivery) -> Self {
        let status = if let DeliveryEnd::Replied(status) = &delivery.end { Some(*status) } else { None };
        let (outcome, events, code, why) = match delivery.end {
            DeliveryEnd::Accepted(events) => (WireDeliveryOutcome::Accepted, events, None, None),
            DeliveryEnd::Repeated(events) => (WireDeliveryOutcome::Repeated, events, None, None),
            DeliveryEnd::Replied(_) => (WireDeliveryOutcome::Replied, Vec::new(), None, None),
            DeliveryEnd::Refused { code, why } => (WireDeliveryOutcome::Refused, Vec::new(), Some(code), why),
        };
        Self {
            at: delivery.at,
            seconds: delivery.took.as_secs_f64(),
            bytes: delivery.bytes,
            request_id: delivery.request_id,
            outcome,
            events,
            status,
            code,
            why,
        }
    }
}
