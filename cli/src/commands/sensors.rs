//! `ensue sensors`: the sources of events, and the runs of those that the node reads itself.

use std::time::Duration;

use clap::{Args, Subcommand};
use ensue_engine::time::{Timestamp, parse_duration};
use serde_json::{Value, json};

use super::check::count_noun;
use super::{Asking, PageArgs, print_list};
use crate::ago::moment_of;
use crate::client::{Client, segment};
use crate::nearest;
use crate::report::{CommandResult, Exit, Failure};
use crate::table::{Column, cell, pairs, text, time};

/// The number of lines that the node returns at once.
const LINES_PAGE: usize = 1_000;
/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// List, show and control sensors.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue sensors list
  ensue sensors show feed.items
  ensue sensors test feed.items --count 3
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
        page: PageArgs,
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
  ensue sensors logs feed.items --since 2h
  ensue sensors logs feed.items --follow")]
    Logs {
        /// The sensor.
        sensor: String,
        /// Print all lines since this time, or since so long ago (`2h`, `3d`), instead of the last 1,000.
        #[arg(long, value_name = "TIME", value_parser = moment_of)]
        since: Option<Timestamp>,
        /// Go on printing further lines.
        #[arg(short, long)]
        follow: bool,
    },
    /// Read the next messages of a sensor and show what they would make, without taking them.
    ///
    /// The source is opened beside the sensor's run, also if the sensor is disabled or fails. No event is created, the
    /// cursor stays, and no message is settled.
    #[command(after_help = "\
Examples:
  ensue sensors test feed.items
  ensue sensors test feed.items --count 10 --timeout 30s
  ensue sensors test feed.items --from-start -o json")]
    Test(SensorTestArgs),
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
  ensue sensors rewind feed.items --to end
  ensue sensors rewind feed.items --to-start")]
    Rewind(Rewind),
}

/// Where a sensor continues.
#[derive(Debug, Args)]
pub(crate) struct Rewind {
    /// The sensor.
    sensor: String,
    /// The cursor as JSON, as `ensue sensors show` prints it; or `end`, to skip everything that the source has now.
    #[arg(long, value_name = "CURSOR", required_unless_present = "to_start", conflicts_with = "to_start")]
    to: Option<String>,
    /// Forget the cursor, so that the sensor begins like a new one.
    #[arg(long)]
    to_start: bool,
}

/// Which messages to read.
#[derive(Debug, Args)]
pub(crate) struct SensorTestArgs {
    /// The sensor.
    sensor: String,
    /// The maximum number of messages, up to 100.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
    /// How long to wait for them, up to 60s.
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "10s")]
    timeout: u64,
    /// Begin where a new sensor begins, instead of after the cursor.
    #[arg(long)]
    from_start: bool,
}

fn seconds(text: &str) -> Result<u64, String> {
    let time = parse_duration(text).ok_or_else(|| "expected a time, such as `30s`".to_owned())?;
    if time.subsec_nanos() == 0 { Ok(time.as_secs()) } else { Err("expected whole seconds, such as `30s`".to_owned()) }
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
    Column::cut("ERROR", failure),
];

impl Sensors {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self {
            Self::List { page } => print_list(asking, &client, "/sensors", &page.query(), COLUMNS).await,
            Self::Show { sensor } => {
                let sensor = nearest::get_by_name(&client, "/sensors", &sensor).await?;
                asking.output.print_one(&sensor, render);
                Ok(())
            }
            Self::Logs { sensor, since, follow } => logs(asking, &client, &sensor, (since, follow)).await,
            Self::Test(test) => test.run(asking, &client).await,
            Self::Restart { sensor } => change(asking, &client, &sensor, Verb::Restart).await,
            Self::Enable { sensor } => change(asking, &client, &sensor, Verb::Enable).await,
            Self::Disable { sensor } => change(asking, &client, &sensor, Verb::Disable).await,
            Self::Rewind(rewind) => rewind.run(asking, &client).await,
        }
    }
}

impl Rewind {
    async fn run(self, asking: &Asking, client: &Client) -> CommandResult {
        let body = match self.to {
            Some(to) if to == "end" || to == "start" => json!({ "place": to }),
            Some(to) => json!({ "to": parse_cursor(&to)? }),
            None => json!({ "place": "start" }),
        };
        let answered = client.post(&format!("/sensors/{}/rewind", segment(&self.sensor)), &body).await;
        let answer = nearest::or_nearest(client, "/sensors", &self.sensor, answered).await?;
        asking.output.print_one(&answer.body, |sensor| text(sensor, "ref"));
        Ok(())
    }
}

impl SensorTestArgs {
    async fn run(self, asking: &Asking, client: &Client) -> CommandResult {
        let mut body = json!({ "count": self.count, "timeout_seconds": self.timeout });
        if self.from_start {
            body["place"] = json!("start");
        }
        let answered = client.post_long(&format!("/sensors/{}/test", segment(&self.sensor)), &body, self.timeout).await;
        let tested = nearest::or_nearest(client, "/sensors", &self.sensor, answered).await?.body;
        asking.output.print_one(&tested, tested_text);
        let messages = tested["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        if tested["ended"] == "failed" {
            let error = &tested["error"];
            return Err(Failure::with(
                Exit::Failed,
                format!("the sensor failed with `{}`: {}", text(error, "kind"), text(error, "message")),
            ));
        }
        let bad = messages.iter().filter(|message| ["refused", "fails"].contains(&text(message, "would").as_str())).count();
        match bad {
            0 => Ok(()),
            bad => {
                Err(Failure::with(Exit::Failed, format!("{bad} of {} messages would create no event although they should", messages.len()))
                    .hint("correct the sender, or the sensor's `emits`; the reason is beside each message"))
            }
        }
    }
}

fn parse_cursor(cursor: &str) -> Result<Value, Failure> {
    serde_json::from_str(cursor).map_err(|why| {
        Failure::with(Exit::Usage, format!("the cursor is not JSON: {why}")).hint("quote it for the shell, for example '{\"line\": 120}'")
    })
}

async fn change(asking: &Asking, client: &Client, sensor: &str, verb: Verb) -> CommandResult {
    let answered = client.post(&format!("/sensors/{}/{}", segment(sensor), verb.word()), &json!({})).await;
    let answer = nearest::or_nearest(client, "/sensors", sensor, answered).await?;
    asking.output.print_one(&answer.body, |sensor| match verb {
        Verb::Enable | Verb::Disable => text(sensor, "mode"),
        Verb::Restart => text(sensor, "ref"),
    });
    Ok(())
}

/// Prints the lines that are kept, and further ones if they are followed.
async fn logs(asking: &Asking, client: &Client, sensor: &str, (since, follow): (Option<Timestamp>, bool)) -> CommandResult {
    let path = format!("/sensors/{}/logs", segment(sensor));
    let mut from: Option<(&str, String)> = since.map(|since| ("since", since.to_string()));
    loop {
        let is_page_of_many = from.is_some();
        let read = client.get(&path, from.as_slice()).await;
        let log = nearest::or_nearest(client, "/sensors", sensor, read).await?;
        let lines = log["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        for line in lines {
            asking.output.print_next(line, |line| format!("{}  {}", text(line, "time"), text(line, "text")));
        }
        if let Some(newest) = lines.last() {
            from = Some(("after", newest["number"].to_string()));
        }
        if is_page_of_many && lines.len() >= LINES_PAGE {
            continue;
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns why a sensor, or a part of its source, fails.
fn failure(sensor: &Value) -> String {
    let parts = sensor["failing_parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    match (sensor["error"].is_null(), parts) {
        (true, [part]) => format!("{}: {}", text(part, "part"), text(part, "error")),
        (true, [part, ..]) => format!("{} parts fail, the first: {}: {}", parts.len(), text(part, "part"), text(part, "error")),
        (_, _) => text(&sensor["error"], "message"),
    }
}

fn failing_parts(sensor: &Value) -> String {
    let parts = sensor["failing_parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = |part: &Value| format!("{} since {}: {}", text(part, "part"), text(part, "since"), text(part, "error"));
    parts.iter().map(shown).collect::<Vec<_>>().join("\n")
}

/// Returns a sensor for people.
fn render(sensor: &Value) -> String {
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
        ("failing parts", failing_parts(sensor)),
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

/// Returns what a test found, for people.
fn tested_text(tested: &Value) -> String {
    let messages = tested["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    let after = if tested["cursor"].is_null() { "where a new sensor begins".to_owned() } else { format!("after {}", tested["cursor"]) };
    lines.push(format!("read {} from `{}`, {after}{}", count_noun(messages.len(), "message"), text(tested, "ref"), end_reason(tested)));
    for (number, message) in (1..).zip(messages) {
        lines.push(String::new());
        let body = if message["body"].is_null() { text(message, "text") } else { message["body"].to_string() };
        let body = if body.is_empty() { format!("{} bytes", message["bytes"]) } else { body };
        lines.push(format!("message {number}: {body}"));
        if message["about"].as_object().is_some_and(|about| !about.is_empty()) {
            lines.push(format!("  about    {}", message["about"]));
        }
        match message["would"].as_str() {
            Some("events") => lines.extend(message["events"].as_array().into_iter().flatten().flat_map(event_lines)),
            Some("passed") => lines.push("  passed   no `emits` matches it".to_owned()),
            Some("refused") => lines.push(format!("  refused  {}", text(message, "reason"))),
            Some(_) | None => lines.push(format!("  fails    {}", text(message, "reason"))),
        }
        if !message["cursor"].is_null() {
            lines.push(format!("  cursor   {}", message["cursor"]));
        }
    }
    let said = tested["log"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !said.is_empty() {
        lines.extend([String::new(), "the source said:".to_owned()]);
        lines.extend(said.iter().map(|line| format!("  {}", text(line, "text"))));
    }
    lines.join("\n")
}

/// Returns why a test ended, if that is worth saying.
fn end_reason(tested: &Value) -> &'static str {
    match tested["ended"].as_str() {
        Some("timeout") => "; no message came in time",
        Some("quiet") => "; no further message came",
        Some("done") => "; the source has ended",
        Some("failed") => "; then the source failed",
        Some(_) | None => "",
    }
}

fn event_lines(event: &Value) -> Vec<String> {
    let payload = if event["payload"].is_null() { "a payload of more than 64 KiB".to_owned() } else { event["payload"].to_string() };
    let mut lines = vec![format!("  event    {} {payload}", text(event, "trigger"))];
    if !event["dedupe"].is_null() {
        let seen = if event["repeat"] == true { ", which is in the log already, so the event would not be recorded" } else { "" };
        lines.push(format!("  dedupe   {}{seen}", text(event, "dedupe")));
    }
    let rules: Vec<&str> = event["rules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !rules.is_empty() {
        lines.push(format!("  rules    {}", rules.join(", ")));
    }
    lines
}
