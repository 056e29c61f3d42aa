//! I20: work waits for a worker only while all of them are busy.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::rates::Rates;
use crate::sometimes;
use crate::timeline::Counts;

/// How long work may wait beside a free worker, in microseconds in which a node could write.
const BOUND_MICROS: u64 = 5_000_000;

/// What has been held against the log so far.
#[derive(Default)]
pub(super) struct Slots {
    /// Reactions that are put aside or still to be worked out: who waits may wait for these.
    owed: BTreeSet<u64>,
    /// Executions that are paused: what waits may stand below one of them.
    paused: BTreeSet<String>,
    /// The queue of each execution, as it is named where it is waited in.
    queues: BTreeMap<String, String>,
    /// Since when work waits in a queue beside a free worker of it: the moment, and the position.
    since: BTreeMap<String, (u64, u64)>,
}

/// How work stands in a queue.
#[derive(Clone, Copy, Default)]
pub(super) struct Load {
    /// How many executions wait for a worker.
    pub(super) waiting: usize,
    /// How many workers are busy.
    pub(super) busy: u32,
    /// How many there are.
    pub(super) workers: u32,
}

/// Gives the name of a queue; the default one is not named where it is waited in.
fn name_of(queue: &str) -> &str {
    if queue.is_empty() { "default" } else { queue }
}

impl Slots {
    /// Takes a record.
    pub(super) fn note(&mut self, record: &Raw, rates: &Rates) {
        match record.kind.as_str() {
            "execution.requested" => drop(self.queues.insert(record.stream.clone(), record.text("queue").to_owned())),
            // Of what waits for its rate one starts after the other.
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

    /// Says whether all that follows from the records so far was worked out.
    pub(super) fn owes_nothing(&self) -> bool {
        self.owed.is_empty()
    }

    /// Takes the end of a batch, and how work stands then.
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

    /// Fails where work has waited for too long.
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
