//! Streams of the log that are open while events arrive: how long records take to arrive, and whether any is
//! missing.
//!
//! Every stream reads everything. `child` reports the node's costs.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensue_engine::time::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::child::Node;
use crate::figures::Latencies;
use crate::log_summary::now;
use crate::wire::{self, HttpConnection};

/// The most streams that one token may have open.
const STREAMS_OF_ONE: usize = 20;
/// How long the last record may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Open streams.
pub(crate) struct Streams {
    tasks: JoinSet<StreamProgress>,
    /// How long records took to arrive: one figure for all streams, because a million arrivals need no more
    /// room than a few.
    arrived: Arc<Mutex<Latencies>>,
    end: watch::Sender<Option<u64>>,
    count: usize,
}

/// The results of all streams.
pub(crate) struct StreamResults {
    /// How many streams there were.
    pub(crate) count: usize,
    /// How long each record took to arrive on each stream: from its time to its arrival.
    pub(crate) arrived: Latencies,
    /// How many records did not arrive, or arrived out of order.
    pub(crate) lost: u64,
}

impl Streams {
    /// Opens them, as many per caller as allowed, for as many callers as needed. Each receives the records
    /// from now on.
    pub(crate) async fn open(node: &Node, connection: &mut HttpConnection, count: usize) -> io::Result<Self> {
        // Fails only if a provider is already installed, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().map_err(io::Error::other)?;
        let (end, ending) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let arrived = Arc::new(Mutex::new(Latencies::of(std::iter::empty())));
        let mut tokens = Vec::new();
        for caller in 0..count.div_ceil(STREAMS_OF_ONE) {
            tokens.push(viewer(node, connection, caller).await?);
        }
        // Only now: a token is a record, which open streams would receive.
        for (caller, token) in tokens.iter().enumerate() {
            for _ in 0..STREAMS_OF_ONE.min(count - caller * STREAMS_OF_ONE) {
                let request = client.get(format!("http://{}/api/v1/log/stream", node.address)).bearer_auth(token);
                let response = request.send().await.map_err(io::Error::other)?;
                if !response.status().is_success() {
                    return Err(io::Error::other(format!("a stream was answered with {}", response.status())));
                }
                let mut stream = OpenStream { response, followed: StreamProgress::default(), arrived: arrived.clone() };
                // The first block contains the starting position.
                while stream.followed.at.is_none() {
                    if !stream.read().await {
                        return Err(io::Error::other("a stream ended before it had started"));
                    }
                }
                tasks.spawn(stream.follow(ending.clone()));
            }
        }
        Ok(Self { tasks, arrived, end, count })
    }

    /// Waits until each has reached a position, and closes them.
    pub(crate) async fn until(mut self, end: u64) -> io::Result<StreamResults> {
        self.end.send_replace(Some(end));
        let mut lost = 0;
        while let Some(followed) = self.tasks.join_next().await {
            let followed = followed.map_err(io::Error::other)?;
            lost += followed.lost + end.saturating_sub(followed.at.unwrap_or_default());
        }
        let none = Latencies::of(std::iter::empty());
        let arrived = std::mem::replace(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner), none);
        Ok(StreamResults { count: self.count, arrived, lost })
    }
}

/// Creates a token that may read the log.
async fn viewer(node: &Node, connection: &mut HttpConnection, number: usize) -> io::Result<String> {
    #[derive(Deserialize)]
    struct AddedToken {
        token: String,
    }
    let asked = json!({ "name": format!("reader{number}"), "roles": ["viewer"] }).to_string();
    let reply = connection.exchange(&wire::post(node.address, "/api/v1/tokens", &node.token, &asked)).await?;
    if reply.status != 201 {
        return Err(io::Error::other(format!(
            "a request for a token was answered with {}: {}",
            reply.status,
            String::from_utf8_lossy(reply.body)
        )));
    }
    let added: AddedToken = serde_json::from_slice(reply.body).map_err(io::Error::other)?;
    Ok(added.token)
}

struct OpenStream {
    response: reqwest::Response,
    followed: StreamProgress,
    arrived: Arc<Mutex<Latencies>>,
}

impl OpenStream {
    /// Continues reading; returns false at the end.
    async fn read(&mut self) -> bool {
        let Ok(Some(chunk)) = self.response.chunk().await else { return false };
        self.followed.take(&chunk, now());
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        self.followed.arrived.drain(..).for_each(|took| arrived.add(took));
        true
    }

    async fn follow(mut self, mut ending: watch::Receiver<Option<u64>>) -> StreamProgress {
        let mut deadline = None;
        loop {
            let end = *ending.borrow_and_update();
            if end.is_some_and(|end| self.followed.at >= Some(end)) {
                return self.followed;
            }
            deadline = deadline.or(end.map(|_| Instant::now() + PATIENCE));
            tokio::select! {
                goes_on = self.read() => if !goes_on { return self.followed },
                changed = ending.changed() => if changed.is_err() { return self.followed },
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return self.followed,
            }
        }
    }
}

/// The results of one stream.
#[derive(Debug, Default)]
struct StreamProgress {
    /// The position that it has reached; `None` before it has begun.
    at: Option<u64>,
    /// How long records took to arrive that have not been added up yet.
    arrived: Vec<Duration>,
    /// How many records before that position did not arrive.
    lost: u64,
    unread: Vec<u8>,
}

impl StreamProgress {
    /// Processes bytes that arrived at a time: blocks of server-sent events, and parts of them.
    fn take(&mut self, bytes: &[u8], at: Timestamp) {
        const BETWEEN: &[u8] = b"\n\n";
        let searched = self.unread.len().saturating_sub(1);
        self.unread.extend_from_slice(bytes);
        let mut unread = std::mem::take(&mut self.unread);
        let (mut begin, mut from) = (0, searched);
        while let Some(end) = unread[from..].windows(BETWEEN.len()).position(|window| window == BETWEEN).map(|end| from + end) {
            self.block(&unread[begin..end], at);
            begin = end + BETWEEN.len();
            from = begin;
        }
        unread.drain(..begin);
        self.unread = unread;
    }

    fn block(&mut self, block: &[u8], at: Timestamp) {
        #[derive(Deserialize)]
        struct RecordTime<'a> {
            #[serde(borrow)]
            time: &'a str,
        }
        let field = |name: &[u8]| block.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name));
        let Some(id) = field(b"id: ").and_then(|id| std::str::from_utf8(id).ok()?.parse::<u64>().ok()) else { return };
        let Some(before) = self.at.replace(id) else { return };
        // A duplicate or late record is not the expected one.
        self.lost += id.abs_diff(before + 1);
        let told = field(b"data: ").and_then(|data| serde_json::from_slice::<RecordTime<'_>>(data).ok());
        let time = told.and_then(|told| told.time.parse::<Timestamp>().ok());
        let micros = time.map(|time| u64::try_from(at.micros_since(time)).unwrap_or_default());
        self.arrived.extend(micros.map(Duration::from_micros));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_chunks(chunks: &[&str]) -> StreamProgress {
        let mut followed = StreamProgress::default();
        for chunk in chunks {
            followed.take(chunk.as_bytes(), "2026-03-28T09:00:00.010Z".parse().unwrap());
        }
        followed
    }

    const SEVENTH: &str = "id: 7\nevent: event.received\ndata: {\"position\":7,\"time\":\"2026-03-28T09:00:00.004Z\"}\n\n";

    #[test]
    fn record_latency_is_measured_however_the_stream_is_split() {
        for cut in 0..SEVENTH.len() {
            let followed = read_chunks(&["id: 6\n\n: still here\n\n", &SEVENTH[..cut], &SEVENTH[cut..]]);
            assert_eq!((followed.at, followed.lost, &followed.arrived[..]), (Some(7), 0, &[Duration::from_millis(6)][..]), "{cut}");
        }
    }

    #[test]
    fn missing_records_are_counted() {
        assert_eq!(read_chunks(&["id: 3\n\n", SEVENTH]).lost, 3);
        assert_eq!(read_chunks(&["id: 7\n\n", SEVENTH]).lost, 1);
        assert!(read_chunks(&[SEVENTH]).arrived.is_empty());
    }
}
