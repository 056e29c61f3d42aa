//! Events that are made of deliveries at webhooks.

use bytes::Bytes;
use ensue_engine::command::{ObservedEvent, RefusedDelivery};
use ensue_engine::names::SensorRef;
use ensue_engine::ports::HookRequest;

use super::Declined;

/// What makes events of deliveries at webhooks.
pub trait Webhooks: Send + Sync {
    /// Verifies a delivery over its raw body, and makes the judged events of it: none where no `emits` fits, several all or
    /// none. Works on the calling thread and does not wait: quick, though it costs tens of microseconds.
    fn receive(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, HookRefusal>;
    /// Makes the judged events of a delivery that proved who sent it when it came, and was refused. Quick, as [`receive`](Self::receive).
    fn deliver_again(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, Declined>;
    /// Signs `body` as the sensor's sender would, and names `event` in the sender's way; `delivery` is the id of the delivery,
    /// where the scheme knows one. Quick.
    fn sign(&self, sensor: &SensorRef, event: &str, delivery: &str, body: Bytes) -> Result<HookRequest, Declined>;
    /// Says how it stands with the secret that deliveries at the sensor are verified with. Quick.
    fn secret(&self, sensor: &SensorRef) -> SecretState;
}

/// Why a delivery made no event.
#[derive(Debug)]
pub struct HookRefusal {
    /// Why, and where the payload does not fit. Its fault is `Missing` for an unknown hook, `Unauthenticated` for one whose
    /// sender is not proved, `Unavailable` where the hook's own secret is missing or damaged.
    pub declined: Declined,
    /// What is to be kept as a dead letter: a delivery that proved who sent it.
    pub keep: Option<Box<RefusedDelivery>>,
}

impl<E: Into<Declined>> From<E> for HookRefusal {
    fn from(why: E) -> Self {
        Self { declined: why.into(), keep: None }
    }
}

/// How it stands with the secret of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// It is set, and can be opened.
    Set,
    /// It is not set: no delivery is taken.
    Missing,
    /// It is set, and cannot be opened or is too short to be safe: no delivery is taken.
    Unusable,
    /// The hook takes deliveries from anybody.
    NotNeeded,
}
