//! The last deliveries at each hook, in memory: the time, the outcome, and the reason for a rejection.
//!
//! It helps people who set up a webhook. Accepted deliveries are in the log; nothing here survives a restart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use ensue_engine::ids::EventId;
use ensue_engine::names::SensorRef;
use ensue_engine::time::Timestamp;

/// How many deliveries are kept for each hook.
pub(crate) const DELIVERIES_MAX: usize = 50;

/// One delivery at a hook.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// When it arrived.
    pub(crate) at: Timestamp,
    /// How long the answer took.
    pub(crate) took: Duration,
    /// The length of its body, if it was read.
    pub(crate) bytes: Option<usize>,
    /// The id of the request.
    pub(crate) request_id: String,
    /// Its outcome.
    pub(crate) end: DeliveryEnd,
}

/// The outcome of a delivery.
#[derive(Clone, Debug)]
pub(crate) enum DeliveryEnd {
    /// It created these events; an empty list if it led to none.
    Accepted(Vec<EventId>),
    /// It is a duplicate.
    Repeated(Vec<EventId>),
    /// It was rejected.
    Refused {
        /// The problem's code.
        code: String,
        /// Why, for people.
        why: Option<String>,
    },
}

/// The last deliveries, by hook. Only existing hooks are recorded, so there is at most one list per sensor.
#[derive(Default)]
pub(crate) struct Deliveries {
    by_sensor: RwLock<BTreeMap<SensorRef, Arc<Mutex<VecDeque<Delivery>>>>>,
}

impl Deliveries {
    /// Records a delivery; the oldest beyond [`DELIVERIES_MAX`] is dropped.
    pub(crate) fn note(&self, sensor: &SensorRef, delivery: Delivery) {
        let known = self.of_sensor(sensor);
        let last = known.unwrap_or_else(|| {
            // A panic elsewhere cannot leave the lists invalid.
            let mut by_sensor = self.by_sensor.write().unwrap_or_else(PoisonError::into_inner);
            by_sensor.entry(sensor.clone()).or_default().clone()
        });
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == DELIVERIES_MAX {
            last.pop_front();
        }
        last.push_back(delivery);
    }

    /// Returns the last deliveries at a hook, newest first.
    pub(crate) fn last(&self, sensor: &SensorRef) -> Vec<Delivery> {
        let Some(last) = self.of_sensor(sensor) else { return Vec::new() };
        let last = last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().rev().cloned().collect()
    }

    fn of_sensor(&self, sensor: &SensorRef) -> Option<Arc<Mutex<VecDeque<Delivery>>>> {
        self.by_sensor.read().unwrap_or_else(PoisonError::into_inner).get(sensor).cloned()
    }
}

/// Returns the time of the wall clock, for display only; nothing depends on it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_fifty_deliveries_are_stored_newest_first() {
        let deliveries = Deliveries::default();
        let sensor: SensorRef = "github.webhook".parse().unwrap();
        for bytes in 0..60 {
            let end = DeliveryEnd::Accepted(Vec::new());
            deliveries.note(
                &sensor,
                Delivery { at: Timestamp::default(), took: Duration::ZERO, bytes: Some(bytes), request_id: String::new(), end },
            );
        }
        let kept: Vec<_> = deliveries.last(&sensor).iter().filter_map(|delivery| delivery.bytes).collect();
        assert_eq!(kept, (10..60).rev().collect::<Vec<_>>());
        assert!(deliveries.last(&"github.other".parse().unwrap()).is_empty());
    }
}
