//! Creating events from webhook deliveries.

use bytes::Bytes;
use ensue_engine::command::{ObservedEvent, RefusedDelivery};
use ensue_engine::names::SensorRef;
use ensue_engine::ports::HookRequest;

use super::Declined;

/// Creates events from webhook deliveries.
pub trait Webhooks: Send + Sync {
    /// Verifies a delivery over its raw body, and creates its judged events: none if no `emits` matches; if
    /// several match, all or none are created. Works on the calling thread and does not wait: quick, although
    /// it costs tens of microseconds.
    fn receive(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, HookRefusal>;
    /// Creates the judged events of a delivery whose sender was verified when it arrived, but that was refused.
    /// Quick, like [`receive`](Self::receive).
    fn deliver_again(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, Declined>;
    /// Signs `body` as the sensor's sender would, and names `event` in the sender's way; `delivery` is the id
    /// of the delivery, if the scheme has one. Quick.
    fn sign(&self, sensor: &SensorRef, event: &str, delivery: &str, body: Bytes) -> Result<HookRequest, Declined>;
    /// Returns the state of the secret with which the sensor's deliveries are verified. Quick.
    fn secret(&self, sensor: &SensorRef) -> SecretState;
}

/// Why a delivery created no event.
#[derive(Debug)]
pub struct HookRefusal {
    /// The reason, and where the payload does not fit. Its fault is `Missing` for an unknown hook,
    /// `Unauthenticated` if the sender could not be verified, and `Unavailable` if the hook's own secret is
    /// missing or damaged.
    pub declined: Declined,
    /// The delivery to store as a dead letter, if its sender was verified.
    pub keep: Option<Box<RefusedDelivery>>,
}

impl<E: Into<Declined>> From<E> for HookRefusal {
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
