//! Readers that request pages and single resources during a load, and the latency of their answers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::child::Node;
use crate::wire::{self, HttpConnection};

/// How many readers run at once.
const READERS: usize = 4;
/// The paths that each requests in turn.
const PATHS: [&str; 4] = [
    "/api/v1/executions?limit=50",
    "/api/v1/events?limit=50",
    "/api/v1/executions?status=succeeded&action=core.noop&limit=50",
    "/api/v1/rules/bench.one",
];

/// Running readers.
pub(crate) struct Readers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<io::Result<ReadResults>>,
    begin: Instant,
}

/// The results of the readers.
#[derive(Default)]
pub(crate) struct ReadResults {
    /// The latency of each answer.
    pub(crate) took: Vec<Duration>,
    /// The duration of the reads.
    pub(crate) over: Duration,
    /// How many requests got another answer.
    pub(crate) refused: u64,
}

impl Readers {
    /// Starts them.
    pub(crate) async fn start(node: &Node) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..READERS {
            let requests = PATHS.map(|path| wire::get(node.address, path, &node.token));
            tasks.spawn(read(HttpConnection::open(node.address).await?, requests, stop.clone()));
        }
        Ok(Self { stop, tasks, begin: Instant::now() })
    }

    /// Stops them; fails if the node is gone.
    pub(crate) async fn stop(mut self) -> io::Result<ReadResults> {
        self.stop.store(true, Ordering::Relaxed);
        let mut reads = ReadResults::default();
        while let Some(read) = self.tasks.join_next().await {
            let read = read.map_err(io::Error::other)??;
            reads.took.extend(read.took);
            reads.refused += read.refused;
        }
        Ok(ReadResults { over: self.begin.elapsed(), ..reads })
    }
}

async fn read(mut connection: HttpConnection, requests: [Vec<u8>; PATHS.len()], stop: Arc<AtomicBool>) -> io::Result<ReadResults> {
    let mut reads = ReadResults::default();
    for request in requests.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begin = Instant::now();
        let reply = connection.ask(request).await?;
        if reply.status == 200 {
            reads.took.push(begin.elapsed());
        } else {
            reads.refused += 1;
        }
    }
    Ok(reads)
}
