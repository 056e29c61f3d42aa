//! `ensue parked`: the parked reactions, and what to do with them.

use clap::Subcommand;
use serde_json::json;

use super::{Asking, SortedPage, print_list};
use crate::report::{CommandResult, eprint_line};
use crate::table::{Column, cell, pairs, text, time};

/// List, retry and dismiss parked reactions.
///
/// A reaction is the consequence of a record. A reaction is parked if it hits an internal error, if it
/// cannot be stored, or if the node ended three times during it. Everything else continues.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue parked list
  ensue parked show 4711
  ensue parked retry 4711       after an upgrade that fixes the error
  ensue parked dismiss 4711     give up the reaction permanently")]
pub(crate) enum ParkedCommand {
    /// List parked reactions, newest first.
    #[command(after_help = "\
Examples:
  ensue parked list
  ensue parked list -o json")]
    List {
        #[command(flatten)]
        page: SortedPage,
    },
    /// Show a parked reaction.
    #[command(after_help = "\
Examples:
  ensue parked show 4711")]
    Show {
        /// The position of the record that caused it.
        position: u64,
    },
    /// Retry a parked reaction.
    #[command(after_help = "\
Examples:
  ensue parked retry 4711       after an upgrade that fixes the error")]
    Retry {
        /// The position of the record that caused it.
        position: u64,
    },
    /// Dismiss a parked reaction.
    #[command(after_help = "\
Examples:
  ensue parked dismiss 4711     give up the reaction permanently")]
    Dismiss {
        /// The position of the record that caused it.
        position: u64,
    },
}

const COLUMNS: &[Column] = &[
    Column::cut("OF", |parked| cell(parked, "of")),
    Column::cut("ERROR", |parked| cell(parked, "error")),
    Column::whole("PARKED", |parked| time(parked, "parked_at")),
];

impl ParkedCommand {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self {
            Self::List { page } => {
                print_list(asking, &client, "/parked_reactions", &page.query(), COLUMNS).await?;
            }
            Self::Show { position } => {
                let parked = client.get(&format!("/parked_reactions/{position}"), &[]).await?;
                asking.output.print_one(&parked, |parked| {
                    pairs(&[
                        ("of", text(parked, "of")),
                        ("consequence", text(parked, "next")),
                        ("error", text(parked, "error")),
                        ("parked", text(parked, "parked_at")),
                        ("position", text(parked, "position")),
                    ])
                });
            }
            Self::Retry { position } => {
                client.post(&format!("/parked_reactions/{position}/retry"), &json!({})).await?;
                eprint_line(format!("the reaction to the record at {position} is retried"));
            }
            Self::Dismiss { position } => {
                client.post(&format!("/parked_reactions/{position}/dismiss"), &json!({})).await?;
                eprint_line(format!("the reaction to the record at {position} is dismissed"));
            }
        }
        Ok(())
    }
}
