//! `ensue events`: lists observed events, sends one by hand, and emits a stored one again.

use clap::Subcommand;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{AsOf, Asking, List, SortedPage, TimeRangeArgs, Watching, json_or_file, print_page, several};
use crate::client::{ApiAnswer, segment, with_query};
use crate::redraw::RefreshOn;
use crate::report::{CommandResult, eprint_line, printable};
use crate::table::{Column, cell, pairs, text, time};
use crate::{ids, nearest};

/// List, show and send events, and emit stored ones again.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue events list --trigger github.push
  ensue events list --watch
  ensue events show 019c…
  ensue events emit-again 019c…
  ensue events send my_automation.hello --data '{\"name\": \"Ana\"}'
  ensue events send my_automation.hello --data hello.json
  echo '{\"name\":\"Ana\"}' | ensue events send my_automation.hello --data -")]
pub(crate) enum Events {
    /// List events, newest first.
    #[command(after_help = "\
Examples:
  ensue events list --trigger github.push
  ensue events list --since 1h
  ensue events list --watch")]
    List {
        /// Only events of one of these triggers, separated by commas.
        #[arg(long, value_name = "REF", value_delimiter = ',')]
        trigger: Vec<String>,
        /// Only events from this source.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// Only events caused by this event or request.
        #[arg(long, value_name = "ID")]
        correlation: Option<String>,
        #[command(flatten)]
        between: TimeRangeArgs,
        #[command(flatten)]
        page: SortedPage,
        #[command(flatten)]
        watching: Watching,
    },
    /// Show an event with its payload.
    #[command(after_help = "\
Examples:
  ensue events show 019c…
  ensue events show 019c… --as-of 4711     as it was at this position
  ensue events show 019c… -o json")]
    Show {
        /// The event.
        id: String,
        #[command(flatten)]
        as_of: AsOf,
    },
    /// Send an event of a trigger.
    #[command(after_help = "\
Examples:
  ensue events send my_automation.hello --data '{\"name\": \"Ana\"}'
  ensue events send my_automation.hello --data hello.json
  ensue events send my_automation.hello --data hello.json --dedupe order-4711")]
    Send {
        /// The trigger, perhaps with a version of the payload: `shop.ordered@1`. Without one, the payload is of the newest.
        #[arg(value_name = "TRIGGER")]
        trigger: String,
        /// The payload: JSON such as `{"name": "Ana"}`, or a file with JSON. `-` reads standard input.
        /// Default: an empty object.
        #[arg(long, value_name = "JSON|FILE")]
        data: Option<String>,
        /// The dedupe key: an event with the same key is accepted once within 24 hours.
        #[arg(long, value_name = "KEY")]
        dedupe: Option<String>,
    },
    /// Emit a stored event again: a new event with the same trigger, payload, source and time, which is caused
    /// by the first. The current rules judge it.
    #[command(after_help = "\
Examples:
  ensue events emit-again 019c…
  ensue events emit-again 019c… --dedupe order-4711     once within 24 hours
  ensue events emit-again 019c… --dry-run")]
    EmitAgain {
        /// The event.
        id: String,
        /// The dedupe key: an event with the same key is accepted once within 24 hours. Default: none.
        #[arg(long, value_name = "KEY")]
        dedupe: Option<String>,
        /// Check the request, and emit nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// The kinds of things that a chain may begin with.
const CHAIN: &[ids::Kind] = &[ids::EVENT, ids::EXECUTION];

const COLUMNS: &[Column] = &[
    Column::id("ID", |event| cell(event, "id")),
    Column::cut("TRIGGER", |event| cell(event, "trigger")),
    Column::whole("MATCHED", |event| cell(event, "matched")),
    Column::whole("RECEIVED", |event| time(event, "received_at")),
];

impl Events {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self {
            Self::List { trigger, source, correlation, between, page, watching } => {
                let mut query = page.query();
                query.extend(several(&trigger).map(|trigger| ("trigger", trigger)));
                query.extend(source.map(|source| ("source", source)));
                query.extend(ids::whole_if_any(&client, CHAIN, correlation).await?.map(|root| ("correlation", root)));
                query.extend(between.query());
                let refresh_on = RefreshOn::Changes("events");
                print_page(asking, &client, &List { path: "/events", query, columns: COLUMNS, refresh_on }, watching).await?;
            }
            Self::Show { id, as_of } => {
                let id = ids::whole(&client, &[ids::EVENT], &id).await?;
                let event = nearest::get_by_id_with(&client, "/events", &id, &as_of.query()).await?;
                asking.output.print_one(&event, render);
            }
            Self::Send { trigger, data, dedupe } => {
                let payload = match data {
                    Some(data) => json_or_file(&data)?,
                    None => json!({}),
                };
                let mut body = json!({ "trigger": trigger, "payload": payload });
                if let Some(key) = dedupe {
                    body["dedupe"] = Value::from(key);
                }
                show_sent(asking, &client.post("/events", &body).await?);
            }
            Self::EmitAgain { id, dedupe, dry_run } => {
                let id = ids::whole(&client, &[ids::EVENT], &id).await?;
                let path = format!("/events/{}/emit_again", segment(&id));
                let body = dedupe.map_or_else(|| json!({}), |key| json!({ "dedupe": key }));
                if dry_run {
                    client.post(&with_query(&path, &[("dry_run", "true".to_owned())]), &body).await?;
                    asking.output.print_one(&json!({ "event": &id, "would_emit": true }), |_| format!("`{id}` would be emitted again"));
                } else {
                    show_sent(asking, &client.post(&path, &body).await?);
                }
            }
        }
        Ok(())
    }
}

/// Prints the id of an accepted event, and how to see more.
fn show_sent(asking: &Asking, ApiAnswer { status, body }: &ApiAnswer) {
    let id = text(body, "id");
    asking.output.print_one(body, |_| format!("{id}\n"));
    if asking.output.is_for_people() {
        // The node answers 200 for a key that it has accepted before.
        let accepted = if *status == StatusCode::OK { "the key was accepted before," } else { "accepted" };
        eprint_line(format!("{accepted} at position {}; see the effects with: ensue why {id}", text(body, "position")));
    }
}

fn render(event: &Value) -> String {
    let version = if event["version"] == 1 { String::new() } else { text(event, "version") };
    let mut shown = pairs(&[
        ("id", text(event, "id")),
        ("trigger", text(event, "trigger")),
        ("version", version),
        ("source", text(event, "source")),
        ("sensor", text(event, "sensor")),
        ("time", text(event, "time")),
        ("received", text(event, "received_at")),
        ("position", text(event, "position")),
        ("matched", text(event, "matched")),
        ("erred", text(event, "erred")),
        ("actor", text(event, "actor")),
        ("correlation", text(event, "correlation")),
    ]);
    shown.push_str(&printable(&format!("\npayload\n{:#}\n", event["payload"])));
    shown
}
