//! What is known outside of the node: each delivery that was sent, its answer, and what was done to the node.
//!
//! It is kept in memory, and line by line in `ledger.jsonl` next to the data directory, to show what led to a
//! failure.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Client, Delivery};

/// The number of concurrent senders.
const SENDERS: usize = 4;
/// How long a sender waits before it continues, if it does.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How long a sender that tries each node waits after a delivery.
const NEXT_AFTER: Duration = Duration::from_millis(50);

/// What is known outside of the node.
pub(super) struct Ledger {
    acknowledged: Mutex<BTreeMap<u64, String>>,
    sent: AtomicU64,
    begun_at: Instant,
    file: Mutex<File>,
}

/// The outcome of a delivery for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It counts.
    Acknowledged,
    /// It does not count, and may be sent again; contains the code of the problem.
    TurnedAway(String),
    /// The node reports that it may or may not count.
    SaidToBeUnknown,
    /// There was no connection: it was not sent.
    Unreachable,
    /// It may or may not count: there was no answer.
    Unanswered(String),
}

impl Ledger {
    /// Starts an empty ledger in a folder.
    pub(super) fn begin(folder: &Path) -> Self {
        let file = Mutex::new(File::create(folder.join("ledger.jsonl")).unwrap());
        Self { acknowledged: Mutex::default(), sent: AtomicU64::new(0), begun_at: Instant::now(), file }
    }

    /// Returns the number of deliveries sent.
    pub(super) fn sent_count(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns the acknowledged events by delivery.
    pub(super) fn acknowledged_events(&self) -> BTreeMap<u64, String> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what was done to the node.
    pub(super) fn note(&self, what: &str) {
        self.write(json!({ "done": what }));
    }

    /// Sends a delivery, and notes its answer. Any answer that does not tell a sender what to do fails the
    /// test.
    pub(super) async fn deliver(&self, client: &Client, n: u64) -> Outcome {
        let outcome = match client.deliver(&delivery(n)).await {
            Ok(answer) if answer.status == StatusCode::ACCEPTED || answer.status == StatusCode::OK => {
                let event = answer.body["events"][0]["id"].as_str().unwrap_or_else(|| panic!("no event in {}", answer.body));
                self.acknowledge(n, event);
                Outcome::Acknowledged
            }
            Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE || answer.status == StatusCode::TOO_MANY_REQUESTS => {
                assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
                match answer.body["code"].as_str() {
                    Some("outcome_unknown") => Outcome::SaidToBeUnknown,
                    code => Outcome::TurnedAway(code.unwrap_or_default().to_owned()),
                }
            }
            Ok(answer) => panic!("delivery {n} was answered with {answer:?}"),
            Err(error) if error.is_connect() => Outcome::Unreachable,
            Err(error) => Outcome::Unanswered(format!("{error:?}")),
        };
        self.write(json!({ "delivery": n, "outcome": format!("{outcome:?}") }));
        outcome
    }

    /// Sends the next delivery.
    pub(super) async fn deliver_next(&self, client: &Client) -> Outcome {
        let n = self.sent.fetch_add(1, Ordering::Relaxed);
        self.deliver(client, n).await
    }

    fn acknowledge(&self, n: u64, event: &str) {
        let earlier = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(n, event.to_owned());
        if let Some(earlier) = earlier {
            assert_eq!(earlier, event, "delivery {n} was acknowledged as two events");
        }
    }

    fn write(&self, mut line: Value) {
        line["ms"] = json!(self.begun_at.elapsed().as_millis() as u64);
        writeln!(self.file.lock().unwrap_or_else(PoisonError::into_inner), "{line}").unwrap();
    }
}

fn delivery(n: u64) -> Delivery {
    Delivery::github("tick", &format!("delivery-{n}"), json!({ "n": n }).to_string().as_bytes()).at("/hooks/torture/hook")
}

/// Running senders.
pub(super) struct Senders {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Outcome>>>,
}

/// What a sender does if a delivery was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It ends because the node is gone.
    Ends,
    /// It continues with the next delivery after a moment.
    GoesOn,
    /// It repeats the same delivery until it gets a connection; any answer other than an acknowledgement
    /// fails the test.
    Insists,
    /// It repeats the same delivery at the next node until that is acknowledged, or the senders are to stop.
    TriesEachNode,
}

impl Senders {
    /// Lets senders deliver until they are stopped.
    pub(super) fn start(client: &Client, ledger: &Arc<Ledger>, patience: Patience) -> Self {
        Self::start_to_each(std::slice::from_ref(client), ledger, patience)
    }

    /// Lets senders deliver to several nodes until they are stopped.
    pub(super) fn start_to_each(clients: &[Client], ledger: &Arc<Ledger>, patience: Patience) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = || {
            let (clients, ledger, stop) = (clients.to_vec(), ledger.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut outcomes, client) = (Vec::new(), &clients[0]);
                while !stop.load(Ordering::Relaxed) {
                    let outcome = match patience {
                        Patience::Insists => ledger.insist(client).await,
                        Patience::TriesEachNode => ledger.try_each(&clients, &stop).await,
                        Patience::Ends | Patience::GoesOn => ledger.deliver_next(client).await,
                    };
                    let is_done = outcome == Outcome::Acknowledged;
                    outcomes.push(outcome);
                    match patience {
                        Patience::Ends if !is_done => break,
                        Patience::GoesOn => tokio::time::sleep(AGAIN_AFTER).await,
                        Patience::TriesEachNode => tokio::time::sleep(NEXT_AFTER).await,
                        Patience::Ends | Patience::Insists => {}
                    }
                }
                outcomes
            })
        };
        let tasks = (0..SENDERS).map(|_| one()).collect();
        Self { stop, tasks }
    }

    /// Tells them to stop, and returns the outcomes of all their deliveries.
    pub(super) async fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcomes = Vec::new();
        for task in self.tasks {
            outcomes.extend(task.await.unwrap());
        }
        outcomes
    }
}

impl Ledger {
    /// Delivers as a client does that retries only if there was no connection.
    async fn insist(&self, client: &Client) -> Outcome {
        let n = self.sent.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        loop {
            match self.deliver(client, n).await {
                Outcome::Acknowledged => return Outcome::Acknowledged,
                Outcome::Unreachable => {}
                failed @ (Outcome::TurnedAway(_) | Outcome::SaidToBeUnknown | Outcome::Unanswered(_)) => {
                    panic!("delivery {n} failed: {failed:?}")
                }
            }
            assert!(begin.elapsed() < crate::support::PATIENCE, "delivery {n} was never taken");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
    /// Delivers as a client does that knows several nodes, and tries the next one until one takes the delivery.
    async fn try_each(&self, clients: &[Client], stop: &AtomicBool) -> Outcome {
        let n = self.sent.fetch_add(1, Ordering::Relaxed);
        for client in clients.iter().cycle() {
            let outcome = self.deliver(client, n).await;
            if outcome == Outcome::Acknowledged || stop.load(Ordering::Relaxed) {
                return outcome;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        unreachable!("there is a node")
    }
}
