//! What a timer is for, and the clock it runs by.

use serde::{Deserialize, Serialize};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// An execution is tried again.
    Retry,
    /// A sleep ends.
    Sleep,
    /// An execution was asked for at a time, and starts.
    Start,
    /// A step is repeated after a while, and its next turn starts.
    Turn,
    /// Nobody has answered an inquiry in time.
    Expiry,
    /// Those whom an inquiry asks are told again.
    Reminder,
    /// An inquiry asks others as well.
    Escalation,
    /// An execution has taken too long, all its attempts or steps together.
    Timeout,
    /// The next time of a schedule that goes by the clock.
    Schedule,
    /// The next time of a schedule that is due each time a while has passed.
    Interval,
    /// The flow control of a rule holds an enforcement no longer.
    Hold,
}

impl TimerKind {
    /// Lists all of them.
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

    /// Gives the name as text.
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

    /// Says what moves it towards its moment.
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

/// What moves a timer towards its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsBy {
    /// Time that passes: it waits for a while, and a step of the clock neither shortens nor lengthens that.
    Elapsed,
    /// The clock: it waits for a time of day.
    Clock,
}
