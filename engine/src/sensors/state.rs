//! The state of pulling sensors: which exist, how far each has read, and what the log last said about its run. The
//! catalog has their definitions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cursor::{StoredCursor, WholeCursor};
use super::facts::{SensorEndedBecause, SensorErrorKind, SensorMode};
use crate::effect::{Effect, RunSensor};
use crate::fact::{EventFact, HealthFact, SensorFact};
use crate::ids::SensorId;
use crate::names::SensorRef;
use crate::record::{Digest, Record};
use crate::table::{Table, undone_together};
use crate::time::Timestamp;

/// The number of failures in a row from which on an outage is announced to rules.
pub const FAILURES_ANNOUNCED: u32 = 4;

/// The maximum number of parts of a sensor that are recorded as failing at a time.
pub const FAILING_PARTS_MAX: usize = 100;

/// The pulling sensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sensors {
    pulling: Table<SensorId, Pulling>,
    of_ref: Table<SensorRef, SensorId>,
    /// The sensors that an operator disabled. A sensor that is replaced by another under the same ref stays disabled.
    disabled: Table<SensorRef, ()>,
    /// The parts of sensors that fail, by name.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    parts: Table<SensorId, BTreeMap<String, FailingPart>>,
}

undone_together!(pub(crate) Sensors { pulling, of_ref, disabled, parts });

/// A part of what a sensor reads that fails, as far as the log knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingPart {
    /// When that was recorded first.
    pub since: Timestamp,
    /// The newest run in which it was recorded. A part that the run after that does not report is forgotten.
    pub run: u64,
}

/// A pulling sensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pulling {
    /// Its ref.
    pub sensor: SensorRef,
    /// The kind of its source.
    pub source: String,
    /// The digest of everything that gives its cursor a meaning.
    pub identity: Digest,
    /// How far it has read; `None` if it begins, or if its source has no cursor.
    pub cursor: Option<StoredCursor>,
    /// The number of its newest run. A batch of an older run is refused.
    pub run: u64,
    /// What the log last said about its runs.
    pub phase: SensorPhase,
    /// How many events it has created.
    pub events: u64,
    /// How many of its messages were refused.
    pub refused: u64,
    /// When its last event was recorded.
    pub last_event_at: Option<Timestamp>,
}

/// What the log last said about the runs of a sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorPhase {
    /// Nothing yet.
    Starting,
    /// A run works.
    Running {
        /// When that was recorded.
        since: Timestamp,
        /// How often it had failed in a row before, as far as that is recorded.
        failures: u32,
    },
    /// Runs fail.
    Failing {
        /// When the first failure was recorded.
        since: Timestamp,
        /// How often it has failed in a row, as far as that is recorded.
        failures: u32,
        /// The kind of the last recorded error.
        kind: SensorErrorKind,
        /// Whether rules got an event about it.
        is_announced: bool,
    },
}

impl SensorPhase {
    /// Returns how often the sensor has failed in a row, as far as that is recorded.
    pub fn failures(&self) -> u32 {
        match self {
            Self::Starting => 0,
            Self::Running { failures, .. } | Self::Failing { failures, .. } => *failures,
        }
    }

    /// Returns the outage that was announced to rules: when it began, and how often the sensor failed.
    pub fn announced_outage(&self) -> Option<(Timestamp, u32)> {
        match self {
            Self::Failing { since, failures, is_announced: true, .. } => Some((*since, *failures)),
            Self::Starting | Self::Running { .. } | Self::Failing { .. } => None,
        }
    }
}

impl Sensors {
    /// Returns a sensor.
    pub fn get(&self, id: SensorId) -> Option<&Pulling> {
        self.pulling.get(&id)
    }

    /// Returns the sensor with a ref.
    pub fn of(&self, sensor: &SensorRef) -> Option<(SensorId, &Pulling)> {
        let id = *self.of_ref.get(sensor)?;
        self.get(id).map(|pulling| (id, pulling))
    }

    /// Returns all sensors, ordered by ref.
    pub fn iter(&self) -> impl Iterator<Item = (SensorId, &Pulling)> {
        self.of_ref.iter().filter_map(|(_, id)| self.get(*id).map(|pulling| (*id, pulling)))
    }

    /// Returns the mode of a sensor.
    pub fn mode(&self, sensor: &SensorRef) -> SensorMode {
        if self.disabled.contains(sensor) { SensorMode::Disabled } else { SensorMode::Enabled }
    }

    /// Returns true if a run is the one that may write now.
    pub fn is_current(&self, id: SensorId, run: u64) -> bool {
        self.get(id).is_some_and(|pulling| pulling.run == run && self.mode(&pulling.sensor) == SensorMode::Enabled)
    }

    /// Returns a part of a sensor if it fails, as far as the log knows.
    pub fn part(&self, id: SensorId, part: &str) -> Option<FailingPart> {
        self.parts.get(&id)?.get(part).copied()
    }

    /// Returns the names of the parts of a sensor that fail, as far as the log knows.
    pub fn parts(&self, id: SensorId) -> impl Iterator<Item = &str> {
        self.parts.get(&id).into_iter().flat_map(|parts| parts.keys().map(String::as_str))
    }

    /// Returns how many more parts can be recorded as failing in a run. Those of earlier runs make room.
    pub(crate) fn room_for_parts(&self, id: SensorId, run: u64) -> usize {
        let of_run = self.parts.get(&id).map_or(0, |parts| parts.values().filter(|part| part.run == run).count());
        FAILING_PARTS_MAX.saturating_sub(of_run)
    }

    pub(crate) fn apply(&mut self, record: &Record, fact: SensorFact<'_>) {
        match fact {
            SensorFact::SensorSet(fact) => {
                let pulling = Pulling {
                    sensor: fact.sensor.clone(),
                    source: fact.source.clone(),
                    identity: fact.identity,
                    cursor: None,
                    run: 1,
                    phase: SensorPhase::Starting,
                    events: 0,
                    refused: 0,
                    last_event_at: None,
                };
                self.pulling.insert(fact.id, pulling);
                self.of_ref.insert(fact.sensor.clone(), fact.id);
            }
            SensorFact::SensorEnded(fact) => self.forget(fact.id, fact.why),
            SensorFact::SensorModeSet(fact) => match fact.mode {
                SensorMode::Enabled => {
                    self.disabled.remove(&fact.sensor);
                    self.begin_run(self.of(&fact.sensor).map(|(id, _)| id));
                }
                SensorMode::Disabled => self.disabled.insert(fact.sensor.clone(), ()),
            },
            SensorFact::SensorAdvanced(fact) => {
                self.pulling.change(&fact.id, |pulling| {
                    if let (Some(cursor), Some(change)) = (&mut pulling.cursor, &fact.change) {
                        cursor.note(change);
                    } else if let Some(cursor) = stored_cursor(record, fact.cursor.as_ref()) {
                        // Without a cursor it only counts messages.
                        pulling.cursor = Some(cursor);
                    }
                    pulling.refused += u64::from(fact.unkept.unwrap_or(0));
                });
            }
            SensorFact::SensorCursorSet(fact) => {
                self.pulling.change(&fact.id, |pulling| pulling.cursor = stored_cursor(record, fact.cursor.as_ref()));
                self.begin_run(Some(fact.id));
            }
            SensorFact::SensorRestarted(fact) => {
                self.pulling.change(&fact.id, |pulling| {
                    if let SensorPhase::Running { failures, .. } | SensorPhase::Failing { failures, .. } = &mut pulling.phase {
                        *failures = 0;
                    }
                });
                self.begin_run(Some(fact.id));
            }
            SensorFact::SensorTested(_) => {}
            SensorFact::SensorStarted(fact) => {
                self.pulling.change(&fact.id, |pulling| {
                    pulling.phase = SensorPhase::Running { since: record.time, failures: pulling.phase.failures() };
                });
            }
            SensorFact::SensorPartFailed(fact) => {
                let mut parts = self.parts.get(&fact.id).cloned().unwrap_or_default();
                let since = parts.get(&fact.part).map_or(record.time, |part| part.since);
                parts.insert(fact.part.clone(), FailingPart { since, run: fact.run });
                while parts.len() > FAILING_PARTS_MAX
                    && let Some(old) = parts.iter().find(|(_, part)| part.run != fact.run).map(|(name, _)| name.clone())
                {
                    parts.remove(&old);
                }
                self.parts.insert(fact.id, parts);
            }
            SensorFact::SensorPartRecovered(fact) => self.keep_parts(fact.id, |name, _| *name != fact.part),
            SensorFact::SensorFailed(fact) => self.pulling.change(&fact.id, |pulling| {
                let (since, was_announced) = match &pulling.phase {
                    SensorPhase::Failing { since, is_announced, .. } => (*since, *is_announced),
                    SensorPhase::Starting | SensorPhase::Running { .. } => (record.time, false),
                };
                let is_announced = was_announced || fact.failures >= FAILURES_ANNOUNCED;
                pulling.phase = SensorPhase::Failing { since, failures: fact.failures, kind: fact.error.kind, is_announced };
            }),
        }
    }

    /// Counts an event or a refused message of a pulling sensor.
    pub(crate) fn apply_event(&mut self, record: &Record, fact: EventFact<'_>) {
        match fact {
            EventFact::EventReceived(fact) => {
                let Some(id) = fact.sensor.as_ref().and_then(|sensor| self.of_ref.get(sensor)).copied() else { return };
                self.pulling.change(&id, |pulling| {
                    pulling.events += 1;
                    pulling.last_event_at = Some(record.time);
                });
            }
            EventFact::DeliveryRefused(fact) => {
                let Some(id) = self.of_ref.get(&fact.sensor).copied() else { return };
                self.pulling.change(&id, |pulling| pulling.refused += 1);
            }
        }
    }

    /// Begins a new run of each sensor when a node starts: what an earlier node still sends is refused.
    pub(crate) fn apply_health(&mut self, fact: HealthFact<'_>) {
        if let HealthFact::NodeStarted(_) = fact {
            let ids: Vec<SensorId> = self.pulling.iter().map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.begin_run(Some(id)));
        }
    }

    /// Returns the effects of a fact about a sensor, after it was folded.
    pub(crate) fn effects_of(&self, fact: SensorFact<'_>) -> Option<Effect> {
        match fact {
            SensorFact::SensorSet(fact) => self.run_of(fact.id),
            SensorFact::SensorCursorSet(fact) => self.run_of(fact.id),
            SensorFact::SensorRestarted(fact) => self.run_of(fact.id),
            SensorFact::SensorEnded(fact) => Some(Effect::StopSensor { id: fact.id }),
            SensorFact::SensorModeSet(fact) => {
                let (id, _) = self.of(&fact.sensor)?;
                match fact.mode {
                    SensorMode::Enabled => self.run_of(id),
                    SensorMode::Disabled => Some(Effect::StopSensor { id }),
                }
            }
            SensorFact::SensorAdvanced(_)
            | SensorFact::SensorTested(_)
            | SensorFact::SensorStarted(_)
            | SensorFact::SensorFailed(_)
            | SensorFact::SensorPartFailed(_)
            | SensorFact::SensorPartRecovered(_) => None,
        }
    }

    /// Returns the effects of a fact about the log's health: the start of a node runs all sensors.
    pub(crate) fn effects_of_health(&self, fact: HealthFact<'_>) -> Vec<Effect> {
        match fact {
            HealthFact::NodeStarted(_) => self.iter().filter_map(|(id, _)| self.run_of(id)).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the effect that runs a sensor, if it is enabled.
    fn run_of(&self, id: SensorId) -> Option<Effect> {
        let pulling = self.get(id).filter(|pulling| self.mode(&pulling.sensor) == SensorMode::Enabled)?;
        let running_since = match pulling.phase {
            SensorPhase::Running { since, .. } => Some(since),
            SensorPhase::Starting | SensorPhase::Failing { .. } => None,
        };
        let run = RunSensor {
            id,
            sensor: pulling.sensor.clone(),
            run: pulling.run,
            cursor: pulling.cursor.clone(),
            failures: pulling.phase.failures(),
            running_since,
        };
        Some(Effect::RunSensor(Box::new(run)))
    }

    fn begin_run(&mut self, id: Option<SensorId>) {
        if let Some(id) = id {
            let ended = self.get(id).map_or(0, |pulling| pulling.run);
            self.pulling.change(&id, |pulling| pulling.run += 1);
            // What the ended run did not report is gone. What it reported is known, so that it is not announced again.
            self.keep_parts(id, |_, part| part.run == ended);
        }
    }

    fn keep_parts(&mut self, id: SensorId, is_kept: impl Fn(&String, &FailingPart) -> bool) {
        let Some(parts) = self.parts.get(&id) else { return };
        let kept: BTreeMap<String, FailingPart> =
            parts.iter().filter(|(name, part)| is_kept(name, part)).map(|(name, part)| (name.clone(), *part)).collect();
        if kept.is_empty() {
            self.parts.remove(&id);
        } else if kept.len() < parts.len() {
            self.parts.insert(id, kept);
        }
    }

    fn forget(&mut self, id: SensorId, why: SensorEndedBecause) {
        let Some(sensor) = self.get(id).map(|pulling| pulling.sensor.clone()) else { return };
        self.pulling.remove(&id);
        self.parts.remove(&id);
        if self.of_ref.get(&sensor) == Some(&id) {
            self.of_ref.remove(&sensor);
        }
        match why {
            SensorEndedBecause::Removed => self.disabled.remove(&sensor),
            SensorEndedBecause::Changed => {}
        }
    }
}

/// Returns the cursor of a record: the text in its fact, or its body.
fn stored_cursor(record: &Record, text: Option<&String>) -> Option<StoredCursor> {
    let whole = text.cloned().map(WholeCursor::Inline).or_else(|| record.body_handle().map(WholeCursor::Body));
    whole.map(StoredCursor::from)
}
