//! `ensue status`: reports what answers at the address, and its state.

use clap::Args;
use serde_json::Value;

use super::{Asking, Watching};
use crate::redraw::{self, RefreshOn};
use crate::report::{CommandResult, Exit, Failure};
use crate::table::{bytes, pairs, text};

/// Show the state of the node. Without a token, show whether it is ready.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue status
  ensue status --watch
  ensue status --ready       for health checks: exit code 0 or 7
  ensue status --profile production -o json")]
pub(crate) struct StatusArgs {
    /// Only check whether the node can serve requests: exit code 0 or 7. Needs no token.
    #[arg(long, conflicts_with = "watch")]
    ready: bool,
    #[command(flatten)]
    watching: Watching,
}

impl StatusArgs {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        if self.ready {
            let answer = client.get_public("/readyz").await?;
            let said = if answer.status.is_success() { "ready" } else { "not ready" };
            asking.output.print_one(&answer.body, |_| said.to_owned());
            return if answer.status.is_success() {
                Ok(())
            } else {
                Err(Failure::with(Exit::TryLater, format!("{} is not ready", client.server())).hint("see the problems with `ensue doctor`"))
            };
        }
        if self.watching.watch {
            let look = async || client.get("/status", &[]).await;
            return redraw::as_it_changes(&client, asking.output, RefreshOn::ByAll, look, render).await;
        }
        let status = client.get("/status", &[]).await?;
        asking.output.print_one(&status, render);
        Ok(())
    }
}

/// Returns how long executions stay in the views, and how many have left them.
fn retention(status: &Value) -> String {
    let kept = match status["retention"]["executions"].as_str() {
        Some(age) => format!("executions for {age}"),
        None => "executions forever".to_owned(),
    };
    format!("{kept}; {} have left the views", text(status, "retention.executions_removed"))
}

/// Returns the number of things that wait for people; empty if a node of an earlier release does not count
/// them.
fn waiting(status: &Value, name: &str) -> String {
    let attention = &status["attention"];
    let more = if attention[name].is_u64() && attention[name] == attention["counted_max"] { " or more" } else { "" };
    format!("{}{more}", text(attention, name))
}

fn render(status: &Value) -> String {
    let size = |name: &str| status[name].as_u64().map(bytes).unwrap_or_default();
    let kept = |name: &str| {
        let size = |of: &str| status[name][of].as_u64().map(bytes).unwrap_or_default();
        format!("{} of {}", size("bytes"), size("quota_bytes"))
    };
    pairs(&[
        ("release", text(status, "release")),
        ("started", text(status, "started_at")),
        ("log", text(status, "log")),
        ("position", text(status, "position")),
        ("views at", text(status, "views_position")),
        ("catalog", text(status, "catalog")),
        ("events", text(status, "totals.events")),
        ("executions", format!("{} open of {}", text(status, "totals.executions_open"), text(status, "totals.executions_requested"))),
        ("failed within 1 h", waiting(status, "failed_last_hour")),
        ("dead letters open", waiting(status, "dead_letters_open")),
        ("indeterminate", waiting(status, "indeterminate")),
        ("inquiries overdue", waiting(status, "inquiries_overdue")),
        ("workers", format!("{} of {} busy", text(status, "workers_busy"), text(status, "workers"))),
        ("parked reactions", text(status, "parked_reactions")),
        ("disk free", size("disk_free_bytes")),
        ("memory", format!("{} of {}", size("memory_bytes"), size("memory_max_bytes"))),
        ("outputs", kept("outputs")),
        ("artifacts", kept("artifacts")),
        ("retention", retention(status)),
    ])
}
