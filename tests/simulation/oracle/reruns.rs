//! I28: a rerun does what was requested: it repeats an execution that has ended, with its parameters or the
//! given changes, and takes over exactly those steps that succeeded together with everything they need.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::http::trace;
use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::pack::steps_of;
use crate::sometimes;
use crate::traffic::Wish;

/// An execution outside of any workflow, according to its records.
struct RerunHistory<'r> {
    request: &'r Raw,
    params: Value,
    has_ended: bool,
    /// The steps that succeeded or were taken over, with their executions.
    done: BTreeMap<&'r str, &'r str>,
    /// The steps of the repeated execution that may be taken over, if this is a rerun.
    may_take: BTreeMap<&'static str, &'r str>,
    taken: BTreeSet<&'r str>,
}

#[derive(Default)]
struct Book<'r> {
    told: BTreeMap<&'r str, RerunHistory<'r>>,
    /// The workflow and step of an execution.
    parts: BTreeMap<&'r str, (&'r str, &'r str)>,
}

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let mut wishes: BTreeMap<String, &Wish> = BTreeMap::new();
    for (number, request) in ledger.requests {
        wishes.extend((1..=request.arrivals).map(|copy| (trace(*number, copy), &request.wish)));
    }
    let mut book = Book::default();
    records.iter().try_for_each(|record| book.note(record, &wishes))
}

impl<'r> Book<'r> {
    fn note(&mut self, record: &'r Raw, wishes: &BTreeMap<String, &Wish>) -> Result<(), Violation> {
        let Some(id) = record.stream.strip_prefix("execution/") else { return Ok(()) };
        let at = record.position;
        match record.kind.as_str() {
            "execution.requested" => return self.check_request(id, record, wishes),
            "step.taken_over" => {
                let step = record.text("step");
                let was = record.said.pointer("/taken/execution").and_then(Value::as_str).unwrap_or_default();
                let told = self.told.get_mut(id).filter(|told| told.may_take.get(step) == Some(&was));
                let Some(told) = told else {
                    return Err(Violation::new("I28", format!("{id} reuses {step} of {was} at {at}, although it must not")));
                };
                demand!(!told.has_ended, "I12", "{id} reuses {step} at {at}, after its end");
                told.taken.insert(step);
                told.done.insert(step, was);
                sometimes!("a rerun reused a step");
            }
            "execution.succeeded" | "execution.failed" | "execution.timed_out" | "execution.cancelled" => {
                let has_succeeded = record.kind == "execution.succeeded";
                if let Some((workflow, step)) = self.parts.get(id).filter(|_| has_succeeded)
                    && let Some(told) = self.told.get_mut(workflow)
                {
                    told.done.insert(step, id);
                }
                if let Some(told) = self.told.get_mut(id) {
                    told.has_ended = true;
                    sometimes!(has_succeeded && !told.taken.is_empty(), "a rerun with reused steps succeeded");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check_request(&mut self, id: &'r str, record: &'r Raw, wishes: &BTreeMap<String, &Wish>) -> Result<(), Violation> {
        let at = record.position;
        let part = |field: &str| record.said.pointer(&format!("/part_of/{field}")).and_then(Value::as_str);
        if let (Some(workflow), Some(step)) = (part("workflow"), part("step")) {
            self.parts.insert(id, (workflow, step));
            let may_take = self.told.get(workflow).is_some_and(|told| told.may_take.contains_key(step));
            demand!(!may_take, "I28", "{workflow} runs {step} at {at} again, although it had succeeded with all that it needs");
            return Ok(());
        }
        let params = record.payload();
        let mut told = RerunHistory {
            request: record,
            params,
            has_ended: false,
            done: BTreeMap::new(),
            may_take: BTreeMap::new(),
            taken: BTreeSet::new(),
        };
        if let Some(of) = record.said.get("rerun_of").and_then(Value::as_str) {
            let Some(before) = self.told.get(of) else {
                return Err(Violation::new("I28", format!("{id} at {at} reruns {of}, which is not in the log, or is a step")));
            };
            demand!(before.has_ended, "I28", "{id} at {at} reruns {of}, which has not ended");
            let wish = record.cause.trace.as_deref().and_then(|trace| wishes.get(trace));
            let Some(Wish::Rerun { execution, from, n }) = wish else {
                return Err(Violation::new("I28", format!("{id} at {at} reruns {of} without a request")));
            };
            demand!(execution.to_string() == of, "I28", "{id} at {at} reruns {of}, but {execution} was requested");
            let same = ["action", "rule", "event", "enforcement"].iter().all(|field| record.text(field) == before.request.text(field));
            demand!(same, "I28", "{id} at {at} differs from {of}: {} and {}", record.said, before.request.said);
            let mut expected = before.params.clone();
            if let (Some(n), Some(fields)) = (n, expected.as_object_mut()) {
                fields.insert("n".to_owned(), json!(n));
            }
            demand!(told.params == expected, "I28", "{id} at {at} reruns {of} with {} instead of {expected}", told.params);
            sometimes!("an execution was run again");
            sometimes!(n.is_some(), "an execution was run again with other parameters");
            // A step of that name cannot be addressed: the word means all steps.
            if let Some(from) = from.filter(|from| *from != "start") {
                told.may_take = before.may_stay(from);
            }
        }
        self.told.insert(id, told);
        Ok(())
    }
}

impl<'r> RerunHistory<'r> {
    /// Returns the steps that a rerun takes over: those that succeeded together with everything they need,
    /// except the one to start from.
    fn may_stay(&self, from: &str) -> BTreeMap<&'static str, &'r str> {
        let mut stay = BTreeMap::new();
        // They are in topological order.
        for (step, needs) in steps_of(self.request.text("action")) {
            if *step != from
                && needs.iter().all(|need| stay.contains_key(need))
                && let Some(was) = self.done.get(step)
            {
                stay.insert(*step, *was);
            }
        }
        stay
    }
}
