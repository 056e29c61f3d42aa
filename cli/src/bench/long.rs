//! A long log: how soon a node that was killed on it is ready again.
//!
//! The log is made by `ensue_node::long_log`; the node is a process of its own, killed as a power cut would.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use ensue_node::Config;
use ensue_node::long_log::{self, Plan};
use serde_json::{Value, json};

use super::child::{self, Machine, Node, Start};
use super::packs;
use super::wire::{self, Connection};
use crate::progress::Progress;
use crate::report::tell;

/// How long a payload is.
const PAYLOAD_BYTES: usize = 300;
/// How often the node is killed and started again.
const STARTS: usize = 3;
/// How often it is told how far the log is.
const TELL_EVERY_RECORDS: u64 = 500_000;

/// How long a log is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    /// How many records.
    pub(crate) records: u64,
    /// How many executions stay open.
    pub(crate) open: u64,
}

/// Makes the log of a node in `folder` so long, and measures what starting on it takes; gives the figures as JSON.
pub(crate) async fn measure(folder: &Path, length: Length, machine: &Machine) -> io::Result<Value> {
    write_pack(&folder.join("packs/bench"))?;
    let token = child::admin_token()?;
    let start = || Start { folder, token: &token, variables: vec![("ENSUE_WORKERS", "0".to_owned())], machine };
    Node::start(start()).await?.stop().await?;
    let begin = Instant::now();
    let config = Config { packs: folder.join("packs"), state_base: Some(folder.join("state")), ..Config::new(folder.join("data")) };
    let plan = Plan {
        records: length.records,
        trigger: packs::TICK_REF.parse().map_err(io::Error::other)?,
        payload_bytes: PAYLOAD_BYTES,
        open: length.open,
        failing: None,
    };
    let progress = Progress::through_records("making the log", length.records);
    let mut told = 0;
    let made = tokio::task::block_in_place(|| {
        long_log::lengthen(&config, &plan, |position| {
            progress.at(position.0);
            if !progress.is_drawn() && position.0 >= told + TELL_EVERY_RECORDS {
                told = position.0;
                tell(format!("{told} records after {} s", begin.elapsed().as_secs()));
            }
        })
    });
    drop(progress);
    let records = made.map_err(|error| io::Error::other(error.to_string()))?.0;
    let making = begin.elapsed();
    let mut ready = Vec::new();
    let mut memory_bytes = 0;
    for _ in 0..STARTS {
        let node = Node::start(start()).await?;
        ready.push(node.ready);
        let mut connection = Connection::open(node.address).await?;
        // What it takes in must be there after the kill, so that each start has something to fold.
        let event = json!({ "trigger": packs::TICK_REF, "payload": { "n": 1, "text": "" } }).to_string();
        let request = wire::post(node.address, "/api/v1/events", &node.token, &event);
        let status = connection.exchange(&request).await?.status;
        if status != 202 {
            return Err(io::Error::other(format!("an event was answered with {status}")));
        }
        memory_bytes = node.memory_peak_bytes();
        node.kill()?;
    }
    let node = Node::start(start()).await?;
    ready.push(node.ready);
    let disk_bytes = node.stop().await?;
    let rate = records as f64 / making.as_secs_f64();
    Ok(json!({
        "records": records,
        "open": length.open,
        "made_per_second": rate.round(),
        "disk_bytes": disk_bytes,
        "first_start_ms": millis(ready[0]),
        "starts_after_kills_ms": ready[1..].iter().copied().map(millis).collect::<Vec<_>>(),
        "memory_peak_bytes": memory_bytes,
    }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One event in five leads to an execution: ten million records have a million of them.
fn write_pack(pack: &Path) -> io::Result<()> {
    let file = |path: &str, text: &str| {
        let path = pack.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(pack))?;
        std::fs::write(path, text)
    };
    file("pack.yaml", "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\n")?;
    file("triggers/tick.yaml", packs::TICK)?;
    file("rules/fifth.yaml", "description: True of one in five.\ntrigger: bench.tick\nwhen: event.payload.n % 5 == 0\naction: core.noop\n")
}
