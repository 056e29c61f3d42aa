//! I4 and I5: exactly the decisions that follow from the rules in force, each of them once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::oracle::in_force::{InForce, Revision};
use crate::oracle::meaning::{self, Meaning};
use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::pack::{Doing, WrittenMode};
use crate::sometimes;

/// The maximum number of ancestors of an event in its chain.
const DEPTH_MAX: u64 = 16;

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let mut made: BTreeMap<&str, BTreeMap<String, &Raw>> = BTreeMap::new();
    let mut stopped: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut requested: BTreeMap<&str, &Raw> = BTreeMap::new();
    for record in records {
        match record.kind.as_str() {
            "enforcement.made" => {
                let twice = made.entry(record.text("event")).or_default().insert(record.text("rule_id").to_owned(), record);
                demand!(twice.is_none(), "I5", "rule {} decided twice on event {}", record.text("rule"), record.text("event"));
            }
            "loop.stopped" => drop(stopped.insert((record.text("event"), record.text("rule_id")))),
            "rule.erred" => {
                let is_bug = record.text("message").contains("an internal error");
                sometimes!(is_bug, "a bug occurred in evaluating a rule");
            }
            "reaction.resumed" => sometimes!("a reaction was worked out in a later turn"),
            "reaction.parked" => {
                let is_ended = record.text("error").starts_with("the process ended");
                sometimes!(is_ended, "a reaction was parked because it ended three processes");
            }
            "execution.requested" => {
                // A rerun names the same cause as the first execution.
                let is_first = record.said.get("rerun_of").is_none();
                if let Some(enforcement) = record.said.get("enforcement").and_then(Value::as_str).filter(|_| is_first) {
                    let twice = requested.insert(enforcement, record);
                    demand!(twice.is_none(), "I5", "enforcement {enforcement} asked for two executions");
                }
            }
            _ => {}
        }
    }
    let mut in_force = InForce::default();
    let mut events = 0;
    for record in records {
        if record.kind == "event.received" {
            events += 1;
            let id = record.stream.strip_prefix("event/").unwrap_or_default();
            let none = BTreeMap::new();
            judge(record, &in_force, made.get(id).unwrap_or(&none), &stopped, &requested)?;
        }
        in_force.note(record, ledger)?;
    }
    sometimes!(events > 500, "a log of more than five hundred events was judged");
    let known: BTreeSet<&str> = records.iter().filter_map(|record| record.stream.strip_prefix("event/")).collect();
    for event in made.keys() {
        demand!(known.contains(event), "I4", "rules judged event {event}, which is not in the log");
    }
    Ok(())
}

fn judge(
    event: &Raw,
    in_force: &InForce<'_>,
    made: &BTreeMap<String, &Raw>,
    stopped: &BTreeSet<(&str, &str)>,
    requested: &BTreeMap<&str, &Raw>,
) -> Result<(), Violation> {
    let at = event.position;
    let id = event.stream.strip_prefix("event/").unwrap_or_default();
    let catalog = event.number("catalog");
    demand!(catalog == in_force.catalog, "I4", "the event at {at} was judged by catalog {catalog}, but {} was in force", in_force.catalog);
    let Revision { edition, ids, least } = in_force.revision(catalog);
    let payload = event.newest_payload()?;
    let (mut matched, mut erred, mut undecided) = (0, 0, 0);
    let mut expected: BTreeMap<String, Option<&'static str>> = BTreeMap::new();
    for rule in edition.iter().flat_map(|edition| &edition.rules) {
        if !rule.triggers().iter().any(|trigger| event.text("trigger") == format!("sim.t{trigger}")) {
            continue;
        }
        let name = format!("sim.{}", rule.name);
        let Some(rule_id) = ids.get(&name) else {
            return Err(Violation::new("I4", format!("rule {name} of catalog {catalog} has no id")));
        };
        let mode = in_force.modes.get(rule_id).map_or(rule.mode.as_str(), String::as_str);
        let verdict = rule.when.as_ref().map_or(Meaning::Yes, |when| meaning::of(when, &payload, event.text("source"), least));
        match verdict {
            _ if mode == WrittenMode::Disabled.as_str() => {}
            Meaning::No => {}
            // A rule that reads a var is evaluated once the event is in the log.
            Meaning::Error if matches!(rule.doing, Doing::Tell(_)) => undecided += 1,
            Meaning::Error => erred += 1,
            Meaning::Yes => {
                *(if matches!(rule.doing, Doing::Tell(_)) { &mut undecided } else { &mut matched }) += 1;
                if event.cause.depth > DEPTH_MAX {
                    sometimes!("a loop was stopped");
                    demand!(
                        stopped.contains(&(id, rule_id.as_str())),
                        "I4",
                        "rule {name} matched event {id} at the end of a chain of {}, and was not stopped",
                        event.cause.depth
                    );
                    continue;
                }
                let is_possible = rule.doing != Doing::Echo || payload.get("n").is_some();
                let outcome = match (mode, is_possible) {
                    ("shadow", true) => "shadowed",
                    (_, true) => "executed",
                    (_, false) => "rejected",
                };
                // The effect of flow control on a match is checked in `flow.rs`.
                expected.insert(rule_id.clone(), rule.flow.is_empty().then_some(outcome));
            }
        }
    }
    sometimes!(erred > 0, "a rule erred");
    demand!(
        event.number("matched") == matched,
        "I4",
        "the event at {at} states that {} rules matched, but {matched} do",
        event.number("matched")
    );
    let left = event.number("undecided");
    demand!(left == undecided, "I4", "the event at {at} states that {left} rules are undecided, but {undecided} are");
    demand!(event.number("erred") == erred, "I4", "the event at {at} states that {} rules erred, but {erred} do", event.number("erred"));
    for (rule, outcome) in &expected {
        let Some(enforcement) = made.get(rule) else {
            return Err(Violation::new("I4", format!("rule {rule} matches the event at {at} and never decided on it")));
        };
        let given = match enforcement.said.get("outcome") {
            Some(Value::String(word)) => word.clone(),
            Some(Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        demand!(
            outcome.is_none_or(|outcome| given == outcome),
            "I4",
            "rule {rule} {given} on the event at {at}; it should have {outcome:?}"
        );
        let execution = requested.get(enforcement.id.as_str());
        demand!(
            (given == "executed") == execution.is_some() || given == "held",
            "I4",
            "enforcement {} was {given}, its execution: {}",
            enforcement.id,
            execution.is_some()
        );
        if let Some(execution) = execution {
            demand!(
                execution.number("catalog") == catalog,
                "I4",
                "the execution at {} runs in another catalog than its event",
                execution.position
            );
        }
        sometimes!(given == "rejected", "a rule rejected");
        sometimes!(given == "shadowed", "a rule only watched");
    }
    for (rule, enforcement) in made {
        demand!(
            expected.contains_key(rule),
            "I4",
            "rule {rule} decided at {} on the event at {at}, which it does not match",
            enforcement.position
        );
    }
    Ok(())
}
