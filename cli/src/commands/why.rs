//! `ensue why`: the causal tree around an event, an enforcement or an execution.

use clap::Args;

use super::Asking;
use crate::client::segment;
use crate::report::{Outcome, say};
use crate::style::Style;
use crate::table::{Output, print_json};
use crate::trace::{self, Ids};
use crate::tree;

/// Show what led to a thing and what came of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue why 019c…              times count from the arrival of what began it
  ensue why 019c… -o json")]
pub(crate) struct Why {
    /// An event, an enforcement or an execution.
    id: String,
}

impl Why {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        let graph = client.get(&format!("/trace/{}", segment(&self.id)), &[]).await?;
        match asking.output {
            Output::Json => print_json(&graph),
            Output::Table => {
                let tree = trace::tree(&client, &graph, Ids::Shown).await?;
                say(tree::draw(&tree, Style::of_stdout()).trim_end());
            }
        }
        Ok(())
    }
}
