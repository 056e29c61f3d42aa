//! An execution's records as people read them: one line each.
//!
//! Nothing of it is kept: it is made from the execution's stream in the log, a page at a time.

use ensue_engine::executions::facts::{Evidence, Failure, Settlement};
use ensue_engine::fact::Fact;
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::Serialize;

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// The record's place in the log.
    pub position: Position,
    /// When it was.
    pub time: Timestamp,
    /// The fact's name.
    pub kind: &'static str,
    /// What happened, for people.
    pub what: String,
    /// Who made it happen, as the log writes actors.
    pub actor: String,
}

impl TimelineEntry {
    /// Tells a record of an execution's stream; none for a record that is no part of an execution's story.
    pub fn of(record: &Record) -> Option<Self> {
        let what = tell(&record.fact)?;
        Some(Self { position: record.position, time: record.time, kind: record.kind(), what, actor: record.actor.to_string() })
    }
}

fn tell(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::ExecutionRequested(fact) => match &fact.rule {
            Some(rule) => format!("rule {rule} asked for {}", fact.action),
            None => format!("{} was asked for", fact.action),
        },
        Fact::AttemptStarted(fact) => format!("attempt {} was given to worker {}", fact.number, fact.worker),
        Fact::AttemptSucceeded(_) => "the attempt succeeded".to_owned(),
        Fact::AttemptFailed(fact) => format!("the attempt failed: {}", why(&fact.error)),
        Fact::AttemptLost(fact) => match fact.evidence {
            Evidence::NotBegun => "the worker is gone; the attempt had not begun, nothing happened".to_owned(),
            Evidence::MayHaveBegun => "the worker is gone; the attempt may have taken effect".to_owned(),
        },
        Fact::AttemptReportedLate(fact) => match &fact.error {
            None => "an attempt that had been given up reported success; it changed nothing".to_owned(),
            Some(error) => format!("an attempt that had been given up reported a failure; it changed nothing: {}", why(error)),
        },
        Fact::ExecutionSucceeded(_) => "succeeded".to_owned(),
        Fact::ExecutionFailed(fact) => format!("failed: {}", why(&fact.error)),
        Fact::ExecutionTimedOut(fact) => format!("timed out: {}", why(&fact.error)),
        Fact::ExecutionCancelRequested(_) => "somebody asked that it end".to_owned(),
        Fact::ExecutionCancelled(_) => "cancelled".to_owned(),
        Fact::ExecutionBecameIndeterminate(_) => {
            "it is unknown whether it took effect; `ensue executions settle` says what became of it".to_owned()
        }
        Fact::ExecutionSettled(fact) => match &fact.outcome {
            Settlement::Succeeded => "settled: it took effect".to_owned(),
            Settlement::Failed { error } => format!("settled: it did not take effect: {error}"),
            Settlement::Retry => "settled: it did not take effect and is tried again".to_owned(),
        },
        _ => return None,
    })
}

fn why(error: &Failure) -> String {
    match error.detail {
        Some(detail) => format!("{} ({}, {detail})", error.message, error.kind.as_str()),
        None => format!("{} ({})", error.message, error.kind.as_str()),
    }
}
