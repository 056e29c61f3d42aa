//! I14: each step of a workflow begins once, after the steps that it needs have succeeded, and the workflow's
//! end follows from theirs.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::records::Raw;
use crate::oracle::{Violation, demand};
use crate::pack::{CANCELLING, FAIL_AT, HEARD, HEARD_MILLIS, ITEMS, enough_of, steps_of};
use crate::sometimes;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open,
    Succeeded,
    /// It failed or was not started: steps that need it do not start.
    Not,
    /// An event canceled it, or a step that it needs: steps that need it do not start, and the workflow may succeed.
    Passed,
}

/// A workflow according to its records.
#[derive(Default)]
struct WorkflowHistory<'r> {
    action: &'r str,
    steps: BTreeMap<&'r str, Step>,
    /// The steps that others made needless: their ends do not count.
    dropped: BTreeSet<&'r str>,
    /// The items of a step, and how many of them failed.
    items: BTreeMap<&'r str, (usize, usize)>,
    /// The events that canceled steps.
    cancelling: BTreeMap<&'r str, &'r str>,
    /// The steps that look for an event that cancels them.
    watching: BTreeSet<&'r str>,
    /// The steps whose awaited event has come. It may come before they look for one that cancels them, if the consequences
    /// of their start are owed.
    come: BTreeSet<&'r str>,
    /// The positions of the events that must cancel steps.
    due: BTreeMap<&'r str, u64>,
    is_cancelled: bool,
    is_over: bool,
}

impl WorkflowHistory<'_> {
    /// Returns what a step counts as that is skipped for this reason.
    fn skipped_outcome(&self, step: &str, because: &str) -> Step {
        let needs = steps_of(self.action).iter().find(|(name, _)| *name == step).map_or(&[][..], |(_, needs)| needs);
        let is_passed = |need: &&str| matches!(self.steps.get(*need), Some(Step::Succeeded | Step::Passed));
        match because {
            "event" => Step::Passed,
            "needs" if needs.iter().all(is_passed) => Step::Passed,
            _ => Step::Not,
        }
    }

    /// Handles the end of a step, or the end of its wait by anything but an event that cancels it: from now on, none does.
    /// Returns the position of the event that should have.
    fn stop_watching(&mut self, step: &str) -> Option<u64> {
        self.watching.remove(step);
        self.due.remove(step)
    }
}

pub(super) fn check(records: &[Raw]) -> Result<(), Violation> {
    let mut workflows: BTreeMap<&str, WorkflowHistory<'_>> = BTreeMap::new();
    // The workflow and step of each execution.
    let mut parts: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    // The events whose consequences came later than they did.
    let mut owed: BTreeSet<u64> = BTreeSet::new();
    // The workflow and step of each item.
    let mut items: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for record in records {
        match record.kind.as_str() {
            "reaction.deferred" | "reaction.parked" | "reaction.held" => drop(owed.insert(record.number("of"))),
            "event.received" if record.text("trigger") == CANCELLING => {
                for told in workflows.values_mut().filter(|told| !told.is_cancelled && !told.is_over) {
                    for step in &told.watching {
                        told.due.entry(step).or_insert(record.position);
                    }
                }
            }
            _ => {}
        }
        if !record.stream.starts_with("execution/") {
            continue;
        }
        let (at, id) = (record.position, record.stream.strip_prefix("execution/").unwrap_or_default());
        if record.kind == "execution.requested" {
            if record.said.get("pace").is_some_and(|pace| pace == "in_steps") {
                workflows.insert(id, WorkflowHistory { action: record.text("action"), ..WorkflowHistory::default() });
            }
            let Some(part_of) = record.said.get("part_of") else { continue };
            let field = |name: &str| part_of.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
            let (workflow, step) = (field("workflow"), field("step"));
            let Some(told) = workflows.get_mut(workflow) else {
                return Err(Violation::new("I14", format!("the step {step} at {at} belongs to no workflow")));
            };
            demand!(!told.is_over, "I14", "the step {step} begins at {at}, after the end of {workflow}");
            demand!(!told.is_cancelled, "I11", "the step {step} begins at {at}, after the cancel of {workflow}");
            let Some((_, needs)) = steps_of(told.action).iter().find(|(name, _)| *name == step) else {
                return Err(Violation::new("I14", format!("the workflow {workflow} has no step {step}, which begins at {at}")));
            };
            let ended = needs.iter().filter(|need| told.steps.get(*need) == Some(&Step::Succeeded)).count();
            let enough = enough_of(step, needs);
            demand!(ended >= enough, "I14", "the step {step} begins at {at}, but {ended} of {needs:?} succeeded, and it needs {enough}");
            demand!(!told.dropped.contains(step), "I14", "the step {step} begins at {at}, although it is not needed any longer");
            let expires = record.said.pointer("/pace/awaits/expires_millis").and_then(serde_json::Value::as_u64);
            let expected = (step == HEARD).then_some(HEARD_MILLIS);
            demand!(expires == expected, "I14", "the step {step} at {at} waits for {expires:?} ms, and not for {expected:?}");
            if part_of.get("item").is_some() {
                items.insert(id, (workflow, step));
                continue;
            }
            demand!(told.steps.insert(step, Step::Open).is_none(), "I14", "the step {step} of {workflow} begins at {at} again");
            parts.insert(id, (workflow, step));
            continue;
        }
        let end = match record.kind.as_str() {
            "execution.succeeded" => Some(Step::Succeeded),
            "execution.cancelled" if record.said.get("by").is_some() => Some(Step::Passed),
            "execution.failed" | "execution.timed_out" | "execution.cancelled" => Some(Step::Not),
            _ => None,
        };
        if let (Some(end), Some((workflow, step))) = (end, items.get(id)) {
            let (ended, failed) = workflows.entry(workflow).or_default().items.entry(step).or_default();
            *ended += 1;
            *failed += usize::from(end == Step::Not);
        }
        // Once its time is over, or it is to end, no event cancels a step.
        let has_passed = record.kind == "timer.fired" || record.kind == "execution.cancel_requested";
        if let Some((workflow, step)) = parts.get(id).filter(|_| has_passed || end.is_some()) {
            let told = workflows.entry(workflow).or_default();
            let missed = told.stop_watching(step).filter(|event| !owed.contains(event) && !told.is_cancelled);
            demand!(
                missed.is_none(),
                "I14",
                "the event at {missed:?} should have canceled the step {step} of {workflow}, and {} at {at}",
                record.kind
            );
        }
        if let (Some(end), Some((workflow, step))) = (end, parts.get(id)) {
            let told = workflows.entry(workflow).or_default();
            told.steps.insert(step, end);
            let by = told.cancelling.get(step).copied();
            let said = record.said.get("by").and_then(serde_json::Value::as_str);
            // A cancel or a timeout of the step may be first.
            let is_right = by == said || (end == Step::Not && told.is_cancelled);
            demand!(is_right, "I14", "the step {step} of {workflow} ends at {at} as {}, but the event {by:?} canceled it", record.kind);
            sometimes!(by.is_some(), "an event canceled a step");
        }
        let Some(told) = workflows.get_mut(id) else { continue };
        match record.kind.as_str() {
            "execution.cancel_requested" => told.is_cancelled = true,
            "step.expanded" => {
                let count = record.number("count");
                demand!(count == ITEMS, "I14", "the step {} of {id} has {count} items at {at}, and not {ITEMS}", record.text("step"));
                told.steps.insert(record.text("step"), Step::Open);
            }
            "wait.opened" if record.said.get("purpose").is_some() && !told.come.contains(record.text("step")) => {
                told.watching.insert(record.text("step"));
            }
            "wait.matched" if record.said.get("purpose").is_none() => {
                told.come.insert(record.text("step"));
                // The event that it waits for may be the one after that which cancels it, if that is still owed.
                let missed = told.stop_watching(record.text("step")).filter(|event| !owed.contains(event));
                demand!(missed.is_none(), "I14", "the event at {missed:?} should have canceled {} of {id}", record.text("step"));
                sometimes!("a step got the event that it waited for");
            }
            "step.ended" => {
                let (step, is_good) = (record.text("step"), record.said.get("error").is_none());
                if let Some((ended, failed)) = told.items.get(step) {
                    demand!(
                        is_good == (*failed <= FAIL_AT) || told.is_cancelled,
                        "I14",
                        "the step {step} ends at {at} as {}, but {failed} of {ended} items failed",
                        record.said
                    );
                    sometimes!(is_good && *failed > 0, "a step succeeded although an item failed");
                    sometimes!(!is_good, "a step failed because of its items");
                } else {
                    sometimes!(is_good, "an assertion was true");
                }
                told.steps.insert(step, if is_good { Step::Succeeded } else { Step::Not });
            }
            "step.chosen" => {
                let names = record.said.get("cancelled").and_then(serde_json::Value::as_array).into_iter().flatten();
                told.dropped.extend(names.filter_map(serde_json::Value::as_str));
                sometimes!("enough of several steps succeeded");
            }
            "step.failed" => drop(told.steps.insert(record.text("step"), Step::Not)),
            "wait.matched" if record.said.get("purpose").is_some() => {
                let step = record.text("step");
                told.stop_watching(step);
                let is_new = told.cancelling.insert(step, record.text("event")).is_none();
                demand!(is_new, "I14", "a second event cancels the step {step} of {id} at {at}");
                let is_open = !told.steps.get(step).is_some_and(|step| *step != Step::Open);
                demand!(is_open, "I14", "an event cancels the step {step} of {id} at {at}, which has ended");
            }
            "step.skipped" => {
                let (step, because) = (record.text("step"), record.text("because"));
                let counts = told.skipped_outcome(step, because);
                let is_by_event = told.cancelling.contains_key(step);
                demand!(because != "event" || is_by_event, "I14", "the step {step} of {id} is skipped at {at}, but no event canceled it");
                told.stop_watching(step);
                told.steps.insert(step, counts);
            }
            "step.taken_over" => drop(told.steps.insert(record.text("step"), Step::Succeeded)),
            _ => {}
        }
        let Some(end) = end else { continue };
        told.is_over = true;
        // A workflow that is skipped because of a lock has no steps.
        if told.steps.is_empty() && end == Step::Not {
            continue;
        }
        demand!(
            told.steps.len() == steps_of(told.action).len(),
            "I14",
            "{id} ends at {at}, but {} of its steps have ended",
            told.steps.len()
        );
        demand!(!told.steps.values().any(|step| *step == Step::Open), "I14", "{id} ends at {at} although a step of it is open");
        let mut counted = told.steps.iter().filter(|(name, _)| !told.dropped.contains(**name));
        let is_whole = counted.all(|(_, step)| matches!(step, Step::Succeeded | Step::Passed));
        // A cancel may still take effect after all steps have succeeded.
        let is_right = (end == Step::Succeeded) == is_whole || (is_whole && told.is_cancelled);
        demand!(is_right, "I14", "{id} ends at {at} as {}, but its steps are {:?}", record.kind, told.steps);
        sometimes!(end == Step::Succeeded, "a workflow succeeded");
        sometimes!(end == Step::Not && !told.is_cancelled, "a workflow failed with a step");
        sometimes!(told.is_cancelled, "a workflow was cancelled");
    }
    Ok(())
}
