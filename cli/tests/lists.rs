//! Lists at the command line: their columns in a pipe, and their filters by time.

use ensue_engine::time::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder};

const TRIGGER: &str = "description: Something was built.\npayload:\n  version: string\n";
const RULE: &str =
    "description: Announce each build.\ntrigger: release.built\naction: core.echo\nwith: { message: \"${{ event.payload.version }}\" }\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    place.write_pack_file("release/triggers/built.yaml", TRIGGER);
    place.write_pack_file("release/rules/announce.yaml", RULE);
    place
}

/// Lists something as a pipe sees it: the cells of each row under their titles.
fn list_rows(place: &NodeFolder, node: &Node, arguments: &[&str]) -> Vec<Value> {
    let printed = CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let mut rows = printed.stdout.lines().map(|line| line.split('\t'));
    let titles: Vec<&str> = rows.next().unwrap().collect();
    rows.map(|cells| titles.iter().copied().zip(cells).collect()).collect()
}

/// Sends a build, waits for the end of its execution, and returns the event and the execution.
async fn run_build(node: &Node, version: &str) -> (Value, Value) {
    let client = node.client();
    let sent = client.post("/events", &json!({ "trigger": "release.built", "payload": { "version": version } })).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{:#}", sent.body);
    let id = sent.body["id"].as_str().unwrap();
    let has_ended = |page: &Value| page["items"][0]["ended_at"].is_string();
    let page = client.until(&format!("/executions?correlation={id}"), has_ended).await;
    (client.get(&format!("/events/{id}")).await, page["items"][0].clone())
}

#[tokio::test]
async fn pipe_shows_rule_duration_and_start_of_executions() {
    let place = place();
    let node = place.start();
    run_build(&node, "v1").await;
    let (by_hand, delayed) = (["run", "core.noop", "--wait"], ["run", "core.noop", "--in", "1h"]);
    for arguments in [&by_hand[..], &delayed] {
        let ran = CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let executions = list_rows(&place, &node, &["executions", "list", "--status", "succeeded"]);
    let rules: Vec<_> = executions.iter().map(|row| (&row["ACTION"], &row["RULE"])).collect();
    assert_eq!(rules, [(&json!("core.noop"), &json!("-")), (&json!("core.echo"), &json!("release.announce"))]);
    assert!(executions.iter().all(|row| row["TOOK"].as_str().is_some_and(|took| took.ends_with('s'))), "{executions:?}");

    let waiting = list_rows(&place, &node, &["executions", "list", "--status", "delayed"]);
    let starts = node.client().get("/executions?status=delayed").await["items"][0]["waits_until"].clone();
    let to_the_second = starts.as_str().unwrap()[..19].replace('T', " ") + "Z";
    assert_eq!((waiting.len(), &waiting[0]["STARTS"]), (1, &json!(to_the_second)), "{waiting:?}");
}

#[tokio::test]
async fn events_and_enforcements_are_listed_between_two_times() {
    let place = place();
    let node = place.start();
    let (first, one) = run_build(&node, "v1").await;
    let (second, other) = run_build(&node, "v2").await;
    let time = |event: &Value| event["received_at"].as_str().unwrap().parse::<Timestamp>().unwrap().micros();
    // The first rule decided before its execution ended, and the second event came after that.
    let ended = one["ended_at"].as_str().unwrap().parse::<Timestamp>().unwrap().micros();
    assert!(time(&first) < ended && ended < time(&second), "{first:#} {second:#}");
    let between = Timestamp::from_micros(ended.midpoint(time(&second))).to_string();
    let ids = |arguments: &[&str]| -> Vec<Value> { list_rows(&place, &node, arguments).into_iter().map(|row| row["ID"].clone()).collect() };
    let events = ["events", "list", "--trigger", "release.built"];
    let enforcements = ["enforcements", "list", "--rule", "release.announce"];
    for (list, before, after) in [(events, &first["id"], &second["id"]), (enforcements, &one["enforcement"], &other["enforcement"])] {
        assert_eq!(ids(&[&list[..], &["--since", "1h"]].concat()), [after.clone(), before.clone()], "the newest first");
        assert_eq!(ids(&[&list[..], &["--since", &between]].concat()), *std::slice::from_ref(after));
        assert_eq!(ids(&[&list[..], &["--until", &between]].concat()), *std::slice::from_ref(before));
        assert!(ids(&[&list[..], &["--since", "1h", "--until", "30m"]].concat()).is_empty());
    }
}
