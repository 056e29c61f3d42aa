//! I6 and I16: a program is started as often as its action allows, and none is left without an execution.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::sometimes;

/// The records of one execution that starts programs.
#[derive(Default)]
struct ProgramHistory<'r> {
    request: Option<&'r Raw>,
    attempts: Vec<&'r Raw>,
    succeeded: BTreeSet<&'r str>,
    was_settled_to_retry: bool,
    /// How often it was retried after a failure that is known.
    retried: u32,
}

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let alive = ledger.machine.alive();
    demand!(alive.is_empty(), "I16", "programs run at the end although no execution is open: {alive:?}");
    let started = ledger.machine.start_counts();
    let mut told: BTreeMap<&str, ProgramHistory<'_>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.stream.starts_with("execution/")) {
        let execution = told.entry(&record.stream).or_default();
        match record.kind.as_str() {
            "execution.requested" => execution.request = Some(record),
            "attempt.started" => execution.attempts.push(record),
            "attempt.succeeded" => drop(execution.succeeded.insert(record.text("attempt"))),
            "execution.settled" => execution.was_settled_to_retry |= record.said.get("outcome") == Some(&Value::String("retry".into())),
            "timer.set" if record.text("kind") == "retry" => execution.retried += 1,
            _ => {}
        }
    }
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for (stream, execution) in &told {
        let Some(request) = execution.request.filter(|request| is_program(request.text("action"))) else { continue };
        let times: u32 = execution.attempts.iter().map(|attempt| started.get(&attempt.id).copied().unwrap_or(0)).sum();
        known.extend(execution.attempts.iter().map(|attempt| attempt.id.as_str()));
        let may_be_twice = request.said.get("idempotent") == Some(&Value::Bool(true))
            || request.text("on_lost") == "retry"
            || execution.was_settled_to_retry;
        demand!(
            may_be_twice || times <= 1 + execution.retried,
            "I6",
            "{stream} of {} started its program {times} times",
            request.text("action")
        );
        sometimes!(times > 1, "an effect happened twice, where that is allowed");
        for attempt in &execution.attempts {
            let of_attempt = started.get(&attempt.id).copied().unwrap_or(0);
            demand!(of_attempt <= 1, "I6", "{stream}: attempt {} started its program {of_attempt} times", attempt.id);
            let is_true = !execution.succeeded.contains(attempt.id.as_str()) || of_attempt == 1;
            demand!(is_true, "I6", "{stream}: attempt {} succeeded, but its program was never started", attempt.id);
        }
    }
    for attempt in started.keys() {
        demand!(known.contains(attempt.as_str()), "I6", "a program was started for attempt {attempt}, which is not in the log");
    }
    Ok(())
}

fn is_program(action: &str) -> bool {
    crate::pack::PROGRAMS.iter().any(|(name, _)| action == format!("sim.{name}"))
}
