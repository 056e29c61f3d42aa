//! `ensue vars`: small non-secret values that actions and people set and expressions read.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use ensue_engine::names::VarName;
use serde_json::{Value, json};

use super::{Asking, SortedPage, print_list, read_input, wait_for};
use crate::client::segment;
use crate::report::{CommandResult, Exit, Failure, eprint_line};
use crate::table::{Column, cell, time};

/// The most bytes that are read of a value.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

/// Set, show, list and remove vars.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue vars set sync.cursor 17
  ensue vars set deploy.freeze '{\"until\": \"2026-12-27\"}'
  ensue vars set banner --text 'Closed today'
  ensue vars show sync.cursor
  ensue vars unset deploy.freeze")]
pub(crate) enum Vars {
    /// List vars that have a value.
    #[command(after_help = "\
Examples:
  ensue vars list
  ensue vars list --sort position
  ensue vars list --limit 200 -o json")]
    List {
        #[command(flatten)]
        page: SortedPage,
    },
    /// Show a var with its value.
    #[command(after_help = "\
Examples:
  ensue vars show sync.cursor
  ensue vars show deploy.freeze -o json")]
    Show {
        /// The var.
        name: VarName,
    },
    /// Set a var.
    #[command(after_help = "\
Examples:
  ensue vars set sync.cursor 17
  ensue vars set deploy.freeze '{\"until\": \"2026-12-27\"}'
  ensue vars set banner --text 'Closed today'
  echo '[1, 2]' | ensue vars set numbers --file -")]
    Set {
        /// The var.
        name: VarName,
        /// The value as JSON.
        #[arg(allow_negative_numbers = true, required_unless_present_any = ["text", "file"], conflicts_with_all = ["text", "file"])]
        value: Option<String>,
        /// The value as plain text.
        #[arg(long, value_name = "TEXT", conflicts_with = "file")]
        text: Option<String>,
        /// The file with the value as JSON. `-` reads standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Remove the value of a var.
    #[command(after_help = "\
Examples:
  ensue vars unset deploy.freeze")]
    #[command(visible_alias = "remove", aliases = ["delete", "rm"])]
    Unset {
        /// The var.
        name: VarName,
    },
}

const COLUMNS: &[Column] = &[
    Column::whole("VAR", |var| cell(var, "name")),
    Column::whole("SET", |var| time(var, "set_at")),
    Column::whole("BY", |var| cell(var, "set_by")),
    Column::cut("VALUE", |var| var["value"].to_string()),
];

impl Vars {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        match self {
            Self::List { page } => wait_for(async { print_list(asking, &asking.client()?, "/vars", &page.query(), COLUMNS).await }),
            Self::Show { name } => wait_for(async {
                let answer = asking.client()?.get(&format!("/vars/{}", segment(name.as_str())), &[]).await?;
                asking.output.print_one(&answer, |var| format!("{:#}", var["value"]));
                Ok(())
            }),
            Self::Set { name, value, text, file } => {
                let value = read_value(&name, value, text, file.as_deref())?;
                wait_for(async {
                    asking.client()?.put(&format!("/vars/{}", segment(name.as_str())), &json!({ "value": value })).await?;
                    Ok(())
                })?;
                eprint_line(format!("`{name}` is set"));
                Ok(())
            }
            Self::Unset { name } => {
                wait_for(async {
                    asking.client()?.delete(&format!("/vars/{}", segment(name.as_str()))).await?;
                    Ok(())
                })?;
                eprint_line(format!("`{name}` no longer has a value"));
                Ok(())
            }
        }
    }
}

fn read_value(name: &VarName, value: Option<String>, text: Option<String>, file: Option<&Path>) -> Result<Value, Failure> {
    let json = match (value, text, file) {
        (_, Some(text), _) => return Ok(Value::String(text)),
        (Some(value), None, _) => value.into_bytes(),
        (None, None, Some(file)) => read_input(file, VALUE_BYTES_MAX)?,
        (None, None, None) => Vec::new(),
    };
    serde_json::from_slice(&json).map_err(|error| {
        Failure::with(Exit::Refused, format!("the value of `{name}` is not JSON: {error}; nothing was changed"))
            .hint(format!("write a string in JSON quotes, or pass it as it is: ensue vars set {name} --text TEXT"))
    })
}
