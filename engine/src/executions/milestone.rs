//! What a fact means for its execution. The table of facts in `fact.rs` names the meaning of each once; the core, the
//! views, the metrics and the traces read it.

use ensue_derive::Names;

use crate::executions::facts::{
    ArtifactKept, AttemptEmitted, AttemptFailed, AttemptLost, AttemptProgressed, AttemptStarted, AttemptSucceeded, ExecutionCancelled,
    ExecutionFailed, ExecutionRequested, ExecutionSettled, ExecutionSucceeded, ExecutionTimedOut, Failure, MessageRefused,
};
use crate::executions::message_counts::MessageCounts;
use crate::ids::AttemptId;
use crate::time::Timestamp;
use crate::workflows::part::PartOf;

/// What a fact means for its execution.
#[derive(Clone, Copy, Debug)]
pub enum Milestone<'a> {
    /// It was requested.
    Asked(&'a ExecutionRequested),
    /// An attempt of it began.
    AttemptBegan(&'a AttemptStarted),
    /// The attempt sent a message.
    Said {
        /// The index of the message.
        index: u32,
        /// Counts the message.
        count: fn(&mut MessageCounts),
    },
    /// An attempt of it ended.
    AttemptEnded(AttemptEnded<'a>),
    /// It may not start until it is freed: it waits for a lock, is paused, or is indeterminate.
    Held,
    /// It may start, or continue.
    Freed,
    /// A person stated what became of it: it may continue.
    Settled(&'a ExecutionSettled),
    /// Somebody asked it to end.
    CancelRequested,
    /// It ended.
    Ended(ExecutionEnd<'a>),
    /// Something else happened to it that does not affect its course.
    Noted,
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct AttemptEnded<'a> {
    /// The attempt.
    pub attempt: AttemptId,
    /// When the worker saw it end, if that was recorded.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub how: HowAttemptEnded<'a>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub enum HowAttemptEnded<'a> {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed(&'a Failure),
    /// It was lost with its worker.
    Lost(&'a AttemptLost),
}

/// The end of an execution.
#[derive(Clone, Copy, Debug)]
pub struct ExecutionEnd<'a> {
    /// How it ended.
    pub how: HowEnded,
    /// The workflow that it is a part of.
    pub part_of: Option<&'a PartOf>,
    /// Why it did not succeed, if that was recorded.
    pub error: Option<&'a Failure>,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum HowEnded {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was canceled.
    Cancelled,
}

/// Returns the meaning of a progress report.
pub(crate) fn attempt_progressed(fact: &AttemptProgressed) -> Milestone<'_> {
    Milestone::Said { index: fact.index, count: |heard| heard.progressed += 1 }
}

/// Returns the meaning of an emitted event.
pub(crate) fn attempt_emitted(fact: &AttemptEmitted) -> Milestone<'_> {
    Milestone::Said { index: fact.index, count: |heard| heard.emitted += 1 }
}

/// Returns the meaning of an artifact.
pub(crate) fn artifact_kept(fact: &ArtifactKept) -> Milestone<'_> {
    Milestone::Said { index: fact.index, count: |heard| heard.artifacts += 1 }
}

/// Returns the meaning of a rejected message.
pub(crate) fn message_refused(fact: &MessageRefused) -> Milestone<'_> {
    Milestone::Said { index: fact.index, count: |heard| heard.refused += 1 }
}

/// Returns the meaning of an attempt that succeeded.
pub(crate) fn attempt_succeeded(fact: &AttemptSucceeded) -> Milestone<'_> {
    Milestone::AttemptEnded(AttemptEnded { attempt: fact.attempt, ended_at: fact.ended_at, how: HowAttemptEnded::Succeeded })
}

/// Returns the meaning of an attempt that failed.
pub(crate) fn attempt_failed(fact: &AttemptFailed) -> Milestone<'_> {
    Milestone::AttemptEnded(AttemptEnded { attempt: fact.attempt, ended_at: fact.ended_at, how: HowAttemptEnded::Failed(&fact.error) })
}

/// Returns the meaning of a lost attempt.
pub(crate) fn attempt_lost(fact: &AttemptLost) -> Milestone<'_> {
    Milestone::AttemptEnded(AttemptEnded { attempt: fact.attempt, ended_at: None, how: HowAttemptEnded::Lost(fact) })
}

/// Returns the meaning of a success.
pub(crate) fn execution_succeeded(fact: &ExecutionSucceeded) -> Milestone<'_> {
    Milestone::Ended(ExecutionEnd { how: HowEnded::Succeeded, part_of: fact.part_of.as_ref(), error: None })
}

/// Returns the meaning of a failure.
pub(crate) fn execution_failed(fact: &ExecutionFailed) -> Milestone<'_> {
    Milestone::Ended(ExecutionEnd { how: HowEnded::Failed, part_of: fact.part_of.as_ref(), error: Some(&fact.error) })
}

/// Returns the meaning of a timeout.
pub(crate) fn timed_out(fact: &ExecutionTimedOut) -> Milestone<'_> {
    Milestone::Ended(ExecutionEnd { how: HowEnded::TimedOut, part_of: fact.part_of.as_ref(), error: Some(&fact.error) })
}

/// Returns the meaning of a cancellation.
pub(crate) fn execution_cancelled(fact: &ExecutionCancelled) -> Milestone<'_> {
    Milestone::Ended(ExecutionEnd { how: HowEnded::Cancelled, part_of: fact.part_of.as_ref(), error: fact.error.as_ref() })
}

/// Returns [`Milestone::Noted`], whatever the fact holds.
pub(crate) fn always_noted<T>(_: &T) -> Milestone<'_> {
    Milestone::Noted
}

/// Returns [`Milestone::Held`], whatever the fact holds.
pub(crate) fn always_held<T>(_: &T) -> Milestone<'_> {
    Milestone::Held
}

/// Returns [`Milestone::Freed`], whatever the fact holds.
pub(crate) fn always_freed<T>(_: &T) -> Milestone<'_> {
    Milestone::Freed
}

/// Returns [`Milestone::CancelRequested`], whatever the fact holds.
pub(crate) fn cancel_requested<T>(_: &T) -> Milestone<'_> {
    Milestone::CancelRequested
}
