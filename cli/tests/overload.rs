//! Overload: far more load than a node can handle, over many connections, with small and large bodies,
//! compared with an external ledger.
//!
//! A short version is part of every test run. `cargo verify --long` runs a minute of it with a thousand
//! connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Client, CommandOutput, Delivery, Node, NodeFolder, PATIENCE, PULL_REQUEST};

/// The memory limit of the node.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// One delivery in so many is a large one.
const LARGE_EVERY: u64 = 8;
/// The length of the text that makes a delivery large.
const LARGE_BYTES: usize = 2 * 1024 * 1024;
/// How often the quiet caller sends.
const QUIET_EVERY: Duration = Duration::from_millis(50);

/// What is known outside of the node.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<BTreeSet<String>>,
    full: AtomicU64,
    over_share: AtomicU64,
    sent: AtomicU64,
}

impl Ledger {
    fn acknowledge(&self, event: &Value) {
        let id = event.as_str().unwrap_or_else(|| panic!("{event} names no event"));
        self.acknowledged.lock().unwrap().insert(id.to_owned());
    }

    fn note(&self, answer: &crate::support::Answer) {
        match answer.status {
            StatusCode::ACCEPTED | StatusCode::OK => {
                self.acknowledge(&answer.body["events"][0]["id"]);
            }
            StatusCode::SERVICE_UNAVAILABLE => drop(self.full.fetch_add(1, Ordering::Relaxed)),
            StatusCode::TOO_MANY_REQUESTS => drop(self.over_share.fetch_add(1, Ordering::Relaxed)),
            _ => panic!("a delivery was answered with {answer:?}"),
        }
        if !answer.status.is_success() {
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        }
    }
}

fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Sends one delivery after the other, whatever happens to them, until told to stop.
async fn send(client: Client, small: Delivery, large: Delivery, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let number = ledger.sent.fetch_add(1, Ordering::Relaxed);
        let delivery = if number.is_multiple_of(LARGE_EVERY) { &large } else { &small };
        let delivery = delivery.clone().under(&format!("delivery-{number}"));
        let begin = Instant::now();
        match client.deliver(&delivery).await {
            Ok(answer) => ledger.note(&answer),
            Err(error) => panic!("delivery {number} has no answer after {} ms: {error:?}", begin.elapsed().as_millis()),
        }
    }
}

/// Sends a small event now and then as another caller. Returns how many were accepted and how many were not.
async fn send_quietly(client: Client, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) -> (u64, u64) {
    let (mut taken, mut put_off) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let answer = client.post("/events", &json!({ "trigger": "examples.hello", "payload": { "name": "Ada" } })).await;
        match answer.status {
            StatusCode::ACCEPTED => {
                ledger.acknowledge(&answer.body["id"]);
                taken += 1;
            }
            StatusCode::SERVICE_UNAVAILABLE => put_off += 1,
            _ => panic!("a quiet caller was answered with {answer:?}"),
        }
        // The rate is what is tested here; nothing waits for anything.
        tokio::time::sleep(QUIET_EVERY).await;
    }
    (taken, put_off)
}

/// The node's peak memory.
fn peak_bytes(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn overloaded_node_keeps_memory_bounded_and_loses_nothing_acknowledged() {
    let seconds = setting("ENSUE_OVERLOAD_SECONDS", 3);
    let connections = setting("ENSUE_OVERLOAD_CONNECTIONS", 150);
    let memory = setting("ENSUE_OVERLOAD_MEMORY", MEMORY_BYTES);
    // All senders connect at once, and their client opens a further connection for each request that finds none at rest. On a busy
    // machine many are silent for a second before it writes; that such a connection gives way to others is not the subject here.
    let silent = (10 * connections).to_string();
    let place =
        NodeFolder::new().with_variable("ENSUE_MEMORY", &memory.to_string()).with_variable("ENSUE_LIMITS_SILENT_PER_ADDRESS", &silent);
    let node = place.start();
    let client = node.client();
    let idle = peak_bytes(&node);
    let small = Delivery::pull_request("-");
    let large = large();
    let (ledger, stop) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
    let quiet = tokio::spawn(send_quietly(node.client(), ledger.clone(), stop.clone()));
    let senders: Vec<_> =
        (0..connections).map(|_| tokio::spawn(send(client.clone(), small.clone(), large.clone(), ledger.clone(), stop.clone()))).collect();
    // This is the duration of the load; nothing waits for anything.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let held = client.get("/status").await["memory_bytes"].as_u64();
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let (taken, put_off) = quiet.await.unwrap();
    let peak = peak_bytes(&node);
    let acknowledged = ledger.acknowledged.lock().unwrap().clone();
    let (full, over_share) = (ledger.full.load(Ordering::Relaxed), ledger.over_share.load(Ordering::Relaxed));
    let mib = |bytes: u64| bytes / 1024 / 1024;
    eprintln!(
        "overload: {connections} connections for {seconds} s: {} taken, {full} times full, {over_share} times over the share; the quiet caller: {taken} taken, {put_off} put off; {} MiB idle, {} at the end, {} at the peak, {} allowed",
        acknowledged.len(),
        mib(idle),
        mib(held.unwrap_or(0)),
        mib(peak),
        mib(memory)
    );
    assert!(peak <= memory, "the node held {} MiB, {} were allowed", mib(peak), mib(memory));
    assert!(full + over_share > 0, "the load was too low");
    assert!(taken > 0, "the quiet caller was starved");

    // The senders' connections end with them; only a new client's connection is left.
    drop(client);
    let client = node.client();
    recovers_by_itself(&client).await;
    let missing = missing(&client, acknowledged).await;
    assert!(missing.is_empty(), "acknowledged and not in the log: {missing:?}");
    assert_eq!(node.stop(), Some(0));
    let verified = CommandOutput::by(&mut place.ensue(&["log", "verify", "--data", "data"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// The pull request with a long text.
fn large() -> Delivery {
    let mut body: Value = serde_json::from_slice(PULL_REQUEST).unwrap();
    body["pull_request"]["body"] = json!("far too much ".repeat(LARGE_BYTES / 13));
    Delivery::github("pull_request", "-", body.to_string().as_bytes())
}

/// The queues that an idle node uses: those of the connection and the request that read the metrics.
const WHO_ASKS: [&str; 2] = ["connections", "requests"];
/// The queue that nothing waits in: bodies stay cached until the space is needed.
const AT_HAND: &str = "body_bytes";

/// Waits until the node accepts deliveries as before, has no work left and uses no queue.
async fn recovers_by_itself(client: &Client) {
    let begin = Instant::now();
    while !client.deliver(&Delivery::pull_request("afterwards")).await.unwrap().status.is_success() {
        assert!(begin.elapsed() < PATIENCE, "the node did not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The accepted work may take minutes: wait as long as it decreases.
    let (mut least, mut since) = (u64::MAX, begin);
    loop {
        let text = metrics(client).await;
        let depths = text.lines().filter_map(|line| line.strip_prefix("ensue_queue_depth{queue=\"")?.split_once("\"} "));
        let depths: BTreeMap<&str, &str> = depths.collect();
        let queues = include_str!("../../docs/reference/queues.md").lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(depths.len(), queues, "the metrics have each queue: {depths:?}");
        let left = |queue: &str| if WHO_ASKS.contains(&queue) { "1" } else { "0" };
        if depths.iter().all(|(queue, depth)| *queue == AT_HAND || *depth == left(queue)) {
            break;
        }
        let work = depths["open_work"].parse().unwrap();
        if work < least {
            (least, since) = (work, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "room is still taken up: {depths:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for status in ["queued", "running"] {
        let path = format!("/executions?status={status}&limit=1");
        client.until(&path, |page| page["items"].as_array().is_some_and(Vec::is_empty)).await;
    }
}

async fn metrics(client: &Client) -> String {
    client.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap()
}

/// Returns the events that are not in the log.
async fn missing(client: &Client, mut acknowledged: BTreeSet<String>) -> BTreeSet<String> {
    let mut after = 0;
    loop {
        let page = client.get(&format!("/log?after={after}&limit=200")).await;
        let items = page["items"].as_array().unwrap();
        let Some(last) = items.last() else { return acknowledged };
        after = last["position"].as_u64().unwrap();
        for record in items {
            if record["kind"] == "event.received" {
                acknowledged.remove(record["id"].as_str().unwrap());
            }
        }
    }
}
