//! I9, I11, I12 and I20: what may happen to an execution, in which order, and that it ends.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::sometimes;

/// An execution, as its records tell it.
struct Told<'r> {
    request: &'r Raw,
    phase: Phase<'r>,
    attempts: u64,
    cancelled: bool,
    /// What the last thing that ended an attempt, or settled it, makes of it.
    last: Last,
}

enum Phase<'r> {
    Waiting,
    Running(&'r Raw),
    /// Its attempt was lost, and nobody knows.
    Unknown(&'r Raw),
    /// Its attempt ended, and it has not said so yet.
    Ending,
    Over(&'r Raw),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Nothing,
    Succeeded,
    Failed,
    TimedOut,
    Lost,
    SettledSucceeded,
    SettledFailed,
}

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let mut told: BTreeMap<&str, Told<'_>> = BTreeMap::new();
    let mut token = 0;
    let mut busy = 0_u32;
    for record in records.iter().filter(|record| record.stream.starts_with("execution/")) {
        let at = record.position;
        if record.kind == "execution.requested" {
            let new = Told { request: record, phase: Phase::Waiting, attempts: 0, cancelled: false, last: Last::Nothing };
            demand!(told.insert(&record.stream, new).is_none(), "I12", "{} at {at} was asked for twice", record.stream);
            continue;
        }
        let Some(execution) = told.get_mut(record.stream.as_str()) else {
            return Err(Violation::new("I12", format!("{} at {at} comes before the request", record.kind)));
        };
        if let Phase::Over(end) = execution.phase {
            return Err(Violation::new("I12", format!("{} at {at}, after {} at {}", record.kind, end.kind, end.position)));
        }
        let was_busy = execution.is_busy();
        if let (Phase::Running(attempt), Some("timeout")) = (&execution.phase, record.said.pointer("/error/kind").and_then(Value::as_str)) {
            let at = |position| ledger.ground.committed_at(position).unwrap_or(0);
            let (lasted, allowed) = (at(record.position) - at(attempt.position), execution.request.number("timeout_millis") * 1_000);
            demand!(lasted >= allowed, "I9", "{} timed out at {at:?} after {lasted} µs of {allowed}", record.stream, at = record.position);
        }
        if record.kind == "attempt.started" {
            demand!(record.number("token") > token, "I7", "the token at {at} is {}, {token} was given out before", record.number("token"));
            token = record.number("token");
        }
        execution.note(record)?;
        match (was_busy, execution.is_busy()) {
            (false, true) => busy += 1,
            (true, false) => busy -= 1,
            (true, true) | (false, false) => {}
        }
        demand!(
            busy <= ledger.ground.plan.workers,
            "I15",
            "{busy} attempts hold a worker's slot at {at}, there are {}",
            ledger.ground.plan.workers
        );
    }
    for (stream, execution) in &told {
        demand!(matches!(execution.phase, Phase::Over(_)), "I20", "{stream}, asked for at {}, is not over", execution.request.position);
    }
    Ok(())
}

impl<'r> Told<'r> {
    /// Says whether it holds a worker's slot.
    fn is_busy(&self) -> bool {
        let is_worked = self.request.said.get("pace").is_none_or(|pace| pace == "worked");
        is_worked && matches!(self.phase, Phase::Running(_))
    }

    fn is_about(&self, record: &Raw) -> bool {
        match self.phase {
            Phase::Running(attempt) | Phase::Unknown(attempt) => attempt.id == record.text("attempt"),
            Phase::Waiting | Phase::Ending | Phase::Over(_) => false,
        }
    }

    fn may_be_tried_again(&self) -> bool {
        self.request.said.get("idempotent") == Some(&Value::Bool(true)) || self.request.text("on_lost") == "retry"
    }

    fn note(&mut self, record: &'r Raw) -> Result<(), Violation> {
        let at = record.position;
        let stream = &record.stream;
        match record.kind.as_str() {
            "attempt.started" => {
                demand!(!self.cancelled, "I11", "{stream}: an attempt starts at {at}, after a cancel");
                demand!(matches!(self.phase, Phase::Waiting), "I12", "{stream}: an attempt starts at {at} while another is not over");
                self.attempts += 1;
                demand!(
                    record.number("number") == self.attempts,
                    "I12",
                    "{stream}: attempt {} at {at} is the {}th",
                    record.number("number"),
                    self.attempts
                );
                self.phase = Phase::Running(record);
                sometimes!(self.attempts > 1, "an attempt was made again");
            }
            "attempt.succeeded" | "attempt.failed" => {
                demand!(self.is_about(record), "I12", "{stream}: {} at {at} is not about the attempt that runs", record.kind);
                sometimes!(matches!(self.phase, Phase::Unknown(_)), "a late report settled an indeterminate execution");
                self.last = match record.said.pointer("/error/kind").and_then(Value::as_str) {
                    None => Last::Succeeded,
                    Some("timeout") => Last::TimedOut,
                    Some(_) => Last::Failed,
                };
                self.phase = Phase::Ending;
            }
            "attempt.lost" => {
                let Phase::Running(attempt) = self.phase else {
                    return Err(Violation::new("I12", format!("{stream}: an attempt is lost at {at}, and none runs")));
                };
                demand!(attempt.id == record.text("attempt"), "I12", "{stream}: another attempt is lost at {at} than the one that runs");
                self.last = Last::Lost;
                let is_proven = record.text("evidence") == "not_begun";
                sometimes!(is_proven, "an attempt was lost that had provably not begun");
                sometimes!(!is_proven, "an attempt was lost that may have begun");
                self.phase = if !is_proven && !self.may_be_tried_again() {
                    Phase::Unknown(attempt)
                } else if self.cancelled {
                    Phase::Ending
                } else {
                    Phase::Waiting
                };
            }
            "execution.became_indeterminate" => {
                let asks = self.request.text("on_lost") == "ask";
                demand!(matches!(self.phase, Phase::Unknown(_)) && asks, "I12", "{stream} becomes indeterminate at {at} without a reason");
                sometimes!("an execution became indeterminate");
            }
            "execution.settled" => {
                demand!(matches!(self.phase, Phase::Unknown(_)), "I12", "{stream} is settled at {at}, and is not indeterminate");
                match record.said.get("outcome") {
                    Some(Value::String(word)) if word == "retry" => self.phase = Phase::Waiting,
                    Some(Value::String(word)) if word == "succeeded" => self.last = Last::SettledSucceeded,
                    _ => self.last = Last::SettledFailed,
                }
                sometimes!("an execution was settled");
            }
            "execution.cancel_requested" => {
                sometimes!(matches!(self.phase, Phase::Running(_)), "an execution was cancelled while it ran");
                self.cancelled = true;
            }
            "attempt.reported_late" => {
                demand!(!self.is_about(record), "I12", "{stream}: a report at {at} on the attempt that runs counts as late");
                sometimes!("a report came late");
            }
            "execution.succeeded" => {
                demand!(
                    matches!(self.last, Last::Succeeded | Last::SettledSucceeded),
                    "I12",
                    "{stream} succeeds at {at} after {:?}",
                    self.last
                );
                self.phase = Phase::Over(record);
            }
            "execution.failed" => {
                demand!(
                    matches!(self.last, Last::Failed | Last::Lost | Last::SettledFailed),
                    "I12",
                    "{stream} fails at {at} after {:?}",
                    self.last
                );
                demand!(!self.cancelled || self.last == Last::Lost, "I12", "{stream} was cancelled and fails at {at}");
                self.phase = Phase::Over(record);
            }
            "execution.timed_out" => {
                demand!(self.last == Last::TimedOut && !self.cancelled, "I12", "{stream} times out at {at} after {:?}", self.last);
                sometimes!("an execution timed out");
                self.phase = Phase::Over(record);
            }
            "execution.cancelled" => {
                demand!(self.cancelled, "I12", "{stream} is cancelled at {at}, and nobody asked for that");
                demand!(!matches!(self.phase, Phase::Running(_)), "I12", "{stream} is cancelled at {at} while it runs");
                sometimes!("an execution was cancelled");
                self.phase = Phase::Over(record);
            }
            // What an attempt says on its way changes nothing of this.
            _ => {}
        }
        Ok(())
    }
}
