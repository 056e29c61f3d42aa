//! What the run of a sensor does now, for people. The log has what lasts: the cursor, the counts and the outages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_api::ports::SensorState;
use ensue_connectors::Lag;
use ensue_engine::sensors::facts::SensorError;
use ensue_engine::sensors::state::FAILING_PARTS_MAX;
use ensue_engine::time::Timestamp;

use crate::clock::SteppedClock;

/// The status of a sensor's runs, shared by its task and its readers.
pub(super) struct RunStatus {
    clock: Arc<dyn SteppedClock>,
    shown: Mutex<StatusSnapshot>,
}

/// What is shown of a sensor's runs.
#[derive(Clone, Debug)]
pub(super) struct StatusSnapshot {
    /// What the run does.
    pub(super) state: SensorState,
    /// Since when.
    pub(super) since: Timestamp,
    /// When the first failure in a row was, until a run works.
    pub(super) failing_since: Option<Timestamp>,
    /// The last error, while it fails.
    pub(super) error: Option<SensorError>,
    /// Why it waits, while it does.
    pub(super) waits_for: Option<String>,
    /// When it is tried again, while it fails; `None` once that has begun.
    pub(super) retry_at: Option<Timestamp>,
    /// How often it was tried again.
    pub(super) restarts: u64,
    /// How far the source is behind.
    pub(super) lag: Lag,
    /// What was read since the start of the node.
    pub(super) read: Read,
    /// The parts of its source that fail, by name.
    pub(super) parts: BTreeMap<String, ShownPart>,
}

/// A part of a source that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShownPart {
    /// Since when, as far as this run knows.
    pub(super) since: Timestamp,
    /// Why.
    pub(super) error: String,
}

/// What a failure of a part changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartFailure {
    /// It was not shown before, or another error was.
    New,
    /// Nothing: it was shown before.
    Known,
    /// Nothing: too many others fail.
    TooMany,
}

/// What was read since the start of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// The messages.
    pub(super) messages: u64,
    /// The new events.
    pub(super) events: u64,
    /// The events that were there before.
    pub(super) repeated: u64,
    /// The messages that no `emits` matches.
    pub(super) passed: u64,
    /// The messages that were refused.
    pub(super) refused: u64,
}

impl RunStatus {
    pub(super) fn new(clock: Arc<dyn SteppedClock>) -> Arc<Self> {
        let shown = StatusSnapshot {
            state: SensorState::Starting,
            since: clock.now(),
            failing_since: None,
            error: None,
            waits_for: None,
            retry_at: None,
            restarts: 0,
            lag: Lag::Unknown,
            read: Read::default(),
            parts: BTreeMap::new(),
        };
        Arc::new(Self { clock, shown: Mutex::new(shown) })
    }

    /// Returns what is shown now.
    pub(super) fn snapshot(&self) -> StatusSnapshot {
        self.lock().clone()
    }

    /// Shows another state, which has neither an error nor a reason to wait.
    pub(super) fn set(&self, state: SensorState) {
        let mut shown = self.lock();
        if shown.state != state {
            (shown.state, shown.since) = (state, self.clock.now());
        }
        (shown.error, shown.waits_for, shown.retry_at) = (None, None, None);
        // A wait for the node says nothing about the source.
        if !matches!(state, SensorState::Starting | SensorState::Waiting) {
            shown.failing_since = None;
        }
    }

    /// Shows that a run begins. After a failure the sensor is still failing, until a run works.
    pub(super) fn begin(&self) {
        let mut shown = self.lock();
        if shown.state == SensorState::Failing {
            shown.retry_at = None;
            return;
        }
        drop(shown);
        self.set(SensorState::Starting);
    }

    /// Shows that the run waits, and why.
    pub(super) fn wait_for(&self, why: &str) {
        self.set(SensorState::Waiting);
        self.lock().waits_for = Some(why.to_owned());
    }

    /// Shows a failure, and when it is tried again, unless the run continues. The time of the first failure in a row stays.
    pub(super) fn fail(&self, error: SensorError, retry_at: Option<Timestamp>) {
        let mut shown = self.lock();
        shown.since = *shown.failing_since.get_or_insert_with(|| self.clock.now());
        shown.state = SensorState::Failing;
        (shown.error, shown.waits_for, shown.retry_at) = (Some(error), None, retry_at);
    }

    /// Counts another try.
    pub(super) fn count_restart(&self) {
        self.lock().restarts += 1;
    }

    /// Shows how far the source is behind.
    pub(super) fn set_lag(&self, lag: Lag) {
        self.lock().lag = lag;
    }

    /// Adds to what was read.
    pub(super) fn count(&self, change: impl FnOnce(&mut Read)) {
        change(&mut self.lock().read);
    }

    /// Shows that a part fails.
    pub(super) fn show_failing_part(&self, name: &str, error: &str) -> PartFailure {
        let error = error.to_owned();
        let mut shown = self.lock();
        let many = shown.parts.len();
        match shown.parts.get_mut(name) {
            Some(part) if part.error == error => PartFailure::Known,
            Some(part) => {
                part.error = error;
                PartFailure::New
            }
            None if many >= FAILING_PARTS_MAX => PartFailure::TooMany,
            None => {
                shown.parts.insert(name.to_owned(), ShownPart { since: self.clock.now(), error });
                PartFailure::New
            }
        }
    }

    /// Shows a part that fails no longer. Returns true if it was shown.
    pub(super) fn hide_part(&self, name: &str) -> bool {
        self.lock().parts.remove(name).is_some()
    }

    /// Shows no part that fails any longer.
    pub(super) fn hide_parts(&self) {
        self.lock().parts.clear();
    }

    fn lock(&self) -> MutexGuard<'_, StatusSnapshot> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::sensors::facts::SensorErrorKind;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn sensor_is_failing_until_a_run_works() {
        let status = RunStatus::new(Arc::new(SystemClock::default()));
        status.begin();
        assert_eq!(status.snapshot().state, SensorState::Starting);
        let error = SensorError { kind: SensorErrorKind::Connect, message: "nobody answers".to_owned() };
        status.fail(error.clone(), Some(Timestamp::from_micros(1)));
        status.begin();
        let shown = status.snapshot();
        assert_eq!((shown.state, shown.error, shown.retry_at), (SensorState::Failing, Some(error), None));
        status.set(SensorState::Running);
        assert_eq!((status.snapshot().state, status.snapshot().error), (SensorState::Running, None));
    }

    #[test]
    fn wait_for_the_node_does_not_make_an_outage_younger() {
        let status = RunStatus::new(Arc::new(SystemClock::default()));
        let error = SensorError { kind: SensorErrorKind::Poisoned, message: "nothing is accepted".to_owned() };
        status.fail(error.clone(), None);
        let since = status.snapshot().since;
        status.wait_for("the disk is full");
        assert_eq!(status.snapshot().state, SensorState::Waiting);
        status.fail(error, None);
        assert_eq!((status.snapshot().state, status.snapshot().since), (SensorState::Failing, since));
    }
}
