//! When the work that deliveries began was finished: read off the node's log, after the load, so that reading costs the load nothing.
//!
//! An end is the time that the record of it carries: what its decision saw, up to one commit before it was on the disk.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::{Duration, Instant, SystemTime};

use ensue_engine::time::Timestamp;
use serde::Deserialize;

use crate::child::Node;
use crate::figures::Lag;
use crate::wire::{self, Connection};

/// The records that are asked for at once.
const RECORDS_MAX: usize = 200;

/// Returns this machine's time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// What the log says of a run.
#[derive(Default)]
pub(crate) struct Ends {
    /// How many records were written.
    pub(crate) records: u64,
    /// In how many commits.
    pub(crate) commits: u64,
    /// When the last execution of each event ended, and how many of its executions did.
    pub(crate) by_event: HashMap<[u8; 36], (Instant, usize)>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<Written<'a>>,
}

#[derive(Deserialize)]
struct Written<'a> {
    position: u64,
    #[serde(borrow)]
    kind: &'a str,
    #[serde(borrow)]
    batch: &'a str,
    #[serde(borrow)]
    time: &'a str,
    #[serde(borrow)]
    cause: Cause<'a>,
}

#[derive(Deserialize)]
struct Cause<'a> {
    #[serde(borrow)]
    root: &'a str,
}

/// Gives the newest position of the log.
pub(crate) async fn head(node: &Node, connection: &mut Connection) -> io::Result<u64> {
    #[derive(Deserialize)]
    struct Head {
        position: u64,
    }
    let reply = connection.ask(&wire::get(node.address, "/api/v1/log/head", &node.token)).await?;
    let head: Head = serde_json::from_slice(expected(&reply)?).map_err(io::Error::other)?;
    Ok(head.position)
}

/// The body of an answer that says yes.
pub(crate) fn expected<'r>(reply: &wire::Reply<'r>) -> io::Result<&'r [u8]> {
    if reply.status == 200 {
        return Ok(reply.body);
    }
    Err(io::Error::other(format!("the node answered {}: {}", reply.status, String::from_utf8_lossy(reply.body))))
}

/// Waits until the log has stood still for a while: all that was begun has ended.
pub(crate) async fn settle(node: &Node, connection: &mut Connection) -> io::Result<()> {
    /// How long it may take to.
    const TIMEOUT: Duration = Duration::from_secs(120);
    let still = still(node.slow_disk);
    let begin = Instant::now();
    let (mut at, mut since) = (head(node, connection).await?, Instant::now());
    while since.elapsed() < still {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = head(node, connection).await?;
        if now != at {
            (at, since) = (now, Instant::now());
        }
        if begin.elapsed() > TIMEOUT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the node is still working two minutes after the load"));
        }
    }
    Ok(())
}

/// Gives for how long a log that is worked on never stands still: what ends while one commit is under way is seen with the next.
fn still(slow_disk: Option<Duration>) -> Duration {
    const ON_A_DISK_AS_IT_IS: Duration = Duration::from_millis(500);
    ON_A_DISK_AS_IT_IS + slow_disk.unwrap_or_default() * 2
}

/// Asks how far the views are behind, and waits until they have come to where the log is now.
pub(crate) async fn lag(node: &Node, connection: &mut Connection) -> io::Result<Lag> {
    #[derive(Deserialize)]
    struct Status {
        position: u64,
        views_position: u64,
    }
    /// How long they may take.
    const TIMEOUT: Duration = Duration::from_secs(120);
    let begin = Instant::now();
    let mut first = None;
    loop {
        let reply = connection.ask(&wire::get(node.address, "/api/v1/status", &node.token)).await?;
        let status: Status = serde_json::from_slice(expected(&reply)?).map_err(io::Error::other)?;
        let (end, records) = *first.get_or_insert((status.position, status.position.saturating_sub(status.views_position)));
        if status.views_position >= end {
            return Ok(Lag { records, caught_up: begin.elapsed() });
        }
        if begin.elapsed() > TIMEOUT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the views have not caught up two minutes after the load"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Ends {
    /// Reads the log from behind a position to its end.
    pub(crate) async fn read(node: &Node, connection: &mut Connection, mut after: u64) -> io::Result<Self> {
        // The node's clock and ours are one machine's: what its records say becomes a moment of ours.
        let (wall, mono) = (SystemTime::now(), Instant::now());
        let wall_micros = wall.duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?.as_micros();
        let moment = |time: Timestamp| {
            let ago = i128::try_from(wall_micros).unwrap_or(i128::MAX) - i128::from(time.micros());
            let ago = Duration::from_micros(u64::try_from(ago.max(0)).unwrap_or_default());
            mono.checked_sub(ago).unwrap_or(mono)
        };
        let mut ends = Self::default();
        let mut batches = BTreeSet::new();
        loop {
            let path = format!("/api/v1/log?after={after}&limit={RECORDS_MAX}");
            let reply = connection.ask(&wire::get(node.address, &path, &node.token)).await?;
            let page: Page<'_> = serde_json::from_slice(expected(&reply)?).map_err(io::Error::other)?;
            let Some(last) = page.items.last() else { break };
            after = last.position;
            for record in &page.items {
                ends.records += 1;
                if !batches.contains(record.batch) {
                    batches.insert(record.batch.to_owned());
                }
                if let ("execution.succeeded", Ok(root)) = (record.kind, record.cause.root.as_bytes().try_into()) {
                    let at = moment(record.time.parse().map_err(io::Error::other)?);
                    let end = ends.by_event.entry(root).or_insert((at, 0));
                    *end = (end.0.max(at), end.1 + 1);
                }
            }
        }
        ends.commits = batches.len() as u64;
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_log_is_awaited_for_longer_than_two_commits() {
        for delay in [Duration::from_millis(5), Duration::from_millis(500), Duration::from_secs(10)] {
            assert!(still(Some(delay)) > delay * 2, "{delay:?}");
        }
        assert!(still(None) < Duration::from_secs(1));
    }
}
