//! The purpose of a timer, and the clock it runs by.

use serde::{Deserialize, Serialize};

/// The purpose of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// All variants.
    pub const ALL: [Self; 11] = [
        Self::Retry,
        Self::Sleep,
        Self::Start,
        Self::Turn,
        Self::Expiry,
        Self::Reminder,
        Self::Escalation,
        Self::Timeout,
        Self::Schedule,
        Self::Interval,
        Self::Hold,
    ];

    /// Returns the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Sleep => "sleep",
            Self::Start => "start",
            Self::Turn => "turn",
            Self::Expiry => "expiry",
            Self::Reminder => "reminder",
            Self::Escalation => "escalation",
            Self::Timeout => "timeout",
            Self::Schedule => "schedule",
            Self::Interval => "interval",
            Self::Hold => "hold",
        }
    }

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
