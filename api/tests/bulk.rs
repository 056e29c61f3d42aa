//! One change of many executions: those of a list, each with its own result.

use serde_json::{Value, json};

use crate::support::TestApi;

fn errors(page: &Value) -> Vec<Option<&str>> {
    page["items"].as_array().unwrap().iter().map(|item| item["error"]["code"].as_str()).collect()
}

#[tokio::test]
async fn bulk_cancel_covers_all_pages_and_rejects_only_ended_executions() {
    let api = TestApi::new();
    let ids = [api.execution().await, api.execution().await, api.execution().await];
    api.node.succeed(&ids[0], "{}");
    let path = "/api/v1/executions/cancel?action=core.echo&limit=2";
    let head = api.node.head_position();
    let tried = api.post(&format!("{path}&dry_run=true")).by("operator").answer().await.expect(200).json();
    assert_eq!((errors(&tried), api.node.head_position()), (vec![None, None], head), "nothing is done");
    let first = api.post(path).by("operator").answer().await.expect(200).json();
    let told: Vec<_> = first["items"].as_array().unwrap().iter().map(|item| item["execution"].as_str().unwrap()).collect();
    assert_eq!((told, errors(&first)), (vec![&*ids[2], &*ids[1]], vec![None, None]), "the newest first");
    let next = format!("{path}&cursor={}", first["next"].as_str().unwrap());
    let second = api.post(&next).by("operator").answer().await.expect(200).json();
    assert_eq!((errors(&second), &second["next"]), (vec![Some("execution_not_open")], &Value::Null));
    assert_eq!(second["items"][0]["error"]["status"], 409);
    assert_eq!(api.get("/api/v1/executions?status=cancelling").by("viewer").answer().await.json()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn bulk_pause_and_resume_change_all_matching_executions() {
    let api = TestApi::new();
    let (_one, _other) = (api.execution().await, api.execution().await);
    let shown = async |status: &str| {
        let listed = api.get(&format!("/api/v1/executions?status={status}")).by("viewer").answer().await.json();
        listed["items"].as_array().unwrap().len()
    };
    api.post("/api/v1/executions/pause?status=running").by("operator").answer().await.expect(200);
    assert_eq!((shown("paused").await, shown("running").await), (2, 0));
    api.post("/api/v1/executions/resume?status=paused").by("operator").answer().await.expect(200);
    assert_eq!((shown("paused").await, shown("running").await), (0, 2));
}

#[tokio::test]
async fn bulk_rerun_with_a_key_repeats_each_execution_once() {
    let api = TestApi::new();
    let (ended, open) = (api.execution().await, api.execution().await);
    api.node.succeed(&ended, "{}");
    let again = || {
        let request = api.post("/api/v1/executions/rerun?action=core.echo&until=2999-01-01T00:00:00Z").by("operator");
        request.with("idempotency-key", "night").json(&json!({ "from": "start" }))
    };
    let first = again().answer().await.expect(200).json();
    assert_eq!(errors(&first), [Some("rerun_refused"), None], "{open} continues");
    let rerun = first["items"][1]["rerun"].as_str().unwrap().to_owned();
    assert_ne!(rerun, ended);
    let second = again().answer().await.expect(200).json();
    let of_ended = second["items"].as_array().unwrap().iter().find(|item| item["execution"] == json!(ended)).unwrap();
    assert_eq!(of_ended["rerun"], json!(rerun));
}

#[tokio::test]
async fn bulk_change_without_filter_or_permission_is_rejected_as_a_whole() {
    let api = TestApi::new();
    api.execution().await;
    let changes = || api.node.kinds().into_iter().filter(|kind| *kind != "access.denied").count();
    let before = changes();
    for what in ["cancel", "pause", "resume", "rerun"] {
        let path = format!("/api/v1/executions/{what}");
        api.post(&path).by("operator").answer().await.expect_problem(400, "bad_parameter");
        let path = format!("{path}?until=2999-01-01T00:00:00Z");
        api.post(&format!("{path}&status=gone")).by("operator").answer().await.expect_problem(400, "bad_parameter");
        api.post(&format!("{path}&status=running&sort=position")).by("operator").answer().await.expect_problem(400, "unknown_parameter");
        api.post(&format!("{path}&status=running")).by("viewer").answer().await.expect_problem(403, "forbidden");
    }
    assert_eq!(changes(), before);
}

#[tokio::test]
async fn second_bulk_cancel_does_not_escalate_and_a_repeat_gets_the_same_answer() {
    let api = TestApi::new();
    let id = api.execution().await;
    let cancel = |key: &'static str| api.post("/api/v1/executions/cancel?action=core.echo").by("operator").with("idempotency-key", key);
    let first = cancel("one").answer().await.expect(200).json();
    assert_eq!(first["items"][0]["execution"], json!(id));
    let head = api.node.head_position();
    let other = cancel("other").answer().await.expect(200).json();
    assert_eq!((errors(&other), api.node.head_position()), (vec![Some("execution_ending")], head));
}

#[tokio::test]
async fn bulk_rerun_skips_executions_that_were_already_rerun() {
    let api = TestApi::new();
    let ended = api.execution().await;
    api.node.succeed(&ended, "{}");
    let path = "/api/v1/executions/rerun?action=core.echo&status=succeeded&until=2999-01-01T00:00:00Z";
    let first = api.post(path).by("operator").answer().await.expect(200).json();
    let rerun = first["items"][0]["rerun"].clone();
    assert!(rerun.is_string() && first["items"][0]["rerun_before"].is_null(), "{first}");
    let head = api.node.head_position();
    let second = api.post(path).by("operator").answer().await.expect(200).json();
    assert_eq!((&second["items"][0]["execution"], &second["items"][0]["rerun_before"]), (&json!(ended), &rerun), "{second}");
    assert_eq!((errors(&second), &second["items"][0]["rerun"]), (vec![None], &Value::Null));
    assert_eq!(api.node.head_position(), head, "nothing is done");
    let again = api.post(&format!("{path}&again=true")).by("operator").answer().await.expect(200).json();
    assert!(again["items"][0]["rerun"].is_string() && again["items"][0]["rerun"] != rerun, "{again}");
}
