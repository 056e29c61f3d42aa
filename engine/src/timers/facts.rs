//! Facts about timers. They are on the stream of the timer's owner.

pub use super::kind::{RunsBy, TimerKind};
use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::ids::ScheduleId;
use crate::time::Timestamp;

/// A timer was set.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimerSet {
    /// Its purpose.
    pub kind: TimerKind,
    /// The number of the timer among those of its kind, from 1; for a retry, the number of the next attempt.
    pub number: u32,
    /// The earliest time at which it fires; a step of the clock moves timers that wait for a duration
    /// ([`RunsBy::Elapsed`]).
    pub due: Timestamp,
    /// The schedule that waits; `None` if an execution does.
    pub schedule: Option<ScheduleId>,
}

/// A timer fired.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimerFired {
    /// Its purpose.
    pub kind: TimerKind,
    /// The number of the timer among those of its kind.
    pub number: u32,
    /// When it was due, by the clock as it is now.
    pub due: Timestamp,
    /// The schedule that waited; `None` if an execution did.
    pub schedule: Option<ScheduleId>,
}
