//! What can happen to a schedule: it is set, it misses times, it ends. It stands on the stream of the rule or sensor that has it.

use serde::{Deserialize, Serialize};

use super::plan::Misfire;
use crate::ids::{RuleId, ScheduleId};
use crate::names::{RuleRef, SensorRef};
use crate::record::{Digest, StreamId};
use crate::time::Timestamp;

/// A schedule is waited for from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSet {
    /// Its id: one that is taken away and set again has another.
    pub schedule: ScheduleId,
    /// Whose it is.
    pub owner: ScheduleOwner,
    /// What tells its plan from another.
    pub plan: Digest,
    /// The plan in words.
    pub words: String,
}

/// Times of a schedule came and do not fire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleMissed {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The first of them.
    pub from: Timestamp,
    /// The first after them that is not one of them.
    pub until: Timestamp,
    /// What becomes of missed times.
    pub misfire: Misfire,
}

/// A schedule is waited for no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleEnded {
    /// The schedule.
    pub schedule: ScheduleId,
    /// Why.
    pub why: EndedBecause,
}

/// Why a schedule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBecause {
    /// Its rule or sensor has another plan, or none.
    Changed,
    /// Its rule or sensor is gone.
    Removed,
    /// Its rule is disabled.
    Disabled,
    /// It is never due again.
    Over,
}

/// What has a schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleOwner {
    /// A rule, with its id: one that was deleted and created again is another.
    Rule(RuleRef, RuleId),
    /// A sensor.
    Sensor(SensorRef),
}

impl ScheduleOwner {
    /// Gives the stream on which its schedule stands.
    pub fn stream(&self) -> StreamId {
        match self {
            Self::Rule(rule, _) => StreamId::Rule(rule.clone()),
            Self::Sensor(sensor) => StreamId::Sensor(sensor.clone()),
        }
    }
}

impl EndedBecause {
    /// Gives the reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Disabled => "disabled",
            Self::Over => "over",
        }
    }
}
