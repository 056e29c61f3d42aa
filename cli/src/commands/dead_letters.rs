//! `ensue dead-letters`: deliveries that proved who sent them and were refused all the same.

use clap::Subcommand;

use super::{Asking, Page, tell_next};
use crate::client::segment;
use crate::report::Outcome;
use crate::table::{Column, cell, pairs, print_list, print_one, text, time};

/// List and show deliveries that were refused although their sender was proven.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue dead-letters list --sensor github.webhook
  ensue dead-letters show 019c…      with what was delivered")]
pub(crate) enum DeadLetters {
    /// List them, the newest first.
    List {
        /// Only those of this sensor.
        #[arg(long, value_name = "REF")]
        sensor: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show one with what was delivered.
    Show {
        /// The dead letter.
        id: String,
    },
}

const COLUMNS: &[Column] = &[
    Column { title: "ID", cell: |letter| cell(letter, "id") },
    Column { title: "SENSOR", cell: |letter| cell(letter, "sensor") },
    Column { title: "REASON", cell: |letter| cell(letter, "reason") },
    Column { title: "CAME", cell: |letter| time(letter, "time") },
];

impl DeadLetters {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List { sensor, page } => {
                let mut query = page.query();
                query.extend(sensor.map(|sensor| ("sensor", sensor)));
                let answer = client.get("/dead_letters", &query).await?;
                print_list(asking.output, &answer, COLUMNS);
                tell_next(&answer);
            }
            Self::Show { id } => {
                let letter = client.get(&format!("/dead_letters/{}", segment(&id)), &[]).await?;
                print_one(asking.output, &letter, |letter| {
                    pairs(&[
                        ("id", text(letter, "id")),
                        ("sensor", text(letter, "sensor")),
                        ("trigger", text(letter, "trigger")),
                        ("reason", text(letter, "reason")),
                        ("delivered", text(letter, "delivered")),
                        ("time", text(letter, "time")),
                        ("position", text(letter, "position")),
                    ])
                });
            }
        }
        Ok(())
    }
}
