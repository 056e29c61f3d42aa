//! `ensue run --wait` of a workflow: reports its steps as they begin and end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::one_execution::{has_ended, path};
use crate::client::Client;
use crate::questions;
use crate::report::{Exit, Failure, eprint_line, printable};
use crate::steps::{self, Flow, StepPart};
use crate::table::{excerpt, text, time};
use crate::wording::failure;

/// The pause before the second poll. Each pause is twice as long as the one before, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The minimum pause, as a multiple of the duration of the poll before it: a workflow with thousands of steps
/// is polled less often.
const PAUSE_LOOKS: u32 = 10;
/// How long an overloaded node is left alone.
const PAUSE_BUSY: Duration = Duration::from_secs(5);

/// Waits for a workflow's end, and reports its steps on standard error. Returns the workflow as it ended.
pub(super) async fn follow(client: &Client, id: &str) -> Result<Value, Failure> {
    let mut told = ReportedSteps::default();
    let mut pause = PAUSE_FIRST;
    loop {
        let began = Instant::now();
        match look(client, id).await {
            Ok(flow) => {
                told.changes(&flow).iter().for_each(|line| eprint_line(printable(line)));
                if has_ended(&flow.execution) {
                    return Ok(flow.execution);
                }
            }
            Err(failure) if failure.exit() == Exit::TryLater => tokio::time::sleep(PAUSE_BUSY).await,
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(pause.max(began.elapsed() * PAUSE_LOOKS)).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// The workflow is read before its steps: if it has ended, they have too.
async fn look(client: &Client, id: &str) -> Result<Flow, Failure> {
    steps::read(client, client.get(&path(id, ""), &[]).await?).await
}

/// A change, as it is printed.
struct StepChange {
    at: Moment,
    line: String,
}

/// The time of a change, and the order of changes at the same time: the end of one step starts others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    time: String,
    phase: ChangePhase,
    depth: i64,
}

/// The kinds of changes, in causal order within one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ChangePhase {
    /// A step ended that had begun earlier, or that never had an execution.
    Ends,
    /// A step began.
    Begins,
    /// A step ended at the same time as it began.
    EndsAtOnce,
}

/// What has been reported of each step, by its path from the outermost workflow.
#[derive(Default)]
struct ReportedSteps {
    steps: BTreeMap<String, String>,
}

impl ReportedSteps {
    /// Returns a line for each change that has not been reported, in order.
    fn changes(&mut self, flow: &Flow) -> Vec<String> {
        let mut changes = Vec::new();
        self.push_below(flow, "", 0, &mut changes);
        changes.sort_by(|one, other| one.at.cmp(&other.at));
        changes.into_iter().map(|change| change.line).collect()
    }

    fn push_below(&mut self, flow: &Flow, above: &str, depth: u32, changes: &mut Vec<StepChange>) {
        for part in flow.steps.iter().flat_map(|step| &step.parts) {
            let name = format!("{above}{}", part.name());
            let status = part.status();
            let before = self.steps.insert(name.clone(), status.clone());
            if let StepPart::Begun(step) = part
                && before.is_none()
            {
                let what = format!("{name}: {}", text(&step.execution, "action"));
                let at = Moment { time: part.began_at(), phase: ChangePhase::Begins, depth: i64::from(depth) };
                changes.push(StepChange { at, line: line(&step.execution, "requested_at", "started", &what) });
            }
            if before.as_ref() != Some(&status) {
                let told = standing(part, &flow.execution, &name, &status).map(|(time, line)| {
                    let phase = if matches!(part, StepPart::Begun(_)) && time == part.began_at() {
                        ChangePhase::EndsAtOnce
                    } else {
                        ChangePhase::Ends
                    };
                    // An inner step ends before the outer one.
                    StepChange { at: Moment { time, phase, depth: -i64::from(depth) }, line }
                });
                changes.extend(told);
            }
            if let StepPart::Begun(step) = part {
                self.push_below(step, &format!("{name}/"), depth + 1, changes);
            }
        }
    }
}

/// Returns the status of a step with its time; `None` if the step is progressing normally.
fn standing(part: &StepPart, workflow: &Value, name: &str, status: &str) -> Option<(String, String)> {
    match part {
        StepPart::NotStarted(told) => {
            Some((text(told, "at"), line(told, "at", status, &format!("{name}: {}", steps::because(told, workflow)))))
        }
        StepPart::Begun(step) if status == "indeterminate" => {
            let what = format!("{name}: it waits for a person to settle it: ensue executions settle {}", text(&step.execution, "id"));
            // Nobody noted a time of it for the views; it is the last that is known of the step.
            Some((text(&step.execution, "started_at"), line(&step.execution, "started_at", status, &what)))
        }
        StepPart::Begun(step) if !questions::command(&step.execution).is_empty() => {
            let (waits_for, command) = (questions::waits_for(&step.execution), questions::command(&step.execution));
            let at = text(&step.execution, "requested_at");
            Some((at, line(&step.execution, "requested_at", status, &format!("{name}: for {waits_for}: {command}"))))
        }
        StepPart::Begun(step) => {
            let ended_at = text(&step.execution, "ended_at");
            let why = excerpt(&failure(&step.execution["error"]));
            let what = if why.is_empty() { name.to_owned() } else { format!("{name}: {why}") };
            (!ended_at.is_empty()).then(|| (ended_at, line(&step.execution, "ended_at", status, &what)))
        }
    }
}

fn line(told: &Value, at: &str, what: &str, more: &str) -> String {
    format!("{}  {what:<17} {more}", time(told, at))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::steps::in_steps;

    fn execution(step: &str, status: &str, requested: u32, ended: Option<u32>) -> Value {
        let at = |second: u32| format!("2026-03-28T09:00:{second:02}.000000Z");
        json!({
            "id": "019c1f3a-0000-7000-8000-000000000001", "step": step, "item": null, "action": "core.shell", "status": status, "error": null,
            "requested_at": at(requested), "started_at": at(requested), "ended_at": ended.map(at),
        })
    }

    fn flow(execution: Value, parts: Vec<StepPart>) -> Flow {
        Flow { execution, steps: in_steps(parts), is_cut: false }
    }

    fn does(execution: Value) -> StepPart {
        StepPart::Begun(flow(execution, Vec::new()))
    }

    #[test]
    fn each_step_is_reported_when_it_begins_and_when_it_ends() {
        let mut told = ReportedSteps::default();
        let whole = || execution("", "waiting", 0, None);
        let mut lines = told.changes(&flow(whole(), vec![does(execution("build", "queued", 0, None))]));
        assert_eq!(told.changes(&flow(whole(), vec![does(execution("build", "running", 0, None))])), [""; 0]);
        let skipped = json!({ "step": "never", "item": null, "at": "2026-03-28T09:00:02.000001Z", "skipped": "condition", "error": null });
        let mut item = execution("deploy", "failed", 2, Some(4));
        item["item"] = json!(1);
        item["error"] = json!({ "kind": "exit_code", "message": "it ended with 3", "detail": 3 });
        let inside = |status: &str| {
            let deep = does(execution("deep", "indeterminate", 3, None));
            StepPart::Begun(flow(execution("inside", status, 2, None), vec![deep]))
        };
        let build = || does(execution("build", "succeeded", 0, Some(2)));
        lines.extend(told.changes(&flow(whole(), vec![build(), StepPart::NotStarted(skipped), does(item), inside("waiting")])));
        assert_eq!(told.changes(&flow(whole(), vec![build(), inside("waiting")])), [""; 0]);
        insta::assert_snapshot!(lines.join("\n"), @"
        2026-03-28 09:00:00Z  started           build: core.shell
        2026-03-28 09:00:02Z  succeeded         build
        2026-03-28 09:00:02Z  started           deploy[1]: core.shell
        2026-03-28 09:00:02Z  started           inside: core.shell
        2026-03-28 09:00:02Z  skipped           never: its condition does not hold
        2026-03-28 09:00:03Z  started           inside/deep: core.shell
        2026-03-28 09:00:03Z  indeterminate     inside/deep: it waits for a person to settle it: ensue executions settle 019c1f3a-0000-7000-8000-000000000001
        2026-03-28 09:00:04Z  failed            deploy[1]: exit_code 3: it ended with 3
        ");
    }

    #[test]
    fn steps_of_the_same_moment_are_reported_in_causal_order() {
        let mut told = ReportedSteps::default();
        let finally = does(execution("finally", "succeeded", 1, Some(5)));
        let inner = StepPart::Begun(flow(execution("inner", "succeeded", 1, Some(5)), vec![finally]));
        told.changes(&flow(execution("", "waiting", 0, None), vec![StepPart::Begun(flow(execution("inner", "waiting", 1, None), vec![]))]));
        let check = json!({ "step": "check", "item": null, "at": "2026-03-28T09:00:05.000000Z", "skipped": null,
            "error": { "kind": "fail", "message": "it is too late" } });
        let rollback = does(execution("rollback", "running", 5, None));
        let lines = told.changes(&flow(execution("", "waiting", 0, None), vec![rollback, inner, StepPart::NotStarted(check)]));
        insta::assert_snapshot!(lines.join("\n"), @r"
        2026-03-28 09:00:01Z  started           inner/finally: core.shell
        2026-03-28 09:00:05Z  succeeded         inner/finally
        2026-03-28 09:00:05Z  succeeded         inner
        2026-03-28 09:00:05Z  failed            check: fail: it is too late
        2026-03-28 09:00:05Z  started           rollback: core.shell
        ");
    }
}
