//! Deliveries as GitHub would send them: one pull request, signed once, each with an id of its own.
//!
//! GitHub does not sign the id, so the signature of the one body holds for all; the node checks it each time.

use std::net::SocketAddr;

use crate::github;

/// The length of an id as it stands in the header.
const ID_BYTES: usize = 36;

/// A request that is sent again and again under ever new ids.
pub(super) struct Delivery {
    request: Vec<u8>,
    id_at: usize,
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
        Self { request, id_at }
    }

    /// Gives the request of the `number`-th delivery of a run.
    pub(super) fn numbered(&mut self, number: u64) -> &[u8] {
        let id = format!("{:08x}-0000-4000-8000-{:012x}", number & 0xFFFF_FFFF, number >> 32);
        self.request[self.id_at..self.id_at + ID_BYTES].copy_from_slice(id.as_bytes());
        &self.request
    }
}

impl Clone for Delivery {
    fn clone(&self) -> Self {
        Self { request: self.request.clone(), id_at: self.id_at }
    }
}

/// Reads the id of the first event off the answer to a delivery.
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
    fn the_event_of_an_answer_is_found() {
        let answer = br#"{"events":[{"id":"019c0000-0000-7000-8000-000000000001","trigger":"a.b","position":7}]}"#;
        assert_eq!(event_of(answer).as_ref().map(|id| &id[..]), Some(&b"019c0000-0000-7000-8000-000000000001"[..]));
        assert_eq!(event_of(br#"{"events":[]}"#), None);
    }
}
