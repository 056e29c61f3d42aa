//! Rules that are tried over the events that came.

use std::collections::BTreeMap;

use ensue_engine::ids::EventId;
use ensue_engine::names::RuleRef;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;

use super::Declined;
use crate::patience::Patience;

/// What tries rules over the events that came.
pub trait Backtests: Send + Sync {
    /// Says what a rule would have done, beside what happened. Blocking, and long: it reads a part of the log, and stops when
    /// `patience` ends.
    ///
    /// # Errors
    /// Where there is no such rule, it cannot be tried as it is written, or it goes by a schedule.
    fn backtest(&self, asked: &ToBacktest, patience: &Patience) -> Result<Backtested, Declined>;
}

/// A rule to be tried, and over what.
#[derive(Clone, Debug)]
pub struct ToBacktest {
    /// The rule.
    pub rule: RuleRef,
    /// A file of its pack as it is to be tried; none means the rule as it is installed.
    pub file: Option<FileText>,
    /// Behind which position the events stand; it counts before `since`.
    pub after: Option<Position>,
    /// From when on they were taken in.
    pub since: Option<Timestamp>,
    /// Before when they were.
    pub until: Option<Timestamp>,
}

/// A file of a pack.
#[derive(Clone, Debug)]
pub struct FileText {
    /// Its path in the pack: `rules/greet.yaml`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// What a rule would have done, beside what happened.
#[derive(Clone, Debug, Default)]
pub struct Backtested {
    /// How many events of its triggers there were.
    pub judged: u64,
    /// How many of them cannot be read any more.
    pub unreadable: u64,
    /// Behind which position they stand.
    pub after: Position,
    /// Up to which position the log was read.
    pub until: Position,
    /// How many of its matches would have come to each outcome.
    pub would: BTreeMap<&'static str, u64>,
    /// How many came to each.
    pub happened: BTreeMap<&'static str, u64>,
    /// How many events it acted on, and would act on.
    pub matched: u64,
    /// Those that it would act on, and did not.
    pub new: ToldEvents,
    /// Those that it acted on, and would not.
    pub lost: ToldEvents,
    /// Those over which it would err.
    pub erred: ToldEvents,
}

/// Events of a kind: how many, and the first.
#[derive(Clone, Debug, Default)]
pub struct ToldEvents {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub events: Vec<ToldEvent>,
}

/// What a rule would have made of an event, and what it made of it.
#[derive(Clone, Debug)]
pub struct ToldEvent {
    /// The event.
    pub event: EventId,
    /// Its place.
    pub position: Position,
    /// What it would have come to; none where the rule does not match it.
    pub would: Option<&'static str>,
    /// What it came to; none where the rule did not match it.
    pub happened: Option<&'static str>,
    /// Why it would err, or be rejected.
    pub error: Option<String>,
}
