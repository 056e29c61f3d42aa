//! `ensue executions watch`: what becomes of an execution as it happens, until it has ended.

use std::ops::ControlFlow;

use serde_json::Value;

use super::Asking;
use super::executions::{self, failure, path};
use crate::client::Client;
use crate::live;
use crate::report::Outcome;
use crate::table::{excerpt, text, time};

/// Prints each change of an execution, until it has ended. Where the node goes away, it goes on as soon as one answers.
pub(super) async fn watch(asking: &Asking, client: &Client, id: &str) -> Outcome {
    let mut status = String::new();
    live::follow_on(client, &path(id, "/stream"), &[], |told| {
        if told.name == live::END {
            return match told.data["reason"].as_str() {
                Some("ended") => {
                    status = text(&told.data, "status");
                    ControlFlow::Break(())
                }
                // The node ends the stream, not the execution.
                Some(_) | None => ControlFlow::Continue(()),
            };
        }
        asking.output.print_next(&told.data, line);
        ControlFlow::Continue(())
    })
    .await?;
    executions::ended_well(id, &status, "")
}

/// A record of an execution in a line: when, what became of it, and what there is to know about that.
fn line(record: &Value) -> String {
    let fact = &record["fact"];
    let (what, more) = match text(record, "kind").as_str() {
        "execution.requested" => ("queued".to_owned(), text(fact, "action")),
        "attempt.started" => ("running".to_owned(), format!("attempt {} on {}", text(fact, "number"), text(fact, "worker"))),
        "attempt.progressed" => {
            ("progress".to_owned(), fact["thousandths"].as_f64().map(|done| format!("{:.1} %", done / 10.0)).unwrap_or_default())
        }
        "artifact.kept" => ("artifact".to_owned(), text(fact, "name")),
        "execution.cancel_requested" => ("cancelling".to_owned(), format!("by {}", text(record, "actor"))),
        "execution.became_indeterminate" => ("indeterminate".to_owned(), "nobody can know what became of it: settle it".to_owned()),
        kind => (kind.strip_prefix("execution.").unwrap_or(kind).replace('.', " "), failure(&fact["error"])),
    };
    format!("{}  {what:<17} {}", time(record, "time"), excerpt(&more)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(kind: &str, fact: &Value) -> String {
        line(&json!({ "time": "2026-03-28T09:00:00.250000Z", "kind": kind, "actor": "token/ana", "fact": fact }))
    }

    #[test]
    fn each_change_is_one_line() {
        let failed = json!({ "attempt": "x", "error": { "kind": "exit", "message": "it ended with 3", "detail": 3 } });
        let lines = [
            told("execution.requested", &json!({ "action": "core.noop" })),
            told("attempt.started", &json!({ "number": 1, "worker": "local" })),
            told("attempt.progressed", &json!({ "thousandths": 125 })),
            told("attempt.failed", &failed),
            told("execution.failed", &failed),
            told("execution.succeeded", &json!({})),
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
