//! I1: what was confirmed to a client is in the log, what was rejected is not, and a key was accepted once.

use std::collections::BTreeMap;

use ensue_engine::command::{Answer, Novelty};
use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::sometimes;
use crate::traffic::{Outcome, Request, Wish};

/// The key that clients set and remove.
const KEY: &str = "sim.canary";
/// How long a key is remembered, in microseconds of log time.
const KEY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let mut marked: BTreeMap<String, Vec<&Raw>> = BTreeMap::new();
    let mut keyed: BTreeMap<String, Vec<&Raw>> = BTreeMap::new();
    let mut streams: BTreeMap<&str, Vec<&Raw>> = BTreeMap::new();
    for record in records {
        streams.entry(&record.stream).or_default().push(record);
        if record.kind == "event.received" {
            let payload = record.payload();
            let text = |field: &str| payload.get(field).and_then(Value::as_str).map(str::to_owned);
            if let Some(mark) = text("mark") {
                marked.entry(mark).or_default().push(record);
            }
            if let Some(key) = text("key") {
                keyed.entry(key).or_default().push(record);
            }
        }
    }
    for (key, accepted) in &keyed {
        for pair in accepted.windows(2) {
            let [first, second] = pair else { continue };
            // A clock that ran ahead for a while has let the key expire, even if it was set back afterwards.
            let between = &records[first.position as usize..second.position as usize];
            let latest = between.iter().map(Raw::micros).max().unwrap_or(0);
            let is_forgotten = latest - first.micros() >= KEY_MICROS;
            demand!(is_forgotten, "I1", "key {key} was accepted at {} and again at {}", first.position, second.position);
            sometimes!("a key was accepted again after its time");
        }
    }
    for (number, request) in ledger.requests {
        if let Some(Outcome::Done(committed)) = &request.heard {
            check_done(*number, request, committed.position.0, &committed.answer, records, &streams)?;
        }
        // Requests with an idempotency key are compared by their key.
        if let (Wish::Send { payload, key: None, .. }, None) = (&request.wish, &request.under) {
            let mark = serde_json::from_str::<Value>(payload).ok();
            let mark = mark.as_ref().and_then(|payload| payload.get("mark")).and_then(Value::as_str).unwrap_or_default();
            let found = marked.get(mark).map_or(0, Vec::len);
            let said = |is: fn(&Outcome) -> bool| request.said.iter().filter(|said| is(&said.outcome)).count();
            let (yes, no) = (said(|outcome| matches!(outcome, Outcome::Done(_))), said(|outcome| matches!(outcome, Outcome::Not(_))));
            let most = request.arrivals as usize - no;
            demand!(found >= yes, "I1", "request {number} was accepted {yes} times, but its event is in the log {found} times");
            demand!(
                found <= most,
                "I1",
                "request {number} was rejected {no} times of {}, but its event is in the log {found} times",
                request.arrivals
            );
        }
    }
    Ok(())
}

fn check_done(
    number: u64,
    request: &Request,
    position: u64,
    answer: &Answer,
    records: &[Raw],
    streams: &BTreeMap<&str, Vec<&Raw>>,
) -> Result<(), Violation> {
    demand!(
        position <= records.len() as u64,
        "I1",
        "request {number} was answered with position {position}, but the log ends at {}",
        records.len()
    );
    let kinds = |stream: &str, kinds: &[&str]| {
        let of = streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        of.iter().any(|record| kinds.contains(&record.kind.as_str()))
    };
    let done = DoneRequest { number, request, position, records };
    match (&request.wish, answer) {
        (Wish::Send { payload, .. } | Wish::Deliver { payload, .. }, Answer::Events(events)) => {
            for event in events {
                let at = event.position.0;
                let record = usize::try_from(at).ok().and_then(|at| records.get(at.checked_sub(1)?));
                let Some(record) = record.filter(|record| record.stream == format!("event/{}", event.id)) else {
                    return Err(Violation::new(
                        "I1",
                        format!("request {number} was accepted as {} at {at}, which is not in the log", event.id),
                    ));
                };
                demand!(at <= position, "I1", "request {number} was answered with {position}, but its event is at {at}");
                sometimes!(event.novelty == Novelty::Repeat, "a repeated key was recognised");
                let is_same = record.content.as_deref() == Some(payload.as_bytes());
                demand!(is_same, "I1", "request {number} was accepted at {at}, where the log has another payload");
            }
        }
        (Wish::Run { .. }, Answer::Execution(id)) => {
            let stream = format!("execution/{id}");
            demand!(kinds(&stream, &["execution.requested"]), "I1", "request {number} was accepted as {id}, which is not in the log");
        }
        (Wish::Rerun { execution, .. }, Answer::Execution(id)) => {
            let is_it = |record: &Raw| record.kind == "execution.requested" && record.text("rerun_of") == execution.to_string();
            let found = streams.get(format!("execution/{id}").as_str()).is_some_and(|of| of.iter().copied().any(is_it));
            demand!(
                found,
                "I1",
                "request {number} to rerun {execution} was accepted as {id}, which is not in the log, or is not that rerun"
            );
        }
        (Wish::Cancel(id), _) => {
            let ends =
                ["execution.cancel_requested", "execution.succeeded", "execution.failed", "execution.timed_out", "execution.cancelled"];
            demand!(
                kinds(&format!("execution/{id}"), &ends),
                "I1",
                "request {number}: the cancel of {id} was accepted and is not in the log"
            );
        }
        (Wish::Settle(id, _), _) => {
            demand!(
                kinds(&format!("execution/{id}"), &["execution.settled"]),
                "I1",
                "request {number}: the settlement of {id} was accepted and is not in the log"
            );
        }
        // These lead to nothing further: the position in the answer is their record's own.
        (Wish::SetKey(_), _) => done.check_record("key.set", &[("key", KEY)])?,
        (Wish::RemoveKey, _) => done.check_record("key.removed", &[("key", KEY)])?,
        // Between it and the position are the records of the rule's schedule, or of a parked reaction and of
        // executions that could start then.
        (Wish::SetMode(rule, mode), _) => {
            done.with_what_followed("rule.mode_set").check_record("rule.mode_set", &[("rule", rule), ("mode", mode.as_str())])?;
        }
        (Wish::Send { .. } | Wish::Deliver { .. } | Wish::Run { .. } | Wish::Rerun { .. } | Wish::TakeInPacks | Wish::See { .. }, _) => {}
    }
    Ok(())
}

/// A request that was answered as done.
struct DoneRequest<'a> {
    number: u64,
    request: &'a Request,
    /// The position in the answer.
    position: u64,
    records: &'a [Raw],
}

impl DoneRequest<'_> {
    /// The same, with the position of the newest record of a kind in the same batch, up to its own position.
    fn with_what_followed(&self, kind: &str) -> Self {
        let upto = usize::try_from(self.position).unwrap_or(usize::MAX).min(self.records.len());
        let batch = upto.checked_sub(1).map(|last| &self.records[last].batch);
        let same = self.records[..upto].iter().rev().take_while(|record| Some(&record.batch) == batch);
        let position = same.into_iter().find(|record| record.kind == kind).map_or(self.position, |record| record.position);
        Self { position, ..*self }
    }

    /// Requires that the record at its position is of a kind, contains what was requested, and is its
    /// client's.
    fn check_record(&self, kind: &str, says: &[(&str, &str)]) -> Result<(), Violation> {
        let Self { number, position, .. } = self;
        let record = usize::try_from(*position).ok().and_then(|at| self.records.get(at.checked_sub(1)?));
        let Some(record) = record else {
            return Err(Violation::new("I1", format!("request {number} ({kind}) was answered with position {position}")));
        };
        let is_it = record.kind == kind && says.iter().all(|(field, value)| record.text(field) == *value);
        let found = (&record.kind, &record.said);
        demand!(is_it, "I1", "request {number} ({kind} {says:?}) was answered with position {position}, where the log has {found:?}");
        let client = format!("token/client{}", self.request.client);
        demand!(record.actor == client, "I1", "the result of request {number} of {client} is at {position}, by {}", record.actor);
        Ok(())
    }
}
