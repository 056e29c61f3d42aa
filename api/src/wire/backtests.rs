//! Backtests: what a rule would have done with past events.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::RuleRef;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backtests::RunningBacktest;
use crate::ports::{BacktestResult, FileText, ToBacktest, ToldEvent, ToldEvents};
use crate::problem::Problem;
use crate::shapes;

/// The rule to test, and the events to test it on.
#[wire(Deserialize)]
#[schemars(rename = "BacktestAsked")]
#[serde(deny_unknown_fields)]
pub(crate) struct WireToBacktest {
    rule: RuleRef,
    /// A file of the rule's pack with the contents to test; without it, the installed rule is tested.
    #[serde(default)]
    file: Option<WireFileText>,
    /// Only events after this position; takes precedence over `since`.
    #[serde(default)]
    after: Option<Position>,
    /// Only events that were received at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only events that were received before this time.
    #[serde(default)]
    until: Option<Timestamp>,
}

/// A file of a pack.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "FileText")]
#[serde(deny_unknown_fields)]
pub(crate) struct WireFileText {
    /// Its path in the pack: `rules/greet.yaml`.
    path: String,
    /// Its contents.
    text: String,
}

impl From<WireFileText> for FileText {
    fn from(file: WireFileText) -> Self {
        Self { path: file.path, text: file.text }
    }
}

impl From<WireToBacktest> for ToBacktest {
    fn from(asked: WireToBacktest) -> Self {
        let WireToBacktest { rule, file, after, since, until } = asked;
        Self { rule, file: file.map(FileText::from), after, since, until }
    }
}

/// What a rule would have done with past events, compared with what happened.
#[wire(Serialize)]
#[schemars(rename = "Backtest")]
pub(crate) struct WireBacktest {
    /// The number of events of its triggers.
    judged: u64,
    /// The number of those events that can no longer be read.
    unreadable: u64,
    /// The position after which the events were read.
    after: Position,
    /// The position up to which the log was read.
    until: Position,
    /// The number of its matches by the outcome that they would have had.
    would: BTreeMap<&'static str, u64>,
    /// The number of its matches by the outcome that they had.
    happened: BTreeMap<&'static str, u64>,
    /// The number of events that it acted on and would act on again.
    matched: u64,
    /// The events that it would act on, but did not.
    new: WireToldEvents,
    /// The events that it acted on, but would not now.
    lost: WireToldEvents,
    /// The events on which it would fail with an error.
    erred: WireToldEvents,
}

/// A backtest that continues without a request.
#[wire(Serialize)]
#[schemars(rename = "RunningBacktest")]
pub(crate) struct WireRunningBacktest {
    id: Id,
    rule: RuleRef,
    status: WireBacktestStatus,
    /// How much of the log it has read, from 0 to 1.
    progress: f64,
    began_at: Timestamp,
    /// What it has found: so far, or at its end. Null before it has found anything, and if it failed.
    result: Option<WireBacktest>,
    /// Why it failed; null if it did not.
    error: Option<WireBacktestError>,
}

/// How far a backtest is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "BacktestStatus")]
enum WireBacktestStatus {
    /// It runs, or waits for its turn.
    Running,
    /// It has read everything.
    Succeeded,
    /// It could not.
    Failed,
}

/// Why a backtest failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BacktestError")]
struct WireBacktestError {
    /// The code that the problem has as an answer.
    #[schemars(with = "shapes::ProblemCode")]
    code: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl From<&Problem> for WireBacktestError {
    fn from(problem: &Problem) -> Self {
        Self { code: problem.code(), detail: problem.detail().map(str::to_owned), hint: problem.hint().map(str::to_owned) }
    }
}

impl WireRunningBacktest {
    /// Shows a backtest as far as it has come.
    pub(crate) fn of(running: &RunningBacktest) -> Self {
        let reported = running.progress.latest();
        let (status, progress, found, error) = match running.end.get() {
            None => (WireBacktestStatus::Running, reported.done, reported.so_far, None),
            Some(Ok(found)) => (WireBacktestStatus::Succeeded, 1.0, Some(found.clone()), None),
            Some(Err(problem)) => (WireBacktestStatus::Failed, reported.done, None, Some(WireBacktestError::from(problem))),
        };
        let result = found.map(WireBacktest::from);
        Self { id: running.id, rule: running.rule.clone(), status, progress, began_at: running.began_at, result, error }
    }
}

/// Events of one kind.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BacktestEvents")]
struct WireToldEvents {
    /// The number of events.
    count: u64,
    /// The first 100 events.
    events: Vec<WireToldEvent>,
}

/// What a rule would have decided about an event, and what it decided.
#[wire(Serialize)]
#[schemars(rename = "BacktestEvent")]
struct WireToldEvent {
    event: EventId,
    position: Position,
    /// The outcome that it would have; null if the rule does not match it.
    would: Option<&'static str>,
    /// The outcome that it had; null if the rule did not match it.
    happened: Option<&'static str>,
    /// Why the rule would fail on it, or the match would be rejected.
    error: Option<String>,
}

impl From<BacktestResult> for WireBacktest {
    fn from(told: BacktestResult) -> Self {
        let BacktestResult { judged, unreadable, after, until, would, happened, matched, new, lost, erred } = told;
        let (new, lost, erred) = (new.into(), lost.into(), erred.into());
        Self { judged, unreadable, after, until, would, happened, matched, new, lost, erred }
    }
}

impl From<ToldEvents> for WireToldEvents {
    fn from(told: ToldEvents) -> Self {
        Self { count: told.count, events: told.events.into_iter().map(WireToldEvent::from).collect() }
    }
}

impl From<ToldEvent> for WireToldEvent {
    fn from(told: ToldEvent) -> Self {
        let ToldEvent { event, position, would, happened, error } = told;
        Self { event, position, would, happened, error }
    }
}
