//! Counts over time: how many events, executions, enforcements, errors of rules and deliveries there were in each minute and
//! each hour.
//!
//! They are not rows of a view: a batch of records leads to increments, and a store adds them up. Minutes and hours that are
//! too old leave the store.

use std::collections::BTreeMap;

use ensue_engine::executions::milestone::{HowEnded, Milestone};
use ensue_engine::executions::scope::ExecutionScope;
use ensue_engine::fact::{ByNoun, EventFact, RuleFact};
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::{Names, RuleRef};
use ensue_engine::record::{Actor, Record, StreamId};
use ensue_engine::time::Timestamp;

use crate::Execution;
use crate::enforcements::OutcomeName;
use crate::reach::{RowReach, RowScope};

/// The version of what is counted.
pub const VERSION: u32 = 2;

/// The maximum number of names and places of a kind that are told apart in each hour. Further ones are counted together.
pub const SERIES_KEYS_MAX: usize = 200;

/// The microseconds of a minute.
const MINUTE_MICROS: i64 = 60_000_000;

/// The minutes of an hour.
const HOUR_MINUTES: i64 = 60;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Names)]
pub enum SeriesKind {
    /// Events, by trigger; the outcomes are those of [`EventOutcome`].
    Events,
    /// Executions, by action; the outcomes are those of [`ExecutionOutcome`].
    Executions,
    /// Enforcements, by rule; the outcomes are those of [`OutcomeName`].
    Enforcements,
    /// Events on which a rule could not be evaluated, by rule. The only outcome is [`RULE_ERRED`].
    RuleErrors,
    /// Events that came through a sensor, and refused deliveries of verified senders, by sensor; the outcomes are those of
    /// [`DeliveryOutcome`].
    Deliveries,
}

/// The outcome of every error of a rule.
pub const RULE_ERRED: &str = "erred";

/// What the rules decided on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum EventOutcome {
    /// A rule matched.
    Matched,
    /// No rule matched, and one could not be evaluated.
    Erred,
    /// No rule matched at once, and one is judged once the event is in the log.
    Undecided,
    /// No rule matched.
    Unmatched,
}

/// What happened to an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum ExecutionOutcome {
    /// It was requested.
    Requested,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was canceled.
    Cancelled,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum DeliveryOutcome {
    /// It led to an event.
    Accepted,
    /// It was refused.
    Refused,
}

/// The length of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// A minute. The last 48 hours are kept.
    Minute,
    /// An hour. The last 400 days are kept.
    Hour,
}

impl Bucket {
    /// Every length.
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// Returns its length in minutes.
    pub fn minutes(self) -> i64 {
        match self {
            Self::Minute => 1,
            Self::Hour => HOUR_MINUTES,
        }
    }

    /// Returns its length in seconds.
    pub fn seconds(self) -> i64 {
        self.minutes() * 60
    }

    /// Returns how many buckets are kept.
    pub fn retained_count(self) -> i64 {
        match self {
            Self::Minute => 48 * HOUR_MINUTES,
            Self::Hour => 400 * 24,
        }
    }

    /// Returns the number of the bucket that a minute belongs to.
    pub fn of_minute(self, minute: i64) -> i64 {
        minute.div_euclid(self.minutes())
    }

    /// Returns the number of the bucket that a time belongs to.
    pub fn of(self, time: Timestamp) -> i64 {
        self.of_minute(time.micros().div_euclid(MINUTE_MICROS))
    }

    /// Returns when a bucket begins.
    pub fn begins(self, number: i64) -> Timestamp {
        Timestamp::from_micros(number.saturating_mul(self.minutes()).saturating_mul(MINUTE_MICROS))
    }
}

/// How often something happened in a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Increment {
    /// What.
    pub kind: SeriesKind,
    /// The minute, since 1970.
    pub minute: i64,
    /// The trigger, action, rule or sensor.
    pub name: String,
    /// Where it belongs. Without a scope, only callers without limits see it.
    pub scope: Option<RowScope>,
    /// The outcome.
    pub outcome: &'static str,
    /// How often.
    pub count: u64,
}

/// A query for counts over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesQuery {
    /// What is counted.
    pub kind: SeriesKind,
    /// The length of the buckets.
    pub bucket: Bucket,
    /// The first bucket.
    pub from: i64,
    /// The bucket after the last one.
    pub until: i64,
    /// What makes a series.
    pub by: SeriesBy,
    /// Only what has one of these names; an empty list for everything.
    pub names: Vec<String>,
    /// What the caller may see.
    pub reach: RowReach,
}

/// What makes a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesBy {
    /// Everything is one series.
    Nothing,
    /// The outcome.
    Outcome,
    /// The trigger, action, rule or sensor.
    Name,
}

/// The counts of each series by the number of the bucket. Without a key, it is everything together, or the names that are
/// not told apart.
pub type SeriesCounts = BTreeMap<Option<String>, BTreeMap<i64, u64>>;

/// What makes a count, borrowed from records and rows. The scope of anything but an execution follows from its name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CountKey<'a> {
    kind: SeriesKind,
    minute: i64,
    name: &'a str,
    outcome: &'static str,
    pack: &'a str,
    execution: Option<(Option<&'a RuleRef>, Option<&'a ExecutionScope>)>,
}

/// Returns how often things happened in some records, in the order in which each first happened. `row` returns the row of
/// an execution after the records: the records of its end do not have its scope.
pub(crate) fn increments<'a>(records: &'a [Record], row: impl Fn(ExecutionId) -> Option<&'a Execution>) -> Vec<Increment> {
    let mut counts: BTreeMap<CountKey<'a>, (usize, u64)> = BTreeMap::new();
    let mut rows: Vec<Option<&Execution>> = Vec::new();
    for record in records {
        each(record, &row, &mut |key, execution, times| {
            let next = rows.len();
            let (_, count) = counts.entry(key).or_insert_with(|| {
                rows.push(execution);
                (next, 0)
            });
            *count += times;
        });
    }
    let mut counted: Vec<_> = counts.into_iter().collect();
    counted.sort_unstable_by_key(|(_, (first, _))| *first);
    let increment = |((key, (_, count)), row): ((CountKey<'_>, (usize, u64)), Option<&Execution>)| {
        let scope = match key.kind {
            SeriesKind::Executions => row.map(|row| RowScope::from(&row.execution_scope())),
            SeriesKind::Events | SeriesKind::Enforcements | SeriesKind::RuleErrors | SeriesKind::Deliveries => {
                Some(RowScope::of_pack(key.pack))
            }
        };
        Increment { kind: key.kind, minute: key.minute, name: key.name.to_owned(), scope, outcome: key.outcome, count }
    };
    counted.into_iter().zip(rows).map(increment).collect()
}

/// Calls `count` for each thing that happened with a record, with how often it happened.
fn each<'a>(
    record: &'a Record,
    row: &impl Fn(ExecutionId) -> Option<&'a Execution>,
    count: &mut impl FnMut(CountKey<'a>, Option<&'a Execution>, u64),
) {
    let minute = Bucket::Minute.of(record.time);
    let of = |kind, name: &'a str, outcome| CountKey { kind, minute, name, outcome, pack: pack_of(name), execution: None };
    match record.fact.by_noun() {
        ByNoun::EventFact(EventFact::EventReceived(fact)) => {
            let outcome = match (fact.matched, fact.undecided, fact.erred) {
                (1.., _, _) => EventOutcome::Matched,
                (0, 1.., _) => EventOutcome::Undecided,
                (0, 0, 1..) => EventOutcome::Erred,
                (0, 0, 0) => EventOutcome::Unmatched,
            };
            count(of(SeriesKind::Events, fact.trigger.as_str(), outcome.as_str()), None, 1);
            // The engine itself makes the events of a timer.
            if let (Some(sensor), Actor::Sensor(_) | Actor::Token(_) | Actor::Identity { .. } | Actor::Operator) =
                (&fact.sensor, &record.actor)
            {
                count(of(SeriesKind::Deliveries, sensor.as_str(), DeliveryOutcome::Accepted.as_str()), None, 1);
            }
        }
        ByNoun::EventFact(EventFact::DeliveryRefused(fact)) => {
            count(of(SeriesKind::Deliveries, fact.sensor.as_str(), DeliveryOutcome::Refused.as_str()), None, 1);
        }
        ByNoun::RuleFact(RuleFact::EnforcementMade(fact)) => {
            count(of(SeriesKind::Enforcements, fact.rule.as_str(), OutcomeName::from(&fact.outcome).as_str()), None, 1);
        }
        ByNoun::RuleFact(RuleFact::RuleErred(fact)) => count(of(SeriesKind::RuleErrors, fact.rule.as_str(), RULE_ERRED), None, 1),
        ByNoun::RuleFact(RuleFact::RuleErrorsCounted(fact)) => {
            count(of(SeriesKind::RuleErrors, fact.rule.as_str(), RULE_ERRED), None, fact.count);
        }
        ByNoun::ExecutionFact(fact) => {
            let outcome = match fact.milestone() {
                Milestone::Asked(_) => ExecutionOutcome::Requested,
                Milestone::Ended(ended) => match ended.how {
                    HowEnded::Succeeded => ExecutionOutcome::Succeeded,
                    HowEnded::Failed => ExecutionOutcome::Failed,
                    HowEnded::TimedOut => ExecutionOutcome::TimedOut,
                    HowEnded::Cancelled => ExecutionOutcome::Cancelled,
                },
                Milestone::AttemptBegan(_)
                | Milestone::Said { .. }
                | Milestone::AttemptEnded(_)
                | Milestone::Held
                | Milestone::Freed
                | Milestone::Settled(_)
                | Milestone::CancelRequested
                | Milestone::Noted => return,
            };
            let StreamId::Execution(id) = &record.stream else { return };
            let row = row(*id);
            let name = row.map_or("", |row| row.action.as_str());
            let execution = row.map(|row| (row.rule.as_ref(), row.scope.as_deref()));
            let key = CountKey { execution, ..of(SeriesKind::Executions, name, outcome.as_str()) };
            count(key, row, 1);
        }
        _ => {}
    }
}

/// Returns the pack of a ref.
fn pack_of(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}
