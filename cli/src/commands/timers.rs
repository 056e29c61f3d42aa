//! `ensue timers`: the timers of the schedules of rules and sensors.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Asking, List, SortedPage, TimeRangeArgs, Watching, print_page};
use crate::redraw::RefreshOn;
use crate::report::{CommandResult, eprint_line};
use crate::table::{Column, cell, owner, time};

/// List the schedules of rules and sensors, and their next times.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue timers list
  ensue timers list --rule backup.nightly
  ensue timers list --watch")]
pub(crate) enum Timers {
    /// List schedules with when they fire next, newest first.
    #[command(after_help = "\
Examples:
  ensue timers list
  ensue timers list --rule backup.nightly
  ensue timers list --watch")]
    List(TimerListArgs),
    /// Show when schedules are due within the next week, earliest first.
    #[command(after_help = "\
Examples:
  ensue timers upcoming
  ensue timers upcoming --until 2026-12-24T00:00:00Z")]
    Upcoming {
        #[command(flatten)]
        between: TimeRangeArgs,
    },
}

/// Which schedules are listed.
#[derive(Debug, Args)]
pub(crate) struct TimerListArgs {
    /// Only the schedule of this rule.
    #[arg(long, value_name = "REF")]
    rule: Option<String>,
    /// Only the schedule of this sensor.
    #[arg(long, value_name = "REF")]
    sensor: Option<String>,
    #[command(flatten)]
    between: TimeRangeArgs,
    #[command(flatten)]
    page: SortedPage,
    #[command(flatten)]
    watching: Watching,
}

const COLUMNS: &[Column] = &[
    Column::whole("OF", |timer| owner(timer, "sensor")),
    Column::whole("NEXT", next),
    Column::whole("FIRED", |timer| time(timer, "fired_at")),
    Column::cut("PLAN", |timer| cell(timer, "plan")),
];

const DUE_COLUMNS: &[Column] = &[Column::whole("AT", |due| time(due, "at")), Column::whole("OF", |due| owner(due, "sensor"))];

impl Timers {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        let TimerListArgs { rule, sensor, between, page, watching } = match self {
            Self::List(listed) => listed,
            Self::Upcoming { between } => {
                let query: Vec<_> = between.query().collect();
                let upcoming = client.get("/timers/upcoming", &query).await?;
                asking.output.print_list(&upcoming, DUE_COLUMNS);
                if upcoming["truncated"] == true {
                    eprint_line("there are more: continue with --since and the last time");
                }
                return Ok(());
            }
        };
        let mut query = page.query();
        query.extend(between.query());
        query.extend([("rule", rule), ("sensor", sensor)].into_iter().filter_map(|(name, value)| Some((name, value?))));
        let refresh_on = RefreshOn::Changes("timers");
        print_page(asking, &client, &List { path: "/timers", query, columns: COLUMNS, refresh_on }, watching).await
    }
}

fn next(timer: &Value) -> String {
    match &timer["is_over"] {
        Value::Bool(true) => "over".to_owned(),
        _ => time(timer, "next_at"),
    }
}
