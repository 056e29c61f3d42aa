//! The node is stopped (SIGTERM) under load, and started again at the same address.
//!
//! Its clients retry only if there was no connection. So any answer other than a 2xx is a failure, even one
//! with a retry time, and so is a connection that was cut during a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::ledger::{Patience, Senders};
use super::trial::{SentAgain, Trial};
use super::{Random, rounds, seed};
use crate::support::{Client, NodeFolder, PATIENCE, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn retrying_client_sees_no_failed_request_during_restarts_under_load() {
    let restarts = rounds(3, 50);
    let seed = seed();
    eprintln!("restarts: {restarts}; again with ENSUE_FAULTS_SEED={seed}");
    let mut random = Random(seed);
    let address = format!("127.0.0.1:{}", free_port());
    let mut trial = Trial::at(NodeFolder::new().listening_on(&address)).await;
    let client = Client::new(format!("http://{address}"));
    let mut node = trial.place.start();
    let senders = Senders::start(&client, &trial.ledger, Patience::Insists);
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU64::new(0));
    let runs = tokio::spawn(run_actions(client.clone(), stop.clone(), asked.clone()));
    let reads = tokio::spawn(read(client.clone(), stop.clone()));
    for _ in 0..restarts {
        tokio::time::sleep(Duration::from_millis(100 + random.below(400))).await;
        trial.ledger.note("SIGTERM");
        node.stop_well();
        trial.node_is_gone();
        node = trial.place.start();
    }
    stop.store(true, Ordering::Relaxed);
    senders.stop().await;
    runs.await.unwrap();
    reads.await.unwrap();
    let records = client.records().await;
    let of_runs = records.iter().filter(|record| record["kind"] == "execution.requested" && record["fact"]["action"] == "core.noop");
    assert_eq!(of_runs.count() as u64, asked.load(Ordering::Relaxed), "a request without a key counts once for each answer");
    trial.holds(node, SentAgain::All).await;
}

/// Requests executions, without a key that would make a second one a duplicate.
async fn run_actions(client: Client, stop: Arc<AtomicBool>, asked: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let answer = insist(|| client.request(Method::POST, "/api/v1/actions/core.noop/execute").json(&json!({ "params": {} }))).await;
        assert_eq!(answer, StatusCode::ACCEPTED);
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

async fn read(client: Client, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(insist(|| client.request(Method::GET, "/api/v1/executions?limit=10")).await, StatusCode::OK);
    }
}

async fn insist(request: impl Fn() -> reqwest::RequestBuilder) -> StatusCode {
    let begin = Instant::now();
    loop {
        match request().send().await {
            Ok(answer) => {
                let status = answer.status();
                let body = answer.bytes().await.expect("an answer that has begun is whole");
                assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
                return status;
            }
            Err(error) if error.is_connect() => {}
            Err(error) => panic!("a request failed: {error:?}"),
        }
        assert!(begin.elapsed() < PATIENCE, "a request was never taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
