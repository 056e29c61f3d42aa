//! `ensue triggers`: the kinds of event.

use clap::Subcommand;

use super::{Asking, Page, tell_next};
use crate::client::segment;
use crate::report::Outcome;
use crate::table::{Column, cell, print_list, print_one};

/// List and show triggers.
#[derive(Debug, Subcommand)]
pub(crate) enum Triggers {
    /// List triggers.
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
    Column { title: "TRIGGER", cell: |trigger| cell(trigger, "ref") },
    Column { title: "DESCRIPTION", cell: |trigger| cell(trigger, "description") },
];

impl Triggers {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List { page } => {
                let answer = client.get("/triggers", &page.query()).await?;
                print_list(asking.output, &answer, COLUMNS);
                tell_next(&answer);
            }
            Self::Show { name } => {
                let trigger = client.get(&format!("/triggers/{}", segment(&name)), &[]).await?;
                print_one(asking.output, &trigger, |trigger| format!("{trigger:#}"));
            }
        }
        Ok(())
    }
}
