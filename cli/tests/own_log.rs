//! The node's own log as a program reads it: which request and which trace a line belongs to.

use serde_json::Value;

use crate::support::{Delivery, PATIENCE, Place};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn a_line_about_a_delivery_has_the_ids_of_its_request_and_its_trace() {
    let place = Place::new().with_arguments(&["--log-format", "json"]).with_variable("ENSUE_LOG", "debug");
    let node = place.start();
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let delivery = Delivery::pull_request("one")
        .with_header("x-hub-signature-256", Some("sha256=00"))
        .with_header("x-request-id", Some("ana-7"))
        .with_header("traceparent", Some(&traceparent));
    assert!(node.client().deliver(&delivery).await.unwrap().status.is_client_error());
    let begin = std::time::Instant::now();
    let line = loop {
        let said = node.said();
        let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.find(|line| line["fields"]["message"] == "a delivery was refused") {
            break line;
        }
        assert!(begin.elapsed() < PATIENCE, "no line tells of the delivery: {said}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!((&line["span"]["request_id"], &line["span"]["trace_id"]), (&"ana-7".into(), &TRACE.into()), "{line:#}");
}
