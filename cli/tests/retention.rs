//! Retention on a running node: old executions leave the views, even over rebuilds and kills, and requests
//! for them never get an internal error.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Client, CommandOutput, Node, NodeFolder};

const SHIP: &str = "parameters: { version: string }
run:
  workflow:
    steps:
      build: { action: core.echo, with: { message: '${{ params.version }}' } }
      deploy: { needs: [build], for_each: '[\"eu\", \"us\"]', action: core.echo, with: { message: '${{ item }}' } }
";
const RULE: &str = "trigger: shop.order\nwhen: event.payload.total > 100\naction: core.noop\n";
const BREAK: &str = "run: { shell: { script: exit 3 } }\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new().with_variable("ENSUE_RETENTION_EXECUTIONS", "1s");
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: A shop.\n");
    place.write_pack_file("shop/triggers/order.yaml", "payload: { total: integer }\n");
    place.write_pack_file("shop/rules/large.yaml", RULE);
    place.write_pack_file("shop/actions/ship.yaml", SHIP);
    place.write_pack_file("shop/actions/break.yaml", BREAK);
    place
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
}

async fn ask(client: &Client, method: Method, path: &str) -> Answer {
    Answer::of(client.request(method, &format!("/api/v1{path}")).send().await.unwrap()).await
}

async fn order(client: &Client, total: u32) -> String {
    let sent = client.post("/events", &json!({ "trigger": "shop.order", "payload": { "total": total } })).await;
    sent.body["id"].as_str().unwrap_or_else(|| panic!("{sent:#?}")).to_owned()
}

/// Lets the log record that more than a second has passed.
async fn time_passes(client: &Client) {
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    order(client, 1).await;
}

async fn await_removals(client: &Client, count: u64) {
    client.until("/status", |status| status["retention"]["executions_removed"] == count).await;
}

fn says_that_it_left(answer: &Answer, what: &str) {
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(answer.status == StatusCode::NOT_FOUND && answer.body["code"] == "not_found", "{what}: {answer:#?}");
    assert!(detail.contains("was removed because of the setting `retention`; the log still has it, from position"), "{what}: {detail}");
}

#[tokio::test]
async fn removed_execution_is_a_404_with_that_reason_and_stays_removed() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let failed = client.run("shop.break", &json!({})).await["id"].as_str().unwrap().to_owned();
    let workflow = client.run("shop.ship", &json!({ "version": "v1" })).await["id"].as_str().unwrap().to_owned();
    let event = order(&client, 150).await;
    let ruled = client.until("/executions?rule=shop.large", |list| list["items"][0]["status"] == "succeeded").await;
    let (ruled, enforcement) = (&ruled["items"][0]["id"], &ruled["items"][0]["enforcement"]);
    let (ruled, enforcement) = (ruled.as_str().unwrap(), enforcement.as_str().unwrap().to_owned());
    time_passes(&client).await;
    // The workflow, its three steps, and the rule's execution.
    await_removals(&client, 5).await;

    says_that_it_left(&ask(&client, Method::GET, &format!("/enforcements/{enforcement}")).await, "the enforcement");
    for id in [&workflow, ruled] {
        for below in ["", "/attempts", "/timeline", "/logs", "/stream", "/artifacts"] {
            says_that_it_left(&ask(&client, Method::GET, &format!("/executions/{id}{below}")).await, below);
        }
        for command in ["cancel", "pause", "resume", "rerun"] {
            says_that_it_left(&client.post(&format!("/executions/{id}/{command}"), &json!({})).await, command);
        }
        says_that_it_left(&client.post(&format!("/executions/{id}/settle"), &json!({ "outcome": "succeeded" })).await, "settle");
        let again = ensue(&place, &node, &["executions", "rerun", id]);
        assert!(again.code != Some(0) && again.stderr.contains("was removed because of the setting `retention`"), "{again:?}");
        let replayed = ensue(&place, &node, &["replay", id, "-o", "json"]);
        assert_eq!(serde_json::from_str::<Value>(&replayed.stdout).unwrap()["same"], 1, "{replayed:?}");
        for list in ["parent", "correlation", "rerun_of"] {
            assert_eq!(client.get(&format!("/executions?{list}={id}")).await["items"], json!([]));
        }
        assert_ne!(ask(&client, Method::GET, &format!("/inquiries?execution={id}")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
        let letter = client.post(&format!("/dead-letters/{id}/dismiss"), &json!({})).await;
        assert_eq!(letter.status, StatusCode::NOT_FOUND, "{letter:#?}");
    }
    assert_eq!(client.get(&format!("/events/{event}")).await["id"], event.as_str(), "events stay");
    let why = ensue(&place, &node, &["why", &event]);
    assert_eq!(why.code, Some(0), "{why:?}");
    let why = ensue(&place, &node, &["why", &workflow]);
    assert!(!why.stderr.contains("internal error"), "{why:?}");
    let many = ensue(&place, &node, &["executions", "rerun", "--action", "shop.ship"]);
    assert!(!many.stderr.contains("internal error"), "{many:?}");

    let left = client.get("/executions").await;
    let left: Vec<&Value> = left["items"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(left, [&json!(failed)], "who failed waits for somebody");
    let status = client.get("/status").await;
    assert_eq!((&status["totals"]["executions_requested"], &status["totals"]["executions_open"]), (&json!(6), &json!(0)), "{status:#}");
    assert_eq!(status["retention"]["executions"], "1s");
    let shown = ensue(&place, &node, &["status"]);
    assert!(shown.stdout.contains("executions for 1s; 5 have left the views"), "{shown:?}");
    let doctor = ensue(&place, &node, &["doctor"]).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(doctor.contains("stay in the read models for 1s after their end; 5 have left them"), "{doctor}");
    let metrics = client.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("ensue_executions_removed_total 5"), "{metrics}");

    let rebuilt = ensue(&place, &node, &["views", "rebuild"]);
    assert_eq!(rebuilt.code, Some(0), "{rebuilt:?}");
    says_that_it_left(&ask(&client, Method::GET, &format!("/executions/{workflow}")).await, "after a rebuild");
    node.kill();
    let node = place.start();
    let client = node.client();
    says_that_it_left(&ask(&client, Method::GET, &format!("/executions/{workflow}")).await, "after a kill");
    assert_eq!(client.get("/status").await["retention"]["executions_removed"], 5);

    let dismissed = ensue(&place, &node, &["dead-letters", "dismiss", &failed]);
    assert_eq!(dismissed.code, Some(0), "{dismissed:?}");
    await_removals(&client, 6).await;
    says_that_it_left(&ask(&client, Method::GET, &format!("/executions/{failed}")).await, "once it was dealt with");
    node.stop_well();
}

#[tokio::test]
async fn old_executions_leave_an_idle_node_too() {
    let place = place();
    let node = place.start();
    let client = node.client();
    client.run("shop.ship", &json!({ "version": "1" })).await;
    let position = client.get("/status").await["position"].clone();
    client.until("/status", |status| status["retention"]["executions_removed"].as_u64() > Some(0)).await;
    assert_eq!(client.get("/status").await["position"], position, "nothing was recorded meanwhile");
}
