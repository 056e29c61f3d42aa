//! Load: deliveries at a closed rate (as fast as answers come) or at an open one (as fast as the clock says).
//!
//! Latency counts from the moment a delivery was meant to be sent: a node that stalls is charged for what had to wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use crate::delivery::{Delivery, event_of};
use crate::target::Calls;
use crate::wire::Connection;

/// How many turns wait for a connection.
const TURNS_WAITING_MAX: usize = 65_536;

/// How deliveries are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each connection sends the next as soon as it has its answer.
    Closed,
    /// So many a second, whatever the node does.
    Open {
        /// Deliveries a second.
        rate: f64,
    },
}

/// When a connection is done with a delivery.
#[derive(Clone)]
pub(crate) enum Until {
    /// It has its answer.
    Answered,
    /// The HTTP call that it leads to has come.
    Called(Calls),
}

/// What is sent, and how.
#[derive(Clone)]
pub(crate) struct Load {
    /// The node.
    pub(crate) node: SocketAddr,
    /// The delivery.
    pub(crate) delivery: Delivery,
    /// How.
    pub(crate) pace: Pace,
    /// When a connection may send the next.
    pub(crate) until: Until,
    /// Over how many connections.
    pub(crate) connections: usize,
    /// For how long.
    pub(crate) duration: Duration,
    /// The number of the first delivery: each run of one node has its own range.
    pub(crate) first: u64,
}

/// What became of one delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// When it was meant to be sent.
    pub(crate) intended: Instant,
    /// When the answer was there.
    pub(crate) answered: Instant,
    /// The event it made, as the text of its id.
    pub(crate) event: Option<[u8; 36]>,
}

/// What became of all.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Those that were accepted.
    pub(crate) sent: Vec<Sent>,
    /// How many were answered otherwise or not at all.
    pub(crate) refused: u64,
    /// The first of those, for people.
    pub(crate) first_refusal: Option<String>,
}

impl Load {
    /// Sends until the time is over, and waits for the last answers.
    pub(crate) async fn run(self) -> std::io::Result<Loaded> {
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            connections.push(Connection::open(self.node).await?);
        }
        let turns = Turns::begin(self.pace, self.duration);
        let numbers = Arc::new(AtomicU64::new(self.first));
        let mut senders = tokio::task::JoinSet::new();
        for connection in connections {
            let sender = Sender {
                connection,
                node: self.node,
                delivery: self.delivery.clone(),
                numbers: Arc::clone(&numbers),
                turns: turns.clone(),
                until: self.until.clone(),
            };
            senders.spawn(sender.run());
        }
        let mut loaded = Loaded::default();
        while let Some(part) = senders.join_next().await {
            let part = part.map_err(std::io::Error::other)?;
            loaded.sent.extend(part.sent);
            loaded.refused += part.refused;
            loaded.first_refusal = loaded.first_refusal.or(part.first_refusal);
        }
        Ok(loaded)
    }
}

/// Says when the next delivery is to be sent.
#[derive(Clone)]
enum Turns {
    Closed { until: Instant },
    Open(Arc<Mutex<mpsc::Receiver<Instant>>>),
}

impl Turns {
    fn begin(pace: Pace, duration: Duration) -> Self {
        let begin = Instant::now();
        match pace {
            Pace::Closed => Self::Closed { until: begin + duration },
            Pace::Open { rate } => {
                let (tick, ticks) = mpsc::channel(TURNS_WAITING_MAX);
                // The runtime's timers are a millisecond coarse, which is what is to be measured; a thread's sleep is not.
                std::thread::spawn(move || {
                    let mut number = 0_u32;
                    loop {
                        let after = Duration::from_secs_f64(f64::from(number) / rate);
                        if after >= duration {
                            return;
                        }
                        let intended = begin + after;
                        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
                        // Where the queue is full this waits; the moment that was meant stays the same.
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
struct Sender {
    connection: Connection,
    node: SocketAddr,
    delivery: Delivery,
    numbers: Arc<AtomicU64>,
    turns: Turns,
    until: Until,
}

impl Sender {
    async fn run(mut self) -> Loaded {
        /// After so many refusals in a row a connection gives up: the node does not work.
        const REFUSALS_MAX: u32 = 100;
        let mut loaded = Loaded::default();
        let mut refusals = 0;
        while let Some(intended) = self.turns.next().await {
            let request = self.delivery.numbered(self.numbers.fetch_add(1, Ordering::Relaxed));
            let refusal = match self.connection.exchange(request).await {
                Ok(reply) if reply.status == 202 || reply.status == 200 => {
                    let event = event_of(reply.body);
                    loaded.sent.push(Sent { intended, answered: Instant::now(), event });
                    refusals = 0;
                    if let (Until::Called(calls), Some(event)) = (&self.until, event) {
                        calls.wait_for(event).await;
                    }
                    continue;
                }
                Ok(reply) => format!("{}: {}", reply.status, String::from_utf8_lossy(reply.body)),
                Err(error) => {
                    let why = error.to_string();
                    match Connection::open(self.node).await {
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
