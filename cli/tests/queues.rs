//! Queues of a running node: a full queue does not block others, a rate delays starts, and a kill loses no
//! waiting execution.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder};

/// Runs until the given file exists.
const BUILD: &str = "\
description: Builds until it is told to stop.
parameters: { until: string }
run:
  shell:
    script: while [ ! -e \"$UNTIL\" ]; do sleep 0.05; done
    env: { UNTIL: \"${{ params.until }}\" }
idempotent: true
queue: heavy
";

const TELL: &str = "\
description: Says when it ran.
run: { shell: { script: date +%s%N } }
idempotent: true
queue: paced
";

const LOST: &str = "\
description: Waits where nobody works.
run: { shell: { script: \"true\" } }
queue: nowhere
";

const QUEUES: &str = "\
queues:
  default: { workers: 2 }
  heavy: { workers: 1 }
  paced: { workers: 8, rate: { limit: 1, per: 500ms } }
";

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "200"))
}

fn configure(place: &NodeFolder, settings: &str) {
    std::fs::write(place.path().join("ensue.yaml"), settings).unwrap();
}

fn queue(answer: &Value, name: &str) -> Value {
    answer["items"].as_array().unwrap().iter().find(|queue| queue["name"] == name).cloned().unwrap_or_default()
}

async fn await_end(node: &Node, id: &str) -> Value {
    node.client().until(&format!("/executions/{id}"), |execution| execution["ended_at"] != Value::Null).await
}

#[tokio::test]
async fn full_queue_does_not_block_others_and_keeps_its_entries_over_a_kill() {
    let place = NodeFolder::new();
    let folder = place.path().join("told");
    std::fs::create_dir(&folder).unwrap();
    let until = folder.join("enough");
    configure(&place, QUEUES);
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    place.write_pack_file("release/actions/build.yaml", BUILD);
    place.write_pack_file("release/actions/lost.yaml", LOST);
    let place = place.with_variable("ENSUE_ACTIONS_READABLE", &folder.display().to_string());
    let node = place.start();
    let mut builds = Vec::new();
    for _ in 0..3 {
        builds.push(node.client().execute("release.build", &json!({ "until": until })).await);
    }
    let lost = node.client().execute("release.lost", &json!({})).await;
    let echo = node.client().execute("core.noop", &json!({ "seconds": 0.01 })).await;
    assert_eq!(await_end(&node, &echo).await["status"], "succeeded");

    node.kill();
    let mut node = place.start();
    let echo = node.client().execute("core.noop", &json!({ "seconds": 0.01 })).await;
    assert_eq!(await_end(&node, &echo).await["status"], "succeeded");
    let queues = node.client().get("/queues").await;
    let heavy = queue(&queues, "heavy");
    assert_eq!((&heavy["workers"], &heavy["busy_count"], &heavy["waiting_count"]), (&json!(1), &json!(1), &json!(2)), "{queues}");
    assert_eq!((&heavy["busy"][0]["execution"], &heavy["busy"][0]["action"]), (&json!(builds[0]), &json!("release.build")), "{queues}");
    assert_eq!((&heavy["waiting"][0]["execution"], &heavy["waiting"][1]["execution"]), (&json!(builds[1]), &json!(builds[2])), "{queues}");
    assert!(heavy["waiting_since"].is_string() && heavy["waiting"][0]["since"].is_string(), "{queues}");
    let nowhere = queue(&queues, "nowhere");
    assert_eq!(
        (&nowhere["is_configured"], &nowhere["workers"], &nowhere["waiting_count"]),
        (&json!(false), &json!(0), &json!(1)),
        "{queues}"
    );

    let listed = ensue(&place, &node, &["queues", "list"]);
    assert!(listed.stdout.contains("1 of 1") && listed.stdout.contains("no workers"), "{}{}", listed.stdout, listed.stderr);
    let shown = ensue(&place, &node, &["executions", "show", &builds[2]]);
    assert!(shown.stdout.contains("waits for a worker of the queue heavy"), "{}{}", shown.stdout, shown.stderr);
    let doctor = ensue(&place, &node, &["doctor"]);
    assert!(doctor.stdout.contains("1 executions wait in the queue `nowhere`"), "{}{}", doctor.stdout, doctor.stderr);
    let metrics = node.client().request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in
        ["ensue_worker_queue_waiting{queue=\"heavy\"} 2", "ensue_worker_queue_busy{queue=\"heavy\"} 1", "ensue_executions_unworked 1"]
    {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }

    std::fs::write(&until, "").unwrap();
    for id in &builds {
        assert_eq!(await_end(&node, id).await["status"], "succeeded");
    }
    // The operator notices, and adds workers for that queue too.
    node.kill();
    configure(&place, &format!("{QUEUES}  nowhere: {{ workers: 1 }}\n"));
    node = place.start();
    assert_eq!(await_end(&node, &lost).await["status"], "succeeded");
}

#[tokio::test]
async fn queue_rate_is_honored_even_over_a_kill() {
    let place = NodeFolder::new();
    configure(&place, QUEUES);
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    place.write_pack_file("release/actions/tell.yaml", TELL);
    let mut node = place.start();
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(node.client().execute("release.tell", &json!({})).await);
    }
    await_end(&node, &told[0]).await;
    // The next one may just begin: then it is repeated.
    node.kill();
    node = place.start();
    let paced = queue(&node.client().get("/queues").await, "paced");
    assert_eq!((&paced["rate"]["limit"], &paced["rate"]["per_seconds"]), (&json!(1), &json!(0.5)), "{paced}");
    let mut started = Vec::new();
    for id in &told {
        let execution = await_end(&node, id).await;
        assert_eq!(execution["status"], "succeeded", "{execution}");
        started.push(execution["started_at"].as_str().unwrap().parse::<ensue_engine::time::Timestamp>().unwrap());
    }
    // They are in the log in the order of the decisions, which one clock timed; the wall clock is set a
    // little later.
    for (before, after) in started.iter().zip(&started[1..]) {
        assert!(after.micros_since(*before) >= 490_000, "{started:?}");
    }
}
