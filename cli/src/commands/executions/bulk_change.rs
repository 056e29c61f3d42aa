//! One change applied to many executions, selected with the filters of a list.

use clap::Args;
use serde_json::{Value, json};

use super::filters::ExecutionFilters;
use super::{Asking, request_change};
use crate::client::{Client, with_query};
use crate::commands::bulk_change;
use crate::commands::one_execution::path;
use crate::ids;
use crate::report::CommandResult;
use crate::table::text;
use crate::this_machine::now;

/// Which executions: one by its id, or those that fit.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The execution.
    #[arg(required_unless_present = "filters", conflicts_with = "filters")]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) filters: ExecutionFilters,
}

/// Whether anything is done.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Trying {
    /// Print what would happen, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Whether what was rerun already is rerun once more; only `rerun` has a flag for it.
    #[arg(skip)]
    pub(super) again: bool,
}

/// Changes one execution, or all that match.
pub(super) async fn change(asking: &Asking, client: &Client, which: Which, trying: Trying, how: &str) -> CommandResult {
    match ids::whole_if_any(client, &[ids::EXECUTION], which.id).await? {
        Some(id) if trying.dry_run => {
            client.post(&with_query(&path(&id, &format!("/{how}")), &[("dry_run", "true".to_owned())]), &json!({})).await?;
            Ok(())
        }
        Some(id) => request_change(asking, client, &id, &format!("/{how}")).await,
        None => change_all(asking, client, which.filters, trying, (how, &json!({}))).await,
    }
}

/// Changes all executions that match, and prints the result for each; exits with 1 if some were rejected.
pub(super) async fn change_all(
    asking: &Asking,
    client: &Client,
    filters: ExecutionFilters,
    trying: Trying,
    (how, body): (&str, &Value),
) -> CommandResult {
    let mut query = filters.with_whole_ids(client).await?.query();
    if trying.again {
        query.push(("again", "true".to_owned()));
    }
    // The executions created by a rerun are not run again.
    if how == "rerun" && !query.iter().any(|(name, _)| *name == "until") {
        query.push(("until", now().to_string()));
    }
    if trying.dry_run {
        query.push(("dry_run", "true".to_owned()));
    }
    bulk_change::change_all(asking, client, &format!("/executions/{how}"), query, (body, line)).await
}

/// Returns the result for one execution, for people.
fn line(item: &Value) -> String {
    let execution = text(item, "execution");
    if let Value::String(rerun) = &item["rerun_before"] {
        return format!("{execution}  left out: already rerun as {rerun}");
    }
    match (&item["error"], &item["rerun"]) {
        (Value::Null, Value::String(rerun)) => format!("{execution}  runs again as {rerun}"),
        (Value::Null, _) if item["position"].is_null() => format!("{execution}  would be done"),
        (Value::Null, _) => format!("{execution}  done"),
        (error, _) => format!("{execution}  rejected: {}", text(error, "detail")),
    }
}
