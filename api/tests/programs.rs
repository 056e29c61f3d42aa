//! Callers with the token of an attempt: a program sees its own execution, and acts for its pack.

use serde_json::json;

use crate::support::{TestApi, token_of_attempt};

const ECHO: &str = "/api/v1/actions/core.echo/execute";

#[tokio::test]
async fn program_sees_its_own_execution_and_no_other() {
    let api = TestApi::new();
    let (id, other) = (api.execution().await, api.execution().await);
    api.node.give_away(&id, 0, "report.csv", None, b"a,b\n");
    let token = token_of_attempt(&id, 1);
    let get = |path: String| api.get(&path).bearing(&token);
    for part in ["", "/timeline", "/attempts", "/artifacts", "/spans"] {
        get(format!("/api/v1/executions/{id}{part}")).answer().await.expect(200);
        get(format!("/api/v1/executions/{other}{part}")).answer().await.expect_problem(404, "not_found");
    }
    let files = get(format!("/api/v1/executions/{id}/artifacts")).answer().await.expect(200).json();
    let file = files["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(get(format!("/api/v1/executions/{id}/artifacts/{file}")).answer().await.expect(200).text, "a,b\n");
    get(format!("/api/v1/executions/{other}/artifacts/{file}")).answer().await.expect_problem(404, "not_found");
    assert_eq!(get("/api/v1/executions".to_owned()).answer().await.expect(200).json()["items"], json!([]));
    let me = get("/api/v1/me".to_owned()).answer().await.expect(200).json();
    assert_eq!((&me["name"], &me["by"]["kind"]), (&json!("pack/core"), &json!("execution")), "{me:#}");
    let reads: Vec<&str> = me["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["reach"] == "itself")
        .filter_map(|one| one["permission"].as_str())
        .collect();
    assert_eq!(reads, ["executions:read", "artifacts:read"]);
    // It may see that it runs, and not cancel itself.
    api.post(&format!("/api/v1/executions/{id}/cancel")).bearing(&token).json(&json!({})).answer().await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn token_counts_for_the_running_attempt_alone() {
    let api = TestApi::new();
    let id = api.execution().await;
    let token = token_of_attempt(&id, 1);
    api.get("/api/v1/me").bearing(&token).answer().await.expect(200);
    for bad in [token_of_attempt(&id, 2), token.replace("5e5e", "5e5f"), token.replace("ensp_", "ens_"), format!("{token}00")] {
        api.get("/api/v1/me").bearing(&bad).answer().await.expect_problem(401, "token_invalid");
    }
    api.get(&format!("/api/v1/me?token={token}")).answer().await.expect_problem(400, "token_in_url");
    api.post(&format!("/api/v1/executions/{id}/cancel")).by("admin").json(&json!({})).answer().await;
    api.get("/api/v1/me").bearing(&token).answer().await.expect_problem(401, "token_invalid");
}

#[tokio::test]
async fn idempotency_key_of_a_program_belongs_to_its_pack() {
    let api = TestApi::new();
    let (one, other) = (api.execution().await, api.execution().await);
    let body = json!({ "params": { "message": "hi" } });
    let keyed = |id: &str| api.post(ECHO).bearing(&token_of_attempt(id, 1)).with("idempotency-key", "daily").json(&body);
    let first = keyed(&one).answer().await.expect(202).json();
    assert_eq!(first["principal"], "pack/core");
    assert_eq!(keyed(&other).answer().await.expect(202).json()["id"], first["id"], "another program of the pack");
    let admin = api.post(ECHO).by("admin").with("idempotency-key", "daily").json(&body).answer().await.expect(202).json();
    assert_ne!(admin["id"], first["id"], "another caller");
}
