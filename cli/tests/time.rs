//! Time on a running node: retries, sleeps and timeouts, none of which a kill changes.

use std::time::{Duration, Instant};

use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder};

const FLAKY: &str = "\
description: Fails until its third attempt.
run:
  shell:
    script: |
      test \"$ENSUE_ATTEMPT\" -ge 3 || exit 7
      echo attempt $ENSUE_ATTEMPT
retry: { attempts: 3, backoff: constant, delay: 1s, jitter: false, when: error.kind == 'exit_code' }
";

const PATIENT: &str = "\
description: Waits, then works; both too long for its time.
timeout: 1s
run:
  workflow:
    steps:
      wait: { sleep: 10m }
      work: { needs: [wait], action: core.noop, with: { seconds: 60 } }
      clean: { needs: [work], if: always(), action: core.echo, with: { message: cleaned } }
";

const NAP: &str = "\
description: Sleeps for a given time.
parameters: { duration: string }
run:
  workflow:
    steps:
      wait: { sleep: \"${{ params.duration }}\" }
      say: { needs: [wait], action: core.echo, with: { message: awake } }
    result: { said: \"${{ steps.say.result.message }}\" }
";

const SLOW: &str = "\
description: Has a step that takes longer than it may.
run:
  workflow:
    steps:
      slow: { action: core.noop, with: { seconds: 60 }, timeout: 1s, on_failure: continue }
    result: { ended: \"${{ steps.slow.status }}\" }
";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("demo/pack.yaml", "name: demo\nversion: 1.0.0\ndescription: Takes its time.\n");
    for (name, text) in [("flaky", FLAKY), ("patient", PATIENT), ("nap", NAP), ("slow", SLOW)] {
        place.write_pack_file(&format!("demo/actions/{name}.yaml"), text);
    }
    place
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "80"))
}

async fn await_end(client: &Client, id: &str) -> Value {
    client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await
}

/// The records of an execution of one kind of fact.
async fn records(client: &Client, id: &str, kind: &str) -> Vec<Value> {
    let stream = format!("execution/{id}");
    client.records().await.into_iter().filter(|record| record["stream"] == stream && record["kind"] == kind).collect()
}

fn time(of: &Value) -> Timestamp {
    of.as_str().unwrap().parse().unwrap()
}

/// Checks that each timer of an execution fired once, and not early.
async fn assert_fired_once_and_not_early(client: &Client, id: &str, timers: usize) {
    let fired = records(client, id, "timer.fired").await;
    assert_eq!(fired.len(), timers, "{fired:#?}");
    for timer in &fired {
        assert!(time(&timer["time"]) >= time(&timer["fact"]["due"]), "{timer:#}");
    }
}

#[tokio::test]
async fn failed_execution_is_retried_and_shows_its_attempts() {
    let place = place();
    let node = place.start();
    let ran = ensue(&place, &node, &["run", "demo.flaky", "--wait"]);
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "attempt 3"), "{ran:?}");
    let client = node.client();
    let listed = client.get("/executions?action=demo.flaky").await;
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert_fired_once_and_not_early(&client, id, 2).await;
    let shown = ensue(&place, &node, &["executions", "show", id]).stdout;
    for told in ["1. failed", "2. failed", "3. succeeded"] {
        assert!(shown.contains(told), "{shown}");
    }
    let told = client.get(&format!("/executions/{id}/timeline")).await.to_string();
    assert!(told.contains("attempt 2 follows at ") && told.contains("the wait before attempt 3 is over"), "{told}");
}

#[tokio::test]
async fn kill_during_a_retry_delay_does_not_change_it() {
    let place = place();
    let mut node = place.start();
    let mut id = String::new();
    for round in 0.. {
        assert!(round < 10, "no kill came during a delay");
        id = node.client().execute("demo.flaky", &json!({})).await;
        node.client().until(&format!("/executions/{id}"), |shown| shown["status"] == "delayed").await;
        node.kill();
        node = place.start();
        let records = node.client().records().await;
        let restart = records.iter().rposition(|record| record["kind"] == "node.started").unwrap();
        let is_of_an_attempt = |record: &&Value| record["kind"].as_str().unwrap().starts_with("attempt.");
        let last = records[..restart].iter().rfind(|record| record["stream"] == format!("execution/{id}") && is_of_an_attempt(record));
        if last.unwrap()["kind"] == "attempt.failed" {
            break;
        }
    }
    let client = node.client();
    let shown = await_end(&client, &id).await;
    assert_eq!((&shown["status"], &shown["attempt"]), (&json!("succeeded"), &json!(3)), "{shown:#}");
    assert_fired_once_and_not_early(&client, &id, 2).await;
}

#[tokio::test]
async fn sleeping_step_is_awaited_and_a_cancel_ends_it_at_once() {
    let place = place();
    let node = place.start();
    let ran = ensue(&place, &node, &["run", "demo.nap", "--param", "duration=1s", "--wait"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), json!({ "said": "awake" }));
    let client = node.client();
    let id = client.execute("demo.nap", &json!({ "duration": "10m" })).await;
    let sleeping = format!("/executions?parent={id}&status=waiting");
    let listed = client.until(&sleeping, |listed| listed["items"].as_array().is_some_and(|all| all.len() == 1)).await;
    assert_eq!((&listed["items"][0]["action"], &listed["items"][0]["attempt"]), (&json!("core.sleep"), &json!(0)));
    let tree = ensue(&place, &node, &["executions", "show", &id, "--tree"]).stdout;
    assert!(tree.contains("wait: core.sleep waiting") && tree.contains("until "), "{tree}");
    let begin = Instant::now();
    assert_eq!(ensue(&place, &node, &["executions", "cancel", &id]).code, Some(0));
    assert_eq!(await_end(&client, &id).await["status"], "cancelled");
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn sleep_with_an_invalid_duration_is_rejected() {
    let place = place();
    let node = place.start();
    let ran = ensue(&place, &node, &["run", "core.sleep", "--param", "duration=soon"]);
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stderr.contains("\"soon\" is not a duration"), "{ran:?}");
}

#[tokio::test]
async fn timed_out_workflow_runs_its_cleanup() {
    let place = place();
    let node = place.start();
    let ran = ensue(&place, &node, &["run", "demo.patient", "--wait"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("it took longer than 1s, all its steps together"), "{ran:?}");
    let listed = node.client().get("/executions?action=core.echo").await;
    assert_eq!((&listed["items"][0]["step"], &listed["items"][0]["status"]), (&json!("clean"), &json!("succeeded")));
}

#[tokio::test]
async fn timed_out_step_is_stopped() {
    let place = place();
    let node = place.start();
    let ran = ensue(&place, &node, &["run", "demo.slow", "--wait"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), json!({ "ended": "timed_out" }));
}

#[tokio::test]
async fn delayed_execution_starts_at_its_time() {
    let place = place();
    let node = place.start();
    let ran = ensue(&place, &node, &["run", "core.echo", "--in", "2s"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (client, id) = (node.client(), ran.stdout.trim().to_owned());
    let shown = client.get(&format!("/executions/{id}")).await;
    assert_eq!(shown["status"], "delayed", "{shown:#}");
    let begun = await_end(&client, &id).await;
    assert_eq!(begun["status"], "succeeded");
    assert!(time(&begun["started_at"]) >= time(&shown["waits_until"]), "{begun:#}");
    assert_fired_once_and_not_early(&client, &id, 1).await;
    let bad = ensue(&place, &node, &["run", "core.echo", "--in", "soon"]);
    assert_eq!(bad.code, Some(2), "{bad:?}");
}
