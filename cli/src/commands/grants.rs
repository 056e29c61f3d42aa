//! `ensue grants`: which identities and groups have which roles.

use clap::Subcommand;
use ensue_engine::access::limit::Limit;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use super::{Asking, PageArgs, print_list, wait_for};
use crate::ago::deadline_of;
use crate::client::segment;
use crate::report::{CommandResult, eprint_line, say};
use crate::table::{Column, cell, text, time};

/// Grant roles to identities and groups.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue grants add group:release --role author --on pack=release --until 2027-01-01
  ensue grants add identity:ana --role viewer
  ensue grants list --subject group:release")]
pub(crate) enum Grants {
    /// Grant a role.
    #[command(after_help = "\
Examples:
  ensue grants add group:release --role author --on pack=release --until 2027-01-01
  ensue grants add group:eu --role viewer --on label:site=eu
  ensue grants add everyone --role viewer")]
    Add {
        /// The subject: `identity:<name>`, `group:<name>` or `everyone`.
        subject: String,
        /// The role.
        #[arg(long)]
        role: String,
        /// What it covers: `pack=<pack>`, `action=<ref>`, `hook=<ref>`, `label:<name>=<value>`, separated by commas.
        #[arg(long, value_name = "LIMIT")]
        on: Option<Limit>,
        /// When the grant ends.
        #[arg(long, value_name = "TIME", value_parser = deadline_of)]
        until: Option<Timestamp>,
    },
    /// List grants.
    #[command(after_help = "\
Examples:
  ensue grants list
  ensue grants list --subject group:release
  ensue grants list --role admin")]
    List {
        /// Only those of this subject.
        #[arg(long)]
        subject: Option<String>,
        /// Only those of this role.
        #[arg(long)]
        role: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Remove a grant.
    #[command(after_help = "\
Examples:
  ensue grants remove 019a4f3e-5c00-7000-8000-000000000001")]
    #[command(aliases = ["delete", "rm"])]
    Remove {
        /// Its id.
        id: String,
    },
}

/// The columns of grants.
pub(super) const GRANTS: &[Column] = &[
    Column::whole("ID", |grant| cell(grant, "id")),
    Column::cut("SUBJECT", |grant| cell(grant, "subject")),
    Column::whole("ROLE", |grant| cell(grant, "role")),
    Column::cut("ON", |grant| limit(&grant["on"])),
    Column::whole("UNTIL", |grant| time(grant, "until")),
    Column::whole("ADDED", |grant| time(grant, "added_at")),
];

/// Writes a limit as `--on` takes it.
fn limit(on: &Value) -> String {
    let kinds = [("pack", "packs"), ("action", "actions"), ("hook", "hooks")];
    let parts = kinds.into_iter().flat_map(|(kind, field)| {
        on[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(move |pattern| format!("{kind}={pattern}"))
    });
    let labels = on["labels"].as_object().into_iter().flatten().flat_map(|(name, values)| {
        values.as_array().into_iter().flatten().filter_map(Value::as_str).map(move |value| format!("label:{name}={value}"))
    });
    parts.chain(labels).collect::<Vec<_>>().join(",")
}

impl Grants {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        wait_for(async {
            match self {
                Self::Add { subject, role, on, until } => {
                    let on = on.map_or(Value::Null, |on| json!(on));
                    let body = json!({ "subject": subject, "role": role, "on": on, "until": until });
                    let added = asking.client()?.post("/grants", &body).await?.body;
                    asking.output.print(&added, || {
                        say(text(&added, "id"));
                        eprint_line(format!("`{subject}` has the role `{role}`"));
                    });
                    Ok(())
                }
                Self::List { subject, role, page } => {
                    let filters = [("subject", subject), ("role", role)];
                    let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
                    let query: Vec<_> = filters.chain(page.query()).collect();
                    print_list(asking, &asking.client()?, "/grants", &query, GRANTS).await
                }
                Self::Remove { id } => {
                    asking.client()?.delete(&format!("/grants/{}", segment(&id))).await?;
                    eprint_line("the grant is removed");
                    Ok(())
                }
            }
        })
    }
}
