//! `ensue executions logs`: the output of an execution, or of the steps of a workflow.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::attempt_output::{self, AttemptStream};
use crate::client::Client;
use crate::commands::one_execution::{has_ended, path};
use crate::report::{CommandResult, Exit, eprint_line};
use crate::table::text;
use crate::{ids, nearest, steps};

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
    stream: Option<AttemptStream>,
}

impl Logs {
    pub(super) async fn run(self, client: &Client) -> CommandResult {
        let id = ids::whole(client, &[ids::EXECUTION], &self.id).await?;
        print_logs(client, &Self { id, ..self }).await
    }
}

async fn print_logs(client: &Client, logs: &Logs) -> CommandResult {
    let execution = nearest::get_by_id(client, "/executions", &logs.id).await?;
    if steps::may_have_steps(&execution) {
        return print_logs_of_steps(client, logs, execution).await;
    }
    let path = path(&logs.id, "/logs");
    if logs.follow {
        return attempt_output::follow(client, &path, logs.stream).await;
    }
    print_streams(client, &path, logs.stream, None).await
}

async fn print_streams(client: &Client, path: &str, only: Option<AttemptStream>, mut title: Option<String>) -> CommandResult {
    let is_one_of_many = title.is_some();
    for stream in only.map_or_else(|| vec![AttemptStream::Stdout, AttemptStream::Stderr], |stream| vec![stream]) {
        match attempt_output::print_whole(client, path, stream, &mut title).await {
            // Discarded output of one step is no reason to leave out the others.
            Err(failure) if is_one_of_many && failure.exit() == Exit::Missing => eprint_line(format!("… {failure}")),
            printed => printed?,
        }
    }
    Ok(())
}

/// Prints the output of the steps of a workflow, each under its name; with `--follow`, that of each step once
/// it has ended.
async fn print_logs_of_steps(client: &Client, logs: &Logs, mut execution: Value) -> CommandResult {
    const PAUSE: Duration = Duration::from_secs(1);
    let mut printed: BTreeSet<String> = BTreeSet::new();
    loop {
        let flow = steps::read(client, execution).await?;
        let is_complete = !logs.follow || has_ended(&flow.execution);
        for (name, step) in flow.programs().into_iter().filter(|(_, step)| !logs.follow || has_ended(step)) {
            let id = text(step, "id");
            if printed.insert(id.clone()) {
                let title = format!("==> {name} ({}) <==", text(step, "action"));
                print_streams(client, &path(&id, "/logs"), logs.stream, Some(title)).await?;
            }
        }
        if is_complete {
            if flow.is_cut {
                eprint_line("… there are more steps than can be read at once");
            }
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
        execution = client.get(&path(&logs.id, ""), &[]).await?;
    }
}
