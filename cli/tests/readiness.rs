//! When a node says that it is ready.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, NodeFolder, until};

const BATCH: usize = 1_000;
const BATCHES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn ready_node_shows_everything_that_was_acknowledged_before_its_start() {
    let place = NodeFolder::new();
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: Orders.\n");
    place.write_pack_file("shop/triggers/order.yaml", "description: An order.\npayload: { number: integer }\n");
    let node = place.start();
    let client = node.client();
    for batch in 0..BATCHES {
        let orders = (0..BATCH).map(|number| json!({ "trigger": "shop.order", "payload": { "number": batch * BATCH + number } }));
        let answer = client.post("/events", &Value::Array(orders.collect())).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:#?}");
    }
    let newest = client.get("/events?limit=1").await;
    node.kill();
    // All read models are folded again.
    for file in ["views.sqlite", "views.sqlite-wal", "views.sqlite-shm"] {
        let _ = std::fs::remove_file(place.data().join(file));
    }
    let node = place.start();
    let client = node.client();
    until("the node is ready", async || {
        let probe = client.anonymous(Method::GET, "/readyz").send().await.unwrap();
        probe.status() == StatusCode::OK
    })
    .await;
    let shown = Answer::of(client.request(Method::GET, "/api/v1/events?limit=1").send().await.unwrap()).await;
    assert_eq!(shown.body["items"][0]["id"], newest["items"][0]["id"], "{shown:#?}");
}
