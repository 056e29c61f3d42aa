//! `ensue dead-letters`: deliveries that proved who sent them and were refused all the same.

use clap::Subcommand;

use super::{Asking, Page, Sorting, tell_next};
use crate::nearest;
use crate::report::Outcome;
use crate::table::{Column, cell, pairs, text, time};

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
        sorting: Sorting,
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
    Column::whole("ID", |letter| cell(letter, "id")),
    Column::cut("SENSOR", |letter| cell(letter, "sensor")),
    Column::cut("REASON", |letter| cell(letter, "reason")),
    Column::whole("CAME", |letter| time(letter, "time")),
];

impl DeadLetters {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List { sensor, sorting, page } => {
                let mut query = page.query();
                query.extend(sorting.query());
                query.extend(sensor.map(|sensor| ("sensor", sensor)));
                let answer = client.get("/dead_letters", &query).await?;
                asking.output.print_list(&answer, COLUMNS);
                tell_next(&answer);
            }
            Self::Show { id } => {
                let letter = nearest::get_by_id(&client, "/dead_letters", &id).await?;
                asking.output.print_one(&letter, |letter| {
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
