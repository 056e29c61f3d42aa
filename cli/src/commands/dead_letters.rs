//! `ensue dead-letters`: rejected deliveries and permanently failed executions, until someone deals with
//! them.

use clap::{Args, Subcommand};
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use super::{Asking, SortedPage, bulk_change, print_list};
use crate::ago::moment_of;
use crate::client::{Client, with_query};
use crate::report::CommandResult;
use crate::table::{Column, cell, pairs, text, time};
use crate::this_machine::now;
use crate::{ids, nearest};

/// List, show, retry and dismiss dead letters. A dead letter is a rejected delivery or a failed
/// execution.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue dead-letters list --status open
  ensue dead-letters show 019c…      with its delivery
  ensue dead-letters retry 019c…
  ensue dead-letters retry --action billing.charge --since 2h
  ensue dead-letters dismiss --sensor github.webhook --until 7d")]
pub(crate) enum DeadLetters {
    /// List dead letters, newest first.
    #[command(after_help = "\
Examples:
  ensue dead-letters list --status open
  ensue dead-letters list --sensor github.webhook --since 7d
  ensue dead-letters list --action billing.charge")]
    List {
        /// Only items with this status.
        #[arg(long, value_name = "STATUS", value_parser = ["open", "retried", "dismissed"])]
        status: Option<String>,
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        page: SortedPage,
    },
    /// Show a dead letter with its delivery.
    #[command(after_help = "\
Examples:
  ensue dead-letters show 019c…")]
    Show {
        /// The dead letter.
        id: String,
    },
    /// Retry dead letters: rerun failed executions from the failed step, and accept rejected
    /// deliveries as if they arrived now.
    #[command(after_help = "\
Examples:
  ensue dead-letters retry 019c…
  ensue dead-letters retry --action billing.charge --since 2h --dry-run")]
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Dismiss dead letters without a retry.
    #[command(after_help = "\
Examples:
  ensue dead-letters dismiss 019c…
  ensue dead-letters dismiss --sensor github.webhook --until 7d")]
    Dismiss {
        #[command(flatten)]
        which: Which,
    },
}

/// Which dead letters: one by its id, or those open ones that fit.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The dead letter.
    #[arg(required_unless_present = "letters", conflicts_with = "letters")]
    id: Option<String>,
    #[command(flatten)]
    filters: Filters,
    /// Print what would happen, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// The filters of dead letters; a letter must match all that are set.
#[derive(Debug, Args)]
#[group(id = "letters", multiple = true)]
pub(crate) struct Filters {
    /// Only deliveries to this sensor. Cannot be used with --action or --rule, which are for
    /// executions.
    #[arg(long, value_name = "REF", conflicts_with_all = ["action", "rule"])]
    sensor: Option<String>,
    /// Only executions of this action.
    #[arg(long, value_name = "REF")]
    action: Option<String>,
    /// Only executions requested by this rule.
    #[arg(long, value_name = "REF")]
    rule: Option<String>,
    /// Only items since this time, or since so long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Only items before this time.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
}

impl Filters {
    fn query(self) -> impl Iterator<Item = (&'static str, String)> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let times = [("since", time(self.since)), ("until", time(self.until))];
        let all = [("sensor", self.sensor), ("action", self.action), ("rule", self.rule)].into_iter().chain(times);
        all.filter_map(|(name, value)| Some((name, value?)))
    }
}

const COLUMNS: &[Column] = &[
    Column::id("ID", |letter| cell(letter, "id")),
    Column::cut("OF", of),
    Column::whole("STATUS", |letter| cell(letter, "status")),
    Column::cut("REASON", |letter| cell(letter, "reason")),
    Column::whole("TIME", |letter| time(letter, "time")),
];

/// Returns what failed: its sensor, or that it is an execution, whose id is the letter's.
fn of(letter: &Value) -> String {
    if letter["sensor"].is_null() { "execution".to_owned() } else { text(letter, "sensor") }
}

impl DeadLetters {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self {
            Self::List { status, filters, page } => {
                let mut query = page.query();
                query.extend(status.map(|status| ("status", status)));
                query.extend(filters.query());
                print_list(asking, &client, "/dead_letters", &query, COLUMNS).await
            }
            Self::Show { id } => {
                let id = ids::whole(&client, &[ids::DEAD_LETTER], &id).await?;
                let letter = nearest::get_by_id(&client, "/dead_letters", &id).await?;
                asking.output.print_one(&letter, show);
                Ok(())
            }
            Self::Retry { which } => deal(asking, &client, which, "retry").await,
            Self::Dismiss { which } => deal(asking, &client, which, "dismiss").await,
        }
    }
}

fn show(letter: &Value) -> String {
    let settled = &letter["settled"];
    let events = settled["events"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let events = events.collect::<Vec<_>>().join(" ");
    pairs(&[
        ("id", text(letter, "id")),
        ("status", text(letter, "status")),
        ("execution", text(letter, "execution")),
        ("sensor", text(letter, "sensor")),
        ("trigger", text(letter, "trigger")),
        ("reason", text(letter, "reason")),
        ("delivered", text(letter, "delivered")),
        ("time", text(letter, "time")),
        ("position", text(letter, "position")),
        ("settled by", text(settled, "by")),
        ("settled at", text(settled, "at")),
        ("rerun", text(settled, "rerun")),
        ("events", events),
    ])
}

/// Handles one letter, or all open ones that match; exits with 1 if some were rejected.
async fn deal(asking: &Asking, client: &Client, which: Which, how: &str) -> CommandResult {
    let dry = which.dry_run.then(|| ("dry_run", "true".to_owned()));
    if let Some(id) = which.id {
        let id = ids::whole(client, &[ids::DEAD_LETTER], &id).await?;
        let mut dealt = client.post(&with_query(&format!("/dead_letters/{id}/{how}"), &Vec::from_iter(dry)), &json!({})).await?.body;
        // A dry run has an empty answer.
        if dealt.is_null() {
            dealt = json!({"id": id, "position": null, "rerun": null, "events": [], "error": null});
        }
        asking.output.print_next(&dealt, line);
        return Ok(());
    }
    let mut query: Vec<(&str, String)> = which.filters.query().collect();
    // Letters that fail again are not retried again.
    if how == "retry" && !query.iter().any(|(name, _)| *name == "until") {
        query.push(("until", now().to_string()));
    }
    query.extend(dry);
    bulk_change::change_all(asking, client, &format!("/dead_letters/{how}"), query, (&json!({}), line)).await
}

/// Returns the result for one letter, for people.
fn line(item: &Value) -> String {
    let id = text(item, "id");
    let events = item["events"].as_array().map_or(0, Vec::len);
    match (&item["error"], &item["rerun"]) {
        (Value::Null, Value::String(rerun)) => format!("{id}  runs again as {rerun}"),
        (Value::Null, _) if item["position"].is_null() => format!("{id}  would be done"),
        (Value::Null, _) if events > 0 => format!("{id}  accepted: {events} event{}", if events == 1 { "" } else { "s" }),
        (Value::Null, _) => format!("{id}  done"),
        (error, _) => format!("{id}  rejected: {}", text(error, "detail")),
    }
}
