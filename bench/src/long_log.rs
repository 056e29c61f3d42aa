//! A long log: how soon a killed node is ready again.
//!
//! The node is a separate process, killed like in a power cut.

use std::io;
use std::path::Path;
use std::time::Instant;

use ensue_node::long_log::LongLogPlan;
use serde_json::{Value, json};

use crate::child::Machine;
use crate::figures::millis;
use crate::log_folder::KeptLog;
use crate::packs;
use crate::watcher::Watcher;
use crate::wire::{self, HttpConnection};

/// The length of a payload.
const PAYLOAD_BYTES: usize = 300;
/// How often the node is killed and started again.
const STARTS: usize = 3;

/// The planned length of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    /// How many records.
    pub(crate) records: u64,
    /// How many executions stay open.
    pub(crate) open: u64,
}

/// Extends the log of a node in `folder` to this length, and measures how long starting on it takes. Returns
/// the figures as JSON.
pub(crate) async fn measure(folder: &Path, length: Length, machine: &Machine, watcher: &dyn Watcher) -> io::Result<Value> {
    let log = KeptLog::open(folder, write_pack, machine).await?;
    let begin = Instant::now();
    let plan = plan(length)?;
    let records = log.lengthen("making the log", &plan, watcher)?;
    let making = begin.elapsed();
    let mut ready = Vec::new();
    let mut memory_bytes = 0;
    for _ in 0..STARTS {
        let node = log.start().await?;
        ready.push(node.ready);
        let mut connection = HttpConnection::open(node.address).await?;
        // Accepted events must be there after the kill, so that each start has something to fold.
        let event = json!({ "trigger": packs::TICK_REF, "payload": { "n": 1, "text": "" } }).to_string();
        let request = wire::post(node.address, "/api/v1/events", &node.token, &event);
        let status = connection.exchange(&request).await?.status;
        if status != 202 {
            return Err(io::Error::other(format!("an event was answered with {status}")));
        }
        memory_bytes = node.memory_peak_bytes();
        node.kill()?;
    }
    let node = log.start().await?;
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

/// Returns the plan of a log of this length.
pub(crate) fn plan(Length { records, open }: Length) -> io::Result<LongLogPlan> {
    let trigger = packs::TICK_REF.parse().map_err(io::Error::other)?;
    Ok(LongLogPlan { records, trigger, payload_bytes: PAYLOAD_BYTES, open, failing: None })
}

/// One event in five leads to an execution: ten million records contain a million of them.
pub(crate) fn write_pack(pack: &Path) -> io::Result<()> {
    let file = |path: &str, text: &str| packs::write_file(pack, path, text);
    file("pack.yaml", "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\n")?;
    file("triggers/tick.yaml", packs::TICK)?;
    file("rules/fifth.yaml", "description: True of one in five.\ntrigger: bench.tick\nwhen: event.payload.n % 5 == 0\naction: core.noop\n")
}
