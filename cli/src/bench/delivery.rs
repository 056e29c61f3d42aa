//! What is sent again and again: deliveries as GitHub would send them, or events and requests for workflows over the API.
//!
//! A delivery is one pull request, signed once, each time with another id: GitHub does not sign the id, so the signature of the one body holds for
//! all; the node checks it each time.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::flows::Flow;
use super::wire;
use crate::github;

/// The length of an id as it stands in the header.
const ID_BYTES: usize = 36;

/// A request that is sent again and again, under ever new ids where it has one.
#[derive(Clone)]
pub(super) struct Delivery {
    request: Vec<u8>,
    id_at: Option<usize>,
    /// How many events each makes.
    pub(super) events: u64,
}

impl Delivery {
    /// Prepares the delivery of the library's own pull request at a path, signed with `secret`.
    pub(super) fn new(host: SocketAddr, path: &str, secret: &[u8]) -> Self {
        let body = github::PULL_REQUEST;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: GitHub-Hookshot/bench\r\naccept: */*\r\ncontent-type: application/json\r\n\
             x-github-event: pull_request\r\nx-hub-signature-256: {}\r\ncontent-length: {}\r\nx-github-delivery: ",
            github::signature(secret, body),
            body.len(),
        );
        let id_at = head.len();
        let mut request = head.into_bytes();
        request.extend_from_slice(&[b'0'; ID_BYTES]);
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(body);
        Self { request, id_at: Some(id_at), events: 1 }
    }

    /// Prepares a list of so many events of a trigger over the API, with payloads of so many bytes.
    pub(super) fn list(host: SocketAddr, token: &str, trigger: &str, events: usize, payload_bytes: usize) -> Self {
        let around = json!({ "n": 0, "text": "" }).to_string().len();
        let event = json!({ "trigger": trigger, "payload": { "n": 0, "text": "x".repeat(payload_bytes.saturating_sub(around)) } });
        let body = Value::from(vec![event; events]).to_string();
        Self { request: wire::post(host, "/api/v1/events", token, &body), id_at: None, events: events as u64 }
    }

    /// Prepares the request for a workflow.
    pub(super) fn flow(host: SocketAddr, token: &str, flow: Flow) -> Self {
        Self { request: flow.request(host, token), id_at: None, events: 1 }
    }

    /// Gives the request of the `number`-th delivery of a run.
    pub(super) fn numbered(&mut self, number: u64) -> &[u8] {
        if let Some(at) = self.id_at {
            let id = format!("{:08x}-0000-4000-8000-{:012x}", number & 0xFFFF_FFFF, number >> 32);
            self.request[at..at + ID_BYTES].copy_from_slice(id.as_bytes());
        }
        &self.request
    }
}

/// Reads the id of the first event off the answer to a delivery; of an execution, off the answer to its request.
pub(super) fn event_of(answer: &[u8]) -> Option<[u8; ID_BYTES]> {
    const BEFORE: &[u8] = b"\"id\":\"";
    let at = answer.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    answer.get(at..at + ID_BYTES)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_has_an_id_of_its_own_and_nothing_else_changes() {
        let host = "127.0.0.1:1".parse().unwrap();
        let mut delivery = Delivery::new(host, "/hooks/bench/github", b"0123456789abcdef");
        let first = delivery.numbered(1).to_vec();
        let second = delivery.numbered(2).to_vec();
        assert_eq!(first.len(), second.len());
        assert_eq!(first.iter().zip(&second).filter(|(one, other)| one != other).count(), 1);
    }

    #[test]
    fn a_list_has_as_many_events_as_is_said_each_as_long_as_is_said() {
        let list = Delivery::list("127.0.0.1:1".parse().unwrap(), "t", "bench.tick", 3, 1_000);
        let request = String::from_utf8(list.request).unwrap();
        let events: Vec<Value> = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!((events.len(), list.events), (3, 3));
        assert!(events.iter().all(|event| event["payload"].to_string().len() == 1_000), "{request}");
    }

    #[test]
    fn the_event_of_an_answer_is_found() {
        let answer = br#"{"events":[{"id":"019c0000-0000-7000-8000-000000000001","trigger":"a.b","position":7}]}"#;
        assert_eq!(event_of(answer).as_ref().map(|id| &id[..]), Some(&b"019c0000-0000-7000-8000-000000000001"[..]));
        assert_eq!(event_of(br#"{"events":[]}"#), None);
    }
}
