//! `ensue rules backfill`: runs a scheduled rule for a past time range.

use clap::Args;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use crate::ago::moment_of;
use crate::client::{Client, segment, with_query};
use crate::commands::Asking;
use crate::commands::check::count_noun;
use crate::nearest;
use crate::report::{CommandResult, eprint_line};
use crate::table::text;

/// Which times are made up for.
#[derive(Debug, Args)]
pub(crate) struct Backfill {
    /// The rule.
    rule: String,
    /// The start of the range: a time, or how long ago (`7d`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Timestamp,
    /// The end of the range [default: now].
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
    /// Print which times would run, and run nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Backfill {
    pub(super) async fn run(self, asking: &Asking, client: &Client) -> CommandResult {
        let dry = self.dry_run.then(|| ("dry_run", "true".to_owned()));
        let path = with_query(&format!("/rules/{}/backfill", segment(&self.rule)), &Vec::from_iter(dry));
        let asked = client.post(&path, &json!({ "since": self.since, "until": self.until })).await;
        let answer = nearest::or_nearest(client, "/rules", &self.rule, asked).await?.body;
        let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        for item in items {
            asking.output.print_next(item, line);
        }
        let missing = items.iter().filter(|item| item["fired_before"] == false).count();
        let what = if self.dry_run { "would be backfilled" } else { "backfilled" };
        eprint_line(format!("{missing} of {} {what}", count_noun(items.len(), "time")));
        Ok(())
    }
}

/// Returns one time for people.
fn line(item: &Value) -> String {
    let time = text(item, "scheduled_at");
    match (&item["fired_before"], &item["event"]) {
        (Value::Bool(true), _) => format!("{time}  fired before: event {}", text(item, "event")),
        (_, Value::Null) => format!("{time}  missing"),
        _ => format!("{time}  backfilled: event {}", text(item, "event")),
    }
}
