//! `ensue log`: shows the records, and verifies that nobody has changed them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ensue_engine::record::{Chain, Position};
use ensue_node::offline::{Format, HeadReference, Location};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::anchors::{self, Anchor};
use super::at_rest::{self, AtRest, VERIFYING};
use super::series::Series;
use super::{Asking, wait_for};
use crate::client::Client;
use crate::output::Output;
use crate::report::{CommandResult, Exit, Failure, eprint_line, printable};
use crate::sse;
use crate::table::{excerpt, pairs, text, time};
use crate::this_machine;

/// The most records read per request.
const RECORDS_MAX: u64 = 200;

/// Read, follow, verify and copy the log.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue log                            the last records
  ensue log --follow                   and new ones as they are written
  ensue log --after 0 -o json          all of them, as the API returns them
  ensue log --limit 5 --bodies -o json
  ensue log series executions --by outcome     how many in each minute
  ensue log verify
  ensue log verify --data ./ensue-data     without a running node
  ensue log verify --data ./backup --copy  a backup, wherever it is
  ensue log copy --from ./ensue-data --to ./copy")]
pub(crate) struct Log {
    /// Start after this position [default: the last 20 records].
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Continue with new records as they arrive, even across a restart of the node.
    #[arg(long, short)]
    follow: bool,
    /// The maximum number of records: the last ones, or with --after the first ones after that position.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "follow")]
    limit: Option<u64>,
    /// Print the data stored with each record: payloads, parameters and results. With -o json or yaml it
    /// is in `content`.
    #[arg(long, conflicts_with = "follow")]
    bodies: bool,
    #[command(subcommand)]
    about: Option<LogCommand>,
}

/// The commands about the log other than listing its records.
#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Count events, executions, enforcements, errors of rules or deliveries over time.
    Series(Series),
    /// Verify the hash chain of the whole log, and locate any edit, insertion, deletion, reordering
    /// or truncation.
    #[command(after_help = "\
Examples:
  ensue log verify
  ensue log verify --data ./ensue-data     without a running node
  ensue log verify --data ./backup --copy  a backup, wherever it is
  ensue log verify --anchor /mnt/other/anchors")]
    Verify {
        #[command(flatten)]
        at_rest: AtRest,
        /// The directory is a copy. Do not compare it with the newest position that this machine
        /// has recorded.
        #[arg(long, requires = "data")]
        copy: bool,
        /// Compare the log with the heads in this file, which were written with `ensue log head --append`
        /// and kept elsewhere.
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
    },
    /// Print the newest position and the chain's hash there.
    #[command(after_help = "\
Examples:
  ensue log head
  ensue log head -o json
  ensue log head --data ./ensue-data     without a running node
  ensue log head --append /mnt/other/anchors")]
    Head {
        #[command(flatten)]
        at_rest: AtRest,
        /// Append the head to this file, with the time. Keep the file on another machine.
        #[arg(long, value_name = "FILE")]
        append: Option<PathBuf>,
    },
    /// Copy the data directory of a stopped node into a new one, in the format of this release or of
    /// an older one.
    #[command(after_help = "\
The copy has the same records and the same chain, and the command verifies it.
It has no views and no snapshots: the next start builds them from the log. The
state folder, which has the master key, belongs to both directories. Never start
a node on both.

Without --format, the copy has the pages, the encodings and the tables of this
release, even if an older release began the log. With --format 0.1, the copy has
those of release 0.1. If the log has a fact that 0.1 does not know, the command
names the first one and writes nothing.

From or to a PostgreSQL database, the log is copied with the keys of deliveries,
the sealed secrets and the files of packs, but without outputs and artifacts. The
database must not have another log. A log that a live node leads is not copied.

Examples:
  ensue log copy --from ./ensue-data --to ./copy
  ensue log copy --from ./ensue-data --to ./data-0.1 --format 0.1
  ensue log copy --from ./ensue-data --to postgres://ensue@db.example/ensue")]
    Copy {
        /// The data directory to copy, or the address of a database. No node may be running on it.
        #[arg(long, value_name = "DIR|URL")]
        from: Location,
        /// The new data directory, which must be empty or not exist, or the address of a database.
        #[arg(long, value_name = "DIR|URL")]
        to: Location,
        /// The release that must be able to open the copy: 0.1 [default: this release].
        #[arg(long, value_name = "RELEASE")]
        format: Option<Format>,
    },
}

impl Log {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        // Clap's own check would count the global options too, such as `--server`.
        if self.about.is_some() && (self.after.is_some() || self.follow || self.limit.is_some() || self.bodies) {
            let message = "`--after`, `--follow`, `--limit` and `--bodies` apply to the list of records, not to the subcommands of `log`";
            return Err(Failure::with(Exit::Usage, message));
        }
        match self.about {
            None if self.follow => wait_for(follow(asking, self.after)),
            None => wait_for(tail(asking, self.after, self.limit, self.bodies)),
            Some(LogCommand::Series(series)) => wait_for(series.run(asking)),
            Some(LogCommand::Verify { at_rest, copy, anchor }) => {
                let anchors = anchor.as_deref().map(anchors::read).transpose()?;
                let anchors = anchor.as_deref().zip(anchors);
                match at_rest.config()? {
                    Some(config) => {
                        let against = if copy { HeadReference::Nothing } else { HeadReference::StateFolder };
                        let verified = at_rest::verify_log(&config, against)?;
                        if let Some((path, anchors)) = anchors {
                            let positions: Vec<Position> = anchors.iter().map(|(_, anchor)| anchor.position).collect();
                            let found = at_rest::chains_at(&config, &positions)?;
                            anchors.into_iter().zip(found).try_for_each(|(anchor, found)| anchors::compare(path, anchor, found))?;
                        }
                        print_verified(asking.output, &verified)
                    }
                    None => wait_for(async {
                        let client = asking.client()?;
                        let job = super::job(&client, "/log/verify", VERIFYING).await?;
                        super::ended_well(&job)?;
                        for anchor in anchors.iter().flat_map(|(_, anchors)| anchors.iter().copied()) {
                            let path = anchors.as_ref().map_or(Path::new(""), |(path, _)| path);
                            anchors::compare(path, anchor, chain_at(&client, &job, anchor.1.position).await?)?;
                        }
                        print_verified(asking.output, &job)
                    }),
                }
            }
            Some(LogCommand::Copy { from, to, format }) => {
                let copied = at_rest::copy_log(from, to, format.unwrap_or(Format::Current))?;
                print_copied(asking.output, &copied)
            }
            Some(LogCommand::Head { at_rest, append }) => {
                let head = match at_rest.open()? {
                    Some(data) => data.head(),
                    None => {
                        let mut head = Value::Null;
                        wait_for(async {
                            head = asking.client()?.get("/log/head", &[]).await?;
                            Ok(())
                        })?;
                        head
                    }
                };
                if let Some(path) = append {
                    let (position, chain) = (head["position"].as_u64(), head["chain"].as_str().and_then(|chain| chain.parse().ok()));
                    let (Some(position), Some(chain)) = (position, chain) else { return Err(Failure::new("the node returned no head")) };
                    anchors::append(&path, &Anchor { position: Position(position), chain, time: this_machine::now() })?;
                }
                asking.output.print_one(&head, |head| pairs(&[("position", text(head, "position")), ("chain", text(head, "chain"))]));
                Ok(())
            }
        }
    }
}

/// Returns the chain's hash at a position that a node has verified; `None` beyond the end of its log.
async fn chain_at(client: &Client, verified: &Value, position: Position) -> Result<Option<Chain>, Failure> {
    if position.0 == 0 {
        return Ok(Some(Chain::default()));
    }
    if verified["position"].as_u64().is_none_or(|end| end < position.0) {
        return Ok(None);
    }
    let record = client.get(&format!("/log/{position}"), &[]).await?;
    record["chain"].as_str().and_then(|chain| chain.parse().ok()).map(Some).ok_or_else(|| no_records(client))
}

/// The default number of records shown.
const SHOWN_AT_FIRST: u64 = 20;

/// Prints records as they are appended.
async fn follow(asking: &Asking, after: Option<u64>) -> CommandResult {
    let client = asking.client()?;
    let after = begin(&client, after, SHOWN_AT_FIRST).await?.0;
    sse::follow_on(&client, "/log/stream", &[("after", after.to_string())], |told| {
        if told.name != sse::END {
            asking.output.print_raw_next(&told.raw, line);
        }
        // A log has no end: whatever ends the stream, following continues.
        ControlFlow::Continue(())
    })
    .await
}

/// Returns the position to begin after, and the head.
async fn begin(client: &Client, after: Option<u64>, shown: u64) -> Result<(u64, u64), Failure> {
    let head = client.get("/log/head", &[]).await?["position"].as_u64().unwrap_or_default();
    Ok((after.unwrap_or(head.saturating_sub(shown)), head))
}

/// Prints the existing records, up to the head at the time of the request: a busy log grows as fast as it is
/// read.
async fn tail(asking: &Asking, after: Option<u64>, limit: Option<u64>, bodies: bool) -> CommandResult {
    let client = asking.client()?;
    let (mut position, head) = begin(&client, after, limit.unwrap_or(SHOWN_AT_FIRST)).await?;
    let mut left = limit.unwrap_or(u64::MAX);
    while position < head && left > 0 {
        let records = read(&client, position, RECORDS_MAX.min(head - position).min(left), bodies).await?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            let at: RecordPosition = serde_json::from_str(record.get()).map_err(|_| no_records(&client))?;
            asking.output.print_raw_next(record.get(), |record| if bodies { line_with_body(record) } else { line(record) });
            (position, left) = (at.position, left - 1);
        }
    }
    Ok(())
}

/// The position of a record in the log.
#[derive(Deserialize)]
struct RecordPosition {
    position: u64,
}

/// A page of records, each as the API wrote it: parsing and writing it again would change the text, which
/// would no longer match its digest.
#[derive(Deserialize)]
struct Records {
    items: Vec<Box<RawValue>>,
}

async fn read(client: &Client, after: u64, limit: u64, bodies: bool) -> Result<Vec<Box<RawValue>>, Failure> {
    let mut query = vec![("after", after.to_string()), ("limit", limit.to_string())];
    query.extend(bodies.then(|| ("bodies", "true".to_owned())));
    let answer = client.get_bytes("/log", &query).await?;
    let records: Records = serde_json::from_slice(&answer).map_err(|_| no_records(client))?;
    Ok(records.items)
}

fn no_records(client: &Client) -> Failure {
    Failure::new(format!("{} did not return a list of records", client.server()))
}

/// Returns a record on one line, and its stored body on another.
fn line_with_body(record: &Value) -> String {
    match &record["content"] {
        Value::Null => line(record),
        content => format!("{}\n          {}", line(record), printable(&content.to_string())),
    }
}

/// Returns a record on one line: its position, time, kind and subject.
fn line(record: &Value) -> String {
    let fact = match &record["fact"] {
        Value::Object(fields) => fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    format!("{:>8}  {}  {:<28} {}", text(record, "position"), time(record, "time"), text(record, "kind"), excerpt(&fact))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn print_verified(output: Output, verified: &Value) -> CommandResult {
    output.print(verified, || eprint_line(format!("the log is intact up to position {}", text(verified, "position"))));
    Ok(())
}

fn print_copied(output: Output, copied: &Value) -> CommandResult {
    output.print(copied, || eprint_line(format!("copied and verified the log up to position {}", text(copied, "position"))));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn record_is_printed_on_one_line() {
        let record = json!({
            "position": 17,
            "time": "2026-03-28T09:00:00.250000Z",
            "kind": "key.set",
            "fact": { "key": "github.webhook_secret", "version": 1 },
        });
        insta::assert_snapshot!(line(&record), @"      17  2026-03-28 09:00:00Z  key.set                      key=github.webhook_secret version=1");
    }
}
