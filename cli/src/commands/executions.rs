//! `ensue executions`: lists the runs of actions, shows their output, and ends or settles them.

mod groups;
mod many;
mod rerun;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::executions::labels::{LabelValue, written};
use ensue_engine::names::{LabelName, Names};
use groups::By;
use many::{Trying, Which};
use rerun::Rerun;
use serde_json::{Value, json};

use super::one_execution::{has_ended, label_of, path};
use super::{Asking, Between, List, Page, Sorting, Watching, print_page, read_json, tell_next, watched};
use crate::client::Client;
use crate::nearest;
use crate::printed::{self, Stream};
use crate::recording::Recording;
use crate::redraw::RefreshOn;
use crate::report::{Exit, Outcome, printable, say, tell};
use crate::table::{Column, cell, pairs, text, time};
use crate::wording::{failure, step_name};
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
    List(Listed),
    /// Show an execution with its parameters, result and attempts.
    Show {
        /// The execution.
        id: String,
        /// For a workflow, print the steps as a tree: how each step ended, how long it took, and why it
        /// failed or did not start.
        #[arg(long, conflicts_with = "svg")]
        tree: bool,
        /// Print an SVG diagram of when the execution and its steps waited and ran.
        #[arg(long)]
        svg: bool,
    },
    /// Follow an execution until it ends. Exits with code 1 if the execution does not succeed.
    Watch {
        /// The execution.
        id: String,
    },
    /// Print the output of an execution, or of each step of a workflow.
    Logs(Logs),
    /// List the artifacts of an execution, or save them.
    Artifacts(Artifacts),
    /// Cancel an execution. Canceling a workflow ends its running steps; only steps with `if:
    /// always()` still start. A second cancel ends these as well.
    Cancel {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        trying: Trying,
    },
    /// Pause an execution and its steps until it is resumed. Running attempts finish. Answers and
    /// events that arrive meanwhile are kept.
    Pause {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        trying: Trying,
    },
    /// Resume a paused execution. Timers that expired meanwhile fire immediately.
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
    Settle(Settle),
    /// Print an ended execution as a test case for `ensue pack test`, with its steps as mocks.
    /// Check the case for secrets before you keep it.
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
pub(crate) struct Listed {
    /// Only items with this status.
    #[arg(long, value_name = "STATUS", value_parser = STATUSES)]
    status: Option<String>,
    /// Only items of this action.
    #[arg(long, value_name = "REF")]
    action: Option<String>,
    /// Only executions requested by this rule.
    #[arg(long, value_name = "REF")]
    rule: Option<String>,
    /// Only executions with this label. Repeat the option to require several labels.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label_of)]
    labels: Vec<(LabelName, LabelValue)>,
    /// Only executions that failed with this kind of error.
    #[arg(long, value_name = "KIND", value_parser = error_kinds())]
    error_kind: Option<String>,
    /// Only executions caused by this event or request.
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Only the steps of this workflow execution.
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    /// Only reruns of this execution.
    #[arg(long, value_name = "ID")]
    rerun_of: Option<String>,
    #[command(flatten)]
    between: Between,
    /// Group the executions by error or by action, and count them. At most the newest 5,000 of each
    /// status are counted.
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["watch", "cursor", "limit", "sort"])]
    by: Option<By>,
    #[command(flatten)]
    sorting: Sorting,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    watching: Watching,
}

/// Which output is printed.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The execution.
    id: String,
    /// Follow the output until the execution ends. For a workflow, print the output of each step
    /// when the step ends.
    #[arg(long, short)]
    follow: bool,
    /// Only this stream.
    #[arg(long, value_enum, value_name = "STREAM")]
    stream: Option<Stream>,
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
    pub(super) page: Page,
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

/// The kinds of things that a chain may begin with.
const CHAIN: &[ids::Kind] = &[ids::EVENT, ids::EXECUTION];

/// The most requests for assembling a page of executions with one kind of error.
const PICKED_REQUESTS_MAX: usize = 20;

const COLUMNS: &[Column] = &[
    Column::id("ID", |execution| cell(execution, "id")),
    Column::cut("ACTION", |execution| cell(execution, "action")),
    Column::whole("STATUS", |execution| cell(execution, "status")),
    Column::whole("REQUESTED", |execution| time(execution, "requested_at")),
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

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

impl Executions {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List(listed) => listed.run(asking, &client).await,
            Self::Show { id, tree, svg } => {
                if svg {
                    asking.output.must_be_plain("--svg")?;
                }
                let id = ids::whole(&client, &[ids::EXECUTION], &id).await?;
                show(
                    asking,
                    &client,
                    &id,
                    if svg {
                        Form::Picture
                    } else if tree {
                        Form::Tree
                    } else {
                        Form::Fields
                    },
                )
                .await
            }
            Self::Watch { id } => watched::watch(asking, &client, &ids::whole(&client, &[ids::EXECUTION], &id).await?).await,
            Self::Logs(logs) => {
                let id = ids::whole(&client, &[ids::EXECUTION], &logs.id).await?;
                print_logs(&client, &Logs { id, ..logs }).await
            }
            Self::Artifacts(artifacts) => {
                let id = ids::whole(&client, &[ids::EXECUTION], &artifacts.id).await?;
                Artifacts { id, ..artifacts }.run(asking, &client).await
            }
            Self::Cancel { which, trying } => many::change(asking, &client, which, trying, "cancel").await,
            Self::Pause { which, trying } => many::change(asking, &client, which, trying, "pause").await,
            Self::Resume { which, trying } => many::change(asking, &client, which, trying, "resume").await,
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

impl Listed {
    async fn run(self, asking: &Asking, client: &Client) -> Outcome {
        let correlation = ids::whole_if_any(client, CHAIN, self.correlation).await?;
        let parent = ids::whole_if_any(client, &[ids::EXECUTION], self.parent).await?;
        let rerun_of = ids::whole_if_any(client, &[ids::EXECUTION], self.rerun_of).await?;
        let columns = match self.status.as_deref() {
            _ if parent.is_some() => STEP_COLUMNS,
            Some("delayed") => DELAYED_COLUMNS,
            Some(_) | None => COLUMNS,
        };
        let is_picked = self.error_kind.is_some();
        let given = [
            ("status", self.status),
            ("action", self.action),
            ("rule", self.rule),
            ("error_kind", self.error_kind),
            ("correlation", correlation),
            ("parent", parent),
            ("rerun_of", rerun_of),
        ];
        let mut query: Vec<(&str, String)> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        query.extend(self.labels.iter().map(|(name, value)| ("label", written(name, value))));
        query.extend(self.between.query());
        if let Some(by) = self.by {
            return groups::print(asking, client, query, by).await;
        }
        query.extend(self.sorting.query());
        if is_picked && !self.watching.watch {
            let enough = (self.page.limit.into(), PICKED_REQUESTS_MAX);
            let read = pages::read(client, "/executions", &query, enough, self.page.cursor).await?;
            let answer = json!({ "items": read.items, "next": read.next });
            asking.output.print_list(&answer, columns);
            tell_next(&answer);
            return Ok(());
        }
        query.extend(self.page.query());
        let refresh_on = RefreshOn::By(&["execution", "attempt"]);
        print_page(asking, client, &List { path: "/executions", query, columns, refresh_on }, self.watching).await
    }
}

/// Requests a change of an execution, and prints its status afterwards.
async fn changed(asking: &Asking, client: &Client, id: &str, how: &str) -> Outcome {
    let answer = client.post(&path(id, how), &json!({})).await?.body;
    asking.output.print_one(&answer, |execution| text(execution, "status"));
    Ok(())
}

/// The form in which an execution is shown.
enum Form {
    Fields,
    Tree,
    Picture,
}

async fn show(asking: &Asking, client: &Client, id: &str, form: Form) -> Outcome {
    let mut execution = nearest::get_by_id(client, "/executions", id).await?;
    match form {
        Form::Fields => {
            execution["attempts"] = client.get(&path(id, "/attempts"), &[]).await?["items"].take();
            questions::attach(client, &mut execution).await;
            asking.output.print_one(&execution, shown);
        }
        Form::Tree => {
            let flow = steps::read(client, execution).await?;
            let drawn = |_: &Value| tree::draw(&steps::tree(&flow, crate::this_machine::now()), asking.output.style());
            asking.output.print_one(&flow.document(), drawn);
        }
        Form::Picture => {
            execution["attempts"] = client.get(&path(id, "/attempts"), &[]).await?["items"].take();
            let flow = steps::read(client, execution).await?;
            say(svg::of_execution(&flow, crate::this_machine::now()).trim_end());
        }
    }
    Ok(())
}

/// Returns an execution for people.
pub(super) fn shown(execution: &Value) -> String {
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
        ("queued", questions::queued(execution)),
        ("waits until", text(execution, "waits_until")),
        ("times out", text(execution, "times_out_at")),
        ("started", text(execution, "started_at")),
        ("ended", text(execution, "ended_at")),
        ("actor", text(execution, "actor")),
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

async fn print_logs(client: &Client, logs: &Logs) -> Outcome {
    let execution = nearest::get_by_id(client, "/executions", &logs.id).await?;
    if steps::may_have_steps(&execution) {
        return print_logs_of_steps(client, logs, execution).await;
    }
    let path = path(&logs.id, "/logs");
    if logs.follow {
        return printed::follow(client, &path, logs.stream).await;
    }
    print_streams(client, &path, logs.stream, None).await
}

async fn print_streams(client: &Client, path: &str, only: Option<Stream>, mut title: Option<String>) -> Outcome {
    let is_one_of_many = title.is_some();
    for stream in only.map_or_else(|| vec![Stream::Stdout, Stream::Stderr], |stream| vec![stream]) {
        match printed::print_whole(client, path, stream, &mut title).await {
            // Discarded output of one step is no reason to leave out the others.
            Err(failure) if is_one_of_many && failure.exit() == Exit::Missing => tell(format!("… {failure}")),
            printed => printed?,
        }
    }
    Ok(())
}

/// Prints the output of the steps of a workflow, each under its name; with `--follow`, that of each step once
/// it has ended.
async fn print_logs_of_steps(client: &Client, logs: &Logs, mut execution: Value) -> Outcome {
    const PAUSE: Duration = Duration::from_secs(1);
    let mut printed: BTreeSet<String> = BTreeSet::new();
    loop {
        let flow = steps::read(client, execution).await?;
        let is_last = !logs.follow || has_ended(&flow.execution);
        for (name, step) in flow.programs().into_iter().filter(|(_, step)| !logs.follow || has_ended(step)) {
            let id = text(step, "id");
            if printed.insert(id.clone()) {
                let title = format!("==> {name} ({}) <==", text(step, "action"));
                print_streams(client, &path(&id, "/logs"), logs.stream, Some(title)).await?;
            }
        }
        if is_last {
            if flow.is_cut {
                tell("… there are more steps than can be read at once");
            }
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
        execution = client.get(&path(&logs.id, ""), &[]).await?;
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
