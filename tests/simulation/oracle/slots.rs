//! I20: work waits for a worker only while all of them are busy.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::rates::Rates;
use crate::sometimes;
use crate::timeline::Counts;

/// How long work may wait while a worker is free, in microseconds in which a node could write.
const BOUND_MICROS: u64 = 5_000_000;

/// The state of the check.
#[derive(Default)]
pub(super) struct Slots {
    /// Parked and owed reactions: waiting work may depend on these.
    owed: BTreeSet<u64>,
    /// Paused executions: waiting work may be below one of them.
    paused: BTreeSet<String>,
    /// The queue of each execution, as the record names it.
    queues: BTreeMap<String, String>,
    /// Since when work has waited in a queue with a free worker: the moment and the position.
    since: BTreeMap<String, (u64, u64)>,
}

/// The load of a queue.
#[derive(Clone, Copy, Default)]
pub(super) struct Load {
    /// How many executions wait for a worker.
    pub(super) waiting: usize,
    /// How many workers are busy.
    pub(super) busy: u32,
    /// How many there are.
    pub(super) workers: u32,
}

/// Returns the name of a queue; the records do not name the default queue.
fn name_of(queue: &str) -> &str {
    if queue.is_empty() { "default" } else { queue }
}

impl Slots {
    /// Handles a record.
    pub(super) fn note(&mut self, record: &Raw, rates: &Rates) {
        match record.kind.as_str() {
            "execution.requested" => drop(self.queues.insert(record.stream.clone(), record.text("queue").to_owned())),
            // Executions that wait for the rate start one after the other.
            "attempt.started" => {
                let queue = self.queues.get(&record.stream);
                if let Some(queue) = queue.filter(|queue| rates.keys().any(|rated| rated.as_str() == name_of(queue))) {
                    self.since.remove(queue);
                }
            }
            "reaction.deferred" | "reaction.parked" | "reaction.retried" => drop(self.owed.insert(record.number("of"))),
            "reaction.resumed" | "reaction.dismissed" => drop(self.owed.remove(&record.number("of"))),
            "execution.paused" => drop(self.paused.insert(record.stream.clone())),
            "execution.resumed" | "execution.succeeded" | "execution.failed" | "execution.timed_out" | "execution.cancelled" => {
                self.paused.remove(&record.stream);
            }
            _ => {}
        }
    }

    /// Returns true if all reactions so far were computed.
    pub(super) fn owes_nothing(&self) -> bool {
        self.owed.is_empty()
    }

    /// Handles the end of a batch with the loads at that point.
    pub(super) fn end_batch(&mut self, last: &Raw, loads: &BTreeMap<&str, Load>, ledger: &Ledger<'_>) -> Result<(), Violation> {
        let Some(now) = ledger.ground.committed_at(last.position) else { return Ok(()) };
        for (queue, load) in loads {
            self.hold_to(now, queue, *load, ledger)?;
            let Load { waiting, busy, workers } = *load;
            sometimes!(waiting > 0 && busy >= workers, "work waited while all workers were busy");
            let is_free = |(other, load): (&&str, &Load)| other != queue && load.busy < load.workers;
            sometimes!(waiting > 0 && busy >= workers && loads.iter().any(is_free), "work waited while a worker of another queue was free");
            if waiting > 0 && busy < workers && self.owed.is_empty() && self.paused.is_empty() {
                self.since.entry((*queue).to_owned()).or_insert((now, last.position));
            } else {
                self.since.remove(*queue);
            }
        }
        Ok(())
    }

    /// Fails if work has waited for too long.
    fn hold_to(&self, now: u64, queue: &str, load: Load, ledger: &Ledger<'_>) -> Result<(), Violation> {
        let Some((since, position)) = self.since.get(queue).copied() else { return Ok(()) };
        let due = ledger.ground.witness().timeline.due(since, BOUND_MICROS, Counts::Working);
        let Load { waiting, busy, workers } = load;
        demand!(
            due.is_none_or(|due| now <= due),
            "I20",
            "since {position} work waits in the queue `{queue}` although a worker is free; {waiting} wait now, {busy} of {workers} workers are busy"
        );
        Ok(())
    }
}
