//! Backtests over many events: how long a node takes to find out what a rule would have done with them.
//!
//! The node that posts the events also runs the backtests. The rule reads three fields of each event, and matches some of
//! them, which it acts on as they are posted.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child::{Machine, Node, Start};
use crate::figures::{micros, millis, number, round_to_hundredths};
use crate::log_folder;
use crate::log_summary::{lag, settle, success_body};
use crate::packs::write_file;
use crate::table::bytes;
use crate::wire::{self, HttpConnection};

/// How often the backtest is run.
const ROUNDS: usize = 3;
/// How many events are posted at once.
const EVENTS_PER_LIST: u64 = 100;
/// The number of connections that post them.
const CONNECTIONS: u64 = 8;
/// The length of a payload.
const PAYLOAD_BYTES: usize = 2_048;
/// How long the answer to a backtest may take.
const WAIT: Duration = Duration::from_secs(600);

const TRIGGER_REF: &str = "bench.order";
const TRIGGER: &str = "description: An order.\npayload: { number: integer, total: integer, customer: object }\n";
const RULE_REF: &str = "bench.large";
const RULE: &str = "\
description: Made for a measurement.
trigger: bench.order
when: event.payload.total >= 1000 && event.payload.customer.country == \"NO\" && event.payload.number >= 0
action: core.noop
";

/// Which events a backtest runs over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PastEvents {
    /// How many.
    pub(crate) count: u64,
    /// One in this many matches the rule.
    pub(crate) matching_one_in: u64,
}

/// Posts events to a fresh node in `folder`, and backtests a rule over them. Returns the figures as JSON.
pub(crate) async fn measure(folder: &Path, past: PastEvents, machine: &Machine) -> io::Result<Value> {
    let events = past.count;
    let node = start_node(folder, machine).await?;
    let (host, token) = (node.address, node.token.clone());
    let list = move |number: u64| {
        let first = number * EVENTS_PER_LIST;
        let orders: Vec<String> = (first..events.min(first + EVENTS_PER_LIST)).map(|number| event(number, past.matching_one_in)).collect();
        wire::post(host, "/api/v1/events", &token, &format!("[{}]", orders.join(",")))
    };
    wire::send_all(host, CONNECTIONS, events.div_ceil(EVENTS_PER_LIST), list).await?;
    let mut connection = HttpConnection::open(host).await?;
    settle(&node, &mut connection).await?;
    lag(&node, &mut connection).await?;
    let processor_before = node.processor_time();
    let (mut rounds, mut answer) = (Vec::new(), Value::Null);
    for _ in 0..ROUNDS {
        let took;
        (took, answer) = backtest(&node, &mut connection).await?;
        if answer["judged"] != events {
            return Err(io::Error::other(format!("of {events} events, the backtest judged {}", answer["judged"])));
        }
        rounds.push(took);
    }
    let processor = node.processor_time_since(processor_before);
    let memory_peak_bytes = node.memory_peak_bytes();
    let disk_bytes = node.stop().await?;
    rounds.sort();
    let took = rounds[ROUNDS / 2];
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (all, judged) = (events as f64, (events * ROUNDS as u64) as f64);
    Ok(json!({
        "scenario": "backtest",
        "pace": format!("{events} events"),
        "payload_bytes": PAYLOAD_BYTES,
        "matching_one_in": past.matching_one_in,
        "matched": answer["matched"],
        "rounds_ms": rounds.into_iter().map(millis).collect::<Vec<_>>(),
        "took_ms": millis(took),
        "events_per_second": round_to_hundredths(all / took.as_secs_f64()),
        "processor_us_per_event": processor.map(|processor| round_to_hundredths(micros(processor) / judged)),
        "memory_peak_bytes": memory_peak_bytes,
        "disk_bytes": disk_bytes,
    }))
}

fn write_pack(pack: &Path) -> io::Result<()> {
    write_file(pack, "pack.yaml", "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\n")?;
    write_file(pack, "triggers/order.yaml", TRIGGER)?;
    write_file(pack, "rules/large.yaml", RULE)
}

async fn start_node(folder: &Path, machine: &Machine) -> io::Result<Node> {
    write_pack(&folder.join("packs/bench"))?;
    let token = log_folder::token(folder)?;
    Node::start(Start { folder, token: &token, variables: Vec::new(), machine }).await
}

/// Returns the `number`-th event: a payload with nested values that differ from those of the others.
fn event(number: u64, matching_one_in: u64) -> String {
    let varied = |salt: u64| (number + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let total = if number.is_multiple_of(matching_one_in) { 1_000 + varied(0) % 9_000 } else { varied(0) % 1_000 };
    let items: Vec<Value> = (1..=24)
        .map(|item| json!({ "sku": format!("sku-{:07}", varied(item)), "name": "A lamp for the harbour", "price": varied(item + 100) % 1_000, "count": item }))
        .collect();
    let customer = json!({ "id": varied(200), "country": "NO", "email": format!("customer{}@example.com", varied(201)) });
    let mut payload = json!({ "number": number, "total": total, "customer": customer, "items": items, "note": "" });
    let missing = PAYLOAD_BYTES.saturating_sub(payload.to_string().len());
    payload["note"] = ".".repeat(missing).into();
    json!({ "trigger": TRIGGER_REF, "payload": payload }).to_string()
}

/// Runs the backtest once. Returns how long that took, and the answer.
async fn backtest(node: &Node, connection: &mut HttpConnection) -> io::Result<(Duration, Value)> {
    let asked = json!({ "rule": RULE_REF }).to_string();
    let request = wire::post_and_wait(node.address, "/api/v1/rules/backtest", &node.token, &asked, WAIT);
    let begin = Instant::now();
    let reply = connection.exchange(&request).await?;
    let took = begin.elapsed();
    Ok((took, serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)?))
}

/// Returns the figures as a line for people.
pub(crate) fn describe(backtest: &Value) -> String {
    format!(
        "A backtest over {} of {} bytes took {} ms, {} events a second, and {} µs of the node's processor time an event.\n\
         At the peak the node held {}.",
        backtest["pace"].as_str().unwrap_or_default(),
        backtest["payload_bytes"],
        number(&backtest["took_ms"]),
        number(&backtest["events_per_second"]),
        number(&backtest["processor_us_per_event"]),
        bytes(backtest["memory_peak_bytes"].as_u64().unwrap_or_default()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::diagnostics;

    #[test]
    fn pack_of_the_backtest_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("bench");
        write_pack(&pack).unwrap();
        assert_eq!(diagnostics(&pack), "");
    }

    #[test]
    fn events_are_of_one_length_and_one_in_a_hundred_is_large() {
        let payload = |number| -> Value { serde_json::from_str::<Value>(&event(number, 100)).unwrap()["payload"].take() };
        let large = (0..1_000).filter(|number| payload(*number)["total"].as_u64() >= Some(1_000)).count();
        assert_eq!(large, 10);
        for number in [0, 7, 100, 999_999] {
            assert_eq!(payload(number).to_string().len(), PAYLOAD_BYTES, "{}", event(number, 100));
        }
    }
}
