//! `ensue actions`: what can be run.

use clap::Subcommand;

use super::{Asking, Page, tell_next};
use crate::client::segment;
use crate::report::Outcome;
use crate::table::{Column, cell, print_list, print_one};

/// List and show actions.
#[derive(Debug, Subcommand)]
pub(crate) enum Actions {
    /// List actions.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Show one.
    Show {
        /// Its ref.
        name: String,
    },
}

const COLUMNS: &[Column] = &[
    Column { title: "ACTION", cell: |action| cell(action, "ref") },
    Column { title: "RUNNER", cell: |action| cell(action, "runner") },
    Column { title: "DESCRIPTION", cell: |action| cell(action, "description") },
];

impl Actions {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List { page } => {
                let answer = client.get("/actions", &page.query()).await?;
                print_list(asking.output, &answer, COLUMNS);
                tell_next(&answer);
            }
            Self::Show { name } => {
                let action = client.get(&format!("/actions/{}", segment(&name)), &[]).await?;
                print_one(asking.output, &action, |action| format!("{action:#}"));
            }
        }
        Ok(())
    }
}
