//! The node's own log as a program reads it: the request and the trace of each line.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Delivery, NodeFolder, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn log_line_of_a_delivery_has_its_request_and_trace_ids() {
    let place = NodeFolder::new().with_arguments(&["--log-format", "json"]).with_variable("ENSUE_LOG", "debug");
    let node = place.start();
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let delivery = Delivery::pull_request("one")
        .with_header("x-hub-signature-256", Some("sha256=00"))
        .with_header("x-request-id", Some("ana-7"))
        .with_header("traceparent", Some(&traceparent));
    assert!(node.client().deliver(&delivery).await.unwrap().status.is_client_error());
    let line = until("a line about the delivery", async || {
        let said = node.stderr_text();
        let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["fields"]["message"] == "a delivery was rejected").ok_or(said)
    })
    .await;
    assert_eq!((&line["span"]["request_id"], &line["span"]["trace_id"]), (&"ana-7".into(), &TRACE.into()), "{line:#}");
}

#[tokio::test]
async fn debug_log_has_one_line_for_each_request_without_its_query() {
    let place = NodeFolder::new().with_arguments(&["--log-format", "json"]).with_variable("ENSUE_LOG", "debug");
    let node = place.start();
    let client = node.client();
    let asked = |method, path: &str, id: &str| {
        let request = client.request(method, path).header("x-request-id", id);
        request.header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
    };
    let execute = asked(Method::POST, "/api/v1/actions/core.noop/execute", "ana-8").json(&json!({ "params": {} })).send().await.unwrap();
    assert_eq!(execute.status(), StatusCode::ACCEPTED);
    let missing = asked(Method::GET, "/api/v1/nothing/here?private=quux", "ana-9").send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    let said = node.stop_well();
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |id: &str| {
        let is_its = |line: &&Value| line["fields"]["message"] == "answered a request" && line["fields"]["request_id"] == id;
        let found: Vec<&Value> = lines.iter().filter(is_its).map(|line| &line["fields"]).collect();
        assert_eq!(found.len(), 1, "{id}: {said}");
        found[0].clone()
    };
    let (execute, missing) = (of("ana-8"), of("ana-9"));
    assert_eq!((&execute["method"], &execute["status"], &execute["trace_id"]), (&json!("POST"), &json!(202), &json!(TRACE)));
    assert_eq!(execute["route"], "/api/v1/actions/{ref}/execute");
    assert!(execute["took_micros"].as_u64().is_some_and(|micros| micros > 0), "{execute}");
    assert_eq!((&missing["method"], &missing["status"], missing.get("route")), (&json!("GET"), &json!(404), None));
    assert!(!said.contains("quux"), "{said}");
}

#[tokio::test]
async fn json_log_is_json_from_its_first_line_to_its_last() {
    let place = NodeFolder::new().with_arguments(&["--log-format", "json", "--watch"]).with_variable("ENSUE_FAVORITE_COLOR", "red");
    place.write_pack_file("broken/pack.yaml", "name: broken\n");
    let node = place.start();
    let said = node.stop_well();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    for part in ["ENSUE_FAVORITE_COLOR is ignored", "listens on", "stopping"] {
        let says = |line: &Value| line["fields"]["message"].as_str().is_some_and(|message| message.contains(part));
        assert!(lines.iter().any(says), "no line says `{part}`: {said}");
    }
}

#[tokio::test]
async fn failed_start_is_also_reported_as_json() {
    let place = NodeFolder::new().with_arguments(&["--log-format", "json"]);
    std::fs::write(place.path().join("data"), "not a folder").unwrap();
    let said = place.try_start().err().expect("a file is no data directory");
    let line: Value = serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(line["level"], "ERROR", "{said}");
}
