//! Requests that are sent repeatedly: deliveries as GitHub would send them, or events and requests for
//! workflows over the API.
//!
//! A delivery is one pull request, each time with a different id and different whitespace at its end, because
//! the node accepts the same signed body only once. Only the part after the pull request is signed each time,
//! so that signing does not slow the node down.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::flows::Flow;
use crate::github::{self, Signature};
use crate::wire;

/// The length of an id in the header.
const ID_BYTES: usize = 36;

/// A request that is sent repeatedly, with a new id each time if it has one.
#[derive(Clone)]
pub(crate) struct Delivery {
    request: Vec<u8>,
    signed: Option<SignatureSlots>,
    /// The number of events in each.
    pub(crate) events: u64,
}

/// The parts that differ in each delivery.
#[derive(Clone)]
struct SignatureSlots {
    id_at: usize,
    signature_at: usize,
    /// The signature of everything before the whitespace at the end.
    begun: Signature,
}

/// How many spaces and tabs encode the number of a delivery.
const SPACES: usize = u64::BITS as usize;

impl Delivery {
    /// Prepares the delivery of the library's sample pull request to a path, signed with `secret`.
    pub(crate) fn new(host: SocketAddr, path: &str, secret: &[u8]) -> Self {
        let body = github::PULL_REQUEST;
        let mut begun = Signature::of(secret);
        begun.update(body);
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: GitHub-Hookshot/bench\r\naccept: */*\r\ncontent-type: application/json\r\n\
             x-github-event: pull_request\r\ncontent-length: {}\r\nx-hub-signature-256: ",
            body.len() + SPACES,
        )
        .into_bytes();
        let signature_at = request.len();
        request.extend_from_slice(begun.clone().into_header().as_bytes());
        request.extend_from_slice(b"\r\nx-github-delivery: ");
        let id_at = request.len();
        request.extend_from_slice(&[b'0'; ID_BYTES]);
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(body);
        request.extend_from_slice(&[b' '; SPACES]);
        Self { request, signed: Some(SignatureSlots { id_at, signature_at, begun }), events: 1 }
    }

    /// Prepares a list of this many events of a trigger over the API, with payloads of this many bytes.
    pub(crate) fn list(host: SocketAddr, token: &str, trigger: &str, events: usize, payload_bytes: usize) -> Self {
        let around = json!({ "n": 0, "text": "" }).to_string().len();
        let event = json!({ "trigger": trigger, "payload": { "n": 0, "text": "x".repeat(payload_bytes.saturating_sub(around)) } });
        let body = Value::from(vec![event; events]).to_string();
        Self { request: wire::post(host, "/api/v1/events", token, &body), signed: None, events: events as u64 }
    }

    /// Prepares the request for a workflow.
    pub(crate) fn flow(host: SocketAddr, token: &str, flow: Flow) -> Self {
        Self { request: flow.request(host, token), signed: None, events: 1 }
    }

    /// Returns the request of the `number`-th delivery of a run.
    pub(crate) fn nth_request(&mut self, number: u64) -> &[u8] {
        if let Some(SignatureSlots { id_at, signature_at, begun }) = &self.signed {
            let id = format!("{:08x}-0000-4000-8000-{:012x}", number & 0xFFFF_FFFF, number >> 32);
            self.request[*id_at..id_at + ID_BYTES].copy_from_slice(id.as_bytes());
            let spaces: [u8; SPACES] = std::array::from_fn(|bit| if number >> bit & 1 == 1 { b'\t' } else { b' ' });
            let spaces_at = self.request.len() - SPACES;
            self.request[spaces_at..].copy_from_slice(&spaces);
            let mut signature = begun.clone();
            signature.update(&spaces);
            let signature = signature.into_header();
            self.request[*signature_at..signature_at + signature.len()].copy_from_slice(signature.as_bytes());
        }
        &self.request
    }
}

/// Parses the id of the first event from the answer to a delivery, or that of an execution from the answer to
/// its request.
pub(crate) fn event_of(answer: &[u8]) -> Option<[u8; ID_BYTES]> {
    const BEFORE: &[u8] = b"\"id\":\"";
    let at = answer.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    answer.get(at..at + ID_BYTES)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_has_its_own_id_and_signature_over_equal_content() {
        let host = "127.0.0.1:1".parse().unwrap();
        let mut delivery = Delivery::new(host, "/hooks/bench/github", b"0123456789abcdef");
        let first = delivery.nth_request(1).to_vec();
        let second = delivery.nth_request(2).to_vec();
        assert_eq!(first.len(), second.len());
        let parts = |request: &[u8]| {
            let text = String::from_utf8(request.to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&github::signature(b"0123456789abcdef", body.as_bytes())), "{head}");
            body.to_owned()
        };
        let (first, second) = (parts(&first), parts(&second));
        assert_ne!(first, second);
        assert_eq!(first.trim_end(), second.trim_end());
    }

    #[test]
    fn generated_list_has_the_given_number_and_length_of_events() {
        let list = Delivery::list("127.0.0.1:1".parse().unwrap(), "t", "bench.tick", 3, 1_000);
        let request = String::from_utf8(list.request).unwrap();
        let events: Vec<Value> = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!((events.len(), list.events), (3, 3));
        assert!(events.iter().all(|event| event["payload"].to_string().len() == 1_000), "{request}");
    }

    #[test]
    fn event_of_an_answer_is_found() {
        let answer = br#"{"events":[{"id":"019c0000-0000-7000-8000-000000000001","trigger":"a.b","position":7}]}"#;
        assert_eq!(event_of(answer).as_ref().map(|id| &id[..]), Some(&b"019c0000-0000-7000-8000-000000000001"[..]));
        assert_eq!(event_of(br#"{"events":[]}"#), None);
    }
}
