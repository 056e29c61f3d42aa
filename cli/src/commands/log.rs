//! `ensue log`: the records themselves, and whether nobody has changed them.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::at_rest::AtRest;
use super::{Asking, wait_for};
use crate::client::Client;
use crate::live;
use crate::output::Output;
use crate::report::{Exit, Failure, Outcome, tell};
use crate::table::{excerpt, pairs, text, time};

/// The most records that are read at once.
const RECORDS_MAX: u64 = 200;

/// What is said beside a bar while the log is verified.
pub(super) const VERIFYING: &str = "verifying";

/// Read, follow and verify the log.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue log                            the last records
  ensue log --follow                   and then as they come
  ensue log --after 0 -o json          all of them
  ensue log verify
  ensue log verify --data ./ensue-data     without a running node")]
pub(crate) struct Log {
    /// Begin after this position; otherwise with the last 20 records.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Go on as more come, also when the node was away.
    #[arg(long, short)]
    follow: bool,
    #[command(subcommand)]
    about: Option<About>,
}

/// What is asked of the log other than its records.
#[derive(Debug, Subcommand)]
enum About {
    /// Check the chain of the whole log: an edit, insertion, deletion, reordering or cut is found and located.
    Verify {
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// Print the newest position and the chain's hash there.
    Head {
        #[command(flatten)]
        at_rest: AtRest,
    },
}

impl Log {
    pub(super) fn run(self, asking: &Asking) -> Outcome {
        // Clap's own check would count what every command takes, as `--server`.
        if self.about.is_some() && (self.after.is_some() || self.follow) {
            return Err(Failure::with(Exit::Usage, "`--after` and `--follow` are for the records, not for what stands behind `log`"));
        }
        match self.about {
            None => wait_for(tail(asking, self.after, if self.follow { AtEnd::Follow } else { AtEnd::End })),
            Some(About::Verify { at_rest }) => match at_rest.open()? {
                Some(data) => print_verified(asking.output, &data.verify_log()?),
                None => wait_for(async {
                    let client = asking.client()?;
                    let job = super::job(&client, "/log/verify", VERIFYING).await?;
                    super::ended_well(&job)?;
                    print_verified(asking.output, &job)
                }),
            },
            Some(About::Head { at_rest }) => {
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
                asking.output.print_one(&head, |head| pairs(&[("position", text(head, "position")), ("chain", text(head, "chain"))]));
                Ok(())
            }
        }
    }
}

/// What is done at the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtEnd {
    /// That was all.
    End,
    /// It is waited for more.
    Follow,
}

async fn tail(asking: &Asking, after: Option<u64>, at_end: AtEnd) -> Outcome {
    const SHOWN_AT_FIRST: u64 = 20;
    let client = asking.client()?;
    let head = client.get("/log/head", &[]).await?["position"].as_u64().unwrap_or_default();
    let mut position = after.unwrap_or(head.saturating_sub(SHOWN_AT_FIRST));
    match at_end {
        AtEnd::Follow => {
            live::follow_on(&client, "/log/stream", &[("after", position.to_string())], |told| {
                if told.name != live::END {
                    asking.output.print_next(&told.data, line);
                }
                // A log has no end: whatever ends the stream, it goes on.
                ControlFlow::Continue(())
            })
            .await
        }
        // The end is where the log stood when it was asked for: a busy one grows as fast as it is read.
        AtEnd::End => {
            while position < head {
                let records = read(&client, position, RECORDS_MAX.min(head - position)).await?;
                if records.is_empty() {
                    break;
                }
                for record in &records {
                    asking.output.print_next(record, line);
                    position = record["position"].as_u64().unwrap_or(position);
                }
            }
            Ok(())
        }
    }
}

async fn read(client: &Client, after: u64, limit: u64) -> Result<Vec<Value>, Failure> {
    let query = [("after", after.to_string()), ("limit", limit.to_string())];
    let mut answer = client.get("/log", &query).await?;
    match answer["items"].take() {
        Value::Array(records) => Ok(records),
        _ => Err(Failure::new(format!("{} gives no list of records", client.server()))),
    }
}

/// A record in a line: where, when, what, of what.
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

fn print_verified(output: Output, verified: &Value) -> Outcome {
    output.print(verified, || tell(format!("the log is whole up to position {}", text(verified, "position"))));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_one_line() {
        let record = json!({
            "position": 17,
            "time": "2026-03-28T09:00:00.250000Z",
            "kind": "key.set",
            "fact": { "key": "github.webhook_secret", "version": 1 },
        });
        insta::assert_snapshot!(line(&record), @"      17  2026-03-28 09:00:00Z  key.set                      key=github.webhook_secret version=1");
    }
}
