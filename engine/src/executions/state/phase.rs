//! The phases of an open execution, and the table in which an execution of each phase is listed.

use serde::{Deserialize, Serialize};

use crate::executions::facts::{ExecutionRequested, Pace};
use crate::executions::message_counts::MessageCounts;
use crate::ids::AttemptId;
use crate::sparse::is_default;
use crate::time::Timestamp;

/// The phase of an open execution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a moment, and then for a worker.
    Delayed,
    /// It waits for a lock, and then continues as if it had just been requested.
    Blocked,
    /// It waits for a worker.
    Queued,
    /// It waits for a moment, and then ends.
    Asleep,
    /// It waits for people to answer, and then ends.
    Asking,
    /// It waits for an event, and then ends.
    Awaiting,
    /// What it waited for has come: the end of its sleep, the answer, the event, or the end of the time for one.
    /// That ends it.
    Woken,
    /// It consists of steps, and waits for them.
    InSteps {
        /// Whether it ends because it exceeded its time limit. Its progress states whether it was canceled.
        is_timed_out: bool,
    },
    /// A worker runs it.
    Running(Attempt),
    /// A worker was asked to stop it.
    Cancelling {
        /// The attempt to stop.
        attempt: Attempt,
        /// Why it must stop.
        why: Stop,
    },
    /// It is unknown whether its last attempt took effect.
    Indeterminate {
        /// The attempt.
        attempt: Attempt,
        /// Why it starts nothing even if it is settled as a retry.
        stop: Option<Stop>,
    },
    /// It was indeterminate, and somebody stated what became of it; the consequences are being worked out.
    Settled {
        /// The attempt that was in doubt.
        attempt: Attempt,
        /// Why it starts nothing any longer.
        stop: Option<Stop>,
    },
    /// It was asked to end, or took too long, while nothing of it ran; its end is being worked out.
    Withdrawn(Stop),
    /// Its attempt has ended; the consequences are being worked out.
    Ending {
        /// The attempt that has ended.
        attempt: AttemptId,
        /// How it ended: the consequences are worked out from the record that says so, and from no other.
        how: AttemptEnd,
        /// Why it starts nothing any longer.
        stop: Option<Stop>,
    },
}

/// Why nothing of an execution starts any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Somebody asked it to end.
    Cancelled,
    /// The whole execution exceeded its time limit.
    TimedOut,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// Its worker is gone.
    Lost,
}

/// The latest attempt of an open execution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// Its number, from 1.
    pub number: u32,
    /// Its fencing token.
    pub token: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// Counts of its messages since then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub heard: MessageCounts,
}

/// The table that lists an open execution, in addition to the table of all open ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// None: a record that causes it to continue or to end follows.
    Nowhere,
    /// Its queue; or those set aside, while it or an execution around it is paused.
    Waiting,
    /// Those that hold a worker slot.
    Running {
        /// The attempt.
        attempt: AttemptId,
        /// When it took the slot.
        since: Timestamp,
    },
    /// Those that run without a slot.
    AtOnce(AttemptId),
    /// Those that wait for a moment, an answer, an event or their steps.
    Idle,
    /// Those that wait for a person.
    Indeterminate(AttemptId),
}

impl Phase {
    /// Returns the phase of an execution that was just requested.
    pub(super) fn begin(requested: &ExecutionRequested) -> Self {
        if requested.start_at.is_some() || requested.wait_millis.is_some() { Self::Delayed } else { Self::of(requested.pace) }
    }

    /// Returns the phase of an execution that may continue.
    pub(super) fn of(pace: Pace) -> Self {
        match pace {
            Pace::Worked | Pace::AtOnce => Self::Queued,
            Pace::InSteps => Self::InSteps { is_timed_out: false },
            Pace::Sleeps { .. } => Self::Asleep,
            Pace::Asks => Self::Asking,
            Pace::Awaits { .. } => Self::Awaiting,
        }
    }

    /// Returns the attempt that a worker runs, even if it was asked to stop it.
    pub(crate) fn running(self) -> Option<Attempt> {
        if let Self::Running(attempt) | Self::Cancelling { attempt, .. } = self { Some(attempt) } else { None }
    }

    /// Returns the attempt for which a report still counts.
    pub fn attempt(self) -> Option<Attempt> {
        let in_doubt = if let Self::Indeterminate { attempt, .. } | Self::Settled { attempt, .. } = self { Some(attempt) } else { None };
        self.running().or(in_doubt)
    }

    /// Returns why nothing of the execution starts any longer. Of one that consists of steps, only its progress
    /// states whether it was canceled.
    pub fn stop(self) -> Option<Stop> {
        match self {
            Self::Cancelling { why, .. } | Self::Withdrawn(why) => Some(why),
            Self::Indeterminate { stop, .. } | Self::Settled { stop, .. } | Self::Ending { stop, .. } => stop,
            Self::InSteps { is_timed_out } => is_timed_out.then_some(Stop::TimedOut),
            Self::Delayed
            | Self::Blocked
            | Self::Queued
            | Self::Asleep
            | Self::Asking
            | Self::Awaiting
            | Self::Woken
            | Self::Running(_) => None,
        }
    }

    /// Returns true if the whole execution exceeded its time limit: nothing of it starts any longer.
    pub fn is_timed_out(self) -> bool {
        self.stop() == Some(Stop::TimedOut)
    }

    /// Returns the table that lists an execution of this phase and pace.
    pub(super) fn listing(self, pace: Pace) -> Listing {
        match (self, pace) {
            (Self::Queued, Pace::Worked) => Listing::Waiting,
            (Self::Running(attempt) | Self::Cancelling { attempt, .. }, Pace::Worked) => {
                Listing::Running { attempt: attempt.id, since: attempt.started_at }
            }
            (Self::Running(attempt) | Self::Cancelling { attempt, .. }, Pace::AtOnce) => Listing::AtOnce(attempt.id),
            (Self::Delayed | Self::Asleep | Self::Asking | Self::Awaiting | Self::Woken | Self::InSteps { .. }, _) => Listing::Idle,
            (Self::Indeterminate { attempt, .. }, _) => Listing::Indeterminate(attempt.id),
            // The record that requested an execution without a slot starts it. Other paces have no attempts.
            (Self::Queued | Self::Running(_) | Self::Cancelling { .. }, _)
            | (Self::Blocked | Self::Settled { .. } | Self::Withdrawn(_) | Self::Ending { .. }, _) => Listing::Nowhere,
        }
    }
}
