//! The parts of what a sensor reads, as its program reports them: they are shown at once, and recorded at most once a
//! second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_connectors::world::{Clock, Lines as _, PartReport, PartState, Parts};
use ensue_engine::ids::SensorId;
use ensue_engine::sensors::state::FAILING_PARTS_MAX;
use ensue_engine::time::Timestamp;
use tokio::sync::Notify;

use super::logs::SensorLog;
use super::status::{PartFailure, RunStatus};
use crate::intake::KnownSensors;

/// How long a record of parts must be made until another one is.
const RECORD_EVERY: Duration = Duration::from_secs(1);

/// The parts of a sensor over its tries within one run.
pub(super) struct RunParts {
    id: SensorId,
    run: u64,
    known: Arc<dyn KnownSensors>,
    status: Arc<RunStatus>,
    log: Arc<SensorLog>,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    /// The parts that the log has as failing, with what is on its way there.
    recorded: BTreeSet<String>,
    /// Those of them that were recorded in this run.
    of_run: BTreeSet<String>,
    /// What is to be recorded.
    due: BTreeMap<String, PartState>,
    /// When something was last recorded.
    at: Option<Timestamp>,
}

impl RunParts {
    pub(super) fn new((id, run): (SensorId, u64), known: Arc<dyn KnownSensors>, status: Arc<RunStatus>, log: Arc<SensorLog>) -> Arc<Self> {
        Arc::new(Self { id, run, known, status, log, inner: Mutex::default(), changed: Notify::new() })
    }

    /// Completes when something is to be recorded, and may be.
    pub(super) async fn are_due(&self, clock: &dyn Clock) {
        loop {
            let wait = {
                let inner = self.locked();
                let since = inner.at.map_or(i64::MAX, |at| clock.now().micros_since(at).max(0));
                let since = Duration::from_micros(u64::try_from(since).unwrap_or(u64::MAX));
                (!inner.due.is_empty()).then(|| RECORD_EVERY.saturating_sub(since))
            };
            match wait {
                Some(Duration::ZERO) => return,
                Some(wait) => clock.sleep(wait).await,
                None => self.changed.notified().await,
            }
        }
    }

    /// Takes what is to be recorded.
    pub(super) fn take_due(&self, now: Timestamp) -> BTreeMap<String, PartState> {
        let mut inner = self.locked();
        let due = std::mem::take(&mut inner.due);
        for (name, state) in &due {
            match state {
                PartState::Failing { .. } => {
                    inner.recorded.insert(name.clone());
                    inner.of_run.insert(name.clone());
                }
                PartState::Running => {
                    inner.recorded.remove(name);
                    inner.of_run.remove(name);
                }
            }
        }
        inner.at = Some(now);
        due
    }

    /// Takes back what was not recorded, to record it later.
    pub(super) fn take_back(&self, parts: BTreeMap<String, PartState>) {
        let mut inner = self.locked();
        for (name, state) in parts {
            match state {
                PartState::Failing { .. } => {
                    inner.of_run.remove(&name);
                }
                PartState::Running => {
                    inner.recorded.insert(name.clone());
                }
            }
            inner.due.entry(name).or_insert(state);
        }
        self.changed.notify_one();
    }

    fn note(&self, name: String, state: PartState) {
        let mut inner = self.locked();
        let is_due = match &state {
            PartState::Failing { .. } => !inner.of_run.contains(&name),
            PartState::Running => inner.recorded.contains(&name),
        };
        if is_due {
            inner.due.insert(name, state);
            self.changed.notify_one();
        } else {
            // It changed back before it was recorded.
            inner.due.remove(&name);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts for RunParts {
    fn begin(&self) {
        self.status.forget_parts();
        let known = self.known.sensors();
        let mut inner = self.locked();
        inner.recorded = known.parts(self.id).map(str::to_owned).collect();
        let is_of_run = |name: &&String| known.part(self.id, name).is_some_and(|part| part.run == self.run);
        inner.of_run = inner.recorded.iter().filter(is_of_run).cloned().collect();
    }

    fn report(&self, part: PartReport) {
        let PartReport { name, state } = part;
        match &state {
            PartState::Failing { error } => match self.status.fail_part(&name, error) {
                PartFailure::Said => {}
                PartFailure::New => self.log.add(format!("the part `{name}` fails: {error}")),
                PartFailure::TooMany => {
                    self.log.add(format!("the part `{name}` fails, and is not shown, as {FAILING_PARTS_MAX} others fail: {error}"));
                    return;
                }
            },
            PartState::Running => {
                if self.status.recover_part(&name) {
                    self.log.add(format!("the part `{name}` works again"));
                }
            }
        }
        self.note(name, state);
    }
}

/// In a test of a sensor, parts are only lines.
impl Parts for SensorLog {
    fn begin(&self) {}

    fn report(&self, part: PartReport) {
        if let PartState::Failing { error } = part.state {
            self.add(format!("the part `{}` fails: {error}", part.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::sensors::state::Sensors;

    use super::*;
    use crate::clock::SystemClock;

    /// A log without sensors.
    struct NoSensors;

    impl KnownSensors for NoSensors {
        fn sensors(&self) -> Sensors {
            Sensors::default()
        }
    }

    fn parts() -> (Arc<RunParts>, Arc<RunStatus>, Arc<SensorLog>) {
        let clock = Arc::new(SystemClock::default());
        let (status, log) = (RunStatus::new(clock.clone()), SensorLog::new(clock, None));
        let id = SensorId(Id::from_bytes([7; 16]));
        (RunParts::new((id, 1), Arc::new(NoSensors), status.clone(), log.clone()), status, log)
    }

    fn failing(name: &str, error: &str) -> PartReport {
        PartReport { name: name.to_owned(), state: PartState::Failing { error: error.to_owned() } }
    }

    fn running(name: &str) -> PartReport {
        PartReport { name: name.to_owned(), state: PartState::Running }
    }

    fn due(parts: &RunParts) -> Vec<String> {
        parts.take_due(Timestamp::from_micros(0)).into_keys().collect()
    }

    #[test]
    fn part_that_fails_is_recorded_once_and_shown_with_its_newest_error() {
        let (parts, status, log) = parts();
        parts.begin();
        parts.report(running("a"));
        assert_eq!(due(&parts), [""; 0], "nothing failed");
        parts.report(failing("a", "no route"));
        parts.report(failing("a", "refused"));
        assert_eq!(due(&parts), ["a"]);
        parts.report(failing("a", "refused"));
        assert_eq!(due(&parts), [""; 0]);
        assert_eq!(status.shown().parts["a"].error, "refused");
        parts.report(running("a"));
        assert_eq!((due(&parts), status.shown().parts.len()), (vec!["a".to_owned()], 0));
        let lines: Vec<String> = log.after(0).into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["the part `a` fails: no route", "the part `a` fails: refused", "the part `a` works again"]);
    }

    #[test]
    fn failure_that_is_over_before_it_is_recorded_is_not_recorded() {
        let (parts, ..) = parts();
        parts.report(failing("a", "no route"));
        parts.report(running("a"));
        assert_eq!(due(&parts), [""; 0]);
    }

    #[test]
    fn what_was_not_recorded_is_recorded_later_unless_it_changed() {
        let (parts, ..) = parts();
        parts.report(failing("a", "no route"));
        parts.report(failing("b", "no route"));
        let taken = parts.take_due(Timestamp::from_micros(0));
        parts.report(running("b"));
        parts.take_back(taken);
        let again = parts.take_due(Timestamp::from_micros(0));
        assert_eq!(again["a"], PartState::Failing { error: "no route".to_owned() });
        assert_eq!(again["b"], PartState::Running);
    }

    #[test]
    fn parts_that_fail_are_limited_and_a_start_forgets_them() {
        let (parts, status, log) = parts();
        (0..FAILING_PARTS_MAX + 1).for_each(|number| parts.report(failing(&format!("{number:03}"), "no route")));
        assert_eq!((status.shown().parts.len(), due(&parts).len()), (FAILING_PARTS_MAX, FAILING_PARTS_MAX));
        assert!(log.after(0).last().is_some_and(|line| line.text.contains("is not shown")));
        parts.begin();
        assert!(status.shown().parts.is_empty());
    }
}
