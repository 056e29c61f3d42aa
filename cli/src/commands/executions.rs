//! `ensue executions`: lists the runs of actions, shows their output, and ends or settles them.

mod bulk_change;
mod filters;
mod groups;
mod logs;
mod rerun;

use std::path::PathBuf;

use bulk_change::{Trying, Which};
use clap::{Args, Subcommand, ValueEnum};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::names::Names;
use ensue_engine::time::Timestamp;
use filters::ExecutionFilters;
use groups::GroupKey;
use logs::Logs;
use rerun::Rerun;
use serde_json::{Value, json};

use super::one_execution::path;
use super::{AsOf, Asking, List, PageArgs, Sorting, Watching, print_next_cursor, print_page, read_json, watch_execution};
use crate::client::Client;
use crate::nearest;
use crate::recording::Recording;
use crate::redraw::RefreshOn;
use crate::report::{CommandResult, printable, say};
use crate::table::{Column, cell, pairs, text, time};
use crate::wording::{self, failure, step_name};
use crate::{ids, pages, questions, steps, svg, tree};

/// List, show, follow, pause, cancel, rerun and settle executions.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue executions list --status failed
  ensue executions list --since 1h --by error
  ensue executions list --watch
  ensue executions list --label site=eu --label team=web
  ensue executions show 019c… --tree      a workflow with its steps
  ensue executions show 019c… --as-of 2h  as it was two hours ago
  ensue executions show 019c… --svg > timeline.svg
  ensue executions list --parent 019c…    the steps of a workflow
  ensue executions logs 019c… --follow
  ensue executions watch 019c…
  ensue executions artifacts 019c… --save ./files
  ensue executions rerun 019c… --from failed --wait
  ensue executions cancel --action release.ship --status running --dry-run
  ensue executions pause --label site=eu
  ensue executions settle 019c… succeeded
  ensue executions record 019c… > packs/release/tests/ship.test.yaml")]
pub(crate) enum Executions {
    /// List executions, newest first.
    #[command(after_help = "\
Examples:
  ensue executions list --status failed
  ensue executions list --since 1h --by error
  ensue executions list --label site=eu --label team=web
  ensue executions list --parent 019c…     the steps of a workflow
  ensue executions list --watch")]
    List(ExecutionListArgs),
    /// Show an execution with its parameters, result and attempts.
    #[command(after_help = "\
Examples:
  ensue executions show 019c…
  ensue executions show 019c… --tree      a workflow with its steps
  ensue executions show 019c… --svg > timeline.svg")]
    Show {
        /// The execution.
        id: String,
        /// For a workflow, print the steps as a tree: how each step ended, how long it took, and why it
        /// failed or did not start.
        #[arg(long, conflicts_with_all = ["svg", "as_of"])]
        tree: bool,
        /// Print an SVG diagram of when the execution and its steps waited and ran.
        #[arg(long, conflicts_with = "as_of")]
        svg: bool,
        #[command(flatten)]
        as_of: AsOf,
    },
    /// List all steps of a workflow with the state of each, also those that are still to come.
    #[command(after_help = "\
Examples:
  ensue executions graph 019c…
  ensue executions graph 019c… -o json")]
    Graph {
        /// The execution.
        id: String,
    },
    /// Follow an execution until it ends. Exits with code 1 if the execution does not succeed.
    #[command(after_help = "\
Examples:
  ensue executions watch 019c…
  ensue executions watch 019c… && echo shipped")]
    Watch {
        /// The execution.
        id: String,
    },
    /// Print the output of an execution, or of each step of a workflow.
    #[command(after_help = "\
Examples:
  ensue executions logs 019c…
  ensue executions logs 019c… --follow
  ensue executions logs 019c… --stream stderr")]
    Logs(Logs),
    /// List the artifacts of an execution, or save them.
    #[command(after_help = "\
Examples:
  ensue executions artifacts 019c…
  ensue executions artifacts 019c… --save ./files")]
    Artifacts(Artifacts),
    /// Cancel an execution. Canceling a workflow ends its running steps; only steps with `if:
    /// always()` still start. A second cancel ends these as well.
    #[command(after_help = "\
Examples:
  ensue executions cancel 019c…
  ensue executions cancel --action release.ship --status running --dry-run")]
    Cancel {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        trying: Trying,
    },
    /// Pause an execution and its steps until it is resumed. Running attempts finish. Answers and
    /// events that arrive meanwhile are kept.
    #[command(after_help = "\
Examples:
  ensue executions pause 019c…
  ensue executions pause --label site=eu --dry-run")]
    Pause {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        trying: Trying,
    },
    /// Resume a paused execution. Timers that expired meanwhile fire immediately.
    #[command(after_help = "\
Examples:
  ensue executions resume 019c…
  ensue executions resume --status paused --label site=eu")]
    Resume {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        trying: Trying,
    },
    /// Rerun an ended execution as a new execution with the installed packs, from the beginning or
    /// from the failed steps.
    Rerun(Rerun),
    /// Record the outcome of an indeterminate execution.
    #[command(after_help = "\
Examples:
  ensue executions settle 019c… succeeded
  ensue executions settle 019c… succeeded --result result.json
  ensue executions settle 019c… failed --error 'the transfer was rejected'
  ensue executions settle 019c… retry")]
    Settle(Settle),
    /// Print an ended execution as a test case for `ensue pack test`, with its steps as mocks.
    /// Check the case for secrets before you keep it.
    #[command(after_help = "\
Examples:
  ensue executions record 019c…
  ensue executions record 019c… > packs/release/tests/ship.test.yaml")]
    Record {
        /// The execution.
        id: String,
    },
}

/// The possible statuses of an execution.
const STATUSES: [&str; 12] = [
    "delayed",
    "queued",
    "paused",
    "waiting",
    "running",
    "cancelling",
    "undoing",
    "indeterminate",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
];

/// Which executions are listed.
#[derive(Debug, Args)]
pub(crate) struct ExecutionListArgs {
    /// Only executions that wait for this. Not with --by.
    #[arg(long, value_name = "KIND", value_parser = WAITS_FOR, conflicts_with = "by")]
    waits_for: Option<String>,
    #[command(flatten)]
    filters: ExecutionFilters,
    /// Only reruns of this execution.
    #[arg(long, value_name = "ID")]
    rerun_of: Option<String>,
    /// Group the executions by error or by action, and count them. At most the newest 5,000 of each
    /// status are counted.
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["watch", "cursor", "limit", "sort"])]
    by: Option<GroupKey>,
    #[command(flatten)]
    sorting: Sorting,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watching: Watching,
}

/// Which files are listed or saved.
#[derive(Debug, Args)]
pub(crate) struct Artifacts {
    /// The execution.
    pub(super) id: String,
    /// Save the listed files into this folder. Existing files are not overwritten.
    #[arg(long, value_name = "DIR")]
    pub(super) save: Option<PathBuf>,
    #[command(flatten)]
    pub(super) page: PageArgs,
}

/// What became of an indeterminate execution.
#[derive(Debug, Args)]
pub(crate) struct Settle {
    /// The execution.
    id: String,
    /// The outcome.
    #[arg(value_enum)]
    outcome: SettledAs,
    /// The JSON file with the result, for `succeeded`. `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    /// Why the action failed.
    #[arg(long, value_name = "TEXT", required_if_eq("outcome", "failed"))]
    error: Option<String>,
}

/// What a person says became of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Names)]
pub(crate) enum SettledAs {
    /// The action took effect.
    Succeeded,
    /// The action did not take effect, and is not retried.
    Failed,
    /// The action did not take effect, and is retried.
    Retry,
}

/// The possible kinds of failure of an execution.
fn error_kinds() -> [&'static str; FailureKind::ALL.len()] {
    FailureKind::ALL.map(FailureKind::as_str)
}

/// What an execution can wait for.
const WAITS_FOR: [&str; 9] = ["worker", "lock", "time", "retry", "answer", "event", "steps", "resume", "settling"];

/// The kinds of things that a chain may begin with.
const CHAIN: &[ids::Kind] = &[ids::EVENT, ids::EXECUTION];

/// The most requests for assembling a page of executions with one kind of error.
const PICKED_REQUESTS_MAX: usize = 20;

const COLUMNS: &[Column] = &[
    Column::id("ID", |execution| cell(execution, "id")),
    Column::cut("ACTION", |execution| cell(execution, "action")),
    Column::whole("STATUS", |execution| cell(execution, "status")),
    Column::whole("REQUESTED", |execution| time(execution, "requested_at")),
    Column::roomy("TOOK", |execution| dash(took(execution))),
    Column::roomy("RULE", |execution| cell(execution, "rule")),
    Column::cut("ERROR", |execution| dash(error_line(&execution["error"]))),
];

/// For delayed executions, the start time matters most.
const DELAYED_COLUMNS: &[Column] = &[
    Column::id("ID", |execution| cell(execution, "id")),
    Column::cut("ACTION", |execution| cell(execution, "action")),
    Column::whole("STATUS", |execution| cell(execution, "status")),
    Column::whole("REQUESTED", |execution| time(execution, "requested_at")),
    Column::whole("STARTS", |execution| time(execution, "waits_until")),
];

/// For the steps of a workflow, their names matter most.
const STEP_COLUMNS: &[Column] = &[
    Column::id("ID", |execution| cell(execution, "id")),
    Column::cut("STEP", step_name),
    Column::cut("ACTION", |execution| cell(execution, "action")),
    Column::whole("STATUS", |execution| cell(execution, "status")),
    Column::cut("ERROR", |execution| dash(error_line(&execution["error"]))),
];

const GRAPH_COLUMNS: &[Column] = &[
    Column::cut("STEP", |node| cell(node, "step")),
    Column::cut("ACTION", |node| dash(text(node, "action"))),
    Column::whole("STATE", |node| cell(node, "state")),
    Column::cut("COUNTS", |node| dash(counts(node))),
    Column::cut("NEEDS", |node| dash(names(&node["needs"]))),
    Column::cut("IF", |node| dash(text(node, "if"))),
];

/// Returns the numbers of a step's executions by status, if there are several.
fn counts(node: &Value) -> String {
    if node["execution"].is_string() {
        return String::new();
    }
    let counts = node["counts"].as_object().into_iter().flatten();
    counts.map(|(status, count)| format!("{count} {status}")).collect::<Vec<_>>().join(", ")
}

fn names(list: &Value) -> String {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// Returns the cause of a failure on one line: its kind, followed by the last line that its program printed
/// to standard error, if known.
fn error_line(error: &Value) -> String {
    let tail = &error["output_tail"];
    let lines = tail.as_array().and_then(|lines| lines.iter().rev().find_map(Value::as_str)).or(tail.as_str()).unwrap_or_default();
    match lines.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => [text(error, "kind"), text(error, "detail")].join(" ").trim_end().to_owned() + ": " + last.trim(),
        None => failure(error),
    }
}

/// Returns the time from the start of an execution to its end; empty if it has not ended.
fn took(execution: &Value) -> String {
    let at = |field: &str| execution[field].as_str()?.parse::<Timestamp>().ok();
    let took = at("started_at").zip(at("ended_at")).map(|(started, ended)| ended.micros() - started.micros());
    took.map(wording::duration).unwrap_or_default()
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

impl Executions {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self {
            Self::List(listed) => listed.run(asking, &client).await,
            Self::Show { id, tree, svg, as_of } => {
                if svg {
                    asking.output.must_be_plain("--svg")?;
                }
                let id = ids::whole(&client, &[ids::EXECUTION], &id).await?;
                show(
                    asking,
                    &client,
                    &id,
                    if svg {
                        ExecutionDisplay::Picture
                    } else if tree {
                        ExecutionDisplay::Tree
                    } else {
                        ExecutionDisplay::Fields(as_of)
                    },
                )
                .await
            }
            Self::Watch { id } => watch_execution::watch(asking, &client, &ids::whole(&client, &[ids::EXECUTION], &id).await?).await,
            Self::Graph { id } => {
                let id = ids::whole(&client, &[ids::EXECUTION], &id).await?;
                let graph = client.get(&path(&id, "/graph"), &[]).await?;
                let nodes = json!({ "items": graph["nodes"] });
                asking.output.print(&graph, || asking.output.print_list(&nodes, GRAPH_COLUMNS));
                Ok(())
            }
            Self::Logs(logs) => logs.run(&client).await,
            Self::Artifacts(artifacts) => {
                let id = ids::whole(&client, &[ids::EXECUTION], &artifacts.id).await?;
                Artifacts { id, ..artifacts }.run(asking, &client).await
            }
            Self::Cancel { which, trying } => bulk_change::change(asking, &client, which, trying, "cancel").await,
            Self::Pause { which, trying } => bulk_change::change(asking, &client, which, trying, "pause").await,
            Self::Resume { which, trying } => bulk_change::change(asking, &client, which, trying, "resume").await,
            Self::Rerun(rerun) => rerun.run(asking, &client).await,
            Self::Settle(settle) => {
                let mut body = json!({ "outcome": settle.outcome.as_str() });
                if let Some(result) = &settle.result {
                    body["result"] = read_json(result)?;
                }
                if let Some(error) = settle.error {
                    body["error"] = Value::from(error);
                }
                let id = ids::whole(&client, &[ids::EXECUTION], &settle.id).await?;
                let answer = client.post(&path(&id, "/settle"), &body).await?.body;
                asking.output.print_one(&answer, |execution| text(execution, "status"));
                Ok(())
            }
            Self::Record { id } => {
                let id = ids::whole(&client, &[ids::EXECUTION], &id).await?;
                let execution = nearest::get_by_id(&client, "/executions", &id).await?;
                let recording = Recording::of(&client, execution).await?;
                asking.output.print(&recording.document(), || say(recording.file().trim_end()));
                Ok(())
            }
        }
    }
}

impl ExecutionListArgs {
    async fn run(self, asking: &Asking, client: &Client) -> CommandResult {
        let filters = self.filters.with_whole_ids(client).await?;
        let rerun_of = ids::whole_if_any(client, &[ids::EXECUTION], self.rerun_of).await?;
        let columns = match filters.status.as_slice() {
            _ if filters.parent.is_some() => STEP_COLUMNS,
            [status] if status == "delayed" => DELAYED_COLUMNS,
            _ => COLUMNS,
        };
        let is_picked = filters.error_kind.is_some() || self.waits_for.is_some();
        let mut query = filters.query();
        query.extend(rerun_of.map(|id| ("rerun_of", id)));
        if let Some(by) = self.by {
            return groups::print(asking, client, query, by).await;
        }
        query.extend(self.waits_for.map(|kind| ("waits_for", kind)));
        query.extend(self.sorting.query());
        if is_picked && !self.watching.watch {
            let enough = (self.page.limit.into(), PICKED_REQUESTS_MAX);
            let read = pages::read(client, "/executions", &query, enough, self.page.cursor).await?;
            let answer = json!({ "items": read.items, "next": read.next });
            asking.output.print_list(&answer, columns);
            print_next_cursor(&answer);
            return Ok(());
        }
        query.extend(self.page.query());
        let refresh_on = RefreshOn::Changes("executions");
        print_page(asking, client, &List { path: "/executions", query, columns, refresh_on }, self.watching).await
    }
}

/// Requests a change of an execution, and prints its status afterwards.
async fn request_change(asking: &Asking, client: &Client, id: &str, how: &str) -> CommandResult {
    let answer = client.post(&path(id, how), &json!({})).await?.body;
    asking.output.print_one(&answer, |execution| text(execution, "status"));
    Ok(())
}

/// The form in which an execution is shown.
enum ExecutionDisplay {
    Fields(AsOf),
    Tree,
    Picture,
}

async fn show(asking: &Asking, client: &Client, id: &str, form: ExecutionDisplay) -> CommandResult {
    let query = if let ExecutionDisplay::Fields(as_of) = &form { as_of.query() } else { Vec::new() };
    let mut execution = nearest::get_by_id_with(client, "/executions", id, &query).await?;
    match form {
        ExecutionDisplay::Fields(as_of) => {
            execution["attempts"] = client.get(&path(id, "/attempts"), &query).await?["items"].take();
            if as_of.is_now() {
                questions::attach(client, &mut execution).await;
            }
            asking.output.print_one(&execution, render);
        }
        ExecutionDisplay::Tree => {
            let flow = steps::read(client, execution).await?;
            let drawn = |_: &Value| tree::draw(&steps::tree(&flow, crate::this_machine::now()), asking.output.style());
            asking.output.print_one(&flow.document(), drawn);
        }
        ExecutionDisplay::Picture => {
            execution["attempts"] = client.get(&path(id, "/attempts"), &[]).await?["items"].take();
            let flow = steps::read(client, execution).await?;
            say(svg::of_execution(&flow, crate::this_machine::now()).trim_end());
        }
    }
    Ok(())
}

/// Returns an execution for people.
pub(super) fn render(execution: &Value) -> String {
    let mut shown = pairs(&[
        ("id", text(execution, "id")),
        ("action", text(execution, "action")),
        ("status", text(execution, "status")),
        ("paused", text(execution, "paused_at")),
        ("progress", progress(&execution["progress"])),
        ("error", failure(&execution["error"])),
        ("artifacts", text(execution, "artifacts")),
        ("rule", text(execution, "rule")),
        ("labels", labels(&execution["labels"])),
        ("event", text(execution, "event")),
        ("parent", text(execution, "parent")),
        ("step", step_name(execution)),
        ("rerun of", text(execution, "rerun_of")),
        ("requested", text(execution, "requested_at")),
        ("asks", text(&execution[questions::QUESTION], "title")),
        ("waits for", questions::waits_for(execution)),
        ("answer with", questions::command(execution)),
        ("inquiry", text(execution, "inquiry")),
        ("queued", questions::queue_wait(execution)),
        ("waits until", text(execution, "waits_until")),
        ("times out", text(execution, "times_out_at")),
        ("started", text(execution, "started_at")),
        ("ended", text(execution, "ended_at")),
        ("actor", text(execution, "actor")),
        ("runs as", text(execution, "principal")),
        ("position", text(execution, "position")),
    ]);
    for name in ["params", "result"] {
        if !execution[name].is_null() {
            shown.push_str(&printable(&format!("\n{name}\n{:#}\n", execution[name])));
        }
    }
    shown.push_str(&not_started(execution));
    let attempts = execution["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !attempts.is_empty() {
        shown.push_str("\nattempts\n");
        for attempt in attempts {
            let why = failure(&attempt["error"]);
            let why = if why.is_empty() { why } else { format!(": {why}") };
            shown.push_str(&printable(&format!(
                "{}. {} on {}, {} to {}{why}\n",
                text(attempt, "number"),
                text(attempt, "status"),
                text(attempt, "worker"),
                time(attempt, "started_at"),
                time(attempt, "ended_at"),
            )));
        }
    }
    shown
}

/// Returns the steps of a workflow that have no execution, and how to find those that have one; empty for
/// anything else.
fn not_started(execution: &Value) -> String {
    let told = execution["not_started"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> =
        told.iter().map(|step| format!("{} {}: {}", step_name(step), steps::standing(step), steps::because(step, execution))).collect();
    if let Some(more @ 1..) = execution["not_started_count"].as_u64().map(|count| count.saturating_sub(told.len() as u64)) {
        lines.push(format!("… and {more} more"));
    }
    if lines.is_empty() { String::new() } else { printable(&format!("\nsteps without an execution\n{}\n", lines.join("\n"))) }
}

/// The labels of an execution, for people.
fn labels(labels: &Value) -> String {
    let all = labels.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    printable(&all.collect::<Vec<_>>().join(", "))
}

/// Returns the progress of an execution for people; empty if it has not reported any.
fn progress(progress: &Value) -> String {
    let done = progress["done"].as_f64().map(|done| format!("{:.1} %", done * 100.0));
    let message = progress["message"].as_str().map(printable);
    match (done, message) {
        (Some(done), Some(message)) => format!("{done}: {message}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_filter_values_match_the_api() {
        let document: Value = serde_json::from_str(include_str!("../../../docs/reference/openapi.json")).unwrap();
        assert_eq!(document["components"]["schemas"]["Status"]["enum"], json!(STATUSES));
    }
}
