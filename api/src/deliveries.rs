//! The last deliveries at each hook: the time, the outcome, and the reason for a rejection.
//!
//! It helps people who set up a webhook. The deliveries are in memory, and the node writes them to disk from there, so
//! that no delivery waits for it. Bodies and headers are not kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use ensue_engine::ids::EventId;
use ensue_engine::names::{Names, SensorRef};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use self::listeners::{HeardContent, HeardDelivery, Listeners};

pub(crate) mod listeners;

/// How many deliveries of each outcome are kept for each hook, so that rejected ones do not push out the others.
pub(crate) const DELIVERIES_MAX: usize = 50;

/// How many hooks have deliveries here. If there are more, those of the hook that was quiet the longest are dropped.
const HOOKS_MAX: usize = 256;

/// The longest reason that is kept, in characters.
const WHY_CHARS_MAX: usize = 500;

/// The longest id of a request that is kept, in characters.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// How many events of a delivery are kept.
const EVENTS_MAX: usize = 50;

/// One delivery at a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryEnd {
    /// It created these events; an empty list if it led to none.
    Accepted(Vec<EventId>),
    /// It is a duplicate.
    Repeated(Vec<EventId>),
    /// A reply of the sensor ended it, with this status.
    Replied(u16),
    /// It was rejected.
    Refused {
        /// The problem's code.
        code: String,
        /// Why, for people.
        why: Option<String>,
    },
}

/// The names of the outcomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub(crate) enum DeliveryOutcome {
    /// It created its events, or none.
    Accepted,
    /// It is a duplicate.
    Repeated,
    /// A reply ended it.
    Replied,
    /// It was rejected.
    Refused,
}

impl Delivery {
    /// Returns the name of its outcome.
    pub(crate) fn outcome(&self) -> DeliveryOutcome {
        match self.end {
            DeliveryEnd::Accepted(_) => DeliveryOutcome::Accepted,
            DeliveryEnd::Repeated(_) => DeliveryOutcome::Repeated,
            DeliveryEnd::Replied(_) => DeliveryOutcome::Replied,
            DeliveryEnd::Refused { .. } => DeliveryOutcome::Refused,
        }
    }

    /// Cuts its texts and lists to what is kept.
    fn cut(mut self) -> Self {
        cut(&mut self.request_id, REQUEST_ID_CHARS_MAX);
        match &mut self.end {
            DeliveryEnd::Accepted(events) | DeliveryEnd::Repeated(events) => events.truncate(EVENTS_MAX),
            DeliveryEnd::Refused { why: Some(why), .. } => cut(why, WHY_CHARS_MAX),
            DeliveryEnd::Replied(_) | DeliveryEnd::Refused { why: None, .. } => {}
        }
        self
    }
}

/// Cuts a text, and marks the cut.
fn cut(text: &mut String, chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
        text.push('…');
    }
}

/// The last deliveries, by hook. Only existing hooks are recorded.
#[derive(Debug, Default)]
pub struct Deliveries {
    by_sensor: RwLock<BTreeMap<SensorRef, Arc<Mutex<AtHook>>>>,
    listeners: Listeners,
}

/// The last deliveries at a hook, oldest first.
#[derive(Debug, Default)]
struct AtHook {
    last: VecDeque<Delivery>,
    /// Whether there are changes that the node has not taken yet.
    is_changed: bool,
}

impl AtHook {
    fn push(&mut self, delivery: Delivery) {
        let outcome = delivery.outcome();
        let same = |one: &Delivery| one.outcome() == outcome;
        if self.last.iter().filter(|one| same(one)).count() >= DELIVERIES_MAX
            && let Some(oldest) = self.last.iter().position(same)
        {
            self.last.remove(oldest);
        }
        self.last.push_back(delivery.cut());
    }
}

/// The deliveries at a hook that are to be kept instead of those before.
#[derive(Debug, PartialEq)]
pub struct ChangedHook {
    /// The hook.
    pub sensor: SensorRef,
    /// Its last deliveries, oldest first.
    pub last: Vec<Delivery>,
}

impl Deliveries {
    /// Restores the deliveries at a hook that were kept before the node started, oldest first.
    pub fn restore(&self, kept: ChangedHook) {
        let hook = self.hook(&kept.sensor);
        let mut hook = open(&hook);
        kept.last.into_iter().for_each(|delivery| hook.push(delivery));
    }

    /// Returns the hooks that changed since the last call.
    pub fn take_changed(&self) -> Vec<ChangedHook> {
        let hooks = self.by_sensor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let changed = hooks.into_iter().filter_map(|(sensor, hook)| {
            let mut hook = open(&hook);
            std::mem::take(&mut hook.is_changed).then(|| ChangedHook { sensor, last: hook.last.iter().cloned().collect() })
        });
        changed.collect()
    }

    /// Returns the hooks that have deliveries here.
    pub fn hooks(&self) -> Vec<SensorRef> {
        self.by_sensor.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Returns those who hear deliveries as they arrive.
    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Records a delivery, and passes it to those who listen, with its content if they may see it; the oldest one with its outcome
    /// beyond [`DELIVERIES_MAX`] is dropped. No two deliveries at a hook have the same time.
    pub(crate) fn note(&self, sensor: &SensorRef, mut delivery: Delivery, content: Option<HeardContent>) {
        let hook = match self.of_sensor(sensor) {
            Some(hook) => hook,
            None => self.hook(sensor),
        };
        let mut hook = open(&hook);
        if let Some(newest) = hook.last.iter().map(|one| one.at).max() {
            delivery.at = delivery.at.max(Timestamp::from_micros(newest.micros() + 1));
        }
        let heard = self.listeners.are_there(sensor).then(|| delivery.clone());
        hook.push(delivery);
        hook.is_changed = true;
        // Under the lock of the hook, so that listeners hear deliveries in the order of their times.
        if let Some(delivery) = heard {
            self.listeners.notify(sensor, HeardDelivery { delivery, content });
        }
    }

    /// Returns the last deliveries at a hook, newest first.
    pub(crate) fn last(&self, sensor: &SensorRef) -> Vec<Delivery> {
        let Some(hook) = self.of_sensor(sensor) else { return Vec::new() };
        let hook = open(&hook);
        hook.last.iter().rev().cloned().collect()
    }

    /// Returns the deliveries at a hook, and adds the hook if there are none. The hook that was quiet the longest is dropped
    /// if there are more than [`HOOKS_MAX`].
    fn hook(&self, sensor: &SensorRef) -> Arc<Mutex<AtHook>> {
        // A panic elsewhere cannot leave the lists invalid.
        let mut by_sensor = self.by_sensor.write().unwrap_or_else(PoisonError::into_inner);
        if !by_sensor.contains_key(sensor) && by_sensor.len() >= HOOKS_MAX {
            let newest = |hook: &Arc<Mutex<AtHook>>| open(hook).last.back().map(|delivery| delivery.at);
            let quiet = by_sensor.iter().min_by_key(|(_, hook)| newest(hook)).map(|(sensor, _)| sensor.clone());
            quiet.and_then(|sensor| by_sensor.remove(&sensor));
        }
        by_sensor.entry(sensor.clone()).or_default().clone()
    }

    fn of_sensor(&self, sensor: &SensorRef) -> Option<Arc<Mutex<AtHook>>> {
        self.by_sensor.read().unwrap_or_else(PoisonError::into_inner).get(sensor).cloned()
    }
}

fn open(hook: &Mutex<AtHook>) -> MutexGuard<'_, AtHook> {
    hook.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the time of the wall clock, for display only; nothing depends on it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(second: i64, end: DeliveryEnd) -> Delivery {
        Delivery { at: Timestamp::from_micros(second * 1_000_000), took: Duration::ZERO, bytes: None, request_id: String::new(), end }
    }

    fn refusal(why: &str) -> DeliveryEnd {
        DeliveryEnd::Refused { code: "signature_refused".to_owned(), why: Some(why.to_owned()) }
    }

    fn seconds(deliveries: &[Delivery]) -> Vec<i64> {
        deliveries.iter().map(|delivery| delivery.at.micros() / 1_000_000).collect()
    }

    #[test]
    fn rejected_deliveries_do_not_push_out_the_accepted_ones() {
        let deliveries = Deliveries::default();
        let sensor: SensorRef = "github.webhook".parse().unwrap();
        deliveries.note(&sensor, delivery(0, DeliveryEnd::Accepted(Vec::new())), None);
        (1..=10_000).for_each(|second| deliveries.note(&sensor, delivery(second, refusal("no signature")), None));
        let expected: Vec<i64> = (9_951..=10_000).rev().chain([0]).collect();
        assert_eq!(seconds(&deliveries.last(&sensor)), expected);
        assert!(deliveries.last(&"github.other".parse().unwrap()).is_empty());
    }

    #[test]
    fn texts_from_outside_are_cut() {
        let deliveries = Deliveries::default();
        let sensor: SensorRef = "github.webhook".parse().unwrap();
        deliveries.note(&sensor, Delivery { request_id: "é".repeat(10_000), ..delivery(0, refusal(&"x".repeat(10_000))) }, None);
        let kept = serde_json::to_string(&deliveries.last(&sensor)).unwrap();
        assert!(kept.len() < 1_200, "{}", kept.len());
    }

    #[test]
    fn quietest_hook_is_dropped_over_the_maximum() {
        let deliveries = Deliveries::default();
        let sensor = |number: usize| -> SensorRef { format!("demo.hook_{number}").parse().unwrap() };
        for number in 0..=HOOKS_MAX {
            deliveries.note(&sensor(number), delivery(i64::try_from(number).unwrap(), refusal("no signature")), None);
        }
        assert_eq!(deliveries.hooks().len(), HOOKS_MAX);
        assert!(deliveries.last(&sensor(0)).is_empty());
        assert_eq!(deliveries.last(&sensor(HOOKS_MAX)).len(), 1);
    }

    #[test]
    fn each_change_is_taken_once_and_restored_as_it_was() {
        let (before, after) = (Deliveries::default(), Deliveries::default());
        let sensor: SensorRef = "github.webhook".parse().unwrap();
        (0..60).for_each(|second| before.note(&sensor, delivery(second, refusal("no signature")), None));
        let changed = before.take_changed();
        assert_eq!(changed.iter().map(|hook| hook.last.len()).collect::<Vec<_>>(), [DELIVERIES_MAX]);
        assert_eq!(before.take_changed(), Vec::new());
        changed.into_iter().for_each(|hook| after.restore(hook));
        assert_eq!(after.last(&sensor), before.last(&sensor));
        assert_eq!(after.take_changed(), Vec::new());
    }
}
