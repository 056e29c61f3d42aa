//! I14: each step of a workflow begins once, after the steps that it needs have succeeded, and the workflow's
//! end follows from theirs.

use std::collections::BTreeMap;

use crate::oracle::records::Raw;
use crate::oracle::{Violation, demand};
use crate::pack::steps_of;
use crate::sometimes;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open,
    Succeeded,
    /// It failed or was not started: steps that need it do not start.
    Not,
}

/// A workflow according to its records.
#[derive(Default)]
struct Told<'r> {
    action: &'r str,
    steps: BTreeMap<&'r str, Step>,
    is_cancelled: bool,
    is_over: bool,
}

pub(super) fn check(records: &[Raw]) -> Result<(), Violation> {
    let mut workflows: BTreeMap<&str, Told<'_>> = BTreeMap::new();
    // The workflow and step of each execution.
    let mut parts: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for record in records.iter().filter(|record| record.stream.starts_with("execution/")) {
        let (at, id) = (record.position, record.stream.strip_prefix("execution/").unwrap_or_default());
        if record.kind == "execution.requested" {
            if record.said.get("pace").is_some_and(|pace| pace == "in_steps") {
                workflows.insert(id, Told { action: record.text("action"), ..Told::default() });
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
            for need in *needs {
                let end = told.steps.get(need);
                demand!(end == Some(&Step::Succeeded), "I14", "the step {step} begins at {at}, but {need}, which it needs, is {end:?}");
            }
            demand!(told.steps.insert(step, Step::Open).is_none(), "I14", "the step {step} of {workflow} begins at {at} again");
            parts.insert(id, (workflow, step));
            continue;
        }
        let end = match record.kind.as_str() {
            "execution.succeeded" => Some(Step::Succeeded),
            "execution.failed" | "execution.timed_out" | "execution.cancelled" => Some(Step::Not),
            _ => None,
        };
        if let (Some(end), Some((workflow, step))) = (end, parts.get(id)) {
            workflows.entry(workflow).or_default().steps.insert(step, end);
        }
        let Some(told) = workflows.get_mut(id) else { continue };
        match record.kind.as_str() {
            "execution.cancel_requested" => told.is_cancelled = true,
            "step.failed" => drop(told.steps.insert(record.text("step"), Step::Not)),
            "step.skipped" => drop(told.steps.insert(record.text("step"), Step::Not)),
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
        let is_whole = told.steps.values().all(|step| *step == Step::Succeeded);
        // A cancel may still take effect after all steps have succeeded.
        let is_right = (end == Step::Succeeded) == is_whole || (is_whole && told.is_cancelled);
        demand!(is_right, "I14", "{id} ends at {at} as {}, but its steps are {:?}", record.kind, told.steps);
        sometimes!(end == Step::Succeeded, "a workflow succeeded");
        sometimes!(end == Step::Not && !told.is_cancelled, "a workflow failed with a step");
        sometimes!(told.is_cancelled, "a workflow was cancelled");
    }
    Ok(())
}
