//! An event loop: a rule whose action emits the event that the rule listens to.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{ADMIN_TOKEN, CommandOutput, NodeFolder};

/// The maximum number of events in a chain.
const DEPTH_MAX: u64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn rule_that_triggers_itself_is_stopped_suspended_and_reported() {
    let place = NodeFolder::new();
    place.write_pack_file("echo_chamber/pack.yaml", "name: echo_chamber\nversion: 1.0.0\ndescription: Hears itself.\n");
    place.write_pack_file("echo_chamber/triggers/said.yaml", "description: Something was said.\npayload:\n  word: string\n");
    place.write_pack_file(
        "echo_chamber/actions/say.yaml",
        "description: Says it again.\nparameters: { word: string }\nrun:\n  emit:\n    trigger: echo_chamber.said\n    payload: { word: '${{ params.word }}' }\n",
    );
    place.write_pack_file(
        "echo_chamber/rules/again.yaml",
        "description: Hears it and has it said again.\ntrigger: echo_chamber.said\naction: echo_chamber.say\nwith: { word: '${{ event.payload.word }}' }\n",
    );
    let node = place.start();
    let client = node.client();
    let sent = client.post("/events", &json!({ "trigger": "echo_chamber.said", "payload": { "word": "hello" } })).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{:#}", sent.body);
    let rule = client.until("/rules/echo_chamber.again", |rule| rule["mode"] == "disabled" || !rule["suspended"].is_null()).await;
    let records = client.records().await;
    let of_kind = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let stopped = of_kind("loop.stopped");
    assert_eq!(stopped.len(), 1, "{rule:#}");
    assert_eq!((&stopped[0]["fact"]["rule"], &stopped[0]["fact"]["depth"]), (&json!("echo_chamber.again"), &json!(DEPTH_MAX + 1)));
    let depths: Vec<u64> = of_kind("event.received").iter().filter_map(|record| record["cause"]["depth"].as_u64()).collect();
    assert_eq!(depths, (0..=DEPTH_MAX + 1).collect::<Vec<_>>(), "each event led to one, and the last to none");
    assert_eq!(of_kind("execution.requested").len() as u64, DEPTH_MAX + 1);

    let shown =
        CommandOutput::by(place.ensue(&["rules", "show", "echo_chamber.again", "--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert!(shown.stdout.contains("suspended"), "{}", shown.stdout);
    // From now on the rule's events have no effect, and other rules continue.
    let again = client.post("/events", &json!({ "trigger": "echo_chamber.said", "payload": { "word": "hello" } })).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    let after = client.records().await;
    assert_eq!(after.iter().filter(|record| record["kind"] == "execution.requested").count() as u64, DEPTH_MAX + 1);
    assert_eq!(node.stop(), Some(0));
}
