//! I9, I11, I12, I20 and I25: what may happen to an execution and in which order, which person is asked about
//! its outcome, and that it ends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::oracle::records::{Raw, micros};
use crate::oracle::slots::{Load, Slots};
use crate::oracle::{Ledger, Violation, bounds, demand};
use crate::sometimes;

/// An execution according to its records.
struct ExecutionHistory<'r> {
    request: &'r Raw,
    phase: Phase<'r>,
    attempts: u64,
    cancelled: bool,
    /// The outcome of the last event that ended or settled an attempt.
    last: Last,
    /// The open question about one of its attempts.
    asked: Option<&'r str>,
    /// The pending timers by kind and number.
    timers: BTreeMap<(&'r str, u64), Pending<'r>>,
}

/// A pending timer, with the sum of clock steps when it was set.
struct Pending<'r> {
    set: &'r Raw,
    stepped: i64,
}

enum Phase<'r> {
    Waiting,
    /// It waits for a lock.
    Blocked,
    Running(&'r Raw),
    /// Its attempt was lost, and the outcome is unknown.
    Unknown(&'r Raw),
    /// It is retried once its timer fires.
    Delayed,
    /// Its attempt ended, and the execution has not ended yet.
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
    SettledRetry,
}

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let mut slots = Slots::default();
    let mut book = Book { told: BTreeMap::new(), token: 0, loads: BTreeMap::new(), stepped: 0, doubted: BTreeSet::new() };
    for (place, record) in records.iter().enumerate() {
        slots.note(record, &ledger.ground.rates);
        book.stepped += record.clock_step_micros();
        book.work(record.epoch, ledger);
        if record.stream.starts_with("execution/") {
            book.note(record, ledger)?;
            book.work(record.epoch, ledger);
        }
        if records.get(place + 1).is_none_or(|next| next.batch != record.batch) {
            slots.end_batch(record, &book.loads, ledger)?;
            if slots.owes_nothing() {
                book.check_questions(record.position)?;
            }
        }
    }
    for (stream, execution) in &book.told {
        demand!(matches!(execution.phase, Phase::Over(_)), "I20", "{stream}, requested at {}, has not ended", execution.request.position);
    }
    Ok(())
}

/// All executions, up to the current record.
struct Book<'r> {
    told: BTreeMap<&'r str, ExecutionHistory<'r>>,
    /// The newest fencing token.
    token: u64,
    /// The load of each queue.
    loads: BTreeMap<&'r str, Load>,
    /// The sum of all clock steps, in microseconds.
    stepped: i64,
    /// Executions that became indeterminate and may still be.
    doubted: BTreeSet<&'r str>,
}

impl<'r> Book<'r> {
    /// Notes the number of workers of each queue.
    fn work(&mut self, epoch: u64, ledger: &Ledger<'_>) {
        let operated = ledger.ground.operated_at(epoch);
        for (queue, load) in &mut self.loads {
            load.workers = operated.as_ref().map_or(0, |operated| operated.workers_of(queue));
        }
    }

    /// I25, once no reaction is owed: people are asked about each attempt with an unknown outcome and about
    /// no other.
    fn check_questions(&mut self, at: u64) -> Result<(), Violation> {
        for stream in std::mem::take(&mut self.doubted) {
            let Some(execution) = self.told.get(stream) else { continue };
            let is_unknown = matches!(execution.phase, Phase::Unknown(_)) && execution.last == Last::Lost;
            demand!(
                execution.asked.is_some() == is_unknown,
                "I25",
                "{stream}: at {at} people are asked for its outcome: {}, and the outcome is unknown: {is_unknown}",
                execution.asked.is_some()
            );
            if is_unknown {
                self.doubted.insert(stream);
            }
        }
        Ok(())
    }

    fn note(&mut self, record: &'r Raw, ledger: &Ledger<'_>) -> Result<(), Violation> {
        let at = record.position;
        if record.kind == "execution.became_indeterminate" {
            self.doubted.insert(&record.stream);
        }
        if record.kind == "execution.requested" {
            let new = ExecutionHistory {
                request: record,
                phase: Phase::Waiting,
                attempts: 0,
                cancelled: false,
                last: Last::Nothing,
                asked: None,
                timers: BTreeMap::new(),
            };
            self.loads.entry(new.queue()).or_default().waiting += usize::from(new.waits());
            demand!(self.told.insert(&record.stream, new).is_none(), "I12", "{} at {at} was requested twice", record.stream);
            return Ok(());
        }
        let Some(execution) = self.told.get_mut(record.stream.as_str()) else {
            return Err(Violation::new("I12", format!("{} at {at} comes before the request", record.kind)));
        };
        if let Phase::Over(end) = execution.phase {
            return Err(Violation::new("I12", format!("{} at {at}, after {} at {}", record.kind, end.kind, end.position)));
        }
        if record.kind == "attempt.started" {
            let (token, last) = (record.number("token"), self.token);
            demand!(token > last, "I7", "the token at {at} is {token}, although {last} was issued before");
            self.token = token;
        }
        let (was_busy, waited) = (execution.is_busy(), execution.waits());
        let ran = execution.attempt();
        execution.note_timer(record, self.stepped)?;
        execution.note_question(record)?;
        execution.note(record)?;
        if let Some(attempt) = ran.filter(|_| execution.attempt().is_none()) {
            bounds::hold_attempt_to_its_time(execution.request, attempt, record, ledger)?;
        }
        let load = self.loads.entry(execution.queue()).or_default();
        match (was_busy, execution.is_busy()) {
            (false, true) => load.busy += 1,
            (true, false) => load.busy -= 1,
            (true, true) | (false, false) => {}
        }
        match (waited, execution.waits()) {
            (false, true) => load.waiting += 1,
            (true, false) => load.waiting -= 1,
            (true, true) | (false, false) => {}
        }
        // Executions that ran before a restart may exceed the operator's current limit.
        let starts = !was_busy && execution.is_busy();
        let Load { busy, workers, .. } = *load;
        demand!(!starts || busy <= workers, "I15", "{busy} attempts hold a worker slot at {at}, but there are {workers} slots");
        Ok(())
    }
}

impl<'r> ExecutionHistory<'r> {
    /// Returns true if it holds a worker's slot.
    fn is_busy(&self) -> bool {
        self.is_worked() && matches!(self.phase, Phase::Running(_))
    }

    /// Returns true if it waits for a slot.
    fn waits(&self) -> bool {
        self.is_worked() && matches!(self.phase, Phase::Waiting)
    }

    fn is_worked(&self) -> bool {
        self.request.said.get("pace").is_none_or(|pace| pace == "worked")
    }

    /// Returns the queue that it waits in; empty for the default queue.
    fn queue(&self) -> &'r str {
        self.request.text("queue")
    }

    /// Returns the running attempt.
    fn attempt(&self) -> Option<&'r Raw> {
        match self.phase {
            Phase::Running(attempt) => Some(attempt),
            Phase::Waiting | Phase::Blocked | Phase::Delayed | Phase::Unknown(_) | Phase::Ending | Phase::Over(_) => None,
        }
    }

    fn is_about(&self, record: &Raw) -> bool {
        match self.phase {
            Phase::Running(attempt) | Phase::Unknown(attempt) => attempt.id == record.text("attempt"),
            Phase::Waiting | Phase::Blocked | Phase::Delayed | Phase::Ending | Phase::Over(_) => false,
        }
    }

    /// Returns true if it is a workflow, whose end depends on its steps.
    fn is_in_steps(&self) -> bool {
        self.request.said.get("pace").is_some_and(|pace| pace == "in_steps")
    }

    /// Returns true if it waits for an event: then it ends as its workflow's records say.
    fn awaits(&self) -> bool {
        self.request.said.pointer("/pace/awaits").is_some()
    }

    /// Returns true if it is skipped while other executions of its action are open.
    fn may_be_skipped(&self) -> bool {
        self.request.said.pointer("/locks/0/conflict").is_some_and(|conflict| conflict == "skip")
    }

    fn may_be_tried_again(&self) -> bool {
        self.request.said.get("idempotent") == Some(&Value::Bool(true)) || self.request.text("on_lost") == "retry"
    }

    /// A timer fires once, if it was set, and never early: a relative timer is shifted by each clock step.
    fn note_timer(&mut self, record: &'r Raw, stepped: i64) -> Result<(), Violation> {
        let (at, stream) = (record.position, &record.stream);
        let key = (record.text("kind"), record.number("number"));
        match record.kind.as_str() {
            "timer.set" => {
                demand!(
                    self.timers.insert(key, Pending { set: record, stepped }).is_none(),
                    "I21",
                    "{stream}: a timer is set twice at {at}"
                );
                if key.0 == "retry" {
                    let has_failed = matches!(self.phase, Phase::Ending) && matches!(self.last, Last::Failed | Last::TimedOut);
                    demand!(has_failed && !self.cancelled, "I21", "{stream} is retried at {at} although it has not failed");
                    self.phase = Phase::Delayed;
                }
            }
            "timer.fired" => {
                let Some(Pending { set, stepped: before }) = self.timers.remove(&key) else {
                    return Err(Violation::new("I21", format!("{stream}: a timer fires at {at} that is not set, or has fired")));
                };
                let passed = micros(&record.time) - micros(&set.time) - (stepped - before);
                let wait = micros(set.text("due")) - micros(&set.time);
                demand!(passed >= wait, "I21", "{stream}: a timer fires at {at} after {passed} µs, but it was set for {wait} µs");
                sometimes!(stepped != before, "the clock stepped while a timer was pending");
                match (key.0, &self.phase) {
                    ("retry", Phase::Delayed) => {
                        sometimes!("what failed was tried again");
                        self.phase = Phase::Waiting;
                    }
                    ("sleep", _) => {
                        sometimes!("a sleep ended");
                        self.last = Last::Succeeded;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// I25: the node asks about an attempt while its outcome is unknown, and no longer.
    fn note_question(&mut self, record: &'r Raw) -> Result<(), Violation> {
        let (at, stream) = (record.position, &record.stream);
        match record.kind.as_str() {
            "inquiry.opened" if record.said.get("attempt").is_some() => {
                let is_unknown = matches!(self.phase, Phase::Unknown(attempt) if attempt.id == record.text("attempt"));
                demand!(is_unknown, "I25", "{stream}: people are asked at {at} about an attempt with a known outcome");
                demand!(self.asked.is_none(), "I25", "{stream}: people are asked at {at}, and were asked before");
                self.asked = Some(&record.id);
            }
            "inquiry.answered" if self.asked == Some(record.text("inquiry")) => {
                self.asked = None;
                sometimes!("somebody answered about a lost attempt");
            }
            "inquiry.withdrawn" => {
                demand!(self.asked == Some(record.text("inquiry")), "I25", "{stream}: a question is withdrawn at {at} that is not open");
                self.asked = None;
                sometimes!("a question was withdrawn");
            }
            "execution.succeeded" | "execution.failed" | "execution.timed_out" | "execution.cancelled" => {
                demand!(self.asked.is_none(), "I25", "{stream} has ended at {at}, and people are still asked for its outcome");
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, record: &'r Raw) -> Result<(), Violation> {
        let at = record.position;
        let stream = &record.stream;
        match record.kind.as_str() {
            "attempt.started" => {
                demand!(!self.cancelled, "I11", "{stream}: an attempt starts at {at}, after a cancel");
                demand!(matches!(self.phase, Phase::Waiting), "I12", "{stream}: an attempt starts at {at} before another has ended");
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
                demand!(self.is_about(record), "I12", "{stream}: {} at {at} is not about the running attempt", record.kind);
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
                demand!(attempt.id == record.text("attempt"), "I12", "{stream}: the attempt that is lost at {at} is not the running one");
                self.last = Last::Lost;
                let is_proven = record.text("evidence") == "not_begun";
                let is_own = record.actor == format!("worker/{}", attempt.text("worker"));
                sometimes!(!is_own, "an attempt was lost that was given to another worker");
                demand!(
                    !is_proven || is_own,
                    "I12",
                    "{stream}: {} reports at {at} that another worker's attempt had not begun",
                    record.actor
                );
                sometimes!(is_proven, "an attempt was lost that had provably not begun");
                sometimes!(!is_proven, "an attempt was lost that may have begun");
                self.phase = if !is_proven && !self.may_be_tried_again() {
                    Phase::Unknown(attempt)
                } else if self.cancelled {
                    sometimes!("an attempt was lost between its cancel and its end");
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
                let is_in_doubt = matches!(self.phase, Phase::Unknown(_)) && self.last == Last::Lost;
                demand!(is_in_doubt, "I12", "{stream} is settled at {at} although it is not indeterminate");
                match record.said.get("outcome") {
                    Some(Value::String(word)) if word == "retry" => {
                        sometimes!(self.cancelled, "a person would have had a cancelled execution tried again");
                        if self.cancelled {
                            // Nothing starts again, so a report of the attempt still counts until the execution ends.
                            self.last = Last::SettledRetry;
                        } else {
                            self.phase = Phase::Waiting;
                        }
                    }
                    Some(Value::String(word)) if word == "succeeded" => self.last = Last::SettledSucceeded,
                    _ => self.last = Last::SettledFailed,
                }
                sometimes!("an execution was settled");
            }
            "execution.cancel_requested" => {
                sometimes!(matches!(self.phase, Phase::Running(_)), "an execution was cancelled while it ran");
                self.cancelled = true;
                if matches!(self.phase, Phase::Unknown(_)) {
                    // A cancel ends the doubt about a lost attempt: later reports of it are late.
                    self.phase = Phase::Ending;
                }
            }
            "attempt.reported_late" => {
                demand!(!self.is_about(record), "I12", "{stream}: a report at {at} on the running attempt counts as late");
                sometimes!("a report came late");
                sometimes!(matches!(self.phase, Phase::Running(_)), "a report came late while another attempt ran");
            }
            "lock.awaited" => self.phase = Phase::Blocked,
            "lock.acquired" => self.phase = Phase::Waiting,
            "execution.succeeded" | "execution.failed" if self.is_in_steps() || self.awaits() => self.phase = Phase::Over(record),
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
                let is_known = matches!(self.last, Last::Lost | Last::SettledFailed);
                demand!(!self.cancelled || is_known, "I12", "{stream} was cancelled and fails at {at}");
                self.phase = Phase::Over(record);
            }
            "execution.timed_out" => {
                demand!(self.last == Last::TimedOut && !self.cancelled, "I12", "{stream} times out at {at} after {:?}", self.last);
                sometimes!("an execution timed out");
                self.phase = Phase::Over(record);
            }
            "execution.cancelled" => {
                let is_skipped = self.may_be_skipped() && record.said.get("error").is_some() && matches!(self.phase, Phase::Waiting);
                // Which event cancels which step is I14.
                let is_by_event = record.said.get("by").is_some();
                demand!(self.cancelled || is_skipped || is_by_event, "I12", "{stream} is cancelled at {at} without a request");
                demand!(!matches!(self.phase, Phase::Running(_)), "I12", "{stream} is cancelled at {at} while it runs");
                sometimes!("an execution was cancelled");
                self.phase = Phase::Over(record);
            }
            // An attempt's messages while it runs do not change any of this.
            _ => {}
        }
        Ok(())
    }
}
