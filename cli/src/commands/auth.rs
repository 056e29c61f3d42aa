//! `ensue auth`: what a caller may do.

use clap::Subcommand;
use serde_json::Value;

use super::{Asking, wait_for};
use crate::report::{CommandResult, Exit, Failure, say};
use crate::table::text;

/// Ask what a caller may do.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue auth can-i executions:cancel
  ensue auth can-i actions:execute --on action=release.ship
  ensue auth can-i actions:execute --on pack=release --as ana")]
pub(crate) enum Auth {
    /// Report whether you, or another identity, have a permission.
    ///
    /// The exit code is 0 for yes and 1 for no.
    #[command(
        name = "can-i",
        after_help = "\
Examples:
  ensue auth can-i executions:cancel
  ensue auth can-i actions:execute --on action=release.ship
  ensue auth can-i actions:execute --on pack=release --as ana"
    )]
    CanI {
        /// The permission, `<noun>:<verb>`.
        permission: String,
        /// The resource: `pack=<pack>`, `action=<ref>`, `hook=<ref>`, or an execution with the label `label:<name>=<value>`.
        #[arg(long, value_name = "KIND=NAME")]
        on: Option<String>,
        /// Another identity.
        #[arg(long = "as", value_name = "NAME")]
        other: Option<String>,
    },
}

impl Auth {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let Self::CanI { permission, on, other } = self;
        let mut query = vec![("permission", permission.clone())];
        if let Some(on) = on {
            let (kind, name) = match on.strip_prefix("label:") {
                Some(label) => ("label", label),
                None => on.split_once('=').ok_or_else(|| not_a_resource(&on))?,
            };
            let kind = ["pack", "action", "hook", "label"].into_iter().find(|known| *known == kind).ok_or_else(|| not_a_resource(&on))?;
            query.push((kind, name.to_owned()));
        }
        query.extend(other.map(|name| ("as", name)));
        wait_for(async {
            let answer = asking.client()?.get("/auth/can-i", &query).await?;
            let is_allowed = answer["allowed"] == true;
            asking.output.print(&answer, || say(describe(&answer)));
            if is_allowed { Ok(()) } else { Err(Failure::with(Exit::Failed, format!("`{permission}` is not allowed")).suppress_report()) }
        })
    }
}

fn not_a_resource(on: &str) -> Failure {
    Failure::with(
        Exit::Usage,
        format!("`{on}` names no resource; write `pack=<pack>`, `action=<ref>`, `hook=<ref>` or `label:<name>=<value>`"),
    )
}

/// Describes whether a permission is there, and by what.
fn describe(answer: &Value) -> String {
    let limits = limits(answer);
    match (answer["allowed"] == true, answer["by"]["role"].as_str()) {
        (true, Some(role)) => {
            format!("yes: by the grant {} of the role {role} to {}", text(&answer["by"], "grant"), text(&answer["by"], "subject"))
        }
        (true, None) => "yes".to_owned(),
        (false, _) if !limits.is_empty() => format!("no: only on {limits}"),
        (false, _) if answer["reach"] == "what_is_asked" => "no: only what you are asked".to_owned(),
        (false, _) => format!("no: the permission {} is missing", text(answer, "permission")),
    }
}

/// Returns the limits of a permission.
pub(super) fn limits(of: &Value) -> String {
    let limits = of["on"].as_array().map(Vec::as_slice).unwrap_or_default();
    limits.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
}
