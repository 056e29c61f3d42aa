//! Versions of triggers: a sender names an older one, the rules see the newest, and the event shows what came.

use serde_json::{Value, json};

use crate::support::{Answer, TestApi};

const EVENTS: &str = "/api/v1/events";

/// A node whose trigger `demo.hello` once had `who` instead of `name`.
fn api() -> TestApi {
    TestApi::with_file("triggers/hello.yaml", "payload:\n  name: string\nversion: 2\nupcasts: { 1: { name: '${{ payload.who }}' } }\n")
}

async fn send(api: &TestApi, trigger: &str, payload: &Value) -> Answer {
    api.post(EVENTS).by("admin").json(&json!({ "trigger": trigger, "payload": payload })).answer().await
}

#[tokio::test]
async fn event_of_version_1_matches_a_rule_on_version_2_and_is_shown_as_it_came() {
    let api = api();
    let sent = send(&api, "demo.hello@1", &json!({ "who": "ana" })).await.expect(202).json();
    let path = format!("{EVENTS}/{}", sent["id"].as_str().unwrap());
    let event = api.get(&path).by("viewer").answer().await.expect(200).json();
    assert_eq!((&event["trigger"], &event["version"]), (&json!("demo.hello"), &json!(1)));
    assert_eq!((&event["payload"], &event["matched"]), (&json!({ "who": "ana" }), &json!(1)));
    let asked = json!({ "event": sent["id"] });
    let explained = api.post("/api/v1/rules/demo.greet/explain").by("admin").json(&asked).answer().await.expect(200).json();
    assert_eq!((&explained["verdict"], &explained["plan"]["params"]["message"]), (&json!("matched"), &json!("Hello ana")), "{explained}");
    assert_eq!((&explained["version"], &explained["upcast_to"]), (&json!(1), &json!(2)), "{explained}");
}

#[tokio::test]
async fn event_without_a_version_is_of_the_newest() {
    let api = api();
    let sent = send(&api, "demo.hello", &json!({ "name": "ana" })).await.expect(202).json();
    let event = api.get(&format!("{EVENTS}/{}", sent["id"].as_str().unwrap())).by("viewer").answer().await.expect(200).json();
    assert_eq!((&event["version"], &event["matched"]), (&json!(2), &json!(1)));
    let asked = json!({ "event": sent["id"] });
    let explained = api.post("/api/v1/rules/demo.greet/explain").by("admin").json(&asked).answer().await.expect(200).json();
    assert_eq!((&explained["version"], &explained["upcast_to"]), (&json!(2), &Value::Null), "{explained}");
    let trigger = api.get("/api/v1/triggers/demo.hello").by("viewer").answer().await.expect(200).json();
    assert_eq!(trigger["version"], json!(2));
}

#[tokio::test]
async fn event_of_an_unknown_version_is_rejected_with_those_that_exist() {
    let problem = send(&api(), "demo.hello@3", &json!({ "name": "ana" })).await.expect_problem(422, "trigger_version_unknown");
    assert_eq!(problem["detail"], json!("the trigger `demo.hello` has no version 3; it has the versions 1 and 2"));
    assert_eq!(problem["errors"][0]["pointer"], json!("/trigger"));
    send(&api(), "demo.hello@0", &json!({ "name": "ana" })).await.expect_problem(422, "body_invalid");
}

#[tokio::test]
async fn payload_that_cannot_be_upcast_is_rejected_as_one_that_does_not_fit() {
    let api = api();
    send(&api, "demo.hello@1", &json!({ "name": "ana" })).await.expect_problem(422, "payload_invalid");
    let problem = send(&api, "demo.hello@1", &json!({ "who": 7 })).await.expect_problem(422, "payload_invalid");
    assert_eq!(problem["errors"][0]["pointer"], json!("/payload/name"), "the place is in the newest form");
}
