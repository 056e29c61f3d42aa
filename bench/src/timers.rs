//! Many pending timers and open inquiries: how much memory and disk space a node needs for them, and how soon it is ready
//! again after a kill.
//!
//! One half of the timers waits for a time of the clock, the other half for a duration; none of them is due
//! during the measurement.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use crate::child::{Machine, Node, Start};
use crate::figures::{millis, number, round_to_hundredths};
use crate::log_folder;
use crate::log_summary::now;
use crate::log_summary::{lag, settle, success_body};
use crate::packs::write_file;
use crate::table::bytes;
use crate::wire::{self, HttpConnection};

/// How often the node is killed and started again.
const STARTS: usize = 3;
/// How far away each timer is, in days.
const DAYS: i64 = 300;
/// The number of timers per inquiry.
const TIMERS_PER_QUESTION: u64 = 10;
/// A day, in microseconds.
const DAY_MICROS: i64 = 86_400_000_000;

/// The amount of data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerLoad {
    /// The number of timers.
    pub(crate) timers: u64,
    /// The number of connections that request them.
    pub(crate) connections: u64,
}

impl TimerLoad {
    /// Returns how many inquiries are open besides the timers.
    fn questions(self) -> u64 {
        self.timers / TIMERS_PER_QUESTION
    }
}

/// Creates this many waiting executions on a fresh node in `folder`, kills and starts it. Returns the figures
/// as JSON.
pub(crate) async fn measure(folder: &Path, pending: TimerLoad, machine: &Machine) -> io::Result<Value> {
    write_file(&folder.join("packs/bench"), "pack.yaml", "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\n")?;
    let token = log_folder::token(folder)?;
    let start = || Node::start(Start { folder, token: &token, variables: Vec::new(), machine });
    let mut node = start().await?;
    let memory_before_bytes = node.memory_bytes();
    let begin = Instant::now();
    ask(&node, pending).await?;
    let asking = begin.elapsed();
    let mut connection = HttpConnection::open(node.address).await?;
    settle(&node, &mut connection).await?;
    lag(&node, &mut connection).await?;
    let memory_bytes = node.memory_bytes();
    let memory_peak_bytes = node.memory_peak_bytes();
    let (mut ready, mut memory_after_start_bytes) = (Vec::new(), 0);
    for _ in 0..STARTS {
        node.kill()?;
        node = start().await?;
        ready.push(node.ready);
        let mut connection = HttpConnection::open(node.address).await?;
        all_wait(&node, &mut connection, pending.timers + pending.questions()).await?;
        memory_after_start_bytes = memory_after_start_bytes.max(node.memory_bytes());
    }
    let disk_bytes = node.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per_second = round_to_hundredths((pending.timers + pending.questions()) as f64 / asking.as_secs_f64());
    Ok(json!({
        "scenario": "timers",
        "pace": format!("{} pending", pending.timers),
        "questions": pending.questions(),
        "asked_per_second": per_second,
        "memory_before_bytes": memory_before_bytes,
        "memory_bytes": memory_bytes,
        "memory_peak_bytes": memory_peak_bytes,
        "memory_after_start_bytes": memory_after_start_bytes,
        "disk_bytes": disk_bytes,
        "starts_after_kills_ms": ready.iter().copied().map(millis).collect::<Vec<_>>(),
        "ready_ms": ready.into_iter().max().map(millis),
    }))
}

/// Requests waiting executions over many connections.
async fn ask(node: &Node, pending: TimerLoad) -> io::Result<()> {
    let at = Timestamp::from_micros(now().micros() + DAYS * DAY_MICROS);
    let post =
        |action: &str, body: Value| wire::post(node.address, &format!("/api/v1/actions/{action}/execute"), &node.token, &body.to_string());
    let for_a_time = post("core.noop", json!({ "start_at": at.to_string() }));
    let for_a_while = post("core.sleep", json!({ "params": { "duration": format!("{}h", DAYS * 24) } }));
    let answer = json!({ "type": "object", "properties": { "go": { "type": "boolean" } } });
    let question = json!({ "params": { "title": "Go on?", "assignees": ["role:operator"], "answer": answer } });
    let for_an_answer = post("core.inquiry", question);
    let request = move |number: u64| {
        let timer = if number % 2 == 1 { &for_a_while } else { &for_a_time };
        if number < pending.timers { timer.clone() } else { for_an_answer.clone() }
    };
    wire::send_all(node.address, pending.connections, pending.timers + pending.questions(), request).await
}

/// Verifies that nothing has been lost or has begun, and waits for the remaining work of the start.
async fn all_wait(node: &Node, connection: &mut HttpConnection, waiting: u64) -> io::Result<()> {
    lag(node, connection).await?;
    let reply = connection.ask(&wire::get(node.address, "/api/v1/status", &node.token)).await?;
    let status: Value = serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)?;
    let totals = &status["totals"];
    if (totals["executions_open"].as_u64(), totals["attempts_started"].as_u64()) == (Some(waiting), Some(0)) {
        return Ok(());
    }
    Err(io::Error::other(format!("of {waiting} delayed executions, the node has after a start: {totals}")))
}

/// Returns the figures as a line for people.
pub(crate) fn describe(timers: &Value) -> String {
    let memory = |name: &str| bytes(timers[name].as_u64().unwrap_or_default());
    let longest = Duration::from_secs_f64(timers["ready_ms"].as_f64().unwrap_or_default() / 1_000.0);
    format!(
        "With {} timers and {} open questions the node held {} ({} before them, {} at the peak), and {} after a start; it was ready {} ms after a kill at the latest.\n\
         They were asked for at {} a second.",
        timers["pace"].as_str().unwrap_or_default(),
        number(&timers["questions"]),
        memory("memory_bytes"),
        memory("memory_before_bytes"),
        memory("memory_peak_bytes"),
        memory("memory_after_start_bytes"),
        longest.as_millis(),
        number(&timers["asked_per_second"]),
    )
}
