//! Load: deliveries at a closed rate (as fast as answers arrive) or at an open one (as fast as the clock
//! says).
//!
//! Latency counts from the intended time of a delivery: a node that stalls is charged for the deliveries that
//! had to wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use crate::delivery::{Delivery, event_of};
use crate::target::Calls;
use crate::wire::HttpConnection;

/// The most deliveries that wait for a connection.
const TURNS_WAITING_MAX: usize = 65_536;

/// How deliveries are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each connection sends the next as soon as it has its answer.
    Closed,
    /// A fixed number per second, regardless of the node.
    Open {
        /// Deliveries per second.
        rate: f64,
    },
}

/// When a connection is done with a delivery.
#[derive(Clone)]
pub(crate) enum Until {
    /// It has its answer.
    Answered,
    /// The HTTP call that it leads to has arrived.
    Called(Calls),
}

/// What is sent, and how.
#[derive(Clone)]
pub(crate) struct Load {
    /// The node.
    pub(crate) node: SocketAddr,
    /// The delivery.
    pub(crate) delivery: Delivery,
    /// The pace.
    pub(crate) pace: Pace,
    /// When a connection may send the next.
    pub(crate) until: Until,
    /// The number of connections.
    pub(crate) connections: usize,
    /// The duration.
    pub(crate) duration: Duration,
    /// The number of the first delivery: each run of one node has its own range.
    pub(crate) first: u64,
}

/// The outcome of one delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentDelivery {
    /// The intended time of sending.
    pub(crate) intended: Instant,
    /// The time of the answer.
    pub(crate) answered: Instant,
    /// The event that it created, as the text of its id.
    pub(crate) event: Option<[u8; 36]>,
}

/// The outcomes of all deliveries.
#[derive(Debug, Default)]
pub(crate) struct LoadResult {
    /// The accepted ones.
    pub(crate) sent: Vec<SentDelivery>,
    /// How many got another answer, or none.
    pub(crate) refused: u64,
    /// The first of those, for people.
    pub(crate) first_refusal: Option<String>,
}

impl Load {
    /// Sends until the time is over, and waits for the last answers.
    pub(crate) async fn run(self) -> std::io::Result<LoadResult> {
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            connections.push(HttpConnection::open(self.node).await?);
        }
        let turns = SendSchedule::begin(self.pace, self.duration);
        let numbers = Arc::new(AtomicU64::new(self.first));
        let mut senders = tokio::task::JoinSet::new();
        for connection in connections {
            let sender = LoadSender {
                connection,
                node: self.node,
                delivery: self.delivery.clone(),
                numbers: Arc::clone(&numbers),
                turns: turns.clone(),
                until: self.until.clone(),
            };
            senders.spawn(sender.run());
        }
        let mut loaded = LoadResult::default();
        while let Some(part) = senders.join_next().await {
            let part = part.map_err(std::io::Error::other)?;
            loaded.sent.extend(part.sent);
            loaded.refused += part.refused;
            loaded.first_refusal = loaded.first_refusal.or(part.first_refusal);
        }
        Ok(loaded)
    }
}

/// The schedule of deliveries.
#[derive(Clone)]
enum SendSchedule {
    Closed { until: Instant },
    Open(Arc<Mutex<mpsc::Receiver<Instant>>>),
}

impl SendSchedule {
    fn begin(pace: Pace, duration: Duration) -> Self {
        let begin = Instant::now();
        match pace {
            Pace::Closed => Self::Closed { until: begin + duration },
            Pace::Open { rate } => {
                let (tick, ticks) = mpsc::channel(TURNS_WAITING_MAX);
                // The runtime's timers have a resolution of a millisecond, which is as large as the measured
                // times. A thread's sleep is finer.
                std::thread::spawn(move || {
                    let mut number = 0_u32;
                    loop {
                        let after = Duration::from_secs_f64(f64::from(number) / rate);
                        if after >= duration {
                            return;
                        }
                        let intended = begin + after;
                        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
                        // If the queue is full this blocks; the intended time stays the same.
                        if tick.blocking_send(intended).is_err() {
                            return;
                        }
                        number += 1;
                    }
                });
                Self::Open(Arc::new(Mutex::new(ticks)))
            }
        }
    }

    async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed { until } => Some(Instant::now()).filter(|now| now < until),
            Self::Open(ticks) => ticks.lock().await.recv().await,
        }
    }
}

/// One connection's part of the load.
struct LoadSender {
    connection: HttpConnection,
    node: SocketAddr,
    delivery: Delivery,
    numbers: Arc<AtomicU64>,
    turns: SendSchedule,
    until: Until,
}

impl LoadSender {
    async fn run(mut self) -> LoadResult {
        /// After this many consecutive rejections a connection gives up: the node does not work.
        const REFUSALS_MAX: u32 = 100;
        let mut loaded = LoadResult::default();
        let mut refusals = 0;
        while let Some(intended) = self.turns.next().await {
            let request = self.delivery.nth_request(self.numbers.fetch_add(1, Ordering::Relaxed));
            let refusal = match self.connection.exchange(request).await {
                Ok(reply) if reply.status == 202 || reply.status == 200 => {
                    let event = event_of(reply.body);
                    loaded.sent.push(SentDelivery { intended, answered: Instant::now(), event });
                    refusals = 0;
                    if let (Until::Called(calls), Some(event)) = (&self.until, event) {
                        calls.wait_for(event).await;
                    }
                    continue;
                }
                Ok(reply) => format!("{}: {}", reply.status, String::from_utf8_lossy(reply.body)),
                Err(error) => {
                    let why = error.to_string();
                    match HttpConnection::open(self.node).await {
                        Ok(connection) => self.connection = connection,
                        Err(_) => refusals = REFUSALS_MAX,
                    }
                    why
                }
            };
            loaded.refused += 1;
            loaded.first_refusal.get_or_insert(refusal);
            refusals += 1;
            if refusals >= REFUSALS_MAX {
                break;
            }
        }
        loaded
    }
}
