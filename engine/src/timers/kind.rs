//! The purpose of a timer, and the clock it runs by.

use serde::{Deserialize, Serialize};

use crate::names::Names;

/// The purpose of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// An execution is retried.
    Retry,
    /// A sleep ends.
    Sleep,
    /// An execution that was requested for a later time starts.
    Start,
    /// The next turn of a repeated step starts.
    Turn,
    /// An inquiry expires without an answer.
    Expiry,
    /// The people whom an inquiry asks are reminded.
    Reminder,
    /// An inquiry asks others as well.
    Escalation,
    /// An execution has taken too long, with all its attempts or steps.
    Timeout,
    /// The next time of a schedule that runs by the clock.
    Schedule,
    /// The next time of a periodic schedule.
    Interval,
    /// The flow control of a rule releases an enforcement.
    Hold,
}

impl TimerKind {
    /// Returns how time counts for it.
    pub fn runs_by(self) -> RunsBy {
        match self {
            Self::Retry
            | Self::Sleep
            | Self::Turn
            | Self::Expiry
            | Self::Reminder
            | Self::Escalation
            | Self::Timeout
            | Self::Interval
            | Self::Hold => RunsBy::Elapsed,
            Self::Start | Self::Schedule => RunsBy::Clock,
        }
    }
}

/// How time counts for a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsBy {
    /// By the time that passes: it waits for a duration, which a step of the clock neither shortens nor
    /// lengthens.
    Elapsed,
    /// By the clock: it waits for a time of day.
    Clock,
}
