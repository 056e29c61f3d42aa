//! Pulling sensors: how many lines of a program become events, and what idle polls cost.

use std::convert::Infallible;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};

use crate::child::{Machine, Node, Start};
use crate::figures::{number, round_to_hundredths};
use crate::log_folder;
use crate::log_summary::{self, success_body};
use crate::packs::{TICK, TICK_REF, write_file};
use crate::table::bytes;
use crate::wire::{self, HttpConnection};

/// How long a program's sensor reads before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long a node rests before its memory is read.
const REST: Duration = Duration::from_secs(3);
/// The sensor that reads the program.
const LINES: &str = "bench.lines";
/// How long the program prints when nothing but a reader is there.
const PRINTED_FOR: Duration = Duration::from_secs(1);

/// The program: numbered lines of about 180 bytes, each with a cursor, as fast as they are read.
const PROGRAM: &str = "#!/bin/sh\nseq 1 1000000000 | sed 's/.*/{\"event\":{\"n\":&,\"text\":\"abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz\"},\"cursor\":&}/'\n";

/// How the lines of a program are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinesPlan {
    /// Whether a rule matches each of them and runs a no-op.
    pub(crate) has_rule: bool,
    /// How long they are counted.
    pub(crate) duration: Duration,
}

/// Counts the lines of a program that become events, on a fresh node in `folder`. Returns the figures as JSON.
pub(crate) async fn lines(folder: &Path, lines: LinesPlan, machine: &Machine) -> io::Result<Value> {
    let pack = folder.join("packs/bench");
    write_pack(&pack)?;
    write_file(&pack, "triggers/tick.yaml", TICK)?;
    write_file(&pack, "sensors/lines.sh", PROGRAM)?;
    let program = pack.join("sensors/lines.sh");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let sensor = format!("description: Reads a program.\nprocess: {{ command: [./lines.sh] }}\nemits: [{{ trigger: {TICK_REF} }}]\n");
    write_file(&pack, "sensors/lines.yaml", &sensor)?;
    let when = if lines.has_rule { "true" } else { "event.payload.n < 0" };
    write_file(&pack, "rules/one.yaml", &format!("trigger: {TICK_REF}\nwhen: {when}\naction: core.noop\n"))?;
    let printed = tokio::task::block_in_place(|| printing_rate(&program))?;
    let token = log_folder::token(folder)?;
    let node = Node::start(Start { folder, token: &token, variables: Vec::new(), machine }).await?;
    let mut connection = HttpConnection::open(node.address).await?;
    tokio::time::sleep(WARM_UP).await;
    let before = NodeCounts::read(&node, &mut connection).await?;
    if before.events == 0 {
        let why = "the sensor has read nothing yet: is there `sh`, `seq` and `sed`, and may programs run?";
        return Err(io::Error::other(why));
    }
    let (begin, processor_before) = (Instant::now(), node.processor_time());
    tokio::time::sleep(lines.duration).await;
    let after = NodeCounts::read(&node, &mut connection).await?;
    let took = begin.elapsed();
    let processor = node.processor_time_since(processor_before);
    let memory_peak_bytes = node.memory_peak_bytes();
    drop(connection);
    node.kill()?;
    let events = after.events - before.events;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let per_second = |count: u64| round_to_hundredths(count as f64 / took.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let each = |total: f64| round_to_hundredths(total / events.max(1) as f64);
    let lines_per_second = per_second(events);
    Ok(json!({
        "scenario": "sensor process",
        "pace": if lines.has_rule { "one rule and a no-op" } else { "no rule true" },
        "events": events,
        "refused": after.refused,
        "events_per_second": lines_per_second,
        "executions_per_second": per_second(after.executions - before.executions),
        "records_per_event": each(f64::from(u32::try_from(after.position - before.position).unwrap_or(u32::MAX))),
        "processor_us_per_event": processor.map(|processor| each(processor.as_secs_f64() * 1e6)),
        "memory_peak_bytes": memory_peak_bytes,
        "printed_per_second": printed,
        "share": { "printed": round_to_hundredths(lines_per_second / printed.max(1.0)) },
    }))
}

/// Returns how many lines a second the program prints to a reader that does nothing.
fn printing_rate(program: &Path) -> io::Result<f64> {
    let mut child = Command::new(program).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("the program's output cannot be read"))?;
    let (begin, mut count) = (Instant::now(), 0_u32);
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while begin.elapsed() < PRINTED_FOR && reader.read_until(b'\n', &mut line)? > 0 {
        count += 1;
        line.clear();
    }
    let took = begin.elapsed();
    // Its parts end at their next write, as nobody reads any longer.
    drop(reader);
    child.wait()?;
    Ok(round_to_hundredths(f64::from(count) / took.as_secs_f64()))
}

/// The counts of a node at a moment.
struct NodeCounts {
    events: u64,
    refused: u64,
    executions: u64,
    position: u64,
}

impl NodeCounts {
    async fn read(node: &Node, connection: &mut HttpConnection) -> io::Result<Self> {
        let reply = connection.ask(&wire::get(node.address, &format!("/api/v1/sensors/{LINES}"), &node.token)).await?;
        let sensor: Value = serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)?;
        let reply = connection.ask(&wire::get(node.address, "/api/v1/status", &node.token)).await?;
        let status: Value = serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)?;
        let of = |value: &Value| value.as_u64().unwrap_or_default();
        Ok(Self {
            events: of(&sensor["events_count"]),
            refused: of(&sensor["refused_count"]),
            executions: of(&status["totals"]["attempts_started"]),
            position: of(&status["position"]),
        })
    }
}

/// How idle polls are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// The number of sensors.
    pub(crate) polls: u64,
    /// How often each of them polls.
    pub(crate) every: Duration,
    /// How long they are watched.
    pub(crate) duration: Duration,
}

/// Measures what sensors cost whose server never has anything new, on a fresh node in `folder`. Returns the figures as
/// JSON.
pub(crate) async fn idle(folder: &Path, idle: Idle, machine: &Machine) -> io::Result<Value> {
    let asked = Arc::new(AtomicU64::new(0));
    let server = Nothing::start(asked.clone()).await?;
    let pack = folder.join("packs/bench");
    write_pack(&pack)?;
    write_file(&pack, "triggers/tick.yaml", TICK)?;
    let token = log_folder::token(folder)?;
    let variables = vec![("ENSUE_EGRESS_ALLOW", server.address.to_string())];
    let start = || Start { folder, token: &token, variables: variables.clone(), machine };
    // Without the sensors.
    let node = Node::start(start()).await?;
    tokio::time::sleep(REST).await;
    let memory_before_bytes = node.memory_bytes();
    node.stop().await?;
    let (address, every) = (server.address, idle.every.as_secs());
    for number in 0..idle.polls {
        let sensor = format!(
            "description: Asks a server.\npoll:\n  every: {every}s\n  http: {{ url: 'http://{address}/{number}' }}\n  items: body\n  only_new: string(item.n)\n\
             emits: [{{ trigger: {TICK_REF}, payload: '${{{{ item }}}}' }}]\n"
        );
        write_file(&pack, &format!("sensors/s{number}.yaml"), &sensor)?;
    }
    let node = Node::start(start()).await?;
    // Each has polled twice, so that it knows its server and nothing is new any longer.
    let patience = Instant::now() + idle.every * 3 + REST;
    while asked.load(Ordering::Relaxed) < idle.polls * 2 {
        if Instant::now() > patience {
            let (asked, polls) = (asked.load(Ordering::Relaxed), idle.polls);
            return Err(io::Error::other(format!("the server was asked {asked} times by {polls} sensors in three periods")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut connection = HttpConnection::open(node.address).await?;
    log_summary::settle(&node, &mut connection).await?;
    let position = log_summary::head(&node, &mut connection).await?;
    let (begin, processor_before, asked_before) = (Instant::now(), node.processor_time(), asked.load(Ordering::Relaxed));
    tokio::time::sleep(idle.duration).await;
    let (took, processor) = (begin.elapsed(), node.processor_time_since(processor_before));
    let polls = asked.load(Ordering::Relaxed) - asked_before;
    let memory_bytes = node.memory_bytes();
    let records = log_summary::head(&node, &mut connection).await? - position;
    drop(connection);
    node.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let per_second = round_to_hundredths(polls as f64 / took.as_secs_f64());
    Ok(json!({
        "scenario": "sensor poll",
        "pace": format!("{} idle, every {every} s", idle.polls),
        "polls_per_second": per_second,
        "records": records,
        "processor_share": processor.map(|processor| processor.as_secs_f64() / took.as_secs_f64()),
        "memory_before_bytes": memory_before_bytes,
        "memory_bytes": memory_bytes,
        "memory_of_sensors_bytes": memory_bytes.saturating_sub(memory_before_bytes),
    }))
}

fn write_pack(pack: &Path) -> io::Result<()> {
    write_file(pack, "pack.yaml", "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\n")
}

/// A server that always has the same item, and never a new one.
struct Nothing {
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Nothing {
    async fn start(asked: Arc<AtomicU64>) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let asked = asked.clone();
                let handler = service_fn(move |_: Request<Incoming>| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    let item = Bytes::from_static(br#"[{"n":1,"text":"the same"}]"#);
                    std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(item))))
                });
                let http =
                    hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), handler);
                tokio::spawn(http);
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for Nothing {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Returns the figures of lines as text for people.
pub(crate) fn describe_lines(figures: &Value) -> String {
    format!(
        "{} lines a second became events ({}), with {} executions a second and {} µs of processor time for each event.\n\
         The program alone prints {} lines a second. {} lines were refused. The node held {} at the peak.",
        number(&figures["events_per_second"]),
        figures["pace"].as_str().unwrap_or_default(),
        number(&figures["executions_per_second"]),
        number(&figures["processor_us_per_event"]),
        number(&figures["printed_per_second"]),
        number(&figures["refused"]),
        bytes(figures["memory_peak_bytes"].as_u64().unwrap_or_default()),
    )
}

/// Returns the figures of idle polls as text for people.
pub(crate) fn describe_idle(figures: &Value) -> String {
    let memory = |name: &str| bytes(figures[name].as_u64().unwrap_or_default());
    format!(
        "{} sensors polled {} times a second. They wrote {} records, and the node used {:.2} % of a core.\n\
         The node held {}: {} more than without them.",
        figures["pace"].as_str().unwrap_or_default(),
        number(&figures["polls_per_second"]),
        number(&figures["records"]),
        figures["processor_share"].as_f64().unwrap_or_default() * 100.0,
        memory("memory_bytes"),
        memory("memory_of_sensors_bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_prints_numbered_events_with_cursors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.sh");
        std::fs::write(&path, PROGRAM).unwrap();
        let mut child = Command::new("sh").arg(&path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines: Vec<Value> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .take(3)
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        child.wait().unwrap();
        assert_eq!(
            lines.iter().map(|line| (&line["event"]["n"], &line["cursor"])).collect::<Vec<_>>(),
            [(&json!(1), &json!(1)), (&json!(2), &json!(2)), (&json!(3), &json!(3))]
        );
    }
}
