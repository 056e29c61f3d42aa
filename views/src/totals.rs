//! The log in numbers: how often everything has happened since its beginning, and therefore how much is open.
//!
//! These are only counts of records; rates, latencies and lags are in the node's metrics.

use std::fmt;

use ensue_engine::executions::milestone::{AttemptEnded, HowAttemptEnded, HowEnded, Milestone};
use ensue_engine::fact::{ByNoun, EventFact, ExecutionFact, HealthFact, RuleFact};
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::rules::Matches;
use crate::view::{Column, Life, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 3;

/// The columns by which totals can be filtered: none.
pub const COLUMNS: &[Column] = &[];

/// The only key.
pub const TOTALS: &str = "log";

/// The counts since the log's beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The position of the first counted record.
    pub position: Position,
    /// The time of that record.
    pub since: Timestamp,
    /// Events.
    pub events: u64,
    /// Rejected deliveries.
    pub deliveries_refused: u64,
    /// Enforcements, by outcome.
    pub enforcements: Matches,
    /// Rules that could not be evaluated on an event.
    pub rules_erred: u64,
    /// Executions.
    pub executions: ExecutionCounts,
    /// Attempts.
    pub attempts: AttemptCounts,
    /// Starts of nodes.
    pub starts: u64,
}

/// Counts of executions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionCounts {
    /// Requested.
    pub requested: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Failed permanently.
    pub failed: u64,
    /// Exceeded their timeout.
    pub timed_out: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl ExecutionCounts {
    /// Returns how many have not ended.
    pub fn open(&self) -> u64 {
        self.requested.saturating_sub(self.succeeded + self.failed + self.timed_out + self.cancelled)
    }
}

/// Counts of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptCounts {
    /// Started.
    pub started: u64,
    /// Lost their worker.
    pub lost: u64,
    /// Reported after they had been given up.
    pub reported_late: u64,
}

/// The key of the only row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WholeLog;

impl fmt::Display for WholeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TOTALS)
    }
}

impl From<WholeLog> for Term {
    fn from(_: WholeLog) -> Self {
        TOTALS.into()
    }
}

impl View for Totals {
    const NAME: ViewName = ViewName::Totals;
    type Key = WholeLog;

    fn key(_: &Record) -> Option<Touch<WholeLog>> {
        Some(Touch::Changes(WholeLog))
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let mut totals = before.unwrap_or_else(|| Self::from_the_beginning(record));
        totals.count(record);
        Some(totals)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.since
    }

    fn life(&self) -> Life {
        Life::Alive
    }
}

impl Totals {
    fn from_the_beginning(record: &Record) -> Self {
        Self {
            position: record.position,
            since: record.time,
            events: 0,
            deliveries_refused: 0,
            enforcements: Matches::default(),
            rules_erred: 0,
            executions: ExecutionCounts::default(),
            attempts: AttemptCounts::default(),
            starts: 0,
        }
    }

    fn count(&mut self, record: &Record) {
        match record.fact.by_noun() {
            ByNoun::EventFact(EventFact::EventReceived(fact)) => {
                self.events += 1;
                self.rules_erred += u64::from(fact.erred);
            }
            ByNoun::EventFact(EventFact::DeliveryRefused(_)) => self.deliveries_refused += 1,
            ByNoun::RuleFact(RuleFact::EnforcementMade(fact)) => self.enforcements.count(&fact.outcome),
            ByNoun::FlowFact(fact) => self.enforcements.count_held(fact),
            ByNoun::ExecutionFact(fact) => self.count_execution(fact),
            ByNoun::HealthFact(HealthFact::NodeStarted(_)) => self.starts += 1,
            _ => {}
        }
    }

    fn count_execution(&mut self, fact: ExecutionFact<'_>) {
        if let ExecutionFact::AttemptReportedLate(_) = fact {
            self.attempts.reported_late += 1;
        }
        match fact.milestone() {
            Milestone::Asked(_) => self.executions.requested += 1,
            Milestone::AttemptBegan(_) => self.attempts.started += 1,
            Milestone::AttemptEnded(AttemptEnded { how: HowAttemptEnded::Lost(_), .. }) => self.attempts.lost += 1,
            Milestone::Ended(ended) => match ended.how {
                HowEnded::Succeeded => self.executions.succeeded += 1,
                HowEnded::Failed => self.executions.failed += 1,
                HowEnded::TimedOut => self.executions.timed_out += 1,
                HowEnded::Cancelled => self.executions.cancelled += 1,
            },
            Milestone::Said { .. } | Milestone::AttemptEnded(_) | Milestone::Held | Milestone::Freed => {}
            Milestone::Settled(_) | Milestone::CancelRequested | Milestone::Noted => {}
        }
    }
}
