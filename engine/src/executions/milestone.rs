//! What a fact means for its execution, declared once for each fact. The core, the views, the metrics and the
//! traces read it from here.

use crate::executions::facts::{AttemptStarted, ExecutionRequested, Failure};
use crate::fact::{ByNoun, ExecutionFact, Fact};
use crate::ids::AttemptId;
use crate::time::Timestamp;
use crate::workflows::part::PartOf;
use ensue_derive::Names;

/// What a fact means for its execution.
#[derive(Clone, Copy, Debug)]
pub enum Milestone<'a> {
    /// It was requested.
    Asked(&'a ExecutionRequested),
    /// An attempt of it began.
    AttemptBegan(&'a AttemptStarted),
    /// An attempt of it ended.
    AttemptEnded(AttemptEnded<'a>),
    /// It may not start until it is freed: it waits for a lock, is paused, or is indeterminate.
    Held,
    /// It may start, or continue.
    Freed,
    /// Somebody asked it to end.
    CancelRequested,
    /// It ended.
    Ended(Ended<'a>),
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
    /// It was lost with its worker; the reason, if known.
    Lost(Option<&'a Failure>),
}

/// The end of an execution.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
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

impl<'a> ExecutionFact<'a> {
    /// Returns what the fact means for its execution.
    pub fn milestone(self) -> Milestone<'a> {
        let ended = |how, part_of: &'a Option<PartOf>, error| Milestone::Ended(Ended { how, part_of: part_of.as_ref(), error });
        match self {
            Self::ExecutionRequested(fact) => Milestone::Asked(fact),
            Self::AttemptStarted(fact) => Milestone::AttemptBegan(fact),
            Self::AttemptSucceeded(fact) => {
                let how = HowAttemptEnded::Succeeded;
                Milestone::AttemptEnded(AttemptEnded { attempt: fact.attempt, ended_at: fact.ended_at, how })
            }
            Self::AttemptFailed(fact) => {
                let how = HowAttemptEnded::Failed(&fact.error);
                Milestone::AttemptEnded(AttemptEnded { attempt: fact.attempt, ended_at: fact.ended_at, how })
            }
            Self::AttemptLost(fact) => {
                let how = HowAttemptEnded::Lost(fact.error.as_ref());
                Milestone::AttemptEnded(AttemptEnded { attempt: fact.attempt, ended_at: None, how })
            }
            Self::LockAwaited(_) | Self::ExecutionPaused(_) | Self::ExecutionBecameIndeterminate(_) => Milestone::Held,
            Self::LockAcquired(_) | Self::ExecutionResumed(_) | Self::ExecutionSettled(_) => Milestone::Freed,
            Self::ExecutionSucceeded(fact) => ended(HowEnded::Succeeded, &fact.part_of, None),
            Self::ExecutionFailed(fact) => ended(HowEnded::Failed, &fact.part_of, Some(&fact.error)),
            Self::ExecutionTimedOut(fact) => ended(HowEnded::TimedOut, &fact.part_of, Some(&fact.error)),
            Self::ExecutionCancelled(fact) => ended(HowEnded::Cancelled, &fact.part_of, fact.error.as_ref()),
            Self::AttemptProgressed(_)
            | Self::AttemptEmitted(_)
            | Self::ArtifactKept(_)
            | Self::MessageRefused(_)
            | Self::AttemptReportedLate(_) => Milestone::Noted,
            Self::ExecutionCancelRequested(_) => Milestone::CancelRequested,
        }
    }

    /// Returns how the fact ends its execution, if it does.
    pub fn ended(self) -> Option<Ended<'a>> {
        if let Milestone::Ended(ended) = self.milestone() { Some(ended) } else { None }
    }

    /// Returns why an execution that is not part of a workflow failed or timed out. Returns `None` for
    /// anything else: a part is handled by its workflow.
    pub fn gave_up(self) -> Option<&'a Failure> {
        let ended = self.ended().filter(|ended| ended.part_of.is_none() && matches!(ended.how, HowEnded::Failed | HowEnded::TimedOut));
        ended.and_then(|ended| ended.error)
    }

    /// Returns true if the fact ends its execution.
    pub(crate) fn is_end(self) -> bool {
        self.ended().is_some()
    }
}

impl Fact {
    /// Returns how the fact ends an execution, if it does.
    pub fn ended(&self) -> Option<Ended<'_>> {
        if let ByNoun::ExecutionFact(fact) = self.by_noun() { fact.ended() } else { None }
    }
}
