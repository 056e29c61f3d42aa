//! Describes an execution's records for people, in one line each.
//!
//! Nothing of it is stored: it is computed from the execution's stream in the log, a page at a time.

use ensue_engine::executions::facts::{Evidence, Failure, Settlement};
use ensue_engine::fact::{ByNoun, ExecutionFact, InquiryFact, StepFact, TimerFact};
use ensue_engine::inquiries::facts::{InquiryAnswered, Verdict};
use ensue_engine::record::{Position, Record};
use ensue_engine::time::{Timestamp, duration_text};
use ensue_engine::timers::facts::{TimerFired, TimerKind, TimerSet};
use ensue_engine::workflows::facts::{PartOf, PartRole, RerunFrom, SkippedBecause};
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
            ByNoun::ExecutionFact(fact) => tell(fact),
            ByNoun::StepFact(fact) => tell_step(fact),
            ByNoun::InquiryFact(fact) => tell_inquiry(fact),
            ByNoun::TimerFact(fact) => tell_timer(fact),
            ByNoun::EventFact(_)
            | ByNoun::RuleFact(_)
            | ByNoun::FlowFact(_)
            | ByNoun::ScheduleFact(_)
            | ByNoun::CatalogFact(_)
            | ByNoun::VarFact(_)
            | ByNoun::AccessFact(_)
            | ByNoun::LetterFact(_)
            | ByNoun::HealthFact(_) => return None,
        };
        let (position, time, kind) = (record.position, record.time, record.kind());
        Some(Self { position, time, kind, what, actor: record.actor.to_string() })
    }
}

fn tell(fact: ExecutionFact<'_>) -> String {
    match fact {
        ExecutionFact::ExecutionRequested(fact) => match (&fact.rule, &fact.part_of) {
            (Some(rule), _) => format!("rule {rule} asked for {}", fact.action),
            (None, Some(part)) => format!("{} asked for {}{}", part_name(part), fact.action, with_item(part)),
            (None, None) => format!("{} was asked for", fact.action),
        },
        ExecutionFact::AttemptStarted(fact) => format!("attempt {} was given to worker {}", fact.number, fact.worker),
        ExecutionFact::AttemptProgressed(fact) => match fact.thousandths {
            Some(thousandths) => format!("the attempt said that it is {}.{} % done", thousandths / 10, thousandths % 10),
            None => "the attempt said what it does".to_owned(),
        },
        ExecutionFact::AttemptEmitted(fact) => format!("the attempt emitted the event {}", fact.event),
        ExecutionFact::ArtifactKept(fact) => format!("the attempt gave the file `{}` of {} bytes away", fact.name, fact.bytes),
        ExecutionFact::MessageRefused(fact) => format!("what the attempt said was not taken: {}", fact.reason),
        ExecutionFact::AttemptSucceeded(fact) => format!("the attempt succeeded{}", earlier(fact.ended_at)),
        ExecutionFact::AttemptFailed(fact) => {
            let failed = format!("the attempt failed{}: {}", earlier(fact.ended_at), why(&fact.error));
            match fact.retry_after_millis {
                Some(wait) => format!("{failed}; the server asks for a wait of {}", duration_text(wait)),
                None => failed,
            }
        }
        ExecutionFact::AttemptLost(fact) => {
            let because = fact.error.as_ref().map_or("the worker is gone", |error| &error.message);
            match fact.evidence {
                Evidence::NotBegun => format!("{because}; the attempt had not begun, nothing happened"),
                Evidence::MayHaveBegun => format!("{because}; the attempt may have taken effect"),
            }
        }
        ExecutionFact::AttemptReportedLate(fact) => match &fact.error {
            None => "an attempt that had been given up reported success; it changed nothing".to_owned(),
            Some(error) => format!("an attempt that had been given up reported a failure; it changed nothing: {}", why(error)),
        },
        ExecutionFact::ExecutionSucceeded(_) => "succeeded".to_owned(),
        ExecutionFact::ExecutionFailed(fact) => format!("failed: {}", why(&fact.error)),
        ExecutionFact::ExecutionTimedOut(fact) => format!("timed out: {}", why(&fact.error)),
        ExecutionFact::ExecutionCancelRequested(_) => "somebody asked that it end".to_owned(),
        ExecutionFact::ExecutionPaused(_) => "paused: nothing of it starts until it is resumed".to_owned(),
        ExecutionFact::ExecutionResumed(_) => "resumed".to_owned(),
        ExecutionFact::ExecutionCancelled(fact) => match &fact.error {
            Some(error) => format!("cancelled: {}", error.message),
            None => "cancelled".to_owned(),
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
            "it is unknown whether it took effect; `ensue executions settle` says what became of it".to_owned()
        }
        ExecutionFact::ExecutionSettled(fact) => match &fact.outcome {
            Settlement::Succeeded => "settled: it took effect".to_owned(),
            Settlement::Failed { error } => format!("settled: it did not take effect: {error}"),
            Settlement::Retry => "settled: it did not take effect and is tried again".to_owned(),
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

fn tell_step(fact: StepFact<'_>) -> String {
    match fact {
        StepFact::StepSkipped(fact) => {
            let because = match fact.because {
                SkippedBecause::Condition => "its condition does not hold",
                SkippedBecause::Needs => "a step that it needs did not succeed",
                SkippedBecause::Failing => "the workflow is failing",
                SkippedBecause::Cancelled => "the workflow was cancelled",
            };
            format!("step {} was skipped: {because}", fact.step)
        }
        StepFact::StepFailed(fact) => match fact.item {
            Some(item) => format!("item {item} of step {} failed: {}", fact.step, why(&fact.error)),
            None => format!("step {} failed: {}", fact.step, why(&fact.error)),
        },
        StepFact::StepExpanded(fact) => format!("step {} is done for each of {} items", fact.step, fact.count),
        StepFact::StepEnded(fact) => match &fact.error {
            None => format!("step {} succeeded", fact.step),
            Some(error) => format!("step {} failed: {}", fact.step, why(error)),
        },
        StepFact::WaitOpened(fact) => format!("step {} counts events of {} from now on", fact.step, fact.trigger),
        StepFact::WaitMatched(fact) => format!("the event that step {} waits for has come: {}", fact.step, fact.event),
        StepFact::WaitErred(fact) => {
            format!("whether event {} is the one that step {} waits for cannot be told: {}", fact.event, fact.step, fact.message)
        }
        StepFact::RerunPlanned(fact) => {
            let from = match &fact.from {
                RerunFrom::Start => "the start".to_owned(),
                RerunFrom::Failed => "what did not succeed".to_owned(),
                RerunFrom::Step(step) => format!("step {step}"),
            };
            format!("runs {} again from {from}", fact.of)
        }
        StepFact::StepTakenOver(fact) => {
            let of = fact.item.map_or(String::new(), |item| format!("item {item} of "));
            let from = fact.taken.execution.map_or(String::new(), |from| format!(", from {from}"));
            format!("{of}step {} is taken over: it had succeeded{from}", fact.step)
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

fn tell_inquiry(fact: InquiryFact<'_>) -> String {
    match fact {
        InquiryFact::InquiryOpened(fact) => {
            let assignees = fact.assignees.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("asked {assignees}: {}", fact.title)
        }
        InquiryFact::InquiryAnswered(InquiryAnswered { by, verdict, .. }) => match verdict {
            Verdict::Counts => format!("{by} answered; more people have to"),
            Verdict::Decides => format!("{by} answered, which decides"),
            Verdict::Vetoes => format!("{by} answered with a veto, which decides"),
        },
        InquiryFact::InquiryReminded(fact) => match fact.number {
            1 => "nobody has decided yet".to_owned(),
            number => format!("nobody has decided yet, said {number} times now"),
        },
        InquiryFact::InquiryEscalated(fact) => {
            format!("asked {} as well", fact.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        InquiryFact::InquiryNotified(fact) => format!("those who are asked are told by execution {}", fact.execution),
        InquiryFact::InquiryNotificationFailed(fact) => format!("those who are asked could not be told: {}", why(&fact.error)),
        InquiryFact::InquiryWithdrawn(_) => "the question is taken back: nothing is left to ask".to_owned(),
    }
}

fn tell_timer(fact: TimerFact<'_>) -> String {
    match fact {
        TimerFact::TimerSet(TimerSet { kind, number, due, .. }) => match kind {
            TimerKind::Retry => format!("attempt {number} follows at {due}"),
            TimerKind::Sleep => format!("sleeps until {due}"),
            TimerKind::Start | TimerKind::Turn => format!("starts at {due}"),
            TimerKind::Expiry => format!("there is time until {due}"),
            TimerKind::Reminder => format!("those who are asked are told again at {due}"),
            TimerKind::Escalation => format!("others are asked as well at {due}"),
            TimerKind::Timeout => format!("all of it may take until {due}"),
            TimerKind::Schedule | TimerKind::Interval => format!("is due at {due}"),
            TimerKind::Hold => format!("is held until {due}"),
        },
        TimerFact::TimerFired(TimerFired { kind, number, .. }) => match kind {
            TimerKind::Retry => format!("the wait before attempt {number} is over"),
            TimerKind::Sleep => "the sleep is over".to_owned(),
            TimerKind::Start => "its time has come".to_owned(),
            TimerKind::Turn => "the wait before this turn is over".to_owned(),
            TimerKind::Expiry => "the time for it is over".to_owned(),
            TimerKind::Reminder => "it is time to tell those who are asked again".to_owned(),
            TimerKind::Escalation => "it is time to ask others as well".to_owned(),
            TimerKind::Timeout => "all of it took too long".to_owned(),
            TimerKind::Schedule | TimerKind::Interval => "is due".to_owned(),
            TimerKind::Hold => "is held no longer".to_owned(),
        },
    }
}

fn why(error: &Failure) -> String {
    match error.detail {
        Some(detail) => format!("{} ({}, {detail})", error.message, error.kind.as_str()),
        None => format!("{} ({})", error.message, error.kind.as_str()),
    }
}
