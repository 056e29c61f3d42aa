//! Facts about schedules: a schedule is set, misses times, and ends. They are on the stream of its rule or
//! sensor.

use serde::{Deserialize, Serialize};

use super::plan::Misfire;
use crate::ids::{RuleId, ScheduleId};
use crate::names::{Names, RuleRef, SensorRef};
use crate::record::{Digest, StreamId};
use crate::time::Timestamp;

/// A schedule starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSet {
    /// Its id. A schedule that is removed and set again has a new id.
    pub schedule: ScheduleId,
    /// Its rule or sensor.
    pub owner: ScheduleOwner,
    /// The digest of its plan.
    pub plan: Digest,
    /// The plan as text.
    pub words: String,
}

/// Times of a schedule were missed, and do not fire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleMissed {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The first missed time.
    pub from: Timestamp,
    /// The first time after them that was not missed.
    pub until: Timestamp,
    /// What happens to missed times.
    pub misfire: Misfire,
}

/// A schedule ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleEnded {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The reason.
    pub why: EndedBecause,
}

/// Why a schedule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum EndedBecause {
    /// Its rule or sensor has another plan, or none.
    Changed,
    /// Its rule or sensor is gone.
    Removed,
    /// Its rule is disabled.
    Disabled,
    /// It has no more due times.
    Over,
}

/// The owner of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleOwner {
    /// A rule, with its id. A rule that was deleted and created again is another rule.
    Rule(RuleRef, RuleId),
    /// A sensor.
    Sensor(SensorRef),
}

impl ScheduleOwner {
    /// Returns the stream of its schedule.
    pub fn stream(&self) -> StreamId {
        match self {
            Self::Rule(rule, _) => StreamId::Rule(rule.clone()),
            Self::Sensor(sensor) => StreamId::Sensor(sensor.clone()),
        }
    }
}
