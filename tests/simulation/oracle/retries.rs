//! I33: a program that fails is tried again as often as the rule that started it says, or else as its action says.

use std::collections::BTreeMap;

use crate::oracle::in_force::InForce;
use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::sometimes;

/// An execution that a rule requested, and that starts a program.
struct RetryHistory {
    attempts_max: u64,
    failures: u64,
    /// Whether its last attempt failed in a way that another attempt may mend.
    may_pass: bool,
    /// Whether somebody ended it, or dismissed its consequences.
    is_ended: bool,
    is_of_rule: bool,
}

pub(super) fn check<'w>(records: &'w [Raw], ledger: &Ledger<'w>) -> Result<(), Violation> {
    let mut in_force = InForce::default();
    let mut told: BTreeMap<&str, RetryHistory> = BTreeMap::new();
    // The executions by the positions of their records.
    let mut of: BTreeMap<u64, &str> = BTreeMap::new();
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    for record in records {
        let at = record.position;
        in_force.note(record, ledger)?;
        if record.kind == "enforcement.made" {
            ids.insert(record.stream.strip_prefix("enforcement/").unwrap_or_default(), record.text("rule_id"));
        }
        if record.kind.starts_with("reaction.")
            && let Some(told) = of.get(&record.number("of")).and_then(|id| told.get_mut(id))
        {
            told.is_ended |= record.kind == "reaction.dismissed";
        }
        let Some(id) = record.stream.strip_prefix("execution/") else { continue };
        if record.kind == "execution.requested" {
            let rule_id = ids.get(record.text("enforcement")).copied().unwrap_or_default();
            let rule = in_force.revision(record.number("catalog")).rule(record.text("rule"), rule_id);
            if let Some((rule, attempts_max)) = rule.and_then(|rule| Some((rule, rule.attempts_max(record.text("action"))?)))
                && record.said.get("part_of").is_none()
            {
                let is_of_rule = rule.attempts.is_some();
                told.insert(id, RetryHistory { attempts_max, failures: 0, may_pass: false, is_ended: false, is_of_rule });
            }
        }
        let Some(execution) = told.get_mut(id) else { continue };
        of.insert(at, id);
        match record.kind.as_str() {
            "attempt.failed" => {
                execution.failures += 1;
                let kind = record.said.pointer("/error/kind").and_then(serde_json::Value::as_str);
                execution.may_pass = matches!(kind, Some("exit_code" | "signal" | "spawn" | "timeout"));
            }
            "attempt.started" | "attempt.lost" | "execution.settled" => execution.may_pass = false,
            "execution.cancel_requested" => execution.is_ended = true,
            "timer.set" if record.text("kind") == "retry" => {
                let (failures, most) = (execution.failures, execution.attempts_max);
                demand!(failures < most, "I33", "{id} is tried again at {at} after {failures} failures, and may have {most} attempts");
                sometimes!(execution.is_of_rule, "what failed was tried again because its rule says so");
            }
            "execution.failed" | "execution.timed_out" if execution.may_pass && !execution.is_ended => {
                let (failures, most) = (execution.failures, execution.attempts_max);
                demand!(failures >= most, "I33", "{id} fails at {at} after {failures} failures, but may have {most} attempts");
            }
            _ => {}
        }
    }
    Ok(())
}
