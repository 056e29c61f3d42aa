//! Creating events from webhook deliveries.

use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::catalog::WaitingReply;
use ensue_engine::command::{ObservedEvent, RefusedDelivery};
use ensue_engine::names::SensorRef;
use ensue_engine::ports::{Came, HookReply, HookRequest};

use super::PortError;

/// Creates events from webhook deliveries.
pub trait Webhooks: Send + Sync {
    /// Verifies a delivery over its raw body, and creates its judged events: none if no `emits` matches; if
    /// several match, all or none are created. Or returns the reply that ends it. Works on the calling thread and
    /// does not wait: quick, although it costs tens of microseconds.
    fn receive(&self, request: HookRequest) -> Result<HookOutcome, HookRefusal>;
    /// Returns true if [`receive`](Self::receive) may wait for others at this sensor, because its senders are verified with what an
    /// authority publishes. Quick.
    fn may_wait(&self, sensor: &SensorRef) -> bool;
    /// Confirms the subscriptions of Amazon SNS that wait at a sensor. Waits for Amazon SNS.
    fn confirm(&self, sensor: &SensorRef) -> Result<Vec<ConfirmedTopic>, PortError>;
    /// Returns what of a delivery people may see besides its body. Quick.
    fn shown_delivery(&self, request: &HookRequest) -> ShownDelivery;
    /// Renders the reply of a sensor for what came of a delivery; `None` for the usual one. Quick.
    fn reply_to(&self, sensor: &SensorRef, waits: &WaitingReply, came: &Came) -> Result<Option<HookReply>, PortError>;
    /// Creates the judged events of a delivery whose sender was verified when it arrived, but that was refused.
    /// Quick, like [`receive`](Self::receive).
    fn deliver_again(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, PortError>;
    /// Signs a delivery as the sensor's sender would. Quick.
    fn sign(&self, sensor: &SensorRef, delivery: ToSign<'_>) -> Result<HookRequest, PortError>;
    /// Returns the state of the secret with which the sensor's deliveries are verified. Quick.
    fn secret(&self, sensor: &SensorRef) -> SecretState;
}

/// What a delivery leads to.
#[derive(Debug)]
pub enum HookOutcome {
    /// A reply, and no event.
    Reply(HookReply),
    /// Its events.
    Events {
        /// The events, judged.
        events: Vec<ObservedEvent>,
        /// The reply that waits for what comes of them.
        waits: Option<Arc<WaitingReply>>,
    },
}

/// What of a delivery people may see besides its body: nothing of the proof, and nothing that may be a secret.
#[derive(Clone, Debug, Default)]
pub struct ShownDelivery {
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Parameters of the query.
    pub query: Vec<(String, String)>,
}

/// A topic of Amazon SNS whose messages a hook gets from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmedTopic {
    /// Its ARN.
    pub topic: String,
}

/// A delivery to sign.
#[derive(Clone, Debug)]
pub struct ToSign<'a> {
    /// The sender's name for what happened; empty if it does not name it in a header.
    pub event: &'a str,
    /// The id of the delivery, for schemes that have one.
    pub delivery: &'a str,
    /// The body as JSON, whatever form the hook accepts.
    pub body: Bytes,
    /// The public URL of the hook.
    pub url: &'a str,
    /// The values of the parameters in its path.
    pub path: &'a [(String, String)],
}

/// Why a delivery created no event.
#[derive(Debug)]
pub struct HookRefusal {
    /// The reason, and where the payload does not fit. Its fault is `Missing` for an unknown hook,
    /// `Unauthenticated` if the sender could not be verified, and `Unavailable` if the hook's own secret is
    /// missing or damaged.
    pub declined: PortError,
    /// The delivery to store as a dead letter, if its sender was verified.
    pub keep: Option<Box<RefusedDelivery>>,
}

impl<E: Into<PortError>> From<E> for HookRefusal {
    fn from(why: E) -> Self {
        Self { declined: why.into(), keep: None }
    }
}

/// The state of a hook's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// It is set and can be decrypted.
    Set,
    /// It is not set: no delivery is accepted.
    Missing,
    /// It is set, but cannot be decrypted or is too short to be safe: no delivery is accepted.
    Unusable,
    /// The hook accepts deliveries from anybody.
    NotNeeded,
}
