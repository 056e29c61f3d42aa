//! `ensue search`: finds things by a part of their id or name, by a label, or by the title of an inquiry.

use clap::Args;

use super::{Asking, wait_for};
use crate::report::{CommandResult, say};
use crate::table::{Column, cell, page, time};

/// Find things by id, name, label or title.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue search 019d3450
  ensue search site=eu
  ensue search greet")]
pub(crate) struct Search {
    /// The first digits of an id (at least eight), a part of a name, a label such as site=eu, or a part of a title.
    #[arg(value_name = "TEXT")]
    text: String,
}

const COLUMNS: &[Column] = &[
    Column::whole("KIND", |found| cell(found, "kind")),
    Column::whole("ID", |found| cell(found, "id")),
    Column::cut("TITLE", |found| cell(found, "title")),
    Column::whole("STATUS", |found| cell(found, "status")),
    Column::cut("AT", |found| time(found, "at")),
];

impl Search {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        wait_for(async {
            let found = asking.client()?.get("/search", &[("q", self.text)]).await?;
            asking.output.print(&found, || say(page(&found, COLUMNS)));
            Ok(())
        })
    }
}
