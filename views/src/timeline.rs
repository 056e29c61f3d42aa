//! Describes an execution's records for people, in one line each.
//!
//! Nothing of it is stored: it is computed from the execution's stream in the log, a page at a time.

use ensue_engine::executions::facts::{Evidence, Failure, Settlement};
use ensue_engine::fact::{ByNoun, ExecutionFact, InquiryFact, StepFact, TimerFact};
use ensue_engine::inquiries::facts::{InquiryAnswered, Verdict};
use ensue_engine::names::StepName;
use ensue_engine::record::{Position, Record};
use ensue_engine::time::{Timestamp, duration_text};
use ensue_engine::timers::facts::{TimerFired, TimerKind, TimerSet};
use ensue_engine::workflows::facts::{PartOf, PartRole, Purpose, RerunFrom, SkippedBecause};
use serde::Serialize;

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// The record's position in the log.
    pub position: Position,
    /// The record's time.
    pub time: Timestamp,
    /// The fact's name.
    pub kind: &'static str,
    /// A description of what happened.
    pub what: String,
    /// The actor that caused it, in the log's notation.
    pub actor: String,
}

impl TimelineEntry {
    /// Describes a record of an execution's stream. Returns `None` for a record that is not part of an
    /// execution's history.
    pub fn of(record: &Record) -> Option<Self> {
        let what = match record.fact.by_noun() {
            ByNoun::ExecutionFact(fact) => describe_execution(fact),
            ByNoun::StepFact(fact) => describe_step(fact),
            ByNoun::InquiryFact(fact) => describe_inquiry(fact),
            ByNoun::TimerFact(fact) => describe_timer(fact),
            _ => return None,
        };
        let (position, time, kind) = (record.position, record.time, record.kind());
        Some(Self { position, time, kind, what, actor: record.actor.to_string() })
    }
}

fn describe_execution(fact: ExecutionFact<'_>) -> String {
    match fact {
        ExecutionFact::ExecutionRequested(fact) => match (&fact.rule, &fact.part_of) {
            (Some(rule), _) => format!("rule {rule} requested {}", fact.action),
            (None, Some(part)) => format!("{} requested {}{}", part_name(part), fact.action, with_item(part)),
            (None, None) => format!("{} was requested", fact.action),
        },
        ExecutionFact::AttemptStarted(fact) => format!("attempt {} was given to worker {}", fact.number, fact.worker),
        ExecutionFact::AttemptProgressed(fact) => match fact.thousandths {
            Some(thousandths) => format!("the attempt reported that it is {}.{} % done", thousandths / 10, thousandths % 10),
            None => "the attempt reported what it is doing".to_owned(),
        },
        ExecutionFact::AttemptEmitted(fact) => format!("the attempt emitted the event {}", fact.event),
        ExecutionFact::ArtifactKept(fact) => format!("the attempt created the artifact `{}` of {} bytes", fact.name, fact.bytes),
        ExecutionFact::MessageRefused(fact) => format!("a message of the attempt was rejected: {}", fact.reason),
        ExecutionFact::AttemptSucceeded(fact) => format!("the attempt succeeded{}", earlier(fact.ended_at)),
        ExecutionFact::AttemptFailed(fact) => {
            let failed = format!("the attempt failed{}: {}", earlier(fact.ended_at), why(&fact.error));
            match fact.retry_after_millis {
                Some(wait) => format!("{failed}; the server asks to wait for {}", duration_text(wait)),
                None => failed,
            }
        }
        ExecutionFact::AttemptLost(fact) => {
            let because = fact.error.as_ref().map_or("the worker is gone", |error| &error.message);
            match fact.evidence {
                Evidence::NotBegun => format!("{because}; the attempt had not begun, so it had no effect"),
                Evidence::MayHaveBegun => format!("{because}; the attempt may have taken effect"),
            }
        }
        ExecutionFact::AttemptReportedLate(fact) => match &fact.error {
            None => "an attempt that had already been given up reported success; this changes nothing".to_owned(),
            Some(error) => format!("an attempt that had already been given up reported a failure; this changes nothing: {}", why(error)),
        },
        ExecutionFact::ExecutionSucceeded(_) => "succeeded".to_owned(),
        ExecutionFact::ExecutionFailed(fact) => format!("failed: {}", why(&fact.error)),
        ExecutionFact::ExecutionTimedOut(fact) => format!("timed out: {}", why(&fact.error)),
        ExecutionFact::ExecutionCancelRequested(_) => "cancel requested".to_owned(),
        ExecutionFact::ExecutionPaused(_) => "paused: nothing of it starts until it is resumed".to_owned(),
        ExecutionFact::ExecutionResumed(_) => "resumed".to_owned(),
        ExecutionFact::ExecutionCancelled(fact) => match &fact.error {
            Some(error) => format!("cancelled: {}", error.message),
            None => match fact.by {
                Some(event) => format!("cancelled by the event {event}"),
                None => "cancelled".to_owned(),
            },
        },
        ExecutionFact::LockAwaited(fact) => {
            let owner = &fact.lock.owner;
            let behind = fact.behind.first().map_or_else(String::new, |first| format!(" behind {first}"));
            format!("waits for a lock of {} {}{behind}; {} may hold it at once", owner.noun(), owner.as_str(), fact.limit)
        }
        ExecutionFact::LockAcquired(fact) => {
            format!("holds the lock of {} {} that it waited for", fact.lock.owner.noun(), fact.lock.owner.as_str())
        }
        ExecutionFact::ExecutionBecameIndeterminate(_) => {
            "it is unknown whether it took effect; settle it with `ensue executions settle`".to_owned()
        }
        ExecutionFact::ExecutionSettled(fact) => match &fact.outcome {
            Settlement::Succeeded => "settled: it took effect".to_owned(),
            Settlement::Failed { error } => format!("settled: it did not take effect: {error}"),
            Settlement::Retry => "settled: it did not take effect and will be retried".to_owned(),
        },
    }
}

/// Describes when an attempt ended, if its end was reported later.
fn earlier(ended_at: Option<Timestamp>) -> String {
    ended_at.map_or_else(String::new, |ended_at| format!(" at {ended_at}, which was reported later"))
}

fn part_name(part: &PartOf) -> String {
    match part.role {
        PartRole::Step | PartRole::UndoableStep | PartRole::Turn => format!("step {}", part.step),
        PartRole::Undo => format!("the undo of step {}", part.step),
    }
}

fn with_item(part: &PartOf) -> String {
    match (part.role, part.item) {
        (_, None) => String::new(),
        (PartRole::Turn, Some(turn)) => format!(" in turn {}", turn.saturating_add(1)),
        (PartRole::Step | PartRole::UndoableStep | PartRole::Undo, Some(item)) => format!(" with item {item}"),
    }
}

fn describe_step(fact: StepFact<'_>) -> String {
    match fact {
        StepFact::StepSkipped(fact) => {
            let because = match fact.because {
                SkippedBecause::Condition => "its condition does not hold",
                SkippedBecause::Needs => "a step that it needs did not succeed",
                SkippedBecause::Failing => "the workflow is failing",
                SkippedBecause::Cancelled => "the workflow was cancelled",
                SkippedBecause::Event => "the event that cancels it came before it began",
            };
            format!("step {} was skipped: {because}", fact.step)
        }
        StepFact::StepChosen(fact) => {
            let names = |steps: &[StepName]| steps.iter().map(StepName::as_str).collect::<Vec<_>>().join(", ");
            let rest = if fact.cancelled.is_empty() { String::new() } else { format!("; cancelled: {}", names(&fact.cancelled)) };
            format!("enough of the steps that step {} needs have ended: {}{rest}", fact.step, names(&fact.ended))
        }
        StepFact::StepFailed(fact) => match fact.item {
            Some(item) => format!("item {item} of step {} failed: {}", fact.step, why(&fact.error)),
            None => format!("step {} failed: {}", fact.step, why(&fact.error)),
        },
        StepFact::StepExpanded(fact) => format!("step {} runs for each of {} items", fact.step, fact.count),
        StepFact::StepEnded(fact) => match &fact.error {
            None => format!("step {} succeeded", fact.step),
            Some(error) => format!("step {} failed: {}", fact.step, why(error)),
        },
        StepFact::WaitOpened(fact) if fact.purpose == Purpose::Cancels => {
            format!("step {} would be cancelled by an event of {} from now on", fact.step, fact.trigger)
        }
        StepFact::WaitMatched(fact) if fact.purpose == Purpose::Cancels => {
            format!("the event that cancels step {} arrived: {}", fact.step, fact.event)
        }
        StepFact::WaitErred(fact) if fact.purpose == Purpose::Cancels => {
            format!("it is unknown whether event {} cancels step {}: {}", fact.event, fact.step, fact.message)
        }
        StepFact::WaitOpened(fact) => format!("step {} waits for events of {} from now on", fact.step, fact.trigger),
        StepFact::WaitMatched(fact) => format!("the event that step {} waits for arrived: {}", fact.step, fact.event),
        StepFact::WaitErred(fact) => {
            format!("it is unknown whether event {} is the one that step {} waits for: {}", fact.event, fact.step, fact.message)
        }
        StepFact::RerunPlanned(fact) => {
            let from = match &fact.from {
                RerunFrom::Start => "the start".to_owned(),
                RerunFrom::Failed => "the parts that did not succeed".to_owned(),
                RerunFrom::Step(step) => format!("step {step}"),
            };
            format!("runs {} again from {from}", fact.of)
        }
        StepFact::StepTakenOver(fact) => {
            let of = fact.item.map_or(String::new(), |item| format!("item {item} of "));
            let from = fact.taken.execution.map_or(String::new(), |from| format!(", from {from}"));
            format!("{of}step {} is taken over: it had already succeeded{from}", fact.step)
        }
        StepFact::UndoBegun(fact) => match fact.count {
            1 => "undoes the one step that succeeded".to_owned(),
            count => format!("undoes {count} steps and items that succeeded, the newest first"),
        },
        StepFact::UndoFailed(fact) => match fact.item {
            Some(item) => format!("the undo of item {item} of step {} failed: {}", fact.step, why(&fact.error)),
            None => format!("the undo of step {} failed: {}", fact.step, why(&fact.error)),
        },
    }
}

fn describe_inquiry(fact: InquiryFact<'_>) -> String {
    match fact {
        InquiryFact::InquiryOpened(fact) => {
            let assignees = fact.assignees.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("asked {assignees}: {}", fact.title)
        }
        InquiryFact::InquiryAnswered(InquiryAnswered { by, verdict, on_behalf_of, .. }) => {
            let place = on_behalf_of.map_or_else(String::new, |of| format!(" on behalf of identity {of}"));
            match verdict {
                Verdict::Counts => format!("{by} answered{place}; more people must answer"),
                Verdict::Decides => format!("{by} answered{place}, which decides"),
                Verdict::Vetoes => format!("{by} answered{place} with a veto, which decides"),
            }
        }
        InquiryFact::InquiryReminded(fact) => match fact.number {
            1 => "nobody has decided yet".to_owned(),
            number => format!("nobody has decided yet; this is reminder {number}"),
        },
        InquiryFact::InquiryEscalated(fact) => {
            format!("asked {} as well", fact.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        InquiryFact::InquiryNotified(fact) => format!("the assignees are notified by execution {}", fact.execution),
        InquiryFact::InquiryNotificationFailed(fact) => format!("the assignees could not be notified: {}", why(&fact.error)),
        InquiryFact::InquiryWithdrawn(fact) => match fact.by {
            Some(event) => format!("the question is withdrawn because of the event {event}"),
            None => "the question is withdrawn: there is nothing left to ask".to_owned(),
        },
        InquiryFact::InquiryDelegated(fact) => format!("identity {} lets identity {} answer in its place", fact.by, fact.to),
        InquiryFact::LinkMinted(fact) => format!("identity {} gets a link to answer with, until {}", fact.r#for, fact.until),
        InquiryFact::LinkUsed(fact) => format!("identity {} opened its link", fact.r#for),
    }
}

fn describe_timer(fact: TimerFact<'_>) -> String {
    match fact {
        TimerFact::TimerSet(TimerSet { kind, number, due, .. }) => match kind {
            TimerKind::Retry => format!("attempt {number} follows at {due}"),
            TimerKind::Sleep => format!("sleeps until {due}"),
            TimerKind::Start | TimerKind::Turn => format!("starts at {due}"),
            TimerKind::Expiry => format!("it expires at {due}"),
            TimerKind::Reminder => format!("the assignees are reminded at {due}"),
            TimerKind::Escalation => format!("more people are asked at {due}"),
            TimerKind::Timeout => format!("its total time ends at {due}"),
            TimerKind::Schedule | TimerKind::Interval => format!("is due at {due}"),
            TimerKind::Hold => format!("is held until {due}"),
        },
        TimerFact::TimerFired(TimerFired { kind, number, .. }) => match kind {
            TimerKind::Retry => format!("the wait before attempt {number} is over"),
            TimerKind::Sleep => "the sleep is over".to_owned(),
            TimerKind::Start => "it starts now".to_owned(),
            TimerKind::Turn => "the wait before this turn is over".to_owned(),
            TimerKind::Expiry => "its time is over".to_owned(),
            TimerKind::Reminder => "the assignees are reminded now".to_owned(),
            TimerKind::Escalation => "more people are asked now".to_owned(),
            TimerKind::Timeout => "its total time is over".to_owned(),
            TimerKind::Schedule | TimerKind::Interval => "is due".to_owned(),
            TimerKind::Hold => "it is no longer held".to_owned(),
        },
    }
}

fn why(error: &Failure) -> String {
    match error.detail {
        Some(detail) => format!("{} ({}, {detail})", error.message, error.kind.as_str()),
        None => format!("{} ({})", error.message, error.kind.as_str()),
    }
}
