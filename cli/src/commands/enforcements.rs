//! `ensue enforcements`: each rule's decision on each event that it matches.

use clap::Subcommand;

use super::{Asking, Page, Sorting, tell_next};
use crate::flow::{became, held, outcome};
use crate::nearest;
use crate::report::Outcome;
use crate::table::{Column, cell, pairs, text, time};

/// List and show enforcements.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue enforcements list --rule release.ship_on_tag
  ensue enforcements list --outcome rejected")]
pub(crate) enum Enforcements {
    /// List enforcements, the newest first.
    List {
        /// Only those of this rule.
        #[arg(long, value_name = "REF")]
        rule: Option<String>,
        /// Only those on this event.
        #[arg(long, value_name = "ID")]
        event: Option<String>,
        /// Only those with this outcome: executed, held, deduplicated, throttled, shadowed, rejected.
        #[arg(long, value_name = "OUTCOME")]
        outcome: Option<String>,
        #[command(flatten)]
        sorting: Sorting,
        #[command(flatten)]
        page: Page,
    },
    /// Show an enforcement.
    Show {
        /// The enforcement.
        id: String,
    },
}

const COLUMNS: &[Column] = &[
    Column::whole("ID", |made| cell(made, "id")),
    Column::cut("RULE", |made| cell(made, "rule")),
    Column::whole("OUTCOME", outcome),
    Column::whole("MADE", |made| time(made, "time")),
];

impl Enforcements {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List { rule, event, outcome, sorting, page } => {
                let mut query = page.query();
                query.extend(sorting.query());
                query.extend(rule.map(|rule| ("rule", rule)));
                query.extend(event.map(|event| ("event", event)));
                query.extend(outcome.map(|outcome| ("outcome", outcome)));
                let answer = client.get("/enforcements", &query).await?;
                asking.output.print_list(&answer, COLUMNS);
                tell_next(&answer);
            }
            Self::Show { id } => {
                let made = nearest::get_by_id(&client, "/enforcements", &id).await?;
                asking.output.print_one(&made, |made| {
                    pairs(&[
                        ("id", text(made, "id")),
                        ("rule", text(made, "rule")),
                        ("event", text(made, "event")),
                        ("outcome", text(made, "outcome")),
                        ("held", held(&made["held"])),
                        ("then", became(&made["became"])),
                        ("repeats", text(made, "repeats")),
                        ("error", text(made, "error")),
                        ("execution", text(made, "execution")),
                        ("inputs", text(made, "inputs")),
                        ("time", text(made, "time")),
                        ("position", text(made, "position")),
                    ])
                });
            }
        }
        Ok(())
    }
}
