//! `dry_run=true`: everything is checked, and nothing is done.

use serde_json::{Value, json};

use crate::support::{Answer, TestApi};

async fn try_dry_run(api: &TestApi, path: &str, body: &Value) -> Answer {
    let position = api.node.head_position();
    let answer = api.post(&format!("/api/v1{path}?dry_run=true")).by("admin").json(body).answer().await;
    assert_eq!(api.node.head_position(), position, "{path}: nothing is recorded");
    answer
}

/// A successful dry run has an empty answer.
fn would_be(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.text.as_str(), answer.header("ensue-position")), (204, "", None), "{}", answer.text);
}

#[tokio::test]
async fn dry_run_changes_nothing() {
    let api = TestApi::new();
    let hello = json!({ "trigger": "demo.hello", "payload": { "name": "ana" }, "dedupe": "1" });
    would_be(&try_dry_run(&api, "/events", &hello).await);
    would_be(&try_dry_run(&api, "/events", &json!([hello, hello])).await);
    would_be(&try_dry_run(&api, "/events", &json!([])).await);
    let run = json!({ "params": { "message": "hi" } });
    would_be(&try_dry_run(&api, "/actions/core.echo/execute", &run).await);
    would_be(&try_dry_run(&api, "/rules/demo.greet/disable", &json!({})).await);
    assert_eq!(api.get("/api/v1/rules/demo.greet").by("admin").answer().await.expect(200).json()["mode"], "enabled");
    let id = api.post("/api/v1/actions/core.echo/execute").by("admin").json(&run).answer().await.expect(202).json()["id"].clone();
    would_be(&try_dry_run(&api, &format!("/executions/{}/cancel", id.as_str().unwrap()), &json!({})).await);
    // A key is used up only by a request that is carried out.
    let keyed = |path: &str| api.post(path).by("admin").with("idempotency-key", "1").json(&hello).answer();
    would_be(&keyed("/api/v1/events?dry_run=true").await);
    keyed("/api/v1/events?dry_run=false").await.expect(202);
}

#[tokio::test]
async fn dry_run_is_rejected_like_the_real_request() {
    let api = TestApi::new();
    let hello = |name: Value| json!({ "trigger": "demo.hello", "payload": { "name": name }, "dedupe": "1" });
    try_dry_run(&api, "/events", &hello(json!(1))).await.expect_problem(422, "payload_invalid");
    api.post("/api/v1/events").by("admin").json(&hello(json!("ana"))).answer().await.expect(202);
    try_dry_run(&api, "/events", &hello(json!("bo"))).await.expect_problem(409, "dedupe_key_reused");
    would_be(&try_dry_run(&api, "/events", &hello(json!("ana"))).await);
    try_dry_run(&api, "/actions/core.echo/execute", &json!({ "params": { "colour": 1 } })).await.expect_problem(422, "parameters_invalid");
    try_dry_run(&api, "/rules/demo.nothing/disable", &json!({})).await.expect_problem(404, "not_found");
    try_dry_run(&api, "/parked_reactions/1/retry", &json!({})).await.expect_problem(404, "not_found");
    let id = api.post("/api/v1/actions/core.echo/execute").by("admin").json(&json!({ "params": { "message": "hi" } })).answer();
    let id = id.await.expect(202).json()["id"].as_str().unwrap().to_owned();
    let settled = try_dry_run(&api, &format!("/executions/{id}/settle"), &json!({ "outcome": "retry" })).await;
    settled.expect_problem(409, "execution_not_indeterminate");
    // A caller without permission gets no dry run either, and a route without dry runs says so.
    let path = "/api/v1/actions/core.echo/execute?dry_run=true";
    api.post(path).by("viewer").json(&json!({})).answer().await.expect_problem(403, "forbidden");
    try_dry_run(&api, "/tokens", &json!({ "name": "ana", "roles": ["viewer"] })).await.expect_problem(400, "unknown_parameter");
    api.post("/api/v1/events?dry_run=yes").by("admin").json(&hello(json!("ana"))).answer().await.expect_problem(400, "bad_parameter");
}
