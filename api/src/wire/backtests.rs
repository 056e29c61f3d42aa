//! Backtests: what a rule would have done with the events that came.

use std::collections::BTreeMap;

use ensue_engine::ids::EventId;
use ensue_engine::names::RuleRef;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ports::{Backtested, FileText, ToBacktest, ToldEvent, ToldEvents};
use crate::shapes;

/// Which rule is to be tried, and over what.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BacktestAsked")]
#[serde(deny_unknown_fields)]
pub(crate) struct WireToBacktest {
    #[schemars(with = "shapes::RuleRef")]
    rule: RuleRef,
    /// A file of the rule's pack as it is to be tried; without it, the rule as it is installed.
    #[serde(default)]
    file: Option<WireFileText>,
    /// Events behind this position; it counts before `since`.
    #[schemars(with = "Option<shapes::Position>")]
    #[serde(default)]
    after: Option<Position>,
    /// Events that were taken in from then on.
    #[schemars(with = "Option<shapes::Timestamp>")]
    #[serde(default)]
    since: Option<Timestamp>,
    /// Events that were taken in before.
    #[schemars(with = "Option<shapes::Timestamp>")]
    #[serde(default)]
    until: Option<Timestamp>,
}

/// A file of a pack.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "FileText")]
#[serde(deny_unknown_fields)]
struct WireFileText {
    /// Its path in the pack: `rules/greet.yaml`.
    path: String,
    /// What is in it.
    text: String,
}

impl From<WireToBacktest> for ToBacktest {
    fn from(asked: WireToBacktest) -> Self {
        let WireToBacktest { rule, file, after, since, until } = asked;
        Self { rule, file: file.map(|file| FileText { path: file.path, text: file.text }), after, since, until }
    }
}

/// What a rule would have done with the events that came, beside what happened.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Backtest")]
pub(crate) struct WireBacktest {
    /// How many events of its triggers there were.
    judged: u64,
    /// How many of them cannot be read any more.
    unreadable: u64,
    /// Behind which position they stand.
    #[schemars(with = "shapes::Position")]
    after: Position,
    /// Up to which position the log was read.
    #[schemars(with = "shapes::Position")]
    until: Position,
    /// How many of its matches would have come to each outcome.
    would: BTreeMap<&'static str, u64>,
    /// How many came to each.
    happened: BTreeMap<&'static str, u64>,
    /// How many events it acted on, and would act on.
    matched: u64,
    /// Those that it would act on, and did not.
    new: WireToldEvents,
    /// Those that it acted on, and would not.
    lost: WireToldEvents,
    /// Those over which it would err.
    erred: WireToldEvents,
}

/// Events of a kind.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BacktestEvents")]
struct WireToldEvents {
    /// How many there are.
    count: u64,
    /// The first 100 of them.
    events: Vec<WireToldEvent>,
}

/// What a rule would have made of an event, and what it made of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BacktestEvent")]
struct WireToldEvent {
    #[schemars(with = "shapes::EventId")]
    event: EventId,
    #[schemars(with = "shapes::Position")]
    position: Position,
    /// What it would have come to; null where the rule does not match it.
    would: Option<&'static str>,
    /// What it came to; null where the rule did not match it.
    happened: Option<&'static str>,
    /// Why it would err, or be rejected.
    error: Option<String>,
}

impl From<Backtested> for WireBacktest {
    fn from(told: Backtested) -> Self {
        let Backtested { judged, unreadable, after, until, would, happened, matched, new, lost, erred } = told;
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
