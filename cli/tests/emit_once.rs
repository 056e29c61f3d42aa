//! Events that executions emit with a dedupe key: the first is in the log, whichever action emitted it.

use serde_json::{Value, json};

use crate::support::NodeFolder;

#[tokio::test(flavor = "multi_thread")]
async fn emissions_with_one_key_create_one_event_even_after_a_kill() {
    let place = NodeFolder::new();
    place.write_pack_file("sync/pack.yaml", "name: sync\nversion: 1.0.0\n");
    place.write_pack_file("sync/triggers/page.yaml", "payload: { number: integer }\n");
    place.write_pack_file(
        "sync/actions/found.yaml",
        "parameters: { number: integer }\nrun:\n  emit:\n    trigger: sync.page\n    payload: { number: '${{ params.number }}' }\n    dedupe: '${{ params.number }}'\n",
    );
    place.write_pack_file(
        "sync/rules/read.yaml",
        "trigger: sync.page\naction: core.echo\nwith: { message: '${{ event.payload.number }}' }\n",
    );
    let mut node = place.start();
    let first = emit_event(&node.client(), "sync.found", &json!({ "number": 7 })).await;
    node.kill();
    node = place.start();
    let client = node.client();
    assert_eq!(emit_event(&client, "sync.found", &json!({ "number": 7 })).await, first);
    let by_hand = json!({ "trigger": "sync.page", "payload": { "number": 7 }, "dedupe": "7" });
    assert_eq!(emit_event(&client, "core.emit", &by_hand).await, first, "all that emit events of the trigger share its keys");
    assert_ne!(emit_event(&client, "sync.found", &json!({ "number": 8 })).await, first);
    let records = client.records().await;
    let events = records.iter().filter(|record| record["kind"] == "event.received" && record["fact"]["trigger"] == "sync.page");
    assert_eq!(events.count(), 2);
    assert_eq!(node.stop(), Some(0));
}

/// Runs an action that emits an event, and returns the event's id.
async fn emit_event(client: &crate::support::Client, action: &str, params: &Value) -> Value {
    let asked = client.post(&format!("/actions/{action}/execute"), &json!({ "params": params })).await;
    let path = format!("/executions/{}", asked.body["id"].as_str().expect("an execution was requested"));
    let ended = client.until(&path, |execution| execution["status"] == "succeeded").await;
    ended["result"]["event"].clone()
}
