//! `ensue roles`: named sets of permissions.

use clap::Subcommand;
use serde_json::{Value, json};

use super::identities::words;
use super::{Asking, PageArgs, print_list, wait_for};
use crate::client::segment;
use crate::report::{CommandResult, eprint_line, say};
use crate::table::{Column, cell};

/// Set, show and remove roles.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue roles list
  ensue roles set restarter executions:read executions:rerun
  ensue grants add group:oncall --role restarter")]
pub(crate) enum Roles {
    /// List roles, built-in and own.
    #[command(after_help = "\
Examples:
  ensue roles list")]
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a role with its permissions.
    #[command(after_help = "\
Examples:
  ensue roles show author")]
    Show {
        /// The role.
        name: String,
    },
    /// Set all permissions of a role that is not built in.
    #[command(after_help = "\
Examples:
  ensue roles set restarter executions:read executions:rerun")]
    Set {
        /// The role.
        name: String,
        /// All of its permissions.
        #[arg(required = true)]
        permissions: Vec<String>,
    },
    /// Remove a role that nobody has.
    #[command(after_help = "\
Examples:
  ensue roles remove restarter")]
    #[command(aliases = ["delete", "rm"])]
    Remove {
        /// The role.
        name: String,
    },
}

const ROLES: &[Column] = &[
    Column::whole("NAME", |role| cell(role, "name")),
    Column::whole("KIND", |role| if role["built_in"] == true { "built-in".to_owned() } else { "own".to_owned() }),
    Column::cut("PERMISSIONS", |role| words(&role["permissions"])),
];

impl Roles {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let at = |name: &str| format!("/roles/{}", segment(name));
        wait_for(async {
            match self {
                Self::List { page } => print_list(asking, &asking.client()?, "/roles", &page.query(), ROLES).await,
                Self::Show { name } => {
                    let role = asking.client()?.get(&at(&name), &[]).await?;
                    asking.output.print(&role, || {
                        role["permissions"].as_array().into_iter().flatten().filter_map(Value::as_str).for_each(say);
                    });
                    Ok(())
                }
                Self::Set { name, permissions } => {
                    let set = asking.client()?.put(&at(&name), &json!({ "permissions": permissions })).await?.body;
                    asking.output.print(&set, || eprint_line(format!("the role `{name}` has {} permissions", permissions.len())));
                    Ok(())
                }
                Self::Remove { name } => {
                    asking.client()?.delete(&at(&name)).await?;
                    eprint_line(format!("the role `{name}` is removed"));
                    Ok(())
                }
            }
        })
    }
}
