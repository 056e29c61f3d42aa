//! I26: nothing starts, and no timer fires, below what is paused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Violation, demand};
use crate::sometimes;

/// What is paused, and what stands below it, as the records tell it.
#[derive(Default)]
struct Book<'r> {
    /// The workflow around an execution; one that undoes a step is held up by none.
    around: BTreeMap<&'r str, &'r str>,
    paused: BTreeSet<&'r str>,
    /// Those that are to end: they, and what cleans up below them, are held up no more.
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
