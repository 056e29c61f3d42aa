//! The engine's own triggers on a running node: a rule reacts to failures, even over a kill, and the cause is
//! shown.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, NodeFolder};

const FAIL: &str = "description: Fails.\nrun: { shell: { script: exit 3 } }\n";
const ALERT: &str = "\
description: Reports a failure.
trigger: core.execution_ended
when: event.payload.status == \"failed\" && event.payload.action.startsWith(\"ops.\")
action: core.echo
with: { message: \"${{ event.payload.action }}: ${{ event.payload.error.kind }} ${{ event.payload.error.detail }}\" }
";

async fn await_alerts(client: &Client, least: usize) -> Vec<Value> {
    let path = "/executions?rule=ops.alert&status=succeeded";
    client.until(path, |listed| listed["items"].as_array().is_some_and(|items| items.len() >= least)).await;
    client.get("/events?trigger=core.execution_ended").await["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn rule_on_failures_runs_once_and_not_for_its_own_failure() {
    let place = NodeFolder::new();
    place.write_pack_file("ops/pack.yaml", "name: ops\nversion: 1.0.0\ndescription: Works.\n");
    place.write_pack_file("ops/actions/fail.yaml", FAIL);
    place.write_pack_file("ops/rules/alert.yaml", ALERT);
    let node = place.start();
    let client = node.client();
    let failed = client.execute("ops.fail", &json!({})).await;
    let events = await_alerts(&client, 1).await;
    assert_eq!(events.len(), 1, "the end of the alert is not reported: {events:#?}");
    let event = &events[0];
    assert_eq!((&event["source"], &event["matched"]), (&json!(format!("execution/{failed}")), &json!(1)));
    let alert = client.get("/executions?rule=ops.alert").await["items"][0].clone();
    let alert = client.get(&format!("/executions/{}", alert["id"].as_str().unwrap())).await;
    assert_eq!(alert["result"]["message"], json!("ops.fail: exit_code 3"));
    let trace = client.get(&format!("/trace/{}", event["id"].as_str().unwrap())).await;
    let node_of = trace["nodes"].as_array().unwrap().iter().find(|node| node["id"] == event["id"]).cloned().unwrap();
    assert_eq!(node_of["parent"], json!(failed), "{trace:#}");

    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(await_alerts(&client, 1).await.len(), 1);
    client.execute("ops.fail", &json!({})).await;
    assert_eq!(await_alerts(&client, 2).await.len(), 2);

    let sent = client.post("/events", &json!({ "trigger": "core.execution_ended", "payload": { "status": "failed" } })).await;
    assert_eq!((sent.status.as_u16(), &sent.body["code"]), (422, &json!("trigger_of_the_engine")), "{:#}", sent.body);
    let listed =
        CommandOutput::by(place.ensue(&["triggers", "list"]).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN)).stdout;
    assert!(listed.contains("core.execution_ended") && listed.contains("core.inquiry_ended"), "{listed}");
}
