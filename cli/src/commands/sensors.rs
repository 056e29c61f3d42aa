//! `ensue sensors`: the sources of events, and the runs of those that the node reads itself.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Asking, Page, print_list};
use crate::client::{Client, segment};
use crate::nearest;
use crate::report::{Exit, Failure, Outcome};
use crate::table::{Column, cell, pairs, text, time};

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// List, show and control sensors.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue sensors list
  ensue sensors show feed.items
  ensue sensors logs feed.items -f
  ensue sensors disable feed.items
  ensue sensors rewind feed.items --to '{\"line\": 120}'")]
pub(crate) enum Sensors {
    /// List sensors, with the state of those that run.
    #[command(after_help = "\
Examples:
  ensue sensors list
  ensue sensors list --limit 200 -o json")]
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Show a sensor, with its state, its last error and its cursor.
    #[command(after_help = "\
Examples:
  ensue sensors show feed.items
  ensue sensors show feed.items -o json")]
    Show {
        /// The sensor.
        sensor: String,
    },
    /// Print what a sensor says: the standard error of its program, and how its runs end.
    #[command(after_help = "\
Examples:
  ensue sensors logs feed.items
  ensue sensors logs feed.items --follow")]
    Logs {
        /// The sensor.
        sensor: String,
        /// Go on printing further lines.
        #[arg(short, long)]
        follow: bool,
    },
    /// Begin a new run of a sensor at once, without waiting for its back-off.
    #[command(after_help = "\
Examples:
  ensue sensors restart feed.items")]
    Restart {
        /// The sensor.
        sensor: String,
    },
    /// Let a disabled sensor run again, from its cursor.
    #[command(after_help = "\
Examples:
  ensue sensors enable feed.items")]
    Enable {
        /// The sensor.
        sensor: String,
    },
    /// Stop a sensor until it is enabled again. Upgrades of its pack do not enable it.
    #[command(after_help = "\
Examples:
  ensue sensors disable feed.items")]
    Disable {
        /// The sensor.
        sensor: String,
    },
    /// Set the cursor of a sensor. It continues from there, so messages may become events again.
    #[command(after_help = "\
Examples:
  ensue sensors rewind feed.items --to '{\"line\": 120}'
  ensue sensors rewind feed.items --to-start")]
    Rewind(Rewind),
}

/// Where a sensor continues.
#[derive(Debug, Args)]
pub(crate) struct Rewind {
    /// The sensor.
    sensor: String,
    /// The cursor as JSON, as `ensue sensors show` prints it.
    #[arg(long, value_name = "CURSOR", required_unless_present = "to_start", conflicts_with = "to_start")]
    to: Option<String>,
    /// Forget the cursor, so that the sensor begins like a new one.
    #[arg(long)]
    to_start: bool,
}

/// A change of a sensor that needs nothing more.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Enable,
    Disable,
    Restart,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Restart => "restart",
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::whole("SENSOR", |sensor| cell(sensor, "ref")),
    Column::whole("SOURCE", |sensor| cell(sensor, "source")),
    Column::whole("STATE", |sensor| cell(sensor, "state")),
    Column::whole("SINCE", |sensor| time(sensor, "since")),
    Column::whole("EVENTS", |sensor| cell(sensor, "events_count")),
    Column::whole("LAST EVENT", |sensor| time(sensor, "last_event_at")),
    Column::cut("ERROR", |sensor| text(&sensor["error"], "message")),
];

impl Sensors {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List { page } => print_list(asking, &client, "/sensors", &page.query(), COLUMNS).await,
            Self::Show { sensor } => {
                let sensor = nearest::get_by_name(&client, "/sensors", &sensor).await?;
                asking.output.print_one(&sensor, shown);
                Ok(())
            }
            Self::Logs { sensor, follow } => logs(asking, &client, &sensor, follow).await,
            Self::Restart { sensor } => change(asking, &client, &sensor, Verb::Restart).await,
            Self::Enable { sensor } => change(asking, &client, &sensor, Verb::Enable).await,
            Self::Disable { sensor } => change(asking, &client, &sensor, Verb::Disable).await,
            Self::Rewind(rewind) => rewind.run(asking, &client).await,
        }
    }
}

impl Rewind {
    async fn run(self, asking: &Asking, client: &Client) -> Outcome {
        let body = match self.to {
            Some(to) => json!({ "to": parsed(&to)? }),
            None => json!({ "place": "start" }),
        };
        let answered = client.post(&format!("/sensors/{}/rewind", segment(&self.sensor)), &body).await;
        let answer = nearest::or_nearest(client, "/sensors", &self.sensor, answered).await?;
        asking.output.print_one(&answer.body, |sensor| text(sensor, "ref"));
        Ok(())
    }
}

fn parsed(cursor: &str) -> Result<Value, Failure> {
    serde_json::from_str(cursor).map_err(|why| {
        Failure::with(Exit::Usage, format!("the cursor is not JSON: {why}")).hint("quote it for the shell, for example '{\"line\": 120}'")
    })
}

async fn change(asking: &Asking, client: &Client, sensor: &str, verb: Verb) -> Outcome {
    let answered = client.post(&format!("/sensors/{}/{}", segment(sensor), verb.word()), &json!({})).await;
    let answer = nearest::or_nearest(client, "/sensors", sensor, answered).await?;
    asking.output.print_one(&answer.body, |sensor| match verb {
        Verb::Enable | Verb::Disable => text(sensor, "mode"),
        Verb::Restart => text(sensor, "ref"),
    });
    Ok(())
}

/// Prints the lines that are kept, and further ones if they are followed.
async fn logs(asking: &Asking, client: &Client, sensor: &str, follow: bool) -> Outcome {
    let path = format!("/sensors/{}/logs", segment(sensor));
    let mut newest = 0;
    loop {
        let read = client.get(&path, &[("after", newest.to_string())]).await;
        let log = nearest::or_nearest(client, "/sensors", sensor, read).await?;
        let lines = log["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        for line in lines {
            asking.output.print_next(line, |line| format!("{}  {}", text(line, "time"), text(line, "text")));
            newest = line["number"].as_u64().unwrap_or(newest);
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns a sensor for people.
fn shown(sensor: &Value) -> String {
    let error = &sensor["error"];
    let failed = if error.is_null() { String::new() } else { format!("{}: {}", text(error, "kind"), text(error, "message")) };
    let cursor = if sensor["cursor"].is_null() { String::new() } else { sensor["cursor"].to_string() };
    pairs(&[
        ("sensor", text(sensor, "ref")),
        ("description", text(sensor, "description")),
        ("source", text(sensor, "source")),
        ("url", text(sensor, "url")),
        ("schedule", text(&sensor["schedule"], "plan")),
        ("mode", text(sensor, "mode")),
        ("state", text(sensor, "state")),
        ("since", text(sensor, "since")),
        ("error", failed),
        ("waits for", text(sensor, "waits_for")),
        ("retry at", text(sensor, "retry_at")),
        ("run", text(sensor, "run")),
        ("restarts", text(sensor, "restarts")),
        ("events", text(sensor, "events_count")),
        ("refused", text(sensor, "refused_count")),
        ("last event", text(sensor, "last_event_at")),
        ("waiting messages", text(&sensor["lag"], "messages")),
        ("newest message", text(&sensor["lag"], "newest_at")),
        ("cursor", cursor),
        ("emits", emits(sensor)),
    ])
}

fn emits(sensor: &Value) -> String {
    let emits = sensor["emits"].as_array().map(Vec::as_slice).unwrap_or_default();
    emits.iter().map(|emit| text(emit, "trigger")).collect::<Vec<_>>().join(", ")
}
