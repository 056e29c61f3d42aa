//! I24: an action's limit of open executions is never exceeded, and further executions are handled as the
//! action says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Violation, demand};
use crate::sometimes;

/// An execution that must hold a lock.
struct LockDemand {
    lock: String,
    limit: usize,
    conflict: String,
    /// The position of the execution's request: its reactions may be computed only after others have ended.
    asked: u64,
    waits: bool,
}

/// The holders of each lock according to the records: from the first step on, or from the record that grants
/// it.
#[derive(Default)]
struct Book<'r> {
    claimed: BTreeMap<&'r str, LockDemand>,
    holders: BTreeMap<String, BTreeSet<&'r str>>,
    cancelled: BTreeSet<&'r str>,
    over: BTreeSet<&'r str>,
    /// The executions that must end for a newer one, and since when.
    to_end: BTreeMap<&'r str, u64>,
    /// Owed reactions.
    owed: BTreeSet<u64>,
}

pub(super) fn check(records: &[Raw]) -> Result<(), Violation> {
    let mut book = Book::default();
    for (place, record) in records.iter().enumerate() {
        book.note(record)?;
        if records.get(place + 1).is_none_or(|next| next.batch != record.batch) && book.owed.is_empty() {
            let (over, cancelled) = (&book.over, &book.cancelled);
            book.to_end.retain(|id, _| !over.contains(id) && !cancelled.contains(id));
            if let Some((id, since)) = book.to_end.first_key_value() {
                return Err(Violation::new("I24", format!("{id} continues after {since}, although it had to end for a newer execution")));
            }
        }
    }
    Ok(())
}

impl<'r> Book<'r> {
    fn note(&mut self, record: &'r Raw) -> Result<(), Violation> {
        match record.kind.as_str() {
            "reaction.deferred" | "reaction.parked" | "reaction.retried" | "reaction.held" => drop(self.owed.insert(record.number("of"))),
            "reaction.resumed" | "reaction.dismissed" => drop(self.owed.remove(&record.number("of"))),
            _ => {}
        }
        let Some(id) = record.stream.strip_prefix("execution/") else { return Ok(()) };
        let at = record.position;
        match record.kind.as_str() {
            "execution.requested" => {
                if let Some(workflow) = record.said.pointer("/part_of/workflow").and_then(Value::as_str) {
                    self.begins(workflow, at)?;
                }
                if let Some(claim) = record.said.pointer("/locks/0") {
                    let text = |field: &str| claim.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                    let conflict = Some(text("conflict")).filter(|conflict| !conflict.is_empty()).unwrap_or_else(|| "queue".to_owned());
                    let limit = claim.get("limit").and_then(Value::as_u64).unwrap_or(0) as usize;
                    let lock = format!("{} {}", claim["owner"], text("key"));
                    self.claimed.insert(id, LockDemand { lock, limit, conflict, asked: at, waits: false });
                }
            }
            "lock.awaited" => {
                let Some(claimed) = self.claimed.get_mut(id) else {
                    return Err(Violation::new("I24", format!("{id} waits at {at} for a lock that it does not need")));
                };
                demand!(claimed.conflict != "skip", "I24", "{id} waits at {at} for a lock, but it had to be skipped");
                claimed.waits = true;
                sometimes!("an execution waited for a lock");
                if claimed.conflict == "cancel_running" {
                    let behind = record.said.get("behind").and_then(Value::as_array).into_iter().flatten();
                    self.to_end.extend(behind.filter_map(Value::as_str).map(|behind| (behind, at)));
                    sometimes!("an execution was to end for a newcomer");
                }
            }
            "lock.acquired" => {
                let waits = |claimed: &LockDemand| {
                    let holds = self.holders.get(&claimed.lock).is_some_and(|holders| holders.contains(id));
                    claimed.waits || !holds && self.owed.contains(&claimed.asked)
                };
                demand!(self.claimed.get(id).is_some_and(waits), "I24", "{id} holds a lock at {at} without having waited for it");
                sometimes!(!self.claimed[id].waits, "a lock became free before its waiter was known");
                if let Some(claimed) = self.claimed.get_mut(id) {
                    claimed.waits = false;
                }
                self.begins(id, at)?;
            }
            // An execution that starts to run or to sleep holds its lock from then on.
            "attempt.started" => self.begins(id, at)?,
            "timer.set" if record.text("kind") == "sleep" => self.begins(id, at)?,
            "execution.cancel_requested" => drop(self.cancelled.insert(id)),
            "execution.succeeded" | "execution.failed" | "execution.timed_out" | "execution.cancelled" => {
                self.over.insert(id);
                if let Some(claimed) = self.claimed.get(id) {
                    let is_skipped = claimed.conflict == "skip" && record.said.get("error").is_some();
                    sometimes!(is_skipped, "an execution was skipped because of a lock");
                    self.holders.entry(claimed.lock.clone()).or_default().remove(id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Records that an execution holds its lock from here on, if it did not.
    fn begins(&mut self, id: &'r str, at: u64) -> Result<(), Violation> {
        let Some(claimed) = self.claimed.get(id) else { return Ok(()) };
        demand!(!claimed.waits, "I24", "{id} begins at {at} while it waits for a lock");
        let holders = self.holders.entry(claimed.lock.clone()).or_default();
        holders.insert(id);
        demand!(
            holders.len() <= claimed.limit,
            "I24",
            "{} are open at once at {at} that need {}: {holders:?}",
            holders.len(),
            claimed.lock
        );
        Ok(())
    }
}
