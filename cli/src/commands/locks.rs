//! `ensue locks`: the holders of the locks of actions and rules, and the executions that wait for them.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Asking, List, PageArgs, Watching, print_page};
use crate::redraw::RefreshOn;
use crate::report::CommandResult;
use crate::table::{Column, cell, owner, text, time};

/// List the locks of actions and rules, with holders and waiters.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue locks list
  ensue locks list --action release.deploy
  ensue locks list --watch")]
pub(crate) enum Locks {
    /// List the locks that are held or waited for.
    #[command(after_help = "\
Examples:
  ensue locks list
  ensue locks list --action release.deploy
  ensue locks list --watch")]
    List(LockListArgs),
}

/// Which locks are listed.
#[derive(Debug, Args)]
pub(crate) struct LockListArgs {
    /// Only items of this action.
    #[arg(long, value_name = "REF")]
    action: Option<String>,
    /// Only items of this rule.
    #[arg(long, value_name = "REF")]
    rule: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watching: Watching,
}

const COLUMNS: &[Column] = &[
    Column::whole("OF", |lock| owner(lock, "action")),
    Column::whole("KEY", key),
    Column::whole("HELD", holder_count),
    Column::whole("WAIT", |lock| cell(lock, "waiters_count")),
    Column::whole("SINCE", |lock| time(&lock["holders"][0], "since")),
    Column::id("BY", by),
];

impl Locks {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        let Self::List(LockListArgs { action, rule, page, watching }) = self;
        let mut query = page.query();
        query.extend([("action", action), ("rule", rule)].into_iter().filter_map(|(name, value)| Some((name, value?))));
        let refresh_on = RefreshOn::By(&["execution", "lock"]);
        print_page(asking, &client, &List { path: "/locks", query, columns: COLUMNS, refresh_on }, watching).await
    }
}

/// Returns the first part of the digest, which distinguishes the keys of one owner.
fn key(lock: &Value) -> String {
    text(lock, "key").chars().take(12).collect()
}

fn holder_count(lock: &Value) -> String {
    format!("{} of {}", cell(lock, "holders_count"), cell(lock, "limit"))
}

fn by(lock: &Value) -> String {
    text(&lock["holders"][0], "execution")
}
