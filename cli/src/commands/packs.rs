//! `ensue packs`: what is installed.

use clap::Subcommand;

use super::{Asking, Page, tell_next};
use crate::client::segment;
use crate::report::Outcome;
use crate::table::{Column, cell, print_list, print_one};

/// List and show packs.
#[derive(Debug, Subcommand)]
pub(crate) enum Packs {
    /// List packs.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Show one.
    Show {
        /// Its name.
        name: String,
    },
}

const COLUMNS: &[Column] = &[
    Column { title: "PACK", cell: |pack| cell(pack, "name") },
    Column { title: "VERSION", cell: |pack| cell(pack, "version") },
    Column { title: "STATUS", cell: |pack| cell(pack, "status") },
    Column { title: "DESCRIPTION", cell: |pack| cell(pack, "description") },
];

impl Packs {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List { page } => {
                let answer = client.get("/packs", &page.query()).await?;
                print_list(asking.output, &answer, COLUMNS);
                tell_next(&answer);
            }
            Self::Show { name } => {
                let pack = client.get(&format!("/packs/{}", segment(&name)), &[]).await?;
                print_one(asking.output, &pack, |pack| format!("{pack:#}"));
            }
        }
        Ok(())
    }
}
