//! Writes with `If-Match` at a real node: one of many succeeds, even if callers disconnect, and a tag
//! survives its node.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Answer, Client, NodeFolder};

const KEY: &str = "/api/v1/keys/demo.secret";
/// The number of concurrent callers that wait for their answer; as many others do not wait.
const CALLERS: u64 = 16;

async fn set(client: &Client, name: &str, value: &str) -> Option<Answer> {
    let request = client.request(Method::PUT, KEY).header(name, value).json(&json!({ "value": "a value" }));
    Some(Answer::of(request.send().await.ok()?).await)
}

async fn tag(client: &Client, path: &str) -> String {
    let response = client.request(Method::GET, path).send().await.unwrap();
    response.headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_conditional_writes_succeeds_despite_hang_ups() {
    let place = NodeFolder::new();
    let node = place.start();
    let made = set(&node.client(), "if-none-match", "*").await.unwrap();
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    for round in 1..=10 {
        let read = tag(&node.client(), KEY).await;
        let all: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (patient, hasty, read) = (node.client(), node.client(), read.clone());
                tokio::spawn(async move {
                    let hangs_up = tokio::time::timeout(Duration::from_micros(caller * 400), set(&hasty, "if-match", &read));
                    tokio::join!(hangs_up, set(&patient, "if-match", &read)).1.unwrap()
                })
            })
            .collect();
        let mut done = 0;
        for answer in all {
            let answer = answer.await.unwrap();
            match answer.status {
                StatusCode::OK => done += 1,
                StatusCode::PRECONDITION_FAILED => assert_eq!(answer.body["code"], "precondition_failed"),
                other => panic!("{other}: {answer:?}"),
            }
        }
        assert!(done <= 1, "{done} were told that they did it");
        assert_eq!(
            node.client().get("/keys/demo.secret").await["version"],
            round + 1,
            "one did it, of those who waited or of those who hung up"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tag_survives_a_kill_and_a_rebuild_of_the_views() {
    let place = NodeFolder::new();
    let node = place.start();
    set(&node.client(), "if-none-match", "*").await.unwrap();
    let read = tag(&node.client(), KEY).await;
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(client.post("/views/rebuild", &json!({})).await.status, StatusCode::ACCEPTED);
    client.until("/views/rebuild", |job| job["status"] == "succeeded").await;
    assert_eq!(tag(&client, KEY).await, read);
    assert_eq!(set(&client, "if-match", &read).await.unwrap().status, StatusCode::OK);
    assert_eq!(set(&client, "if-match", &read).await.unwrap().status, StatusCode::PRECONDITION_FAILED);
}
