//! Pausing and rerunning executions: what is rejected, and what is done once.

use serde_json::json;

use crate::support::TestApi;

#[tokio::test]
async fn running_execution_can_be_paused_and_resumed_but_not_rerun() {
    let api = TestApi::new();
    let id = api.execution().await;
    let path = |what: &str| format!("/api/v1/executions/{id}/{what}");
    api.post(&path("rerun")).by("operator").answer().await.expect_problem(409, "rerun_refused");
    api.post(&path("resume")).by("operator").answer().await.expect_problem(409, "execution_not_paused");
    let paused = api.post(&path("pause")).by("operator").answer().await.expect(200).json();
    assert_eq!((&paused["status"], paused["paused_at"].is_string()), (&json!("paused"), true));
    assert_eq!(api.get("/api/v1/executions?status=paused").by("viewer").answer().await.json()["items"][0]["id"], json!(id));
    let head = api.node.head_position();
    api.post(&path("pause")).by("operator").answer().await.expect(200);
    assert_eq!(api.node.head_position(), head, "a second pause is none");
    let resumed = api.post(&path("resume")).by("operator").answer().await.expect(200).json();
    assert_eq!(resumed["status"], "running");
    api.node.succeed(&id, "{}");
    api.post(&path("pause")).by("operator").answer().await.expect_problem(409, "execution_not_open");
    api.post("/api/v1/executions/01980000-0000-7000-8000-0000000000ff/pause")
        .by("operator")
        .answer()
        .await
        .expect_problem(404, "not_found");
}

#[tokio::test]
async fn rerun_starts_once_for_each_idempotency_key_with_the_same_parameters() {
    let mut api = TestApi::new();
    let id = api.execution().await;
    api.node.succeed(&id, "{}");
    let path = format!("/api/v1/executions/{id}/rerun");
    let again = || api.post(&path).by("operator").with("idempotency-key", "again").json(&json!({ "from": "start" }));
    let first = again().answer().await.expect(202).json();
    assert_eq!((&first["rerun_of"], &first["params"]), (&json!(id), &json!({ "message": "hi" })));
    assert_eq!(again().answer().await.expect(202).json()["id"], first["id"]);
    api.restart();
    let changed = api.post(&path).by("operator").json(&json!({ "params": { "message": "ho" } })).answer().await.expect(202).json();
    assert_eq!(changed["params"], json!({ "message": "ho" }));
    let listed = api.get(&format!("/api/v1/executions?rerun_of={id}")).by("viewer").answer().await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    for (body, status, code) in [
        (json!({ "params": { "colour": 1 } }), 422, "parameters_invalid"),
        (json!({ "from": "failed" }), 409, "rerun_refused"),
        (json!({ "from": "no step" }), 409, "rerun_refused"),
        (json!({ "from": 1 }), 422, "body_invalid"),
    ] {
        api.post(&path).by("operator").json(&body).answer().await.expect_problem(status, code);
    }
    api.post(&format!("{path}?dry_run=true")).by("operator").answer().await.expect(200);
}
