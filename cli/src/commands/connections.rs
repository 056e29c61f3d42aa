//! `ensue connections`: the endpoints with credentials that `ensue.yaml` declares, and their states.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Asking, PageArgs, print_list};
use crate::client::segment;
use crate::nearest;
use crate::report::{CommandResult, Exit, Failure};
use crate::table::{Column, cell, pairs, text, time};

/// List, show and test connections.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue connections
  ensue connections show orders
  ensue connections test orders")]
pub(crate) struct Connections {
    #[command(subcommand)]
    asked: Option<ConnectionsCommand>,
}

#[derive(Debug, Subcommand)]
enum ConnectionsCommand {
    /// List connections, with their use, breaker and last error.
    #[command(after_help = "\
Examples:
  ensue connections list
  ensue connections list -o json")]
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a connection, with its state since the start of the node.
    #[command(after_help = "\
Examples:
  ensue connections show orders
  ensue connections show orders -o json")]
    Show {
        /// The connection.
        connection: String,
    },
    /// Test a connection: its address, TLS and credentials. Nothing is changed at its server.
    #[command(after_help = "\
Examples:
  ensue connections test orders
  ensue connections test orders && ensue run shop.sync")]
    Test {
        /// The connection.
        connection: String,
    },
}

const COLUMNS: &[Column] = &[
    Column::whole("CONNECTION", |connection| cell(connection, "name")),
    Column::whole("KIND", |connection| cell(connection, "kind")),
    Column::whole("ADDRESS", |connection| cell(connection, "address")),
    Column::whole("IN USE", |connection| format!("{}/{}", connection["in_use_count"], connection["in_use_max"])),
    Column::whole("BREAKER", |connection| cell(connection, "breaker")),
    Column::whole("LAST USE", |connection| time(connection, "last_used_at")),
    Column::cut("LAST ERROR", |connection| text(&connection["last_error"], "message")),
];

impl Connections {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self.asked {
            None => print_list(asking, &client, "/connections", &[], COLUMNS).await,
            Some(ConnectionsCommand::List { page }) => print_list(asking, &client, "/connections", &page.query(), COLUMNS).await,
            Some(ConnectionsCommand::Show { connection }) => {
                let connection = nearest::get_by_name(&client, "/connections", &connection).await?;
                asking.output.print_one(&connection, render);
                Ok(())
            }
            Some(ConnectionsCommand::Test { connection }) => {
                let answered = client.post(&format!("/connections/{}/test", segment(&connection)), &json!({})).await;
                let answer = nearest::or_nearest(&client, "/connections", &connection, answered).await?.body;
                asking.output.print_one(&answer, |tested| format!("{} ({} ms)", text(tested, "message"), tested["took_ms"]));
                if answer["ok"] == true {
                    return Ok(());
                }
                let message = format!("the test of the connection `{connection}` failed ({})", text(&answer, "error"));
                Err(Failure::with(Exit::Failed, message).hint("see its address and credentials in `ensue.yaml` under `connections`"))
            }
        }
    }
}

/// Returns a connection for people.
fn render(connection: &Value) -> String {
    let error = &connection["last_error"];
    let failed = if error.is_null() {
        String::new()
    } else {
        format!("{} ({}): {}", text(error, "kind"), text(error, "time"), text(error, "message"))
    };
    let packs = match connection["packs"].as_array() {
        Some(packs) => packs.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        None => "all that list it".to_owned(),
    };
    pairs(&[
        ("connection", text(connection, "name")),
        ("kind", text(connection, "kind")),
        ("address", text(connection, "address")),
        ("credentials", text(connection, "auth")),
        ("packs", packs),
        ("in use", format!("{} of {}", connection["in_use_count"], connection["in_use_max"])),
        ("pool open since", text(connection, "opened_at")),
        ("breaker", text(connection, "breaker")),
        ("retry at", text(connection, "retry_at")),
        ("last use", text(connection, "last_used_at")),
        ("succeeded", text(connection, "succeeded_count")),
        ("failed", text(connection, "failed_count")),
        ("last error", failed),
    ])
}
