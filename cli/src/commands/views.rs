//! `ensue views`: the read models, which can be lost and rebuilt.

use clap::Subcommand;

use super::at_rest::{AtRest, REBUILDING};
use super::{Asking, wait_for};
use crate::report::{CommandResult, eprint_line};
use crate::table::text;

/// Rebuild the read models.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue views rebuild
  ensue views rebuild --data ./ensue-data     without a running node")]
pub(crate) enum Views {
    /// Rebuild the read models from the log, and replace the old ones.
    #[command(after_help = "\
Examples:
  ensue views rebuild
  ensue views rebuild --data ./ensue-data     without a running node")]
    Rebuild {
        #[command(flatten)]
        at_rest: AtRest,
    },
}

impl Views {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let Self::Rebuild { at_rest } = self;
        let rebuilt = match at_rest.open()? {
            Some(data) => data.rebuild_views()?,
            None => {
                let mut job = serde_json::Value::Null;
                wait_for(async {
                    let client = asking.client()?;
                    job = super::job(&client, "/views/rebuild", REBUILDING).await?;
                    super::ended_well(&job)
                })?;
                job
            }
        };
        asking.output.print(&rebuilt, || eprint_line(format!("the read models are rebuilt up to position {}", text(&rebuilt, "position"))));
        Ok(())
    }
}
