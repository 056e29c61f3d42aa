//! Readers: who asks for pages and single things while a load writes, and how long each answer took.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::child::Node;
use crate::wire::{self, Connection};

/// How many read at once.
const READERS: usize = 4;
/// What each asks for, by turns.
const PATHS: [&str; 4] = [
    "/api/v1/executions?limit=50",
    "/api/v1/events?limit=50",
    "/api/v1/executions?status=succeeded&action=core.noop&limit=50",
    "/api/v1/rules/bench.one",
];

/// Readers at work.
pub(crate) struct Readers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<io::Result<Reads>>,
    begin: Instant,
}

/// What they read.
#[derive(Default)]
pub(crate) struct Reads {
    /// How long each answer took.
    pub(crate) took: Vec<Duration>,
    /// For how long they read.
    pub(crate) over: Duration,
    /// How many were answered otherwise.
    pub(crate) refused: u64,
}

impl Readers {
    /// Has them begin.
    pub(crate) async fn start(node: &Node) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..READERS {
            let requests = PATHS.map(|path| wire::get(node.address, path, &node.token));
            tasks.spawn(read(Connection::open(node.address).await?, requests, stop.clone()));
        }
        Ok(Self { stop, tasks, begin: Instant::now() })
    }

    /// Has them end; fails where the node is gone.
    pub(crate) async fn stop(mut self) -> io::Result<Reads> {
        self.stop.store(true, Ordering::Relaxed);
        let mut reads = Reads::default();
        while let Some(read) = self.tasks.join_next().await {
            let read = read.map_err(io::Error::other)??;
            reads.took.extend(read.took);
            reads.refused += read.refused;
        }
        Ok(Reads { over: self.begin.elapsed(), ..reads })
    }
}

async fn read(mut connection: Connection, requests: [Vec<u8>; PATHS.len()], stop: Arc<AtomicBool>) -> io::Result<Reads> {
    let mut reads = Reads::default();
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
