//! Records, followed over the death of a node: nothing is lost or repeated.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Client, NodeFolder};

/// The number of concurrent log streams, and the maximum for one token.
const STREAMS: usize = 1_000;
const STREAMS_OF_ONE: usize = 20;
/// How much they may add to the node's memory.
const STREAMS_BYTES_MAX: u64 = 100 * 1024 * 1024;

const PACK: &str = "name: mill\nversion: 0.1.0\ndescription: A mill.\nrequires: { packs: { core: ^0.1 } }\n";
const TRIGGER: &str = "description: Corn came.\npayload: { number: integer }\n";

/// A stream of records in transit.
struct Stream {
    response: reqwest::Response,
    unread: String,
}

impl Stream {
    async fn of(client: &Client, place: Option<u64>) -> Self {
        let mut request = client.request(Method::GET, "/api/v1/log/stream?named=true");
        if let Some(place) = place {
            request = request.header("last-event-id", place);
        }
        Self::open(request).await
    }

    async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, unread: String::new() }
    }

    /// Returns the name, id and data of the next event, or `None` if the stream ends or breaks off.
    async fn next(&mut self) -> Option<(String, Option<u64>, Value)> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    let id = field("id: ").map(|id| id.parse().unwrap());
                    return Some((field("event: ").unwrap().to_owned(), id, serde_json::from_str(data).unwrap()));
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

async fn send(client: &Client, number: u32) -> u64 {
    let body = json!({ "trigger": "mill.corn", "payload": { "number": number } });
    let answer = client.request(Method::POST, "/api/v1/events").json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.json::<Value>().await.unwrap()["position"].as_u64().unwrap()
}

#[tokio::test]
async fn stream_resumes_after_its_last_id_when_the_node_was_killed() {
    let place = NodeFolder::new();
    place.write_pack_file("mill/pack.yaml", PACK);
    place.write_pack_file("mill/triggers/corn.yaml", TRIGGER);
    let mut node = place.start();
    let mut told: Vec<u64> = Vec::new();
    let first = send(&node.client(), 0).await;
    let mut last = first;
    for round in 1..=5 {
        let client = node.client();
        let mut stream = Stream::of(&client, Some(told.last().copied().unwrap_or(first - 1))).await;
        for number in 0..20 {
            last = send(&client, round * 100 + number).await;
        }
        // A part was read and another is in transit when the node dies.
        while told.last().is_none_or(|told| *told + 5 < last) {
            told.push(stream.next().await.expect("the stream continues").1.unwrap());
        }
        node.kill();
        while let Some((_, id, _)) = stream.next().await {
            told.extend(id);
        }
        node = place.start();
    }
    let mut stream = Stream::of(&node.client(), told.last().copied()).await;
    let end = send(&node.client(), 999).await;
    while told.last() != Some(&end) {
        told.push(stream.next().await.unwrap().1.unwrap());
    }
    assert!(end > last);
    assert_eq!(told, (first..=end).collect::<Vec<_>>(), "each position once, in order");

    // A stop does not wait for streams, and announces itself on them.
    node.stop_well();
    let (name, id, data) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), id, &data["reason"]), ("end", None, &json!("stopping")));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn thousand_log_streams_take_less_than_100_mb_of_memory() {
    let place = NodeFolder::new();
    place.write_pack_file("mill/pack.yaml", PACK);
    place.write_pack_file("mill/triggers/corn.yaml", TRIGGER);
    let node = place.start();
    let client = node.client();
    let mut tokens = Vec::new();
    for holder in 0..STREAMS / STREAMS_OF_ONE {
        let added = client.post("/tokens", &json!({ "name": format!("reader{holder}"), "roles": ["viewer"] })).await;
        tokens.push(added.body["token"].as_str().unwrap_or_else(|| panic!("{added:?}")).to_owned());
    }
    let memory = async || client.get("/status").await["memory_bytes"].as_u64().expect("the machine says how much a process holds");
    let before = memory().await;
    let mut streams = Vec::with_capacity(STREAMS);
    for number in 0..STREAMS {
        let token = &tokens[number / STREAMS_OF_ONE];
        streams.push(Stream::open(client.anonymous(Method::GET, "/api/v1/log/stream?named=true").bearer_auth(token)).await);
    }
    let mut last = 0;
    for number in 0..20 {
        last = send(&client, number).await;
    }
    for stream in &mut streams {
        while stream.next().await.expect("the stream continues").1 != Some(last) {}
    }
    let taken = memory().await.saturating_sub(before);
    println!("{STREAMS} streams hold {} MiB of the node", taken / (1024 * 1024));
    assert!(taken <= STREAMS_BYTES_MAX, "{STREAMS} streams hold {taken} bytes");
}
