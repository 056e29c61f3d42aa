//! `ensue keys`: the named secrets. A value comes from a prompt, standard input or a file; never from the
//! command line, where every process of the machine could read it.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use clap::{Args, Subcommand};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{MASKED_BYTES_MIN, masked_part};
use ensue_engine::time::{Timestamp, duration_text, parse_age};
use serde_json::{Value, json};

use super::at_rest::AtRest;
use super::{Asking, read_input, wait_for};
use crate::ago::deadline_of;
use crate::client::segment;
use crate::report::{CommandResult, Exit, Failure, eprint_line, is_interactive};
use crate::table::{Column, cell, time};

/// The label of the bar while the master key is rotated.
const ROTATING: &str = "rotating";

/// The most bytes of a key's value.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

/// Set, rotate, list, show and remove keys.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue keys set github.webhook_secret            asks for the value
  openssl rand -hex 32 | ensue keys set github.webhook_secret
  ensue keys set release.deploy_token --file token.txt
  ensue keys rotate github.webhook_secret --generate 32 --overlap 24h
  ensue keys list --data ./ensue-data             without a running node")]
pub(crate) enum Keys {
    /// Set the value of a key, from a prompt, standard input or a file.
    #[command(after_help = "\
Examples:
  ensue keys set github.webhook_secret              asks for the value
  openssl rand -hex 32 | ensue keys set github.webhook_secret
  ensue keys set release.deploy_token --file token.txt --expires 90d")]
    Set {
        /// The key.
        key: KeyRef,
        #[command(flatten)]
        new: NewValue,
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// Replace the value of a key, and accept deliveries with the value before it for a while.
    #[command(after_help = "\
Examples:
  ensue keys rotate github.webhook_secret --generate 32 --overlap 24h
  ensue keys rotate release.deploy_token --file token.txt --overlap 0s
  openssl rand -hex 32 | ensue keys rotate github.webhook_secret --overlap 7d --expires 90d")]
    Rotate {
        /// The key. It must be set.
        key: KeyRef,
        /// How long deliveries that were signed with the value before are accepted: 24h, 7d, at most 30d; 0s for not at all.
        #[arg(long, value_name = "DURATION", value_parser = overlap_of)]
        overlap: Duration,
        /// Have the node generate a value with so many random bytes, written as hexadecimal digits.
        #[arg(long, value_name = "BYTES", conflicts_with = "file", value_parser = clap::value_parser!(u16).range(16..=1024))]
        generate: Option<u16>,
        #[command(flatten)]
        new: NewValue,
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// List the last versions of a key, without their values.
    #[command(after_help = "\
Examples:
  ensue keys versions github.webhook_secret
  ensue keys versions github.webhook_secret -o json")]
    Versions {
        /// The key.
        key: KeyRef,
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// Print the value of a key. The log records who asked for it.
    #[command(after_help = "\
Examples:
  ensue keys reveal github.webhook_secret
  ensue keys reveal github.webhook_secret --version 1    the value before, during an overlap")]
    Reveal {
        /// The key.
        key: KeyRef,
        /// The version; the current one if it is left out.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        version: Option<u32>,
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
    /// Replace the master key, under which the vault seals all values, while the node serves.
    #[command(after_help = "\
The node writes the new key beside the old one, seals the key of every value under it, records the change
and then replaces the old file. If the node stops meanwhile, its next start completes the rotation. Copies
of the data directory that were made before need the old key: keep it with them.

Examples:
  ensue keys rotate-master
  ensue keys rotate-master --data ./ensue-data      without a running node")]
    RotateMaster {
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
    Column::whole("EXPIRES", |key| time(key, "expires_at")),
    Column::cut("BY", |key| cell(key, "set_by")),
];

const VERSION_COLUMNS: &[Column] = &[
    Column::whole("VERSION", |version| cell(version, "version")),
    Column::whole("STATUS", |version| cell(version, "status")),
    Column::whole("SET", |version| time(version, "set_at")),
    Column::whole("ACCEPTED UNTIL", |version| time(version, "accepted_until")),
    Column::whole("EXPIRES", |version| time(version, "expires_at")),
    Column::cut("BY", |version| cell(version, "set_by")),
];

/// A new value of a key, from a file unless it is typed or generated.
#[derive(Debug, Args)]
pub(crate) struct NewValue {
    /// The file with the value. One line break at the end is ignored.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// When the value expires: a time, or how long from now. A rule can react 14 days before.
    #[arg(long, value_name = "WHEN", value_parser = deadline_of)]
    expires: Option<Timestamp>,
}

impl Keys {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        match self {
            Self::Set { key, new: NewValue { file, expires }, at_rest } => {
                let value = value(&key, file.as_deref(), "set")?;
                let is_masked = masked_part(&value).is_some();
                match at_rest.open()? {
                    Some(mut data) => data.set_key(&key, value, expires)?,
                    None => wait_for(set(asking, &key, &value, expires))?,
                }
                eprint_line(format!("`{key}` is set"));
                note_masking(is_masked);
                Ok(())
            }
            Self::Rotate { key, overlap, generate, new: NewValue { file, expires }, at_rest } => {
                let new = match generate {
                    Some(bytes) => ValueSource::Generated(bytes),
                    None => ValueSource::Given(value(&key, file.as_deref(), "rotate")?),
                };
                let is_masked = if let ValueSource::Given(value) = &new { masked_part(value).is_some() } else { true };
                match at_rest.open()? {
                    Some(mut data) => data.rotate_key(&key, new.bytes()?, overlap, expires)?,
                    None => wait_for(rotate(asking, &key, new, overlap, expires))?,
                }
                let before = if overlap.is_zero() {
                    "the value before it is not accepted".to_owned()
                } else {
                    format!("deliveries with the value before it are accepted for {}", overlap_text(overlap))
                };
                eprint_line(format!("`{key}` is rotated; {before}"));
                note_masking(is_masked);
                if generate.is_some() {
                    eprint_line(format!("see the new value with: ensue keys reveal {key}"));
                }
                Ok(())
            }
            Self::Versions { key, at_rest } => match at_rest.open()? {
                Some(data) => {
                    asking.output.print_list(&json!({ "items": data.key_versions(&key)?, "next": null }), VERSION_COLUMNS);
                    Ok(())
                }
                None => wait_for(async {
                    let answer = asking.client()?.get(&format!("/keys/{}/versions", segment(key.as_str())), &[]).await?;
                    asking.output.print_list(&answer, VERSION_COLUMNS);
                    Ok(())
                }),
            },
            Self::Reveal { key, version, at_rest } => match at_rest.open()? {
                Some(mut data) => {
                    let (version, value) = data.reveal_key(&key, version)?;
                    show_value(asking, &key, &document_of(&key, version, value.reveal()))
                }
                None => wait_for(async {
                    let path = format!("/keys/{}/reveal", segment(key.as_str()));
                    let body = version.map_or_else(|| json!({}), |version| json!({ "version": version }));
                    let answer = asking.client()?.post(&path, &body).await?;
                    show_value(asking, &key, &answer.body)
                }),
            },
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
            Self::RotateMaster { at_rest } => {
                let rotated = match at_rest.open()? {
                    Some(mut data) => data.rotate_master_key()?,
                    None => {
                        let mut job = Value::Null;
                        wait_for(async {
                            job = super::job(&asking.client()?, "/master_key/rotate", ROTATING).await?;
                            super::ended_well(&job)
                        })?;
                        job
                    }
                };
                asking.output.print(&rotated, || eprint_line("the master key is rotated; keep the old one with older copies of the data"));
                Ok(())
            }
            Self::Remove { key, at_rest } => {
                match at_rest.open()? {
                    Some(mut data) => data.remove_key(&key)?,
                    None => wait_for(async {
                        asking.client()?.delete(&format!("/keys/{}", segment(key.as_str()))).await?;
                        Ok(())
                    })?,
                }
                eprint_line(format!("`{key}` is removed"));
                Ok(())
            }
        }
    }
}

/// A new value.
enum ValueSource {
    /// It is given.
    Given(Vec<u8>),
    /// So many random bytes are generated.
    Generated(u16),
}

impl ValueSource {
    /// Returns the value; generates it on this machine if it is not given.
    fn bytes(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Given(value) => Ok(value),
            Self::Generated(bytes) => {
                let mut random = vec![0; usize::from(bytes)];
                getrandom::fill(&mut random).map_err(|error| Failure::new(format!("the system provides no randomness: {error}")))?;
                Ok(random.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect())
            }
        }
    }
}

fn note_masking(is_masked: bool) {
    if !is_masked {
        eprint_line(format!("note: values shorter than {MASKED_BYTES_MIN} bytes are not masked in the output of programs"));
    }
}

fn overlap_of(text: &str) -> Result<Duration, String> {
    parse_age(text).ok_or_else(|| format!("`{text}` is not a duration; write numbers with units: 24h, 1d12h, 7d or 0s"))
}

fn overlap_text(overlap: Duration) -> String {
    duration_text(u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX))
}

fn text_of<'v>(key: &KeyRef, value: &'v [u8]) -> Result<&'v str, Failure> {
    std::str::from_utf8(value).map_err(|_| {
        Failure::with(Exit::Refused, format!("the value of `{key}` is not UTF-8 text")).hint("encode it, for example with `base64`")
    })
}

async fn set(asking: &Asking, key: &KeyRef, value: &[u8], expires_at: Option<Timestamp>) -> CommandResult {
    let mut body = json!({ "value": text_of(key, value)? });
    if let Some(expires_at) = expires_at {
        body["expires_at"] = json!(expires_at);
    }
    asking.client()?.put(&format!("/keys/{}", segment(key.as_str())), &body).await?;
    Ok(())
}

async fn rotate(asking: &Asking, key: &KeyRef, new: ValueSource, overlap: Duration, expires_at: Option<Timestamp>) -> CommandResult {
    let mut body = json!({ "overlap": overlap_text(overlap) });
    match &new {
        ValueSource::Given(value) => body["value"] = json!(text_of(key, value)?),
        ValueSource::Generated(bytes) => body["generate"] = json!({ "bytes": bytes }),
    }
    if let Some(expires_at) = expires_at {
        body["expires_at"] = json!(expires_at);
    }
    asking.client()?.post(&format!("/keys/{}/rotate", segment(key.as_str())), &body).await?;
    Ok(())
}

/// Returns a value in the form in which a node answers with it.
fn document_of(key: &KeyRef, version: u32, value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => json!({ "ref": key, "version": version, "value": text, "encoding": "text" }),
        Err(_) => json!({ "ref": key, "version": version, "value": STANDARD.encode(value), "encoding": "base64" }),
    }
}

/// Returns the value in the node's answer.
fn decode_value(answer: &Value) -> Result<Vec<u8>, Failure> {
    let unreadable = || Failure::new("the answer of the node has no value that this release can read");
    let value = answer["value"].as_str().ok_or_else(unreadable)?;
    match answer["encoding"].as_str() {
        Some("text") => Ok(value.as_bytes().to_vec()),
        Some("base64") => STANDARD.decode(value).map_err(|_| unreadable()),
        _ => Err(unreadable()),
    }
}

/// Shows a value: as it is, or as the document that was asked for.
fn show_value(asking: &Asking, key: &KeyRef, document: &Value) -> CommandResult {
    let value = decode_value(document)?;
    let mut printed = Ok(());
    asking.output.print(document, || printed = print_value(key, &value));
    printed
}

/// Prints a value without changes; a terminal gets a line break after it.
fn print_value(key: &KeyRef, value: &[u8]) -> CommandResult {
    let mut out = std::io::stdout().lock();
    let line_break: &[u8] = if out.is_terminal() { b"\n" } else { b"" };
    let printed = out.write_all(value).and_then(|()| out.write_all(line_break)).and_then(|()| out.flush());
    printed.map_err(|error| Failure::new(format!("the value of `{key}` cannot be printed: {error}")))
}

/// Reads the value of a key from a source that nobody else sees. One line break at its end is ignored:
/// editors and `echo` add it.
fn value(key: &KeyRef, file: Option<&Path>, verb: &str) -> Result<Vec<u8>, Failure> {
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
            .hint(format!("enter it at the prompt, or run `ensue keys {verb} {key} --file FILE`")));
    }
    Ok(value)
}
