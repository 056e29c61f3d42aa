//! Backtests: running rules against past events.

use std::collections::BTreeMap;

use ensue_engine::ids::EventId;
use ensue_engine::names::RuleRef;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;

use super::{PortError, Progress};
use crate::patience::Patience;

/// Runs rules against past events.
pub trait Backtests: Send + Sync {
    /// Returns what a rule would have done, compared with what happened. Blocking, and long: it reads a part of
    /// the log, reports its progress, and stops when `patience` ends.
    ///
    /// # Errors
    /// If the rule does not exist, cannot be tested as written, or runs on a schedule.
    fn backtest(&self, asked: &ToBacktest, patience: &Patience, progress: &Progress) -> Result<BacktestResult, PortError>;
}

/// A rule to test, and the events to test it on.
#[derive(Clone, Debug)]
pub struct ToBacktest {
    /// The rule.
    pub rule: RuleRef,
    /// A file of its pack with the contents to test; none means the installed rule.
    pub file: Option<FileText>,
    /// Only events after this position; takes precedence over `since`.
    pub after: Option<Position>,
    /// Only events that were received at or after this time.
    pub since: Option<Timestamp>,
    /// Only events that were received before this time.
    pub until: Option<Timestamp>,
}

/// A file of a pack.
#[derive(Clone, Debug)]
pub struct FileText {
    /// Its path in the pack: `rules/greet.yaml`.
    pub path: String,
    /// Its contents.
    pub text: String,
}

/// What a rule would have done, compared with what happened.
#[derive(Clone, Debug, Default)]
pub struct BacktestResult {
    /// The number of events of its triggers.
    pub judged: u64,
    /// The number of those events that can no longer be read.
    pub unreadable: u64,
    /// The position after which the events were read.
    pub after: Position,
    /// The position up to which the log was read.
    pub until: Position,
    /// The number of its matches by the outcome that they would have had.
    pub would: BTreeMap<&'static str, u64>,
    /// The number of its matches by the outcome that they had.
    pub happened: BTreeMap<&'static str, u64>,
    /// The number of events that it acted on and would act on again.
    pub matched: u64,
    /// The events that it would act on, but did not.
    pub new: ToldEvents,
    /// The events that it acted on, but would not now.
    pub lost: ToldEvents,
    /// The events on which it would fail with an error.
    pub erred: ToldEvents,
}

/// Events of one kind: their number, and the first of them.
#[derive(Clone, Debug, Default)]
pub struct ToldEvents {
    /// The number of events.
    pub count: u64,
    /// The first events.
    pub events: Vec<ToldEvent>,
}

/// What a rule would have decided about an event, and what it decided.
#[derive(Clone, Debug)]
pub struct ToldEvent {
    /// The event.
    pub event: EventId,
    /// Its position.
    pub position: Position,
    /// The outcome that it would have; none if the rule does not match it.
    pub would: Option<&'static str>,
    /// The outcome that it had; none if the rule did not match it.
    pub happened: Option<&'static str>,
    /// Why the rule would fail on it, or the match would be rejected.
    pub error: Option<String>,
}
