//! `ensue usage`: how much the caller, or another identity, has used of its quotas.

use clap::Args;
use serde_json::json;

use super::{Asking, wait_for};
use crate::report::{CommandResult, eprint_line, say};
use crate::table::{Column, cell, page, text, time};

/// Show how much you have used of your quotas.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue usage
  ensue usage --of ci.release")]
pub(crate) struct Usage {
    /// Another identity; this requires `usage:read`.
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
}

const QUOTAS: &[Column] = &[
    Column::whole("QUOTA", |quota| cell(quota, "what")),
    Column::whole("USED", |quota| cell(quota, "used")),
    Column::whole("LIMIT", |quota| cell(quota, "limit")),
    Column::whole("RESETS", |quota| time(quota, "resets_at")),
];

impl Usage {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        wait_for(async {
            let query: Vec<_> = self.of.into_iter().map(|name| ("of", name)).collect();
            let usage = asking.client()?.get("/usage", &query).await?;
            asking.output.print(&usage, || {
                match usage["tier"].as_str() {
                    Some(tier) => say(format!("{}, tier `{tier}`", text(&usage, "name"))),
                    None => eprint_line(format!("`{}` has no tier, so nothing limits it", text(&usage, "name"))),
                }
                if usage["quotas"].as_array().is_some_and(|quotas| !quotas.is_empty()) {
                    say(page(&json!({ "items": usage["quotas"] }), QUOTAS));
                }
            });
            Ok(())
        })
    }
}
