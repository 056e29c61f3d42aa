//! `ensue enforcements`: each rule's decision on each event that it matches.

use clap::Subcommand;

use super::{AsOf, Asking, SortedPage, TimeRangeArgs, print_list, several};
use crate::flow::{describe_end, describe_hold, outcome};
use crate::report::CommandResult;
use crate::table::{Column, cell, pairs, text, time};
use crate::{ids, nearest};

/// List and show enforcements.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue enforcements list --rule release.ship_on_tag
  ensue enforcements list --outcome rejected")]
pub(crate) enum Enforcements {
    /// List enforcements, newest first.
    #[command(after_help = "\
Examples:
  ensue enforcements list --rule release.ship_on_tag
  ensue enforcements list --outcome rejected --since 1d
  ensue enforcements list --event 019c…")]
    List {
        /// Only items of one of these rules, separated by commas.
        #[arg(long, value_name = "REF", value_delimiter = ',')]
        rule: Vec<String>,
        /// Only enforcements for this event.
        #[arg(long, value_name = "ID")]
        event: Option<String>,
        /// Only enforcements with one of these outcomes, separated by commas.
        #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = OUTCOMES)]
        outcome: Vec<String>,
        #[command(flatten)]
        between: TimeRangeArgs,
        #[command(flatten)]
        page: SortedPage,
    },
    /// Show an enforcement.
    #[command(after_help = "\
Examples:
  ensue enforcements show 019c…
  ensue enforcements show 019c… --as-of 4711     as it was at this position
  ensue enforcements show 019c… -o json")]
    Show {
        /// The enforcement.
        id: String,
        #[command(flatten)]
        as_of: AsOf,
    },
}

/// The possible outcomes of a match.
const OUTCOMES: [&str; 7] = ["executed", "held", "deduplicated", "throttled", "skipped", "shadowed", "rejected"];

const COLUMNS: &[Column] = &[
    Column::id("ID", |made| cell(made, "id")),
    Column::cut("RULE", |made| cell(made, "rule")),
    Column::whole("OUTCOME", outcome),
    Column::whole("MADE", |made| time(made, "time")),
];

impl Enforcements {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self {
            Self::List { rule, event, outcome, between, page } => {
                let mut query = page.query();
                query.extend(several(&rule).map(|rule| ("rule", rule)));
                query.extend(ids::whole_if_any(&client, &[ids::EVENT], event).await?.map(|event| ("event", event)));
                query.extend(between.query());
                query.extend(several(&outcome).map(|outcome| ("outcome", outcome)));
                print_list(asking, &client, "/enforcements", &query, COLUMNS).await?;
            }
            Self::Show { id, as_of } => {
                let id = ids::whole(&client, &[ids::ENFORCEMENT], &id).await?;
                let made = nearest::get_by_id_with(&client, "/enforcements", &id, &as_of.query()).await?;
                asking.output.print_one(&made, |made| {
                    pairs(&[
                        ("id", text(made, "id")),
                        ("rule", text(made, "rule")),
                        ("event", text(made, "event")),
                        ("outcome", text(made, "outcome")),
                        ("held", describe_hold(&made["held"])),
                        ("then", describe_end(&made["became"])),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn outcome_filter_values_match_the_api() {
        let document: Value = serde_json::from_str(include_str!("../../../docs/reference/openapi.json")).unwrap();
        let parameters = document["paths"]["/api/v1/enforcements"]["get"]["parameters"].as_array().unwrap();
        let outcome = parameters.iter().find(|parameter| parameter["name"] == "outcome").unwrap();
        assert_eq!(outcome["schema"]["items"]["enum"], json!(OUTCOMES));
    }
}
