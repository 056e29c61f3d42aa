//! I11 and I16: a program whose execution was cancelled is told to stop; a program that the log waits for is
//! continued, and no node stops it without a reason; and no program keeps running without an execution. All
//! this happens within a bound, counted in time in which a node existed and was not paused.
//!
//! Programs are observed from outside: on the simulated machine, whose supervisors end programs that outlive
//! their grace period.

use std::collections::{BTreeMap, BTreeSet};

use ensue_executor::AtStop;
use ensue_executor::programs::AtEnd;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::sightings::{Finder, NodeIntervention, Sighting};
use crate::sometimes;
use crate::timeline::{Counts, Timeline};

/// How long a node may take to act on a program, in microseconds in which it was not paused.
const BOUND_MICROS: u64 = 1_000_000;

/// An attempt according to its records.
struct AttemptHistory<'r> {
    started: &'r Raw,
    grace_micros: u64,
    /// The cancel that came while the attempt ran.
    cancelled: Option<&'r Raw>,
    /// The record that ended it.
    ended: Option<&'r Raw>,
}

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let told = read_attempts(records);
    let witness = ledger.ground.witness();
    for (attempt, sighting) in ledger.machine.sightings() {
        // I6 covers a program without an attempt in the log.
        let Some(told) = told.get(attempt.as_str()) else { continue };
        let (timeline, failed_starts) = (&witness.timeline, &witness.failed_starts);
        let program = ObservedProgram { attempt: &attempt, sighting: &sighting, told, ledger, timeline, failed_starts };
        program.stops_when_it_is_cancelled()?;
        program.ends_with_its_attempt()?;
        program.is_gone_on_with()?;
        program.is_not_stopped_without_a_reason()?;
    }
    Ok(())
}

fn read_attempts(records: &[Raw]) -> BTreeMap<&str, AttemptHistory<'_>> {
    let mut attempts: BTreeMap<&str, AttemptHistory<'_>> = BTreeMap::new();
    let mut graces: BTreeMap<&str, u64> = BTreeMap::new();
    let mut latest: BTreeMap<&str, &str> = BTreeMap::new();
    for record in records {
        match record.kind.as_str() {
            "execution.requested" => drop(graces.insert(&record.stream, record.number("grace_millis") * 1_000)),
            "attempt.started" => {
                let grace_micros = graces.get(record.stream.as_str()).copied().unwrap_or(0);
                attempts.insert(&record.id, AttemptHistory { started: record, grace_micros, cancelled: None, ended: None });
                latest.insert(&record.stream, &record.id);
            }
            "attempt.succeeded" | "attempt.failed" | "attempt.lost" => {
                if let Some(told) = attempts.get_mut(record.text("attempt")) {
                    told.ended.get_or_insert(record);
                }
            }
            "execution.cancel_requested" => {
                let running = latest.get(record.stream.as_str()).and_then(|attempt| attempts.get_mut(attempt));
                if let Some(told) = running.filter(|told| told.ended.is_none()) {
                    told.cancelled.get_or_insert(record);
                }
            }
            _ => {}
        }
    }
    attempts
}

/// A program as observed, and its attempt according to the records.
struct ObservedProgram<'a> {
    attempt: &'a str,
    sighting: &'a Sighting,
    told: &'a AttemptHistory<'a>,
    ledger: &'a Ledger<'a>,
    timeline: &'a Timeline,
    failed_starts: &'a BTreeSet<u32>,
}

impl ObservedProgram<'_> {
    fn stops_when_it_is_cancelled(&self) -> Result<(), Violation> {
        let Self { attempt, sighting, .. } = self;
        let Some(cancel) = self.told.cancelled else { return Ok(()) };
        let Some(at) = self.ledger.ground.committed_at(cancel.position) else { return Ok(()) };
        demand!(sighting.started_at <= at, "I11", "the program of attempt {attempt} was started after the cancel at {}", cancel.position);
        sometimes!(sighting.told.is_some_and(|told| told.at > at), "a program was told to stop some time after its cancel");
        let first = sighting.told.map_or(u64::MAX, |told| told.at).min(sighting.over_at.unwrap_or(u64::MAX));
        let due = self.timeline.due(at, BOUND_MICROS, Counts::Awake);
        demand!(
            due.is_none_or(|due| first <= due),
            "I16",
            "the program of attempt {attempt} was cancelled at {} and continues: it was told to stop at {:?} µs, which was due at {due:?} µs",
            cancel.position,
            sighting.told
        );
        Ok(())
    }

    fn ends_with_its_attempt(&self) -> Result<(), Violation> {
        let Self { attempt, sighting, .. } = self;
        let Some(end) = self.told.ended else { return Ok(()) };
        let Some(at) = self.ledger.ground.committed_at(end.position) else { return Ok(()) };
        let over = sighting.over_at.unwrap_or(u64::MAX);
        sometimes!(over > at, "a program outlived its attempt");
        let due = self.timeline.due(at, self.told.grace_micros + BOUND_MICROS, Counts::Awake);
        demand!(
            due.is_none_or(|due| over <= due),
            "I16",
            "attempt {attempt} ended with {} at {}, but its program ran until {over} µs; it should have ended at {due:?} µs",
            end.kind,
            end.position
        );
        Ok(())
    }

    /// Checks that a starting node continues the programs that the log waits for, with the same token, and
    /// ends the others at once.
    fn is_gone_on_with(&self) -> Result<(), Violation> {
        let Self { attempt, sighting, told, .. } = self;
        for found in &sighting.found {
            let (node, epoch) = (found.finder.node, found.finder.epoch);
            let due = self.timeline.due_for(node, found.at, BOUND_MICROS, Counts::Awake);
            let is_open = told.started.epoch < epoch && told.ended.is_none_or(|end| end.epoch >= epoch);
            if is_open && found.token == told.started.number("token") {
                // If it was asked to stop at once, it left the program to the next node.
                let heard = sighting.heard.get(&node).or(sighting.left.get(&node)).copied();
                let end = told.ended.filter(|end| end.epoch == epoch);
                demand!(
                    heard.is_some() || end.is_none(),
                    "I16",
                    "node #{node} found the program of attempt {attempt}, did not continue with it, and recorded at {} that it had ended",
                    end.map_or(0, |end| end.position)
                );
                demand!(
                    due.is_none_or(|due| heard.is_some_and(|heard| heard <= due)),
                    "I16",
                    "node #{node} found the program of attempt {attempt}, for which the log waits, and listened to it at {heard:?} µs"
                );
                sometimes!(heard.is_some() && found.is_alive, "a living program was adopted");
            } else if found.is_alive {
                sometimes!("a program was found that nobody waited for");
                let over = sighting.over_at.unwrap_or(u64::MAX);
                demand!(
                    due.is_none_or(|due| over <= due),
                    "I16",
                    "node #{node} found the program of attempt {attempt} at {} µs, for which nobody waits, and it ran until {over} µs",
                    found.at
                );
            }
        }
        Ok(())
    }

    /// Checks that a node that ends a program has a reason: a cancel, its timeout, its end in the log, or a
    /// stop that lets no program continue.
    fn is_not_stopped_without_a_reason(&self) -> Result<(), Violation> {
        let Self { attempt, sighting, .. } = self;
        if let Some(NodeIntervention { by, at }) = sighting.told {
            let is_due = at >= sighting.deadline || self.is_in_the_log(self.told.cancelled, at);
            let has_reason = is_due || self.is_in_the_log(self.told.ended, at) || self.ends_at_the_stop_of(by, at);
            demand!(has_reason, "I16", "node #{} told the program of attempt {attempt} at {at} µs to stop without a reason", by.node);
        }
        if let Some(NodeIntervention { by, at }) = sighting.killed {
            let has_reason = self.is_in_the_log(self.told.ended, at);
            demand!(has_reason, "I16", "node #{} killed the program of attempt {attempt} at {at} µs, for which the log waits", by.node);
        }
        Ok(())
    }

    fn is_in_the_log(&self, record: Option<&Raw>, at: u64) -> bool {
        record.and_then(|record| self.ledger.ground.committed_at(record.position)).is_some_and(|committed| committed <= at)
    }

    /// Returns true if a node was stopping then, with programs that may not outlive it and an expired grace
    /// period.
    fn ends_at_the_stop_of(&self, node: Finder, at: u64) -> bool {
        let Some(operated) = self.ledger.ground.operated_at(node.epoch) else { return false };
        let ends = operated.at_stop == AtStop::End || self.ledger.machine.at_end() == AtEnd::Ended;
        let asked = self.timeline.asked_to_stop(node.node);
        let is_over = asked.is_some_and(|asked| at >= asked + operated.stop_patience_millis * 1_000);
        ends && (is_over || self.failed_starts.contains(&node.node))
    }
}
