//! What listeners hear of deliveries at webhooks as they arrive.
//!
//! Contents of deliveries are kept for them, and only while they listen, within a limit.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use ensue_engine::catalog::HookMethod;
use ensue_engine::names::SensorRef;
use tokio::sync::broadcast::{self, Receiver, Sender};

use super::Delivery;

/// The longest body that listeners get, in bytes. Of a longer one, they get the rest of its delivery.
pub(crate) const HEARD_BYTES_MAX: usize = 256 * 1024;
/// How many deliveries wait for a listener. One that is slower gets those that were missed without their contents.
const WAITING_MAX: usize = 32;

/// A delivery, as listeners hear it.
#[derive(Clone, Debug)]
pub(crate) struct HeardDelivery {
    pub(crate) delivery: Delivery,
    /// What it contains; `None` if its sender was not proven, it is too long, or it was before the listener.
    pub(crate) content: Option<HeardContent>,
}

/// What a delivery contains, without its proof.
#[derive(Clone, Debug)]
pub(crate) struct HeardContent {
    pub(crate) method: HookMethod,
    /// The path below the webhook's own, and the query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// The listeners, by hook.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    by_sensor: RwLock<BTreeMap<SensorRef, Sender<Arc<HeardDelivery>>>>,
}

impl Listeners {
    /// Returns true if somebody listens at a hook.
    pub(crate) fn are_there(&self, sensor: &SensorRef) -> bool {
        let by_sensor = self.by_sensor.read().unwrap_or_else(PoisonError::into_inner);
        by_sensor.get(sensor).is_some_and(|sender| sender.receiver_count() > 0)
    }

    pub(crate) fn notify(&self, sensor: &SensorRef, heard: HeardDelivery) {
        let by_sensor = self.by_sensor.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = by_sensor.get(sensor) {
            // It fails if the last listener has just left.
            let _ = sender.send(Arc::new(heard));
        }
    }

    pub(crate) fn listen(&self, sensor: &SensorRef) -> Receiver<Arc<HeardDelivery>> {
        let mut by_sensor = self.by_sensor.write().unwrap_or_else(PoisonError::into_inner);
        by_sensor.retain(|_, sender| sender.receiver_count() > 0);
        by_sensor.entry(sensor.clone()).or_insert_with(|| broadcast::channel(WAITING_MAX).0).subscribe()
    }
}
