//! Measurements of a node: what a webhook costs, how fast it is answered, and how fast its work is done.
//!
//! The node is a process of its own in a directory of its own; the load, the server that is called and the reading of the log are
//! this one's. Nothing here is part of a running node.

mod child;
pub(crate) mod compare;
mod delivery;
mod ends;
mod figures;
pub(crate) mod limits;
mod load;
pub(crate) mod long;
mod packs;
mod reads;
mod target;
mod wire;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use child::{Node, Start};
use delivery::Delivery;
use ends::Ends;
use figures::{Costs, Figures, Latencies};
use load::{Load, Loaded, Until};
use reads::{Readers, Reads};
use target::{Calls, Target};
use wire::Connection;

pub(crate) use load::Pace;
pub(crate) use packs::Scenario;

/// How a scenario is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How deliveries are sent.
    pub(crate) pace: Pace,
    /// When a connection is done with a delivery.
    pub(crate) done: Done,
    /// Over how many connections.
    pub(crate) connections: usize,
    /// For how long.
    pub(crate) duration: Duration,
}

/// When a connection is done with a delivery, and may send the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It has its answer.
    Answered,
    /// The HTTP call that it leads to has come, where it leads to one.
    Called,
}

/// Measures one scenario on a fresh node in `folder`; gives its figures as JSON.
pub(crate) async fn measure(scenario: Scenario, plan: &Plan, folder: &Path) -> io::Result<Value> {
    let target = match scenario {
        Scenario::Http => Some(Target::start().await?),
        Scenario::Ingest | Scenario::Rule | Scenario::Process | Scenario::Api | Scenario::Rules(_) => None,
    };
    let secret = hex::encode(child::entropy()?);
    let secret_file = folder.join("secret");
    std::fs::write(&secret_file, &secret)?;
    packs::write(&folder.join("packs"), scenario, target.as_ref().map(|target| target.address))?;
    let mut variables = vec![(packs::KEY_VARIABLE, secret_file.display().to_string())];
    variables.extend(target.as_ref().map(|target| ("ENSUE_EGRESS_ALLOW", target.address.to_string())));
    let token = child::admin_token()?;
    // What a node needs before its first event is not the events'.
    let disk_bytes_before = Node::start(Start { folder, token: &token, variables: variables.clone() }).await?.stop().await?;
    let node = Node::start(Start { folder, token: &token, variables }).await?;
    let load = Load {
        node: node.address,
        delivery: Delivery::new(node.address, packs::HOOK, secret.as_bytes()),
        pace: plan.pace,
        until: match (plan.done, &target) {
            (Done::Called, Some(target)) => Until::Called(target.calls.clone()),
            (Done::Called, None) | (Done::Answered, _) => Until::Answered,
        },
        connections: plan.connections,
        duration: plan.duration,
        first: 0,
    };
    let mut connection = Connection::open(node.address).await?;
    let warmed = warm_up(&load, &node, &mut connection).await?;
    if let Some(target) = &target {
        target.calls.clear();
    }
    let before = Before { position: ends::head(&node, &mut connection).await?, memory_bytes: node.memory_bytes(), begin: Instant::now() };
    let readers = match scenario {
        Scenario::Api => Some(Readers::start(&node).await?),
        Scenario::Ingest | Scenario::Rule | Scenario::Http | Scenario::Process | Scenario::Rules(_) => None,
    };
    let loaded = Load { first: 1 << 32, ..load }.run().await?;
    let reads = match readers {
        Some(readers) => readers.stop().await?,
        None => Reads::default(),
    };
    ends::settle(&node, &mut connection).await?;
    let ends = Ends::read(&node, &mut connection, before.position).await?;
    let pace = match (plan.pace, plan.done) {
        (Pace::Closed, Done::Called) => format!("{} at a time", plan.connections),
        (Pace::Closed, Done::Answered) => format!("{} connections", plan.connections),
        (Pace::Open { rate }, Done::Answered | Done::Called) => format!("{rate}/s"),
    };
    let memory_peak_bytes = node.memory_peak_bytes();
    let ready = node.ready;
    let disk_bytes = node.stop().await?;
    if let Some(refusal) = loaded.first_refusal.as_ref().filter(|_| loaded.sent.is_empty()) {
        return Err(io::Error::other(format!("the node took no delivery: {refusal}")));
    }
    let calls = target.as_ref().map(|target| &target.calls);
    let costs = Costs {
        disk_bytes: disk_bytes.saturating_sub(disk_bytes_before),
        events_on_disk: warmed + loaded.sent.len() as u64,
        memory_idle_bytes: before.memory_bytes,
        memory_peak_bytes,
        ready,
    };
    let mut figures = before.figures(scenario, pace, &loaded, &ends, calls, costs);
    figures.read = Latencies::of(reads.took.into_iter());
    figures.reading = reads.over;
    Ok(figures.to_json())
}

/// Lets the node grow its caches and the allocator its arenas before anything counts; gives the number of events that this took.
async fn warm_up(load: &Load, node: &Node, connection: &mut Connection) -> io::Result<u64> {
    const DURATION: Duration = Duration::from_millis(500);
    let warm = Load { pace: Pace::Open { rate: 200.0 }, connections: 4, duration: DURATION, first: 1, ..load.clone() };
    let loaded = warm.run().await?;
    if loaded.sent.is_empty() {
        let why = loaded.first_refusal.unwrap_or_default();
        return Err(io::Error::other(format!("the node took no delivery: {why}")));
    }
    ends::settle(node, connection).await?;
    Ok(loaded.sent.len() as u64)
}

/// How things stood before the load.
struct Before {
    position: u64,
    memory_bytes: u64,
    begin: Instant,
}

impl Before {
    fn figures(&self, scenario: Scenario, pace: String, loaded: &Loaded, ends: &Ends, calls: Option<&Calls>, costs: Costs) -> Figures {
        let finished: Vec<(Instant, Instant)> = loaded
            .sent
            .iter()
            .filter_map(|sent| {
                let (end, executions) = ends.by_event.get(&sent.event?)?;
                (*executions == scenario.executions_per_event()).then_some((sent.intended, *end))
            })
            .collect();
        let called: Vec<Duration> = calls.map_or_else(Vec::new, |calls| {
            loaded.sent.iter().filter_map(|sent| Some(calls.came(&sent.event?)?.saturating_duration_since(sent.intended))).collect()
        });
        let last = |moments: &mut dyn Iterator<Item = Instant>| moments.max().map_or(Duration::ZERO, |last| last - self.begin);
        Figures {
            scenario: scenario.name(),
            pace,
            answered: Latencies::of(loaded.sent.iter().map(|sent| sent.answered - sent.intended)),
            finished: Latencies::of(finished.iter().map(|(intended, end)| end.saturating_duration_since(*intended))),
            called: Latencies::of(called.into_iter()),
            read: Latencies::of(std::iter::empty()),
            refused: loaded.refused,
            answering: last(&mut loaded.sent.iter().map(|sent| sent.answered)),
            finishing: last(&mut finished.iter().map(|(_, end)| *end)),
            reading: Duration::ZERO,
            records: ends.records,
            commits: ends.commits,
            costs,
        }
    }
}

/// The figures of several runs for people.
pub(crate) fn tables(runs: &[Value]) -> String {
    figures::tables(runs)
}
