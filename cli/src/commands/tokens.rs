//! `ensue tokens`: permissions by named tokens. A token is shown once, and stored only as a hash.

use clap::Subcommand;
use serde_json::json;

use super::at_rest::AtRest;
use super::{Asking, wait_for};
use crate::client::segment;
use crate::report::{Outcome, say, tell};
use crate::table::{Column, cell, text, time};

/// Add, list and revoke tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Built-in roles: admin (everything), operator (everything but tokens), author
(packs, rules, events, executions), viewer (reading, but no keys). Any other
name is a role that inquiries can be asked of.

Examples:
  ensue tokens add ana --role release_managers --role viewer
  ensue tokens add ci --role author > ci.token
  ensue tokens add rescue --role admin --data ./ensue-data     all tokens lost")]
pub(crate) enum Tokens {
    /// Add a token and print it. It is not shown again.
    #[command(after_help = "\
Examples:
  ensue tokens add ana --role release_managers --role viewer
  ensue tokens add ci --role author > ci.token
  ensue tokens add rescue --role admin --data ./ensue-data     all tokens lost")]
    Add {
        /// The name of its holder: a-z, 0-9, `_`, `-` and `.`.
        name: String,
        /// The roles of its holder.
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<String>,
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// List tokens, without their secrets.
    #[command(after_help = "\
Examples:
  ensue tokens list
  ensue tokens list --data ./ensue-data     without a running node")]
    List {
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// Revoke a token.
    #[command(after_help = "\
Examples:
  ensue tokens revoke ana
  ensue tokens revoke ci --data ./ensue-data     without a running node")]
    #[command(visible_alias = "remove", aliases = ["delete", "rm"])]
    Revoke {
        /// The token's name.
        name: String,
        #[command(flatten)]
        at_rest: AtRest,
    },
}

const COLUMNS: &[Column] = &[
    Column::whole("NAME", |token| cell(token, "name")),
    Column::cut("ROLES", |token| {
        let roles = token["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
        roles.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(", ")
    }),
    Column::whole("ADDED", |token| time(token, "added_at")),
    Column::cut("BY", |token| cell(token, "added_by")),
];

impl Tokens {
    pub(super) fn run(self, asking: &Asking) -> Outcome {
        match self {
            Self::Add { name, roles, at_rest } => {
                let added = match at_rest.open()? {
                    Some(mut data) => json!({ "name": name, "roles": roles, "token": data.add_token(&name, &roles)? }),
                    None => {
                        let mut added = serde_json::Value::Null;
                        wait_for(async {
                            added = asking.client()?.post("/tokens", &json!({ "name": name, "roles": roles })).await?.body;
                            Ok(())
                        })?;
                        added
                    }
                };
                asking.output.print(&added, || {
                    say(text(&added, "token"));
                    tell(format!("the token of `{name}` is shown only this once; its holder sets ENSUE_TOKEN to it"));
                });
                Ok(())
            }
            Self::List { at_rest } => match at_rest.open()? {
                Some(data) => {
                    asking.output.print_list(&json!({ "items": data.tokens(), "next": null }), COLUMNS);
                    Ok(())
                }
                None => wait_for(async {
                    let answer = asking.client()?.get("/tokens", &[]).await?;
                    asking.output.print_list(&answer, COLUMNS);
                    Ok(())
                }),
            },
            Self::Revoke { name, at_rest } => {
                match at_rest.open()? {
                    Some(mut data) => data.revoke_token(&name)?,
                    None => wait_for(async {
                        asking.client()?.delete(&format!("/tokens/{}", segment(&name))).await?;
                        Ok(())
                    })?,
                }
                tell(format!("the token `{name}` is revoked"));
                Ok(())
            }
        }
    }
}
