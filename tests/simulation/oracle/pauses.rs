//! I26: nothing below a paused execution starts, and no timer below it fires.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Violation, demand};
use crate::sometimes;

/// The paused executions and those below them, according to the records.
#[derive(Default)]
struct Book<'r> {
    /// The workflow around an execution; an execution that undoes a step is not held by any.
    around: BTreeMap<&'r str, &'r str>,
    paused: BTreeSet<&'r str>,
    /// Executions that are being cancelled: a pause no longer holds them or the cleanup below them.
    ending: BTreeSet<&'r str>,
}

pub(super) fn check(records: &[Raw]) -> Result<(), Violation> {
    let mut book = Book::default();
    records.iter().try_for_each(|record| book.note(record))
}

impl<'r> Book<'r> {
    fn note(&mut self, record: &'r Raw) -> Result<(), Violation> {
        let Some(id) = record.stream.strip_prefix("execution/") else { return Ok(()) };
        let at = record.position;
        match record.kind.as_str() {
            "execution.requested" => {
                let part_of = |name: &str| record.said.pointer(&format!("/part_of/{name}")).and_then(Value::as_str);
                if let Some(workflow) = part_of("workflow").filter(|_| part_of("role") != Some("undo")) {
                    self.around.insert(id, workflow);
                }
            }
            "execution.paused" => {
                self.paused.insert(id);
                sometimes!("an execution was paused");
            }
            "execution.resumed" => {
                self.paused.remove(id);
            }
            "execution.cancel_requested" | "undo.begun" => {
                self.ending.insert(id);
            }
            "execution.succeeded" | "execution.failed" | "execution.timed_out" | "execution.cancelled" => {
                self.paused.remove(id);
            }
            "timer.fired" => {
                let held = self.held_by(id);
                demand!(held.is_none(), "I26", "{id}: a timer fires at {at} below {held:?}, which is paused");
                if record.text("kind") == "timeout" {
                    self.ending.insert(id);
                }
            }
            "attempt.started" => {
                let held = self.held_by(id);
                demand!(held.is_none(), "I26", "{id}: an attempt starts at {at} below {held:?}, which is paused");
            }
            _ => {}
        }
        Ok(())
    }

    fn held_by(&self, id: &'r str) -> Option<&'r str> {
        let mut at = id;
        loop {
            if self.ending.contains(at) {
                return None;
            }
            if self.paused.contains(at) {
                return Some(at);
            }
            at = self.around.get(at)?;
        }
    }
}
