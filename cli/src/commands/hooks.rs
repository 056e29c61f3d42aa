//! `ensue hooks`: lists webhooks and their deliveries, and sends test deliveries.

mod listen;

use clap::{Args, Subcommand};
use ensue_engine::time::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use super::{Asking, PageArgs, json_or_file, print_next_cursor};
use crate::ago::moment_of;
use crate::client::segment;
use crate::output::Output;
use crate::report::{CommandResult, Exit, Failure, eprint_line};
use crate::table::{Column, cell, excerpt, text, time};

/// List webhooks and their deliveries, and send test deliveries.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue hooks
  ensue hooks deliveries my_automation/github --outcome refused
  ensue hooks send my_automation/github --event push --data push.json
  ensue hooks send my_automation/alerts --data '{\"status\": \"firing\"}'")]
pub(crate) struct Hooks {
    #[command(subcommand)]
    asked: Option<HooksCommand>,
}

#[derive(Debug, Subcommand)]
enum HooksCommand {
    /// List webhooks with their URL, the state of their secret, and their last deliveries with the
    /// reason for any rejection.
    #[command(after_help = "\
Examples:
  ensue hooks list
  ensue hooks list -o json")]
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// List the last deliveries at a webhook, newest first: at most 50 of each outcome. They survive a
    /// restart.
    #[command(after_help = "\
Examples:
  ensue hooks deliveries my_automation/github
  ensue hooks deliveries my_automation/github --outcome refused --since 1h")]
    Deliveries {
        /// The webhook.
        #[arg(value_name = "PACK/SENSOR")]
        hook: String,
        /// Only deliveries with one of these outcomes.
        #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = ["accepted", "repeated", "replied", "refused"])]
        outcome: Vec<String>,
        /// Only deliveries since this time, or since so long ago (`1d`, `12h`).
        #[arg(long, value_name = "TIME", value_parser = moment_of)]
        since: Option<Timestamp>,
    },
    /// Send a test delivery, which the node signs with the stored key.
    #[command(after_help = "\
Examples:
  ensue hooks send my_automation/github --event push --data push.json
  ensue hooks send my_automation/alerts --data '{\"status\": \"firing\"}'
  echo '{\"status\":\"firing\"}' | ensue hooks send my_automation/alerts --data -")]
    Send {
        /// The webhook.
        #[arg(value_name = "PACK/SENSOR")]
        hook: String,
        /// The sender's name for the event, such as `push`. Required for senders that send it in a
        /// header, such as GitHub.
        #[arg(long)]
        event: Option<String>,
        /// The body: JSON, or a file with JSON. `-` reads standard input. For a webhook that accepts
        /// forms, an object of the fields; for one that accepts texts, a string.
        #[arg(long, value_name = "JSON|FILE")]
        data: Option<String>,
        /// A parameter of the webhook's path, such as `room=shed`. May be repeated.
        #[arg(long, value_name = "NAME=VALUE")]
        path: Vec<String>,
    },
    /// Show deliveries at a webhook as they arrive, and what they led to. The node answers them as
    /// always.
    #[command(after_help = "\
Examples:
  ensue hooks listen door/slack
  ensue hooks listen door/slack --forward-to http://localhost:3000/slack")]
    Listen {
        /// The webhook.
        #[arg(value_name = "PACK/SENSOR")]
        hook: String,
        /// Send each accepted delivery to this URL too: its method, path, query, headers and body,
        /// without the proof of its sender.
        #[arg(long, value_name = "URL")]
        forward_to: Option<Url>,
    },
    /// Confirm the subscriptions of Amazon SNS that wait at a webhook.
    #[command(after_help = "\
Examples:
  ensue hooks confirm my_automation/alarms")]
    Confirm {
        /// The webhook.
        #[arg(value_name = "PACK/SENSOR")]
        hook: String,
    },
}

impl Hooks {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self.asked {
            None => {
                let answer = client.get("/hooks", &[]).await?;
                print_hooks(asking.output, &answer);
            }
            Some(HooksCommand::List { page }) => {
                let answer = client.get("/hooks", &page.query()).await?;
                print_hooks(asking.output, &answer);
                print_next_cursor(&answer);
            }
            Some(HooksCommand::Deliveries { hook, outcome, since }) => {
                let outcomes = outcome.into_iter().map(|outcome| ("outcome", outcome));
                let query: Vec<_> = outcomes.chain(since.map(|since| ("since", since.to_string()))).collect();
                let answer = client.get(&path_of(&hook)?, &query).await?;
                asking.output.print_list(&json!({ "items": answer["deliveries"] }), DELIVERIES);
            }
            Some(HooksCommand::Listen { hook, forward_to }) => listen::run(&client, asking.output, &path_of(&hook)?, forward_to).await?,
            Some(HooksCommand::Confirm { hook }) => {
                let answer = client.post(&format!("{}/confirm", path_of(&hook)?), &json!({})).await?.body;
                asking.output.print_one(&answer, |answer| {
                    let topics = answer["topics"].as_array().map(Vec::as_slice).unwrap_or_default();
                    topics.iter().map(|topic| format!("{}  confirmed\n", topic.as_str().unwrap_or_default())).collect()
                });
            }
            Some(HooksCommand::Send { hook, event, data, path: parameters }) => {
                let path = path_of(&hook)?;
                let mut body = json!({ "body": content_of(data.as_deref())? });
                if let Some(event) = event {
                    body["event"] = Value::from(event);
                }
                for parameter in &parameters {
                    let (name, value) = parameter.split_once('=').ok_or_else(|| {
                        Failure::with(Exit::Usage, format!("`{parameter}` is not a parameter")).hint("write `--path room=shed`")
                    })?;
                    body["path"][name] = Value::from(value);
                }
                let answer = client.post(&format!("{path}/send"), &body).await?.body;
                asking.output.print_one(&answer, |answer| {
                    let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
                    events.iter().map(|event| format!("{}  {}\n", text(event, "id"), text(event, "trigger"))).collect()
                });
                if answer["events"].as_array().is_some_and(Vec::is_empty) {
                    eprint_line("the delivery was accepted but created no event, because no `emits` of the sensor matches it");
                }
            }
        }
        Ok(())
    }
}

/// The columns of deliveries.
const DELIVERIES: &[Column] = &[
    Column::whole("TIME", |delivery| time(delivery, "at")),
    Column::whole("OUTCOME", outcome),
    Column::whole("BYTES", |delivery| cell(delivery, "bytes")),
    Column::whole("REQUEST", |delivery| cell(delivery, "request_id")),
    Column::cut("WHY", |delivery| cell(delivery, "why")),
];

/// Returns the outcome of a delivery, and how many events it created.
fn outcome(delivery: &Value) -> String {
    match (text(delivery, "outcome").as_str(), delivery["events"].as_array().map(Vec::len)) {
        ("accepted", Some(0)) => "accepted, no event".to_owned(),
        ("accepted", Some(1)) => "accepted".to_owned(),
        ("accepted", Some(events)) => format!("accepted, {events} events"),
        ("replied", _) => format!("replied, {}", cell(delivery, "status")),
        (outcome, _) => outcome.to_owned(),
    }
}

/// Returns the content of a delivery: JSON, a file with JSON, or a text in quotes; null if none is given.
fn content_of(given: Option<&str>) -> Result<Value, Failure> {
    match given {
        None => Ok(Value::Null),
        Some(text) if text.trim_start().starts_with('"') => {
            serde_json::from_str(text).map_err(|error| Failure::with(Exit::Refused, format!("the given text is not JSON: {error}")))
        }
        Some(given) => json_or_file(given),
    }
}

fn path_of(hook: &str) -> Result<String, Failure> {
    match hook.split_once(['/', '.']) {
        Some((pack, sensor)) if !sensor.contains('/') => Ok(format!("/hooks/{}/{}", segment(pack), segment(sensor))),
        Some(_) | None => Err(Failure::with(Exit::Usage, format!("`{hook}` is not a webhook's name"))
            .hint("write `<pack>/<sensor>`, for example `github/webhook`; list the hooks with `ensue hooks`")),
    }
}

fn print_hooks(output: Output, answer: &Value) {
    output.print_one(answer, |answer| {
        let hooks = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        hooks.iter().map(render).collect::<Vec<_>>().join("\n")
    });
}

fn render(hook: &Value) -> String {
    let secret = match (text(hook, "secret").as_str(), text(hook, "key")) {
        ("set", _) => "its secret is set".to_owned(),
        ("missing", key) => format!("accepts nothing: its secret is missing, set it with `ensue keys set {key}`"),
        ("unusable", key) => format!("accepts nothing: its secret is unusable, set it again with `ensue keys set {key}`"),
        ("not_needed", _) => "accepts deliveries from anybody".to_owned(),
        (other, _) => other.to_owned(),
    };
    let mut shown = format!("{}\n  {}\n  {secret}\n", text(hook, "ref"), text(hook, "url"));
    let deliveries = hook["deliveries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if deliveries.is_empty() {
        shown.push_str("  no deliveries\n");
    }
    for delivery in deliveries.iter().take(10) {
        let why = text(delivery, "why");
        let why = if why.is_empty() { String::new() } else { format!(": {}", excerpt(&why)) };
        shown.push_str(&format!("  {}  {}{why}\n", time(delivery, "at"), outcome(delivery)));
    }
    shown
}
