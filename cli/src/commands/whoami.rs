//! `ensue whoami`: who the caller is, by which token, until when, and what it may do.

use clap::Args;
use serde_json::{Value, json};

use super::auth::limits;
use super::{Asking, wait_for};
use crate::report::{CommandResult, eprint_line, say};
use crate::table::{Column, cell, page, text};

/// Show who you are, and what you may do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue whoami
  ensue whoami -o json")]
pub(crate) struct Whoami {}

const COLUMNS: &[Column] = &[
    Column::whole("PERMISSION", |permission| cell(permission, "permission")),
    Column::whole("REACH", |permission| text(permission, "reach").replace('_', " ")),
    Column::cut("ON", limits),
];

impl Whoami {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let Self {} = self;
        whoami(asking)
    }
}

/// Shows who the caller is, by which token, until when, and what it may do.
fn whoami(asking: &Asking) -> CommandResult {
    wait_for(async {
        let me = asking.client()?.get("/me", &[]).await?;
        asking.output.print(&me, || {
            let by = &me["by"];
            let until = by["until"].as_str().map_or_else(String::new, |until| format!(", until {until}"));
            // A token has a name; of an issuer, the id is the name.
            let named = if text(by, "kind") == "issuer" { text(by, "id") } else { text(by, "name") };
            say(format!("{}, by the {} {named}{until}", text(&me, "name"), text(by, "kind")));
            let roles = me["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
            let roles: Vec<&str> = roles.iter().filter_map(Value::as_str).collect();
            if !roles.is_empty() {
                say(format!("roles and groups: {}", roles.join(", ")));
            }
            if me["permissions"].as_array().is_none_or(Vec::is_empty) {
                eprint_line("this token may do nothing");
            }
            say(page(&json!({ "items": me["permissions"] }), COLUMNS));
        });
        Ok(())
    })
}
