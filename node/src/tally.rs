//! The tally: counts since the node's start, from the log's records, and how long executions waited and ran.
//!
//! A follower updates it after the commit on its own thread, so that no caller waits for it. Records from
//! before the start are not counted: a counter begins at 0, as readers of metrics expect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ensue_api::metrics::{Distribution, LONG, LabelledMetrics, Unit};
use ensue_engine::executions::milestone::Milestone;
use ensue_engine::fact::{ByNoun, EventFact, ExecutionFact, RuleFact, TimerFact};
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{Record, StreamId};
use ensue_engine::time::Timestamp;
use ensue_views::enforcements::OutcomeName;
use ensue_views::executions::{AttemptStatus, Status};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use crate::metrics::counter;

/// The most executions whose times are kept at once; of further ones, only the ends are counted.
const EXECUTIONS_MAX: usize = 100_000;

/// How attempts end.
const ATTEMPT_ENDS: [AttemptStatus; 5] =
    [AttemptStatus::Succeeded, AttemptStatus::Failed, AttemptStatus::TimedOut, AttemptStatus::Cancelled, AttemptStatus::Lost];
/// How executions end.
const EXECUTION_ENDS: [Status; 4] = [Status::Succeeded, Status::Failed, Status::TimedOut, Status::Cancelled];

/// Counts records as they arrive.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: Arc<TallyCounts>,
    open: BTreeMap<ExecutionId, Times>,
}

/// When an execution reached its current stage.
#[derive(Clone, Copy, Debug)]
struct Times {
    requested: Timestamp,
    /// When it could last be started: when it was requested, or when its last attempt ended.
    ready: Timestamp,
    started: Option<Timestamp>,
    /// When it began to wait for the lock that it waits for.
    lock_awaited: Option<Timestamp>,
}

/// The counts, shared with readers.
#[derive(Debug)]
pub(crate) struct TallyCounts {
    records: AtomicU64,
    events: AtomicU64,
    rule_errors: AtomicU64,
    enforcements: Each<OutcomeName>,
    attempts: Each<AttemptStatus>,
    executions: Each<Status>,
    dispatched: Distribution,
    finished: Distribution,
    whole: Distribution,
    lock_waits: Distribution,
}

/// Counts of each way in which something ends, under the name used everywhere.
#[derive(Debug)]
struct Each<K>(Vec<(K, &'static str, AtomicU64)>);

impl<K: Copy + PartialEq> Each<K> {
    fn of(ends: &[K], name: fn(K) -> &'static str) -> Self {
        Self(ends.iter().map(|end| (*end, name(*end), AtomicU64::default())).collect())
    }

    fn one_more(&self, end: K) {
        self.0.iter().filter(|(one, ..)| *one == end).for_each(|(.., count)| one_more(count));
    }

    fn to_metric(&self) -> LabelledMetrics<ConstCounter<u64>> {
        LabelledMetrics::new("outcome", self.0.iter().map(|(_, name, count)| (*name, ConstCounter::new(count.load(Ordering::Relaxed)))))
    }
}

impl Default for TallyCounts {
    fn default() -> Self {
        let seconds = || Distribution::new(Unit::Seconds, LONG);
        Self {
            records: AtomicU64::default(),
            events: AtomicU64::default(),
            rule_errors: AtomicU64::default(),
            enforcements: Each::of(&OutcomeName::ALL, OutcomeName::as_str),
            attempts: Each::of(&ATTEMPT_ENDS, AttemptStatus::as_str),
            executions: Each::of(&EXECUTION_ENDS, Status::as_str),
            dispatched: seconds(),
            finished: seconds(),
            whole: seconds(),
            lock_waits: seconds(),
        }
    }
}

impl Tally {
    /// Starts with nothing, and counts into `counts`.
    pub(crate) fn new(counts: Arc<TallyCounts>) -> Self {
        Self { counts, open: BTreeMap::new() }
    }

    /// Counts records; each is passed once.
    pub(crate) fn note(&mut self, records: &[Record]) {
        self.counts.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        for record in records {
            match record.fact.by_noun() {
                ByNoun::EventFact(EventFact::EventReceived(event)) => {
                    one_more(&self.counts.events);
                    self.counts.rule_errors.fetch_add(u64::from(event.erred), Ordering::Relaxed);
                }
                ByNoun::RuleFact(RuleFact::EnforcementMade(made)) => self.counts.enforcements.one_more(OutcomeName::from(&made.outcome)),
                ByNoun::ExecutionFact(fact) => {
                    if let StreamId::Execution(id) = &record.stream {
                        self.note_execution(*id, record.time, &fact);
                    }
                }
                ByNoun::TimerFact(TimerFact::TimerFired(_)) => {
                    // An execution that waited for a moment waits for a worker from then on.
                    if let StreamId::Execution(id) = &record.stream
                        && let Some(times) = self.open.get_mut(id)
                    {
                        times.ready = record.time;
                    }
                }
                _ => {}
            }
        }
    }

    fn note_execution(&mut self, id: ExecutionId, at: Timestamp, fact: &ExecutionFact<'_>) {
        if let Some(times) = self.open.get_mut(&id) {
            match fact {
                ExecutionFact::LockAwaited(_) => times.lock_awaited = Some(at),
                ExecutionFact::LockAcquired(_) => {
                    times.ready = at;
                    if let Some(since) = times.lock_awaited.take() {
                        took(&self.counts.lock_waits, since, at);
                    }
                }
                _ => {}
            }
        }
        match fact.milestone() {
            Milestone::Asked(_) => {
                if self.open.len() < EXECUTIONS_MAX {
                    self.open.insert(id, Times { requested: at, ready: at, started: None, lock_awaited: None });
                }
            }
            Milestone::AttemptBegan(_) => {
                if let Some(times) = self.open.get_mut(&id) {
                    times.started = Some(at);
                    took(&self.counts.dispatched, times.ready, at);
                }
            }
            Milestone::AttemptEnded(ended) => self.attempt_ended(id, at, ended.ended_at, AttemptStatus::from(ended.how)),
            Milestone::Ended(ended) => self.note_end(id, at, Status::from(ended.how)),
            Milestone::Said { .. } | Milestone::Held | Milestone::Freed | Milestone::Settled(_) => {}
            Milestone::CancelRequested | Milestone::Noted => {}
        }
    }

    fn attempt_ended(&mut self, id: ExecutionId, at: Timestamp, ended_at: Option<Timestamp>, end: AttemptStatus) {
        self.counts.attempts.one_more(end);
        let Some(times) = self.open.get_mut(&id) else { return };
        times.ready = at;
        if let Some(started) = times.started.take() {
            took(&self.counts.finished, started, ended_at.unwrap_or(at));
        }
    }

    fn note_end(&mut self, id: ExecutionId, at: Timestamp, end: Status) {
        self.counts.executions.one_more(end);
        if let Some(times) = self.open.remove(&id) {
            took(&self.counts.whole, times.requested, at);
        }
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// A clock that was set back does not produce negative times.
fn took(of: &Distribution, from: Timestamp, until: Timestamp) {
    of.observe(u64::try_from(until.micros_since(from)).unwrap_or(0).saturating_mul(1_000));
}

impl TallyCounts {
    /// Registers the counts; `committed` is how long events took to reach the disk.
    pub(crate) fn register(&self, registry: &mut Registry, committed: &Distribution) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        counter(registry, "records", "The records written since the start", of(&self.records));
        counter(registry, "events", "The events received since the start", of(&self.events));
        let help = "The number of times that a rule failed on an event since the start";
        counter(registry, "rule_errors", help, of(&self.rule_errors));
        registry.register("enforcements", "The enforcements made since the start", self.enforcements.to_metric());
        registry.register("attempts", "The attempts that ended since the start", self.attempts.to_metric());
        registry.register("executions", "The executions that ended since the start", self.executions.to_metric());
        let stages = [("committed", committed), ("dispatched", &self.dispatched), ("finished", &self.finished)];
        let stages = LabelledMetrics::new("stage", stages.map(|(stage, took)| (stage, took.clone())));
        registry.register("stage_seconds", "The duration of each stage, from the arrival of an event to the end of an attempt", stages);
        let help = "The time that executions waited for a lock before they acquired it";
        registry.register("lock_wait_seconds", help, self.lock_waits.clone());
        registry.register("execution_seconds", "The time from the request of an execution to its end", self.whole.clone());
    }
}

#[cfg(test)]
mod tests;
