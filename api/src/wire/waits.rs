//! What an execution waits for, as far as its own records say it.
//!
//! Its records do not say whether the rate of a queue holds it back, nor which event it waits for: its step's
//! definition has that.

use ensue_derive::wire;
use ensue_engine::executions::facts::Pace;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::Names;
use ensue_engine::time::Timestamp;
use ensue_views::Execution;
use ensue_views::executions::Status;
use schemars::JsonSchema;
use serde::Serialize;

/// The maximum number of shown holders of a lock.
const HOLDERS_MAX: usize = 3;

/// What an execution waits for.
#[wire(Serialize)]
pub(crate) struct WireWaitsFor {
    kind: WireWaitKind,
    /// The name or id of it: the queue, the action or rule with the lock, the inquiry. Null for the others.
    of: Option<String>,
    /// Since when it has been waiting, if that is known.
    since: Option<Timestamp>,
    /// When the wait ends by itself, if that is known.
    until: Option<Timestamp>,
    /// The first 3 of the executions that held the lock when the wait began.
    holders: Vec<ExecutionId>,
    /// The operation of this API that ends the wait; null if none does.
    frees_it: Option<&'static str>,
}

/// The kind of thing that an execution waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Names)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireWaitKind {
    /// A worker, or the rate of its queue.
    Worker,
    /// A lock.
    Lock,
    /// A time: its start, the end of a sleep, or its next turn.
    Time,
    /// The time of its next attempt.
    Retry,
    /// People's answer.
    Answer,
    /// An event.
    Event,
    /// Its own steps.
    Steps,
    /// Somebody who resumes it.
    Resume,
    /// Somebody who decides its outcome.
    Settling,
}

impl WireWaitsFor {
    /// Returns what an execution waits for.
    pub(crate) fn of(execution: &Execution) -> Option<Self> {
        let kind = kind(execution)?;
        let waits = Self { kind, of: None, since: None, until: None, holders: Vec::new(), frees_it: None };
        let last_end = execution.attempts.last().and_then(|attempt| attempt.ended_at);
        let inquiry = execution.inquiry.map(|inquiry| inquiry.to_string());
        Some(match kind {
            WireWaitKind::Worker => Self { of: Some(execution.queue.to_string()), since: execution.queued_at, ..waits },
            WireWaitKind::Lock => {
                let awaited = execution.awaits_lock.as_ref();
                Self {
                    of: awaited.map(|awaited| awaited.lock.owner.as_str().to_owned()),
                    since: awaited.map(|awaited| awaited.since),
                    holders: awaited.map(|awaited| awaited.behind.iter().take(HOLDERS_MAX).copied().collect()).unwrap_or_default(),
                    ..waits
                }
            }
            WireWaitKind::Time => Self { until: execution.waits_until, ..waits },
            WireWaitKind::Retry => Self { since: last_end, until: execution.waits_until, ..waits },
            WireWaitKind::Answer => Self { of: inquiry, until: execution.waits_until, frees_it: Some("inquiry_respond"), ..waits },
            WireWaitKind::Event => Self { until: execution.waits_until, frees_it: Some("event_send"), ..waits },
            WireWaitKind::Steps => Self { since: execution.started_at, until: execution.times_out_at, ..waits },
            WireWaitKind::Resume => Self { since: execution.paused_at, frees_it: Some("execution_resume"), ..waits },
            WireWaitKind::Settling => Self { of: inquiry, since: last_end, frees_it: Some("execution_settle"), ..waits },
        })
    }
}

/// Returns since when an execution has been waiting, if its records say it.
pub(crate) fn since(execution: &Execution) -> Option<Timestamp> {
    WireWaitsFor::of(execution).and_then(|waits| waits.since)
}

/// Returns the kind of thing that an execution waits for.
pub(crate) fn kind(execution: &Execution) -> Option<WireWaitKind> {
    match (execution.status, execution.pace) {
        (Status::Paused, _) => Some(WireWaitKind::Resume),
        (Status::Indeterminate, _) => Some(WireWaitKind::Settling),
        _ if execution.awaits_lock.is_some() => Some(WireWaitKind::Lock),
        (Status::Delayed, _) if execution.attempt > 0 => Some(WireWaitKind::Retry),
        (Status::Delayed, _) => Some(WireWaitKind::Time),
        (Status::Queued, Pace::Worked) => Some(WireWaitKind::Worker),
        (Status::Waiting | Status::Cancelling, Pace::InSteps) | (Status::Undoing, _) => Some(WireWaitKind::Steps),
        (Status::Waiting, Pace::Sleeps { .. }) => Some(WireWaitKind::Time),
        (Status::Waiting, Pace::Asks) => Some(WireWaitKind::Answer),
        (Status::Waiting, Pace::Awaits { .. }) => Some(WireWaitKind::Event),
        (
            Status::Queued
            | Status::Waiting
            | Status::Running
            | Status::Cancelling
            | Status::Succeeded
            | Status::Failed
            | Status::TimedOut
            | Status::Cancelled,
            _,
        ) => None,
    }
}
