//! When the work of deliveries was finished: read from the node's log after the load, so that reading does
//! not slow the load down.
//!
//! An end is the time in its record: the clock as its decision saw it, up to one commit before the record was
//! on disk.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::{Duration, Instant, SystemTime};

use ensue_engine::time::Timestamp;
use serde::Deserialize;

use crate::child::Node;
use crate::figures::Lag;
use crate::wire::{self, HttpConnection};

/// The most records per request.
const RECORDS_MAX: usize = 200;

/// Returns this machine's time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// What the log contains about a run.
#[derive(Default)]
pub(crate) struct LogSummary {
    /// How many records were written.
    pub(crate) records: u64,
    /// The number of commits.
    pub(crate) commits: u64,
    /// For each event, when its last execution ended, and how many of its executions did.
    pub(crate) by_event: HashMap<[u8; 36], (Instant, usize)>,
}

#[derive(Deserialize)]
struct RecordPage<'a> {
    #[serde(borrow)]
    items: Vec<RecordFields<'a>>,
}

#[derive(Deserialize)]
struct RecordFields<'a> {
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

/// Returns the newest position of the log.
pub(crate) async fn head(node: &Node, connection: &mut HttpConnection) -> io::Result<u64> {
    #[derive(Deserialize)]
    struct HeadReply {
        position: u64,
    }
    let reply = connection.ask(&wire::get(node.address, "/api/v1/log/head", &node.token)).await?;
    let head: HeadReply = serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)?;
    Ok(head.position)
}

/// Returns the body of a successful answer.
pub(crate) fn success_body<'r>(reply: &wire::Reply<'r>) -> io::Result<&'r [u8]> {
    if reply.status == 200 {
        return Ok(reply.body);
    }
    Err(io::Error::other(format!("the node answered {}: {}", reply.status, String::from_utf8_lossy(reply.body))))
}

/// Waits until the log has not grown for a while: then all work has ended.
pub(crate) async fn settle(node: &Node, connection: &mut HttpConnection) -> io::Result<()> {
    /// The time limit.
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

/// Returns a period after which an idle log counts as settled: work that ends during one commit is recorded with the next.
fn still(slow_disk: Option<Duration>) -> Duration {
    const ON_A_DISK_AS_IT_IS: Duration = Duration::from_millis(500);
    ON_A_DISK_AS_IT_IS + slow_disk.unwrap_or_default() * 2
}

/// Reads how far the views lag behind, and waits until they have caught up with the current end of the log.
pub(crate) async fn lag(node: &Node, connection: &mut HttpConnection) -> io::Result<Lag> {
    #[derive(Deserialize)]
    struct StatusReply {
        position: u64,
        views_position: u64,
    }
    /// The time limit.
    const TIMEOUT: Duration = Duration::from_secs(120);
    let begin = Instant::now();
    let mut first = None;
    loop {
        let reply = connection.ask(&wire::get(node.address, "/api/v1/status", &node.token)).await?;
        let status: StatusReply = serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)?;
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

impl LogSummary {
    /// Reads the log after a position to its end.
    pub(crate) async fn read(node: &Node, connection: &mut HttpConnection, mut after: u64) -> io::Result<Self> {
        // The node and the bench share one machine's clock, so the times of records convert to local
        // instants.
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
            let page: RecordPage<'_> = serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)?;
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
