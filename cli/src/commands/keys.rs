//! `ensue keys`: the named secrets. A value comes from a prompt, standard input or a file; never from the
//! command line, where every process of the machine could read it.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{MASKED_BYTES_MIN, masked_part};
use serde_json::json;

use super::at_rest::AtRest;
use super::{Asking, read_input, wait_for};
use crate::client::segment;
use crate::report::{Exit, Failure, Outcome, is_interactive, tell};
use crate::table::{Column, cell, time};

/// The most bytes of a key's value.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

/// Set, list and remove keys.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue keys set github.webhook_secret            asks for the value
  openssl rand -hex 32 | ensue keys set github.webhook_secret
  ensue keys set release.deploy_token --file token.txt
  ensue keys list --data ./ensue-data             without a running node")]
pub(crate) enum Keys {
    /// Set the value of a key, from a prompt, standard input or a file.
    #[command(after_help = "\
Examples:
  ensue keys set github.webhook_secret              asks for the value
  openssl rand -hex 32 | ensue keys set github.webhook_secret
  ensue keys set release.deploy_token --file token.txt")]
    Set {
        /// The key.
        key: KeyRef,
        /// The file with the value. One line break at the end is ignored.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// List keys, without their values.
    #[command(after_help = "\
Examples:
  ensue keys list
  ensue keys list -o json
  ensue keys list --data ./ensue-data               without a running node")]
    List {
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// Remove a key.
    #[command(after_help = "\
Examples:
  ensue keys remove release.deploy_token
  ensue keys remove release.deploy_token --data ./ensue-data")]
    #[command(aliases = ["delete", "rm", "unset"])]
    Remove {
        /// The key.
        key: KeyRef,
        #[command(flatten)]
        at_rest: AtRest,
    },
}

const COLUMNS: &[Column] = &[
    Column::whole("KEY", |key| cell(key, "ref")),
    Column::whole("VERSION", |key| cell(key, "version")),
    Column::whole("SET", |key| time(key, "set_at")),
    Column::cut("BY", |key| cell(key, "set_by")),
];

impl Keys {
    pub(super) fn run(self, asking: &Asking) -> Outcome {
        match self {
            Self::Set { key, file, at_rest } => {
                let value = value(&key, file.as_deref())?;
                let is_masked = masked_part(&value).is_some();
                match at_rest.open()? {
                    Some(mut data) => data.set_key(&key, value)?,
                    None => wait_for(set(asking, &key, &value))?,
                }
                tell(format!("`{key}` is set"));
                if !is_masked {
                    tell(format!("note: values shorter than {MASKED_BYTES_MIN} bytes are not masked in the output of programs"));
                }
                Ok(())
            }
            Self::List { at_rest } => match at_rest.open()? {
                Some(data) => {
                    asking.output.print_list(&json!({ "items": data.keys(), "next": null }), COLUMNS);
                    Ok(())
                }
                None => wait_for(async {
                    let answer = asking.client()?.get("/keys", &[]).await?;
                    asking.output.print_list(&answer, COLUMNS);
                    Ok(())
                }),
            },
            Self::Remove { key, at_rest } => {
                match at_rest.open()? {
                    Some(mut data) => data.remove_key(&key)?,
                    None => wait_for(async {
                        asking.client()?.delete(&format!("/keys/{}", segment(key.as_str()))).await?;
                        Ok(())
                    })?,
                }
                tell(format!("`{key}` is removed"));
                Ok(())
            }
        }
    }
}

async fn set(asking: &Asking, key: &KeyRef, value: &[u8]) -> Outcome {
    let text = std::str::from_utf8(value).map_err(|_| {
        Failure::with(Exit::Refused, format!("the value of `{key}` is not UTF-8 text")).hint("encode it, for example with `base64`")
    })?;
    asking.client()?.put(&format!("/keys/{}", segment(key.as_str())), &json!({ "value": text })).await?;
    Ok(())
}

/// Reads the value of a key from a source that nobody else sees. One line break at its end is ignored:
/// editors and `echo` add it.
fn value(key: &KeyRef, file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let mut value = match file {
        Some(path) => read_input(path, VALUE_BYTES_MAX)?,
        None if is_interactive() => {
            let asked = rpassword::prompt_password(format!("value of {key} (not shown): "));
            asked.map_err(|error| Failure::new(format!("the value cannot be read: {error}")))?.into_bytes()
        }
        None => read_input(Path::new("-"), VALUE_BYTES_MAX)?,
    };
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(Failure::with(Exit::Refused, format!("the value of `{key}` is empty; nothing was changed"))
            .hint(format!("enter it at the prompt, or run `ensue keys set {key} --file FILE`")));
    }
    Ok(value)
}
