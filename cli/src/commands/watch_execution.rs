//! `ensue executions watch`: reports the changes of an execution as they happen, until it has ended.

use std::ops::ControlFlow;

use serde_json::Value;

use super::Asking;
use super::one_execution::{ExecutionShape, ended_well, path};
use crate::client::Client;
use crate::report::CommandResult;
use crate::table::{excerpt, text, time};
use crate::wording::{failure, step_name};
use crate::{sse, steps};

/// Prints each change of an execution, until it has ended. If the node goes away, it continues as soon as one
/// answers.
pub(super) async fn watch(asking: &Asking, client: &Client, id: &str) -> CommandResult {
    let (mut status, mut made) = (String::new(), ExecutionShape::Whole);
    sse::follow_on(client, &path(id, "/stream"), &[], |told| {
        if told.name == sse::END {
            return match told.data["reason"].as_str() {
                Some("ended") => {
                    status = text(&told.data, "status");
                    ControlFlow::Break(())
                }
                // The node ends the stream, not the execution.
                Some(_) | None => ControlFlow::Continue(()),
            };
        }
        if told.data["fact"]["pace"] == "in_steps" {
            made = ExecutionShape::OfSteps;
        }
        asking.output.print_next(&told.data, line);
        ControlFlow::Continue(())
    })
    .await?;
    if status.is_empty() {
        // The message about the end was lost with its connection.
        status = text(&client.get(&path(id, ""), &[]).await?, "status");
    }
    ended_well(id, made, &status, "")
}

/// Returns a record of an execution on one line: its time, the change, and the details.
fn line(record: &Value) -> String {
    let fact = &record["fact"];
    let (what, more) = match text(record, "kind").as_str() {
        "execution.requested" if fact["pace"] == "in_steps" => ("waiting".to_owned(), text(fact, "action")),
        "execution.requested" => ("queued".to_owned(), text(fact, "action")),
        "attempt.started" => ("running".to_owned(), format!("attempt {} on {}", text(fact, "number"), text(fact, "worker"))),
        "attempt.progressed" => {
            ("progress".to_owned(), fact["thousandths"].as_f64().map(|done| format!("{:.1} %", done / 10.0)).unwrap_or_default())
        }
        "artifact.kept" => ("artifact".to_owned(), text(fact, "name")),
        "execution.paused" => ("paused".to_owned(), format!("by {}", text(record, "actor"))),
        "execution.resumed" => ("resumed".to_owned(), format!("by {}", text(record, "actor"))),
        "execution.cancel_requested" => ("cancelling".to_owned(), format!("by {}", text(record, "actor"))),
        "execution.became_indeterminate" => ("indeterminate".to_owned(), "it is unknown whether it took effect: settle it".to_owned()),
        "step.skipped" => ("step skipped".to_owned(), format!("{}: {}", text(fact, "step"), steps::why_skipped(&text(fact, "because")))),
        "rerun.planned" => ("rerun".to_owned(), format!("of {}", text(fact, "of"))),
        "step.taken_over" => {
            let from = &fact["taken"]["execution"];
            let from = from.as_str().map_or(String::new(), |from| format!(" from {from}"));
            ("step taken over".to_owned(), format!("{}{from}", step_name(fact)))
        }
        "step.expanded" => ("step begun".to_owned(), format!("{} for each of {} items", text(fact, "step"), text(fact, "count"))),
        "step.ended" if fact["error"].is_null() => ("step succeeded".to_owned(), text(fact, "step")),
        "step.failed" | "step.ended" => ("step failed".to_owned(), format!("{}: {}", step_name(fact), failure(&fact["error"]))),
        "wait.opened" => ("events count".to_owned(), format!("for {}: {}", text(fact, "step"), text(fact, "trigger"))),
        "wait.matched" => ("event has come".to_owned(), format!("for {}: {}", text(fact, "step"), text(fact, "event"))),
        "wait.erred" => ("event unclear".to_owned(), format!("for {}: {}", text(fact, "step"), text(fact, "message"))),
        "undo.begun" => ("undoing".to_owned(), format!("{} steps and items that succeeded, the newest first", text(fact, "count"))),
        "undo.failed" => ("undo failed".to_owned(), format!("{}: {}", step_name(fact), failure(&fact["error"]))),
        kind => (kind.strip_prefix("execution.").unwrap_or(kind).replace('.', " "), failure(&fact["error"])),
    };
    format!("{}  {what:<17} {}", time(record, "time"), excerpt(&more)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fact_line(kind: &str, fact: &Value) -> String {
        line(&json!({ "time": "2026-03-28T09:00:00.250000Z", "kind": kind, "actor": "token/ana", "fact": fact }))
    }

    #[test]
    fn outcome_of_a_workflow_names_its_steps() {
        let error = json!({ "kind": "child_failed", "message": "1 of 3 items failed; the first was item 1: it ended with 3" });
        let lines = [
            fact_line("execution.requested", &json!({ "action": "release.ship", "pace": "in_steps" })),
            fact_line("step.expanded", &json!({ "step": "deploy", "count": 3 })),
            fact_line(
                "step.failed",
                &json!({ "step": "deploy", "item": 2, "error": { "kind": "expression", "message": "there is no `x`" } }),
            ),
            fact_line("step.ended", &json!({ "step": "deploy", "error": error })),
            fact_line("step.skipped", &json!({ "step": "announce", "because": "failing" })),
            fact_line("step.ended", &json!({ "step": "clean_up" })),
            fact_line("wait.opened", &json!({ "step": "ci", "trigger": "github.workflow_run" })),
            fact_line("wait.matched", &json!({ "step": "ci", "event": "019c1f3a-0000-7000-8000-000000000001" })),
            fact_line("undo.begun", &json!({ "count": 2 })),
            fact_line("undo.failed", &json!({ "step": "deploy", "item": 1, "error": error })),
            fact_line(
                "execution.failed",
                &json!({ "error": { "kind": "child_failed", "message": "step `deploy` failed" }, "part_of": null }),
            ),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        2026-03-28 09:00:00Z  waiting           release.ship
        2026-03-28 09:00:00Z  step begun        deploy for each of 3 items
        2026-03-28 09:00:00Z  step failed       deploy[2]: expression: there is no `x`
        2026-03-28 09:00:00Z  step failed       deploy: child_failed: 1 of 3 items failed; the first was item 1: it ended with 3
        2026-03-28 09:00:00Z  step skipped      announce: the workflow is failing
        2026-03-28 09:00:00Z  step succeeded    clean_up
        2026-03-28 09:00:00Z  events count      for ci: github.workflow_run
        2026-03-28 09:00:00Z  event has come    for ci: 019c1f3a-0000-7000-8000-000000000001
        2026-03-28 09:00:00Z  undoing           2 steps and items that succeeded, the newest first
        2026-03-28 09:00:00Z  undo failed       deploy[1]: child_failed: 1 of 3 items failed; the first was item 1: it ended with 3
        2026-03-28 09:00:00Z  failed            child_failed: step `deploy` failed
        ");
    }

    #[test]
    fn each_change_is_printed_on_one_line() {
        let failed = json!({ "attempt": "x", "error": { "kind": "exit", "message": "it ended with 3", "detail": 3 } });
        let lines = [
            fact_line("execution.requested", &json!({ "action": "core.noop" })),
            fact_line("attempt.started", &json!({ "number": 1, "worker": "local" })),
            fact_line("attempt.progressed", &json!({ "thousandths": 125 })),
            fact_line("attempt.failed", &failed),
            fact_line("execution.failed", &failed),
            fact_line("execution.succeeded", &json!({})),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        2026-03-28 09:00:00Z  queued            core.noop
        2026-03-28 09:00:00Z  running           attempt 1 on local
        2026-03-28 09:00:00Z  progress          12.5 %
        2026-03-28 09:00:00Z  attempt failed    exit 3: it ended with 3
        2026-03-28 09:00:00Z  failed            exit 3: it ended with 3
        2026-03-28 09:00:00Z  succeeded
        ");
    }
}
