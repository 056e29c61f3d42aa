//! Sensors that read a source: a program in Python whose lines become events, over restarts of the node.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::skipped::skipped;
use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, until};

/// How many items the program has.
const ITEMS: u64 = 400;
/// Its program prints its items after the cursor, each with the cursor behind it, and then waits for its end.
const SENSOR: &str = "\
description: Reads the items.
process:
  command:
    - python3
    - -c
    - |
      import json, sys, time
      n = json.loads(sys.stdin.readline())['cursor'] or 0
      print(f'begins after {n}', file=sys.stderr, flush=True)
      while n < 400:
          n += 1
          print(json.dumps({'event': {'n': n}, 'cursor': n}), flush=True)
          time.sleep(0.005)
      for line in sys.stdin:
          pass
emits: [{ trigger: feed.item, payload: '${{ line }}' }]
";

fn place(test: &str) -> Option<NodeFolder> {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        skipped(test, "there is no python3 here");
        return None;
    }
    let place = NodeFolder::new();
    place.write_pack_file("feed/pack.yaml", "name: feed\nversion: 1.0.0\ndescription: Items of a feed.\n");
    place.write_pack_file("feed/triggers/item.yaml", "description: There is an item.\npayload: { n: integer }\n");
    place.write_pack_file("feed/sensors/items.yaml", SENSOR);
    Some(place)
}

/// The numbers of the items in the log, in order.
async fn items(client: &Client) -> Vec<u64> {
    let mut items = Vec::new();
    let mut path = "/events?trigger=feed.item&limit=200".to_owned();
    loop {
        let page = client.get(&path).await;
        for event in page["items"].as_array().unwrap() {
            let shown = client.get(&format!("/events/{}", event["id"].as_str().unwrap())).await;
            items.push(shown["payload"]["n"].as_u64().unwrap());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/events?trigger=feed.item&limit=200&cursor={next}");
    }
    items.reverse();
    items
}

fn command(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_TOKEN", ADMIN_TOKEN).env("ENSUE_SERVER", node.url()))
}

async fn until_read(client: &Client, many: u64) -> Value {
    client.until("/sensors/feed.items", |sensor| sensor["events_count"].as_u64().is_some_and(|count| count >= many)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_program_become_events_once_although_the_node_is_killed() {
    let Some(place) = place("lines_of_a_program_become_events_once_although_the_node_is_killed") else { return };
    let node = place.start();
    until_read(&node.client(), 20).await;
    node.kill();
    let node = place.start();
    until_read(&node.client(), 150).await;
    assert_eq!(node.stop(), Some(0));
    let node = place.start();
    let client = node.client();
    let sensor = until_read(&client, ITEMS).await;
    assert_eq!((&sensor["state"], &sensor["cursor"], &sensor["mode"]), (&json!("running"), &json!(ITEMS), &json!("enabled")));
    // The list of events follows the log on its own.
    let listed = until("all items are listed", async || Some(items(&client).await).filter(|items| items.len() as u64 >= ITEMS)).await;
    assert_eq!(listed, (1..=ITEMS).collect::<Vec<_>>());
    let logs = command(&place, &node, &["sensors", "logs", "feed.items"]);
    // The log has the first run too, which had no cursor.
    assert_eq!(logs.stdout.matches("begins after ").count(), 3, "{logs:?}");
    assert_eq!(logs.stdout.matches("begins after 0\n").count(), 1, "the cursor was lost: {logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_is_disabled_rewound_and_enabled_from_the_command_line() {
    let Some(place) = place("sensor_is_disabled_rewound_and_enabled_from_the_command_line") else { return };
    let node = place.start();
    let client = node.client();
    until_read(&client, ITEMS).await;
    let disabled = command(&place, &node, &["sensors", "disable", "feed.items"]);
    assert_eq!(disabled.stdout.trim(), "disabled", "{disabled:?}");
    client.until("/sensors/feed.items", |sensor| sensor["state"] == "disabled").await;
    let rewound = command(&place, &node, &["sensors", "rewind", "feed.items", "--to", "390"]);
    assert_eq!(rewound.stdout.trim(), "feed.items", "{rewound:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(items(&client).await.len() as u64, ITEMS, "a disabled sensor reads nothing");
    command(&place, &node, &["sensors", "enable", "feed.items"]);
    until_read(&client, ITEMS + 10).await;
    let listed = command(&place, &node, &["sensors", "list"]);
    assert!(listed.stdout.contains("feed.items") && listed.stdout.contains("process"), "{listed:?}");
    let kinds: Vec<Value> = client.records().await.into_iter().filter(|record| record["stream"] == "sensor/feed.items").collect();
    let by: Vec<&Value> = kinds.iter().filter(|record| record["kind"] == "sensor.cursor_set").map(|record| &record["actor"]).collect();
    assert_eq!(by.len(), 1, "{by:?}");
    let refused = command(&place, &node, &["sensors", "restart", "github.webhook"]);
    assert!(refused.stderr.contains("does not pull"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_is_tested_beside_its_run_and_nothing_of_it_is_taken() {
    let Some(place) = place("sensor_is_tested_beside_its_run_and_nothing_of_it_is_taken") else { return };
    let node = place.start();
    let client = node.client();
    until_read(&client, ITEMS).await;
    // On a busy machine the program may need longer to begin.
    let mut timeouts = ["1s", "10s", "30s"].into_iter();
    let (at_end, tests_at_end) = loop {
        let timeout = timeouts.next().expect("the second program never got the cursor");
        let at_end = command(&place, &node, &["sensors", "test", "feed.items", "--timeout", timeout]);
        assert_eq!(at_end.code, Some(0), "{at_end:?}");
        if at_end.stdout.contains("begins after ") {
            break (at_end, 3 - timeouts.len());
        }
    };
    assert!(at_end.stdout.contains("read 0 messages from `feed.items`, after 400; no message came in time"), "{at_end:?}");
    assert!(at_end.stdout.contains("begins after 400"), "the second program gets the cursor: {at_end:?}");
    command(&place, &node, &["sensors", "disable", "feed.items"]);
    let before = client.get("/sensors/feed.items").await;
    let shown = command(&place, &node, &["sensors", "test", "feed.items", "--count", "2", "--from-start"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for line in ["message 1: {\"n\":1}", "  event    feed.item {\"n\":1}", "  cursor   1", "message 2: {\"n\":2}"] {
        assert!(shown.stdout.contains(line), "{line}: {shown:?}");
    }
    assert_eq!(client.get("/sensors/feed.items").await, before);
    assert_eq!(items(&client).await.len() as u64, ITEMS);
    let records = client.records().await;
    let tests: Vec<&Value> = records.iter().filter(|record| record["kind"] == "sensor.tested").collect();
    assert_eq!(tests.len(), tests_at_end + 1, "each test is recorded, with who asked for it: {tests:?}");
    let refused = command(&place, &node, &["sensors", "test", "github.webhook"]);
    assert!(refused.stderr.contains("does not pull"), "{refused:?}");
    let too_many = command(&place, &node, &["sensors", "test", "feed.items", "--count", "101"]);
    assert!(too_many.stderr.contains("from 1 to 100 messages"), "{too_many:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn test_of_a_failing_sensor_shows_its_error_and_what_it_said() {
    let Some(place) = place("test_of_a_failing_sensor_shows_its_error_and_what_it_said") else { return };
    let program = "import os, sys; print('test is', os.environ.get('ENSUE_TEST'), file=sys.stderr); print('{'); sys.exit(3)";
    place.write_pack_file(
        "feed/sensors/broken.yaml",
        &format!("description: Fails.\nprocess: {{ command: [python3, -c, \"{program}\"] }}\nemits: [{{ trigger: feed.item }}]\n"),
    );
    let node = place.start();
    let tested = command(&place, &node, &["sensors", "test", "feed.broken", "--count", "5"]);
    assert_eq!(tested.code, Some(1), "{tested:?}");
    assert!(tested.stderr.contains("`exited`: the program ended with exit code 3"), "{tested:?}");
    assert!(tested.stdout.contains("test is 1") && tested.stdout.contains("  refused  the message is not JSON"), "{tested:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_message_becomes_an_event_once_it_fits() {
    let Some(place) = place("refused_message_becomes_an_event_once_it_fits") else { return };
    let program = r#"import json, sys; json.loads(sys.stdin.readline())['cursor'] or print('{"event": "7", "cursor": 1}')"#;
    let sensor = |payload: &str| {
        format!(
            "description: Prints one text.\nprocess:\n  restart: on_failure\n  command:\n    - python3\n    - -c\n    - |\n      {program}\n\
             emits: [{{ trigger: feed.item, payload: {payload} }}]\n"
        )
    };
    place.write_pack_file("feed/sensors/items.yaml", &sensor("'${{ {\"n\": line} }}'"));
    let node = place.start();
    let letters =
        node.client().until("/dead_letters?sensor=feed.items", |page| page["items"].as_array().is_some_and(|all| all.len() == 1)).await;
    let letter = letters["items"][0]["id"].as_str().unwrap().to_owned();
    let still = command(&place, &node, &["dead-letters", "retry", &letter]);
    assert!(still.code == Some(6) && still.stderr.contains("/n"), "it still does not fit: {still:?}");
    assert_eq!(node.stop(), Some(0));
    place.write_pack_file("feed/sensors/items.yaml", &sensor("'${{ {\"n\": int(line)} }}'"));
    let node = place.start();
    let client = node.client();
    assert!(items(&client).await.is_empty(), "the sensor has read on");
    let retried = command(&place, &node, &["dead-letters", "retry", &letter]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    client.until("/events?trigger=feed.item", |page| page["items"].as_array().is_some_and(|all| !all.is_empty())).await;
    assert_eq!(items(&client).await, [7]);
    assert_eq!(client.get(&format!("/dead_letters/{letter}")).await["status"], "retried");
    let again = command(&place, &node, &["dead-letters", "retry", &letter]);
    assert!(again.stderr.contains("is not open"), "{again:?}");
}
