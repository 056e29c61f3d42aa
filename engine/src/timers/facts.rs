//! What can happen to a timer. It stands on the stream of what it is set for.

pub use super::kind::{RunsBy, TimerKind};
use serde::{Deserialize, Serialize};

use crate::ids::ScheduleId;
use crate::time::Timestamp;

/// Something waits until a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimerSet {
    /// What it is for.
    pub kind: TimerKind,
    /// Which of this kind, from 1: of a retry the attempt that is to be.
    pub number: u32,
    /// When it fires, not before; a step of the clock moves what waits for a while ([`RunsBy::Elapsed`]).
    pub due: Timestamp,
    /// The schedule that waits; none where an execution does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
}

/// The moment has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimerFired {
    /// What it was for.
    pub kind: TimerKind,
    /// Which of this kind.
    pub number: u32,
    /// When it was due, by the clock as it stands now.
    pub due: Timestamp,
    /// The schedule that waited; none where an execution did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
}
