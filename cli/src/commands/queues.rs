//! `ensue queues`: the executions that occupy the workers of each queue, and those that wait for one.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Asking, List, PageArgs, Watching, print_page};
use crate::redraw::RefreshOn;
use crate::report::CommandResult;
use crate::table::{Column, cell, text, time};

/// List the queues in which executions wait for a worker.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue queues list
  ensue queues list --watch")]
pub(crate) enum Queues {
    /// List the queues, with how many executions run and wait in each.
    #[command(after_help = "\
Examples:
  ensue queues list
  ensue queues list --watch")]
    List(QueueListArgs),
}

/// How queues are listed.
#[derive(Debug, Args)]
pub(crate) struct QueueListArgs {
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watching: Watching,
}

const COLUMNS: &[Column] = &[
    Column::whole("QUEUE", |queue| cell(queue, "name")),
    Column::whole("BUSY", busy),
    Column::whole("WAIT", |queue| cell(queue, "waiting_count")),
    Column::whole("SINCE", |queue| time(queue, "waiting_since")),
    Column::whole("RATE", rate),
    Column::whole("NEXT START", |queue| time(queue, "next_start_at")),
    Column::cut("NEXT", |queue| text(&queue["waiting"][0], "execution")),
];

impl Queues {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        let Self::List(QueueListArgs { page, watching }) = self;
        let refresh_on = RefreshOn::By(&["execution", "attempt"]);
        print_page(asking, &client, &List { path: "/queues", query: page.query(), columns: COLUMNS, refresh_on }, watching).await
    }
}

/// Returns how many of its slots are in use; reports a queue that does not exist.
fn busy(queue: &Value) -> String {
    match queue["is_configured"].as_bool() {
        Some(false) => "no workers".to_owned(),
        Some(true) | None => format!("{} of {}", cell(queue, "busy_count"), cell(queue, "workers")),
    }
}

fn rate(queue: &Value) -> String {
    let rate = &queue["rate"];
    if rate.is_null() { String::new() } else { format!("{} in {} s", cell(rate, "limit"), cell(rate, "per_seconds")) }
}
